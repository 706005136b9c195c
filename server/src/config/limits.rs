//! The one table of bounds: every amount that a peer could otherwise make grow, with its key, its
//! default, the range it may be set to and why it exists. The defaults, the parsing, the range
//! check, `ringway check --print` and the documentation are all made from these rows; a protocol
//! that needs a bound adds a row here.

use std::time::Duration;

/// One binary kilobyte, in bytes.
pub const KIB: u64 = 1024;
/// One binary megabyte, in bytes.
pub const MIB: u64 = 1024 * KIB;
/// One binary gigabyte, in bytes.
pub const GIB: u64 = 1024 * MIB;

/// The unit of a bound, which decides how it is written and printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things: `100`.
    Count,
    /// Bytes: `"64KiB"`, or a plain integer.
    Bytes,
    /// A span of time, kept in milliseconds: `"10s"`.
    Time,
    /// Bytes in each second: `"1KiB"` or a plain integer; 0 turns the rate check off.
    Rate,
}

/// One row of the table of bounds. Amounts are in the row's unit (milliseconds for [`Unit::Time`]).
#[derive(Clone, Copy)]
pub struct Limit {
    /// The key in the configuration file, with its block: `limits.header_bytes`.
    pub key: &'static str,
    /// What the number counts.
    pub unit: Unit,
    /// The default value.
    pub default: u64,
    /// The smallest value that may be set.
    pub min: u64,
    /// The largest value that may be set.
    pub max: u64,
    /// One line of documentation.
    pub doc: &'static str,
    pub(super) read: fn(&Limits) -> u64,
    pub(super) write: fn(&mut Limits, u64),
}

impl Limit {
    /// The value that this row has in `limits`, in the row's unit.
    pub fn of(&self, limits: &Limits) -> u64 {
        (self.read)(limits)
    }
}

/// How a bound's field type goes to and from the table's common `u64`. The conversion from `u64` is
/// only reached with values inside the row's range, and a test holds every range inside its field's
/// type.
trait Amount: Sized {
    fn to_amount(&self) -> u64;
    fn from_amount(amount: u64) -> Self;
}

macro_rules! integer_amount {
    ($($type:ty),*) => { $(impl Amount for $type {
        fn to_amount(&self) -> u64 { *self as u64 }
        fn from_amount(amount: u64) -> Self { Self::try_from(amount).unwrap_or(Self::MAX) }
    })* };
}
integer_amount!(u8, u16, u32, u64, usize);

impl Amount for Duration {
    fn to_amount(&self) -> u64 {
        u64::try_from(self.as_millis()).unwrap_or(u64::MAX)
    }
    fn from_amount(amount: u64) -> Self {
        Self::from_millis(amount)
    }
}

macro_rules! limits {
    ($($key:literal $field:ident: $type:ty, $unit:ident = $default:expr, $min:expr => $max:expr;
        $doc:literal)*) => {
        /// Every bound that ringway keeps, ready for use. `Limits::default()` has the documented
        /// defaults.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits {
            $(#[doc = $doc] pub $field: $type,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($field: <$type>::from_amount($default),)* }
            }
        }

        impl Limits {
            /// All rows, in the order in which they are documented.
            pub const TABLE: &'static [Limit] = &[
                $(Limit {
                    key: $key,
                    unit: Unit::$unit,
                    default: $default,
                    min: $min,
                    max: $max,
                    doc: $doc,
                    read: |limits| limits.$field.to_amount(),
                    write: |limits, amount| limits.$field = <$type>::from_amount(amount),
                },)*
            ];
        }
    };
}

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 3600 * SECOND;
/// The window of every minimum rate, whatever the protocol.
const RATE_WINDOW: u64 = 60 * SECOND;

// key, field: type, unit = default, min => max; why
limits! {
    "limits.connections" connections: u32, Count = 65_536, 8 => 16_777_215;
        "connections per worker, fitted at the start to the descriptors that the process may have; a further one takes the place of the one that was idle for longest, or waits in the kernel's accept queue"
    "limits.connections_per_ip" connections_per_ip: u32, Count = 65_536, 8 => 16_777_215;
        "connections per worker from one address (IPv6: one /64); a browser needs 8"
    "limits.request_line" request_line: u32, Bytes = 8 * KIB, 256 => MIB;
        "bytes of an HTTP/1 request line, or of a target in HTTP/2 and HTTP/3; more is answered 414"
    "limits.header_bytes" header_bytes: u32, Bytes = 32 * KIB, KIB => MIB;
        "bytes of a request's header block; more is answered 431, more than twice as much over HTTP/2 ends the connection"
    "limits.header_fields" header_fields: u16, Count = 100, 8 => 4096;
        "header fields of a request, a cookie in pieces being one; more is answered 431"
    "limits.trailer_fields" trailer_fields: u16, Count = 32, 0 => 4096;
        "trailer fields of a request body; more is answered 431"
    "limits.body_bytes" body_bytes: u64, Bytes = MIB, 0 => 1024 * GIB;
        "bytes of a request body unless the route says otherwise; more is answered 413"
    "limits.chunk_extension_bytes" chunk_extension_bytes: u32, Bytes = 16 * KIB, 0 => MIB;
        "bytes of chunk extensions in one request body; more is answered 400"
    "limits.sites" sites: usize, Count = 1000, 1 => 65_536;
        "[[site]] blocks of a configuration"
    "limits.site_hosts" site_hosts: usize, Count = 100, 1 => 4096;
        "hosts of a site"
    "limits.site_rules" site_rules: usize, Count = 200, 0 => 4096;
        "rules of a site: answers, redirects, rewrites and all others by path, error pages, fields"
    "limits.rate_keys" rate_keys: u32, Count = 65_536, 64 => 16_777_215;
        "clients that each rate of a site tells apart at once, 8 to 32 bytes each; beyond it the least active are forgotten"
    "limits.output_bytes" output_bytes: usize, Bytes = 256 * KIB, 16 * KIB => GIB;
        "bytes of output held for a connection; no further request is taken above it"
    "limits.spill_bytes" spill_bytes: usize, Bytes = 64 * KIB, 4 * KIB => 64 * MIB;
        "bytes of input held for a connection from one turn to the next"
    "limits.header_timeout" header_timeout: Duration, Time = 10 * SECOND, 10 => HOUR;
        "time for a request's whole header block; longer is answered 408"
    "limits.handshake_timeout" handshake_timeout: Duration, Time = 10 * SECOND, 10 => HOUR;
        "time for a TLS handshake; longer is cut off"
    "limits.handshakes" handshakes: u32, Count = 8192, 1 => 16_777_215;
        "unfinished TLS handshakes of a listener; further connections are closed at once"
    "limits.idle_timeout" idle_timeout: Duration, Time = 60 * SECOND, 10 => 24 * HOUR;
        "time for which a connection may stand idle between requests"
    "limits.body_rate" body_rate: u64, Rate = 240, 0 => GIB;
        "bytes a second at which a request body must come in, on average over limits.rate_grace; 0 is off"
    "limits.write_rate" write_rate: u64, Rate = 240, 0 => GIB;
        "bytes a second at which a peer must take a response, on average over limits.rate_grace, and where it holds streams up over the stall_timeout of its protocol; 0 is off"
    "limits.rate_grace" rate_grace: Duration, Time = RATE_WINDOW, 10 => HOUR;
        "window over which minimum rates are averaged: a pause that is shorter costs nothing"
    "limits.drain_timeout" drain_timeout: Duration, Time = 30 * SECOND, 0 => 24 * HOUR;
        "time that requests in flight, and tasks of the application, have to finish once the server is told to stop"
    "limits.blocking_threads" blocking_threads: u16, Count = 64, 1 => 4096;
        "threads of the whole server for work of the application that would hold a worker up, started on demand"
    "limits.blocking_queue" blocking_queue: u32, Count = 1024, 0 => 16_777_215;
        "such work that waits for a thread; further work is refused"
    "limits.compress_bytes" compress_bytes: u64, Bytes = MIB, 0 => 16 * MIB;
        "size of the largest file that is compressed on the way, where its site asks for that; 0 compresses none"
    "limits.compress_queue" compress_queue: u32, Count = 64, 0 => 4096;
        "files and answers that wait for a thread to be compressed; further ones are sent as they are; 0 has no threads for it"
    "limits.log_queue" log_queue: usize, Count = 64, 1 => 65_536;
        "batches of log lines waiting for the writer; above it lines are dropped and counted"
    "limits.metrics_pages" metrics_pages: u32, Count = 16, 0 => 1024;
        "pages of the metrics listener that may be open at once; a further one is answered 503"
    "limits.otlp_interval" otlp_interval: Duration, Time = 10 * SECOND, 100 => HOUR;
        "time between two exports of metrics to the collector"
    "limits.otlp_traces" otlp_traces: u32, Count = 10, 0 => 1_000_000;
        "traces that a worker begins in a second, for requests that continue none"
    "limits.otlp_spans" otlp_spans: u32, Count = 1000, 0 => 1_000_000;
        "spans that a worker records in a second; further ones are dropped and counted"
    "limits.otlp_queue" otlp_queue: usize, Count = 4096, 1 => 1_048_576;
        "spans waiting for the collector; further ones are dropped and counted"
    "limits.cache_bytes" cache_bytes: usize, Bytes = 64 * MIB, 0 => 64 * GIB;
        "bytes of file contents that each worker keeps in memory"
    "limits.cache_file_bytes" cache_file_bytes: usize, Bytes = 2 * MIB, 0 => GIB;
        "size of the largest file that is kept in memory"
    "limits.tags" tags: usize, Count = 16_384, 0 => 16_777_216;
        "entity tags of the content that are kept for larger files; 0 leaves them tags of inode and times"
    "limits.tag_rate" tag_rate: u64, Rate = 64 * MIB, 0 => 64 * GIB;
        "bytes a second of such files that are read in the background, one file at a time, each once; 0 is none"
    "lifecycle.generations" generations: u8, Count = 4, 1 => 8;
        "processes that may serve at once while they replace one another (USR2), the newest included"
    "lifecycle.start_timeout" start_timeout: Duration, Time = 30 * SECOND, SECOND => 10 * MINUTE;
        "time in which a new process has to be ready; the old one goes on serving otherwise"
    "lifecycle.probation" probation: Duration, Time = 10 * SECOND, 0 => 10 * MINUTE;
        "time for which the old process takes everything back should the new one end"
    "lifecycle.replace_timeout" replace_timeout: Duration, Time = 10 * MINUTE, 0 => 24 * HOUR;
        "time that the connections of a replaced process have to end by themselves"
    "lifecycle.drain_delay" drain_delay: Duration, Time = 0, 0 => 10 * MINUTE;
        "time for which all is served as before once the server is told to stop, while /readyz answers 503"
    "lifecycle.forward_bytes" forward_bytes: usize, Bytes = 4 * MIB, 256 * KIB => 64 * MIB;
        "bytes of QUIC datagrams that may wait for each worker of a replaced process; the kernel may grant less"
    "lifecycle.half_open" half_open: usize, Count = 16_384, 0 => 1 << 20;
        "QUIC handshakes under way that a process hands over as it is replaced"
    "http2.streams" h2_streams: u32, Count = 100, 1 => 32_000;
        "requests that a client may have open at once on a connection"
    "http2.stream_window" h2_stream_window: u32, Bytes = 65_535, 0 => 0x7fff_ffff;
        "bytes of a request body that may come before a handler takes them"
    "http2.stream_window_max" h2_stream_window_max: u32, Bytes = MIB, 65_535 => 0x7fff_ffff;
        "bytes to which that window is raised while a handler keeps taking them"
    "http2.connection_window" h2_connection_window: u32, Bytes = MIB, 65_535 => 0x7fff_ffff;
        "bytes of all request bodies of a connection that may come before they are taken"
    "http2.unsent_bytes" h2_unsent_bytes: u32, Bytes = 128 * KIB, 4 * KIB => GIB;
        "bytes that the kernel may hold unsent for a connection over TLS or h2c, which nothing more urgent overtakes"
    "http2.frame_bytes" h2_frame_bytes: u32, Bytes = 16 * KIB, 16 * KIB => 16_777_215;
        "largest frame that is accepted"
    "http2.table_bytes" h2_table_bytes: u32, Bytes = 4 * KIB, 0 => 64 * KIB;
        "bytes of each connection's header compression tables"
    "http2.pushes" h2_pushes: u16, Count = 0, 0 => 256;
        "pushed streams that a connection may have open at once; 0 is no push at all"
    "http2.settings_timeout" h2_settings_timeout: Duration, Time = 10 * SECOND, 10 => HOUR;
        "time in which a client has to acknowledge the settings"
    "http2.ping_interval" h2_ping_interval: Duration, Time = 0, 0 => HOUR;
        "silence after which a client is asked whether it lives; 0 is never"
    "http2.ping_timeout" h2_ping_timeout: Duration, Time = 10 * SECOND, 10 => HOUR;
        "time in which it has to answer"
    "http2.stall_timeout" h2_stall_timeout: Duration, Time = RATE_WINDOW, 10 => HOUR;
        "time for which a response may wait for the client's window, which opens at less than limits.write_rate"
    "http2.resets" h2_resets: u16, Count = 500, 1 => 65_535;
        "streams that a client may cancel in a burst, and a tenth of it each second"
    "http2.pings" h2_pings: u16, Count = 1000, 1 => 65_535;
        "PINGs in a burst, and a tenth of it each second"
    "http2.settings" h2_settings: u16, Count = 32, 1 => 65_535;
        "SETTINGS in a burst, and a tenth of it each second"
    "http2.priorities" h2_priorities: u16, Count = 1000, 1 => 65_535;
        "changes of priority in a burst, and a tenth of it each second"
    "http2.window_updates" h2_window_updates: u16, Count = 10_000, 1 => 65_535;
        "WINDOW_UPDATEs in a burst, and a tenth of it each second"
    "http2.continuations" h2_continuations: u8, Count = 8, 0 => 255;
        "CONTINUATION frames of one header block that are shorter than 16 KiB"
    "http3.streams" h3_streams: u16, Count = 100, 1 => 32_000;
        "requests that a client may have open at once on a connection"
    "http3.stream_window" h3_stream_window: u64, Bytes = 64 * KIB, KIB => GIB;
        "bytes of a request body that may come before a handler takes them"
    "http3.connection_window" h3_connection_window: u64, Bytes = MIB, 64 * KIB => 4 * GIB;
        "bytes of all request bodies of a connection that may come before they are taken"
    "http3.fragments" h3_fragments: u32, Count = 8192, 1024 => 16_777_215;
        "fragments, under 512 bytes or out of order, in which content may wait to be read; more closes the connection"
    "http3.table_bytes" h3_table_bytes: u32, Bytes = 4 * KIB, 0 => 65_535;
        "bytes of each connection's header compression tables"
    "http3.blocked_streams" h3_blocked_streams: u16, Count = 16, 0 => 1024;
        "requests of a connection that may wait for entries of its table"
    "http3.stall_timeout" h3_stall_timeout: Duration, Time = RATE_WINDOW, 10 => HOUR;
        "time for which a response may wait for its client, which takes nothing, or all responses at less than limits.write_rate"
    "http3.retry_from" h3_retry_from: u32, Count = 100, 0 => 16_777_215;
        "unfinished handshakes from which clients must show that they own their address; 0: always"
    "http3.answers" h3_answers: u32, Count = 1000, 1 => 1_000_000;
        "version negotiations, and stateless resets, that a worker sends in a second"
    "http3.initial_window" h3_initial_window: u16, Count = 10, 1 => 1000;
        "datagrams that are sent before the first acknowledgement"
    "http3.datagram_bytes" h3_datagram_bytes: u16, Bytes = 1452, 1200 => 16 * KIB;
        "largest datagram that is sent, where the path takes it"
    "http3.receive_bytes" h3_receive_bytes: usize, Bytes = 4 * MIB, 256 * KIB => GIB;
        "bytes of each worker's receive buffers, 64 KiB each; their number is a power of two"
    "http3.send_bytes" h3_send_bytes: usize, Bytes = 2 * MIB, 512 * KIB => GIB;
        "bytes of datagrams that each worker may have with the kernel's sockets at once"
    "http3.socket_bytes" h3_socket_bytes: usize, Bytes = 4 * MIB, 64 * KIB => GIB;
        "bytes of each UDP socket's buffers in the kernel, which may allow less"
    "http3.forward_queue" h3_forward_queue: usize, Count = 1024, 1 => 65_536;
        "datagrams of clients that have moved that may wait for their worker; more are dropped"
    "http3.alt_svc_age" h3_alt_svc_age: Duration, Time = 24 * HOUR, SECOND => 365 * 24 * HOUR;
        "time for which clients may remember that there is HTTP/3"
    "http3.alt_svc_share" h3_alt_svc_share: u8, Count = 100, 0 => 100;
        "connections in a hundred that are told of HTTP/3"
}

impl Limits {
    /// The minimum number of octets that a client must take in `window`; at least 1.
    pub(crate) fn least_taken(&self, window: Duration) -> u64 {
        least(self.write_rate, window).max(1)
    }
}

/// The number of octets at `rate`, in octets a second, in `time`.
pub(crate) fn least(rate: u64, time: Duration) -> u64 {
    rate.saturating_mul(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F9: one window for every protocol, of a minute.
    #[test]
    fn f9_rates_are_averages_over_a_minute() {
        let limits = Limits::default();
        let window = Duration::from_secs(60);
        let Limits { rate_grace, h2_stall_timeout, h3_stall_timeout, .. } = limits;
        assert_eq!([rate_grace, h2_stall_timeout, h3_stall_timeout], [window; 3]);
        assert_eq!(limits.least_taken(window), 14_400);
        assert_eq!(Limits { write_rate: 0, ..limits }.least_taken(window), 1);
    }

    #[test]
    fn every_default_is_in_its_range_and_every_range_fits_its_field() {
        let mut limits = Limits::default();
        for row in Limits::TABLE {
            assert!(row.min <= row.default && row.default <= row.max, "{}", row.key);
            assert_eq!(row.of(&limits), row.default, "{}", row.key);
            for amount in [row.min, row.max] {
                (row.write)(&mut limits, amount);
                assert_eq!(row.of(&limits), amount, "{} cannot hold its range", row.key);
            }
        }
    }

    #[test]
    fn keys_are_unique_and_name_a_block() {
        let mut keys: Vec<_> = Limits::TABLE.iter().map(|row| row.key).collect();
        assert!(keys.iter().all(|key| key.split('.').count() == 2));
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), Limits::TABLE.len());
    }

    #[test]
    fn the_documented_defaults() {
        let limits = Limits::default();
        assert_eq!(limits.header_bytes, 32 * 1024);
        assert_eq!(limits.header_fields, 100);
        assert_eq!(limits.request_line, 8 * 1024);
        assert_eq!(limits.body_bytes, 1024 * 1024);
        assert_eq!(limits.header_timeout, Duration::from_secs(10));
        assert_eq!(limits.idle_timeout, Duration::from_secs(60));
    }
}
