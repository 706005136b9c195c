//! A request as HTTP/2 hands it on: what `message`, which HTTP/3 shares, reads from the fields,
//! with the stream that it came on.

use super::stream::Key;
use crate::h1::Span;
use crate::h1::request::Method;
use crate::message;

/// A request. Its head's spans are into `Shared::bytes`; the fields are `Shared::fields`. Several
/// cookie fields have been joined into one more, the last (RFC 9113 section 8.2.3). Content that
/// differs from the length that the head states is refused here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The stream to answer on.
    pub key: Key,
    /// The head; its priority is that of a PRIORITY_UPDATE where one came before.
    pub head: message::RequestHead,
    /// The request has no content.
    pub end: bool,
}

/// The longest block that is remembered.
const BLOCK: usize = 64;

/// The last head read on any connection of a worker, and its encoded block. A client that repeats a
/// request sends the same octets, once they only refer to table entries. While nothing is inserted
/// they mean the same, and `Shared::bytes` and `fields` still hold it.
#[derive(Debug)]
pub(crate) struct HeadCache {
    /// Connections numbered so far.
    conns: u64,
    /// Connection that sent the cached block; 0 = invalid.
    conn: u64,
    insertions: u64,
    len: usize,
    block: [u8; BLOCK],
    pub(super) head: message::RequestHead,
}

impl Default for HeadCache {
    fn default() -> Self {
        let none = Span::default();
        let head = message::RequestHead {
            method: Method::Other,
            method_span: none,
            scheme: none,
            authority: none,
            plain: true,
            target: none,
            path: none,
            canonical: true,
            query: None,
            protocol: None,
            first: 0,
            content_length: None,
            expect_continue: false,
            expects_unknown: false,
            priority: None,
        };
        Self { conns: 0, conn: 0, insertions: 0, len: 0, block: [0; BLOCK], head }
    }
}

impl HeadCache {
    /// A new connection's number.
    pub(super) fn number(&mut self) -> u64 {
        self.conns += 1;
        self.conns
    }

    /// Whether `block` is the last one again.
    #[inline]
    pub(super) fn is(&self, conn: u64, insertions: u64, block: &[u8]) -> bool {
        self.conn == conn
            && self.insertions == insertions
            && self.block.get(..self.len) == Some(block)
    }

    /// `Shared::bytes` and `fields` are about to change.
    #[inline]
    pub(super) fn forget(&mut self) {
        self.conn = 0;
    }

    /// Stores `head`, which was decoded from `block` after `insertions` insertions.
    #[inline]
    pub(super) fn remember(
        &mut self,
        conn: u64,
        insertions: u64,
        block: &[u8],
        head: message::RequestHead,
    ) {
        self.head = head;
        if let Some(place) = self.block.get_mut(..block.len()) {
            place.copy_from_slice(block);
            (self.conn, self.insertions, self.len) = (conn, insertions, block.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::{Field, Known};
    use crate::h2::Priority;
    use crate::message::Malformed;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn fields(pairs: &[(&str, &str)]) -> (Vec<u8>, Vec<Field>) {
        let (mut bytes, mut fields) = (Vec::new(), Vec::new());
        for (name, value) in pairs {
            let name_at = bytes.len() as u32;
            bytes.extend_from_slice(name.as_bytes());
            let value_at = bytes.len() as u32;
            bytes.extend_from_slice(value.as_bytes());
            fields.push(Field {
                name_at,
                value_at,
                value_len: value.len() as u32,
                name_len: name.len() as u16,
                known: Known::of(name.as_bytes()),
                flags: 0,
            });
        }
        (bytes, fields)
    }

    fn parse(pairs: &[(&str, &str)]) -> Result<message::RequestHead, Malformed> {
        let (bytes, fields) = fields(pairs);
        message::request(&bytes, &fields, false)
    }

    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/x?y?z")];

    fn with<'a>(extra: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        GET.iter().chain(extra).copied().collect()
    }

    fn without(name: &str) -> Vec<(&'static str, &'static str)> {
        GET.iter().filter(|(n, _)| *n != name).copied().collect()
    }

    fn replaced<'a>(name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
        GET.iter().map(|(n, v)| if *n == name { (*n, value) } else { (*n, *v) }).collect()
    }

    #[test]
    fn a_request_and_its_parts() {
        let (bytes, fields) = fields(&with(&[("content-length", "12"), ("priority", "u=1")]));
        let r = message::request(&bytes, &fields, false).unwrap();
        assert_eq!((r.method, r.first, r.content_length), (Method::Get, 4, Some(12)));
        assert_eq!((r.path.of(&bytes), r.query.unwrap().of(&bytes)), (&b"/x"[..], &b"y?z"[..]));
        assert_eq!((r.authority.of(&bytes), r.scheme.of(&bytes)), (&b"a"[..], &b"http"[..]));
        assert_eq!(r.priority, Some(Priority { urgency: 1, incremental: false }));
        assert!(parse(&replaced(":method", "FROB")).unwrap().method == Method::Other);
        assert!(
            parse(&with(&[("te", "trailers"), ("expect", "100-Continue")]))
                .unwrap()
                .expect_continue
        );
    }

    #[test]
    fn row_50_malformed_requests() {
        for name in [":method", ":scheme", ":authority", ":path"] {
            assert!(parse(&without(name)).is_err(), "without {name}");
            let twice = GET.iter().find(|(n, _)| *n == name).copied().unwrap();
            assert!(parse(&with(&[twice])).is_err(), "{name} late and twice");
            assert!(parse(&replaced(name, "")).is_err(), "{name} empty");
        }
        for late in [":path", ":protocol", ":status"] {
            assert!(parse(&with(&[("x", "1"), (late, "/")])).is_err(), "{late} late");
        }
        for bad in [
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("keep-alive", "1"),
            ("proxy-connection", "close"),
            ("te", "gzip"),
            ("te", "trailers, gzip"),
            ("content-length", "1x"),
            ("content-length", "-1"),
            ("content-length", ""),
            ("content-length", "1000000000000000000000"),
            ("host", "other"),
        ] {
            assert!(parse(&with(&[bad])).is_err(), "{bad:?}");
        }
        assert!(parse(&with(&[("content-length", "1"), ("content-length", "1")])).is_err());
        for (name, value) in [
            (":path", "x"),
            (":path", "*"),
            (":path", "/a b"),
            (":method", "G T"),
            (":authority", "u@a"),
        ] {
            assert!(parse(&replaced(name, value)).is_err(), "{name} {value}");
        }
        let status: Vec<_> = [(":status", "200")].into_iter().chain(GET).collect();
        assert!(parse(&status).is_err());
    }

    #[test]
    fn connect_and_options() {
        assert!(parse(&[(":method", "CONNECT"), (":authority", "a:1")]).is_ok());
        assert!(parse(&replaced(":method", "CONNECT")).is_err());
        let mut star = replaced(":method", "OPTIONS");
        star[3].1 = "*";
        assert!(parse(&star).is_ok());
        let mut extended = replaced(":method", "CONNECT");
        extended.push((":protocol", "websocket"));
        assert!(parse(&extended).is_err());
        let (bytes, fields) = fields(&extended);
        let r = message::request(&bytes, &fields, true).unwrap();
        assert_eq!(r.protocol.unwrap().of(&bytes), b"websocket");
    }

    #[test]
    fn cookie_crumbs_are_joined() {
        let list = with(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")]);
        let (mut bytes, mut fields) = fields(&list);
        message::join_cookies(&mut bytes, &mut fields);
        let names: Vec<_> =
            fields.iter().map(|f| String::from_utf8_lossy(f.name(&bytes))).collect();
        assert_eq!(names, [":method", ":scheme", ":authority", ":path", "x", "cookie"]);
        assert_eq!(fields[5].value(&bytes), b"a=1; b=2; c=3");
        let before = (bytes.clone(), fields.clone());
        message::join_cookies(&mut bytes, &mut fields);
        assert_eq!(before, (bytes, fields));
    }

    #[test]
    fn trailers() {
        let ok = fields(&[("x-sum", "1"), ("grpc-status", "0")]);
        assert!(message::trailers(&ok.0, &ok.1).is_ok());
        for bad in [(":path", "/"), (":status", "200"), ("connection", "close")] {
            let (bytes, fields) = fields(&[bad]);
            assert!(message::trailers(&bytes, &fields).is_err());
        }
    }
}
