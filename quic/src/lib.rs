//! QUIC and HTTP/3 as functions of datagrams and time, over quiche's transport: no sockets, no
//! threads, no unsafe code. RFC 9000, 9001, 9002 and 9114. `now` is a parameter everywhere; quiche
//! alone also reads its own clock.
//!
//! # For the code that owns the sockets
//! One [`Endpoint`] and one [`http::Shared`] per worker. The endpoint's `T` is the caller's state
//! of a connection: an [`http::Http`], made by `Default`, and the caller's requests under way.
//!
//! ```no_run
//! # use std::{net::SocketAddr, time::Instant};
//! # use ringway_quic::{http, *};
//! # use ringway_quic::{cid::Origin, boring::ssl::SslContextBuilder};
//! # use ringway_codec::{h3, scan::Backend, field::Known};
//! # fn tls() -> SslContextBuilder { todo!() }
//! # fn send(transmit: &Transmit, bytes: &[u8]) {}
//! # fn forward(origin: Origin, datagram: &[u8]) {}
//! # fn main() -> Result<(), quiche::Error> {
//! # let (master, datagrams) = ([0; 32], Vec::<Vec<u8>>::new());
//! # let from: SocketAddr = "[::1]:1".parse().unwrap();
//! # let to = from;
//! # let now = Instant::now();
//! // Certificates, SNI, ticket keys, key log and the replay mark come inside the TLS context.
//! let config = Settings::default().config(tls())?;
//! let policy = Policy::new(Origin { worker: 0, generation: 1 });
//! let mut endpoint = Endpoint::<http::Http>::new(policy, config, &Keys::derive(&master), now);
//! let mut shared = http::Shared::new(h3::Config::new(Backend::Scalar));
//! let mut out = vec![0; gso::BYTES_MAX];
//!
//! // A turn. First every datagram; what UDP_GRO delivers is split and fed one by one.
//! let mut touched = Vec::new();
//! for mut datagram in datagrams {
//!     match endpoint.receive(&mut datagram, from, to, now, &mut out) {
//!         Received::Connection(id) | Received::Accepted(id) => touched.push(id),
//!         Received::Reply(transmit) => send(&transmit, &out),
//!         Received::Forward(origin) => forward(origin, &datagram), // as it came, addresses too
//!         Received::Dropped(_) => {} // counted
//!     }
//! }
//! endpoint.expire(now); // when endpoint.deadline() has come
//!
//! // Then each connection that got something, or whose handlers have something to say, once.
//! for id in touched {
//!     let Some((conn, http)) = endpoint.get(id) else { continue };
//!     loop {
//!         match http.receive(conn, &mut shared) {
//!             Ok(http::Event::More) | Err(_) => break, // an error has closed the connection
//!             Ok(http::Event::Request(request)) => {
//!                 // (shared.h3.bytes, shared.h3.fields, request), until the next call.
//!                 let body = http::Body::Whole(b"hi");
//!                 http.respond(request.key, 200, body, conn, &mut shared, |head| {
//!                     head.field(Known::ContentType, b"", b"text/plain");
//!                 });
//!             }
//!             Ok(http::Event::Data { key, at }) => http.consume(key, at.len(), &shared),
//!             Ok(_) => {}
//!         }
//!     }
//!     while let Ok(Some(key)) = http.output(256 << 10, conn, |key, max, content| {
//!         http::Pulled::End
//!     }) {
//!         http.trailers(key, conn, |_| {});
//!     }
//! }
//!
//! // Last, what goes out: each batch is one sendmsg, with UDP_SEGMENT if it has a segment size.
//! while let Some((_, transmit)) = endpoint.transmit(&mut out, now) {
//!     send(&transmit, &out);
//! }
//! while let Some(ended) = endpoint.next_ended() {
//!     drop(ended.state);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! While [`http::Http::is_waiting`], call `expire` of the connection's `Http` about once a second:
//! it ends incomplete heads and responses that the client does not read.
//!
//! The endpoint keeps its timers, and packets that the congestion controller releases later; the
//! caller keeps one deadline for it. Call `Endpoint::tick` once a second with the seconds of Unix
//! time. When the socket is full, keep that batch's bytes and call `transmit` again later.
#![forbid(unsafe_code)]

mod amplification;
mod buf;
pub mod cid;
pub mod clients;
pub mod cmsg;
pub mod conn;
pub mod endpoint;
pub mod forward;
mod fragments;
pub mod generations;
pub mod gso;
pub mod http;
mod initial;
mod keys;
pub mod parameters;
pub mod replay;
pub mod reset;
mod settings;
pub mod steering;
mod table;
pub mod token;
mod totals;

pub use boring;
pub use buf::{Buf, Buffers};
pub use conn::Conn;
pub use endpoint::{Endpoint, Policy, Received};
pub use generations::{HalfOpen, Predecessors};
pub use gso::Transmit;
pub use keys::Keys;
pub use quiche;
pub use settings::{ALPN, Config, Congestion, Settings};
pub use table::Id;
