//! How connections begin: version negotiation, Retry and its tokens, and the connection itself.

use std::net::SocketAddr;
use std::time::Instant;

use quiche::{ConnectionId, Header, RetryConnectionIds};

use super::{Drop, Endpoint, INITIAL_MIN, Received, answer};
use crate::amplification::Unvalidated;
use crate::conn::Conn;
use crate::fragments::Fragments;
use crate::initial::Initial;
use crate::table::{CidKey, Id};
use crate::token::Refused;

impl<T: Default> Endpoint<T> {
    /// RFC 9000 section 6.1: only for datagrams that could begin a connection, so the answer is
    /// smaller.
    pub(super) fn negotiate(
        &mut self,
        header: &Header<'_>,
        len: usize,
        from: SocketAddr,
        to: SocketAddr,
        now: Instant,
        out: &mut [u8],
    ) -> Received {
        if len < INITIAL_MIN {
            return Received::Dropped(Drop::ShortInitial);
        }
        if !self.negotiations.spend(now) {
            return Received::Dropped(Drop::Rationed);
        }
        match quiche::negotiate_version(&header.scid, &header.dcid, out) {
            Ok(len) => {
                self.totals.version_negotiations += 1;
                Received::Reply(answer(from, to, len))
            }
            Err(_) => Received::Dropped(Drop::Malformed),
        }
    }

    /// A client's first packet: a connection, or a Retry, or nothing.
    pub(super) fn begin(
        &mut self,
        header: &Header<'_>,
        from: SocketAddr,
        to: SocketAddr,
        now: Instant,
        out: &mut [u8],
    ) -> Result<Id, Received> {
        if self.is_draining {
            return Err(Received::Dropped(Drop::Draining));
        }
        if self.table.len() >= self.policy.connections {
            return Err(Received::Dropped(Drop::Full));
        }
        let original = self.original(header, from);
        if original.is_none() && self.half_open >= self.policy.retry_from {
            return Err(self.retry(header, from, to, out));
        }
        let scid = self.cids.mint(self.policy.origin);
        self.config.quic.set_stateless_reset_token(Some(self.resets.token(&scid)));
        let initial =
            Initial { destination: header.dcid.to_vec(), theirs: header.scid.to_vec(), ours: scid };
        let scid = ConnectionId::from_ref(&scid);
        let quic = match &original {
            None => quiche::accept_with_buf_factory(&scid, None, to, from, &mut self.config.quic),
            Some(original) => {
                let cids = RetryConnectionIds {
                    original_destination_cid: &ConnectionId::from_ref(original),
                    retry_source_cid: &header.dcid,
                };
                quiche::accept_with_retry(&scid, cids, to, from, &mut self.config.quic)
            }
        };
        let Ok(mut quic) = quic else { return Err(Received::Dropped(Drop::Refused)) };
        self.begin_qlog(&mut quic, &scid);
        // Our token came back from the address that it was sent to.
        let unvalidated = match original {
            Some(_) => Unvalidated::default(),
            None => Unvalidated::handshake(to, from),
        };
        let fragments = Fragments::new(self.policy.fragments, self.config.streams);
        let idle_timeout = self.config.idle_timeout;
        let conn = Conn::bounded(quic, initial, fragments, idle_timeout, unvalidated, now);
        let id = self.table.insert(conn, T::default(), now);
        self.table.learn(&scid, id);
        self.table.learn(&header.dcid, id);
        if let Some(entry) = self.table.get(id) {
            entry.first = CidKey::of(&header.dcid);
        }
        self.table.arm(id, Some(now + self.policy.handshake_timeout));
        self.half_open += 1;
        self.totals.accepted += 1;
        Ok(id)
    }

    /// The destination of the client's very first Initial, if this one carries a valid token of
    /// ours. An invalid token is treated as absent (RFC 9000 section 8.1.3): quiche cannot build
    /// the stateless close that is the alternative.
    fn original(&mut self, header: &Header<'_>, from: SocketAddr) -> Option<Vec<u8>> {
        let token = header.token.as_deref().filter(|token| !token.is_empty())?;
        match self.tokens.open(token, from, &header.dcid, self.unix_s) {
            Ok(original) => {
                self.totals.tokens_good += 1;
                Some(original)
            }
            Err(Refused::Forged) => {
                self.totals.tokens_forged += 1;
                None
            }
            Err(Refused::Expired) => {
                self.totals.tokens_expired += 1;
                None
            }
        }
    }

    fn retry(
        &mut self,
        header: &Header<'_>,
        from: SocketAddr,
        to: SocketAddr,
        out: &mut [u8],
    ) -> Received {
        let scid = self.cids.mint(self.policy.origin);
        let expires_s = self.unix_s + self.policy.token_lifetime.as_secs();
        let token = self.tokens.seal(from, &header.dcid, &scid, expires_s);
        let scid = ConnectionId::from_ref(&scid);
        match quiche::retry(&header.scid, &header.dcid, &scid, &token, header.version, out) {
            Ok(len) => {
                self.totals.retries += 1;
                Received::Reply(answer(from, to, len))
            }
            Err(_) => Received::Dropped(Drop::Refused),
        }
    }

    fn begin_qlog(&mut self, quic: &mut quiche::Connection<crate::Buffers>, scid: &[u8]) {
        if let Some(writer) = self.qlog.as_mut().and_then(|opener| opener(scid)) {
            let title = "ringway".to_string();
            quic.set_qlog(writer, title, "ringway server".to_string());
        }
    }
}
