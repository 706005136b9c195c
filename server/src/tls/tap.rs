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
}

thread_local! {
    static HEARD: RefCell<Heard> = const {
        RefCell::new(Heard { client: None, server: None, name: None })
    };
}

/// Runs `call` and returns what rustls said meanwhile on this thread.
pub(super) fn listen<T>(call: impl FnOnce() -> T) -> (T, Heard) {
    HEARD.take();
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
