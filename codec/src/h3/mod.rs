//! HTTP/3 (RFC 9114) on the server's side, as a function of stream bytes: frames, settings, the
//! control stream and requests with their rules, priorities (RFC 9218). What QUIC does is not here:
//! streams are numbers, and what arrives on each comes in by [`Conn::receive`]
//! in order.

mod config;
mod conn;
mod control;
pub mod frame;
mod receive;
mod stream;
#[cfg(test)]
mod tests;

use crate::qpack;
use core::fmt;

pub use config::{Config, Event, Request, Shared};
pub use conn::Conn;

/// The error codes of RFC 9114 section 8.1 and RFC 9204 section 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Code {
    /// No error.
    NoError = 0x100,
    /// The peer broke the protocol in a way that no other code names.
    GeneralProtocol = 0x101,
    /// Ours: something failed here.
    Internal = 0x102,
    /// A stream that the peer may not open, or not again.
    StreamCreation = 0x103,
    /// A stream that has to stay open ended.
    ClosedCriticalStream = 0x104,
    /// A frame where it may not be.
    FrameUnexpected = 0x105,
    /// A frame whose layout or size is wrong.
    Frame = 0x106,
    /// Behaviour that may be an attack.
    ExcessiveLoad = 0x107,
    /// A stream or push id that may not be used so.
    Id = 0x108,
    /// A setting that may not be, or twice.
    Settings = 0x109,
    /// The control stream does not begin with SETTINGS.
    MissingSettings = 0x10a,
    /// Not processed at all; safe to try again.
    RequestRejected = 0x10b,
    /// The response is not wanted any more.
    RequestCancelled = 0x10c,
    /// The stream ended within a request.
    RequestIncomplete = 0x10d,
    /// A message against the rules of HTTP.
    Message = 0x10e,
    /// CONNECT: the connection behind it failed.
    Connect = 0x10f,
    /// To be had over another version only.
    VersionFallback = 0x110,
    /// A field section that cannot be decoded.
    QpackDecompression = 0x200,
    /// A bad instruction on the peer's encoder stream.
    QpackEncoderStream = 0x201,
    /// A bad instruction on the peer's decoder stream.
    QpackDecoderStream = 0x202,
}

impl Code {
    /// The number on the wire.
    pub const fn number(self) -> u64 {
        self as u64
    }
}

/// A violation that ends the connection. The peer erred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// The code to close with.
    pub code: Code,
    /// What was wrong.
    pub what: &'static str,
}

impl From<qpack::Error> for Error {
    fn from(error: qpack::Error) -> Self {
        match error {
            qpack::Error::Decompression(what) => Self::new(Code::QpackDecompression, what),
            qpack::Error::EncoderStream(what) => Self::new(Code::QpackEncoderStream, what),
            qpack::Error::DecoderStream(what) => Self::new(Code::QpackDecoderStream, what),
            qpack::Error::Excessive => {
                Self::new(Code::ExcessiveLoad, "acknowledgements that the peer does not read")
            }
        }
    }
}

impl Error {
    const fn new(code: Code, what: &'static str) -> Self {
        Self { code, what }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the peer broke HTTP/3: {} ({:?})", self.what, self.code)
    }
}

impl core::error::Error for Error {}
