//! When a changed value takes effect in a server that is told to load its configuration again.

/// When a changed value takes effect in a server that is told to load its configuration again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// At once.
    AtOnce,
    /// For connections that begin from then on.
    NewConnections,
    /// At the next start.
    NextStart,
}

/// What the kernel, a ring or a thread was given at the start.
const NEXT_START: [&str; 39] = [
    "http",
    "https",
    "h2c",
    "metrics",
    "metrics_hosts",
    "health",
    "otlp",
    "workers",
    "cpus",
    "simd",
    "qlog",
    "tls.ticket_key",
    "tls.min_version",
    "tls.client_ca",
    "tls.misdirected",
    "tls.key_log",
    "http3.enabled",
    "http3.required",
    "http3.alt_svc",
    "http3.steering",
    "limits.connections",
    "limits.handshakes",
    "limits.blocking_threads",
    "limits.blocking_queue",
    "limits.metrics_pages",
    "limits.otlp_interval",
    "limits.otlp_traces",
    "limits.otlp_spans",
    "limits.otlp_queue",
    "limits.tags",
    "limits.tag_rate",
    "http2.unsent_bytes",
    "http3.receive_bytes",
    "http3.send_bytes",
    "http3.socket_bytes",
    "http3.forward_queue",
    "http3.answers",
    "http3.alt_svc_age",
    "http3.alt_svc_share",
];

/// When a changed value of `key`, which stands in `block`, takes effect.
pub(super) fn of(key: &str, block: &str) -> Applies {
    match block {
        _ if NEXT_START.contains(&key) => Applies::NextStart,
        "engine" | "lifecycle" => Applies::NextStart,
        "http2" | "http3" => Applies::NewConnections,
        _ => Applies::AtOnce,
    }
}
