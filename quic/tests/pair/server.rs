//! A small server with a few resources, standing in for a worker.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use ringway_codec::field::Known;
use ringway_codec::h1::request::Method;
use ringway_codec::h3;
use ringway_codec::qpack::Indexing;
use ringway_codec::scan::Backend;
use ringway_quic::boring::asn1::Asn1Time;
use ringway_quic::boring::ec::{EcGroup, EcKey};
use ringway_quic::boring::hash::MessageDigest;
use ringway_quic::boring::nid::Nid;
use ringway_quic::boring::pkey::{PKey, Private};
use ringway_quic::boring::ssl::{
    AlpnError, SslContextBuilder, SslMethod, SslVersion, select_next_proto,
};
use ringway_quic::boring::x509::{X509, X509NameBuilder};
use ringway_quic::http::{self, Body, Code, Early, Event, Http, Key, Pulled, Shared};
use ringway_quic::{Endpoint, Id, Keys, Policy, Received, Settings, cid::Origin, replay};

use super::Net;

/// The byte at offset `at` of every body.
pub fn pattern(at: usize) -> u8 {
    (at * 7 + at / 251) as u8
}

pub fn body(len: usize) -> Vec<u8> {
    (0..len).map(pattern).collect()
}

/// A response being pulled, or a request being collected.
#[derive(Default)]
struct Work {
    method: String,
    path: String,
    request: Vec<u8>,
    at: usize,
    len: usize,
    trailers: bool,
    /// The end becomes known one turn after the content.
    late: bool,
}

#[derive(Default)]
pub struct State {
    pub http: Http,
    work: HashMap<Key, Work>,
}

pub struct Server {
    pub endpoint: Endpoint<State>,
    pub shared: Shared,
    /// Method and path of every request, and how it arrived.
    pub requests: Vec<(String, String, Early)>,
    pub resets: Vec<(u64, bool)>,
    pub ended: usize,
    /// Number of times that a connection was unstuck.
    pub segments_max: usize,
    pub pulled: usize,
    pub register: Arc<replay::Register>,
    touched: Vec<Id>,
    out: Vec<u8>,
}

/// A self-signed certificate for `localhost`, and its key.
pub fn certificate() -> &'static (X509, PKey<Private>) {
    static CERTIFICATE: OnceLock<(X509, PKey<Private>)> = OnceLock::new();
    CERTIFICATE.get_or_init(|| {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", "localhost").unwrap();
        let name = name.build();
        let mut made = X509::builder().unwrap();
        made.set_version(2).unwrap();
        made.set_subject_name(&name).unwrap();
        made.set_issuer_name(&name).unwrap();
        made.set_pubkey(&key).unwrap();
        made.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        made.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        made.sign(&key, MessageDigest::sha256()).unwrap();
        (made.build(), key)
    })
}

pub fn tls(register: Arc<replay::Register>) -> SslContextBuilder {
    let mut tls = SslContextBuilder::new(SslMethod::tls()).unwrap();
    let (certificate, key) = certificate();
    tls.set_certificate(certificate).unwrap();
    tls.set_private_key(key).unwrap();
    tls.set_min_proto_version(Some(SslVersion::TLS1_3)).unwrap();
    tls.set_alpn_select_callback(|_, offered| {
        select_next_proto(b"\x02h3", offered).ok_or(AlpnError::NOACK)
    });
    tls.set_select_certificate_callback(move |mut hello| {
        let first = register.first_use(hello.random(), 1);
        replay::mark(hello.ssl_mut(), !first);
        Ok(())
    });
    tls
}

pub fn keys() -> Keys {
    Keys::derive(&[7; 32])
}

pub fn policy() -> Policy {
    Policy::new(Origin { worker: 0, generation: 1 })
}

impl Server {
    pub fn new() -> Self {
        Self::with(policy(), Settings::default())
    }

    pub fn with(policy: Policy, settings: Settings) -> Self {
        Self::with_register(policy, settings, Arc::new(replay::Register::new(1024)))
    }

    pub fn with_register(
        policy: Policy,
        settings: Settings,
        register: Arc<replay::Register>,
    ) -> Self {
        let mut config = settings.config(tls(Arc::clone(&register))).unwrap();
        config.quic().set_ticket_key(&[9; 48]).unwrap();
        let mut endpoint = Endpoint::new(policy, config, &keys(), Instant::now());
        endpoint.tick(1000);
        Self {
            endpoint,
            shared: Shared::new(h3::Config::new(Backend::Scalar)),
            requests: Vec::new(),
            resets: Vec::new(),
            ended: 0,
            segments_max: 0,
            pulled: 0,
            register,
            touched: Vec::new(),
            out: vec![0; 65_536],
        }
    }

    pub fn datagram(
        &mut self,
        bytes: &mut [u8],
        from: SocketAddr,
        to: SocketAddr,
        net: &mut Net,
    ) -> Received {
        let now = Instant::now();
        let received = self.endpoint.receive(bytes, from, to, now, &mut self.out);
        match received {
            Received::Connection(id) | Received::Accepted(id) => {
                if !self.touched.contains(&id) {
                    self.touched.push(id);
                }
            }
            Received::Reply(transmit) => {
                net.send(transmit.from, transmit.to, &self.out[..transmit.len]);
            }
            Received::Forward(_) | Received::Dropped(_) => {}
        }
        received
    }

    pub fn turn(&mut self, net: &mut Net) {
        let now = Instant::now();
        self.endpoint.expire(now);
        for id in std::mem::take(&mut self.touched) {
            self.serve(id);
        }
        self.transmit(net, now);
        while let Some(id) = self.endpoint.next_stuck() {
            if let Some((conn, State { http, .. })) = self.endpoint.get(id) {
                http.unstick(conn);
            }
        }
        self.transmit(net, now);
        while let Some(ended) = self.endpoint.next_ended() {
            self.ended += 1;
            assert!(ended.conn.is_closed() || !ended.conn.is_established());
        }
    }

    fn transmit(&mut self, net: &mut Net, now: Instant) {
        while let Some((_, transmit)) = self.endpoint.transmit(&mut self.out, now) {
            self.segments_max = self.segments_max.max(transmit.segments());
            for range in transmit.datagrams() {
                net.send(transmit.from, transmit.to, &self.out[range]);
            }
        }
    }

    /// Probes due on its only connection.
    pub fn probes(&mut self) -> usize {
        let id = self.endpoint.ids().next().unwrap();
        let quic = self.endpoint.peek(id).unwrap().0.transport();
        quic.path_stats().map(|path| path.total_pto_count).sum()
    }

    /// Gives the responses that have only begun this many octets of content, on all connections.
    pub fn go_on(&mut self, len: usize) {
        for id in self.endpoint.ids().collect::<Vec<_>>() {
            let (_, State { http, work }) = self.endpoint.get(id).unwrap();
            for (&key, work) in work.iter_mut().filter(|(_, work)| work.path == "/begin") {
                work.len = len;
                http.wake(key);
            }
            self.touched.push(id);
        }
    }

    /// Runs the timeouts as if it were `now`.
    pub fn expire(&mut self, now: Instant) {
        for id in self.endpoint.ids().collect::<Vec<_>>() {
            let (conn, State { http, .. }) = self.endpoint.get(id).unwrap();
            assert!(http.is_waiting());
            http.expire(now, conn, &self.shared);
            self.touched.push(id);
        }
    }

    fn serve(&mut self, id: Id) {
        let Some((conn, State { http, work })) = self.endpoint.get(id) else { return };
        loop {
            let Ok(event) = http.receive(conn, &mut self.shared) else { return };
            match event {
                Event::More => break,
                Event::Request(request) => {
                    let bytes = &self.shared.h3.bytes;
                    let spans = [request.head.method_span, request.head.path];
                    let [method, path] = spans.map(|span| text(span.of(bytes)));
                    self.requests.push((method.clone(), path.clone(), request.early));
                    let key = request.key;
                    if is_too_early(&request) {
                        http.respond(key, 425, Body::None, conn, &mut self.shared, |_| {});
                        continue;
                    }
                    work.insert(key, Work { method, path, ..Work::default() });
                    if request.end {
                        answer(http, work, key, conn, &mut self.shared);
                    }
                }
                Event::Refused { key, status } => {
                    http.respond(key, status, Body::None, conn, &mut self.shared, |_| {});
                }
                Event::Malformed { .. } => {}
                Event::Data { key, at } => {
                    if let Some(work) = work.get_mut(&key) {
                        work.request.extend_from_slice(self.shared.data(at.clone()));
                    }
                    http.consume(key, at.len(), &self.shared);
                }
                Event::Trailers { key } => {
                    work.entry(key).and_modify(|work| work.trailers = true);
                }
                Event::End { key } => answer(http, work, key, conn, &mut self.shared),
                Event::Stalled { key } => {
                    work.remove(&key);
                    self.resets.push((Code::ExcessiveLoad.number(), false));
                }
                Event::Reset { key, code, by_peer } => {
                    work.remove(&key);
                    self.resets.push((code, by_peer));
                }
            }
        }
        for (&key, _) in work.iter().filter(|(_, work)| work.late && work.at == work.len) {
            http.wake(key);
        }
        let pulled = &mut self.pulled;
        while let Ok(Some(key)) = http.output(usize::MAX, conn, |key, max, content| {
            let Some(work) = work.get_mut(&key) else { return Pulled::Abort(Code::Internal) };
            let end = work.len.min(work.at + max);
            content.bytes().extend((work.at..end).map(pattern));
            *pulled += end - work.at;
            let is_last = end > work.at && end == work.len;
            work.at = end;
            if work.late && is_last {
                return Pulled::Pending;
            }
            match (work.at == work.len, work.trailers) {
                (false, _) => Pulled::More,
                (true, false) => Pulled::End,
                (true, true) => Pulled::Trailers,
            }
        }) {
            http.trailers(key, conn, |head| head.field(Known::Other, b"checksum", b"right"));
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether a request in early data may be a replay with side effects (RFC 8470).
fn is_too_early(request: &http::Request) -> bool {
    let safe = matches!(request.head.method, Method::Get | Method::Head);
    request.early == Early::Repeated || (request.early == Early::First && !safe)
}

fn answer(
    http: &mut Http,
    all: &mut HashMap<Key, Work>,
    key: Key,
    conn: &mut ringway_quic::Conn,
    shared: &mut Shared,
) {
    let Some(work) = all.get_mut(&key) else { return };
    let kind = |head: &mut http::Head<'_, '_>| {
        head.field(Known::Server, b"", b"ringway");
        head.field(Known::ContentType, b"", b"application/octet-stream");
    };
    let number = work.path.rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    match work.path.split('/').nth(1) {
        Some("pull" | "late" | "trailers") => {
            work.len = number;
            work.late = work.path.starts_with("/late");
            work.trailers = work.path.starts_with("/trailers");
            http.respond(key, 200, Body::Pull, conn, shared, kind);
        }
        Some("shared") => {
            http.respond(key, 200, Body::Shared(body(number).into()), conn, shared, kind);
        }
        Some("hints") => {
            http.inform(key, 103, conn, |head| {
                head.field(Known::Link, b"", b"</style.css>; rel=preload");
            });
            http.respond(key, 200, Body::Whole(b"hinted"), conn, shared, kind);
        }
        Some("echo") => {
            let echoed = std::mem::take(&mut work.request);
            http.respond(key, 200, Body::Shared(echoed.into()), conn, shared, kind);
        }
        Some("hang") => {}
        Some("begin") => {
            http.respond(key, 200, Body::Later, conn, shared, |head| {
                head.field_as(Indexing::Never, Known::Other, b"filler", &[b'~'; 1000]);
            });
        }
        _ => {
            http.respond(key, 200, Body::Whole(b"Hello, World!"), conn, shared, kind);
        }
    }
}
