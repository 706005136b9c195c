//! Message content: bytes in memory, or bytes that are produced while they are sent.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use crate::app::body::Producer;
use crate::ring::send::{Owner, Pinned};

/// A response's body.
///
/// It also implements [`http_body::Body`], for tests and for layers that read what they forward.
#[derive(Default)]
#[non_exhaustive]
pub enum Body {
    /// No body.
    #[default]
    Empty,
    /// Bytes with static lifetime.
    Static(&'static [u8]),
    /// Up to 30 bytes, stored inline.
    Inline(Inline),
    /// Owned bytes.
    Bytes(Vec<u8>),
    /// A range of bytes that the worker keeps.
    Local(Rc<[u8]>, Range<usize>),
    /// Bytes shared between threads.
    Shared(Arc<[u8]>),
    /// A buffer of the `bytes` crate. Large ones are sent without a copy.
    Buffer(Bytes),
    /// Bytes that are produced while they are sent.
    Stream(Producer),
}

/// Up to 30 bytes, stored inline.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline {
    len: u8,
    bytes: [u8; 30],
}

impl Inline {
    /// A number in decimal digits, with an optional sign.
    #[inline]
    fn number(negative: bool, number: u64) -> Self {
        // Digits are gathered in a register: moving bytes that were stored one by one is slow.
        let (mut text, mut len, mut rest) = (0_u64, 0, number);
        while rest > 0 || len == 0 {
            if len == 7 {
                return Self::long_number(negative, number);
            }
            (text, len) = (text << 8 | (u64::from(b'0') + rest % 10), len + 1);
            rest /= 10;
        }
        if negative {
            (text, len) = (text << 8 | u64::from(b'-'), len + 1);
        }
        let mut inline = Self { len, bytes: [0; 30] };
        inline.bytes[..8].copy_from_slice(&text.to_le_bytes());
        inline
    }

    #[cold]
    fn long_number(negative: bool, mut number: u64) -> Self {
        let mut inline = Self { len: u8::from(negative), bytes: [b'-'; 30] };
        let len = inline.len + number.ilog10() as u8 + 1;
        for digit in inline.bytes[usize::from(inline.len)..usize::from(len)].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        inline.len = len;
        inline
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Write for Inline {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let at = usize::from(self.len);
        let room = self.bytes.get_mut(at..at + text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len() as u8;
        Ok(())
    }
}

impl Body {
    /// The text of a value. Up to 30 bytes are stored without allocation.
    pub fn display(value: impl fmt::Display) -> Self {
        let mut inline = Inline::default();
        match write!(inline, "{value}") {
            Ok(()) => Self::Inline(inline),
            Err(_) => Self::Bytes(value.to_string().into_bytes()),
        }
    }

    /// Length in bytes, if it is known before sending.
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::Stream(producer) => producer.length(),
            other => Some(other.bytes().len() as u64),
        }
    }

    /// The bytes of a body in memory; `None` for a streamed body.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Stream(_) => None,
            body => Some(body.bytes()),
        }
    }

    /// True for a body that is known to be empty.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The bytes of a body in memory; empty for a streamed body.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Empty | Self::Stream(_) => &[],
            Self::Static(bytes) => bytes,
            Self::Inline(inline) => inline.as_bytes(),
            Self::Bytes(bytes) => bytes,
            Self::Local(bytes, range) => &bytes[range.clone()],
            Self::Shared(bytes) => bytes,
            Self::Buffer(bytes) => bytes,
        }
    }

    /// Appends the bytes of a body in memory.
    #[inline(always)]
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            // Copying the whole buffer takes two moves; the unused bytes are truncated afterwards.
            Self::Inline(Inline { len, bytes }) => {
                let end = out.len() + usize::from(*len);
                out.extend_from_slice(bytes);
                out.truncate(end);
            }
            body => out.extend_from_slice(body.bytes()),
        }
    }

    /// The bytes of a body in memory, pinned so that they can be sent without a copy.
    pub(crate) fn pin(self) -> Pinned {
        let (owner, range) = match self {
            Self::Local(bytes, range) => (Owner::Local(bytes), range),
            other => {
                let range = 0..other.bytes().len();
                let owner = match other {
                    Self::Empty | Self::Stream(_) => Owner::Static(&[]),
                    Self::Static(bytes) => Owner::Static(bytes),
                    Self::Inline(inline) => Owner::Local(Rc::from(inline.as_bytes())),
                    Self::Bytes(bytes) => Owner::Owned(Rc::new(bytes)),
                    Self::Shared(bytes) => Owner::Shared(bytes),
                    Self::Buffer(bytes) => Owner::Buffer(Rc::new(bytes)),
                    Self::Local(bytes, _) => Owner::Local(bytes),
                };
                (owner, range)
            }
        };
        Pinned::new(owner, range)
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::Static(text.as_bytes())
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Self::Static(bytes)
    }
}

impl<const N: usize> From<&'static [u8; N]> for Body {
    fn from(bytes: &'static [u8; N]) -> Self {
        Self::Static(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Bytes(text.into_bytes())
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Cow<'static, str>> for Body {
    fn from(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Buffer(bytes)
    }
}

impl From<Arc<[u8]>> for Body {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self::Shared(bytes)
    }
}

impl From<Rc<[u8]>> for Body {
    fn from(bytes: Rc<[u8]>) -> Self {
        let range = 0..bytes.len();
        Self::Local(bytes, range)
    }
}

impl From<u64> for Body {
    /// The number in decimal digits.
    #[inline]
    fn from(number: u64) -> Self {
        Self::Inline(Inline::number(false, number))
    }
}

impl From<i64> for Body {
    /// The number in decimal digits.
    #[inline]
    fn from(number: i64) -> Self {
        Self::Inline(Inline::number(number < 0, number.unsigned_abs()))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len() {
            Some(len) => write!(f, "Body({len} bytes)"),
            None => f.write_str("Body(a stream)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_values_stay_in_place() {
        assert!(matches!(Body::display(u64::MAX), Body::Inline(_)));
        for number in [0, 7, 10, -1, 9_999_999, 10_000_000, -9_999_999, i64::MIN, i64::MAX] {
            assert_eq!(Body::from(number).bytes(), number.to_string().as_bytes());
        }
        assert_eq!(Body::from(u64::MAX).bytes(), u64::MAX.to_string().as_bytes());
        let long = Body::display("x".repeat(31));
        assert_eq!((long.len(), matches!(long, Body::Bytes(_))), (Some(31), true));
    }

    #[test]
    fn a_pinned_part_is_the_part() {
        let body = Body::Local(Rc::from(&b"0123456789"[..]), 3..7);
        assert_eq!(body.len(), Some(4));
        assert_eq!(body.pin().bytes(), b"3456");
        assert_eq!(Body::from("abc").pin().bytes(), b"abc");
        let bytes = Bytes::from(vec![7; 9]);
        let pinned = Body::from(bytes.clone()).pin();
        assert_eq!((pinned.bytes(), pinned.bytes().as_ptr()), (&bytes[..], bytes.as_ptr()));
    }
}
