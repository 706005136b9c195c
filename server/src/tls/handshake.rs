//! A handshake in progress: rustls makes it, a record at a time. The record layer's rules are kept
//! here (RFC 8446 §5, RFC 5246 §6.2.1), and every refusal names its alert (RFC 8446 §6.2).
//!
//! What rustls 0.23.46 does otherwise, and this mends:
//! - No alert: a record between the parts of a handshake message, padding only, a message of 64 KiB
//!   or more, a third change_cipher_spec (which RFC 8446 §5 has dropped), another server name
//!   behind a HelloRetryRequest.
//! - An error for close_notify, or nothing.
//! - decode_error for unexpected_message: an empty alert, an unknown inner content type.
//! - bad_record_mac for unexpected_message: an unencrypted handshake record behind ServerHello.
//! - Accepted: empty handshake records, plaintext records of up to 2^14 + 2048 bytes.
//! - handshake_failure, without a look at the version, for a ClientHello that has no
//!   signature_algorithms: those of TLS 1.0 and 1.1 have none.
//!
//! What stays rustls' own: in a resumed TLS 1.2 handshake only it has the keys once our Finished is
//! out. There it chooses the alert, and some of the refusals above end without one.

use std::sync::Arc;

use rustls::server::{ServerConfig, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{
    AlertDescription, HandshakeKind, InvalidMessage, PeerIncompatible, PeerMisbehaved,
    ProtocolVersion,
};

use super::error::Error;
use super::record::{
    self, CLOSE_NOTIFY, HEADER, Half, MAX_BODY_12, MAX_BODY_13, MAX_PLAIN, content,
};
use super::record_layer::{RecordLayer, unexpected};
use super::secret::Secret;
use super::session::{About, SessionEvent, Step, Version, is_text, record_len};
use super::tap::{self, Heard};
use super::{Alpn, Unfinished};

/// A ClientHello of 16 KiB cut into one-byte records fits; rustls stops at 64 KiB of message.
const MAX_PENDING: usize = 128 * 1024;
/// change_cipher_spec records that are dropped; an honest client sends two at most.
const CHANGES: u8 = 32;

/// A handshake in progress.
pub(super) struct Handshake {
    rustls: UnbufferedServerConnection,
    /// Complete records of a handshake message that spans records.
    pending: Vec<u8>,
    rx: Option<Box<Secret>>,
    /// The key for alerts, known once our Finished was sent.
    tx: Option<Box<Secret>>,
    only_tls13: bool,
    /// A TLS record was received, so the client speaks TLS.
    begun: bool,
    /// The client has an answer.
    answered: bool,
    /// TLS 1.2: the client's change_cipher_spec has come, so its records are encrypted.
    changed: bool,
    /// TLS 1.3: change_cipher_spec records that were dropped.
    changes: u8,
    /// Counts as an unfinished handshake of the acceptor.
    _unfinished: Unfinished,
}

impl Handshake {
    /// Awaits a ClientHello.
    pub(super) fn new(
        config: Arc<ServerConfig>,
        only_tls13: bool,
        unfinished: Unfinished,
    ) -> Result<Self, Error> {
        Ok(Self {
            rustls: UnbufferedServerConnection::new(config).map_err(internal)?,
            pending: Vec::new(),
            rx: None,
            tx: None,
            only_tls13,
            begun: false,
            answered: false,
            changed: false,
            changes: 0,
            _unfinished: unfinished,
        })
    }

    /// Handles the first record of `input`; the answer, or the alert, is appended to `out`.
    #[inline(never)]
    pub(super) fn read(
        &mut self,
        input: &mut [u8],
        out: &mut Vec<u8>,
        about: &mut About,
    ) -> Result<Step, Error> {
        let most = input.first().map_or(0, |kind| self.most(*kind));
        let consumed = match record_len(input, most) {
            Ok(Some(len)) => len,
            Ok(None) => return Ok(Step::default()),
            Err(_) if !self.begun && is_text(input[0]) => return Err(Error::NotTls),
            Err(bad) => return Err(self.refuse(bad.into(), out)),
        };
        self.begun = true;
        let step = Step { consumed, ..Step::default() };
        let record = &mut input[..consumed];
        // rustls overlooks a close_notify in the handshake, or takes it for an error.
        if matches!(record, [content::ALERT, _, _, 0, 2, _, CLOSE_NOTIFY]) && !self.changed {
            return Ok(Step { event: SessionEvent::Closed, ..step });
        }
        match self.is_for_rustls(record) {
            Ok(true) => {}
            Ok(false) => return Ok(step),
            Err(error) => return Err(self.refuse(error, out)),
        }
        let event = self.pass(record, out, about)?;
        Ok(Step { event, ..step })
    }

    /// The longest body that a record of type `kind` may have at this point.
    fn most(&self, kind: u8) -> usize {
        match self.rustls.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) if kind == content::APPLICATION_DATA => MAX_BODY_13,
            _ if self.changed => MAX_BODY_12,
            _ => MAX_PLAIN,
        }
    }

    /// Checks a record's unencrypted part; false for a record to be dropped.
    fn is_for_rustls(&mut self, record: &[u8]) -> Result<bool, Error> {
        if record.len() == HEADER && matches!(record[0], content::ALERT | content::HANDSHAKE) {
            return Err(unexpected("an empty record"));
        }
        if self.rustls.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return Ok(true);
        }
        let between = !self.pending.is_empty();
        match record[0] {
            content::CHANGE_CIPHER_SPEC if between || record[HEADER..] != [1] => {
                Err(unexpected("a change_cipher_spec that means something"))
            }
            content::CHANGE_CIPHER_SPEC if self.changes == CHANGES => {
                Err(unexpected("too many change_cipher_spec records"))
            }
            content::CHANGE_CIPHER_SPEC => {
                self.changes += 1;
                Ok(false)
            }
            content::HANDSHAKE if self.tx.is_some() => {
                Err(unexpected("an unencrypted handshake record behind ServerHello"))
            }
            content::ALERT if between => Err(unexpected("an alert within a handshake message")),
            _ => Ok(true),
        }
    }

    /// Passes a record to rustls, and checks its decrypted content.
    fn pass(
        &mut self,
        record: &mut [u8],
        out: &mut Vec<u8>,
        about: &mut About,
    ) -> Result<SessionEvent, Error> {
        let (kind, len) = (record[0], record.len());
        let fresh = self.pending.is_empty();
        let buffer = match fresh {
            true => &mut *record,
            false => {
                self.pending.extend_from_slice(record);
                &mut self.pending[..]
            }
        };
        let said = out.len();
        let rustls = &mut self.rustls;
        let (driven, heard) = tap::listen(about.name.take(), || drive(rustls, buffer, out));
        let buffer = if fresh { &*record } else { &self.pending };
        // rustls decrypts where the record lies.
        let hollow = self.is_hollow(kind, &buffer[buffer.len() - len + HEADER..]);
        let due = match &driven {
            Err(rustls::Error::DecryptError) => None,
            _ if hollow => Some(AlertDescription::UnexpectedMessage),
            Err(error) => due(error, &buffer[HEADER..], self.only_tls13),
            Ok(_) => None,
        };
        if driven == Err(rustls::Error::AlertReceived(AlertDescription::CloseNotify)) {
            return Ok(SessionEvent::Closed);
        }
        let (used, event) = match (driven, due) {
            (Ok(done), None) => done,
            (Ok(_), Some(_)) => return Err(self.refuse(unexpected("an empty record"), out)),
            (Err(error), due) => return Err(self.refused(error, due, out)),
        };
        self.note(heard, about);
        self.answered |= out.len() > said;
        let is_tls12 = self.rustls.protocol_version() == Some(ProtocolVersion::TLSv1_2);
        self.changed |= is_tls12 && kind == content::CHANGE_CIPHER_SPEC;
        match fresh {
            true => self.pending.extend_from_slice(&record[used..]),
            false => drop(self.pending.drain(..used)),
        }
        if self.pending.len() > MAX_PENDING {
            let what = "handshake message too long or too finely cut";
            return Err(self.refuse(Error::peer(AlertDescription::DecodeError, what), out));
        }
        if event == SessionEvent::Established && !self.pending.is_empty() {
            // rustls says unexpected_message before it comes to this.
            let what = "data behind the Finished message in its record";
            return Err(Error::Peer { alert: None, what: what.into() });
        }
        Ok(event)
    }

    /// Whether an encrypted handshake record or alert has no content (RFC 8446 §5.4).
    fn is_hollow(&self, kind: u8, opened: &[u8]) -> bool {
        let encrypted = self.tx.is_some() && kind == content::APPLICATION_DATA;
        let (kind, len) = if encrypted {
            let inner = &opened[..opened.len().saturating_sub(record::TAG)];
            let Some(len) = inner.iter().rposition(|&byte| byte != 0) else { return false };
            (inner[len], len)
        } else {
            let overhead = match self.rustls.negotiated_cipher_suite() {
                Some(suite) if self.changed => record::overhead_12(suite.suite()),
                _ => 0,
            };
            (kind, opened.len().saturating_sub(overhead))
        };
        len == 0 && matches!(kind, content::ALERT | content::HANDSHAKE)
    }

    fn note(&mut self, heard: Heard, about: &mut About) {
        self.rx = heard.client.or(self.rx.take());
        self.tx = heard.server.or(self.tx.take());
        about.name = heard.name.or(about.name.take());
    }

    /// Appends close_notify; false if the client has sent nothing and gets nothing.
    pub(super) fn close(&self, out: &mut Vec<u8>) -> bool {
        if self.begun && !self.only_rustls_can_say() {
            self.say([record::WARNING, CLOSE_NOTIFY], out);
        }
        self.begun
    }

    /// We refuse what the client sent: appends the alert.
    fn refuse(&mut self, error: Error, out: &mut Vec<u8>) -> Error {
        if !self.only_rustls_can_say() {
            if let Some(alert) = error.alert() {
                self.say([record::FATAL, alert], out);
            }
            return error;
        }
        // It has seen nothing of the record, and may await a change_cipher_spec: a second one is
        // unexpected_message to it.
        for _ in 0..2 {
            if self.pending.is_empty() && !self.rustls.wants_write() {
                let mut change = [content::CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1];
                let _ = self.rustls.process_tls_records(&mut change);
            }
        }
        drain(&mut self.rustls, out);
        match error {
            Error::Peer { what, .. } => Error::Peer { alert: None, what },
            error => error,
        }
    }

    /// rustls refused it: appends the alert `due` to that error, else the one that rustls queued.
    fn refused(
        &mut self,
        error: rustls::Error,
        due: Option<AlertDescription>,
        out: &mut Vec<u8>,
    ) -> Error {
        let mut queued = Vec::new();
        drain(&mut self.rustls, &mut queued);
        let due = due.or(queued.is_empty().then(|| fallback(&error)).flatten());
        let alert = match due {
            Some(due) if !self.only_rustls_can_say() => {
                self.say([record::FATAL, due.into()], out);
                Some(due.into())
            }
            _ => {
                out.extend_from_slice(&queued);
                said(&queued, &error)
            }
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

    /// Whether alerts are encrypted with keys that rustls keeps to itself.
    fn only_rustls_can_say(&self) -> bool {
        self.answered
            && self.rustls.protocol_version() == Some(ProtocolVersion::TLSv1_2)
            && self.rustls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Appends an alert. Behind our Finished of TLS 1.3 the application keys protect it, and
    /// nothing else was sent with them.
    fn say(&self, alert: [u8; 2], out: &mut Vec<u8>) {
        let Some(secret) = &self.tx else {
            out.extend_from_slice(&[content::ALERT, 3, 3, 0, 2]);
            return out.extend_from_slice(&alert);
        };
        let suite = self.rustls.negotiated_cipher_suite();
        let half = suite.and_then(|suite| Half::of_secret(suite.suite(), secret));
        // If this fails the connection just closes.
        let _ = half.map(|mut half| half.seal(content::ALERT, &alert, out));
    }

    /// Takes the keys from rustls and drops it.
    #[inline(never)]
    pub(super) fn into_record_layer(self, about: &mut About) -> Result<Box<RecordLayer>, Error> {
        let rustls = self.rustls;
        about.suite = rustls.negotiated_cipher_suite().map(|suite| suite.suite());
        about.group = rustls.negotiated_key_exchange_group().map(|group| group.name());
        about.alpn = rustls.alpn_protocol().and_then(Alpn::from_name);
        about.resumed = rustls.handshake_kind() == Some(HandshakeKind::Resumed);
        about.client = rustls.peer_certificates().is_some();
        let version = match rustls.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => Version::Tls13,
            _ => Version::Tls12,
        };
        about.version = Some(version);
        // The kernel connection could derive key updates too; `tap` has the secrets for 98 bytes.
        let (keys, _kernel) = rustls.dangerous_into_kernel_connection().map_err(internal)?;
        let secrets = match (version, &self.rx, &self.tx) {
            (Version::Tls12, ..) => None,
            (Version::Tls13, Some(rx), Some(tx)) => Some((&**rx, &**tx)),
            (Version::Tls13, ..) => return Err(Error::Internal("no traffic secrets".into())),
        };
        RecordLayer::new(&keys, secrets).ok_or(Error::Internal("the AEAD refused its key".into()))
    }
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshake").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}

/// Lets rustls process `records`; its answers go to `out`. Returns the number of bytes it consumed.
fn drive(
    rustls: &mut UnbufferedServerConnection,
    records: &mut [u8],
    out: &mut Vec<u8>,
) -> Result<(usize, SessionEvent), rustls::Error> {
    let mut used = 0;
    loop {
        let UnbufferedStatus { discard, state } = rustls.process_tls_records(&mut records[used..]);
        let event = match state? {
            ConnectionState::EncodeTlsData(mut message) => {
                encode(|out| message.encode(out), out)?;
                None
            }
            ConnectionState::TransmitTlsData(message) => {
                message.done();
                None
            }
            ConnectionState::BlockedHandshake => Some(SessionEvent::None),
            ConnectionState::WriteTraffic(_) => Some(SessionEvent::Established),
            ConnectionState::PeerClosed | ConnectionState::Closed => Some(SessionEvent::Closed),
            // Early data is off, and no record is passed on once the handshake is done.
            _ => return Err(rustls::Error::General("data during the handshake".into())),
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
) -> Result<(), rustls::Error> {
    if let Err(EncodeError::InsufficientSize(room)) = encode(&mut []) {
        let at = out.len();
        out.resize(at + room.required_size, 0);
        let written = encode(&mut out[at..]);
        let written = written.map_err(|error| rustls::Error::General(error.to_string()))?;
        out.truncate(at + written);
    }
    Ok(())
}

/// Appends what rustls has queued. That comes out before it looks at any record; asked once more
/// with none it would look for the bytes it remembers.
fn drain(rustls: &mut UnbufferedServerConnection, out: &mut Vec<u8>) {
    while rustls.wants_write() {
        let queued = rustls.process_tls_records(&mut []).state;
        let Ok(ConnectionState::EncodeTlsData(mut message)) = queued else { break };
        if encode(|out| message.encode(out), out).is_err() {
            break;
        }
    }
}

/// The alert at the end of what rustls queued: readable while nothing is encrypted yet.
fn said(queued: &[u8], error: &rustls::Error) -> Option<u8> {
    match queued.last_chunk::<7>() {
        Some([content::ALERT, _, _, 0, 2, _, alert]) => Some(*alert),
        _ if *error == rustls::Error::NoApplicationProtocol => {
            Some(AlertDescription::NoApplicationProtocol.into())
        }
        _ => None,
    }
}

/// The alert due to an error for which rustls queues none, or another; `message` is the handshake
/// message that it was about, if it was about one.
fn due(error: &rustls::Error, message: &[u8], only_tls13: bool) -> Option<AlertDescription> {
    match error {
        rustls::Error::PeerIncompatible(PeerIncompatible::SignatureAlgorithmsExtensionRequired) => {
            Some(unsigned(message, only_tls13))
        }
        rustls::Error::PeerMisbehaved(
            PeerMisbehaved::MessageInterleavedWithHandshakeMessage
            | PeerMisbehaved::IllegalTlsInnerPlaintext
            | PeerMisbehaved::TooManyEmptyFragments
            | PeerMisbehaved::TooManyWarningAlertsReceived,
        )
        | rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            Some(AlertDescription::UnexpectedMessage)
        }
        _ => None,
    }
}

/// The alert where rustls queued nothing.
fn fallback(error: &rustls::Error) -> Option<AlertDescription> {
    match error {
        rustls::Error::AlertReceived(_) => None,
        rustls::Error::InvalidMessage(_) => Some(AlertDescription::DecodeError),
        rustls::Error::PeerMisbehaved(_) => Some(AlertDescription::IllegalParameter),
        rustls::Error::PeerIncompatible(_) => Some(AlertDescription::HandshakeFailure),
        _ => Some(AlertDescription::InternalError),
    }
}

/// The alert for a ClientHello without signature_algorithms: the version comes first (RFC 8446
/// §D.2, RFC 5246 §E.1), then what that version asks for (RFC 8446 §9.2).
fn unsigned(hello: &[u8], only_tls13: bool) -> AlertDescription {
    match newest(hello) {
        Some(TLS13) => AlertDescription::MissingExtension,
        Some(TLS12) if !only_tls13 => AlertDescription::HandshakeFailure,
        _ => AlertDescription::ProtocolVersion,
    }
}

const TLS12: u16 = 0x0303;
const TLS13: u16 = 0x0304;
const SUPPORTED_VERSIONS: u16 = 43;

/// The newest version, of those that we could speak, that a ClientHello offers (RFC 8446 §4.1.2,
/// §4.2.1); another where it offers none of them.
fn newest(hello: &[u8]) -> Option<u16> {
    let (head, rest) = hello.split_first_chunk::<38>()?;
    let legacy = u16::from_be_bytes([head[4], head[5]]).min(TLS12);
    // The session's identifier, the cipher suites, the compression methods.
    let (_, rest) = vector::<1>(rest)?;
    let (_, rest) = vector::<2>(rest)?;
    let (_, rest) = vector::<1>(rest)?;
    let mut extensions = vector::<2>(rest).map_or(&[][..], |(extensions, _)| extensions);
    while let Some((kind, rest)) = extensions.split_first_chunk::<2>() {
        let (body, rest) = vector::<2>(rest)?;
        if u16::from_be_bytes(*kind) == SUPPORTED_VERSIONS {
            let (versions, _) = vector::<1>(body)?;
            let offered = versions.chunks_exact(2).map(|v| u16::from_be_bytes([v[0], v[1]]));
            return offered.filter(|version| matches!(*version, TLS12 | TLS13)).max();
        }
        extensions = rest;
    }
    Some(legacy)
}

/// A vector behind its length of `N` bytes, and what follows it.
fn vector<const N: usize>(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<N>()?;
    let len = len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
    rest.split_at_checked(len)
}

fn internal(error: impl std::fmt::Display) -> Error {
    Error::Internal(error.to_string().into())
}
