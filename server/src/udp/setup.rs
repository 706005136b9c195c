//! Builds a worker's QUIC from the configuration: transport settings, policy, keys, HTTP/3
//! settings.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ringway_codec::h3;
use ringway_codec::qpack;
use ringway_codec::scan::Backend;
use ringway_quic::cid::Origin;
use ringway_quic::endpoint::{Drop, QlogOpener, Totals};
use ringway_quic::{Endpoint, Keys, Policy, Settings, http, steering};

use super::{BoundSocket, Forwarder, Generations, Older, Reading, Replies, Socket, Stage, Udp};
use crate::app::error::Error;
use crate::config::{Http3Config, Limits};
use crate::observe::metrics::Counters;
use crate::proto::state::WorkerState;
use crate::ring::sys;
use crate::rt::console::note;
use crate::tls::{ConfigError, Tls, boring};

/// Everything that a worker's thread needs to start QUIC.
pub(crate) struct Setup {
    pub(crate) worker: u8,
    pub(crate) workers: usize,
    /// Some workers receive for all: they spread new connections.
    pub(crate) spreads: bool,
    pub(crate) generation: u16,
    /// Processes that were replaced and still serve.
    pub(crate) older: Arc<Older>,
    /// One for each listener, or several that another process had for more workers.
    pub(crate) sockets: Vec<Socket>,
    /// How many sockets all workers have on each address.
    pub(crate) groups: Arc<HashMap<SocketAddr, u16>>,
    pub(crate) http3: Http3Config,
    pub(crate) tls: Tls,
    /// Of [`config`].
    pub(crate) config: ringway_quic::Config,
    pub(crate) forwarder: Arc<Forwarder>,
    pub(crate) qlog: Option<PathBuf>,
    /// Whether it begins to read at once, or when it is told.
    pub(crate) reads: bool,
}

/// The transport's configuration. Certificates are looked up for each handshake, so it survives a
/// reload.
pub(crate) fn config(
    tls: &Tls,
    limits: &Limits,
    http3: &Http3Config,
) -> Result<ringway_quic::Config, Error> {
    let made = settings(limits, http3).config(boring::context(tls)?);
    made.map_err(|error| ConfigError::general(format!("QUIC: {error}")).into())
}

/// A random number for this process, to tell its connection IDs from those of its predecessor.
pub(crate) fn generation() -> u16 {
    let mut bytes = [0; 2];
    // If two processes share a number, stray datagrams are forwarded once more; nothing else
    // happens.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u16::from_le_bytes(bytes)
}

fn settings(limits: &Limits, http3: &Http3Config) -> Settings {
    Settings {
        idle_timeout: limits.idle_timeout,
        handshake_timeout: limits.handshake_timeout,
        stream_window: limits.h3_stream_window,
        connection_window: limits.h3_connection_window,
        streams: limits.h3_streams.into(),
        datagram_bytes: limits.h3_datagram_bytes,
        initial_window: limits.h3_initial_window,
        congestion: http3.congestion,
        early_data: http3.early_data,
        migration: http3.migration,
        ..Settings::default()
    }
}

fn h3_config(backend: Backend, limits: &Limits) -> h3::Config {
    let fields =
        qpack::FieldLimits { list_bytes: limits.header_bytes, fields: limits.header_fields.into() };
    h3::Config {
        fields,
        trailer_fields: limits.trailer_fields.into(),
        qpack_capacity: limits.h3_table_bytes,
        qpack_blocked: limits.h3_blocked_streams,
        qpack_encoder_capacity: limits.h3_table_bytes,
        streams: limits.h3_streams.into(),
        ..h3::Config::new(backend)
    }
}

impl Setup {
    /// The worker's QUIC, on its own thread.
    pub(crate) fn build(self, state: &WorkerState) -> Udp {
        let limits = state.limits();
        let origin = Origin { worker: self.worker, generation: self.generation };
        let policy = Policy {
            connections: limits.connections as usize,
            retry_from: limits.h3_retry_from as usize,
            handshake_timeout: limits.handshake_timeout,
            answers_per_second: limits.h3_answers,
            fragments: limits.h3_fragments,
            spread: if self.spreads { self.workers as u16 } else { 0 },
            predecessors: self.older.predecessors(),
            ..Policy::new(origin)
        };
        let keys = Keys::derive(&self.tls.tickets().endpoint());
        let mut endpoint = Endpoint::new(policy, self.config, &keys, state.instant());
        endpoint.tick(state.unix_s());
        if let Some(dir) = self.qlog {
            endpoint.write_qlog(opener(dir));
        }
        if self.http3.steering && self.worker == 0 && !self.spreads {
            for socket in &self.sockets {
                let sockets = self.groups.get(&socket.local).copied().unwrap_or(1);
                let program = steering::program(endpoint.steering(), sockets);
                if let Err(error) = sys::steer(&socket.fd, &program) {
                    note!("the kernel takes no filter for QUIC, workers forward: {error}");
                }
            }
        }
        let mut shared = http::Shared::new(h3_config(state.backend(), limits));
        bound(&mut shared, limits);
        let unarmed = |socket| BoundSocket { socket, receiving: false };
        Udp {
            worker: self.worker,
            sockets: self.sockets.into_iter().map(unarmed).collect(),
            endpoint,
            shared,
            tls: self.tls,
            forwarder: self.forwarder,
            forwarded: Vec::new(),
            touched: Vec::new(),
            ids: Vec::new(),
            replies: Replies::default(),
            idle_timeout: limits.idle_timeout,
            sweep_at: None,
            stage: Stage::Open,
            gentle: false,
            generations: Generations::new(self.generation, self.older),
            reading: if self.reads { Reading::On } else { Reading::Off },
            said_unsplit: false,
        }
    }
}

fn bound(shared: &mut http::Shared, limits: &Limits) {
    shared.header_timeout = limits.header_timeout;
    shared.stall_timeout = limits.h3_stall_timeout;
    shared.stall_octets = limits.least_taken(limits.h3_stall_timeout);
    shared.read_ahead = limits.h3_stream_window as usize;
}

impl Udp {
    /// The transport of connections that begin from now on.
    pub(crate) fn use_config(&mut self, config: ringway_quic::Config) {
        self.endpoint.replace_config(config);
    }

    /// Holds to the worker's bounds: at once, but for what clients were told when they came.
    pub(crate) fn use_limits(&mut self, state: &WorkerState) {
        let limits = state.limits();
        self.idle_timeout = limits.idle_timeout;
        self.endpoint.bound(limits.h3_retry_from as usize, limits.h3_fragments);
        self.shared.h3.config = h3_config(state.backend(), limits);
        bound(&mut self.shared, limits);
    }
}

/// Makes a file for each connection, named by its first connection ID.
fn opener(dir: PathBuf) -> QlogOpener {
    Box::new(move |cid| {
        let name: String = cid.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = dir.join(name).with_extension("sqlog");
        match File::create(&path) {
            Ok(file) => {
                let writer: Box<dyn Write + Send + Sync> = Box::new(BufWriter::new(file));
                Some(writer)
            }
            Err(error) => {
                note!("no qlog in {}: {error}", path.display());
                None
            }
        }
    })
}

/// Copies an endpoint's counts.
pub(super) fn count(totals: &Totals, counters: &mut Counters) {
    counters.quic_retries = totals.retries;
    counters.quic_resets = totals.resets;
    counters.quic_negotiations = totals.version_negotiations;
    counters.quic_tokens_good = totals.tokens_good;
    counters.quic_tokens_bad = totals.tokens_forged + totals.tokens_expired;
    counters.quic_stalled = totals.stalled;
    counters.quic_batches = totals.batches;
    counters.quic_segments = totals.segments;
    for (to, reason) in [
        (&mut counters.quic_malformed, Drop::Malformed),
        (&mut counters.quic_short_initial, Drop::ShortInitial),
        (&mut counters.quic_unknown_cid, Drop::UnknownCid),
        (&mut counters.quic_unknown_long, Drop::UnknownLong),
        (&mut counters.quic_stray_negotiation, Drop::VersionNegotiation),
        (&mut counters.quic_rationed, Drop::Rationed),
        (&mut counters.quic_full, Drop::Full),
        (&mut counters.quic_draining, Drop::Draining),
        (&mut counters.quic_refused, Drop::Refused),
    ] {
        *to = totals.dropped[reason as usize];
    }
}
