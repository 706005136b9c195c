//! What the server counts, and how it is read: Prometheus text at `/metrics`, JSON at
//! `/stats.json`, and a page at `/` that draws it and is told of changes at `/events`.
//!
//! A worker counts in plain numbers of its own ([`Tally`]) and now and then copies them where other
//! threads may read ([`Published`]), so that counting costs a request no atomic operation. The
//! tables below are the one place where a metric has its name.

mod endpoint;
mod events;
mod exported;
mod figures;
mod guard;
mod latency;
mod lifecycle;
mod page;
mod replacements;
mod stats;
mod sum;
mod text;

use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use ringway_codec::Time;

use crate::app::request::Protocol;
use crate::ring::sys::TcpInfo;
pub(crate) use endpoint::Endpoint;
pub(crate) use exported::Exported;
pub(crate) use figures::Figures;
pub(crate) use guard::Guard;
pub(crate) use latency::{BUCKETS, Histogram};
pub(crate) use lifecycle::{Lifecycle, ReloadKind};
pub(crate) use replacements::Replacements;

/// One row of the table of counters.
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    /// Labels as Prometheus writes them, without the braces.
    pub(crate) labels: &'static str,
    pub(crate) help: &'static str,
}

macro_rules! counters {
    ($($field:ident $name:literal $labels:literal $help:literal)*) => {
        /// What a worker counts of its connections and of its ring.
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $field: u64,)*
        }

        impl Counters {
            /// Name, labels and meaning of each counter, in order; rows of a name stand together.
            pub(crate) const TABLE: &'static [Metric] =
                &[$(Metric { name: $name, labels: $labels, help: $help },)*];

            fn values(&self) -> [u64; Self::TABLE.len()] {
                [$(self.$field,)*]
            }
        }
    };
}

counters! {
    opened_h1 "ringway_connections_opened_total" r#"proto="1.1""#
        "Connections that spoke the protocol, from their first byte on."
    opened_h2 "ringway_connections_opened_total" r#"proto="2""#
        "Connections that spoke the protocol, from their first byte on."
    opened_h3 "ringway_connections_opened_total" r#"proto="3""#
        "Connections that spoke the protocol, from their first byte on."
    closed_h1 "ringway_connections_closed_total" r#"proto="1.1""# "Of those, how many are closed."
    closed_h2 "ringway_connections_closed_total" r#"proto="2""# "Of those, how many are closed."
    closed_h3 "ringway_connections_closed_total" r#"proto="3""# "Of those, how many are closed."
    requests "ringway_requests_total" "" "Requests handed to the handlers."
    streams_h2 "ringway_streams_total" r#"proto="2""# "Streams that carried a request or a push."
    streams_h3 "ringway_streams_total" r#"proto="3""# "Streams that carried a request or a push."
    refused "ringway_refused_total" "" "Requests or connections refused because the peer erred."
    slow_heads "ringway_timeouts_total" r#"kind="head""# "Peers that were too slow."
    slow_bodies "ringway_timeouts_total" r#"kind="body""# "Peers that were too slow."
    slow_readers "ringway_timeouts_total" r#"kind="reader""# "Peers that were too slow."
    slow_handshakes "ringway_timeouts_total" r#"kind="handshake""# "Peers that were too slow."
    pushes "ringway_push_total" "" "Resources pushed."
    tls13_full "ringway_tls_handshakes_total" r#"version="1.3",resumed="false",early="false""#
        "TLS handshakes that were completed."
    tls13_resumed "ringway_tls_handshakes_total" r#"version="1.3",resumed="true",early="false""#
        "TLS handshakes that were completed."
    tls12_full "ringway_tls_handshakes_total" r#"version="1.2",resumed="false",early="false""#
        "TLS handshakes that were completed."
    tls12_resumed "ringway_tls_handshakes_total" r#"version="1.2",resumed="true",early="false""#
        "TLS handshakes that were completed."
    tls13_early "ringway_tls_handshakes_total" r#"version="1.3",resumed="true",early="true""#
        "TLS handshakes that were completed."
    tls_errors "ringway_tls_errors_total" "" "TLS sessions that ended in an error."
    tcp_closed "ringway_tcp_closed_total" "" "TCP connections whose figures were read at their end."
    tcp_retransmissions "ringway_tcp_retrans_total" "" "TCP segments that were sent again."
    tcp_rtt_micros "ringway_tcp_rtt_microseconds_sum" ""
        "Sum of the smoothed round trips that TCP connections had at their end."
    over_ip_limit "ringway_connections_refused_total" r#"kind="per_ip""#
        "Connections closed at once: as many were there as may be."
    over_handshake_limit "ringway_connections_refused_total" r#"kind="handshakes""#
        "Connections closed at once: as many were there as may be."
    shed "ringway_connections_shed_total" ""
        "Idle connections closed because others needed the room, or files a descriptor."
    quic_migrations "ringway_quic_migrations_total" ""
        "Times that a client has moved to another address."
    quic_retries "ringway_quic_retry_total" "" "Retry packets sent."
    quic_resets "ringway_quic_stateless_reset_total" "" "Stateless resets sent."
    quic_negotiations "ringway_quic_version_negotiation_total" "" "Version negotiations sent."
    quic_tokens_good "ringway_quic_tokens_total" r#"result="good""# "Retry tokens that came back."
    quic_tokens_bad "ringway_quic_tokens_total" r#"result="bad""# "Retry tokens that came back."
    quic_stalled "ringway_quic_handshakes_stalled_total" "" "Handshakes that took too long."
    quic_batches "ringway_quic_batches_total" "" "Messages sent, of one datagram or more."
    quic_segments "ringway_quic_segments_total" "" "Datagrams sent in them."
    gso_fallbacks "ringway_quic_gso_fallback_total" ""
        "Messages that the kernel could not split into datagrams."
    quic_forwarded "ringway_quic_forwarded_total" r#"result="sent""#
        "Datagrams for a connection of another worker."
    quic_unforwarded "ringway_quic_forwarded_total" r#"result="dropped""#
        "Datagrams for a connection of another worker."
    quic_forwarded_taken "ringway_quic_forwarded_total" r#"result="taken""#
        "Datagrams for a connection of another worker."
    quic_older_sent "ringway_quic_older_total" r#"result="sent""#
        "Batches of datagrams for a connection of a process that was replaced."
    quic_older_dropped "ringway_quic_older_total" r#"result="dropped""#
        "Batches of datagrams for a connection of a process that was replaced."
    quic_older_taken "ringway_quic_older_total" r#"result="taken""#
        "Batches of datagrams for a connection of a process that was replaced."
    quic_older_refused "ringway_quic_older_total" r#"result="refused""#
        "Batches of datagrams for a connection of a process that was replaced."
    early_taken "ringway_quic_early_requests_total" r#"result="accepted""#
        "Requests in 0-RTT data."
    early_refused "ringway_quic_early_requests_total" r#"result="refused""#
        "Requests in 0-RTT data."
    quic_malformed "ringway_quic_drop_total" r#"reason="malformed""# "Datagrams dropped."
    quic_short_initial "ringway_quic_drop_total" r#"reason="short_initial""# "Datagrams dropped."
    quic_unknown_cid "ringway_quic_drop_total" r#"reason="unknown_cid""# "Datagrams dropped."
    quic_unknown_long "ringway_quic_drop_total" r#"reason="unknown_long""# "Datagrams dropped."
    quic_stray_negotiation "ringway_quic_drop_total" r#"reason="version_negotiation""#
        "Datagrams dropped."
    quic_rationed "ringway_quic_drop_total" r#"reason="rationed""# "Datagrams dropped."
    quic_full "ringway_quic_drop_total" r#"reason="full""# "Datagrams dropped."
    quic_draining "ringway_quic_drop_total" r#"reason="draining""# "Datagrams dropped."
    quic_refused "ringway_quic_drop_total" r#"reason="refused""# "Datagrams dropped."
    quic_sent "ringway_quic_packets_sent_total" "" "Packets sent by connections that have ended."
    quic_lost "ringway_quic_packets_lost_total" "" "Of those, how many were lost."
    quic_rtt_micros "ringway_quic_rtt_microseconds_sum" ""
        "Sum of the smoothed round trips that QUIC connections had at their end."
    qpack_inserts "ringway_qpack_inserts_total" ""
        "Entries put into QPACK tables of clients, by connections that have ended."
    udp_receives "ringway_udp_receives_total" "" "Messages received, of one datagram or more."
    udp_received "ringway_udp_datagrams_total" "" "Datagrams received in them."
    udp_truncated "ringway_udp_truncated_total" "" "Messages received that were cut short."
    udp_refused "ringway_udp_refused_total" "" "Messages that the kernel refused to send."
    udp_no_buffers "ringway_udp_enobufs_total" "" "Receives that ended for want of buffers."
    exhausted "ringway_accept_exhausted_total" ""
        "Times that accepting failed for want of descriptors or memory."
    no_buffers "ringway_uring_enobufs_total" "" "Receives that ended for want of buffers."
    submissions "ringway_uring_sqe_total" "" "Submissions to the ring."
    enters "ringway_uring_enter_total" "" "System calls to the ring."
    received_bytes "ringway_bytes_total" r#"direction="received""#
        "Bytes of sockets, heads and frames and TLS with them."
    sent_bytes "ringway_bytes_total" r#"direction="sent""#
        "Bytes of sockets, heads and frames and TLS with them."
    cache_hits "ringway_file_cache_total" r#"result="hit""#
        "Files found in memory, compared with the disk, and read from it."
    cache_checks "ringway_file_cache_total" r#"result="check""#
        "Files found in memory, compared with the disk, and read from it."
    cache_misses "ringway_file_cache_total" r#"result="miss""#
        "Files found in memory, compared with the disk, and read from it."
    queue_full "ringway_uring_sq_full_total" "" "Times that the submission queue was full."
    overflows "ringway_uring_cqe_overflow_total" ""
        "System calls before which completions had not fitted their queue."
}

/// The protocols that latencies and statuses are told apart by.
pub(crate) const PROTOCOLS: [&str; 3] = ["1.1", "2", "3"];

/// The column of a protocol.
fn column(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Http10 | Protocol::Http11 => 0,
        Protocol::Http2 => 1,
        Protocol::Http3 => 2,
    }
}

/// Statuses that are counted by themselves; others count as the first of their class.
pub(crate) const STATUSES: [u16; 40] = [
    100, 200, 201, 202, 204, 206, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406,
    408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 425, 426, 428, 429, 431, 500, 501, 502,
    503, 505,
];

/// The row of each status from 100 to 599: its own, or that of the first of its class.
const ROWS: [u8; 500] = {
    let mut rows = [0; 500];
    let mut status = 0;
    while status < rows.len() {
        let mut row = 0;
        while row < STATUSES.len() {
            let wanted = STATUSES[row] as usize - 100;
            if wanted == status || wanted == status / 100 * 100 {
                rows[status] = row as u8;
            }
            row += 1;
        }
        status += 1;
    }
    rows
};

fn status_row(status: StatusCode) -> usize {
    let row = ROWS.get(usize::from(status.as_u16()).wrapping_sub(100));
    row.map_or(0, |row| usize::from(*row))
}

/// A worker's own numbers.
pub(crate) struct Tally {
    pub(crate) counters: Counters,
    statuses: [[u64; STATUSES.len()]; PROTOCOLS.len()],
    latencies: [Histogram; PROTOCOLS.len()],
    /// Answers that were complete in the turn that brought their request: they have taken as long
    /// as the turn takes, which is known at its end.
    fresh: [u32; PROTOCOLS.len()],
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            counters: Counters::default(),
            statuses: [[0; STATUSES.len()]; PROTOCOLS.len()],
            latencies: Default::default(),
            fresh: [0; PROTOCOLS.len()],
        }
    }
}

impl Tally {
    /// An answer is complete: handed over, whole.
    pub(crate) fn answered(
        &mut self,
        protocol: Protocol,
        status: StatusCode,
        started: Time,
        now: Time,
    ) {
        let column = column(protocol);
        self.statuses[column][status_row(status)] += 1;
        if started == now {
            self.fresh[column] += 1;
        } else {
            self.latencies[column].record(now.since(started), 1);
        }
    }

    /// A TCP connection is over.
    pub(crate) fn closed(&mut self, tcp: TcpInfo) {
        self.counters.tcp_closed += 1;
        self.counters.tcp_retransmissions += u64::from(tcp.retransmissions);
        self.counters.tcp_rtt_micros += u64::from(tcp.rtt);
    }

    /// Whether the end of the turn has to be told.
    pub(crate) fn has_fresh(&self) -> bool {
        self.fresh != [0; PROTOCOLS.len()]
    }

    /// The turn that began at `began` ends at `ended`.
    pub(crate) fn turn_ended(&mut self, began: Time, ended: Time) {
        for (fresh, latency) in self.fresh.iter_mut().zip(&mut self.latencies) {
            if *fresh > 0 {
                latency.record(ended.since(began), u64::from(std::mem::take(fresh)));
            }
        }
    }
}

const WIDTH: usize = BUCKETS + 1;

/// A worker's numbers as other threads may read them: at most a hundredth of a second old, and
/// never torn within a number.
pub(crate) struct Published {
    counters: [AtomicU64; Counters::TABLE.len()],
    statuses: [[AtomicU64; STATUSES.len()]; PROTOCOLS.len()],
    latencies: [[AtomicU64; WIDTH]; PROTOCOLS.len()],
    h2: [AtomicU64; H2_ROWS],
}

/// The rows that come from HTTP/2's own counters: charges by kind of abuse, then these.
pub(crate) const H2_ROWS: usize = ringway_codec::h2::KINDS + 5;

impl Default for Published {
    fn default() -> Self {
        let zeroes = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            counters: std::array::from_fn(|_| AtomicU64::new(0)),
            statuses: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            latencies: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            h2: zeroes(),
        }
    }
}

impl Published {
    /// Copies a worker's numbers.
    pub(crate) fn publish(&self, tally: &Tally, h2: &ringway_codec::h2::Counters) {
        let put = |cell: &AtomicU64, value: u64| cell.store(value, Ordering::Relaxed);
        for (cell, value) in self.counters.iter().zip(tally.counters.values()) {
            put(cell, value);
        }
        for (cells, values) in self.statuses.iter().zip(&tally.statuses) {
            cells.iter().zip(values).for_each(|(cell, value)| put(cell, *value));
        }
        for (cells, histogram) in self.latencies.iter().zip(&tally.latencies) {
            let values = histogram.buckets.iter().chain([&histogram.sum_micros]);
            cells.iter().zip(values).for_each(|(cell, value)| put(cell, *value));
        }
        let more =
            [h2.resets_received, h2.resets_sent, h2.goaways_sent, h2.round_trips, h2.round_trip_us];
        let values = h2.charged.iter().chain(&more);
        self.h2.iter().zip(values).for_each(|(cell, value)| put(cell, *value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_name_stand_together_and_statuses_are_sorted() {
        let mut names: Vec<_> = Counters::TABLE.iter().map(|row| row.name).collect();
        names.dedup();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(STATUSES.is_sorted());
        assert_eq!(STATUSES[status_row(StatusCode::NOT_FOUND)], 404);
        assert_eq!(STATUSES[status_row(StatusCode::IM_A_TEAPOT)], 400);
    }

    #[test]
    fn answers_of_the_same_turn_take_as_long_as_the_turn() {
        let mut tally = Tally::default();
        let (began, ended) = (Time(5_000), Time(5_120));
        tally.answered(Protocol::Http11, StatusCode::OK, began, began);
        tally.answered(Protocol::Http11, StatusCode::OK, Time(1_000), began);
        assert!(tally.has_fresh());
        tally.turn_ended(began, ended);
        assert!(!tally.has_fresh());
        assert_eq!(tally.latencies[0].count(), 2);
        assert_eq!(tally.latencies[0].sum_micros, 120 + 4_000);
        assert_eq!(tally.latencies[1], Histogram::default());
    }
}
