//! The head of an HTTP/1.1 response: status line, fields, framing (RFC 9112 sections 4 and 6).

use ringway_codec::h1::response as write;

use crate::app::response::Response;

/// How the end of the body is indicated (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// The status has no body.
    Bodiless,
    /// After this many bytes.
    Length(u64),
    /// By the last chunk.
    Chunked,
    /// By closing the connection (HTTP/1.0).
    UntilClose,
}

/// The Connection field of the head (RFC 9112 section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// Persistent, the default of HTTP/1.1: no field.
    Stays,
    /// Persistent, requested by an HTTP/1.0 client.
    KeptAlive,
    /// Closes.
    Closes,
}

/// Cache of the beginnings of heads: status line, server, date, content type. A server gives few
/// kinds of answers, and the date changes once a second.
#[derive(Default)]
pub(crate) struct Heads {
    slots: [Ready; SLOTS],
}

const SLOTS: usize = 8;

#[derive(Default)]
struct Ready {
    status: u16,
    content_type: Option<&'static str>,
    /// Number of the common lines it was made with.
    common: u64,
    /// The whole head of an answer of `length` bytes. The first `lines` bytes do not depend on the
    /// length.
    bytes: Vec<u8>,
    lines: usize,
    length: u64,
}

impl Heads {
    #[inline]
    fn ready(&mut self, response: &Response, common: &[u8], id: u64) -> &mut Ready {
        let status = response.status.as_u16();
        let content_type = response.content_type;
        // The content type is identified by the address of its name. Equal text elsewhere gets
        // another slot.
        let place = content_type.map_or(0, |name| name.as_ptr() as usize);
        let at = place >> 3 ^ place >> 7 ^ usize::from(status) ^ (id & 0xff) as usize;
        let slot = &mut self.slots[at % SLOTS];
        let same = slot.content_type.map_or(0, |name| name.as_ptr() as usize) == place
            && slot.content_type.map(str::len) == content_type.map(str::len);
        if !same || slot.status != status || slot.common != id {
            slot.fill(status, content_type, common, id);
        }
        slot
    }

    /// The whole head of an answer of `length` bytes without fields of its own, on a connection
    /// that stays open.
    #[inline]
    pub(super) fn whole(
        &mut self,
        response: &Response,
        common: &[u8],
        id: u64,
        length: u64,
    ) -> &[u8] {
        self.ready(response, common, id).whole(length)
    }
}

impl Ready {
    #[cold]
    fn fill(&mut self, status: u16, content_type: Option<&'static str>, common: &[u8], id: u64) {
        (self.status, self.content_type, self.common) = (status, content_type, id);
        self.bytes.clear();
        write::status_line(&mut self.bytes, status);
        self.bytes.extend_from_slice(common);
        if let Some(content_type) = content_type {
            write::field(&mut self.bytes, b"content-type", content_type.as_bytes());
        }
        self.lines = self.bytes.len();
        self.end(0);
    }

    /// The head of an answer of `length` bytes.
    fn whole(&mut self, length: u64) -> &[u8] {
        if self.length != length {
            self.end(length);
        }
        &self.bytes
    }

    fn end(&mut self, length: u64) {
        self.length = length;
        self.bytes.truncate(self.lines);
        write::content_length(&mut self.bytes, length);
        write::end(&mut self.bytes);
    }
}

/// Appends the head of `response`, in parts if it has fields of its own. `common` are the lines of
/// every response, identified by `id`.
pub(super) fn append(
    out: &mut Vec<u8>,
    response: &Response,
    framing: Framing,
    connection: Connection,
    (heads, common, id): (&mut Heads, &[u8], u64),
) {
    let ready = heads.ready(response, common, id);
    if let (Framing::Length(length), false, Connection::Stays) =
        (framing, response.has_fields(), connection)
    {
        return out.extend_from_slice(ready.whole(length));
    }
    out.extend_from_slice(&ready.bytes[..ready.lines]);
    for block in response.blocks() {
        out.extend_from_slice(block.lines());
    }
    match framing {
        Framing::Length(length) => {
            let shared = response.shared.as_deref();
            if let (Connection::Stays, Some(end)) =
                (connection, shared.and_then(|shared| shared.end(length)))
            {
                return out.extend_from_slice(end);
            }
            write::content_length(out, length);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    #[test]
    fn a_ready_beginning_is_that_of_its_status_type_and_second() {
        let mut heads = Heads::default();
        let mut head = |response: &Response, common: &str, second| {
            let mut out = Vec::new();
            let with = (&mut heads, common.as_bytes(), second);
            append(&mut out, response, Framing::Length(5), Connection::Stays, with);
            String::from_utf8(out).unwrap()
        };
        let text = Response::text("hello");
        let json = Response::json("hello").status(StatusCode::CREATED);
        for (n, common) in ["date: a\r\n", "date: b\r\n"].into_iter().enumerate() {
            for _ in 0..2 {
                let plain = "content-type: text/plain; charset=utf-8\r\ncontent-length: 5\r\n\r\n";
                let got = head(&text, common, n as u64);
                assert_eq!(got, format!("HTTP/1.1 200 OK\r\n{common}{plain}"));
                let got = head(&json, common, n as u64);
                assert!(got.starts_with("HTTP/1.1 201 Created\r\n") && got.contains("/json\r\n"));
                let got = head(&StatusCode::CREATED.into(), common, n as u64);
                assert!(got.contains("201") && got.contains("text/plain"), "{got}");
                let got = head(&Response::new(StatusCode::CREATED), common, n as u64);
                assert!(!got.contains("content-type"), "{got}");
            }
        }
    }
}
