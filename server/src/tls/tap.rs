//! What rustls tells only through callbacks of its shared configuration: the traffic secrets (by
//! its key log) and the server name (by its certificate resolver).
//!
//! Both run on the thread that drives the handshake, inside the very call that processes the
//! client's records, so a thread-local carries them to the session that made the call. Keeping the
//! two secrets ourselves costs 98 bytes where rustls' kernel connection, which can derive key
//! updates too, costs about 800. They are boxed: see `secret`.

use std::cell::RefCell;

use super::secret::Secret;

/// What was heard during one call into rustls.
#[derive(Default)]
pub(super) struct Heard {
    /// The client's first application traffic secret.
    pub(super) client: Option<Box<Secret>>,
    /// The server's.
    pub(super) server: Option<Box<Secret>>,
    /// The name in the client's SNI extension, lower case.
    pub(super) name: Option<Box<str>>,
    /// A call into rustls is under way.
    listening: bool,
}

thread_local! {
    static HEARD: RefCell<Heard> = const {
        RefCell::new(Heard { client: None, server: None, name: None, listening: false })
    };
}

/// Runs `call` and returns what rustls said meanwhile on this thread; `name` is what it said before
/// of the server name.
pub(super) fn listen<T>(name: Option<Box<str>>, call: impl FnOnce() -> T) -> (T, Heard) {
    HEARD.set(Heard { name, listening: true, ..Heard::default() });
    let result = call();
    (result, HEARD.take())
}

/// Notes a secret if it is one of the two that matter.
pub(super) fn secret(label: &str, secret: &[u8]) {
    HEARD.with_borrow_mut(|heard| match label {
        CLIENT => heard.client = Secret::new(secret),
        SERVER => heard.server = Secret::new(secret),
        _ => {}
    });
}

/// Whether this thread is in such a call.
pub(super) fn is_listening() -> bool {
    HEARD.with_borrow(|heard| heard.listening)
}

/// The server name that was heard.
pub(super) fn with_name<T>(of: impl FnOnce(Option<&str>) -> T) -> T {
    HEARD.with_borrow(|heard| of(heard.name.as_deref()))
}

/// Notes the server name.
pub(super) fn name(name: &str) {
    HEARD.with_borrow_mut(|heard| heard.name = Some(name.into()));
}

/// Whether [`secret`] wants this label.
pub(super) fn wants(label: &str) -> bool {
    label == CLIENT || label == SERVER
}

const CLIENT: &str = "CLIENT_TRAFFIC_SECRET_0";
const SERVER: &str = "SERVER_TRAFFIC_SECRET_0";
