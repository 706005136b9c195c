//! The body of a `multipart/byteranges` response: what stands around the parts.
//!
//! Only the text; the parts' bytes come from memory or from disk. RFC 9110 section 14.6,
//! RFC 2046 section 5.1.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

/// A laid-out body.
#[derive(Clone, Debug)]
pub(crate) struct Multipart {
    /// The `Content-Type` of the whole.
    pub(crate) content_type: String,
    /// Each part: what precedes it, and its bytes.
    pub(crate) parts: Vec<(Vec<u8>, Range<u64>)>,
    /// What follows the last part.
    pub(crate) tail: Vec<u8>,
    /// Length of the whole body in bytes.
    pub(crate) len: u64,
}

impl Multipart {
    /// Lays out `ranges` of a file of `size` bytes and type `content_type`.
    pub(crate) fn new(ranges: Vec<Range<u64>>, size: u64, content_type: &str) -> Self {
        // Random, so that nobody can write a file that holds the delimiter of its own parts.
        let random = RandomState::new();
        let boundary = format!("{:016x}{:016x}", random.hash_one(size), random.hash_one(0));
        let mut len = 0;
        let mut start = "";
        let mut parts = Vec::with_capacity(ranges.len());
        for range in ranges {
            let head = format!(
                "{start}--{boundary}\r\nContent-Type: {content_type}\r\n\
                 Content-Range: {}\r\n\r\n",
                content_range(&range, size),
            );
            len += head.len() as u64 + (range.end - range.start);
            parts.push((head.into_bytes(), range));
            start = "\r\n";
        }
        let tail = format!("\r\n--{boundary}--\r\n").into_bytes();
        len += tail.len() as u64;
        let content_type = format!("multipart/byteranges; boundary={boundary}");
        Self { content_type, parts, tail, len }
    }
}

/// The value of `Content-Range` for a part. RFC 9110 section 14.4.
pub(crate) fn content_range(range: &Range<u64>, size: u64) -> String {
    assert!(range.start < range.end && range.end <= size);
    format!("bytes {}-{}/{size}", range.start, range.end - 1)
}

/// The value of `Content-Range` for 416.
pub(crate) fn unsatisfied(size: u64) -> String {
    format!("bytes */{size}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_that_of_the_rfc() {
        let body = Multipart::new(vec![500..1000, 7000..8000], 8000, "application/pdf");
        let boundary =
            body.content_type.strip_prefix("multipart/byteranges; boundary=").unwrap_or_default();
        assert_eq!(boundary.len(), 32);
        let mut text = Vec::new();
        for (head, range) in &body.parts {
            text.extend_from_slice(head);
            text.extend(std::iter::repeat_n(b'.', (range.end - range.start) as usize));
        }
        text.extend_from_slice(&body.tail);
        assert_eq!(text.len() as u64, body.len);
        let want = format!(
            "--{boundary}\r\nContent-Type: application/pdf\r\n\
             Content-Range: bytes 500-999/8000\r\n\r\n{}\r\n\
             --{boundary}\r\nContent-Type: application/pdf\r\n\
             Content-Range: bytes 7000-7999/8000\r\n\r\n{}\r\n--{boundary}--\r\n",
            ".".repeat(500),
            ".".repeat(1000),
        );
        assert_eq!(String::from_utf8_lossy(&text), want);
    }

    #[test]
    fn boundaries_are_not_reused() {
        let one = Multipart::new(vec![0..1, 500..501], 1000, "text/plain");
        let two = Multipart::new(vec![0..1, 500..501], 1000, "text/plain");
        assert_ne!(one.content_type, two.content_type);
    }

    #[test]
    fn content_ranges() {
        assert_eq!(content_range(&(0..1), 1), "bytes 0-0/1");
        assert_eq!(unsatisfied(47), "bytes */47");
    }
}
