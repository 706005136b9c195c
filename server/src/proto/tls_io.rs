//! A connection's TLS: opens records in place, and seals the output once per flush.

use ringway_codec::authority;
use ringway_codec::scan::PAD;

use super::{CommonKind, Context};
use crate::ring::send::Pinned;
use crate::tls::{Error, Names, Session, SessionEvent};

/// Maximum number of bytes of a large body sealed in one flush. Sealing copies them, so this limits
/// the memory that a slow reader can hold.
const SEAL_MAX: usize = 128 * 1024;

/// Bodies of at least this size are sealed without a prior copy; shorter ones are cheaper to copy.
pub(crate) const LEND_MIN: usize = 1024;

/// Bodies spliced into the gathered bytes without a copy.
#[derive(Default)]
pub(crate) struct Splices {
    /// Each part with its offset in the output.
    parts: Vec<(usize, Pinned)>,
    len: usize,
}

impl Splices {
    /// Adds a part after the first `at` bytes of the output.
    pub(crate) fn push(&mut self, at: usize, body: Pinned) {
        self.len += body.len();
        self.parts.push((at, body));
    }

    /// The parts, each with the length of the output before it.
    pub(crate) fn parts(&self) -> &[(usize, Pinned)] {
        &self.parts
    }

    /// Total length of the parts.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Drops them.
    fn clear(&mut self) {
        self.parts.clear();
        self.len = 0;
    }
}

/// The gathered bytes with the spliced parts in their places.
pub(crate) fn woven<'a>(
    plain: &'a [u8],
    splices: &'a [(usize, Pinned)],
) -> impl Iterator<Item = &'a [u8]> + Clone {
    let mut at = 0;
    let tail = splices.last().map_or(0, |(end, _)| *end);
    let parts = splices.iter().flat_map(move |(end, body)| {
        let head = &plain[at..*end];
        at = *end;
        [head, body.bytes()]
    });
    parts.chain([&plain[tail..]])
}

/// A connection's TLS session with its buffers.
pub(crate) struct TlsIo {
    pub(crate) session: Session,
    /// The beginning of a record, followed by [`PAD`] bytes.
    partial: Vec<u8>,
    /// Records ready to be sent.
    sealed: Vec<u8>,
    /// Which common fields its responses carry: see [`Context::common`].
    pub(crate) kind: CommonKind,
}

/// The hosts that a connection's certificate covers.
pub(crate) struct CertificateScope {
    names: Names,
    /// The authority that was last found to be covered.
    last: Vec<u8>,
    /// Which common fields its responses carry: see [`Context::common`].
    pub(crate) kind: CommonKind,
}

impl CertificateScope {
    pub(crate) fn new(names: Names, kind: CommonKind) -> Self {
        Self { names, last: Vec::new(), kind }
    }

    /// True if the client has shown a certificate.
    pub(super) fn is_certified(&self) -> bool {
        self.names.has_client_certificate()
    }

    /// True if the certificate does not cover a canonical authority. The client has mistaken this
    /// server for another one (RFC 9110 section 7.4) and gets 421.
    pub(super) fn is_misdirected(&mut self, authority: &[u8]) -> bool {
        if authority == self.last {
            return false;
        }
        let is_covered = str::from_utf8(authority)
            .is_ok_and(|authority| self.names.covers(authority::host(authority)));
        if is_covered {
            self.last.clear();
            self.last.extend_from_slice(authority);
        }
        !is_covered
    }
}

/// The result of opening a record.
pub(crate) enum Opened {
    /// Plaintext in this range of the input.
    Plain(std::ops::Range<usize>),
    /// The handshake is complete.
    Established,
    /// The peer has closed its side.
    Closed,
    /// A record without application data.
    Nothing,
    /// The next record is incomplete.
    More,
}

impl TlsIo {
    pub(crate) fn new(session: Session, kind: CommonKind) -> Self {
        Self { session, partial: Vec::new(), sealed: Vec::new(), kind }
    }

    /// Opens the next record of `whole[*at..len]`.
    pub(crate) fn open(
        &mut self,
        whole: &mut [u8],
        at: &mut usize,
        cx: &mut Context<'_>,
    ) -> Result<Opened, Error> {
        let len = whole.len() - PAD;
        // After the handshake, records cause no immediate output.
        if self.sealed.capacity() == 0 && self.session.is_handshaking() {
            self.sealed = cx.pool.take();
        }
        let step = self.session.read(&mut whole[*at..len], &mut self.sealed)?;
        let start = *at;
        *at += step.consumed;
        Ok(match step.event {
            SessionEvent::Established => Opened::Established,
            SessionEvent::Closed => Opened::Closed,
            SessionEvent::None if step.consumed == 0 => Opened::More,
            SessionEvent::None if step.plain.is_empty() => Opened::Nothing,
            SessionEvent::None => Opened::Plain(start + step.plain.start..start + step.plain.end),
        })
    }

    /// Adds input to a partial record, if there is one, and returns it for processing.
    pub(crate) fn complete(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.partial.is_empty() {
            return None;
        }
        let mut whole = std::mem::take(&mut self.partial);
        whole.truncate(whole.len() - PAD);
        whole.extend_from_slice(bytes);
        whole.extend_from_slice(&[0; PAD]);
        Some(whole)
    }

    /// Keeps the beginning of a record.
    pub(crate) fn keep(&mut self, bytes: &[u8], cx: &mut Context<'_>) {
        if bytes.is_empty() {
            return;
        }
        self.partial = cx.pool.take();
        self.partial.extend_from_slice(bytes);
        self.partial.extend_from_slice(&[0; PAD]);
    }

    /// True when there are records to be sent.
    pub(crate) fn has_output(&self) -> bool {
        !self.sealed.is_empty()
    }

    /// Seals the gathered and spliced bytes, and as much of a large body as one flush takes;
    /// returns the records. Each byte is copied once, into its record, and encrypted there. With
    /// `last` nothing follows, and the closing alert is appended.
    pub(crate) fn seal(
        &mut self,
        plain: &mut Vec<u8>,
        splices: Option<&mut Splices>,
        pinned: &mut Option<Pinned>,
        last: bool,
        cx: &mut Context<'_>,
    ) -> Result<Vec<u8>, Error> {
        let body = pinned.as_mut().map(|body| body.split_to(SEAL_MAX));
        let spliced = splices.as_ref().map_or(0, |splices| splices.len());
        let len = plain.len() + spliced + body.as_ref().map_or(0, Pinned::len);
        if self.sealed.is_empty() {
            let room = cx.pool.take_for(len + len / 64 + 64);
            cx.pool.give(std::mem::replace(&mut self.sealed, room));
        }
        if !self.session.is_handshaking() {
            if len > 0 {
                let parts = splices.as_ref().map_or(&[][..], |splices| splices.parts());
                let parts = woven(plain, parts).chain(body.as_ref().map(Pinned::bytes));
                self.session.seal_parts(parts, &mut self.sealed)?;
            }
            plain.clear();
            if let Some(splices) = splices {
                splices.clear();
            }
            pinned.take_if(|body| body.len() == 0);
        }
        if last && pinned.is_none() {
            self.session.close(&mut self.sealed);
        }
        Ok(std::mem::take(&mut self.sealed))
    }

    /// The sealed records, followed by the closing alert.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        self.session.close(&mut self.sealed);
        std::mem::take(&mut self.sealed)
    }

    /// Frees memory that an idle session does not need.
    pub(crate) fn rest(&mut self, cx: &mut Context<'_>) {
        self.session.rest();
        if self.sealed.is_empty() {
            cx.pool.give(std::mem::take(&mut self.sealed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::send::Owner;

    #[test]
    fn splices_stand_where_they_were_put() {
        let mut splices = Splices::default();
        for (at, bytes) in [(0, &b"ab"[..]), (3, b"cd"), (3, b"ef")] {
            splices.push(at, Pinned::new(Owner::Static(bytes), 0..bytes.len()));
        }
        let whole =
            |splices: &Splices| woven(b"01234", &splices.parts).collect::<Vec<_>>().concat();
        assert_eq!((whole(&splices), splices.len()), (b"ab012cdef34".to_vec(), 6));
        splices.clear();
        assert_eq!((whole(&splices), splices.len()), (b"01234".to_vec(), 0));
    }
}
