//! What a compressed file can tell of the file that it was made from.
//!
//! Its time says little: tools cut it, copies get a new one. gzip ends with the length of what it
//! holds, a zstd frame may begin with it; where that is not the length of the file beside it, it
//! was made from another version (row 38). Brotli says nothing. RFC 1952 section 2.3.1, RFC
//! 8878 section 3.1.1.

use std::io;
use std::os::unix::fs::FileExt;

use super::file::FileContent;
use crate::app::content_coding::Coding;
use crate::rt::fs;

/// Whether a compressed file looks whole and made from a file of `source` bytes. Of one that stays
/// on disk the beginning and the end are read, a few bytes each.
pub(crate) async fn belongs(coding: Coding, content: &FileContent, source: u64) -> bool {
    match (coding, content) {
        (Coding::Brotli | Coding::Identity, _) => true,
        (Coding::Gzip, FileContent::Memory(bytes)) => is_gzip_of(bytes, bytes, source),
        (Coding::Zstd, FileContent::Memory(bytes)) => is_zstd_of(bytes, source),
        (Coding::Gzip, content) => match (start(content).await, end(content).await) {
            (Ok(start), Ok(end)) => is_gzip_of(&start, &end, source),
            _ => false,
        },
        (Coding::Zstd, content) => match start(content).await {
            Ok(start) => FrameHeader::read(&start)
                .is_some_and(|frame| frame.content.is_none_or(|content| content == source)),
            Err(_) => false,
        },
    }
}

/// As [`belongs`], of a file of `len` bytes that stays on disk.
pub(crate) fn belongs_to(
    coding: Coding,
    file: &std::fs::File,
    len: u64,
    source: u64,
) -> io::Result<bool> {
    let mut start = [0; START];
    let start = &mut start[..len.min(START as u64) as usize];
    file.read_exact_at(start, 0)?;
    Ok(match coding {
        Coding::Brotli | Coding::Identity => true,
        Coding::Gzip => {
            let mut end = [0; 4];
            len >= 4
                && file.read_exact_at(&mut end, len - 4).is_ok()
                && is_gzip_of(start, &end, source)
        }
        Coding::Zstd => FrameHeader::read(start)
            .is_some_and(|frame| frame.content.is_none_or(|content| content == source)),
    })
}

/// The magic of gzip in front, at the end the length modulo 2^32.
fn is_gzip_of(start: &[u8], end: &[u8], source: u64) -> bool {
    let length = end.last_chunk().map(|last| u32::from_le_bytes(*last));
    start.starts_with(&[0x1f, 0x8b]) && length == Some(source as u32)
}

/// Frames from end to end that say together the length, unless one does not say.
fn is_zstd_of(bytes: &[u8], source: u64) -> bool {
    let (mut rest, mut sum) = (bytes, Some(0_u64));
    while !rest.is_empty() {
        let Some((content, len)) = frame(rest) else { return false };
        sum = sum.zip(content).and_then(|(sum, content)| sum.checked_add(content));
        rest = &rest[len..];
    }
    !bytes.is_empty() && sum.is_none_or(|sum| sum == source)
}

/// What the frame at the front says of its content's length, and its own; nothing if it is none or
/// not whole.
fn frame(bytes: &[u8]) -> Option<(Option<u64>, usize)> {
    if bytes.get(1..4) == Some(&[0x2a, 0x4d, 0x18]) && bytes[0] & 0xf0 == 0x50 {
        // Skippable: it holds nothing.
        let len = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?) as usize + 8;
        return (len <= bytes.len()).then_some((Some(0), len));
    }
    let header = FrameHeader::read(bytes)?;
    let mut at = header.len;
    loop {
        let [low, middle, high] = *bytes.get(at..)?.first_chunk()?;
        let block = u32::from_le_bytes([low, middle, high, 0]);
        // A block of one repeated byte has one.
        let len = if block >> 1 & 3 == 1 { 1 } else { block >> 3 };
        at += 3 + len as usize;
        if block & 1 != 0 {
            break;
        }
    }
    at += if header.checksum { 4 } else { 0 };
    (at <= bytes.len()).then_some((header.content, at))
}

struct FrameHeader {
    /// The content's length, where it says so.
    content: Option<u64>,
    checksum: bool,
    /// The header's own length.
    len: usize,
}

impl FrameHeader {
    fn read(bytes: &[u8]) -> Option<Self> {
        let flags = *bytes.strip_prefix(&[0x28, 0xb5, 0x2f, 0xfd])?.first()?;
        let single = flags & 0x20 != 0;
        let dictionary = [0, 1, 2, 4][usize::from(flags & 3)];
        let at = 5 + usize::from(!single) + dictionary;
        let (len, more) = match flags >> 6 {
            0 => (usize::from(single), 0),
            1 => (2, 256),
            2 => (4, 0),
            _ => (8, 0),
        };
        let mut number = [0; 8];
        number[..len].copy_from_slice(bytes.get(at..at + len)?);
        let content = (len > 0).then(|| u64::from_le_bytes(number).saturating_add(more));
        Some(Self { content, checksum: flags & 4 != 0, len: at + len })
    }
}

/// More than a zstd frame's header has.
const START: usize = 18;

async fn start(content: &FileContent) -> io::Result<Vec<u8>> {
    read(content, 0, START).await
}

async fn end(content: &FileContent) -> io::Result<Vec<u8>> {
    read(content, content.len().saturating_sub(4), 4).await
}

async fn read(content: &FileContent, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let FileContent::Disk(file, _) = content else { return Ok(Vec::new()) };
    let mut bytes = fs::read_at(file, at, Vec::with_capacity(len)).await?;
    bytes.truncate(len);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F4, and row 38.
    #[test]
    fn f4_gzip_says_how_long_its_source_is() {
        let gzip = [&[0x1f, 0x8b, 8, 0][..], &[7; 20], &1000_u32.to_le_bytes()].concat();
        let is = |bytes: &[u8], source| is_gzip_of(bytes, bytes, source);
        assert!(is(&gzip, 1000) && is(&gzip, (1 << 32) + 1000));
        assert!(!is(&gzip, 1001) && !is(&gzip[..gzip.len() - 1], 1000));
        assert!(!is(&gzip[1..], 1000) && !is(b"", 0));
    }

    /// A frame of raw blocks, made by hand from RFC 8878.
    fn zstd(header: &[u8], checksum: bool) -> Vec<u8> {
        let blocks = [&[40, 0, 0][..], b"hello", &[3 | 100 << 3, 3, 0], b"x"].concat();
        let sum: &[u8] = if checksum { &[1, 2, 3, 4] } else { &[] };
        [&[0x28, 0xb5, 0x2f, 0xfd][..], header, &blocks, sum].concat()
    }

    #[test]
    fn f4_zstd_may_say_how_long_its_source_is() {
        let one = zstd(&[0x20, 105], false);
        let two = zstd(&[0x44, 0x58, 44, 1], true);
        let eight = zstd(&[0xe3, 9, 9, 9, 9, 5, 0, 0, 0, 1, 0, 0, 0], false);
        let four = zstd(&[0x80, 0x58, 105, 0, 0, 0], false);
        let silent = zstd(&[0x00, 0x58], false);
        for (bytes, source) in
            [(&one, 105), (&two, 300 + 256), (&eight, (1 << 32) + 5), (&four, 105)]
        {
            assert!(is_zstd_of(bytes, source), "{bytes:?}");
            assert!(!is_zstd_of(bytes, source + 1) && !is_zstd_of(bytes, source - 1), "{bytes:?}");
            for cut in 0..bytes.len() {
                assert!(!is_zstd_of(&bytes[..cut], source), "{bytes:?} cut to {cut}");
            }
        }
        assert!(is_zstd_of(&silent, 1) && is_zstd_of(&silent, 1 << 40));
        // Several frames say it together; one that is skipped says nothing.
        let skipped = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let both = [&skipped[..], &one, &skipped, &four].concat();
        assert!(is_zstd_of(&both, 210) && !is_zstd_of(&both, 105));
        assert!(is_zstd_of(&[&one[..], &silent].concat(), 1));
        assert!(!is_zstd_of(&[&one[..], b"x"].concat(), 105));
        assert!(!is_zstd_of(b"\x1f\x8b", 1) && !is_zstd_of(b"", 0));
        assert!(!is_zstd_of(&[0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff], 0));
    }
}
