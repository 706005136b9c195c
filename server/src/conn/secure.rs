//! TLS under a connection: records opened where they lie, one sealing for each flush.

use ringway_codec::scan::PAD;

use super::Cx;
use crate::ring::send::Pinned;
use crate::tls::{Error, Event, Names, Session};

/// Body bytes sealed in one flush; they are copied by sealing, so this bounds what a slow reader
/// holds.
const SEAL_MAX: usize = 128 * 1024;

/// A connection's TLS session with what it has to keep between turns.
pub(crate) struct Secure {
    pub(super) session: Session,
    /// The beginning of a record, with [`PAD`] bytes behind it.
    partial: Vec<u8>,
    /// Records ready to be sent.
    sealed: Vec<u8>,
}

/// Which hosts a connection's certificate stands for.
pub(super) struct Cover {
    names: Names,
    /// The authority that was looked at last, and found to be covered.
    last: Vec<u8>,
}

impl Cover {
    pub(super) fn new(session: &Session) -> Self {
        Self { names: session.names(), last: Vec::new() }
    }

    /// True for an authority that the certificate does not stand for: the client took this server
    /// for another one's (RFC 9110 section 7.4), and is told so by 421.
    pub(super) fn is_misdirected(&mut self, authority: Option<&str>) -> bool {
        let Some(authority) = authority else { return false };
        if authority.as_bytes() == self.last {
            return false;
        }
        if !self.names.covers(&host(authority)) {
            return true;
        }
        self.last.clear();
        self.last.extend_from_slice(authority.as_bytes());
        false
    }
}

/// An authority without its port, lower case as certificates are.
fn host(authority: &str) -> String {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase()
}

/// What opening a record came to.
pub(super) enum Opened {
    /// Plaintext stands in this range of the input.
    Plain(std::ops::Range<usize>),
    /// The handshake is complete.
    Established,
    /// The peer sends no more.
    Closed,
    /// A record without data for us.
    Nothing,
    /// The next record is not all there.
    More,
}

impl Secure {
    pub(super) fn new(session: Session) -> Self {
        Self { session, partial: Vec::new(), sealed: Vec::new() }
    }

    /// Opens the next record of `whole[*at..len]`.
    pub(super) fn open(
        &mut self,
        whole: &mut [u8],
        at: &mut usize,
        cx: &mut Cx<'_>,
    ) -> Result<Opened, Error> {
        let len = whole.len() - PAD;
        if self.sealed.capacity() == 0 {
            self.sealed = cx.pool.take();
        }
        let step = self.session.read(&mut whole[*at..len], &mut self.sealed)?;
        let start = *at;
        *at += step.consumed;
        Ok(match step.event {
            Event::Established => Opened::Established,
            Event::Closed => Opened::Closed,
            Event::None if step.consumed == 0 => Opened::More,
            Event::None if step.plain.is_empty() => Opened::Nothing,
            Event::None => Opened::Plain(start + step.plain.start..start + step.plain.end),
        })
    }

    /// Adds input to the record that has begun, if one has, and hands it out to work on.
    pub(super) fn complete(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
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
    pub(super) fn keep(&mut self, bytes: &[u8], cx: &mut Cx<'_>) {
        if bytes.is_empty() {
            return;
        }
        self.partial = cx.pool.take();
        self.partial.extend_from_slice(bytes);
        self.partial.extend_from_slice(&[0; PAD]);
    }

    /// True when there are records to be sent.
    pub(super) fn has_output(&self) -> bool {
        !self.sealed.is_empty()
    }

    /// Seals what is gathered, and of a body that lies elsewhere as much as one flush takes;
    /// returns the records. `last` says that nothing follows.
    pub(super) fn seal(
        &mut self,
        plain: &mut Vec<u8>,
        pinned: &mut Option<Pinned>,
        last: bool,
        cx: &mut Cx<'_>,
    ) -> Result<Vec<u8>, Error> {
        if self.sealed.capacity() == 0 {
            self.sealed = cx.pool.take();
        }
        if !self.session.is_handshaking() {
            if !plain.is_empty() {
                self.session.seal(plain, &mut self.sealed)?;
                plain.clear();
            }
            if let Some(body) = pinned {
                self.session.seal(body.split_to(SEAL_MAX).bytes(), &mut self.sealed)?;
                if body.len() == 0 {
                    *pinned = None;
                }
            }
            if last && pinned.is_none() {
                self.session.close_notify(&mut self.sealed);
            }
        }
        Ok(std::mem::take(&mut self.sealed))
    }

    /// Gives back what an idle session does not need.
    pub(super) fn rest(&mut self, cx: &mut Cx<'_>) {
        self.session.rest();
        if self.sealed.is_empty() {
            cx.pool.give(std::mem::take(&mut self.sealed));
        }
    }
}
