//! The head of an HTTP/1.1 response: status line, fields, framing (RFC 9112 sections 4 and 6).

use http::StatusCode;
use ringway_codec::h1::response as write;

use crate::response::Response;

/// How the body's end is told (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// The status has no body.
    Bodiless,
    /// After so many bytes.
    Length(u64),
    /// By the last chunk.
    Chunked,
    /// By the end of the connection (HTTP/1.0).
    UntilClose,
}

/// What the head has to say of the connection (RFC 9112 section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// It stays, which in HTTP/1.1 goes without saying.
    Stays,
    /// It stays, as an HTTP/1.0 client asked.
    KeptAlive,
    /// It ends.
    Closes,
}

/// True for statuses that never have a body (RFC 9110 section 6.4.1).
pub(crate) fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Appends the head of `response`. `common` are the lines that every response carries.
pub(super) fn append(
    out: &mut Vec<u8>,
    response: &Response,
    framing: Framing,
    connection: Connection,
    common: &[u8],
) {
    write::status_line(out, response.status.as_u16());
    out.extend_from_slice(common);
    if let Some(content_type) = response.content_type {
        write::field(out, b"content-type", content_type.as_bytes());
    }
    for block in response.blocks() {
        out.extend_from_slice(block.lines());
    }
    match framing {
        Framing::Length(length) => write::content_length(out, length),
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Bodiless | Framing::UntilClose => {}
    }
    match connection {
        Connection::Stays => {}
        Connection::KeptAlive => out.extend_from_slice(b"connection: keep-alive\r\n"),
        Connection::Closes => out.extend_from_slice(b"connection: close\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}
