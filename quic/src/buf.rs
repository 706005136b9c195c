//! The buffers that quiche keeps until their bytes are acknowledged: views of bytes that are never
//! copied, whether static, a cached file shared by many responses, or owned by the response.
//! Reference counts are atomic only for bytes shared between workers.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use quiche::{BufFactory, BufSplit};

/// Bytes to send, cheap to clone and to split.
#[derive(Clone)]
pub struct Buf {
    bytes: Bytes,
    at: usize,
    end: usize,
}

#[derive(Clone)]
enum Bytes {
    Static(&'static [u8]),
    Local(Rc<[u8]>),
    Owned(Rc<Vec<u8>>),
    Shared(Arc<[u8]>),
    Other(Rc<dyn AsRef<[u8]>>),
}

impl Buf {
    /// The bytes `range` of this buffer.
    pub fn slice(mut self, range: std::ops::Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.end - self.at, "a slice lies within");
        (self.at, self.end) = (self.at + range.start, self.at + range.end);
        self
    }
}

impl AsRef<[u8]> for Buf {
    fn as_ref(&self) -> &[u8] {
        let whole: &[u8] = match &self.bytes {
            Bytes::Static(bytes) => bytes,
            Bytes::Local(bytes) => bytes,
            Bytes::Owned(bytes) => bytes,
            Bytes::Shared(bytes) => bytes,
            Bytes::Other(bytes) => (**bytes).as_ref(),
        };
        &whole[self.at..self.end]
    }
}

impl BufSplit for Buf {
    fn split_at(&mut self, at: usize) -> Self {
        let mut rest = self.clone();
        rest.at += at;
        assert!(rest.at <= rest.end, "a split lies within");
        self.end = rest.at;
        rest
    }
}

impl fmt::Debug for Buf {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Buf({} bytes)", self.end - self.at)
    }
}

impl From<&'static [u8]> for Buf {
    fn from(bytes: &'static [u8]) -> Self {
        Self { end: bytes.len(), at: 0, bytes: Bytes::Static(bytes) }
    }
}

impl From<Rc<[u8]>> for Buf {
    fn from(bytes: Rc<[u8]>) -> Self {
        Self { end: bytes.len(), at: 0, bytes: Bytes::Local(bytes) }
    }
}

impl From<Rc<dyn AsRef<[u8]>>> for Buf {
    fn from(bytes: Rc<dyn AsRef<[u8]>>) -> Self {
        Self { end: (*bytes).as_ref().len(), at: 0, bytes: Bytes::Other(bytes) }
    }
}

impl From<Arc<[u8]>> for Buf {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self { end: bytes.len(), at: 0, bytes: Bytes::Shared(bytes) }
    }
}

impl From<Rc<Vec<u8>>> for Buf {
    fn from(bytes: Rc<Vec<u8>>) -> Self {
        Self { end: bytes.len(), at: 0, bytes: Bytes::Owned(bytes) }
    }
}

impl From<Vec<u8>> for Buf {
    fn from(bytes: Vec<u8>) -> Self {
        Rc::new(bytes).into()
    }
}

/// The buffer factory that makes quiche use [`Buf`].
#[derive(Clone, Debug, Default)]
pub struct Buffers;

impl BufFactory for Buffers {
    type Buf = Buf;
    type DgramBuf = Vec<u8>;

    fn buf_from_slice(bytes: &[u8]) -> Buf {
        Rc::<[u8]>::from(bytes).into()
    }

    fn dgram_buf_from_slice(bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_splits_and_slices_alike() {
        let other: Rc<dyn AsRef<[u8]>> = Rc::new(b"0123456789".to_vec());
        let sources: [Buf; 5] = [
            other.into(),
            (b"0123456789" as &'static [u8]).into(),
            b"0123456789".to_vec().into(),
            Rc::<[u8]>::from(&b"0123456789"[..]).into(),
            Arc::<[u8]>::from(&b"0123456789"[..]).into(),
        ];
        for source in sources {
            let mut head = source.clone();
            let mut rest = head.split_at(4);
            assert_eq!((head.as_ref(), rest.as_ref()), (&b"0123"[..], &b"456789"[..]));
            let last = rest.split_at(6);
            assert!(last.as_ref().is_empty());
            assert_eq!(rest.slice(1..3).as_ref(), b"56");
            assert_eq!(source.as_ref(), b"0123456789");
        }
    }
}
