//! One worker's side of a static service: its root descriptor and its files in memory.
//!
//! Requests that need the disk for the same path at the same time share one check: the first one
//! does it, the others wait at a gate and then find the file in memory.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use http::StatusCode;

use super::conditional::RequestFields;
use super::counts;
use super::file::{File, FileContent};
use super::listing;
use super::load::{self, Look, Seen};
use super::memory::Memory;
use super::respond;
use super::root::is_exhausted;
use super::settings::SiteSettings;
use super::store::ShelfNumber;
use crate::app::content_coding::{Accepted, Coding, Recent};
use crate::app::response::Response;
use crate::rt::task::spawn;
use crate::rt::thread_state;

/// A worker's side of a service.
pub(crate) struct Site {
    settings: Arc<SiteSettings>,
    /// The root, and the number under which this worker knows it.
    root: RefCell<(u64, Option<Arc<OwnedFd>>)>,
    memory: Rc<Memory>,
    shelf: ShelfNumber,
    /// Paths that are being checked.
    looking: RefCell<HashMap<Box<[u8]>, Rc<Gate>>>,
    listings: Cell<u32>,
    accepted: RefCell<Recent>,
}

/// A request that cannot be answered from memory at once.
pub(crate) struct Ask {
    /// Below the root, decoded.
    pub(crate) path: Vec<u8>,
    /// What the fields say.
    pub(crate) asked: RequestFields<'static>,
    /// Whether it is a HEAD.
    pub(crate) head: bool,
    /// Whether to look at the disk even if memory could answer.
    pub(crate) look: bool,
    /// Whether a listing is wanted as JSON.
    pub(crate) json: bool,
    /// Where to redirect to if the path turns out to be that of a directory.
    pub(crate) location: Vec<u8>,
}

/// What memory has for a path.
pub(crate) enum Held {
    /// The file, recently checked.
    Fresh(Rc<File>),
    /// A file that this request should compare with the disk.
    Ageing,
    /// Nothing usable.
    Nothing,
}

/// What is at a path.
enum Found {
    File(Rc<File>),
    Directory,
}

/// Listings that one worker makes at the same time; each has a thread.
const LISTINGS_MAX: u32 = 4;

impl Drop for Site {
    fn drop(&mut self) {
        self.memory.store.borrow_mut().take_down(self.shelf, |old| self.memory.let_go(&old));
    }
}

impl Site {
    /// A worker's side of the service; its root is opened at the first one's.
    pub(crate) fn new(settings: Arc<SiteSettings>) -> Self {
        settings.start();
        let memory = Memory::under(&settings.cache);
        let shelf = memory.store.borrow_mut().put_up();
        Self {
            root: RefCell::new(settings.root.current()),
            memory,
            shelf,
            looking: RefCell::default(),
            listings: Cell::new(0),
            accepted: RefCell::default(),
            settings,
        }
    }

    /// Whether there are files to serve, from the directory that is there now. Another one than
    /// before has nothing to do with what is in memory.
    pub(crate) fn follow(&self) -> Result<(), StatusCode> {
        let mut root = self.root.borrow_mut();
        if root.0 != self.settings.root.generation() {
            *root = self.settings.root.current();
            self.clear();
            self.settings.find_tags();
        }
        match *root {
            (_, Some(_)) => Ok(()),
            // It never existed: a configuration error.
            (0, None) => Err(StatusCode::INTERNAL_SERVER_ERROR),
            (_, None) => Err(StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    /// What memory has for `path`. A key of the store is a path that was accepted and decoded:
    /// nothing else can be found.
    pub(crate) fn held(&self, path: &[u8]) -> Held {
        let store = self.memory.store.borrow();
        let Some(file) = store.find(self.shelf, path) else { return Held::Nothing };
        let now = thread_state::with(|thread| thread.now());
        if now >= file.fresh_until.get() {
            return Held::Nothing;
        }
        // At half time one request does the check for all, so that they need not all wait at the
        // end.
        if now >= file.check_from.get() && !file.looking.replace(true) {
            return Held::Ageing;
        }
        counts::hit();
        Held::Fresh(Rc::clone(file))
    }

    /// The answer to a request without conditions for a file in memory that needs no check yet;
    /// `path` is as it came. `None` for everything else.
    #[inline]
    pub(crate) fn at_once(
        self: &Rc<Self>,
        path: &[u8],
        accept_encoding: Option<&[u8]>,
    ) -> Option<Response> {
        if self.root.borrow().0 != self.settings.root.generation() {
            return None;
        }
        let store = self.memory.store.borrow();
        let file = store.find(self.shelf, path)?;
        let now = thread_state::with(|thread| thread.now());
        if !file.is_fresh(now) || file.escaped {
            return None;
        }
        let coding = match accept_encoding {
            None => Coding::Identity,
            value => {
                let accepted = self.accepted.borrow_mut().parse(value);
                if !file.wanted.get().is_empty() {
                    self.compress(file, accepted);
                }
                accepted.choose(file.codings.get())?
            }
        };
        let form = file.form(coding)?;
        counts::hit();
        Some(respond::ordinary(file, form))
    }

    /// Answers GET and HEAD (`head`) of a file.
    pub(crate) fn respond(
        self: &Rc<Self>,
        file: &Rc<File>,
        head: bool,
        asked: &RequestFields<'_>,
    ) -> Response {
        let accepted = self.accepted.borrow_mut().parse(asked.accept_encoding.as_deref());
        if !file.wanted.get().is_empty() {
            self.compress(file, accepted);
        }
        respond::respond(file, head, asked, accepted)
    }

    /// Has the form made that a client would take, if it is wanted and not made yet.
    #[cold]
    fn compress(self: &Rc<Self>, file: &Rc<File>, accepted: Accepted) {
        let wanted = file.wanted.get();
        let coding = accepted.choose(file.codings.get().or(wanted));
        let coding = coding.filter(|coding| wanted.has(*coding));
        let (Some(coding), Some(compression)) = (coding, &self.settings.compression) else {
            return;
        };
        let Some(form) = file.form(Coding::Identity) else { return };
        let FileContent::Memory(bytes) = &form.content else { return };
        // Where too much waits already, a later request tries again.
        let Ok(made) = compression.results.ask(form.etag, coding, bytes) else { return };
        file.wanted.set(wanted.without(coding));
        let (site, file) = (Rc::clone(self), Rc::clone(file));
        spawn(async move {
            if let Ok(Some(bytes)) = made.await {
                let grown = file.add(coding, Rc::from(&*bytes));
                site.grow(&file, grown);
            }
        });
    }

    /// Counts bytes of a file in memory that were added to it.
    fn grow(&self, file: &Rc<File>, bytes: usize) {
        self.memory
            .store
            .borrow_mut()
            .grow(self.shelf, file, bytes, |old| self.memory.let_go(&old));
    }

    /// Answers a request that memory could not answer at once.
    pub(crate) async fn answer(self: Rc<Self>, ask: Ask) -> Response {
        if !ask.look
            && let Some(file) = self.wait(&ask.path).await
        {
            return self.respond(&file, ask.head, &ask.asked);
        }
        // Thousands may wait for one check: only the request that does it needs the memory for it.
        Box::pin(self.answer_from_disk(ask)).await
    }

    /// The file at `path` from memory, after the check of it that is under way.
    async fn wait(&self, path: &[u8]) -> Option<Rc<File>> {
        let gate = self.looking.borrow().get(path).map(Rc::clone);
        if let Some(gate) = gate {
            gate.pass().await;
        }
        match self.held(path) {
            Held::Fresh(file) => Some(file),
            _ => None,
        }
    }

    async fn answer_from_disk(self: &Rc<Self>, ask: Ask) -> Response {
        let found = self.look(&ask.path).await;
        if !matches!(found, Ok(Found::File(_)))
            && let Some(file) = self.extended(&ask.path).await
        {
            return self.respond(&file, ask.head, &ask.asked);
        }
        let error = match found {
            Ok(Found::File(file)) => return self.respond(&file, ask.head, &ask.asked),
            Ok(Found::Directory) => return redirect(&ask.location),
            Err(error) => error,
        };
        let status = status_of(&error);
        if status == StatusCode::NOT_FOUND {
            if let Some(response) = self.list(&ask.path, ask.json).await {
                return response;
            }
            if let Some(fallback) = self.settings.fallback_of(&ask.path)
                && let Ok(Found::File(file)) = self.find(fallback).await
            {
                return self.respond(&file, ask.head, &ask.asked);
            }
        }
        self.refuse(status).await
    }

    /// An error response, with the page that is set for it.
    pub(crate) async fn refuse(&self, status: StatusCode) -> Response {
        let page = self.settings.pages.iter().find(|(of, _)| *of == status);
        if let Some((_, path)) = page
            && let Some(page) = self.page(status, path).await
        {
            return page;
        }
        status.into()
    }

    /// The file at `path` as the body of an error response, if it is there.
    pub(crate) async fn page(&self, status: StatusCode, path: &[u8]) -> Option<Response> {
        match self.find(path).await {
            Ok(Found::File(file)) => Some(respond::page(&file, status)),
            _ => None,
        }
    }

    /// The file whose name is `path` with one of the extensions that paths may leave out.
    async fn extended(&self, path: &[u8]) -> Option<Rc<File>> {
        if is_directory(path) {
            return None;
        }
        for extension in &self.settings.extensions {
            let name = [path, b".", extension.as_bytes()].concat();
            if let Ok(Found::File(file)) = self.find(&name).await {
                return Some(file);
            }
        }
        None
    }

    /// The file or directory at `path`.
    async fn find(&self, path: &[u8]) -> io::Result<Found> {
        match self.wait(path).await {
            Some(file) => Ok(Found::File(file)),
            None => self.look(path).await,
        }
    }

    /// What the disk has at `path`; one with a slash at its end, and the empty one, stand for the
    /// directory's index.
    async fn look(&self, path: &[u8]) -> io::Result<Found> {
        let _looking = Looking::start(&self.looking, path);
        let mut on_disk = path.to_vec();
        if is_directory(path) {
            on_disk.extend_from_slice(self.settings.index.as_bytes());
        }
        let mut tries = 0;
        loop {
            match self.load(path, &on_disk).await {
                // The file was truncated between check and read.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && tries < 3 => {
                    tries += 1;
                }
                // Out of descriptors or memory: serve what is in memory, if anything.
                Err(error) if is_exhausted(&error) => {
                    let kept = self.memory.store.borrow().find(self.shelf, path).map(Rc::clone);
                    return kept.map(Found::File).ok_or(error);
                }
                Err(error) => {
                    self.forget(path);
                    return Err(error);
                }
                found => return found,
            }
        }
    }

    async fn load(&self, path: &[u8], on_disk: &[u8]) -> io::Result<Found> {
        // Taken before the check: later changes are found by the next one.
        let now = thread_state::with(|thread| thread.now());
        let (generation, root) = self.root()?;
        let look = match load::look(&root, on_disk, &self.settings).await? {
            Seen::File(look) => look,
            Seen::Directory(_) if is_directory(path) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            Seen::Directory(_) => return Ok(Found::Directory),
        };
        if let Some(file) = self.unchanged(path, &look) {
            file.checked(now, self.settings.fresh_for);
            counts::check();
            return Ok(Found::File(file));
        }
        self.memory.fit();
        let stored = self.memory.store.borrow().bytes();
        let weight = look.weight(&self.settings);
        let room = weight.and_then(|bytes| self.memory.budget.reserve(bytes, stored));
        counts::miss();
        let file = Rc::new(look.read(on_disk, &self.settings, room.is_some()).await?);
        file.checked(now, self.settings.fresh_for);
        match file.bytes() {
            // Nothing is kept of a directory that was replaced meanwhile.
            _ if generation != self.settings.root.generation() => {}
            Some(bytes) => {
                let gone = |old: Rc<File>| self.memory.let_go(&old);
                let mut store = self.memory.store.borrow_mut();
                store.insert((self.shelf, path), Rc::clone(&file), bytes, gone);
            }
            None => self.forget(path),
        }
        Ok(Found::File(file))
    }

    fn forget(&self, path: &[u8]) {
        let old = self.memory.store.borrow_mut().remove(self.shelf, path);
        if let Some(old) = old {
            self.memory.let_go(&old);
        }
    }

    fn clear(&self) {
        self.memory.store.borrow_mut().clear(self.shelf, |old| self.memory.let_go(&old));
    }

    /// The root, with the number under which it is known.
    fn root(&self) -> io::Result<(u64, Arc<OwnedFd>)> {
        let (generation, root) = &*self.root.borrow();
        let root = root.as_ref().ok_or(io::ErrorKind::NotFound)?;
        Ok((*generation, Arc::clone(root)))
    }

    /// The file in memory, if a look at the disk shows that it is still right.
    fn unchanged(&self, path: &[u8], look: &Look) -> Option<Rc<File>> {
        let store = self.memory.store.borrow();
        let file = store.find(self.shelf, path)?;
        (!file.racy && file.metas == look.metas).then(|| Rc::clone(file))
    }

    /// The listing of the directory at `path`, where that is allowed and there is one.
    async fn list(&self, path: &[u8], json: bool) -> Option<Response> {
        if !self.settings.browse || !is_directory(path) {
            return None;
        }
        let name = path.strip_suffix(b"/").unwrap_or(path);
        let (_, root) = self.root().ok()?;
        let directory = match load::look(&root, name, &self.settings).await {
            Ok(Seen::Directory(directory)) => directory,
            Err(error) if is_exhausted(&error) => return Some(status_of(&error).into()),
            _ => return None,
        };
        if self.listings.get() >= LISTINGS_MAX {
            return Some(StatusCode::SERVICE_UNAVAILABLE.into());
        }
        let _counted = Counted::new(&self.listings);
        let listing = match listing::read(&directory).await {
            Ok(listing) => listing,
            Err(error) => return is_exhausted(&error).then(|| status_of(&error).into()),
        };
        let mut response = match json {
            true => Response::json_bytes(listing.json(name)),
            false => Response::html(listing.html(name)),
        };
        response.fields.push(b"vary", b"accept");
        response.fields.push(b"cache-control", b"no-cache");
        Some(response)
    }
}

/// 308: the same request, at the directory's own name. The reference has been made safe.
pub(crate) fn redirect(location: &[u8]) -> Response {
    let mut response = Response::from(StatusCode::PERMANENT_REDIRECT);
    response.fields.push(b"location", location);
    response
}

/// Whether a path below the root says that it means a directory.
fn is_directory(path: &[u8]) -> bool {
    path.is_empty() || path.ends_with(b"/")
}

/// The status that tells a client of an error of ours or of the kernel's.
fn status_of(error: &io::Error) -> StatusCode {
    match error.raw_os_error() {
        // A path that leaves the root (EXDEV), goes in circles or is too long names nothing.
        Some(
            libc::ENOENT
            | libc::ENOTDIR
            | libc::EXDEV
            | libc::ELOOP
            | libc::ENAMETOOLONG
            | libc::ESTALE
            | libc::EINVAL,
        ) => StatusCode::NOT_FOUND,
        // ENXIO: a socket.
        Some(libc::EACCES | libc::EPERM | libc::ENXIO | libc::ENODEV) => StatusCode::FORBIDDEN,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => match error.kind() {
            io::ErrorKind::NotFound => StatusCode::NOT_FOUND,
            io::ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

/// A gate: requests wait here for another request's check.
#[derive(Default)]
struct Gate {
    open: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Gate {
    async fn pass(&self) {
        poll_fn(|context| {
            if self.open.get() {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn open(&self) {
        self.open.set(true);
        for waker in self.waiting.take() {
            waker.wake();
        }
    }
}

/// Holds the gate of a path while it lives. Waiting requests also continue if it is dropped early.
/// `None` if the gate is already held.
struct Looking<'a> {
    at: &'a RefCell<HashMap<Box<[u8]>, Rc<Gate>>>,
    path: Option<Box<[u8]>>,
}

impl<'a> Looking<'a> {
    fn start(at: &'a RefCell<HashMap<Box<[u8]>, Rc<Gate>>>, path: &[u8]) -> Self {
        let mut gates = at.borrow_mut();
        let first = !gates.contains_key(path);
        if first {
            gates.insert(path.into(), Rc::default());
        }
        drop(gates);
        Self { at, path: first.then(|| path.into()) }
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        let Some(path) = self.path.take() else { return };
        let gate = self.at.borrow_mut().remove(&path);
        if let Some(gate) = gate {
            gate.open();
        }
    }
}

/// Counts one up while it lives.
struct Counted<'a>(&'a Cell<u32>);

impl<'a> Counted<'a> {
    fn new(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
