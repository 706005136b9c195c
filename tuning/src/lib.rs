//! Probes, explains, applies and restores what the kernel is set to. A leaf: it knows nothing of
//! HTTP or of ringway's engine, reads `/proc` and `/sys` through one [`Host`] (a directory of
//! fixtures in tests), and changes nothing unless told. What needs the ring itself (which
//! operations io_uring supports) is handed in.

pub mod doctor;
pub mod firewall;
mod host;
mod netlink;
mod nic;
mod report;
mod sockets;
pub mod start;
mod sysctls;
pub mod tune;

pub use host::Host;
pub use netlink::{Route, routes};
pub use report::{Item, Report, Verdict};
pub use sockets::{Holder, Transport};
pub use sysctls::Profile;
