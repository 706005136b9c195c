//! HTTP/3 (RFC 9114), server side, as a function of stream bytes: frames, settings, the control
//! stream, requests and their rules, priorities (RFC 9218). QUIC is not part of it: streams are
//! numbers, and their bytes are passed in order to [`Conn::receive`].

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
    /// A protocol violation that no other code covers.
    GeneralProtocol = 0x101,
    /// An internal error of ours.
    Internal = 0x102,
    /// A stream that the peer must not open, or not a second time.
    StreamCreation = 0x103,
    /// A critical stream was closed.
    ClosedCriticalStream = 0x104,
    /// A frame that is not allowed at this point.
    FrameUnexpected = 0x105,
    /// A frame whose layout or size is wrong.
    Frame = 0x106,
    /// Behaviour that may be an attack.
    ExcessiveLoad = 0x107,
    /// Wrong use of a stream or push id.
    Id = 0x108,
    /// A forbidden or repeated setting.
    Settings = 0x109,
    /// The control stream does not begin with SETTINGS.
    MissingSettings = 0x10a,
    /// Not processed at all; safe to retry.
    RequestRejected = 0x10b,
    /// The response is no longer wanted.
    RequestCancelled = 0x10c,
    /// The stream ended within a request.
    RequestIncomplete = 0x10d,
    /// A malformed message.
    Message = 0x10e,
    /// CONNECT: the tunnel's TCP connection failed.
    Connect = 0x10f,
    /// Available over another version only.
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

/// A violation by the peer that ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// The code to close with.
    pub code: Code,
    /// The reason.
    pub what: &'static str,
}

impl From<qpack::Error> for Error {
    fn from(error: qpack::Error) -> Self {
        match error {
            qpack::Error::Decompression(what) => Self::new(Code::QpackDecompression, what),
            qpack::Error::EncoderStream(what) => Self::new(Code::QpackEncoderStream, what),
            qpack::Error::DecoderStream(what) => Self::new(Code::QpackDecoderStream, what),
            qpack::Error::Excessive => {
                Self::new(Code::ExcessiveLoad, "QPACK acknowledgements that the peer does not read")
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
