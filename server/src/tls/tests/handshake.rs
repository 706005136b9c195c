//! Handshakes: versions, suites, names, protocols, tickets, fragments, refusals.

use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
use rustls::{AlertDescription, HandshakeKind, NamedGroup};

use super::*;
use crate::tls::Version;
use crate::tls::record_layer::RecordLayer;

#[test]
fn every_suite_carries_data_both_ways() {
    let tls = Tls::self_signed().unwrap();
    let mut acceptor = tls.acceptor(BOTH).unwrap();
    let mut tried = 0;
    for &suite in ALL_CIPHER_SUITES {
        // The certificate is an ECDSA one: RSA suites have a test of their own.
        if format!("{:?}", suite.suite()).contains("RSA") {
            continue;
        }
        let config = Arc::new(client_of(&tls, suite));
        let mut pair = Pair::established(config, "localhost", &mut acceptor);
        assert_eq!(pair.events, [SessionEvent::Established]);
        assert_eq!(pair.server.cipher(), Some(suite.suite()));
        assert_eq!(pair.server.alpn(), Some(Alpn::H2));
        assert_eq!(pair.server.sni(), Some("localhost"));
        assert!(!pair.server.resumed());
        for len in [0, 1, 2, 15, 16, 17, 1000, 16_383, 16_384, 16_385, 100_000] {
            let data = pattern(len);
            assert_eq!(pair.up(&data).unwrap(), data);
            assert_eq!(pair.down(&data), data);
        }
        tried += 1;
    }
    assert_eq!(tried, 3 + 3, "three suites of TLS 1.3, three ECDSA ones of TLS 1.2");
}

/// Row 56. RFC 9113 section 9.2.2: ephemeral key exchange and AEAD, else INADEQUATE_SECURITY.
#[test]
fn no_suite_is_one_that_http2_forbids() {
    let suites = aws_lc_rs::default_provider().cipher_suites;
    let old = suites.iter().filter(|suite| suite.tls13().is_none());
    let names: Vec<String> = old.map(|suite| format!("{:?}", suite.suite())).collect();
    assert_eq!(names.len(), 6);
    for name in names {
        assert!(name.starts_with("TLS_ECDHE_"), "{name}");
        assert!(name.contains("_GCM_") || name.contains("_CHACHA20_POLY1305_"), "{name}");
    }
}

#[test]
fn prefers_tls13_and_the_post_quantum_group() {
    let tls = Tls::self_signed().unwrap();
    let mut acceptor = tls.acceptor(BOTH).unwrap();
    let pair = Pair::established(Arc::new(client(&tls, &["h2"])), "localhost", &mut acceptor);
    assert_eq!(pair.server.version(), Some(Version::Tls13));
    assert_eq!(pair.server.group(), Some(NamedGroup::X25519MLKEM768));
    assert_eq!(pair.server.version().unwrap().name(), "TLSv1.3");
}

#[test]
fn alpn_by_the_servers_preference_or_refused() {
    let tls = Tls::self_signed().unwrap();
    let negotiated = |ours: &[Alpn], theirs: &[&str]| {
        let mut acceptor = tls.acceptor(ours).unwrap();
        let mut pair = Pair::new(Arc::new(client(&tls, theirs)), "localhost", &mut acceptor);
        pair.settle().map(|()| pair.server.alpn())
    };
    assert_eq!(negotiated(BOTH, &["http/1.1", "h2"]), Ok(Some(Alpn::H2)));
    assert_eq!(negotiated(BOTH, &["http/1.1"]), Ok(Some(Alpn::Http11)));
    assert_eq!(negotiated(&[Alpn::Http11], &["h2", "http/1.1"]), Ok(Some(Alpn::Http11)));
    assert_eq!(negotiated(BOTH, &[]), Ok(None));
    // ALPACA: a client of another protocol goes no further.
    let alert = AlertDescription::NoApplicationProtocol;
    let mut acceptor = tls.acceptor(BOTH).unwrap();
    let strange = Arc::new(client(&tls, &["ftp", "smtp"]));
    let mut pair = Pair::new(strange, "localhost", &mut acceptor);
    let refused = pair.settle().unwrap_err();
    assert!(refused.by_peer());
    assert_eq!(refused.alert(), Some(alert.into()));
    assert_eq!(pair.deliver(), Err(rustls::Error::AlertReceived(alert)));
}

#[test]
fn a_ticket_resumes_on_any_acceptor_in_both_versions() {
    let tls = Tls::self_signed().unwrap();
    for suite in [0, 3].map(|at| ALL_CIPHER_SUITES[at]) {
        let config = Arc::new(client_of(&tls, suite));
        let mut first = tls.acceptor(BOTH).unwrap();
        let mut other = tls.acceptor(BOTH).unwrap();
        let pair = Pair::established(Arc::clone(&config), "localhost", &mut first);
        assert!(!pair.server.resumed());
        let mut pair = Pair::established(config, "localhost", &mut other);
        assert!(pair.server.resumed());
        assert_eq!(pair.client.handshake_kind(), Some(HandshakeKind::Resumed));
        assert_eq!(pair.up(b"again").unwrap(), b"again");
        assert_eq!(pair.down(b"and back"), b"and back");
    }
}

/// Row 81.
#[test]
fn a_client_hello_may_come_a_byte_at_a_time() {
    let tls = Tls::self_signed().unwrap();
    let mut acceptor = tls.acceptor(BOTH).unwrap();
    for suite in [0, 3].map(|at| ALL_CIPHER_SUITES[at]) {
        let config = Arc::new(client_of(&tls, suite));
        let mut pair = Pair::new(config, "localhost", &mut acceptor);
        while pair.server.is_handshaking() || pair.client.is_handshaking() {
            let mut flight = Vec::new();
            while pair.client.wants_write() {
                pair.client.write_tls(&mut flight).unwrap();
            }
            for byte in flight {
                pair.wire.push(byte);
                pair.receive().unwrap();
            }
            pair.deliver().unwrap();
        }
        assert_eq!(pair.events, [SessionEvent::Established]);
        assert_eq!(pair.up(b"hello").unwrap(), b"hello");
    }
}

/// Cuts the handshake records in front of `flight` into records of `size` bytes of body.
fn cut(flight: &[u8], size: usize) -> Vec<u8> {
    let mut cut = Vec::new();
    let mut rest = flight;
    while let [22, _, _, high, low, ..] = *rest {
        let (body, after) = rest[5..].split_at(usize::from(u16::from_be_bytes([high, low])));
        for part in body.chunks(size) {
            cut.extend([22, 3, 1]);
            cut.extend((part.len() as u16).to_be_bytes());
            cut.extend(part);
        }
        rest = after;
    }
    cut.extend(rest);
    cut
}

#[test]
fn a_client_hello_may_be_cut_into_records_and_be_16_kib_long() {
    let tls = Tls::self_signed().unwrap();
    let mut acceptor = tls.acceptor(BOTH).unwrap();
    let mut config = client(&tls, &["h2"]);
    // 16 KiB by way of protocols that nobody speaks.
    config.alpn_protocols.extend((0..64).map(|at| vec![b'a' + (at % 26); 250]));
    let config = Arc::new(config);
    for size in [1, 2, 3, 4, 5, 7, 100, 1000, 16_384] {
        let mut pair = Pair::new(Arc::clone(&config), "localhost", &mut acceptor);
        let mut flight = Vec::new();
        pair.client.write_tls(&mut flight).unwrap();
        assert!(flight.len() > 16_000);
        pair.wire = cut(&flight, size);
        pair.settle().unwrap();
        assert_eq!(pair.events, [SessionEvent::Established]);
        assert_eq!(pair.server.alpn(), Some(Alpn::H2));
    }
}

#[test]
fn a_handshake_message_without_end_is_refused() {
    let tls = Tls::self_signed().unwrap();
    let mut acceptor = tls.acceptor(BOTH).unwrap();
    let mut session = acceptor.session().unwrap();
    let mut out = Vec::new();
    // A ClientHello that claims 65,000 bytes, in one-byte records.
    let claim = 65_000u32.to_be_bytes();
    let body = [1, claim[1], claim[2], claim[3]].into_iter().chain(std::iter::repeat(0));
    let mut taken = 0;
    for byte in body {
        match session.read(&mut [22, 3, 1, 0, 1, byte], &mut out) {
            Ok(step) => taken += step.consumed,
            Err(error) => {
                assert!(error.by_peer());
                break;
            }
        }
        assert!(taken <= 128 * 1024 + 6);
    }
    assert_eq!(session.read(&mut [0; 5], &mut out), Err(Error::Over));
}

#[test]
fn what_is_no_tls_is_told_apart() {
    let tls = Tls::self_signed().unwrap();
    let mut acceptor = tls.acceptor(BOTH).unwrap();
    for input in [&b"G"[..], b"GET / HTTP/1.1\r\n\r\n", b"\r\nGET", b"PRI * HTTP/2.0"] {
        let mut out = Vec::new();
        let read = acceptor.session().unwrap().read(&mut input.to_vec(), &mut out);
        assert_eq!(read, Err(Error::NotTls), "{input:?}");
        assert!(out.is_empty());
    }
    // F17: what is neither gets an alert (RFC 8446 section 5).
    let unexpected = AlertDescription::UnexpectedMessage;
    let overflow = AlertDescription::RecordOverflow;
    for (input, alert) in [
        (&b"\x80\x2e\x01\x03\x01"[..], unexpected),
        (b"\0", unexpected),
        (b"\xff", unexpected),
        (b"\x16\x02\0\0\0", unexpected),
        (b"\x16\x03\x01\xff\xff", overflow),
    ] {
        let mut out = Vec::new();
        let read = acceptor.session().unwrap().read(&mut input.to_vec(), &mut out);
        assert_eq!(read.unwrap_err().alert(), Some(alert.into()), "{input:?}");
        assert_eq!(out, [21, 3, 3, 0, 2, 2, alert.into()]);
    }
}

/// F22: close_notify before anything is encrypted is answered with the same.
#[test]
fn close_notify_in_the_handshake_is_answered() {
    let tls = Tls::self_signed().unwrap();
    let mut acceptor = tls.acceptor(BOTH).unwrap();
    let mut close = *b"\x15\x03\x01\0\x02\x01\0";
    let mut session = acceptor.session().unwrap();
    let mut out = Vec::new();
    let step = session.read(&mut close, &mut out).unwrap();
    assert_eq!((step.consumed, step.event), (7, SessionEvent::Closed));
    (0..2).for_each(|_| session.close(&mut out));
    assert_eq!(out, [21, 3, 3, 0, 2, 1, 0]);
    // After ServerHello too, in TLS 1.2, where our side encrypts from its Finished on.
    let suite = aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let config = Arc::new(client_of(&tls, suite));
    let mut pair = Pair::new(config, "localhost", &mut acceptor);
    pair.client.write_tls(&mut pair.wire).unwrap();
    pair.receive().unwrap();
    assert!(!pair.answer.is_empty());
    pair.wire.extend(close);
    pair.receive().unwrap();
    assert_eq!(pair.events, [SessionEvent::Closed]);
    pair.answer.clear();
    pair.server.close(&mut pair.answer);
    assert_eq!(pair.answer, [21, 3, 3, 0, 2, 1, 0]);
}

#[test]
fn data_right_behind_the_clients_finished_is_opened() {
    let tls = Tls::self_signed().unwrap();
    let mut acceptor = tls.acceptor(BOTH).unwrap();
    let mut pair = Pair::new(Arc::new(client(&tls, &["h2"])), "localhost", &mut acceptor);
    pair.client.writer().write_all(b"early bird").unwrap();
    pair.settle().unwrap();
    assert_eq!(pair.received, b"early bird");
}

#[test]
fn a_session_is_small() {
    // What an idle connection costs beside its two expanded keys, which `rest` lets go.
    let size = size_of::<Session>() + size_of::<RecordLayer>();
    assert!(size <= 344, "{size}");
}

#[test]
fn sealing_waits_for_the_handshake_and_ends_with_close_notify() {
    let tls = Tls::self_signed().unwrap();
    let mut acceptor = tls.acceptor(BOTH).unwrap();
    let mut pair = Pair::new(Arc::new(client(&tls, &["h2"])), "localhost", &mut acceptor);
    let mut out = Vec::new();
    assert!(pair.server.seal(b"too soon", &mut out).is_err());
    pair.server.close(&mut out);
    assert!(out.is_empty());
    pair.settle().unwrap();
    pair.server.close(&mut pair.answer);
    let once = pair.answer.len();
    pair.server.close(&mut pair.answer);
    assert_eq!(pair.answer.len(), once);
    assert!(pair.server.seal(b"too late", &mut out).is_err());
    pair.deliver().unwrap();
    assert_eq!(pair.client.reader().read(&mut [0; 1]).unwrap(), 0);
    // The other direction is still open.
    assert_eq!(pair.up(b"last words").unwrap(), b"last words");
    pair.client.send_close_notify();
    pair.settle().unwrap();
    assert_eq!(pair.events, [SessionEvent::Established, SessionEvent::Closed]);
    pair.wire.extend(b"ignored");
    pair.receive().unwrap();
    assert!(pair.wire.is_empty() && pair.received.is_empty());
}
