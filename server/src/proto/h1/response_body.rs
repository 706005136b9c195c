//! Outgoing streamed response bodies: adds the framing (RFC 9112 sections 6 and 7).

use super::super::Context;
use super::super::output::{COPY_MAX, Output};
use super::super::response_body::{Pulled, Source};
use super::head::Framing;
use crate::ring::send::Pinned;
use crate::rt::executor::TaskOwner;

/// Maximum number of bytes taken from a producer for one send.
const PULL_MAX: usize = 256 * 1024;

/// A body that is sent as it is produced.
pub(super) struct OutgoingBody {
    pub(super) source: Source,
    owner: TaskOwner,
    is_chunked: bool,
    /// The CRLF that ends the previous chunk is not written yet.
    chunk_open: bool,
}

impl OutgoingBody {
    pub(super) fn new(framing: Framing, source: Source, owner: TaskOwner) -> Self {
        Self { source, owner, is_chunked: framing == Framing::Chunked, chunk_open: false }
    }

    /// Moves available data into the output, up to its limit, and adds the number of body bytes to
    /// `sent`. [`Pulled::More`] means that the client must read first.
    pub(super) fn pull(
        &mut self,
        sent: &mut usize,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> Pulled {
        while output.has_room(cx) {
            let (pulled, piece) = self.source.pull(PULL_MAX, self.owner);
            if let Some(piece) = piece {
                *sent += piece.len();
                self.put(piece, output, cx);
            }
            match pulled {
                Pulled::More => {}
                Pulled::End | Pulled::Trailers => {
                    self.end(output, cx);
                    return Pulled::End;
                }
                Pulled::Pending | Pulled::Broken => return pulled,
            }
        }
        Pulled::More
    }

    fn put(&mut self, piece: Pinned, output: &mut Output, cx: &mut Context<'_>) {
        let out = output.buffer(cx);
        if self.is_chunked {
            if self.chunk_open {
                out.extend_from_slice(b"\r\n");
            }
            self.chunk_open = true;
            hex(out, piece.len());
            out.extend_from_slice(b"\r\n");
        }
        if piece.len() <= COPY_MAX {
            out.extend_from_slice(piece.bytes());
        } else {
            output.pin(piece, cx);
        }
    }

    /// Ends the body, with its trailers if the framing allows them.
    fn end(&mut self, output: &mut Output, cx: &mut Context<'_>) {
        if !self.is_chunked {
            return;
        }
        let out = output.buffer(cx);
        out.extend_from_slice(if self.chunk_open { b"\r\n0\r\n" } else { b"0\r\n" });
        for (name, value) in self.source.take_trailers() {
            ringway_codec::h1::response::field(out, name.as_bytes(), value.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn hex(out: &mut Vec<u8>, value: usize) {
    let digits = (usize::BITS - (value | 1).leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[value >> (4 * digit) & 15]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes_are_hexadecimal() {
        for value in [0, 1, 9, 10, 15, 16, 255, 256, 0xdead_beef, usize::MAX] {
            let mut out = Vec::new();
            hex(&mut out, value);
            assert_eq!(out, format!("{value:x}").as_bytes());
        }
    }
}
