//! What an endpoint has to do with the processes before and after its own: which datagrams go to
//! older generations, and what the next one is given. See [`crate::generations`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use quiche::{Header, Type};

use super::{Endpoint, Received};
use crate::cid::Origin;
use crate::generations::{self, HALF_OPEN_KEPT, HalfOpen};

impl<T: Default> Endpoint<T> {
    /// A worker of an older generation is gone: packets of its connections get stateless resets.
    pub fn forget(&mut self, origin: Origin) {
        self.policy.predecessors.forget(origin);
    }

    /// Has the packets of these handshakes forwarded, while their generations serve.
    pub fn import_half_open(&mut self, table: Arc<HalfOpen>) {
        self.elsewhere = Some(table);
    }

    /// Writes behind `out` which clients may not know our connection ID yet: at most `most`, those
    /// with unfinished handshakes first, and by worker 0 also what older generations have left.
    /// For [`HalfOpen::import`]. Call it when nothing is read any more, and [`drain`](Self::drain)
    /// before: from then on such clients are the next generation's.
    pub fn export_half_open(&self, most: usize, now: Instant, out: &mut Vec<u8>) {
        let mut left = most;
        for is_established in [false, true] {
            for entry in self.table.entries() {
                let age = now.saturating_duration_since(entry.accepted);
                let is_kept = age < HALF_OPEN_KEPT && entry.established == is_established;
                let Some(first) = entry.first.filter(|_| is_kept && left > 0) else { continue };
                generations::write(&first, self.policy.origin, age, out);
                left -= 1;
            }
        }
        if let (0, Some(older)) = (self.policy.origin.worker, &self.elsewhere) {
            older.export(left, now, out);
        }
    }

    /// Connections of another worker, be it an older generation's, are served there.
    pub(super) fn divert_foreign(&mut self, cid: &[u8]) -> Result<(), Received> {
        let Some(origin) = self.cids.decode(cid) else { return Ok(()) };
        match self.is_elsewhere(origin) {
            true => Err(Received::Forward(origin)),
            false => Ok(()),
        }
    }

    /// As [`Self::divert_foreign`], for packets whose destination may be the client's own choice,
    /// or the source of a Retry. An older generation takes no new connection, so what follows its
    /// Retry begins here, unless it has begun there already.
    pub(super) fn divert_long(
        &mut self,
        header: &Header<'_>,
        from: SocketAddr,
        now: Instant,
    ) -> Result<(), Received> {
        if let Some(elsewhere) = &self.elsewhere
            && let Some(origin) = elsewhere.origin(&header.dcid, now)
            && self.policy.predecessors.serves(origin)
        {
            return Err(Received::Forward(origin));
        }
        let Some(origin) = self.cids.decode(&header.dcid) else { return Ok(()) };
        let is_ours = origin.generation == self.policy.origin.generation;
        if self.is_elsewhere(origin) && (is_ours || !self.follows_retry(header, from)) {
            return Err(Received::Forward(origin));
        }
        Ok(())
    }

    fn is_elsewhere(&self, origin: Origin) -> bool {
        let ours = self.policy.origin;
        let is_sibling = origin.generation == ours.generation && origin.worker != ours.worker;
        is_sibling || self.policy.predecessors.serves(origin)
    }

    fn follows_retry(&self, header: &Header<'_>, from: SocketAddr) -> bool {
        let token = header.token.as_deref().filter(|_| header.ty == Type::Initial);
        let open = |token| self.tokens.open(token, from, &header.dcid, self.unix_s);
        token.is_some_and(|token| open(token).is_ok())
    }
}
