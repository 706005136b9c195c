//! One connection's TLS, sans-I/O: rustls' unbuffered connection until the handshake is done, then
//! our own record layer over the traffic keys it hands out (RFC 8446, RFC 5246).
//!
//! Records are opened in place in the caller's buffer, one at a time, and sealed straight into the
//! caller's output. Deadlines are the connection's; so is what to do with the plaintext.

use std::ops::Range;
use std::sync::Arc;

use rustls::server::ServerConfig;
use rustls::{CipherSuite, NamedGroup};

use super::certs::Store;
use super::error::Error;
use super::handshake::Handshake;
use super::record::{HEADER, content};
use super::record_layer::RecordLayer;
use super::secret::wipe_stack;
use super::{Alpn, Unfinished};

/// What one [`Session::read`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that are done with; 0 when the first record is not complete yet.
    pub consumed: usize,
    /// Where in the input decrypted application data stands; often empty.
    pub plain: Range<usize>,
    /// What else happened.
    pub event: SessionEvent,
}

/// What a record brought besides data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionEvent {
    /// Nothing to act on.
    #[default]
    None,
    /// The handshake is complete: [`Session::alpn`] and the rest are known, and
    /// [`Session::seal`] works.
    Established,
    /// The peer sent close_notify: it will send nothing more.
    Closed,
}

/// The protocol version of an established session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl Version {
    /// As it is written in logs: `TLSv1.3`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }
}

/// The server's side of one TLS connection.
#[derive(Debug)]
pub struct Session {
    state: State,
    about: About,
    store: Arc<Store>,
}

#[derive(Debug)]
enum State {
    Handshake(Box<Handshake>),
    Open(Box<RecordLayer>),
    Over,
}

/// The hosts that a connection's certificate stands for.
#[derive(Clone, Debug)]
pub struct Names {
    store: Arc<Store>,
    sni: Option<Box<str>>,
    client: bool,
}

impl Names {
    /// `client`: the client has shown a certificate.
    pub(super) fn new(store: Arc<Store>, sni: Option<Box<str>>, client: bool) -> Self {
        Self { store, sni, client }
    }

    /// Whether the client has shown a certificate, of one of the authorities asked for.
    pub fn has_client_certificate(&self) -> bool {
        self.client
    }

    /// Whether the certificate covers `host` (lower case, no port): if not, 421 (RFC 9110 §7.4).
    pub fn covers(&self, host: &str) -> bool {
        self.store.covers(self.sni.as_deref(), host)
    }
}

/// What the handshake settled.
#[derive(Debug, Default)]
pub(super) struct About {
    pub(super) name: Option<Box<str>>,
    pub(super) suite: Option<CipherSuite>,
    pub(super) group: Option<NamedGroup>,
    pub(super) alpn: Option<Alpn>,
    pub(super) version: Option<Version>,
    pub(super) resumed: bool,
    /// The client has shown a certificate.
    pub(super) client: bool,
}

impl Session {
    /// A session that awaits a ClientHello.
    pub(super) fn new(
        config: Arc<ServerConfig>,
        only_tls13: bool,
        store: Arc<Store>,
        unfinished: Unfinished,
    ) -> Result<Self, Error> {
        let handshake = Handshake::new(config, only_tls13, unfinished)?;
        Ok(Self { state: State::Handshake(Box::new(handshake)), about: About::default(), store })
    }

    /// Handles the first complete record of `input`; handshake messages and alerts due to the peer
    /// are appended to `out`. Call again with the rest until `consumed` is 0; the bytes then left
    /// are the beginning of a record, which the caller keeps and completes (at most
    /// 5 + 2^14 + 2048 bytes). No plaintext may await sealing in `out`.
    ///
    /// # Errors
    /// Nothing more is read. What the peer is owed can still be sealed; then [`Session::close`]
    /// appends the alert that is due. One that is due during the handshake stands in `out` already.
    pub fn read(&mut self, input: &mut [u8], out: &mut Vec<u8>) -> Result<Step, Error> {
        let read = match &mut self.state {
            State::Open(layer) => return layer.read(input),
            State::Handshake(handshake) => {
                let read = match handshake.read(input, out, &mut self.about) {
                    Ok(step) if step.event == SessionEvent::Established => self.establish(step),
                    read => read,
                };
                wipe_stack();
                read
            }
            State::Over => Err(Error::Over),
        };
        if read.is_err() {
            self.state = State::Over;
        }
        read
    }

    /// Appends `plain` to `out` as application data records of up to 2^14 bytes each: gather a
    /// whole flush and seal it at once. Key updates that are due go in front.
    ///
    /// # Errors
    /// Before [`SessionEvent::Established`], after [`Session::close`], or when a TLS 1.2 session
    /// has used its key up (2^24 records): then [`Session::close`].
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.seal_parts([plain].into_iter(), out)
    }

    /// As [`Session::seal`] for plaintext in several places, a head and its body say: records run
    /// over the seams, so there are no more of them than for the whole.
    ///
    /// # Errors
    /// As [`Session::seal`].
    pub fn seal_parts<'a>(
        &mut self,
        parts: impl Iterator<Item = &'a [u8]> + Clone,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        match &mut self.state {
            State::Open(layer) => layer.seal(parts, out),
            State::Handshake(_) => Err(Error::Internal("sealed before the handshake".into())),
            State::Over => Err(Error::Over),
        }
    }

    /// Bytes to leave free in front of plaintext that [`Session::seal_in_place`] is to seal.
    pub fn headroom(&self) -> usize {
        match &self.state {
            State::Open(layer) => layer.headroom(),
            State::Handshake(_) | State::Over => 0,
        }
    }

    /// As [`Session::seal`] for plaintext that stands in `out` already, from `from` on behind
    /// [`Session::headroom`] free bytes: up to 2^14 bytes are sealed without being copied.
    ///
    /// # Errors
    /// As [`Session::seal`].
    ///
    /// # Panics
    /// If `out` does not reach over the headroom.
    pub fn seal_in_place(&mut self, out: &mut Vec<u8>, from: usize) -> Result<(), Error> {
        match &mut self.state {
            State::Open(layer) => layer.seal_in_place(out, from),
            State::Handshake(_) => Err(Error::Internal("sealed before the handshake".into())),
            State::Over => Err(Error::Over),
        }
    }

    /// True when the key will soon have protected all the records that it may (TLS 1.2): take no
    /// further request.
    pub fn is_worn(&self) -> bool {
        matches!(&self.state, State::Open(layer) if layer.is_worn())
    }

    /// Shrinks a session that has nothing to do from 1.6 kB to 0.4 kB: the expanded keys are let
    /// go, and come back with the next record of their direction for a fraction of a microsecond.
    pub fn rest(&mut self) {
        if let State::Open(layer) = &mut self.state {
            layer.rest();
        }
    }

    /// Appends the alert that our side ends with, once: the fatal one that an error of
    /// [`Session::read`] called for, else close_notify (RFC 8446 §6.1). We send nothing more, and
    /// may still receive. Nothing is said to a client that has said nothing, nor while rustls alone
    /// holds the keys that an alert would need (a resumed TLS 1.2 handshake).
    pub fn close(&mut self, out: &mut Vec<u8>) {
        match &mut self.state {
            State::Open(layer) => layer.close(out),
            State::Handshake(handshake) if handshake.close(out) => self.state = State::Over,
            State::Handshake(_) | State::Over => {}
        }
    }

    /// Whether the handshake still goes on: the connection then keeps its handshake deadline.
    pub fn is_handshaking(&self) -> bool {
        matches!(self.state, State::Handshake(_))
    }

    /// The application protocol; `None` when the client did not ask for one (speak HTTP/1.1).
    pub fn alpn(&self) -> Option<Alpn> {
        self.about.alpn
    }

    /// The server name that the client asked for, lower case.
    pub fn sni(&self) -> Option<&str> {
        self.about.name.as_deref()
    }

    /// The hosts that the certificate in use stands for.
    pub fn names(&self) -> Names {
        Names::new(Arc::clone(&self.store), self.about.name.clone(), self.about.client)
    }

    /// Whether the handshake resumed an earlier session by its ticket.
    pub fn resumed(&self) -> bool {
        self.about.resumed
    }

    /// The protocol version, once established.
    pub fn version(&self) -> Option<Version> {
        self.about.version
    }

    /// The cipher suite, once established; its `Debug` is the IANA name.
    pub fn cipher(&self) -> Option<CipherSuite> {
        self.about.suite
    }

    /// The key exchange group of a full handshake, once established.
    pub fn group(&self) -> Option<NamedGroup> {
        self.about.group
    }

    fn establish(&mut self, step: Step) -> Result<Step, Error> {
        let State::Handshake(handshake) = std::mem::replace(&mut self.state, State::Over) else {
            return Err(Error::Over);
        };
        self.state = State::Open(handshake.into_record_layer(&mut self.about)?);
        Ok(step)
    }

    /// Leaves our key so many records, the last four of which are for alerts.
    #[cfg(test)]
    pub(crate) fn wear(&mut self, left: u64) {
        let tx = self.record_layer().halves().1;
        let used = (1 << 24) - tx.remaining();
        tx.jump(used, used + left);
    }

    /// The record layer: tests reach its limits through it.
    #[cfg(test)]
    pub(super) fn record_layer(&mut self) -> &mut RecordLayer {
        match &mut self.state {
            State::Open(layer) => layer,
            _ => panic!("not established"),
        }
    }
}

/// What is wrong with a record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// Unknown type or version.
    Kind,
    /// The body is longer than allowed.
    Length,
}

/// The length of the record at the front of `input`, header included, judged as soon as its header
/// is there; `None` while the record is incomplete.
pub(super) fn record_len(input: &[u8], max_body: usize) -> Result<Option<usize>, BadHeader> {
    let Some(&[kind, major, _, high, low]) = input.first_chunk::<HEADER>() else {
        return match input.first() {
            Some(kind) if !is_known(*kind) => Err(BadHeader::Kind),
            _ => Ok(None),
        };
    };
    if !is_known(kind) || major != 3 {
        return Err(BadHeader::Kind);
    }
    let body = usize::from(u16::from_be_bytes([high, low]));
    if body > max_body {
        return Err(BadHeader::Length);
    }
    Ok((input.len() >= HEADER + body).then_some(HEADER + body))
}

/// Whether an HTTP request may begin so, which no TLS record does.
pub(super) fn is_text(first: u8) -> bool {
    matches!(first, b'!'..=b'~' | b'\r' | b'\n')
}

fn is_known(kind: u8) -> bool {
    (content::CHANGE_CIPHER_SPEC..=content::APPLICATION_DATA).contains(&kind)
}
