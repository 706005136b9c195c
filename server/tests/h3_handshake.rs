//! Violations in the handshake and in packet headers. Each is answered with the code that RFC 9000
//! names, in a packet that the client can read (sections 7.4, 10.2.3, 12.4, 17.2, 17.3 and 18.2;
//! RFC 9001 sections 8.2 and 8.3). The client is a modified aioquic over real sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use harness::rude::*;

/// Row 74 and F2: transport parameters that are missing, forbidden, double, out of range or cut.
#[test]
fn alone_f2_row_74_transport_parameters() {
    let refused = &[TRANSPORT_PARAMETER_ERROR][..];
    expect(&[
        ("parameter:ack_delay_exponent", refused),
        ("parameter:max_ack_delay", refused),
        ("parameter:max_udp_payload_size", refused),
        ("parameter:active_connection_id_limit", refused),
        ("parameter:max_streams_bidi", refused),
        ("parameter:max_streams_uni", refused),
        ("parameter:original_destination", refused),
        ("parameter:stateless_reset_token", refused),
        ("parameter:preferred_address", refused),
        ("parameter:retry_source", refused),
        ("parameter:twice", refused),
        ("parameter:unknown_twice", refused),
        ("parameter:idle_cut", refused),
        ("parameter:idle_long", refused),
        ("parameter:data_empty", refused),
        ("parameter:datagrams_cut", refused),
        ("parameter:migration_not_empty", refused),
        ("parameter:cut", refused),
        ("parameter:trailing", refused),
        ("parameter:length_beyond", refused),
        ("parameter:other_source", refused),
        ("parameter:empty_source", refused),
        ("parameter:no_source", refused),
        ("parameter:nothing", refused),
        ("parameter:none", &[MISSING_EXTENSION]),
        // As large as they may be, empty as it must be, and unknown.
        ("parameter:extremes", &[]),
        ("parameter:migration", &[]),
        ("parameter:reserved", &[]),
    ]);
}

/// F2: reserved bits of packets of every level; of forged ones they mean nothing, and packets
/// without the Fixed Bit are none.
#[test]
fn alone_f2_reserved_bits() {
    let refused = &[PROTOCOL_VIOLATION][..];
    expect(&[
        ("bits:initial:0x04", refused),
        ("bits:initial:0x0c", refused),
        ("bits:early:0x04", refused),
        ("bits:handshake:0x04", refused),
        ("bits:handshake:0x08", refused),
        ("bits:application:0x08", refused),
        ("bits:application:0x10", refused),
        ("bits:application:0x18", refused),
        ("forged:handshake:0x0c", &[]),
        ("forged:application:0x18", &[]),
        ("unfixed", &[]),
    ]);
}

/// F2: frames that are for no 0-RTT packet, CRYPTO among them.
#[test]
fn alone_f2_frames_in_early_data() {
    let refused = &[PROTOCOL_VIOLATION][..];
    expect(&[
        ("early:ping", &[]),
        ("early:crypto", refused),
        ("early:ack", refused),
        ("early:done", refused),
        ("early:retire", refused),
    ]);
}

/// F2: the client's very first packet holds what no Initial may, for which quiche closes without a
/// word.
#[test]
fn alone_f2_frames_in_the_first_initial() {
    expect(&[
        ("first:streams", &[PROTOCOL_VIOLATION]),
        ("first:done", &[PROTOCOL_VIOLATION]),
        ("first:stop_above", &[PROTOCOL_VIOLATION]),
        ("first:unknown", &[FRAME_ENCODING_ERROR]),
        ("first:crypto", &[CRYPTO_BUFFER_EXCEEDED]),
    ]);
}

/// Row 93: whatever is said of a stream above MAX_STREAMS, and of those that no client sends on.
#[test]
fn alone_row_93_frames_of_streams_above_the_limit() {
    let above = &[STREAM_LIMIT_ERROR][..];
    expect(&[
        ("streams", above),
        ("stop_above", above),
        ("reset_above", above),
        ("reset_uni_above", above),
        ("max_data_above", above),
        ("blocked_above", above),
        ("blocked_uni_above", above),
        ("blocked_far_above", above),
        ("blocked_last", &[]),
        ("blocked_theirs", &[STREAM_STATE_ERROR]),
        ("blocked_none", &[STREAM_STATE_ERROR]),
        ("max_data_none", &[STREAM_STATE_ERROR]),
    ]);
}
