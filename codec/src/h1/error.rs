//! Errors in HTTP/1.1 messages, and the status that answers each.

use core::fmt;

macro_rules! errors {
    ($($name:ident $status:literal $text:literal,)*) => {
        /// Why a request head or a chunked body was refused. The peer is at fault in every case.
        /// The connection must be closed after the answer, because the start of the next message is
        /// unknown.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Error {
            $(#[doc = concat!($text, " (", stringify!($status), ")")] $name,)*
        }

        impl Error {
            /// Every error.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The status to answer with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The error as a clause that begins "the peer sent".
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => concat!("the peer sent ", $text),)* }
            }
        }
    };
}

errors! {
    LineEnd 400 "a CR without LF or an LF without CR",
    Control 400 "a control character in the head",
    RequestLine 400 "a request line that is not method SP target SP version",
    Method 400 "a method that is not a token, or as long as a request line may be",
    Target 400 "an invalid request target",
    Version 400 "an invalid HTTP version",
    VersionUnsupported 505 "an HTTP version other than 1.x",
    Fold 400 "whitespace before a field name (line folding)",
    FieldName 400 "an invalid field name, or whitespace before the colon",
    HostMissing 400 "no Host field",
    HostDuplicate 400 "more than one Host field",
    HostInvalid 400 "an invalid Host",
    ContentLength 400 "an invalid or repeated Content-Length",
    TransferEncoding 400 "a Transfer-Encoding that does not end in one chunked",
    TransferEncodingOld 400 "Transfer-Encoding in an HTTP/1.0 request",
    Coding 501 "a transfer coding other than chunked",
    LengthAndChunked 400 "both Content-Length and Transfer-Encoding",
    Expect 417 "an expectation other than 100-continue",
    LineTooLong 414 "a request line beyond the limit",
    HeadTooLong 431 "a head beyond the limit",
    TooManyFields 431 "more fields than the limit",
    ChunkSize 400 "an invalid chunk size",
    ChunkEnd 400 "chunk data without a CRLF after it",
    ChunkExtension 400 "an invalid chunk extension",
    ChunkExtensions 400 "chunk extensions beyond the limit",
    Trailer 400 "an invalid trailer field",
    Trailers 431 "trailer fields beyond the limit",
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn statuses_are_those_that_the_rfc_knows() {
        for error in Error::ALL {
            assert!([400, 414, 417, 431, 501, 505].contains(&error.status()));
            assert!(error.to_string().starts_with("the peer sent "));
        }
    }
}
