//! The operator's transport settings with protective defaults, and their conversion into quiche's
//! configuration. Certificates, ticket keys and the key log are part of the TLS context instead.

use std::time::Duration;

use boring::ssl::SslContextBuilder;
use quiche::CongestionControlAlgorithm;

/// The only application protocol offered (RFC 9114 section 3.1).
pub const ALPN: &[u8] = b"h3";

/// Connection IDs that a peer may have at a time: the one in use, one for a path it moves to, and
/// two for paths it probes.
const CONNECTION_IDS: u64 = 4;

/// Unidirectional streams a client may open: control, QPACK encoder and decoder, and some of
/// unknown types, which must be tolerated (RFC 9114 section 6.2).
const UNI_STREAMS: u64 = 16;

/// Unidirectional streams carry settings and QPACK instructions, never bodies.
const UNI_STREAM_WINDOW: u64 = 16 * 1024;

/// Congestion control algorithms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// CUBIC (RFC 9438), unpaced.
    #[default]
    Cubic,
    /// BBR version 2, paced.
    Bbr2,
    /// NewReno (RFC 9002), unpaced.
    Reno,
}

/// Transport settings of an endpoint.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Idle timeout of a connection.
    pub idle_timeout: Duration,
    /// Time limit of a handshake.
    pub handshake_timeout: Duration,
    /// Bytes a client may send on a request stream before they are read.
    pub stream_window: u64,
    /// Bytes a client may send on all streams before they are read.
    pub connection_window: u64,
    /// Requests a client may have open at a time.
    pub streams: u64,
    /// The largest datagram to send, payload bytes. 1,452 fits an Ethernet frame under IPv6.
    pub datagram_bytes: u16,
    /// Probe for the path's real size, starting from 1,200 bytes, up to `datagram_bytes` (RFC
    /// 8899).
    pub discover_size: bool,
    /// Datagrams of the first flight (RFC 9002 section 7.2 recommends 10).
    pub initial_window: u16,
    /// Congestion control.
    pub congestion: Congestion,
    /// Accept 0-RTT data.
    pub early_data: bool,
    /// Allow active migration to another address. A NAT may still move clients.
    pub migration: bool,
    /// Send unknown values where the RFCs reserve them, so that peers keep tolerating them.
    pub grease: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            stream_window: 64 * 1024,
            connection_window: 1024 * 1024,
            streams: 100,
            datagram_bytes: 1452,
            discover_size: true,
            initial_window: 10,
            congestion: Congestion::default(),
            early_data: true,
            migration: true,
            grease: true,
        }
    }
}

/// The configuration of an endpoint's connections: quiche's, and the values that cannot be read
/// back from it.
pub struct Config {
    pub(crate) quic: quiche::Config,
    pub(crate) idle_timeout: Duration,
    /// Initial stream limits of a client, by direction.
    pub(crate) streams: Streams,
}

/// Numbers of streams, by direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams {
    pub(crate) bidi: u64,
    pub(crate) uni: u64,
}

impl Config {
    /// quiche's configuration, for options that [`Settings`] does not cover.
    pub fn quic(&mut self) -> &mut quiche::Config {
        &mut self.quic
    }
}

impl Settings {
    /// The configuration with these settings around `tls`, which holds the certificates and every
    /// callback. Fails when BoringSSL does.
    pub fn config(&self, tls: SslContextBuilder) -> Result<Config, quiche::Error> {
        let mut config =
            quiche::Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, tls)?;
        self.apply(&mut config)?;
        config.set_disable_active_migration(!self.migration);
        config.set_initial_max_streams_bidi(self.streams);
        config.set_initial_max_stream_data_bidi_remote(self.stream_window);
        // A server opens no bidirectional streams, so this window is unused.
        config.set_initial_max_stream_data_bidi_local(0);
        let streams = Streams { bidi: self.streams, uni: UNI_STREAMS };
        Ok(Config { quic: config, idle_timeout: self.idle_timeout, streams })
    }

    /// Settings for both sides of a connection.
    fn apply(&self, config: &mut quiche::Config) -> Result<(), quiche::Error> {
        config.set_application_protos(&[ALPN])?;
        config.set_max_idle_timeout(self.idle_timeout.as_millis() as u64);
        config.set_initial_max_data(self.connection_window);
        config.set_max_connection_window(self.connection_window.max(MAX_CONNECTION_WINDOW));
        config.set_max_stream_window(self.stream_window.max(MAX_STREAM_WINDOW));
        config.set_initial_max_stream_data_uni(UNI_STREAM_WINDOW);
        config.set_initial_max_streams_uni(UNI_STREAMS);
        config.set_active_connection_id_limit(CONNECTION_IDS);
        config.set_max_send_udp_payload_size(usize::from(self.datagram_bytes));
        config.set_max_recv_udp_payload_size(65_527);
        config.discover_pmtu(self.discover_size);
        config.set_initial_congestion_window_packets(usize::from(self.initial_window));
        config.set_cc_algorithm(match self.congestion {
            Congestion::Cubic => CongestionControlAlgorithm::CUBIC,
            Congestion::Bbr2 => CongestionControlAlgorithm::Bbr2Gcongestion,
            Congestion::Reno => CongestionControlAlgorithm::Reno,
        });
        config.grease(self.grease);
        if self.early_data {
            config.enable_early_data();
        }
        Ok(())
    }
}

/// quiche grows the window of a stream that is read promptly, which uploads over long paths need.
/// These are the maxima.
const MAX_STREAM_WINDOW: u64 = 1024 * 1024;
const MAX_CONNECTION_WINDOW: u64 = 4 * 1024 * 1024;
