//! The record layer of an established session: data both ways, alerts, TLS 1.3 key updates, and the
//! budgets that keep a peer from making us work for nothing (RFC 8446 §4.6.3, §5, §6).

use rustls::{AlertDescription, ExtractedSecrets};

use super::error::Error;
use super::record::{
    CLOSE_NOTIFY, FATAL, Fault, Half, MAX_BODY_12, MAX_BODY_13, MAX_PLAIN, Unsealable, WARNING,
    content,
};
use super::secret::{Secret, wipe_stack};
use super::session::{BadHeader, SessionEvent, Step, record_len};

/// Key updates allowed before more are earned: one for every [`RECORDS_PER_UPDATE`] records of
/// data. An honest peer needs one in 2^24 records.
const UPDATES: u8 = 16;
const RECORDS_PER_UPDATE: u8 = 64;
/// Records without data allowed in a row.
const EMPTIES: u8 = 32;
/// Warnings ignored in a session's life.
const WARNINGS: u8 = 4;
/// Records of a key reserved for the KeyUpdate itself, alerts and close_notify.
const RESERVE: u64 = 4;
/// Records of a TLS 1.2 key reserved for requests already received: 1 GiB.
const WORN: u64 = 1 << 16;

const USER_CANCELED: u8 = 90;
const NO_RENEGOTIATION: u8 = 100;

/// Handshake messages by which a TLS 1.2 client would ask for a renegotiation (RFC 5246 §7.4.1).
const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;

/// A KeyUpdate message: type, length, request (RFC 8446 §4.6.3).
const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];
const NOT_REQUESTED: u8 = 0;
const REQUESTED: u8 = 1;

/// The keys of both directions, and the remaining budgets.
#[derive(Debug)]
pub(super) struct RecordLayer {
    rx: Half,
    tx: Half,
    rx_secret: Secret,
    tx_secret: Secret,
    /// The beginning of a KeyUpdate that the peer split over records.
    partial: [u8; KEY_UPDATE.len()],
    partial_len: u8,
    updates: u8,
    records: u8,
    empties: u8,
    warnings: u8,
    /// The peer asked for a KeyUpdate. One is sent before the next data (RFC 8446 §4.6.3), however
    /// many were asked for.
    owes_update: bool,
    sent_close: bool,
    input: Input,
    /// The alert with which our side ends.
    last: u8,
}

/// The state of the peer's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Open,
    /// Its close_notify has come.
    Closed,
    /// It broke the protocol, or sent a fatal alert.
    Failed,
}

impl RecordLayer {
    /// Takes over the keys, and in TLS 1.3 the secrets of the client and the server; `None` if the
    /// AEAD refuses them. Boxed before it holds any, so that they do not move.
    pub(super) fn new(
        keys: &ExtractedSecrets,
        secrets: Option<(&Secret, &Secret)>,
    ) -> Option<Box<Self>> {
        let tls13 = secrets.is_some();
        let mut layer = Box::new(Self {
            rx: Half::blank(tls13),
            tx: Half::blank(tls13),
            rx_secret: Secret::NONE,
            tx_secret: Secret::NONE,
            partial: [0; KEY_UPDATE.len()],
            partial_len: 0,
            updates: UPDATES,
            records: 0,
            empties: 0,
            warnings: 0,
            owes_update: false,
            sent_close: false,
            input: Input::Open,
            last: CLOSE_NOTIFY,
        });
        layer.rx.load(&keys.rx.1, keys.rx.0)?;
        layer.tx.load(&keys.tx.1, keys.tx.0)?;
        if let Some((rx, tx)) = secrets {
            layer.rx_secret.copy(rx);
            layer.tx_secret.copy(tx);
        }
        Some(layer)
    }

    /// Opens the first record of `input`. After an error nothing more is read; what is owed to the
    /// peer can still be sealed, and [`RecordLayer::close`] then says what was wrong.
    pub(super) fn read(&mut self, input: &mut [u8]) -> Result<Step, Error> {
        match self.input {
            Input::Open => {}
            // "Any data received after a closure alert has been received MUST be ignored."
            Input::Closed => return Ok(Step { consumed: input.len(), ..Step::default() }),
            Input::Failed => return Err(Error::Over),
        }
        let read = self.record(input);
        if let Err(error) = &read {
            self.input = Input::Failed;
            self.last = error.alert().unwrap_or(CLOSE_NOTIFY);
        }
        read
    }

    /// Appends the concatenated `parts` as records, behind a KeyUpdate where one is due.
    pub(super) fn seal<'a>(
        &mut self,
        mut parts: impl Iterator<Item = &'a [u8]> + Clone,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if self.sent_close {
            return Err(Error::Internal("sealed after the end".into()));
        }
        let mut left: usize = parts.clone().map(<[u8]>::len).sum();
        let overhead = self.tx.before() + self.tx.behind();
        out.reserve(left + left.div_ceil(MAX_PLAIN) * overhead);
        let mut part: &[u8] = &[];
        while left != 0 {
            if self.owes_update || self.tx.remaining() <= RESERVE {
                self.update_ours(out)?;
            }
            let len = left.min(MAX_PLAIN);
            left -= len;
            self.gather(&mut part, &mut parts, len, out)?;
        }
        Ok(())
    }

    /// Seals the next `len` bytes of `part` and the `parts` behind it as one record.
    fn gather<'a>(
        &mut self,
        part: &mut &'a [u8],
        parts: &mut impl Iterator<Item = &'a [u8]>,
        mut len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let (at, before, behind) = (out.len(), self.tx.before(), self.tx.behind());
        out.resize(at + before, 0);
        while len != 0 {
            if part.is_empty() {
                let Some(next) = parts.next() else { break };
                *part = next;
            }
            let (now, later) = part.split_at(len.min(part.len()));
            out.extend_from_slice(now);
            (*part, len) = (later, len - now.len());
        }
        out.resize(out.len() + behind, 0);
        let sealed = self.tx.seal_in_place(content::APPLICATION_DATA, &mut out[at..]);
        // Plaintext must not be sent.
        sealed.inspect_err(|_| out.truncate(at)).map_err(Error::from)
    }

    /// True when a key that cannot be updated has few records left.
    pub(super) fn is_worn(&self) -> bool {
        !self.tx.is_tls13() && self.tx.remaining() <= WORN
    }

    /// Bytes to leave free in front of plaintext for [`RecordLayer::seal_in_place`].
    pub(super) fn headroom(&self) -> usize {
        self.tx.before()
    }

    /// Seals the plaintext that stands in `out` behind `from` and the headroom, where it stands.
    pub(super) fn seal_in_place(&mut self, out: &mut Vec<u8>, from: usize) -> Result<(), Error> {
        let (before, behind) = (self.tx.before(), self.tx.behind());
        let len = out.len() - from - before;
        let records = len.div_ceil(MAX_PLAIN);
        let plain = from + before..out.len();
        if records == 0
            || self.sent_close
            || self.owes_update
            || self.tx.remaining() <= RESERVE + records as u64
        {
            // Rare: something comes first, or nothing at all.
            let plain = out[plain].to_vec();
            out.truncate(from);
            return self.seal([&plain[..]].into_iter(), out);
        }
        out.resize(from + len + records * (before + behind), 0);
        let whole = before + MAX_PLAIN + behind;
        // The last moves first, so that none is overwritten before it has moved.
        for at in (1..records).rev() {
            let start = plain.start + at * MAX_PLAIN;
            let end = plain.end.min(start + MAX_PLAIN);
            out.copy_within(start..end, from + at * whole + before);
        }
        let mut records = out[from..].chunks_mut(whole);
        let sealed = records.try_for_each(|r| self.tx.seal_in_place(content::APPLICATION_DATA, r));
        // Plaintext must not be sent.
        sealed.inspect_err(|_| out.truncate(from)).map_err(Error::from)
    }

    /// Drops the expanded keys until the next record in their direction.
    pub(super) fn rest(&mut self) {
        self.rx.rest();
        self.tx.rest();
    }

    /// Appends the alert that our side ends with, once: the fatal one that an error of
    /// [`RecordLayer::read`] called for, else close_notify.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.sent_close, true) {
            return;
        }
        // If even this cannot be sealed the connection just closes.
        let fatal = !matches!(self.last, CLOSE_NOTIFY | NO_RENEGOTIATION);
        let level = if fatal { FATAL } else { WARNING };
        let _ = self.tx.seal(content::ALERT, &[level, self.last], out);
        // A warning ends nothing (RFC 5246 §7.2).
        if self.last == NO_RENEGOTIATION {
            let _ = self.tx.seal(content::ALERT, &[WARNING, CLOSE_NOTIFY], out);
        }
    }

    fn record(&mut self, input: &mut [u8]) -> Result<Step, Error> {
        let tls13 = self.rx.is_tls13();
        let max_body = if tls13 { MAX_BODY_13 } else { MAX_BODY_12 };
        let Some(consumed) = record_len(input, max_body)? else { return Ok(Step::default()) };
        let record = &mut input[..consumed];
        if tls13 && record[0] != content::APPLICATION_DATA {
            return Err(unexpected("an unencrypted record after the handshake"));
        }
        let (kind, plain) = self.rx.open(record)?;
        if self.partial_len != 0 && kind != content::HANDSHAKE {
            return Err(unexpected("a record between the parts of a handshake message"));
        }
        let mut step = Step { consumed, plain: 0..0, event: SessionEvent::None };
        match kind {
            content::APPLICATION_DATA => {
                self.count(plain.is_empty())?;
                step.plain = plain;
            }
            content::ALERT => step.event = self.alert(&record[plain])?,
            content::HANDSHAKE if plain.is_empty() => {
                return Err(unexpected("an empty handshake record"));
            }
            content::HANDSHAKE if tls13 => self.handshake(&record[plain])?,
            content::HANDSHAKE if !matches!(record[plain.start], HELLO_REQUEST | CLIENT_HELLO) => {
                return Err(unexpected("a handshake message that asks for no renegotiation"));
            }
            content::HANDSHAKE => {
                let what = "a renegotiation";
                return Err(Error::peer(AlertDescription::NoRenegotiation, what));
            }
            _ => return Err(unexpected("a record of an unexpected type")),
        }
        Ok(step)
    }

    /// Keeps the budgets: data earns key updates, emptiness is bounded.
    fn count(&mut self, empty: bool) -> Result<(), Error> {
        if empty {
            self.empties += 1;
            return match self.empties > EMPTIES {
                true => Err(unexpected("too many records without data")),
                false => Ok(()),
            };
        }
        self.empties = 0;
        self.records += 1;
        if self.records == RECORDS_PER_UPDATE {
            self.records = 0;
            self.updates = UPDATES.min(self.updates + 1);
        }
        Ok(())
    }

    fn alert(&mut self, plain: &[u8]) -> Result<SessionEvent, Error> {
        let (level, alert) = match *plain {
            [level, alert] => (level, alert),
            [] => return Err(unexpected("an empty alert")),
            _ => {
                let what = "an alert not of two bytes";
                return Err(Error::peer(AlertDescription::DecodeError, what));
            }
        };
        if alert == CLOSE_NOTIFY {
            self.input = Input::Closed;
            return Ok(SessionEvent::Closed);
        }
        // In TLS 1.3 the level says nothing and every alert but these two is fatal (§6).
        let warning = if self.rx.is_tls13() { alert == USER_CANCELED } else { level == WARNING };
        if !warning {
            self.sent_close = true;
            return Err(Error::Alerted(alert));
        }
        self.warnings += 1;
        match self.warnings > WARNINGS {
            true => Err(unexpected("too many warnings")),
            false => Ok(SessionEvent::None),
        }
    }

    /// A client has only one message to send after the handshake: KeyUpdate.
    fn handshake(&mut self, plain: &[u8]) -> Result<(), Error> {
        for (at, &byte) in plain.iter().enumerate() {
            let have = usize::from(self.partial_len);
            if have < self.partial.len() {
                self.partial[have] = byte;
                self.partial_len += 1;
                if self.partial[0] != KEY_UPDATE[0] {
                    return Err(unexpected("a handshake message other than KeyUpdate"));
                }
                // Its length is wrong as soon as a byte of it is: more may never come.
                if byte != KEY_UPDATE[have] {
                    return Err(Error::peer(AlertDescription::DecodeError, "a KeyUpdate's length"));
                }
                continue;
            }
            // Keys change here, so nothing may follow in this record (§5.1).
            if at + 1 != plain.len() {
                return Err(unexpected("data behind a KeyUpdate in its record"));
            }
            return self.update_theirs(byte);
        }
        Ok(())
    }

    fn update_theirs(&mut self, request: u8) -> Result<(), Error> {
        if request != NOT_REQUESTED && request != REQUESTED {
            let what = "a KeyUpdate with an unknown request";
            return Err(Error::peer(AlertDescription::IllegalParameter, what));
        }
        self.partial_len = 0;
        let Some(left) = self.updates.checked_sub(1) else {
            return Err(unexpected("too many key updates"));
        };
        self.updates = left;
        self.owes_update |= request == REQUESTED;
        self.rx.update(&mut self.rx_secret).ok_or(Unsealable)?;
        Ok(())
    }

    /// Goes on to new keys of ours, telling the peer. TLS 1.2 cannot.
    fn update_ours(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        if !self.tx.is_tls13() {
            // Data is left, so that close_notify would pass a part for the whole.
            self.last = AlertDescription::InternalError.into();
            return Err(Error::Internal("the key has protected all the records it may".into()));
        }
        let [kind, a, b, c] = KEY_UPDATE;
        self.tx.seal(content::HANDSHAKE, &[kind, a, b, c, NOT_REQUESTED], out)?;
        self.tx.update(&mut self.tx_secret).ok_or(Unsealable)?;
        self.owes_update = false;
        Ok(())
    }

    /// The two directions, receiving first: tests move their sequence numbers.
    #[cfg(any(test, fuzzing))]
    pub(super) fn halves(&mut self) -> (&mut Half, &mut Half) {
        (&mut self.rx, &mut self.tx)
    }
}

/// The nonce of a key's first record is its vector, and the calls that used it have left it behind.
impl Drop for RecordLayer {
    fn drop(&mut self) {
        wipe_stack();
    }
}

/// The peer sent something not allowed here.
pub(super) fn unexpected(what: &'static str) -> Error {
    Error::peer(AlertDescription::UnexpectedMessage, what)
}

impl From<BadHeader> for Error {
    fn from(bad: BadHeader) -> Self {
        match bad {
            BadHeader::Kind => Self::peer(AlertDescription::UnexpectedMessage, "no TLS record"),
            BadHeader::Length => {
                Self::peer(AlertDescription::RecordOverflow, "a record longer than allowed")
            }
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::BadMac => {
                Self::peer(AlertDescription::BadRecordMac, "a record that does not authenticate")
            }
            Fault::Overflow => {
                Self::peer(AlertDescription::RecordOverflow, "more than 2^14 bytes in a record")
            }
            Fault::NoContentType => unexpected("a record of padding only"),
            Fault::Exhausted => unexpected("more records than sequence numbers"),
        }
    }
}

impl From<Unsealable> for Error {
    fn from(_: Unsealable) -> Self {
        Self::Internal("the AEAD failed".into())
    }
}
