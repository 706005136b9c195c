//! One connection's TLS, sans-I/O: rustls' unbuffered connection until the handshake is done, then
//! our own record layer over the traffic keys it hands out (RFC 8446, RFC 5246).
//!
//! Records are opened in place in the caller's buffer, one at a time, and sealed straight into the
//! caller's output. Deadlines are the connection's; so is what to do with the plaintext.

use std::ops::Range;
use std::sync::Arc;

use rustls::server::{ServerConfig, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{AlertDescription, CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion};

use super::certs::Store;
use super::error::Error;
use super::link::Link;
use super::record::{HEADER, MAX_BODY_12, Secret, content};
use super::tap::{self, Heard};
use super::{Alpn, Unfinished};

/// What one [`Session::read`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that are done with; 0 when the first record is not complete yet.
    pub consumed: usize,
    /// Where in the input decrypted application data stands; often empty.
    pub plain: Range<usize>,
    /// What else happened.
    pub event: Event,
}

/// What a record brought besides data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Event {
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
#[expect(clippy::large_enum_variant, reason = "the large one is the one that lasts")]
enum State {
    Handshake(Box<Handshake>),
    Open(Link),
    Over,
}

/// The hosts that a connection's certificate stands for.
#[derive(Clone, Debug)]
pub struct Names {
    store: Arc<Store>,
    sni: Option<Box<str>>,
}

impl Names {
    pub(super) fn new(store: Arc<Store>, sni: Option<Box<str>>) -> Self {
        Self { store, sni }
    }

    /// Whether the certificate covers `host` (lower case, no port): if not, 421 (RFC 9110 §7.4).
    pub fn covers(&self, host: &str) -> bool {
        self.store.covers(self.sni.as_deref(), host)
    }
}

/// What the handshake settled.
#[derive(Debug, Default)]
struct About {
    name: Option<Box<str>>,
    suite: Option<CipherSuite>,
    group: Option<NamedGroup>,
    alpn: Option<Alpn>,
    version: Option<Version>,
    resumed: bool,
}

impl Session {
    /// A session that awaits a ClientHello.
    pub(super) fn new(
        config: Arc<ServerConfig>,
        store: Arc<Store>,
        unfinished: Unfinished,
    ) -> Result<Self, Error> {
        let rustls = UnbufferedServerConnection::new(config).map_err(internal)?;
        let (rx, tx, pending) = (None, None, Vec::new());
        let handshake =
            Handshake { rustls, pending, rx, tx, begun: false, _unfinished: unfinished };
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
            State::Open(link) => return link.read(input),
            State::Handshake(handshake) => match handshake.read(input, out, &mut self.about) {
                Ok(step) if step.event == Event::Established => self.establish(step),
                read => read,
            },
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
    /// Before [`Event::Established`], after [`Session::close`], or when a TLS 1.2 session has used
    /// its key up (2^24 records): then [`Session::close`].
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
            State::Open(link) => link.seal(parts, out),
            State::Handshake(_) => Err(Error::Internal("sealed before the handshake".into())),
            State::Over => Err(Error::Over),
        }
    }

    /// Bytes to leave free in front of plaintext that [`Session::seal_in_place`] is to seal.
    pub fn headroom(&self) -> usize {
        match &self.state {
            State::Open(link) => link.headroom(),
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
            State::Open(link) => link.seal_in_place(out, from),
            State::Handshake(_) => Err(Error::Internal("sealed before the handshake".into())),
            State::Over => Err(Error::Over),
        }
    }

    /// True when the key will soon have protected all the records that it may (TLS 1.2): take no
    /// further request.
    pub fn is_worn(&self) -> bool {
        matches!(&self.state, State::Open(link) if link.is_worn())
    }

    /// Shrinks a session that has nothing to do from 1.6 kB to 0.4 kB: the expanded keys are let
    /// go, and come back with the next record of their direction for a fraction of a microsecond.
    pub fn rest(&mut self) {
        if let State::Open(link) = &mut self.state {
            link.rest();
        }
    }

    /// Appends the alert that our side ends with, once: the fatal one that an error of
    /// [`Session::read`] called for, else close_notify (RFC 8446 §6.1). We send nothing more, and
    /// may still receive. Nothing is said to a client that has said nothing, nor while rustls alone
    /// holds the keys that an alert would need (TLS 1.3 between ServerHello and Finished).
    pub fn close(&mut self, out: &mut Vec<u8>) {
        match &mut self.state {
            State::Open(link) => link.close(out),
            State::Handshake(handshake) => {
                if handshake.begun && handshake.is_plain() {
                    out.extend_from_slice(&CLOSE_NOTIFY);
                    self.state = State::Over;
                }
            }
            State::Over => {}
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
        Names { store: Arc::clone(&self.store), sni: self.about.name.clone() }
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
        self.state = State::Open(handshake.into_link(&mut self.about)?);
        Ok(step)
    }

    /// Leaves our key so many records, the last four of which are for alerts.
    #[cfg(test)]
    pub(crate) fn wear(&mut self, left: u64) {
        let tx = self.link().halves().1;
        let used = (1 << 24) - tx.remaining();
        tx.jump(used, used + left);
    }

    /// The record layer: tests reach its limits through it.
    #[cfg(test)]
    pub(super) fn link(&mut self) -> &mut Link {
        match &mut self.state {
            State::Open(link) => link,
            _ => panic!("not established"),
        }
    }
}

/// A handshake in progress.
struct Handshake {
    rustls: UnbufferedServerConnection,
    /// Whole records that rustls could not finish with: a handshake message that spans records.
    pending: Vec<u8>,
    rx: Option<Secret>,
    tx: Option<Secret>,
    /// A record has been seen, so the client does speak TLS.
    begun: bool,
    /// Counted among those of the acceptor while this lives.
    _unfinished: Unfinished,
}

/// A ClientHello of 16 KiB cut into one-byte records fits; rustls stops at 64 KiB of message.
const MAX_PENDING: usize = 128 * 1024;

impl Handshake {
    fn read(
        &mut self,
        input: &mut [u8],
        out: &mut Vec<u8>,
        about: &mut About,
    ) -> Result<Step, Error> {
        let header = record_len(input, MAX_BODY_12);
        let consumed = match header {
            Ok(Some(len)) => len,
            Ok(None) => return Ok(Step::default()),
            Err(_) if !self.begun && is_text(input[0]) => return Err(Error::NotTls),
            Err(bad) if !self.begun => {
                let error = Error::from(bad);
                out.extend(error.alert().iter().flat_map(|alert| plain_alert(*alert)));
                return Err(error);
            }
            Err(_) if input.len() < HEADER => return Ok(Step::default()),
            // rustls knows whether an alert must be encrypted by now: let it refuse the record.
            Err(_) => HEADER,
        };
        self.begun = true;
        let record = &mut input[..consumed];
        // rustls overlooks a close_notify in the handshake, or takes it for an error.
        if matches!(record, [content::ALERT, _, _, 0, 2, _, 0]) && self.is_plain() {
            return Ok(Step { consumed, plain: 0..0, event: Event::Closed });
        }
        let fresh = self.pending.is_empty();
        let (driven, heard) = tap::listen(|| {
            if fresh {
                return drive(&mut self.rustls, record, out);
            }
            self.pending.extend_from_slice(record);
            drive(&mut self.rustls, &mut self.pending, out)
        });
        self.note(heard, about);
        let (used, event) = driven?;
        if header.is_err() {
            return Err(Error::Peer { alert: None, what: "no TLS record".into() });
        }
        match fresh {
            true => self.pending.extend_from_slice(&record[used..]),
            false => drop(self.pending.drain(..used)),
        }
        if self.pending.len() > MAX_PENDING {
            let what = "handshake message too long or too finely cut";
            return Err(Error::Peer { alert: None, what: what.into() });
        }
        if event == Event::Established && !self.pending.is_empty() {
            let what = "data behind the Finished message in its record";
            return Err(Error::Peer { alert: None, what: what.into() });
        }
        Ok(Step { consumed, plain: 0..0, event })
    }

    /// Whether alerts are unencrypted yet, both ways: in TLS 1.3 until ServerHello, in TLS 1.2 to
    /// the handshake's end.
    fn is_plain(&self) -> bool {
        self.rustls.protocol_version() != Some(ProtocolVersion::TLSv1_3)
    }

    fn note(&mut self, heard: Heard, about: &mut About) {
        self.rx = heard.client.or(self.rx.take());
        self.tx = heard.server.or(self.tx.take());
        about.name = heard.name.or(about.name.take());
    }

    /// Takes the keys over from rustls and lets go of it.
    fn into_link(self, about: &mut About) -> Result<Link, Error> {
        let rustls = self.rustls;
        about.suite = rustls.negotiated_cipher_suite().map(|suite| suite.suite());
        about.group = rustls.negotiated_key_exchange_group().map(|group| group.name());
        about.alpn = rustls.alpn_protocol().and_then(Alpn::from_name);
        about.resumed = rustls.handshake_kind() == Some(HandshakeKind::Resumed);
        let version = match rustls.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => Version::Tls13,
            _ => Version::Tls12,
        };
        about.version = Some(version);
        // The kernel connection could derive key updates too; `tap` has the secrets for 98 bytes.
        let (keys, _kernel) = rustls.dangerous_into_kernel_connection().map_err(internal)?;
        let secrets = match (version, self.rx, self.tx) {
            (Version::Tls12, ..) => (Secret::NONE, Secret::NONE),
            (Version::Tls13, Some(rx), Some(tx)) => (rx, tx),
            (Version::Tls13, ..) => return Err(Error::Internal("no traffic secrets".into())),
        };
        Link::new(&keys, secrets, version == Version::Tls13)
            .ok_or(Error::Internal("the AEAD refused its key".into()))
    }
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshake").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}

/// Lets rustls process `records`; its answers go to `out`. How many bytes it is done with.
fn drive(
    rustls: &mut UnbufferedServerConnection,
    records: &mut [u8],
    out: &mut Vec<u8>,
) -> Result<(usize, Event), Error> {
    let mut used = 0;
    loop {
        let UnbufferedStatus { discard, state } = rustls.process_tls_records(&mut records[used..]);
        let event = match state {
            Ok(ConnectionState::EncodeTlsData(mut message)) => {
                encode(|out| message.encode(out), out)?;
                None
            }
            Ok(ConnectionState::TransmitTlsData(message)) => {
                message.done();
                None
            }
            Ok(ConnectionState::BlockedHandshake) => Some(Event::None),
            Ok(ConnectionState::WriteTraffic(_)) => Some(Event::Established),
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Some(Event::Closed),
            // Early data is off, and no record is passed on once the handshake is done.
            Ok(_) => return Err(Error::Internal("data during the handshake".into())),
            Err(error) => return Err(refusal(rustls, error, out)),
        };
        used += discard;
        if let Some(event) = event {
            return Ok((used, event));
        }
    }
}

/// Appends what `encode` writes: asked with no room, it says how much it needs.
fn encode(
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    if let Err(EncodeError::InsufficientSize(room)) = encode(&mut []) {
        let at = out.len();
        out.resize(at + room.required_size, 0);
        let written = encode(&mut out[at..]).map_err(|error| internal(&error))?;
        out.truncate(at + written);
    }
    Ok(())
}

/// After rustls failed: appends the alert that it queued, and says who erred.
fn refusal(
    rustls: &mut UnbufferedServerConnection,
    error: rustls::Error,
    out: &mut Vec<u8>,
) -> Error {
    let at = out.len();
    // What is queued comes out before rustls looks at any record; asked once more it would look
    // for the bytes it remembers.
    while rustls.wants_write() {
        let queued = rustls.process_tls_records(&mut []).state;
        let Ok(ConnectionState::EncodeTlsData(mut message)) = queued else { break };
        if encode(|out| message.encode(out), out).is_err() {
            break;
        }
    }
    // Readable while nothing is encrypted yet, which is when most refusals happen.
    let alert = match out[at..].last_chunk::<7>() {
        Some([content::ALERT, _, _, 0, 2, _, alert]) => Some(*alert),
        _ if error == rustls::Error::NoApplicationProtocol => {
            Some(AlertDescription::NoApplicationProtocol.into())
        }
        _ => None,
    };
    match error {
        rustls::Error::AlertReceived(alert) => Error::Alerted(alert.into()),
        rustls::Error::General(_)
        | rustls::Error::FailedToGetCurrentTime
        | rustls::Error::FailedToGetRandomBytes
        | rustls::Error::EncryptError => internal(error),
        error => Error::Peer { alert, what: error.to_string().into() },
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
fn is_text(first: u8) -> bool {
    matches!(first, b'!'..=b'~' | b'\r' | b'\n')
}

fn is_known(kind: u8) -> bool {
    (content::CHANGE_CIPHER_SPEC..=content::APPLICATION_DATA).contains(&kind)
}

/// close_notify while nothing is encrypted yet.
const CLOSE_NOTIFY: [u8; 7] = [content::ALERT, 3, 3, 0, 2, 1, 0];

/// A fatal alert while nothing is encrypted yet.
fn plain_alert(alert: u8) -> [u8; 7] {
    [content::ALERT, 3, 3, 0, 2, 2, alert]
}

fn internal(error: impl std::fmt::Display) -> Error {
    Error::Internal(error.to_string().into())
}
