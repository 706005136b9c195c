//! The rows of the server's own path: what lies between received bytes and bytes to send, the codec
//! among it, on a worker without a ring. Files are not among them: callgrind does not know openat2.

use crate::rows::Prepare;
use ringway::test::{Client, UnparsedConnection};
use ringway::{Request, Response, Router};
use ringway_codec::scan::Backend;
use std::hint::black_box;

type Work = Box<dyn FnMut()>;

const _: Prepare = h1;

/// Requests in a unit of each row.
const REQUESTS: usize = 100;
/// The path of the answer.
const PATH: &str = "/constant";
/// The body of the answer.
const BODY: &str = "hello, world\n";

/// One request after the other.
pub(crate) fn h1(_: Backend) -> Work {
    let connection = connect();
    let request = format!("GET {PATH} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes();
    Box::new(move || check(&connection.exchange(black_box(vec![request.clone(); REQUESTS]))))
}

/// One request after the other.
pub(crate) fn h2_single(_: Backend) -> Work {
    h2(1)
}

/// All requests in one segment, as from `h2load -m 100`.
pub(crate) fn h2_many(_: Backend) -> Work {
    h2(REQUESTS)
}

fn connect() -> UnparsedConnection<'static> {
    let app = Router::new().get(PATH, |_: &Request| Response::text(BODY));
    Box::leak(Box::new(Client::new(app))).unparsed()
}

fn check(answers: &[u8]) {
    assert!(answers.len() > REQUESTS * BODY.len());
    assert!(answers.ends_with(BODY.as_bytes()));
    black_box(answers);
}

fn h2(together: usize) -> Work {
    let connection = connect();
    let mut start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut start, 4, 0, 0, &[]);
    // The window of the connection, for as many answers as are counted.
    frame(&mut start, 8, 0, 0, &(1_u32 << 30).to_be_bytes());
    let (path, authority) = (literal(0x44, PATH), literal(0x41, "localhost"));
    frame(&mut start, 1, 5, 1, &[&[0x82, 0x86], &path[..], &authority[..]].concat());
    // The acknowledgement of the server's settings.
    frame(&mut start, 4, 1, 0, &[]);
    connection.exchange(vec![start]);
    // Path and authority stand in the dynamic table now.
    let block = [0x82, 0x86, 0xbf, 0xbe];
    let mut id = 1;
    let mut segment = move || {
        let mut bytes = Vec::with_capacity(together * 13);
        for _ in 0..together {
            id += 2;
            frame(&mut bytes, 1, 5, id, &block);
        }
        bytes
    };
    Box::new(move || {
        let segments = (0..REQUESTS / together).map(|_| segment()).collect();
        check(&connection.exchange(black_box(segments)));
    })
}

/// A literal field with indexing, its name from the static table (RFC 7541 section 6.2.1).
fn literal(name: u8, value: &str) -> Vec<u8> {
    [&[name, value.len() as u8], value.as_bytes()].concat()
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}
