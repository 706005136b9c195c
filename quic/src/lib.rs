//! QUIC and HTTP/3 as functions of datagrams and time, over quiche's transport: no sockets, no
//! threads, no unsafe code. RFC 9000, 9001, 9002 and 9114. `now` is a parameter everywhere; quiche
//! alone also reads its own clock.
#![forbid(unsafe_code)]

mod buf;
pub mod cid;
pub mod conn;
pub mod endpoint;
pub mod gso;
pub mod http;
mod keys;
pub mod replay;
pub mod reset;
mod settings;
mod table;
pub mod token;
mod totals;

pub use boring;
pub use buf::{Buf, Buffers};
pub use conn::Conn;
pub use endpoint::{Endpoint, Policy, Received};
pub use gso::Transmit;
pub use keys::Keys;
pub use quiche;
pub use settings::{ALPN, Congestion, Settings};
pub use table::Id;
