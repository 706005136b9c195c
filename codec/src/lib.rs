//! Hand-tuned, sans-I/O codecs for HTTP/1.1, HTTP/2 and HTTP/3: parsers and serializers.
//!
//! Everything here is a function of bytes and, where deadlines are involved, of a [`Time`] from the
//! caller. The crate uses no sockets, clocks, threads or environment variables; with
//! `default-features = false` it needs `alloc` only, and the caller names the instruction set
//! ([`scan::Backend`]) instead of having it detected.

#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod authority;
pub mod date;
pub mod field;
pub mod h1;
pub mod h2;
pub mod h3;
pub mod hpack;
#[allow(unsafe_code)]
pub mod huffman;
pub mod message;
pub mod path;
pub mod qpack;
#[allow(unsafe_code)]
pub mod scan;
pub mod time;

pub use time::Time;
