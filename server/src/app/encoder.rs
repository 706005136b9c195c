//! Compressors for complete bodies and for streams.

use std::future::poll_fn;
use std::io::{self, Write};
use std::task::Poll;

use crate::app::body::{BodyWriter, Producer};
use crate::app::body_channel::{BodyChannel, End, Read};
use crate::app::content_coding::Coding;
use crate::rt::executor::UnitFuture;
use crate::rt::task::spawn_blocking;
use crate::rt::thread_state::Waiter;

/// A compressor and its output.
pub(crate) enum Encoder {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
}

/// How hard a compressor tries.
struct Effort {
    gzip: u32,
    zstd: i32,
    brotli: u32,
    /// The window's size as a power of two. Browsers accept up to 8 MiB for zstd (RFC 9659).
    window: u32,
}

/// About as much time as producing the answer takes.
const ONCE: Effort = Effort { gzip: 6, zstd: 3, brotli: 4, window: 19 };
/// Tens of milliseconds for a mebibyte: nobody waits, and the result is sent often.
const KEPT: Effort = Effort { gzip: 8, zstd: 12, brotli: 7, window: 22 };
/// Size of brotli's buffer, in bytes.
const BROTLI_BUFFER: usize = 4096;
/// More bytes are compressed on another thread, so that the worker's other clients need not wait.
pub(crate) const INLINE_MAX: usize = 16 * 1024;
/// Maximum number of bytes compressed at a time.
const PIECE_MAX: usize = 128 * 1024;

impl Encoder {
    fn new(coding: Coding, effort: &Effort) -> Option<Self> {
        Some(match coding {
            Coding::Gzip => {
                let level = flate2::Compression::new(effort.gzip);
                Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), level))
            }
            Coding::Zstd => {
                let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), effort.zstd).ok()?;
                zstd.window_log(effort.window).ok()?;
                Self::Zstd(zstd)
            }
            Coding::Brotli => {
                let Effort { brotli: quality, window, .. } = *effort;
                let to = Vec::new();
                let writer = brotli::CompressorWriter::new(to, BROTLI_BUFFER, quality, window);
                Self::Brotli(Box::new(writer))
            }
            Coding::Identity => return None,
        })
    }

    /// Compresses all bytes at once; `None` if the compressor fails.
    pub(crate) fn whole(coding: Coding, bytes: &[u8]) -> Option<Vec<u8>> {
        Self::run(coding, &ONCE, bytes)
    }

    /// Same as [`Self::whole`], trying harder, for what is sent often.
    pub(crate) fn kept(coding: Coding, bytes: &[u8]) -> Option<Vec<u8>> {
        Self::run(coding, &KEPT, bytes)
    }

    fn run(coding: Coding, effort: &Effort, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut encoder = Self::new(coding, effort)?;
        encoder.writer().write_all(bytes).ok()?;
        encoder.finish().ok()
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Gzip(gzip) => gzip,
            Self::Zstd(zstd) => zstd,
            Self::Brotli(brotli) => brotli,
        }
    }

    /// Adds bytes and returns the output so far; everything with `flush`.
    fn push(&mut self, bytes: &[u8], flush: bool) -> io::Result<Vec<u8>> {
        self.writer().write_all(bytes)?;
        if flush {
            self.writer().flush()?;
        }
        Ok(std::mem::take(match self {
            Self::Gzip(gzip) => gzip.get_mut(),
            Self::Zstd(zstd) => zstd.get_mut(),
            Self::Brotli(brotli) => brotli.get_mut(),
        }))
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(gzip) => gzip.finish(),
            Self::Zstd(zstd) => zstd.finish(),
            Self::Brotli(brotli) => Ok(brotli.into_inner()),
        }
    }
}

/// A producer of the compressed form of another producer's body.
pub(crate) fn encode_stream(producer: Producer, coding: Coding) -> Producer {
    let length = producer.length();
    let (channel, future) = producer.into_parts();
    let source = Source { channel, future: Some(future) };
    Producer::new(async move |out| run(source, length, coding, out).await, None)
}

/// The inner producer and its channel.
struct Source {
    channel: BodyChannel,
    future: Option<UnitFuture>,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.channel.close_reader();
    }
}

impl Source {
    /// The next piece, or the end.
    async fn next(&mut self) -> Read {
        poll_fn(|context| {
            if let Some(future) = &mut self.future
                && future.as_mut().poll(context).is_ready()
            {
                self.future = None;
            }
            match self.channel.read(PIECE_MAX) {
                Read::Empty => {
                    self.channel.wait_read(Waiter::Task(context.waker().clone()));
                    Poll::Pending
                }
                read => Poll::Ready(read),
            }
        })
        .await
    }
}

async fn run(mut source: Source, length: Option<u64>, coding: Coding, mut out: BodyWriter) {
    let Some(mut encoder) = Encoder::new(coding, &ONCE) else { return out.abort() };
    let mut came = 0;
    loop {
        let piece = match source.next().await {
            Read::Chunk(piece) => piece,
            Read::End(End::Complete) if length.is_none_or(|length| length == came) => break,
            Read::End(_) | Read::Empty => return out.abort(),
        };
        came += piece.len() as u64;
        // The producer pauses, so the output is flushed.
        let flush = source.channel.len() == 0;
        let pushed = if piece.len() <= INLINE_MAX {
            encoder.push(piece.bytes(), flush)
        } else {
            let bytes = piece.bytes().to_vec();
            let work = move || {
                let pushed = encoder.push(&bytes, flush);
                (encoder, pushed)
            };
            let Ok((back, pushed)) = spawn_blocking(work).await else { return out.abort() };
            encoder = back;
            pushed
        };
        match pushed {
            Ok(made) if made.is_empty() => {}
            Ok(made) => {
                // The client left, so the work ends.
                if out.write(made).await.is_err() {
                    return;
                }
            }
            Err(_) => return out.abort(),
        }
    }
    let Ok(last) = encoder.finish() else { return out.abort() };
    let trailers = source.channel.take_trailers();
    out.trailers(trailers.iter().map(|(name, value)| (&**name, &**value)));
    let _ = out.write(last).await;
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap(),
            Coding::Zstd => zstd::stream::read::Decoder::new(bytes)
                .and_then(|mut decoder| decoder.read_to_end(&mut out))
                .unwrap(),
            Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out).unwrap(),
            Coding::Identity => panic!("no coding"),
        };
        out
    }

    #[test]
    fn p2_each_coding_gives_back_what_went_in() {
        let text = "a line of words that come again\n".repeat(100_000);
        for coding in [Coding::Gzip, Coding::Zstd, Coding::Brotli] {
            let made = Encoder::whole(coding, text.as_bytes()).unwrap();
            assert!(made.len() < text.len() / 50, "{coding:?}: {}", made.len());
            assert_eq!(decoded(coding, &made), text.as_bytes());
            let none = Encoder::whole(coding, b"").unwrap();
            assert_eq!(decoded(coding, &none), b"");
        }
    }

    #[test]
    fn p2_the_zstd_window_is_what_browsers_take() {
        let text = noise(20 << 20);
        let made = Encoder::whole(Coding::Zstd, &text).unwrap();
        // RFC 8878 section 3.1.1.1.2: exponent and mantissa, after the frame header descriptor.
        assert_eq!(made[4] & 0x20, 0, "not a single segment");
        let log = 10 + u32::from(made[5] >> 3);
        assert!(log <= 23, "a window of 2^{log}");
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    }
}
