//! Any octets as the streams of an HTTP/3 client: shared by the fuzz target and the test that
//! replays its corpus. The input is a list of pieces: a head octet (three bits of stream, one that
//! ends it, one that resets it), a length, and so many octets.

use crate::chosen::backend;
use ringway_codec::h3::{Config, Conn, Event, Shared};

const STREAMS: [u64; 8] = [0, 4, 8, 12, 2, 6, 10, 14];

/// Feeds `input` to a connection and answers what it asks; whether the connection survived. Panics
/// when an invariant breaks.
pub(crate) fn any_input(mut input: &[u8]) -> bool {
    let mut shared = Shared::new(Config::new(backend()));
    let mut conn = Conn::new(&shared);
    // What QUIC would not deliver any more: streams that ended, or that we stopped.
    let mut over = [false; STREAMS.len()];
    let mut kept: Vec<(usize, Vec<u8>, bool)> = Vec::new();
    while let [head, len, rest @ ..] = input {
        let (piece, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        input = rest;
        let at = usize::from(head & 7);
        if over[at] || kept.iter().any(|(stream, ..)| *stream == at) {
            continue;
        }
        if head & 16 != 0 {
            over[at] = true;
            if conn.reset(STREAMS[at]).is_err() {
                return false;
            }
            continue;
        }
        let fin = head & 8 != 0;
        over[at] = fin;
        if !feed(&mut conn, &mut shared, at, piece, fin, &mut over, &mut kept) {
            return false;
        }
        while let Some(id) = conn.unblocked() {
            let place = kept.iter().position(|(stream, ..)| STREAMS[*stream] == id);
            let (at, piece, fin) = kept.remove(place.expect("only what waited goes on"));
            if !feed(&mut conn, &mut shared, at, &piece, fin, &mut over, &mut kept) {
                return false;
            }
        }
        // A client that never reads our streams costs no more than this.
        let [control, encoder, decoder] = conn.output();
        assert!(control.len() + encoder.len() + decoder.len() < 64 * 1024);
    }
    true
}

/// One piece of one stream; `false` when the connection ends.
fn feed(
    conn: &mut Conn,
    shared: &mut Shared,
    stream: usize,
    piece: &[u8],
    fin: bool,
    over: &mut [bool],
    kept: &mut Vec<(usize, Vec<u8>, bool)>,
) -> bool {
    let mut at = 0;
    loop {
        let before = at;
        match conn.receive(STREAMS[stream], piece, fin, &mut at, shared) {
            Err(_) => return false,
            Ok(Event::More) => {
                assert_eq!(at, piece.len(), "all of the input is used");
                return true;
            }
            Ok(Event::Request(request)) => {
                assert!(shared.fields.iter().all(|f| f.name(&shared.bytes).len() < 1 << 16));
                assert!(request.head.first <= shared.fields.len());
                let mut out = Vec::new();
                conn.head(request.stream, Some(200), &mut out, |head| {
                    head.fields(&shared.bytes, &shared.fields[request.head.first..]);
                });
                assert!(!out.is_empty());
                if request.end {
                    return true;
                }
            }
            Ok(Event::Data { at: data, .. }) => {
                assert!(!data.is_empty() && data.end <= piece.len() && data.start >= before);
            }
            Ok(Event::End { .. } | Event::Unwanted { .. }) => {
                over[stream] = true;
                return true;
            }
            Ok(Event::Refused { .. } | Event::Failed { .. }) => {
                over[stream] = true;
                let _ = conn.reset(STREAMS[stream]);
                return true;
            }
            Ok(Event::Blocked { .. }) => {
                kept.push((stream, piece[at..].to_vec(), fin));
                return true;
            }
            Ok(Event::Trailers { .. } | Event::Priority { .. }) => {}
        }
    }
}
