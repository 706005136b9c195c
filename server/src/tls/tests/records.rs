//! The record layer against a peer that holds the keys and keeps no rules, and against rustls.

use rustls::crypto::cipher::{AeadKey, Iv};
use rustls::{AlertDescription as Alert, ConnectionTrafficSecrets, ExtractedSecrets};

use super::*;
use crate::tls::fuzz;
use crate::tls::record::{Half, content};
use crate::tls::record_layer::RecordLayer;
use crate::tls::secret::Secret;
use crate::tls::session::Step;

/// A session's record layer and a peer's keys.
struct Peer {
    layer: Box<RecordLayer>,
    tx: Half,
    rx: Half,
    rx_secret: Box<Secret>,
    tx_secret: Box<Secret>,
}

fn keys(seed: u8) -> ConnectionTrafficSecrets {
    let iv = Iv::copy(&[seed; 12]);
    ConnectionTrafficSecrets::Aes256Gcm { key: AeadKey::from([seed; 32]), iv }
}

impl Peer {
    fn new(tls13: bool) -> Self {
        let secret = |seed| Secret::new(&[seed; 48]).unwrap();
        let extracted = ExtractedSecrets { rx: (0, keys(1)), tx: (0, keys(2)) };
        let half = |seed| {
            let mut half = Half::blank(tls13);
            half.load(&keys(seed), 0).unwrap();
            half
        };
        let (tx_secret, rx_secret) = (secret(1), secret(2));
        let secrets = tls13.then_some((&*tx_secret, &*rx_secret));
        let layer = RecordLayer::new(&extracted, secrets).unwrap();
        Self { layer, tx: half(1), rx: half(2), rx_secret, tx_secret }
    }

    /// What the session makes of a record with this content.
    fn send(&mut self, kind: u8, plain: &[u8]) -> Result<Step, Error> {
        let mut record = Vec::new();
        self.tx.seal(kind, plain, &mut record).unwrap();
        self.send_raw(&mut record)
    }

    /// The same for a record as it stands; the alert of an error is checked.
    fn send_raw(&mut self, record: &mut [u8]) -> Result<Step, Error> {
        let read = self.layer.read(record);
        if let Err(error) = &read {
            let mut out = Vec::new();
            self.layer.close(&mut out);
            let said = self.opened(out);
            assert!(said.iter().all(|(kind, _)| *kind == content::ALERT));
            assert_eq!(said.first().map(|(_, plain)| plain[1]), error.alert());
        }
        read
    }

    /// The alert that the session sends for this content.
    fn refused(mut self, kind: u8, plain: &[u8]) -> Alert {
        self.send(kind, plain).unwrap_err().alert().unwrap().into()
    }

    fn key_update(&mut self, request: u8) -> Result<Step, Error> {
        let step = self.send(content::HANDSHAKE, &[24, 0, 0, 1, request])?;
        self.tx.update(&mut self.tx_secret).unwrap();
        Ok(step)
    }

    /// What the session's next data looks like to the peer: content types and plaintexts.
    fn next(&mut self, data: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut out = Vec::new();
        self.layer.seal([data].into_iter(), &mut out).unwrap();
        self.opened(out)
    }

    /// The same when the data stands in the output already, behind something else.
    fn next_in_place(&mut self, data: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut out = b"else".to_vec();
        out.resize(4 + self.layer.headroom(), 0xee);
        out.extend(data);
        self.layer.seal_in_place(&mut out, 4).unwrap();
        assert_eq!(out.drain(..4).collect::<Vec<_>>(), b"else");
        self.opened(out)
    }

    fn opened(&mut self, mut out: Vec<u8>) -> Vec<(u8, Vec<u8>)> {
        let mut seen = Vec::new();
        let mut rest = &mut out[..];
        while !rest.is_empty() {
            let len = 5 + usize::from(u16::from_be_bytes([rest[3], rest[4]]));
            let (record, after) = rest.split_at_mut(len);
            let (kind, plain) = self.rx.open(record).unwrap();
            seen.push((kind, record[plain].to_vec()));
            if kind == content::HANDSHAKE {
                self.rx.update(&mut self.rx_secret).unwrap();
            }
            rest = after;
        }
        seen
    }
}

const DATA: u8 = content::APPLICATION_DATA;
const HANDSHAKE: u8 = content::HANDSHAKE;
const UPDATE: (u8, [u8; 5]) = (HANDSHAKE, [24, 0, 0, 1, 0]);

#[test]
fn a_flush_is_as_few_records_as_it_can_be() {
    let mut peer = Peer::new(true);
    assert!(peer.next(b"").is_empty());
    for (len, records) in [(1, 1), (16_384, 1), (16_385, 2), (40_000, 3)] {
        let data = pattern(len);
        let seen = peer.next(&data);
        assert_eq!(seen.len(), records);
        assert!(seen.iter().all(|(kind, _)| *kind == DATA));
        assert_eq!(seen.into_iter().flat_map(|(_, plain)| plain).collect::<Vec<_>>(), data);
    }
}

#[test]
fn sealing_in_place_makes_the_same_records() {
    for tls13 in [true, false] {
        let [mut one, mut other] = [Peer::new(tls13), Peer::new(tls13)];
        for len in [0, 1, 16_383, 16_384, 16_385, 32_768, 32_769, 100_000] {
            let data = pattern(len);
            assert_eq!(one.next(&data), other.next_in_place(&data));
        }
    }
    // Where a KeyUpdate is owed it comes first.
    let mut peer = Peer::new(true);
    peer.key_update(1).unwrap();
    let seen = peer.next_in_place(b"data");
    assert_eq!(seen, [(UPDATE.0, UPDATE.1.to_vec()), (DATA, b"data".to_vec())]);
    // And at the key's end.
    for half in [peer.layer.halves().1, &mut peer.rx] {
        half.jump((1 << 24) - 5, 1 << 24);
    }
    let seen = peer.next_in_place(&pattern(20_000));
    let kinds: Vec<u8> = seen.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [DATA, HANDSHAKE, DATA]);
    let mut out = Vec::new();
    peer.layer.close(&mut out);
    out.resize(out.len() + peer.layer.headroom(), 0);
    assert!(peer.layer.seal_in_place(&mut out, 24).is_err());
}

#[test]
fn records_run_over_the_seams_of_parts() {
    let data = pattern(50_000);
    for cuts in [[0, 0, 0], [1, 1, 50_000], [100, 16_384, 16_385], [16_384, 32_768, 49_152]] {
        let mut peer = Peer::new(true);
        let [a, b, c] = cuts;
        let mut out = Vec::new();
        let parts = [&data[..a], &data[a..b], &data[b..c], &data[c..]];
        peer.layer.seal(parts.into_iter(), &mut out).unwrap();
        let seen = peer.opened(out);
        assert_eq!(seen.len(), 4);
        assert_eq!(seen.into_iter().flat_map(|(_, plain)| plain).collect::<Vec<_>>(), data);
    }
}

#[test]
fn a_rested_session_goes_on() {
    for tls13 in [true, false] {
        let mut peer = Peer::new(tls13);
        for round in 0..3u8 {
            peer.layer.rest();
            let mut record = Vec::new();
            peer.tx.seal(DATA, &[round; 9], &mut record).unwrap();
            let step = peer.send_raw(&mut record).unwrap();
            assert_eq!(record[step.plain], [round; 9]);
            assert_eq!(peer.next(&[round; 5]), [(DATA, vec![round; 5])]);
        }
    }
}

#[test]
fn incomplete_records_consume_nothing() {
    let mut record = Vec::new();
    let mut peer = Peer::new(true);
    peer.tx.seal(DATA, b"whole", &mut record).unwrap();
    for len in 0..record.len() {
        assert_eq!(peer.send_raw(&mut record.clone()[..len]), Ok(Step::default()));
    }
    let len = record.len();
    record.extend(b"\x17\x03");
    let step = peer.send_raw(&mut record).unwrap();
    assert_eq!((step.consumed, &record[step.plain]), (len, &b"whole"[..]));
}

#[test]
fn what_may_not_come_after_the_handshake() {
    let tls13 = || Peer::new(true);
    let unexpected = Alert::UnexpectedMessage;
    // Messages that only servers send, or nobody any more; no renegotiation.
    for kind in [0, 1, 2, 4, 5, 8, 11, 13, 15, 20, 254] {
        assert_eq!(tls13().refused(HANDSHAKE, &[kind, 0, 0, 0]), unexpected);
    }
    assert_eq!(tls13().refused(HANDSHAKE, &[]), unexpected);
    assert_eq!(tls13().refused(HANDSHAKE, &[24, 0, 0, 1, 0, 24]), unexpected);
    assert_eq!(tls13().refused(HANDSHAKE, &[24, 0, 0, 2, 0, 0]), Alert::DecodeError);
    assert_eq!(tls13().refused(HANDSHAKE, &[24, 0, 0, 1, 2]), Alert::IllegalParameter);
    assert_eq!(tls13().refused(content::CHANGE_CIPHER_SPEC, &[1]), unexpected);
    assert_eq!(tls13().refused(24, b"heartbeat"), unexpected);
    assert_eq!(tls13().refused(content::ALERT, &[]), unexpected);
    assert_eq!(tls13().refused(content::ALERT, &[2, 40, 0]), Alert::DecodeError);
    assert_eq!(Peer::new(false).refused(content::CHANGE_CIPHER_SPEC, &[1]), unexpected);
    // Unencrypted records, of which no byte is looked at.
    for mut record in [[20, 3, 3, 0, 1, 1], [21, 3, 3, 0, 1, 0], [99, 3, 3, 0, 1, 0]] {
        let refused = tls13().send_raw(&mut record).unwrap_err();
        assert_eq!(refused.alert(), Some(unexpected.into()));
    }
    // Judged by its header alone.
    for (tls13, most) in [(true, 16_384 + 256), (false, 16_384 + 2048)] {
        let header = |len: u16| [23, 3, 3, (len >> 8) as u8, len as u8];
        assert_eq!(Peer::new(tls13).send_raw(&mut header(most)), Ok(Step::default()));
        let refused = Peer::new(tls13).send_raw(&mut header(most + 1)).unwrap_err();
        assert_eq!(refused.alert(), Some(Alert::RecordOverflow.into()));
    }
}

/// Row 82.
#[test]
fn renegotiation_is_declined() {
    // A ClientHello or a HelloRequest inside a TLS 1.2 session.
    assert_eq!(Peer::new(false).refused(HANDSHAKE, &[1, 0, 0, 0]), Alert::NoRenegotiation);
    assert_eq!(Peer::new(false).refused(HANDSHAKE, &[0, 0, 0, 0]), Alert::NoRenegotiation);
}

#[test]
fn key_updates_are_answered_once_before_the_next_data() {
    let mut peer = Peer::new(true);
    for _ in 0..3 {
        assert_eq!(peer.key_update(1).unwrap().plain, 0..0);
    }
    let data = (DATA, b"data".to_vec());
    assert_eq!(peer.next(b"data"), [(UPDATE.0, UPDATE.1.to_vec()), data.clone()]);
    assert_eq!(peer.next(b"data"), std::slice::from_ref(&data));
    peer.key_update(0).unwrap();
    assert_eq!(peer.next(b"data"), [data]);
    // Split over records it is the same message, but nothing may come in between.
    assert!(peer.send(HANDSHAKE, &[24, 0]).is_ok());
    assert!(peer.send(HANDSHAKE, &[0, 1]).is_ok());
    assert!(peer.send(HANDSHAKE, &[1]).is_ok());
    peer.tx.update(&mut peer.tx_secret).unwrap();
    assert_eq!(peer.next(b"x")[0].0, HANDSHAKE);
    assert!(peer.send(HANDSHAKE, &[24]).is_ok());
    assert_eq!(peer.refused(DATA, b"between"), Alert::UnexpectedMessage);
}

/// Row 82.
#[test]
fn key_update_floods_end_the_session() {
    let mut peer = Peer::new(true);
    for _ in 0..16 {
        peer.key_update(1).unwrap();
    }
    for _ in 0..64 {
        peer.send(DATA, b"honest work").unwrap();
    }
    peer.key_update(1).unwrap();
    let refused = peer.send(HANDSHAKE, &UPDATE.1).unwrap_err();
    assert_eq!(refused.alert(), Some(Alert::UnexpectedMessage.into()));
}

#[test]
fn empty_records_and_warnings_are_bounded() {
    for tls13 in [true, false] {
        let mut peer = Peer::new(tls13);
        for _ in 0..32 {
            assert!(peer.send(DATA, b"").unwrap().plain.is_empty());
        }
        peer.send(DATA, b"x").unwrap();
        for _ in 0..32 {
            peer.send(DATA, b"").unwrap();
        }
        assert_eq!(peer.refused(DATA, b""), Alert::UnexpectedMessage);
        let mut peer = Peer::new(tls13);
        for _ in 0..4 {
            assert_eq!(peer.send(content::ALERT, &[1, 90]).unwrap().event, SessionEvent::None);
        }
        assert_eq!(peer.refused(content::ALERT, &[1, 90]), Alert::UnexpectedMessage);
    }
}

#[test]
fn alerts_of_the_peer() {
    for tls13 in [true, false] {
        let mut peer = Peer::new(tls13);
        let refused = peer.send(content::ALERT, &[2, 48]);
        assert_eq!(refused, Err(Error::Alerted(48)));
        let mut peer = Peer::new(tls13);
        assert_eq!(peer.send(content::ALERT, &[1, 0]).unwrap().event, SessionEvent::Closed);
        // Whatever follows is ignored, and we may still send.
        let step = peer.send_raw(&mut [0; 100]).unwrap();
        assert_eq!((step.consumed, step.plain), (100, 0..0));
        assert_eq!(peer.next(b"rest"), [(DATA, b"rest".to_vec())]);
    }
    // A warning in TLS 1.2, fatal in TLS 1.3.
    assert!(Peer::new(false).send(content::ALERT, &[1, 100]).is_ok());
    assert_eq!(Peer::new(true).send(content::ALERT, &[1, 100]), Err(Error::Alerted(100)));
}

#[test]
fn our_keys_are_updated_before_their_limit() {
    let mut peer = Peer::new(true);
    for half in [peer.layer.halves().1, &mut peer.rx] {
        half.jump((1 << 24) - 6, 1 << 24);
    }
    let kinds = |seen: Vec<(u8, Vec<u8>)>| seen.iter().map(|(kind, _)| *kind).collect::<Vec<_>>();
    assert_eq!(kinds(peer.next(&pattern(4 * 16_384))), [DATA, DATA, HANDSHAKE, DATA, DATA]);
    assert_eq!(kinds(peer.next(b"on")), [DATA]);
}

#[test]
fn tls12_stops_at_the_limit_and_can_still_say_so() {
    let mut peer = Peer::new(false);
    for half in [peer.layer.halves().1, &mut peer.rx] {
        half.jump((1 << 24) - 5, 1 << 24);
    }
    assert_eq!(peer.next(b"last").len(), 1);
    let mut out = Vec::new();
    let refused = peer.layer.seal([&b"beyond"[..]].into_iter(), &mut out).unwrap_err();
    assert!(!refused.by_peer() && out.is_empty());
    peer.layer.close(&mut out);
    assert_eq!(peer.rx.open(&mut out).unwrap().0, content::ALERT);
}

#[test]
fn a_client_that_updates_keys_is_followed() {
    let tls = Tls::self_signed().unwrap();
    let mut acceptor = tls.acceptor(BOTH).unwrap();
    for suite in &aws_lc_rs::ALL_CIPHER_SUITES[..3] {
        let config = Arc::new(client_of(&tls, *suite));
        let mut pair = Pair::established(config, "localhost", &mut acceptor);
        for round in 0..10 {
            pair.client.refresh_traffic_keys().unwrap();
            let data = pattern(1000 + round);
            assert_eq!(pair.up(&data).unwrap(), data);
            assert_eq!(pair.down(&data), data);
            let next = pair.server.record_layer().halves().1.remaining();
            assert_eq!(next, if *suite == client_suite_chacha() { u64::MAX } else { 1 << 24 } - 1);
        }
        // And it follows us.
        pair.server.record_layer().halves().1.jump(1, 1 + 4);
        assert_eq!(pair.down(b"on with new keys"), b"on with new keys");
    }
}

fn client_suite_chacha() -> SupportedCipherSuite {
    aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256
}

/// A small generator of numbers, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

#[test]
fn noise_never_panics_and_is_never_taken_for_data() {
    let tls = Tls::self_signed().unwrap();
    let mut acceptor = tls.acceptor(BOTH).unwrap();
    let config = Arc::new(client(&tls, &["h2"]));
    let mut random = Random(0x5eed);
    for round in 0..400 {
        let mut pair = Pair::new(Arc::clone(&config), "localhost", &mut acceptor);
        let established = round % 2 == 0;
        if established {
            pair.settle().unwrap();
            pair.client.writer().write_all(b"secret").unwrap();
        }
        let mut flight = Vec::new();
        pair.client.write_tls(&mut flight).unwrap();
        for _ in 0..1 + random.below(4) {
            let at = random.below(flight.len());
            match random.below(4) {
                0 => flight[at] ^= 1 << random.below(8),
                1 => flight[at] = random.next() as u8,
                2 => flight.truncate(at.max(1)),
                _ => flight.insert(at, random.next() as u8),
            }
        }
        pair.wire = flight;
        let read = pair.receive();
        if established {
            // Inserting behind, or undoing what was done, leaves the record as it was.
            assert!(pair.received.is_empty() || pair.received == b"secret");
        }
        if read.is_err() {
            assert_eq!(pair.server.read(&mut [22], &mut Vec::new()), Err(Error::Over));
        }
    }
}

#[test]
fn any_bit_flip_of_a_data_record_ends_in_an_alert() {
    let mut record = Vec::new();
    Peer::new(true).tx.seal(DATA, b"some data of no great length", &mut record).unwrap();
    for bit in 40..record.len() * 8 {
        let mut broken = record.clone();
        broken[bit / 8] ^= 1 << (bit % 8);
        let refused = Peer::new(true).send_raw(&mut broken).unwrap_err();
        assert_eq!(refused.alert(), Some(Alert::BadRecordMac.into()));
    }
}

/// The fuzz target's corpus, each input also cut short at every length and with bits flipped.
#[test]
fn the_corpus_of_the_fuzz_target() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/tls_records");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let octets = std::fs::read(entry.unwrap().path()).unwrap();
        (0..=octets.len()).for_each(|len| fuzz::records(&octets[..len]));
        for bit in 0..octets.len() * 8 {
            let mut flipped = octets.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fuzz::records(&flipped);
        }
        count += 1;
    }
    assert!(count >= 8, "there is a corpus");
}
