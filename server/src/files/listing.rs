//! The page that lists a directory.
//!
//! Every name is escaped for where it stands: percent-encoded in the link, entity-encoded in the
//! text. The ring has no operation that reads a directory, so a thread does it, which the page is
//! rare enough to afford. Symbolic links are not listed, for they may lead out of the root.

use std::fs;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use ringway_codec::date::Date;

use super::meta::{Kind, Meta};
use super::path;
use crate::io::Stat;

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The entry's name, any bytes but `/` and NUL.
    pub(crate) name: Vec<u8>,
    /// What the file system says of it.
    pub(crate) meta: Meta,
}

/// The page for the directory at `title` (decoded, below the root, no slash at the end): rows
/// sorted, directories first, hidden names and special files left out.
pub(crate) fn page(title: &[u8], mut rows: Vec<Row>) -> Vec<u8> {
    rows.retain(|row| !row.name.starts_with(b".") && row.meta.kind != Kind::Other);
    rows.sort_by(|a, b| {
        let key = |row: &Row| row.meta.kind != Kind::Directory;
        key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
    });
    let mut out = Vec::with_capacity(512 + rows.len() * 128);
    out.extend_from_slice(HEAD_START);
    escape(title, &mut out);
    out.extend_from_slice(HEAD_END);
    escape(title, &mut out);
    out.extend_from_slice(b"/</h1>\n<table>\n");
    if !title.is_empty() {
        out.extend_from_slice(b"<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
    }
    for row in &rows {
        push_row(row, &mut out);
    }
    out.extend_from_slice(b"</table>\n</html>\n");
    out
}

/// Reads an open directory: at most [`ROWS_MAX`] entries, in the directory's order.
pub(crate) async fn read(directory: &Rc<OwnedFd>) -> io::Result<Vec<Row>> {
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

#[derive(Default)]
struct Slot {
    rows: Option<io::Result<Vec<Row>>>,
    waker: Option<Waker>,
}

fn rows(directory: &OwnedFd) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for entry in fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd()))? {
        let entry = entry?;
        // One that vanished meanwhile is not an error.
        let Ok(found) = entry.metadata() else { continue };
        let stat = Stat {
            mode: found.mode(),
            size: found.size(),
            device: found.dev(),
            inode: found.ino(),
            modified: (found.mtime(), found.mtime_nsec() as u32),
            changed: (found.ctime(), found.ctime_nsec() as u32),
        };
        rows.push(Row { name: entry.file_name().into_vec(), meta: stat.into() });
        if rows.len() == ROWS_MAX {
            break;
        }
    }
    Ok(rows)
}

const HEAD_START: &[u8] = b"<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width\">\n\
    <meta name=\"color-scheme\" content=\"light dark\">\n<title>/";
const HEAD_END: &[u8] = b"</title>\n<style>body{font:16px/1.5 system-ui,sans-serif;margin:2em}\
    td{padding:0 2em 0 0}td:nth-child(2){text-align:right}a{text-decoration:none}</style>\n<h1>/";

fn push_row(row: &Row, out: &mut Vec<u8>) {
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

    fn row(name: &str, kind: Kind) -> Row {
        Row { name: name.into(), meta: Meta { kind, size: 7, ..Meta::default() } }
    }

    #[test]
    fn directories_first_hidden_and_special_left_out() {
        let rows = vec![
            row("b.txt", Kind::File),
            row(".git", Kind::Directory),
            row("pipe", Kind::Other),
            row("z", Kind::Directory),
            row("a.txt", Kind::File),
        ];
        let page = String::from_utf8_lossy(&page(b"docs", rows)).into_owned();
        let place = |name: &str| page.find(name).unwrap_or(usize::MAX);
        assert!(place("href=\"../\"") < place("href=\"z/\""));
        assert!(place("href=\"z/\"") < place("href=\"a.txt\""));
        assert!(place("href=\"a.txt\"") < place("href=\"b.txt\""));
        assert!(!page.contains(".git") && !page.contains("pipe"));
        assert!(page.contains("<title>/docs</title>") && page.contains("<td>7</td>"));
        assert!(page.contains("Thu, 01 Jan 1970 00:00:00 GMT"));
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
