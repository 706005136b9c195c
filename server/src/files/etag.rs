//! Strong entity tags.
//!
//! A file that is held in memory is tagged by its content: the tag changes exactly when the bytes
//! do, survives `touch`, and is the same on every machine that serves the same tree. A file that
//! is streamed from disk is tagged so as well once its content was read in the background
//! ([`tags`](super::tags)), and until then by what `statx` says of it (size, modification and
//! change time in nanoseconds, inode): that changes whenever the content does, and also when only
//! those do. It goes on to count beside the other while those stay, for downloads under way.
//! Each content coding has a tag of its own. RFC 9110 section 8.8.3.

use super::hash::fingerprint;
use super::meta::Meta;
use crate::app::content_coding::Coding;

/// An entity tag as it goes on the wire, quotes included. At most 24 bytes, kept inline.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ETag {
    bytes: [u8; 24],
    len: u8,
}

impl ETag {
    /// The tag of `content`, coded as `coding`.
    pub(crate) fn of_content(content: &[u8], coding: Coding) -> Self {
        Self::of_fingerprint(fingerprint(content), coding)
    }

    /// The tag of a content with this fingerprint, coded as `coding`.
    pub(crate) fn of_fingerprint(hash: u128, coding: Coding) -> Self {
        // 96 bits are sixteen characters: accidental equality stays beyond reach.
        Self::new((hash >> 32) as u64, hash as u32, coding)
    }

    /// The tag of the file that `meta` describes, coded as `coding`.
    pub(crate) fn of_meta(meta: &Meta, coding: Coding) -> Self {
        let mut bytes = [0; 56];
        bytes[..8].copy_from_slice(&meta.size.to_le_bytes());
        bytes[8..24].copy_from_slice(&meta.modified_ns.to_le_bytes());
        bytes[24..40].copy_from_slice(&meta.changed_ns.to_le_bytes());
        bytes[40..48].copy_from_slice(&meta.inode.to_le_bytes());
        bytes[48..].copy_from_slice(&meta.device.to_le_bytes());
        Self::of_content(&bytes, coding)
    }

    /// The tag with its quotes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn new(high: u64, low: u32, coding: Coding) -> Self {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut tag = Self { bytes: [0; 24], len: 0 };
        tag.push(b"\"");
        let number = u128::from(high) << 32 | u128::from(low);
        for digit in (0..16).rev() {
            tag.push(&[DIGITS[(number >> (6 * digit) & 63) as usize]]);
        }
        tag.push(match coding {
            Coding::Identity => b"\"",
            Coding::Gzip => b"-gz\"",
            Coding::Zstd => b"-zst\"",
            Coding::Brotli => b"-br\"",
        });
        tag
    }

    fn push(&mut self, bytes: &[u8]) {
        let at = usize::from(self.len);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }
}

impl std::fmt::Debug for ETag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn shape_is_a_strong_tag() {
        for coding in Coding::ALL {
            let tag = ETag::of_content(b"hello", coding);
            let text = tag.as_bytes();
            assert!(text.starts_with(b"\"") && text.ends_with(b"\"") && text.len() >= 18);
            assert!(text[1..text.len() - 1].iter().all(|b| b.is_ascii_graphic() && *b != b'"'));
        }
    }

    /// Row B3.
    #[test]
    fn content_tags_differ_iff_content_or_coding_does() {
        let mut seen = HashSet::new();
        let mut content = vec![0_u8; 200];
        for coding in Coding::ALL {
            assert!(seen.insert(ETag::of_content(&content, coding).as_bytes().to_vec()));
        }
        for at in 0..content.len() {
            for bit in 0..8 {
                content[at] ^= 1 << bit;
                let tag = ETag::of_content(&content, Coding::Identity);
                assert!(seen.insert(tag.as_bytes().to_vec()), "byte {at} bit {bit}");
                assert_eq!(tag, ETag::of_content(&content.clone(), Coding::Identity));
                content[at] ^= 1 << bit;
            }
        }
        for length in 0..200 {
            let tag = ETag::of_content(&content[..length], Coding::Identity);
            assert!(seen.insert(tag.as_bytes().to_vec()), "{length} zeros");
        }
    }

    #[test]
    fn meta_tags_change_with_each_part() {
        let meta = Meta { size: 5, modified_ns: 1, changed_ns: 2, inode: 3, ..Meta::default() };
        let same = ETag::of_meta(&meta, Coding::Identity);
        assert_eq!(same, ETag::of_meta(&meta.clone(), Coding::Identity));
        for other in [
            Meta { size: 6, ..meta },
            Meta { modified_ns: 2, ..meta },
            Meta { changed_ns: 3, ..meta },
            Meta { inode: 4, ..meta },
            Meta { device: 1, ..meta },
        ] {
            assert_ne!(same, ETag::of_meta(&other, Coding::Identity));
        }
        assert_ne!(same, ETag::of_meta(&meta, Coding::Brotli));
    }
}
