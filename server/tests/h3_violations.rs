//! Rows 58 to 62 of the attack list again, with h3i, an independent implementation that uses
//! quiche's frames and QPACK.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use h3i::actions::h3::{
    Action, StreamEvent, StreamEventType, WaitType, send_headers_frame, send_headers_frame_literal,
};
use h3i::client::connection_summary::ConnectionSummary;
use h3i::client::sync_client;
use h3i::config::Config;
use h3i::frame::H3iFrame;
use h3i::quiche::h3::Header;
use h3i::quiche::h3::frame::Frame;
use harness::process::Process;
use harness::quic::{
    CLOSED_CRITICAL_STREAM, FRAME_UNEXPECTED, ID_ERROR, MESSAGE_ERROR, MISSING_SETTINGS,
    QPACK_DECOMPRESSION_FAILED, QPACK_ENCODER_STREAM_ERROR, SETTINGS_ERROR, STREAM_CREATION_ERROR,
};
use harness::watch::Watch;

/// Maximum growth of memory.
const CAP: u64 = 8 << 20;

/// What came of these actions on a connection of their own.
fn act(server: &Process, actions: Vec<Action>) -> ConnectionSummary {
    let at = server.at("h3");
    let config = Config::new()
        .with_host_port(format!("localhost:{}", at.port()))
        .with_connect_to(at.to_string())
        .verify_peer(false)
        .with_idle_timeout(30_000)
        .build()
        .unwrap();
    sync_client::connect(config, actions, None).unwrap()
}

/// The server must close the connection with this code.
fn closes(server: &Process, what: &str, actions: Vec<Action>, code: u64) {
    let summary = act(server, actions);
    let error = summary.conn_close_details.peer_error();
    let error = error.unwrap_or_else(|| panic!("{what}: {:?}", summary.conn_close_details));
    assert_eq!((error.is_app, error.error_code), (true, code), "{what}: {error:?}");
}

fn open(stream_id: u64, stream_type: u64) -> Action {
    Action::OpenUniStream {
        stream_id,
        fin_stream: false,
        stream_type,
        expected_result: Default::default(),
    }
}

fn send(stream_id: u64, frame: Frame) -> Action {
    Action::SendFrame { stream_id, fin_stream: false, frame, expected_result: Default::default() }
}

fn bytes(stream_id: u64, bytes: &[u8], fin_stream: bool) -> Action {
    let bytes = bytes.to_vec();
    Action::StreamBytes { stream_id, fin_stream, bytes, expected_result: Default::default() }
}

fn settings(additional: Option<Vec<(u64, u64)>>) -> Frame {
    Frame::Settings {
        max_field_section_size: None,
        qpack_max_table_capacity: None,
        qpack_blocked_streams: None,
        connect_protocol_enabled: None,
        h3_datagram: None,
        grease: None,
        additional_settings: additional,
        raw: None,
    }
}

/// The control stream in order, and then these.
fn after_control(more: Vec<Action>) -> Vec<Action> {
    [vec![open(2, 0), send(2, settings(None))], more].concat()
}

fn fields(more: &[(&str, &str)]) -> Vec<Header> {
    let plain = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost")];
    let all = plain.iter().chain(&[(":path", "/echo")]).chain(more);
    all.map(|(name, value)| Header::new(name.as_bytes(), value.as_bytes())).collect()
}

fn data(payload: &[u8]) -> Frame {
    Frame::Data { payload: payload.to_vec() }
}

/// A valid request is answered: the client is suitable as a judge.
#[test]
fn h3i_is_answered() {
    let server = Process::app_on("http,https,h3", "");
    let end = StreamEvent { stream_id: 0, event_type: StreamEventType::Finished };
    let error = h3i::quiche::ConnectionError { is_app: true, error_code: 0x100, reason: vec![] };
    let summary = act(
        &server,
        after_control(vec![
            send_headers_frame(0, false, fields(&[("content-length", "4")])),
            send(0, data(b"test")),
            bytes(0, b"", true),
            Action::Wait { wait_type: WaitType::StreamEvent(end) },
            Action::ConnectionClose { error },
        ]),
    );
    let heads = summary.stream_map.headers_on_stream(0);
    assert_eq!(heads[0].status_code().unwrap(), b"200", "{summary:?}");
    let body = summary.stream_map.stream(0);
    assert!(body.contains(&H3iFrame::QuicheH3(data(b"test"))), "{body:?}");
}

#[test]
fn rows_58_to_61_by_h3i() {
    let server = Process::app_on("http,https,h3", "");
    Watch::new(&server, "/hello").during(CAP, || {
        let closes = |what, actions, code| closes(&server, what, actions, code);
        let push = Frame::CancelPush { push_id: 0 };
        let first = after_control(vec![send(0, data(b"x"))]);
        closes("DATA first", first, FRAME_UNEXPECTED);
        let head = send_headers_frame(2, false, fields(&[]));
        closes("HEADERS on control", after_control(vec![head]), FRAME_UNEXPECTED);
        closes("DATA on control", after_control(vec![send(2, data(b"x"))]), FRAME_UNEXPECTED);
        let on_request = after_control(vec![send(0, push.clone())]);
        closes("CANCEL_PUSH on a request", on_request, FRAME_UNEXPECTED);
        closes("a push unknown", after_control(vec![send(2, push)]), ID_ERROR);
        let ping = after_control(vec![bytes(0, &[6, 8, 0, 0, 0, 0, 0, 0, 0, 0], false)]);
        closes("HTTP/2's PING", ping, FRAME_UNEXPECTED);
        closes("settings twice", after_control(vec![send(2, settings(None))]), FRAME_UNEXPECTED);
        let early = vec![open(2, 0), send(2, Frame::GoAway { id: 0 })];
        closes("no settings", early, MISSING_SETTINGS);
        let old = vec![open(2, 0), send(2, settings(Some(vec![(3, 1)])))];
        closes("a setting of HTTP/2", old, SETTINGS_ERROR);
        closes("two control streams", after_control(vec![open(6, 0)]), STREAM_CREATION_ERROR);
        closes("a push stream", after_control(vec![open(6, 1)]), STREAM_CREATION_ERROR);
        let end = after_control(vec![bytes(2, b"", true)]);
        closes("an end of control", end, CLOSED_CRITICAL_STREAM);
        let flush = Action::FlushPackets;
        let reset = vec![flush, Action::ResetStream { stream_id: 2, error_code: 7 }];
        closes("a reset of control", after_control(reset), CLOSED_CRITICAL_STREAM);
        let less = vec![
            send(2, Frame::MaxPushId { push_id: 8 }),
            send(2, Frame::MaxPushId { push_id: 4 }),
        ];
        closes("MAX_PUSH_ID goes down", after_control(less), ID_ERROR);
        let block = Frame::Headers { header_block: vec![0, 0, 0xff, 0x3f] };
        closes("QPACK", after_control(vec![send(0, block)]), QPACK_DECOMPRESSION_FAILED);
        let capacity = vec![open(6, 2), bytes(6, &[0x3f, 0xff, 0x7f], false)];
        closes("a capacity", after_control(capacity), QPACK_ENCODER_STREAM_ERROR);
    });
}

#[test]
fn row_62_by_h3i() {
    let server = Process::app_on("http,https,h3", "");
    Watch::new(&server, "/hello").during(CAP, || {
        let head = |more: &[(&str, &str)]| send_headers_frame_literal(0, false, fields(more));
        let long = |length: &'static str| head(&[("content-length", length)]);
        for (what, actions) in [
            ("too little content", vec![long("5"), send(0, data(b"test")), bytes(0, b"", true)]),
            ("too much content", vec![long("3"), send(0, data(b"test")), bytes(0, b"", true)]),
            ("an end where content was announced", vec![long("5"), bytes(0, b"", true)]),
            ("upper case", vec![head(&[("Upper", "x")]), bytes(0, b"", true)]),
            ("connection", vec![head(&[("connection", "close")]), bytes(0, b"", true)]),
            ("a pseudo-field late", vec![head(&[("a", "b"), (":path", "/")])]),
            ("a pseudo-field of responses", vec![head(&[(":status", "200")])]),
        ] {
            let end = StreamEvent { stream_id: 0, event_type: StreamEventType::Finished };
            let error =
                h3i::quiche::ConnectionError { is_app: true, error_code: 0x100, reason: vec![] };
            let over = vec![
                Action::Wait { wait_type: WaitType::StreamEvent(end) },
                Action::ConnectionClose { error },
            ];
            let summary = act(&server, after_control([actions, over].concat()));
            let stream = summary.stream_map.stream(0);
            let refused = stream.iter().any(|frame| match frame {
                H3iFrame::ResetStream(reset) => reset.error_code == MESSAGE_ERROR,
                H3iFrame::Headers(head) => head.status_code().is_some_and(|code| code == b"400"),
                H3iFrame::QuicheH3(_) => false,
            });
            assert!(refused, "{what}: {stream:?} {:?}", summary.conn_close_details);
        }
    });
}
