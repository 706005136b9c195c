//! Static files: from a request path to a response with the right type, validators and bytes.
//!
//! Small files are answered from the worker's memory without a system call or an allocation; they
//! are compared with the disk when the last look is older than a tenth of a second. Large files are
//! read through the ring while they are sent. Nothing outside the root is ever opened, nothing
//! special is ever read. Where to look: `path` (what a request may name), `site` (the flow),
//! `load` (the disk), `respond` (what is answered); the rest are pure rules, one each.

mod budget;
mod cache_control;
mod compress;
mod conditional;
mod counts;
mod etag;
mod file;
mod hash;
mod listing;
mod load;
mod memory;
mod meta;
mod mime;
mod multipart;
mod path;
mod precompress;
mod range;
mod respond;
mod root;
mod route;
pub(crate) mod services;
mod settings;
mod sidecar;
mod site;
pub(crate) mod sites;
mod store;
mod tags;

pub(crate) use counts::cache_counts;
pub(crate) use memory::fit;
pub use precompress::{Precompress, PrecompressReport};
pub(crate) use root::reopen;

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use ringway_codec::field::Known;
use ringway_codec::h1::request::Method;

use crate::app::content_coding::{Coding, Codings};
use crate::app::handler::{BodyMode, Handler, Reply};
use crate::app::request::Request;
use crate::app::response::Response;
use budget::CacheBound;
use compress::Compression;
use conditional::RequestFields;
use path::BadPath;
use settings::SiteSettings;
use site::{Ask, Held, Site};
use tags::Tags;

/// Serves the files of a directory: GET and HEAD, with validators, ranges and the compressed files
/// that lie beside the plain ones (`app.js.br`, `app.js.zst`, `app.js.gz`).
///
/// Names that begin with a dot (but for `.well-known`), symbolic links that lead out of the
/// directory (which standard error says once), and anything that is not a regular file are not
/// served.
///
/// ```
/// use http::HeaderValue;
/// use ringway::{Files, Router};
///
/// let day = HeaderValue::from_static("max-age=86400");
/// let site = Files::new("site").cache_control("img/*", day).fallback("index.html");
/// let app = Router::new().any("/*", site);
/// ```
#[derive(Clone, Debug)]
pub struct Files {
    settings: Arc<SiteSettings>,
    id: usize,
    /// Dropped with the last copy of the service: workers then forget it.
    life: Arc<()>,
}

thread_local! {
    /// The sites that this worker has opened, in the order of their services' numbers: there may
    /// be hundreds.
    static SITES: RefCell<Vec<(usize, Opened)>> = const { RefCell::new(Vec::new()) };
}

/// A worker's side of a service.
struct Opened {
    site: Rc<Site>,
    life: Weak<()>,
}

/// Has this worker forget the services that are gone, with what it keeps of their files in memory.
pub(crate) fn forget_gone() {
    let is_gone = |(_, opened): &mut (usize, Opened)| opened.life.strong_count() == 0;
    let gone: Vec<_> = SITES.with_borrow_mut(|sites| sites.extract_if(.., is_gone).collect());
    drop(gone);
}

impl Files {
    /// Serves `directory`. If it cannot be opened, requests are answered with 500 and standard
    /// error says why, once. If another directory comes to stand at the path (a symbolic link is
    /// swapped, it is removed and built anew), the files of that one are served within a second;
    /// while none is there, requests are answered with 503.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let settings = Arc::new(SiteSettings::new("/", directory.into()));
        Self { settings, id: number(), life: Arc::default() }
    }

    /// Takes `prefix` off each path before looking for the file: set it to where the route is.
    ///
    /// # Panics
    /// When the prefix leads above the root or is badly escaped.
    #[must_use]
    pub fn prefix(self, prefix: &str) -> Self {
        self.with(|settings| *settings = settings.clone().mounted(prefix))
    }

    /// The file that stands for its directory; `index.html` unless set.
    #[must_use]
    pub fn index(self, name: impl Into<String>) -> Self {
        self.with(|settings| settings.index = name.into())
    }

    /// Sends files whose path below the directory matches `pattern` (`*` any bytes, `?` one byte)
    /// with this `Cache-Control`, or with none when it is empty. The first match wins. Without a
    /// match, names with a content hash (`app-3f2a9c1b.js`) are immutable for a year, pages are
    /// `no-cache`, and other files carry no such field.
    #[must_use]
    pub fn cache_control(self, pattern: impl Into<String>, value: HeaderValue) -> Self {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        self.with(|settings| {
            settings.policy = std::mem::take(&mut settings.policy).rule(pattern, value);
        })
    }

    /// Says in `Expires` what `max-age` says, for HTTP/1.0 caches. Off unless set.
    #[must_use]
    pub fn expires(self, expires: bool) -> Self {
        self.with(|settings| settings.expires = expires)
    }

    /// Sends files with this extension (what stands behind the last dot, in any case) as this
    /// content type, whatever is known of them without (RFC 9110 section 8.3). The text is kept for
    /// the life of the process.
    #[must_use]
    pub fn content_type(self, extension: &str, value: HeaderValue) -> Self {
        let value = mime::kept(&String::from_utf8_lossy(value.as_bytes()));
        let extension = extension.trim_start_matches('.').to_ascii_lowercase();
        self.with(|settings| {
            settings.types.retain(|(other, _)| *other != extension);
            settings.types.push((extension, value));
        })
    }

    /// Sends a field with every file.
    #[must_use]
    pub fn header(self, name: HeaderName, value: HeaderValue) -> Self {
        self.with(|settings| settings.headers.push((name, value)))
    }

    /// Lists directories that have no index, as HTML, or as JSON for clients whose `Accept` prefers
    /// `application/json`: the first 10,000 names, and how many more there are. Off unless set.
    #[must_use]
    pub fn browse(self, browse: bool) -> Self {
        self.with(|settings| settings.browse = browse)
    }

    /// Sends the compressed files that lie beside the plain ones to clients that accept them. On
    /// unless switched off.
    #[must_use]
    pub fn precompressed(self, precompressed: bool) -> Self {
        self.with(|settings| settings.precompressed = precompressed)
    }

    /// Compresses text of 1 KiB to 1 MiB in brotli, zstd and gzip when somebody asks for it who
    /// takes that. The first is answered without; later ones find the result in memory. Do not use
    /// it for files that hold a secret beside what an attacker chose, see
    /// [`Compress`](crate::layer::Compress). `no-transform` in [`Self::cache_control`] exempts
    /// files. Off unless set; [`Precompress`] makes better results ahead of time.
    #[must_use]
    pub fn compress(self, compress: bool) -> Self {
        let codings = Coding::COMPRESSED.into_iter().fold(Codings::default(), Codings::with);
        self.compressing(compress.then_some((codings, 1024..=1024 * 1024)))
    }

    /// As [`Self::compress`], with codings, and the sizes of the smallest and the largest file.
    pub(crate) fn compressing(self, what: Option<(Codings, RangeInclusive<u64>)>) -> Self {
        self.with(|settings| {
            settings.compression = what.map(|(codings, sizes)| Compression {
                codings,
                min: *sizes.start(),
                max: *sizes.end(),
                results: Arc::default(),
            });
        })
    }

    /// Answers paths that name no file with this file and 200, as single-page applications want.
    #[must_use]
    pub fn fallback(self, path: &str) -> Self {
        self.with(|settings| {
            settings.fallback = Some(path.trim_start_matches('/').into());
            settings.fallback_for_all = true;
        })
    }

    /// As [`Self::fallback`], but for paths whose last part has a dot: a script or an image that is
    /// missing is 404.
    #[must_use]
    pub fn fallback_for_pages(self, path: &str) -> Self {
        self.fallback(path).with(|settings| settings.fallback_for_all = false)
    }

    /// Answers `/a` with the file `a.html`, for `extensions(["html"])`, where there is no file `a`;
    /// the first of the extensions with which there is one.
    #[must_use]
    pub fn extensions(self, extensions: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.with(|settings| {
            settings.extensions = extensions.into_iter().map(Into::into).collect();
        })
    }

    /// Sends this file as the body of responses with that status (400, 403, 404).
    #[must_use]
    pub fn error_page(self, status: StatusCode, path: &str) -> Self {
        let path = path.trim_start_matches('/').into();
        self.with(|settings| settings.pages.push((status, path)))
    }

    /// Bytes of files that each worker keeps in memory (64 MiB unless set), and the largest file
    /// that is kept (2 MiB); larger ones are read from disk while they are sent.
    #[must_use]
    pub fn cache(self, bytes: usize, file_bytes: usize) -> Self {
        self.with(|settings| {
            settings.cache = CacheBound::new(bytes);
            settings.cache_file_bytes = file_bytes as u64;
        })
    }

    /// Reads larger files once, in the background, at so many bytes a second (64 MiB unless set),
    /// and keeps so many of the entity tags (16,384) that equal copies of them then share. 0 of
    /// either: their tags are of inode and times, and differ on each machine.
    #[must_use]
    pub fn content_tags(self, tags: usize, rate: u64) -> Self {
        self.with(|settings| settings.tags = Arc::new(Tags::new(tags, rate)))
    }

    /// For how long a file in memory is answered without looking whether it has changed on disk:
    /// 100 ms unless set. Zero looks each time.
    #[must_use]
    pub fn fresh_for(self, duration: Duration) -> Self {
        self.with(|settings| settings.fresh_for = duration)
    }

    fn with(mut self, change: impl FnOnce(&mut SiteSettings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        // A copy that was changed is another service.
        self.id = number();
        self.life = Arc::default();
        self
    }

    /// This worker's side of the service, once it is opened.
    fn opened<'a>(&self, sites: &'a [(usize, Opened)]) -> Option<&'a Rc<Site>> {
        let at = sites.binary_search_by_key(&self.id, |(id, _)| *id).ok()?;
        sites.get(at).map(|(_, opened)| &opened.site)
    }

    /// This worker's side of the service, or what to answer while there is nothing to serve.
    fn site(&self) -> Result<Rc<Site>, StatusCode> {
        let known = SITES.with_borrow(|sites| self.opened(sites).map(Rc::clone));
        let site = known.unwrap_or_else(|| {
            forget_gone();
            let site = Rc::new(Site::new(Arc::clone(&self.settings)));
            let opened = Opened { site: Rc::clone(&site), life: Arc::downgrade(&self.life) };
            SITES.with_borrow_mut(|sites| {
                let at = sites.partition_point(|(id, _)| *id < self.id);
                sites.insert(at, (self.id, opened));
            });
            site
        });
        site.follow().map(|()| site)
    }

    /// The answer to the ordinary request: see [`Site::at_once`].
    #[inline]
    fn at_once(&self, request: &Request<'_>) -> Option<Response> {
        let (Method::Get | Method::Head) = request.line.method else { return None };
        let path = request.line.path.of(request.bytes);
        let below = path.strip_prefix(self.settings.prefix.as_bytes())?;
        let accept_encoding = RequestFields::plain(request.fields, request.bytes)?;
        SITES.with_borrow(|sites| self.opened(sites)?.at_once(below, accept_encoding))
    }

    /// Answers whatever was not answered at once.
    #[inline(never)]
    fn answer(&self, request: &Request<'_>) -> Reply {
        match request.line.method {
            Method::Get | Method::Head => {}
            Method::Options => return Reply::Ready(allow(StatusCode::NO_CONTENT.into())),
            Method::Other => return self.refuse(StatusCode::NOT_IMPLEMENTED),
            _ => return Reply::Ready(allow(StatusCode::METHOD_NOT_ALLOWED.into())),
        }
        let bytes = request.bytes;
        let target = request.line.path.of(bytes);
        let merged;
        let mut below = self.settings.below(target);
        if below.is_none() {
            // Several slashes are one, also in front of the mount point and in it.
            merged = ringway_codec::path::merged(target);
            below = merged.as_deref().and_then(|target| self.settings.below(target));
        }
        let Some(below) = below else { return self.refuse(StatusCode::NOT_FOUND) };
        if below.is_empty() && !target.ends_with(b"/") {
            // The mount point without its slash, where relative links would lead elsewhere.
            return Reply::Ready(site::redirect(&location(request)));
        }
        let site = match self.site() {
            Ok(site) => site,
            Err(status) => return Reply::Ready(status.into()),
        };
        let lines = request.fields.iter().map(|field| (field.known, field.value(bytes)));
        let asked = RequestFields::gather(lines);
        let head = request.line.method == Method::Head;
        // Without escapes the path is its own decoded form, and what is in memory was accepted.
        let escaped = below.contains(&b'%');
        let mut held = if escaped { Held::Nothing } else { site.held(below) };
        if let Held::Fresh(file) = held {
            return Reply::Ready(site.respond(&file, head, &asked));
        }
        let mut path = Vec::with_capacity(below.len());
        match path::relative(below, &mut path) {
            Ok(()) => {}
            Err(BadPath::Malformed) => return self.refuse(StatusCode::BAD_REQUEST),
            Err(BadPath::NotServed) => return self.refuse(StatusCode::NOT_FOUND),
        }
        if path != below {
            held = site.held(&path);
        }
        file_at(site, path, held, asked, request)
    }

    fn refuse(&self, status: StatusCode) -> Reply {
        if self.settings.pages.iter().all(|(of, _)| *of != status) {
            return Reply::Ready(status.into());
        }
        match self.site() {
            Ok(site) => Reply::Later(Box::pin(async move { site.refuse(status).await })),
            Err(_) => Reply::Ready(status.into()),
        }
    }
}

impl Handler for Files {
    fn start(&self) {
        self.settings.start();
    }

    fn nested(&mut self, prefix: &str) {
        assert!(!prefix.contains('{'), "files are not served below a parameter: {prefix}");
        let prefix = format!("{prefix}{}", self.settings.prefix);
        *self = self.clone().prefix(&prefix);
    }

    fn call(&self, request: &Request<'_>) -> Reply {
        match self.at_once(request) {
            Some(response) => Reply::Ready(response),
            None => self.answer(request),
        }
    }

    fn body_mode(&self, _: &Request<'_>) -> BodyMode {
        // No body means anything here: the answer does not wait for one.
        BodyMode::Stream
    }
}

/// A number that no other service of this process has.
fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Answers GET and HEAD with the file at the decoded `path`: from memory where what is `held` there
/// is fresh, else with the help of the disk.
fn file_at(
    site: Rc<Site>,
    path: Vec<u8>,
    held: Held,
    asked: RequestFields<'_>,
    request: &Request<'_>,
) -> Reply {
    let head = request.line.method == Method::Head;
    if let Held::Fresh(file) = held {
        return Reply::Ready(site.respond(&file, head, &asked));
    }
    Reply::Later(Box::pin(site.answer(Ask {
        path,
        asked: asked.into_owned(),
        head,
        look: matches!(held, Held::Ageing),
        json: listing::wants_json(request.known(Known::Accept)),
        location: location(request),
    })))
}

/// Where the directory that the request means is.
fn location(request: &Request<'_>) -> Vec<u8> {
    path::location(request.path().as_bytes(), "/", request.query_string().map(str::as_bytes))
}

fn allow(mut response: Response) -> Response {
    response.fields.push(b"allow", b"GET, HEAD, OPTIONS");
    response
}

#[cfg(test)]
mod tests;
