//! Starting a server and holding it: the builder, its listeners, the handle, signals, the way from
//! a configuration, and from one to the next while it runs.

mod banner;
mod broker;
mod configured;
mod content;
mod handle;
pub mod handover;
mod health;
mod inherited;
mod lifetime;
mod listener;
mod log;
mod notify;
mod parent;
mod privileges;
mod receipt;
mod reload;
mod server;
mod signals;
mod store;
mod supervisor;
pub mod test;
mod workers;

pub use broker::Broker;
pub use configured::{CertificateReport, certificates_of, dns_records, serve, start};
pub use handle::ServerHandle;
pub use listener::Bound;
pub use parent::{supervise, wants_parent};
pub use receipt::{Late, Receipt};
pub use server::Server;

/// Takes over what the service manager has handed to the process, and removes it from the
/// environment: first of all, while there are no threads.
pub fn adopt_environment() {
    inherited::find();
    notify::find();
}
