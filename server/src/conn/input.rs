//! Input of a connection: through TLS if there is TLS, then to the protocol that it turns out to
//! be.

use ringway_codec::h2::frame::PREFACE;
use ringway_codec::scan::PAD;

use super::{Conn, Context, Proto};
use crate::config::Trace;
use crate::observe::trace::Way;
use crate::proto::h2::Http2;
use crate::proto::tls_io::{CertificateScope, Opened, TlsIo};
use crate::proto::upgrade::Upgrade;
use crate::tls::{Alpn, Error, Session, Version};

/// This start of the preface already means HTTP/2: no client sends the method PRI (RFC 9113 section
/// 11.6).
const CLAIM: usize = b"PRI ".len();

/// The input is text, not a TLS record.
struct NotTls;

impl Conn {
    #[inline]
    pub(super) fn receive(&mut self, bytes: &mut [u8], cx: &mut Context<'_>) {
        match self.tls.take() {
            None => self.use_input(bytes, cx),
            Some(tls) => self.receive_records(tls, bytes, cx),
        }
    }

    fn receive_records(&mut self, mut tls: Box<TlsIo>, bytes: &mut [u8], cx: &mut Context<'_>) {
        let len = bytes.len() - PAD;
        let mut joined = tls.complete(&bytes[..len]);
        let whole = joined.as_deref_mut().unwrap_or(bytes);
        if tls.session.is_worn() {
            self.wind_down(cx);
        }
        match self.open_records(&mut tls, whole, cx) {
            Ok(()) => self.tls = Some(tls),
            Err(NotTls) => self.begin_in_clear(whole, cx),
        }
        if let Some(joined) = joined {
            cx.pool.give(joined);
        }
    }

    /// A client that speaks HTTP on a TLS port gets an answer in HTTP.
    fn begin_in_clear(&mut self, whole: &[u8], cx: &mut Context<'_>) {
        if let Proto::H1(http) = &mut self.proto {
            http.set_misplaced();
        }
        self.fresh = true;
        self.use_input(whole, cx);
    }

    /// The session's key is nearly used up: further requests need another connection.
    #[cold]
    fn wind_down(&mut self, cx: &mut Context<'_>) {
        match &mut self.proto {
            Proto::H1(http) => http.set_last(),
            Proto::H2(http) => http.drain(&mut self.output, cx),
        }
    }

    /// Opens the records of `whole` and works on what is in them.
    fn open_records(
        &mut self,
        tls: &mut TlsIo,
        whole: &mut [u8],
        cx: &mut Context<'_>,
    ) -> Result<(), NotTls> {
        let len = whole.len() - PAD;
        let mut at = 0;
        while !self.output.is_closing() && !self.failed {
            let from = at;
            let opened = tls.open(whole, &mut at, cx);
            if let Some(trace) = &cx.trace {
                // The header is left as it came.
                trace.records(self.output.id, Way::In, &whole[from..at]);
            }
            match opened {
                // The plaintext is followed by its tag and the padding.
                Ok(Opened::Plain(range)) => {
                    self.use_input(&whole[range.start..range.end + PAD], cx);
                }
                Ok(Opened::Established) => self.established(tls, cx),
                Ok(Opened::Closed) => {
                    self.output.ended = true;
                    self.output.mark(cx);
                    break;
                }
                Ok(Opened::Nothing) => {}
                Ok(Opened::More) => {
                    tls.keep(&whole[at..len], cx);
                    break;
                }
                Err(error) => {
                    if let Some(trace) = &cx.trace {
                        trace.failed(self.output.id, Trace::Tls, &error);
                    }
                    cx.tally.counters.tls_errors += 1;
                    if error == Error::NotTls {
                        return Err(NotTls);
                    }
                    self.failed = true;
                    self.output.mark(cx);
                    break;
                }
            }
        }
        if tls.has_output() {
            self.output.mark(cx);
        }
        Ok(())
    }

    /// The handshake is complete: goes on in the protocol that was negotiated.
    fn established(&mut self, tls: &TlsIo, cx: &mut Context<'_>) {
        if let Some(log) = &mut cx.log {
            log.secured(self.output.id, &tls.session);
        }
        if let Some(trace) = &cx.trace {
            trace.established(self.output.id, &tls.session);
        }
        count_handshake(&tls.session, cx);
        let scope = Some(Box::new(CertificateScope::new(tls.session.names(), tls.kind)));
        if tls.session.alpn() == Some(Alpn::H2) {
            let http = Http2::new(self.socket, scope, &mut self.output, cx);
            self.proto = Proto::H2(Box::new(http));
        } else if let Proto::H1(http) = &mut self.proto {
            http.set_scope(scope);
        }
    }

    /// Works on plaintext, and keeps what cannot be used yet.
    #[inline]
    fn use_input(&mut self, bytes: &[u8], cx: &mut Context<'_>) {
        let len = bytes.len() - PAD;
        if self.output.kept() > 0 {
            self.output.keep(&bytes[..len], cx);
            self.use_kept(cx);
            return;
        }
        let used = self.advance(bytes, cx);
        if used < len {
            self.output.keep(&bytes[used..len], cx);
        }
    }

    /// Works on input that was kept; true if some of it was used.
    pub(super) fn use_kept(&mut self, cx: &mut Context<'_>) -> bool {
        if self.output.kept() == 0 {
            return false;
        }
        let spill = self.output.take_kept();
        let used = self.advance(&spill, cx);
        self.output.put_back(spill, used, cx);
        used > 0
    }

    #[inline]
    fn advance(&mut self, whole: &[u8], cx: &mut Context<'_>) -> usize {
        if !self.counted && !self.begin(whole, cx) {
            return 0;
        }
        let http = match &mut self.proto {
            Proto::H2(http) => {
                let used = http.advance(whole, &mut self.output, cx);
                if let Some(trace) = &mut cx.trace {
                    trace.octets(self.output.id, Way::In, &whole[..used]);
                }
                return used;
            }
            Proto::H1(http) => http,
        };
        let used = http.advance(whole, &mut self.output, cx);
        match http.take_upgrade() {
            None => used,
            Some(upgrade) => self.upgrade(*upgrade, whole, used, cx),
        }
    }

    /// Tells from the first bytes which protocol it is; false while they are too few.
    fn begin(&mut self, whole: &[u8], cx: &mut Context<'_>) -> bool {
        if self.fresh
            && let Proto::H1(http) = &mut self.proto
        {
            let input = &whole[..whole.len() - PAD];
            let same = input.iter().zip(PREFACE).take_while(|(a, b)| a == b).count();
            if same == input.len() && same < PREFACE.len() {
                http.awaits_head(cx);
                return false;
            }
            if same >= CLAIM {
                let misplaced = http.is_misplaced();
                let mut http = Http2::new(self.socket, None, &mut self.output, cx);
                if misplaced {
                    http.refuse_cleartext(&mut self.output, cx);
                }
                self.proto = Proto::H2(Box::new(http));
            }
            self.fresh = false;
        }
        self.counted = true;
        match &self.proto {
            Proto::H1(_) => cx.tally.counters.opened_h1 += 1,
            Proto::H2(_) => cx.tally.counters.opened_h2 += 1,
        }
        true
    }

    /// Goes on in HTTP/2 behind the first `used` bytes; returns how many are used then.
    fn upgrade(
        &mut self,
        upgrade: Upgrade,
        whole: &[u8],
        used: usize,
        cx: &mut Context<'_>,
    ) -> usize {
        let (output, socket) = (&mut self.output, self.socket);
        let Some(mut http) = Http2::upgraded(upgrade, socket, output, cx) else { return used };
        cx.tally.counters.closed_h1 += 1;
        cx.tally.counters.opened_h2 += 1;
        let more = http.advance(&whole[used..], output, cx);
        if let Some(trace) = &mut cx.trace {
            trace.octets(output.id, Way::In, &whole[used..used + more]);
        }
        self.proto = Proto::H2(Box::new(http));
        used + more
    }
}

fn count_handshake(session: &Session, cx: &mut Context<'_>) {
    let counters = &mut cx.tally.counters;
    *match (session.version(), session.resumed()) {
        (Some(Version::Tls12), false) => &mut counters.tls12_full,
        (Some(Version::Tls12), true) => &mut counters.tls12_resumed,
        (_, false) => &mut counters.tls13_full,
        (_, true) => &mut counters.tls13_resumed,
    } += 1;
}
