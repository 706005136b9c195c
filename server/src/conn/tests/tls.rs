//! The simulated connection with a TLS peer (F28): rustls' client, in memory, over HTTP/1.1 and 2
//! in TLS 1.2 and 1.3. What either side says last is told, and at every split of what comes.

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, ClientConnection, RootCertStore};
use rustls::{Error, SupportedProtocolVersion};

use ringway_codec::h2::frame::PREFACE;

use super::*;
use crate::proto::CommonKind;
use crate::tls::{Acceptor, Alpn, Tls};

type Version = &'static SupportedProtocolVersion;

/// What the server's side said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Nothing,
    CloseNotify,
    Alert(AlertDescription),
}

/// A protocol in a version of TLS.
#[derive(Clone, Copy, Debug)]
struct Way {
    version: Version,
    alpn: Alpn,
}

fn every_way() -> [Way; 4] {
    let way = |version, alpn| Way { version, alpn };
    [(&TLS13, Alpn::Http11), (&TLS13, Alpn::H2), (&TLS12, Alpn::Http11), (&TLS12, Alpn::H2)]
        .map(|(version, alpn): (Version, _)| way(version, alpn))
}

/// Makes sessions, and clients that trust them.
struct Maker {
    tls: Tls,
    acceptor: Acceptor,
}

impl Maker {
    fn new() -> Self {
        let tls = Tls::self_signed().unwrap();
        let acceptor = tls.acceptor(&[Alpn::H2, Alpn::Http11]).unwrap();
        Self { tls, acceptor }
    }

    fn client(&self, way: Way) -> ClientConnection {
        let mut roots = RootCertStore::empty();
        for certificate in self.tls.certificates() {
            roots.add(certificate.chain().last().unwrap().clone()).unwrap();
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[way.version]).unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![way.alpn.name().as_bytes().to_vec()];
        config.resumption = Resumption::disabled();
        let mut client =
            ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        client.set_buffer_limit(None);
        client
    }
}

/// A connection and its TLS client.
struct Pair {
    world: World,
    client: ClientConnection,
    alpn: Alpn,
    /// How much of the world's output the client has read.
    read: usize,
    plain: Vec<u8>,
    last: Last,
}

impl Pair {
    fn new(seed: u64, limits: Limits, way: Way, maker: &mut Maker) -> Self {
        let session = Box::new(maker.acceptor.session().unwrap());
        let world = World::begun(seed, limits, Arrival::Tls(session, CommonKind::CLEAR));
        let client = maker.client(way);
        let (plain, last) = (Vec::new(), Last::Nothing);
        Self { world, client, alpn: way.alpn, read: 0, plain, last }
    }

    /// One whose handshake is done, in HTTP/2 with preface, settings and a wide window said.
    fn established(seed: u64, limits: Limits, way: Way, maker: &mut Maker) -> Self {
        let mut pair = Self::new(seed, limits, way, maker);
        while pair.client.is_handshaking() || pair.client.wants_write() {
            let flight = pair.flight();
            pair.world.input.extend(flight);
            pair.world.settle();
            pair.listen();
        }
        assert!(!pair.world.conn.is_handshaking());
        if way.alpn == Alpn::H2 {
            let window = (1_u32 << 30).to_be_bytes();
            let settings = frame(4, 0, 0, &[&[0, 4][..], &window].concat());
            let hello = [&PREFACE[..], &settings, &frame(8, 0, 0, &window)];
            let records = pair.sealed(&hello.concat());
            pair.world.input.extend(records);
            pair.world.settle();
        }
        pair
    }

    /// Records that the client has to send.
    fn flight(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut records).unwrap();
        }
        records
    }

    fn sealed(&mut self, plain: &[u8]) -> Vec<u8> {
        std::io::Write::write_all(&mut self.client.writer(), plain).unwrap();
        self.flight()
    }

    fn close_notify(&mut self) -> Vec<u8> {
        self.client.send_close_notify();
        self.flight()
    }

    fn key_update(&mut self) -> Vec<u8> {
        self.client.refresh_traffic_keys().unwrap();
        self.flight()
    }

    /// Lets the client read what has come for it. Nothing follows what the server says last.
    fn listen(&mut self) {
        let mut rest = &self.world.output[self.read..];
        while !rest.is_empty() {
            assert_eq!(self.last, Last::Nothing, "something behind the last word");
            let len = 5 + usize::from(u16::from_be_bytes([rest[3], rest[4]]));
            let Some(mut record) = rest.get(..len) else { break };
            rest = &rest[len..];
            self.read += len;
            while !record.is_empty() {
                self.client.read_tls(&mut record).unwrap();
            }
            match self.client.process_new_packets() {
                Ok(state) if state.peer_has_closed() => self.last = Last::CloseNotify,
                Ok(_) => {}
                Err(Error::AlertReceived(alert)) => self.last = Last::Alert(alert),
                Err(error) => panic!("{error}"),
            }
            let _ = std::io::Read::read_to_end(&mut self.client.reader(), &mut self.plain);
        }
    }

    /// Sends what is under way, again and again, until there is nothing more.
    fn drain(&mut self) {
        while let Some((head, body)) = self.world.sending.take() {
            assert!(body.is_none(), "all is sealed");
            self.world.output.extend_from_slice(&head);
            self.world.conn.sent(head, &mut self.world.state.cx());
            self.world.turn_ends();
        }
        self.listen();
    }

    /// These bytes come in two pieces, with nothing sent in between if `full`.
    fn give(&mut self, bytes: &[u8], cut: usize, full: bool) {
        for piece in [&bytes[..cut], &bytes[cut..]] {
            if !piece.is_empty() && !self.world.finished && self.world.receiving {
                self.world.give(piece.to_vec(), true);
                self.world.turn_ends();
            }
            if !full {
                self.drain();
            }
        }
    }

    /// FIN comes, if anybody is there to see it, and everything ends.
    fn fin(&mut self, what: &str) {
        self.drain();
        self.world.peer_ended = true;
        for _ in 0..10_000 {
            if self.world.conn.is_over() {
                break;
            }
            self.world.step();
        }
        self.listen();
        assert!(self.world.conn.is_over(), "{what}: {}", self.world.conn.describe());
        assert!(!self.world.reset, "{what}");
    }

    /// The bodies of the answers that are whole, in order.
    fn bodies(&self) -> Vec<Vec<u8>> {
        match self.alpn {
            Alpn::H2 => bodies_h2(&self.plain),
            _ => bodies(&self.plain),
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A request, in HTTP/2 on this stream.
fn get(alpn: Alpn, stream: u32, path: &str) -> Vec<u8> {
    if alpn != Alpn::H2 {
        return format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
    }
    let fields = [(":method", "GET"), (":scheme", "https"), (":path", path)];
    let block = fields.iter().chain(&[(":authority", "localhost")]).flat_map(|(name, value)| {
        let lengths = [name.len() as u8, value.len() as u8];
        [&[0, lengths[0]], name.as_bytes(), &lengths[1..], value.as_bytes()].concat()
    });
    frame(1, 5, stream, &block.collect::<Vec<_>>())
}

fn gets<'a>(alpn: Alpn, paths: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let streams = (1..).step_by(2);
    streams.zip(paths).flat_map(|(stream, path)| get(alpn, stream, path)).collect()
}

/// The bodies of the streams that have ended, by their numbers.
fn bodies_h2(mut plain: &[u8]) -> Vec<Vec<u8>> {
    let mut streams = std::collections::BTreeMap::<u32, (Vec<u8>, bool)>::new();
    while let Some(head) = plain.first_chunk::<9>() {
        let [_, a, b, kind, flags, rest @ ..] = *head;
        let len = u32::from_be_bytes([0, head[0], a, b]) as usize;
        let Some(payload) = plain.get(9..9 + len) else { break };
        let stream = u32::from_be_bytes(rest);
        plain = &plain[9 + len..];
        if matches!(kind, 0 | 1) {
            let (body, ended) = streams.entry(stream).or_default();
            body.extend_from_slice(if kind == 0 { payload } else { b"" });
            *ended |= flags & 1 != 0;
        }
    }
    streams.into_values().filter(|(_, ended)| *ended).map(|(body, _)| body).collect()
}

/// Records that no client seals, and what they are answered.
fn violations() -> [(Vec<u8>, AlertDescription); 3] {
    let forged = [&[23, 3, 3, 0, 64][..], &[0x5a; 64]].concat();
    [
        (forged, AlertDescription::BadRecordMac),
        (vec![23, 3, 3, 0xff, 0xff], AlertDescription::RecordOverflow),
        (b"GET /".to_vec(), AlertDescription::UnexpectedMessage),
    ]
}

#[test]
fn f28_close_notify_then_fin_at_every_split() {
    let mut maker = Maker::new();
    for way in every_way() {
        let mut cut = 0;
        loop {
            let mut pair = Pair::established(cut as u64, Limits::default(), way, &mut maker);
            let mut bytes = pair.sealed(&gets(way.alpn, ["/small", "/later", "/small"]));
            bytes.extend(pair.close_notify());
            if cut > bytes.len() {
                break;
            }
            pair.give(&bytes, cut, cut % 2 == 0);
            let what = format!("{way:?} cut at {cut}");
            pair.fin(&what);
            assert_eq!(pair.bodies(), [&b"small"[..], b"later", b"small"], "{what}");
            assert_eq!(pair.last, Last::CloseNotify, "{what}");
            cut += 1;
        }
    }
}

#[test]
fn f28_fin_without_close_notify_at_every_place() {
    let mut maker = Maker::new();
    for way in every_way() {
        let mut cut = 0;
        loop {
            let mut pair = Pair::established(cut as u64, Limits::default(), way, &mut maker);
            let first = pair.sealed(&get(way.alpn, 1, "/later"));
            let second = pair.sealed(&get(way.alpn, 3, "/small"));
            let bytes = [&first[..], &second].concat();
            if cut > bytes.len() {
                break;
            }
            pair.give(&bytes[..cut], cut, cut % 2 == 0);
            let what = format!("{way:?} cut at {cut}");
            pair.fin(&what);
            let whole = usize::from(cut >= first.len()) + usize::from(cut == bytes.len());
            assert_eq!(pair.bodies(), [&b"later"[..], b"small"][..whole], "{what}");
            assert_eq!(pair.last, Last::CloseNotify, "{what}");
            cut += 1;
        }
    }
}

/// The handshake's bytes in two pieces, or cut off.
#[test]
fn f28_the_end_amid_the_handshake_at_every_place() {
    let mut maker = Maker::new();
    for way in every_way() {
        let mut cut = 0;
        loop {
            let mut pair = Pair::new(cut as u64, Limits::default(), way, &mut maker);
            let hello = pair.flight();
            if cut > hello.len() {
                break;
            }
            pair.give(&hello[..cut], 0, false);
            let what = format!("{way:?} cut at {cut}");
            // close_notify between records; anywhere else it would be a part of one.
            let told = cut == 0 || cut == hello.len();
            if told {
                pair.give(&[21, 3, 1, 0, 2, 1, 0], cut % 7, false);
            }
            pair.drain();
            pair.world.peer_ended = true;
            pair.world.settle();
            assert!(pair.world.conn.is_over(), "{what}: {}", pair.world.conn.describe());
            // In TLS 1.3 it would have to be encrypted from ServerHello on: rustls refuses it.
            if told && (cut == 0 || way.version == &TLS12) {
                assert!(pair.world.output.ends_with(&[21, 3, 3, 0, 2, 1, 0]), "{what}");
            }
            cut += 1;
        }
    }
}

#[test]
fn f28_an_alert_with_output_waiting_at_every_split() {
    let mut maker = Maker::new();
    let large = [b'L'; 300_000];
    for way in every_way() {
        for (violation, alert) in violations() {
            let mut cut = 0;
            loop {
                let mut pair = Pair::established(cut as u64, Limits::default(), way, &mut maker);
                let first = pair.sealed(&gets(way.alpn, ["/small", "/large"]));
                pair.give(&first, 0, true);
                assert!(pair.world.sending.is_some(), "the first answers are being sent");
                let mut bytes = pair.sealed(&get(way.alpn, 5, "/small"));
                bytes.extend(&violation);
                if cut > bytes.len() {
                    break;
                }
                pair.give(&bytes, cut, true);
                let what = format!("{way:?} {alert:?} cut at {cut}");
                pair.fin(&what);
                assert_eq!(pair.last, Last::Alert(alert), "{what}");
                assert!(pair.bodies() == [&b"small"[..], &large, b"small"], "{what}");
                cut += 1;
            }
        }
    }
}

#[test]
fn f28_key_updates_around_a_full_output_at_every_split() {
    let mut maker = Maker::new();
    let limits = Limits { output_bytes: 16 * 1024, ..Limits::default() };
    let large = [b'L'; 300_000];
    for alpn in [Alpn::Http11, Alpn::H2] {
        let way = Way { version: &TLS13, alpn };
        let mut cut = 0;
        loop {
            let mut pair = Pair::established(cut as u64, limits.clone(), way, &mut maker);
            let first = pair.sealed(&gets(alpn, ["/large", "/small"]));
            pair.give(&first, 0, true);
            let mut bytes = Vec::new();
            for stream in [5, 7] {
                bytes.extend(pair.key_update());
                bytes.extend(pair.sealed(&get(alpn, stream, "/small")));
            }
            bytes.extend(pair.key_update());
            bytes.extend(pair.close_notify());
            if cut > bytes.len() {
                break;
            }
            pair.give(&bytes, cut, true);
            let what = format!("{alpn:?} cut at {cut}");
            pair.fin(&what);
            assert_eq!(pair.last, Last::CloseNotify, "{what}");
            let small = &b"small"[..];
            assert!(pair.bodies() == [&large[..], small, small, small], "{what}");
            cut += 1;
        }
    }
}

/// F24: a TLS 1.2 key near its end takes no further request, and one at its end says that a part
/// is not the whole.
#[test]
fn f24_a_key_that_is_used_up() {
    let mut maker = Maker::new();
    for alpn in [Alpn::Http11, Alpn::H2] {
        let way = Way { version: &TLS12, alpn };
        for (left, last) in [
            (1 << 16, Last::CloseNotify),
            (60, Last::CloseNotify),
            (10, Last::Alert(AlertDescription::InternalError)),
        ] {
            let mut pair = Pair::established(7, Limits::default(), way, &mut maker);
            pair.world.conn.tls.as_mut().unwrap().session.wear(left);
            let bytes = pair.sealed(&get(alpn, 1, "/large"));
            pair.give(&bytes, 0, false);
            let whole = pair.bodies().first().is_some_and(|body| body.len() == 300_000);
            assert_eq!(whole, last == Last::CloseNotify, "{alpn:?} {left}");
            if alpn == Alpn::H2 && whole {
                // GOAWAY and PING are out; the PING comes back.
                let at = pair.plain.windows(9).position(|head| head[..4] == [0, 0, 8, 6]).unwrap();
                let opaque = pair.plain[at + 9..at + 17].to_vec();
                let pong = pair.sealed(&frame(6, 1, 0, &opaque));
                pair.give(&pong, 0, false);
            }
            assert_eq!(pair.last, last, "{alpn:?} {left}");
            pair.fin("a key at its end");
        }
    }
}

/// What a seeded client does in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Stay,
    CloseNotify,
    Fin,
    Forge,
}

/// Plaintext in records of any size, key updates among them.
fn cut_in_records(pair: &mut Pair, plain: &[u8], way: Way) -> Vec<u8> {
    let (mut records, mut rest, mut updates) = (Vec::new(), plain, 0);
    while !rest.is_empty() {
        let most = [1, 50, 3000, 16_384][pair.world.random.below(4)];
        let n = 1 + pair.world.random.below(most.min(rest.len()));
        records.extend(pair.sealed(&rest[..n]));
        rest = &rest[n..];
        if way.version == &TLS13 && updates < 10 && pair.world.random.chance(5) {
            records.extend(pair.key_update());
            updates += 1;
        }
    }
    records
}

#[test]
fn f28_a_tls_client_gets_what_one_in_the_clear_gets() {
    const PATHS: [&str; 4] = ["/small", "/large", "/later", "/stream"];
    let mut maker = Maker::new();
    for seed in 0..96 {
        let way = every_way()[seed % 4];
        let leave = [Leave::Stay, Leave::CloseNotify, Leave::Fin, Leave::Forge][seed / 4 % 4];
        let mut pair = Pair::established(seed as u64, Limits::default(), way, &mut maker);
        let n = 1 + pair.world.random.below(20);
        let paths: Vec<_> = (0..n).map(|_| PATHS[pair.world.random.below(4)]).collect();
        let plain = match way.alpn {
            Alpn::H2 => gets(Alpn::H2, paths.iter().copied()),
            _ => requests(&mut pair.world.random, n),
        };
        let expected = match way.alpn {
            Alpn::H2 => undisturbed(&gets(Alpn::Http11, paths)),
            _ => undisturbed(&plain),
        };
        let mut records = cut_in_records(&mut pair, &plain, way);
        match leave {
            Leave::CloseNotify => records.extend(pair.close_notify()),
            Leave::Forge => records.extend(&violations()[0].0),
            Leave::Stay | Leave::Fin => {}
        }
        pair.world.input.extend(records);
        pair.world.peer_ended = leave == Leave::Fin;
        let what = format!("seed {seed} {way:?} {leave:?}");
        pair.world.settle();
        pair.listen();
        let got = pair.bodies();
        let last = match leave {
            Leave::Stay => Last::Nothing,
            Leave::CloseNotify | Leave::Fin => Last::CloseNotify,
            Leave::Forge => Last::Alert(AlertDescription::BadRecordMac),
        };
        assert_eq!(pair.last, last, "{what}");
        assert!(leave == Leave::Forge || got == expected, "{what}");
        assert!(way.alpn == Alpn::H2 || expected.starts_with(&got), "{what}");
        assert_eq!(pair.world.conn.output.is_closing(), leave != Leave::Stay, "{what}");
        pair.fin(&what);
        assert_eq!(pair.world.state.tasks(), 0, "{what}");
    }
}

/// Cut off at any octet: what came whole is answered, and the end is told.
#[test]
fn f28_whenever_a_tls_client_leaves_it_is_told_the_end() {
    let mut maker = Maker::new();
    for seed in 0..80 {
        let way = every_way()[seed % 4];
        let mut pair = Pair::established(seed as u64, Limits::default(), way, &mut maker);
        let paths = ["/small", "/large", "/later", "/stream", "/small"];
        let plain = match way.alpn {
            Alpn::H2 => gets(Alpn::H2, paths),
            _ => requests(&mut pair.world.random, 10),
        };
        let mut records = cut_in_records(&mut pair, &plain, way);
        records.truncate(pair.world.random.below(records.len()));
        pair.world.input.extend(records);
        let what = format!("seed {seed} {way:?}");
        pair.fin(&what);
        assert_eq!(pair.last, Last::CloseNotify, "{what}");
        if way.alpn != Alpn::H2 {
            assert!(undisturbed(&plain).starts_with(&pair.bodies()), "{what}");
        }
        assert_eq!(pair.world.state.tasks(), 0, "{what}");
    }
}
