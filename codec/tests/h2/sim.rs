//! Seeded simulation: a client that speaks legally but in any order, cut anywhere, with resets,
//! settings and windows in between, against an application that answers in any order. Then the same
//! client with random octets changed. The rig checks every frame of the server's; in the end all
//! that was asked for and not cancelled has been answered in full.

use crate::rig::*;
use ringway_codec::h2::frame::*;
use ringway_codec::h2::{Body, Code, Config};
use std::collections::BTreeMap;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 11) as usize % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

#[derive(Default)]
struct Asked {
    /// Octets of the request's content still to send.
    upload: usize,
    uploaded: usize,
    ended: bool,
    answer: Option<usize>,
    cancelled: bool,
}

struct Sim {
    rig: Rig,
    random: Random,
    asked: BTreeMap<u32, Asked>,
    next_id: u32,
    /// The windows that the server gave.
    upload_window: BTreeMap<u32, i64>,
    upload_connection: i64,
    /// Octets on their way.
    wire: Vec<u8>,
}

impl Sim {
    fn new(seed: u64) -> Self {
        let config = Config { max_pushes: 0, output_bytes: 1 << 30, ..Config::default() };
        let mut rig = Rig::with(config);
        rig.hold = true;
        Self {
            rig,
            random: Random(seed * 0x9e37_79b9 + 1),
            asked: BTreeMap::new(),
            next_id: 1,
            upload_window: BTreeMap::new(),
            upload_connection: 1 << 20,
            wire: Vec::new(),
        }
    }

    /// Delivers what is on the wire, cut at random.
    fn deliver(&mut self) {
        let wire = std::mem::take(&mut self.wire);
        let mut rest = &wire[..];
        while !rest.is_empty() && self.rig.error.is_none() {
            let n = match self.random.below(4) {
                0 => 1 + self.random.below(3),
                1 => 1 + self.random.below(40),
                _ => rest.len(),
            };
            let (now, later) = rest.split_at(n.min(rest.len()));
            self.rig.send(now);
            rest = later;
        }
    }

    fn open(&mut self) {
        let live = self.asked.values().filter(|a| a.answer != Some(0) && !a.cancelled).count();
        if live >= 90 {
            return;
        }
        let id = self.next_id;
        self.next_id += 2 * (1 + self.random.below(3) as u32);
        let upload = if self.random.one_in(3) { self.random.below(100_000) } else { 0 };
        let length = upload.to_string();
        let mut fields = replaced(":method", if upload > 0 { "POST" } else { "GET" });
        if upload > 0 && self.random.one_in(2) {
            fields.push(("content-length", &length));
        }
        if self.random.one_in(4) {
            fields.push(("priority", ["u=0", "u=7, i", "i", "u=2"][self.random.below(4)]));
        }
        let mut payload = block(&fields);
        let mut flags = u8::from(upload == 0);
        if self.random.one_in(5) {
            let up = 1 + 2 * self.random.below(id as usize) as u32;
            let up = if up == id { 0 } else { up };
            let weight = 1 + self.random.below(256) as u16;
            payload.splice(..0, place(up, weight, self.random.one_in(3)));
            flags |= PRIORITY_FLAG;
        }
        if self.random.one_in(4) {
            let cut = 5 + self.random.below(payload.len() - 5);
            self.wire.extend(frame(HEADERS, flags, id, &payload[..cut]));
            self.wire.extend(frame(CONTINUATION, END_HEADERS, id, &payload[cut..]));
        } else {
            self.wire.extend(frame(HEADERS, flags | END_HEADERS, id, &payload));
        }
        self.upload_window.insert(id, 65_535);
        let asked = Asked { upload, ended: upload == 0, ..Asked::default() };
        self.asked.insert(id, asked);
    }

    fn upload(&mut self) {
        let open = self.asked.iter().filter(|(_, a)| !a.ended && !a.cancelled);
        let ids: Vec<u32> = open.map(|(id, _)| *id).collect();
        let Some(id) = ids.get(self.random.below(ids.len().max(1))).copied() else {
            return;
        };
        let window = self.upload_window[&id].min(self.upload_connection).min(16_000);
        let asked = self.asked.get_mut(&id).unwrap();
        let pad = self.random.below(20) * self.random.below(2);
        if window <= pad as i64 + 1 {
            return;
        }
        let n = asked.upload.min(1 + self.random.below(window as usize - pad));
        let n = n.min(window as usize - pad - 1);
        asked.upload -= n;
        asked.uploaded += n;
        asked.ended = asked.upload == 0;
        let mut payload = vec![pad as u8];
        payload.extend(vec![b'u'; n]);
        payload.extend(vec![0; pad]);
        *self.upload_window.get_mut(&id).unwrap() -= payload.len() as i64;
        self.upload_connection -= payload.len() as i64;
        let flags = PADDED | u8::from(asked.ended);
        self.wire.extend(frame(DATA, flags, id, &payload));
    }

    fn client(&mut self) {
        match self.random.below(16) {
            0..=4 => self.open(),
            5..=8 => self.upload(),
            9 => self.wire.extend(frame(PING, 0, 0, &[9; 8])),
            10 if self.random.one_in(20) => {
                self.deliver();
                let size = [0, 1, 1000, 65_535, 200_000][self.random.below(5)];
                self.rig.client_settings(&[(4, size), (5, 16_384 + size)]);
            }
            11 if self.random.one_in(4) => {
                let id = 1 + 2 * self.random.below(self.next_id as usize) as u32;
                if let Some(asked) = self.asked.get_mut(&id).filter(|a| !a.cancelled) {
                    asked.cancelled = true;
                    asked.ended = true;
                    self.wire.extend(rst(id, Code::CANCEL));
                }
            }
            12 if self.random.one_in(4) => {
                let id = 1 + 2 * self.random.below(self.next_id as usize) as u32;
                let up = 2 * self.random.below(self.next_id as usize) as u32;
                let weight = 1 + self.random.below(256) as u16;
                self.wire.extend(priority(
                    id,
                    up | u32::from(up > 0 && up + 1 != id),
                    weight,
                    false,
                ));
            }
            _ => self.give_windows(),
        }
    }

    fn give_windows(&mut self) {
        if self.rig.window < 1 << 20 {
            self.deliver();
            self.rig.grant(0, 100_000);
        }
        let all = self.rig.streams.iter();
        let short: Vec<_> =
            all.filter(|(_, s)| !s.ended && s.reset.is_none()).map(|(id, _)| *id).collect();
        if let Some(id) = short.get(self.random.below(short.len().max(1))) {
            self.deliver();
            let n = 1024 + self.random.below(50_000) as u32;
            self.rig.grant(*id, n);
        }
    }

    fn application(&mut self) {
        // Consume everything that arrived.
        for seen in std::mem::take(&mut self.rig.seen) {
            match seen {
                Seen::Data { id, octets, .. } => {
                    if let Some(request) = self.rig.requests.get(&id) {
                        let key = request.key;
                        self.rig.consume(key, octets.len());
                    }
                }
                Seen::Reset { id, code, by_peer } => {
                    assert!(by_peer && self.asked[&id].cancelled, "{id} {code}");
                }
                _ => {}
            }
        }
        let waiting: Vec<_> = self.rig.requests.keys().copied().collect();
        for id in waiting {
            let asked = self.asked.get_mut(&id).unwrap();
            if asked.answer.is_none()
                && (asked.ended || self.random.one_in(3))
                && self.random.one_in(2)
            {
                let n = [0, 5, 3000, 100_000][self.random.below(4)];
                asked.answer = Some(n);
                if self.random.one_in(2) && n <= 3000 {
                    let body = vec![b'a'; n];
                    let key = self.rig.key(id);
                    let body = Body::Whole(&body);
                    let sent = self.rig.io(|c, t| c.respond(key, 200, body, t, |_| {}));
                    if sent == ringway_codec::h2::Sent::Queued {
                        self.rig.bodies.insert(id, Source { left: n, ..Source::default() });
                    }
                } else {
                    self.rig.answer(id, n);
                    if let Some(body) = self.rig.bodies.get_mut(&id) {
                        body.trailers = self.random.one_in(3);
                    }
                }
            }
        }
        let limit = 1 + self.random.below(100_000);
        self.rig.pull(limit);
        for f in self.rig.frames() {
            if f.kind == WINDOW_UPDATE {
                match f.stream {
                    0 => self.upload_connection += i64::from(f.u32(0)),
                    id => *self.upload_window.get_mut(&id).unwrap() += i64::from(f.u32(0)),
                }
            }
            if f.kind == RST_STREAM {
                assert_eq!(f.code(), Code::NO_ERROR, "only the rest of an upload is refused");
                self.asked.get_mut(&f.stream).unwrap().ended = true;
            }
        }
    }

    /// Lets everything end.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            self.deliver();
            self.application();
            self.upload();
            self.give_windows();
            let open =
                self.asked.values().any(|a| !a.cancelled && (!a.ended || a.answer.is_none()));
            if !open && self.rig.conn.is_idle() && self.wire.is_empty() {
                return;
            }
        }
        panic!("it does not settle: {} open", self.rig.conn.open_streams());
    }
}

#[test]
fn everything_is_answered_in_full() {
    for seed in 0..40 {
        let mut sim = Sim::new(seed);
        for step in 0..400 {
            sim.client();
            if step % 5 == 0 {
                sim.deliver();
            }
            if step % 7 == 0 {
                sim.application();
            }
            assert_eq!(sim.rig.error, None, "seed {seed} step {step}");
        }
        sim.rig.client_settings(&[(4, 100_000)]);
        sim.settle();
        assert_eq!(sim.rig.error, None, "seed {seed}");
        for (id, asked) in &sim.asked {
            if !asked.cancelled {
                let got = &sim.rig.streams[id];
                assert_eq!(
                    (got.received, got.ended),
                    (asked.answer.unwrap(), true),
                    "seed {seed} {id}"
                );
            }
        }
        let lost = (1 << 20) - sim.upload_connection;
        assert!((0..=1 << 19).contains(&lost), "seed {seed}: {lost} octets of window lost");
        sim.rig.conn.trim();
        sim.rig.seen.clear();
        sim.rig.alive();
    }
}

/// The same with octets changed, dropped or doubled: never a panic, always legal frames and one
/// GOAWAY at the end.
#[test]
fn damaged_input_is_answered_legally() {
    let mut ended = 0;
    for seed in 0..400 {
        let mut sim = Sim::new(seed + 1000);
        for step in 0..60 {
            sim.client();
            if step % 6 == 5 {
                for _ in 0..sim.random.below(3) {
                    let n = sim.wire.len().max(1);
                    let at = sim.random.below(n);
                    if at < sim.wire.len() {
                        match sim.random.below(3) {
                            0 => sim.wire[at] ^= 1 << sim.random.below(8),
                            1 => drop(sim.wire.remove(at)),
                            _ => sim.wire.insert(at, 0xff),
                        }
                    }
                }
                let wire = std::mem::take(&mut sim.wire);
                sim.rig.send(&wire);
                sim.rig.seen.clear();
                let answerable: Vec<_> = sim.rig.requests.keys().copied().collect();
                for id in answerable {
                    if sim.random.one_in(2) {
                        sim.rig.answer(id, 30_000);
                    }
                }
                sim.rig.pull(50_000);
                let frames = sim.rig.frames();
                if sim.rig.error.is_some() {
                    assert_eq!(frames.last().map(|f| f.kind), Some(GOAWAY), "seed {seed}");
                    ended += 1;
                    break;
                }
            }
        }
    }
    assert!(ended > 100, "{ended}");
}

/// What the fuzz target is given: a legal opening, then damage and noise.
#[test]
fn any_octets_are_answered_legally() {
    let mut random = Random(77);
    for round in 0..600 {
        let mut octets = vec![random.next() as u8, (random.next() as u8) >> (round % 8)];
        // The streams 1 to `last` have been opened.
        let mut last = 0;
        for n in 0..40 {
            let id = (1 + 2 * random.below(20) as u32).min(last);
            let len = random.below(40);
            let noise: Vec<_> = (0..len).map(|_| random.next() as u8).collect();
            let kind = if last == 0 { 0 } else { random.below(60) };
            last += u32::from(kind <= 22) * if last == 0 { 1 } else { 2 };
            octets.extend(match kind {
                0..=14 => get(last),
                15..=22 => post(last, &[("cookie", "a=b"), ("cookie", "c=d")]),
                23..=24 => data(last, &noise, random.one_in(4)),
                25..=38 => window_update(id * random.below(2) as u32, 1 + len as u32),
                39..=42 => settings(&[(4, random.below(70_000) as u32)]),
                43..=50 => priority(id, random.below(30) as u32 & !1, 1 + len as u16, n % 2 == 0),
                51..=56 => rst(id, Code(random.below(16) as u32)),
                57 => frame(PRIORITY_UPDATE, 0, 0, &[&id.to_be_bytes()[..], b"u=1, i"].concat()),
                58 => frame(random.below(18) as u8, random.next() as u8, id, &noise),
                _ => settings(&[(random.below(10) as u16, random.below(70_000) as u32)]),
            });
        }
        crate::drive::any_input(&octets);
        for _ in 0..4 {
            let at = random.below(octets.len());
            octets[at] = random.next() as u8;
            crate::drive::any_input(&octets);
        }
    }
}

/// The fuzz target's corpus: whole, cut short anywhere, and in every mode of the application.
#[test]
fn the_corpus_replays() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/h2");
    let mut files = 0;
    for file in std::fs::read_dir(corpus).expect("the corpus is in the repository") {
        let mut octets = std::fs::read(file.unwrap().path()).unwrap();
        for len in 2..=octets.len() {
            crate::drive::any_input(&octets[..len]);
        }
        for mode in 0..=u8::MAX {
            octets[0] = mode;
            crate::drive::any_input(&octets);
        }
        files += 1;
    }
    assert!(files >= 9);
}

/// A reset, by either side, in every state that a stream can be in.
#[test]
fn resets_at_every_state() {
    let reach: [(&str, fn(&mut Rig)); 7] = [
        ("open", |rig| rig.send(&post(1, &[]))),
        ("open with content", |rig| {
            rig.send(&post(1, &[]));
            rig.send(&data(1, b"x", false));
        }),
        ("within DATA", |rig| {
            rig.send(&post(1, &[]));
            rig.send(&data(1, &[0; 1000], false)[..500]);
        }),
        ("half-closed (remote)", |rig| rig.send(&get(1))),
        ("answering", |rig| {
            rig.send(&get(1));
            rig.answer(1, 100_000);
            rig.pull(20_000);
        }),
        ("blocked", |rig| {
            rig.send(&get(1));
            rig.answer(1, 100_000);
            rig.pull(usize::MAX);
        }),
        ("half-closed (local)", |rig| {
            rig.send(&post(1, &[]));
            rig.reply(1, 200, b"early");
        }),
    ];
    for (state, reach) in reach {
        for by_peer in [true, false] {
            let mut rig = Rig::new();
            reach(&mut rig);
            rig.frames();
            let key = rig.key(1);
            if by_peer {
                if state == "within DATA" {
                    rig.send(&[0; 509]);
                }
                rig.send(&rst(1, Code::CANCEL));
            } else {
                rig.io(|conn, io| conn.reset(key, Code::CANCEL, io));
                if state == "within DATA" {
                    rig.send(&[0; 509]);
                }
                rig.send(&data(1, b"on its way", false));
            }
            assert!(rig.conn.is_idle() && rig.error.is_none(), "{state} {by_peer}");
            rig.requests.remove(&1);
            rig.grant(0, 100_000);
            rig.alive();
        }
    }
}
