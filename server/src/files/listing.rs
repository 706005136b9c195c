//! The page that lists a directory, as HTML and as JSON.
//!
//! Every name is escaped for where it stands: percent-encoded in the link, entity-encoded in the
//! text. Every link of a page is answered: what is hidden, special or not readable is left out, and
//! so are symbolic links, for they may lead out of the root. Of a directory with very many names
//! the first are shown, and how many are not is said. The ring has no operation that reads a
//! directory, so a thread does it, which the page is rare enough to afford.

use std::collections::BinaryHeap;
use std::ffi::OsStr;
use std::fs;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use ringway_codec::date::Date;

use super::meta::{Kind, Meta};
use super::path;
use crate::app::content_coding::weight;
use crate::rt::fs::Stat;

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct ListingRow {
    /// The entry's name, any bytes but `/` and NUL.
    pub(crate) name: Vec<u8>,
    /// What the file system says of it.
    pub(crate) meta: Meta,
}

/// What a directory holds: rows sorted by name, directories first.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    rows: Vec<ListingRow>,
    /// Names that would stand here as well, were they not too many.
    left_out: u64,
    /// There are more, which were not counted.
    uncounted: bool,
}

impl Listing {
    /// The page for the directory at `title` (decoded, below the root, no slash at the end).
    pub(crate) fn html(&self, title: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(512 + self.rows.len() * 128);
        out.extend_from_slice(HEAD_START);
        escape(title, &mut out);
        out.extend_from_slice(HEAD_END);
        escape(title, &mut out);
        out.extend_from_slice(b"/</h1>\n");
        if self.left_out > 0 {
            let more = if self.uncounted { "more than " } else { "" };
            let (shown, left_out) = (self.rows.len(), self.left_out);
            let text = format!("<p>The first {shown} names; {more}{left_out} others are left out.");
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(b"</p>\n");
        }
        out.extend_from_slice(b"<table>\n");
        if !title.is_empty() {
            out.extend_from_slice(b"<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
        }
        for row in &self.rows {
            push_row(row, &mut out);
        }
        out.extend_from_slice(b"</table>\n</html>\n");
        out
    }

    /// The same as JSON (RFC 8259). What of a name is not UTF-8 is replaced in `name`; `href` is
    /// exact. `left_out` counts what would be here as well; with `uncounted` there is still more.
    pub(crate) fn json(&self, title: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.rows.len() * 128);
        out.extend_from_slice(b"{\"path\":");
        push_string(&[b"/", title].concat(), &mut out);
        let (left_out, uncounted) = (self.left_out, self.uncounted);
        let counts = format!(",\"left_out\":{left_out},\"uncounted\":{uncounted},\"entries\":[");
        out.extend_from_slice(counts.as_bytes());
        for (at, row) in self.rows.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"\n{\"name\":" } else { b",\n{\"name\":" });
            push_string(&row.name, &mut out);
            let is_directory = row.meta.kind == Kind::Directory;
            out.extend_from_slice(b",\"href\":");
            let mut link = Vec::new();
            path::escape_name(&row.name, &mut link);
            link.extend_from_slice(if is_directory { b"/" } else { b"" });
            push_string(&link, &mut out);
            let kind = if is_directory { "directory" } else { "file" };
            let (size, modified) = (row.meta.size, row.meta.modified());
            let rest = match is_directory {
                true => format!(",\"type\":\"{kind}\",\"modified\":{modified}}}"),
                false => format!(",\"type\":\"{kind}\",\"size\":{size},\"modified\":{modified}}}"),
            };
            out.extend_from_slice(rest.as_bytes());
        }
        out.extend_from_slice(b"\n]}\n");
        out
    }
}

/// Whether a client that sends this `Accept` wants JSON: it names it, and does not like HTML as
/// much (RFC 9110 section 12.5.1).
pub(crate) fn wants_json(accept: Option<&[u8]>) -> bool {
    let weight_of = |wanted: &str| {
        let mut members = accept.unwrap_or_default().split(|byte| *byte == b',');
        members.find_map(|member| {
            let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let is_it = parts.next()?.eq_ignore_ascii_case(wanted.as_bytes());
            is_it.then(|| parts.find_map(weight).unwrap_or(1000))
        })
    };
    weight_of("application/json") > weight_of("text/html").max(Some(0))
}

/// Reads an open directory.
pub(crate) async fn read(directory: &Rc<OwnedFd>) -> io::Result<Listing> {
    let directory = directory.try_clone()?;
    let slot: Arc<Mutex<Slot>> = Arc::default();
    let shared = Arc::clone(&slot);
    std::thread::Builder::new().name("ringway-list".to_owned()).spawn(move || {
        let rows = rows(&directory);
        let mut slot = shared.lock().unwrap_or_else(PoisonError::into_inner);
        slot.rows = Some(rows);
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    })?;
    poll_fn(|context| {
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.rows.take() {
            Some(rows) => Poll::Ready(rows),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}

/// The most rows that a page has.
const ROWS_MAX: usize = 10_000;

/// The most names that are read for it.
const NAMES_MAX: u64 = 1_000_000;

#[derive(Default)]
struct Slot {
    rows: Option<io::Result<Listing>>,
    waker: Option<Waker>,
}

fn rows(directory: &OwnedFd) -> io::Result<Listing> {
    let directory = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    let mut first = First::new(ROWS_MAX);
    let mut listing = Listing::default();
    for (count, entry) in (1..).zip(fs::read_dir(&directory)?) {
        if count > NAMES_MAX {
            listing.uncounted = true;
            break;
        }
        let entry = entry?;
        // One that vanished meanwhile is not an error.
        let Ok(kind) = entry.file_type() else { continue };
        let name = entry.file_name().into_vec();
        if (kind.is_dir() || kind.is_file()) && !name.starts_with(b".") {
            first.add(kind.is_dir(), name);
        }
    }
    listing.left_out = first.left_out;
    let names = first.heap.into_sorted_vec();
    listing.rows = names.into_iter().filter_map(|(_, name)| row(&directory, name)).collect();
    Ok(listing)
}

/// The first of many names, directories before files, and how many are behind them.
struct First {
    heap: BinaryHeap<(bool, Vec<u8>)>,
    most: usize,
    left_out: u64,
}

impl First {
    fn new(most: usize) -> Self {
        Self { heap: BinaryHeap::new(), most, left_out: 0 }
    }

    fn add(&mut self, is_directory: bool, name: Vec<u8>) {
        self.heap.push((!is_directory, name));
        if self.heap.len() > self.most {
            self.heap.pop();
            self.left_out += 1;
        }
    }
}

/// The row of a name; nothing if it is gone, or would be answered with 403.
fn row(directory: &Path, name: Vec<u8>) -> Option<ListingRow> {
    let path = directory.join(OsStr::from_bytes(&name));
    let found = fs::symlink_metadata(&path).ok()?;
    let stat = Stat {
        mode: found.mode(),
        size: found.size(),
        device: found.dev(),
        inode: found.ino(),
        modified: (found.mtime(), found.mtime_nsec() as u32),
        changed: (found.ctime(), found.ctime_nsec() as u32),
    };
    let meta = Meta::from(stat);
    // What everybody may read need not be tried.
    let open = match meta.kind {
        Kind::File => stat.mode & 0o004 != 0 || may_read(&path),
        Kind::Directory => stat.mode & 0o005 == 0o005 || may_search(&path),
        Kind::Other => false,
    };
    open.then_some(ListingRow { name, meta })
}

/// Does not wait where a FIFO has come in the file's place.
fn may_read(path: &Path) -> bool {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    !is_denied(fs::OpenOptions::new().read(true).custom_flags(flags).open(path))
}

fn may_search(directory: &Path) -> bool {
    !is_denied(fs::read_dir(directory)) && !is_denied(fs::symlink_metadata(directory.join(".")))
}

fn is_denied<T>(tried: io::Result<T>) -> bool {
    tried.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

const HEAD_START: &[u8] = b"<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width\">\n\
    <meta name=\"color-scheme\" content=\"light dark\">\n<title>/";
const HEAD_END: &[u8] = b"</title>\n<style>body{font:16px/1.5 system-ui,sans-serif;margin:2em}\
    td{padding:0 2em 0 0}td:nth-child(2){text-align:right}a{text-decoration:none}</style>\n<h1>/";

fn push_row(row: &ListingRow, out: &mut Vec<u8>) {
    let directory = row.meta.kind == Kind::Directory;
    let slash: &[u8] = if directory { b"/" } else { b"" };
    out.extend_from_slice(b"<tr><td><a href=\"");
    let mut link = Vec::new();
    path::escape_name(&row.name, &mut link);
    escape(&link, out);
    out.extend_from_slice(slash);
    out.extend_from_slice(b"\">");
    escape(&row.name, out);
    out.extend_from_slice(slash);
    out.extend_from_slice(b"</a></td><td>");
    if !directory {
        out.extend_from_slice(row.meta.size.to_string().as_bytes());
    }
    out.extend_from_slice(b"</td><td>");
    out.extend_from_slice(Date::new(row.meta.modified()).imf());
    out.extend_from_slice(b"</td></tr>\n");
}

/// Appends `text` as a JSON string (RFC 8259 section 7).
fn push_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for symbol in String::from_utf8_lossy(text).chars() {
        match symbol {
            '"' | '\\' => out.extend_from_slice(&[b'\\', symbol as u8]),
            '\0'..='\x1f' | '\x7f' => {
                out.extend_from_slice(format!("\\u{:04x}", symbol as u32).as_bytes());
            }
            _ => out.extend_from_slice(symbol.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

/// Appends `text` with the five characters that mean something to HTML escaped.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            byte => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, kind: Kind) -> ListingRow {
        ListingRow { name: name.into(), meta: Meta { kind, size: 7, ..Meta::default() } }
    }

    fn page(title: &[u8], rows: Vec<ListingRow>) -> Vec<u8> {
        Listing { rows, ..Listing::default() }.html(title)
    }

    #[test]
    fn a_page_says_what_there_is() {
        let rows = vec![row("z", Kind::Directory), row("a.txt", Kind::File)];
        let page = String::from_utf8_lossy(&page(b"docs", rows)).into_owned();
        let place = |name: &str| page.find(name).unwrap_or(usize::MAX);
        assert!(place("href=\"../\"") < place("href=\"z/\""));
        assert!(place("href=\"z/\"") < place("href=\"a.txt\""));
        assert!(page.contains("<title>/docs</title>") && page.contains("<td>7</td>"));
        assert!(page.contains("Thu, 01 Jan 1970 00:00:00 GMT") && !page.contains("left out"));
    }

    /// F14: the first names, directories before files, whatever order they come in.
    #[test]
    fn f14_what_is_left_out_is_said() {
        let mut first = First::new(3);
        for name in ["d", "z", "a", "c", "b"] {
            first.add(name == "z", name.into());
        }
        assert_eq!(first.left_out, 2);
        let names: Vec<_> = first.heap.into_sorted_vec().into_iter().map(|(_, n)| n).collect();
        assert_eq!(names, [b"z", b"a", b"b"]);
        let mut listing =
            Listing { rows: vec![row("a", Kind::File)], left_out: 41, uncounted: false };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert!(text(listing.html(b"")).contains("The first 1 names; 41 others are left out."));
        assert_eq!(
            text(listing.json(b"x")),
            "{\"path\":\"/x\",\"left_out\":41,\"uncounted\":false,\"entries\":[\n{\"name\":\"a\",\
             \"href\":\"a\",\"type\":\"file\",\"size\":7,\"modified\":0}\n]}\n"
        );
        listing.uncounted = true;
        assert!(text(listing.html(b"")).contains("more than 41 others"));
    }

    #[test]
    fn f14_json_is_for_those_who_want_it() {
        for (accept, want) in [
            ("application/json", true),
            ("text/plain, application/JSON;q=0.5", true),
            ("application/json, text/plain, */*", true),
            ("text/html;q=0.4, application/json;q=0.5", true),
            ("text/html, application/json", false),
            ("application/json;q=0", false),
            ("text/html,*/*;q=0.8", false),
            ("*/*", false),
            ("", false),
        ] {
            assert_eq!(wants_json(Some(accept.as_bytes())), want, "{accept}");
        }
        assert!(!wants_json(None));
        let mut out = Vec::new();
        push_string(b"a\"\\\n\x7f\xff\xc3\xa9", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "\"a\\\"\\\\\\u000a\\u007f\u{fffd}é\"");
    }

    #[test]
    fn names_cannot_become_markup() {
        let rows = vec![row("<script>alert('1')</script>&\".js", Kind::File)];
        let page = String::from_utf8_lossy(&page(b"\"><b>", rows)).into_owned();
        assert!(!page.contains("<script>") && !page.contains("<b>"));
        assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;.js</a>"));
        assert!(page.contains("href=\"%3Cscript%3Ealert(&#39;1&#39;)%3C%2Fscript%3E&amp;%22.js\""));
    }

    #[test]
    fn the_root_has_no_parent() {
        assert!(!String::from_utf8_lossy(&page(b"", Vec::new())).contains("../"));
    }
}
