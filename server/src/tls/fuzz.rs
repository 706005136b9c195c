//! Any octets at all against the record layer of an established session: the entry point of the
//! fuzz target (`server/fuzz`), and of the test that replays its corpus.
//!
//! The octets say what a peer that holds the keys does, so that what lies behind the AEAD is
//! reached too: alerts, key updates, padding, records of every type.

use rustls::crypto::cipher::{AeadKey, Iv};
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets};

use super::error::Error;
use super::record::{HEADER, Half, MAX_BODY_12, MAX_PLAIN, content};
use super::record_layer::RecordLayer;
use super::secret::Secret;

const DATA: u8 = content::APPLICATION_DATA;

/// The first octet chooses version, cipher and how near our key is to its limit, the second how the
/// records are cut on their way (0: not at all); the rest are acts: which, how long, that many
/// octets.
///
/// # Panics
/// If the record layer takes for data what the peer did not seal as data, refuses what it should
/// take, answers with anything but one alert, or seals what the peer cannot open.
pub fn records(octets: &[u8]) {
    let [shape, cut, rest @ ..] = octets else { return };
    let mut pair = Pair::new(*shape);
    let mut rest = rest;
    while let [what, len, more @ ..] = rest {
        let (octets, more) = more.split_at(more.len().min(usize::from(*len)));
        rest = more;
        pair.act(*what, octets);
        if !pair.deliver(usize::from(*cut)) {
            return;
        }
    }
    assert!(pair.at_fault || pair.due.is_empty() && pair.kept.is_empty());
}

/// A way to seal.
type Seal = fn(&mut RecordLayer, &mut Vec<u8>, &[u8]) -> Result<(), Error>;

/// A session's record layer and a peer with the keys.
struct Pair {
    layer: Box<RecordLayer>,
    tx: Half,
    rx: Half,
    tx_secret: Box<Secret>,
    rx_secret: Box<Secret>,
    /// Records on their way to the session, and what it has not consumed of them.
    wire: Vec<u8>,
    kept: Vec<u8>,
    /// Data that the peer sealed and the session has not opened.
    due: Vec<u8>,
    /// The peer did something that may be refused, or that leaves a record incomplete.
    at_fault: bool,
    updates: u8,
    /// A key of TLS 1.2 was at its end with data left.
    cut: bool,
    /// We have said that we end.
    closed: bool,
}

impl Pair {
    fn new(shape: u8) -> Self {
        let tls13 = shape & 1 == 0;
        let secret = || Secret::new(&[3; 48]);
        let keys = |seed| {
            let (key, iv) = (AeadKey::from([seed; 32]), Iv::copy(&[seed; 12]));
            match shape & 2 {
                0 => ConnectionTrafficSecrets::Aes256Gcm { key, iv },
                _ => ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv },
            }
        };
        let make = || {
            let extracted = ExtractedSecrets { rx: (0, keys(1)), tx: (0, keys(2)) };
            let (tx_secret, rx_secret) = (secret()?, secret()?);
            let secrets = tls13.then_some((&*tx_secret, &*rx_secret));
            let mut layer = RecordLayer::new(&extracted, secrets)?;
            let (mut tx, mut rx) = (Half::blank(tls13), Half::blank(tls13));
            tx.load(&keys(1), 0)?;
            rx.load(&keys(2), 0)?;
            if shape & 4 != 0 {
                // Four records of a key are kept back.
                let near = (1 << 24) - 4 - u64::from(shape >> 3);
                layer.halves().1.jump(near, 1 << 24);
                rx.jump(near, 1 << 24);
            }
            let (wire, kept, due) = (Vec::new(), Vec::new(), Vec::new());
            let (at_fault, updates, cut, closed) = (false, 0, false, false);
            Some(Self {
                layer,
                tx,
                rx,
                tx_secret,
                rx_secret,
                wire,
                kept,
                due,
                at_fault,
                updates,
                cut,
                closed,
            })
        };
        make().unwrap_or_else(|| unreachable!("keys of the right length"))
    }

    fn act(&mut self, what: u8, octets: &[u8]) {
        match what & 7 {
            0 => self.data(octets.repeat(if what & 8 == 0 { 1 } else { 64 })),
            1 => self.flawed_data(octets, what),
            2 => {
                self.at_fault = true;
                self.wire.extend_from_slice(octets);
            }
            3 => self.any_record(octets),
            4 => self.update(what >> 3),
            5 => self.answer(octets, what, |layer, out, plain| {
                let (one, other) = plain.split_at(plain.len() / 3);
                layer.seal([one, other].into_iter(), out)
            }),
            6 => self.answer(octets, what, |layer, out, plain| {
                out.resize(layer.headroom(), 0xee);
                out.extend_from_slice(plain);
                layer.seal_in_place(out, 0)
            }),
            _ if what & 8 == 0 => self.layer.rest(),
            _ => self.close(),
        }
    }

    fn seal(&mut self, kind: u8, plain: &[u8]) {
        assert!(self.tx.seal(kind, plain, &mut self.wire).is_ok());
    }

    fn data(&mut self, plain: Vec<u8>) {
        // Records without data are allowed, but not many.
        self.at_fault |= plain.is_empty();
        self.seal(DATA, &plain);
        self.due.extend(plain);
    }

    /// A record of which one bit is not as it was sealed: nothing comes of it, nor of what follows.
    fn flawed_data(&mut self, plain: &[u8], what: u8) {
        self.at_fault = true;
        let at = self.wire.len();
        self.seal(DATA, plain);
        let bit = plain
            .iter()
            .fold(usize::from(what), |sum, &octet| sum * 31 % 65_521 + usize::from(octet));
        let bit = bit % ((self.wire.len() - at) * 8);
        self.wire[at + bit / 8] ^= 1 << (bit % 8);
    }

    /// A record of any type, which in TLS 1.3 is the last octet that is not padding.
    fn any_record(&mut self, octets: &[u8]) {
        self.at_fault = true;
        let padding = if self.tx.is_tls13() {
            octets.iter().rev().take_while(|&&o| o == 0).count()
        } else {
            0
        };
        if let [plain @ .., DATA] = &octets[..octets.len() - padding] {
            self.due.extend_from_slice(plain);
        }
        let (kind, plain) = octets.split_last().unwrap_or((&0, &[]));
        self.seal(*kind, plain);
    }

    fn update(&mut self, request: u8) {
        if self.tx.is_tls13() {
            self.updates += 1;
            self.at_fault |= self.updates > 16 || request > 1;
            self.seal(content::HANDSHAKE, &[24, 0, 0, 1, request]);
            assert!(self.tx.update(&mut self.tx_secret).is_some());
        }
    }

    fn close(&mut self) {
        let mut out = Vec::new();
        self.layer.close(&mut out);
        let sealed = self.opened(&mut out);
        let alert = if self.cut { vec![2, 80] } else { vec![1, 0] };
        assert_eq!(sealed, if self.closed { vec![] } else { vec![(content::ALERT, alert)] });
        self.closed = true;
    }

    /// What the session seals, by one way or the other, is what the peer opens, in as few records
    /// as it takes.
    fn answer(&mut self, octets: &[u8], what: u8, seal: Seal) {
        let plain = octets.repeat(if what & 8 == 0 { 1 } else { 256 });
        let mut out = Vec::new();
        let sealed = seal(&mut self.layer, &mut out, &plain);
        let mut records = self.opened(&mut out);
        records.retain(|(kind, plain)| {
            assert!(
                *kind == DATA || (*kind, &plain[..]) == (content::HANDSHAKE, &[24, 0, 0, 1, 0])
            );
            *kind == DATA
        });
        match sealed {
            Ok(()) => assert_eq!(records.len(), plain.len().div_ceil(MAX_PLAIN)),
            // Closed, or a key of TLS 1.2 at its end.
            Err(_) => {
                assert!(self.closed && records.is_empty() || !self.tx.is_tls13());
                self.cut |= !self.closed;
            }
        }
        let opened: Vec<u8> = records.into_iter().flat_map(|(_, plain)| plain).collect();
        assert!(plain.starts_with(&opened) && (sealed.is_err() || opened == plain));
    }

    /// The records of `out`, as the peer opens them.
    fn opened(&mut self, mut out: &mut [u8]) -> Vec<(u8, Vec<u8>)> {
        let mut records = Vec::new();
        while !out.is_empty() {
            let len = HEADER + usize::from(u16::from_be_bytes([out[3], out[4]]));
            let (record, rest) = out.split_at_mut(len);
            let Ok((kind, plain)) = self.rx.open(record) else { panic!("does not open") };
            records.push((kind, record[plain].to_vec()));
            if kind == content::HANDSHAKE {
                assert!(self.rx.update(&mut self.rx_secret).is_some());
            }
            out = rest;
        }
        records
    }

    /// Takes what is on the wire to the session; whether it goes on.
    fn deliver(&mut self, cut: usize) -> bool {
        let wire = std::mem::take(&mut self.wire);
        let cut = if cut == 0 { wire.len().max(1) } else { cut };
        wire.chunks(cut).all(|piece| {
            self.kept.extend_from_slice(piece);
            self.read()
        })
    }

    /// Behind an error what is owed can still be sealed, and then the alert.
    fn say_why(&mut self, error: &Error) {
        let mut out = Vec::new();
        if !self.closed && self.tx.is_tls13() && error.alert().is_some() {
            assert!(self.layer.seal([&b"owed"[..]].into_iter(), &mut out).is_ok());
        }
        self.layer.close(&mut out);
        let told = self.opened(&mut out);
        let mut codes = told.iter().filter(|(kind, _)| *kind == content::ALERT);
        let first = codes.next().map(|(_, plain)| plain[1]);
        assert_eq!(first, error.alert().filter(|_| !self.closed));
        assert!(codes.all(|(_, plain)| plain[..] == [1, 0]), "close_notify behind a warning");
    }

    fn read(&mut self) -> bool {
        loop {
            let step = match self.layer.read(&mut self.kept) {
                Ok(step) => step,
                Err(error) => {
                    assert!(self.at_fault && error.by_peer(), "{error}");
                    self.say_why(&error);
                    return false;
                }
            };
            if step.consumed == 0 {
                assert!(self.kept.len() < HEADER + MAX_BODY_12);
                return true;
            }
            let data: Vec<u8> = self.kept.drain(..step.consumed).collect();
            let data = &data[step.plain];
            assert!(self.due.starts_with(data), "no data of the peer's");
            self.due.drain(..data.len());
        }
    }
}
