//! The manual, a page a chapter; the same pages lie in `server/manual/` of the repository.
//!
//! * [Getting started](getting_started): build it, serve a directory, a browser with HTTP/3
//! * [Embedding](embedding): handlers, routes, bodies, tests, tower
//! * [TLS](tls): certificates, tickets, 421
//! * [HTTP/3](http3): UDP, firewalls, early data, clients that move
//! * [Static files](static_files): caching, compression, ranges
//! * [Sites](sites): many hosts, redirects, error pages, fields
//! * [Moving from nginx or Caddy](moving): what is made of their files, what differs
//! * [Operating](operating): signals, limits, containers
//! * [Replacement](replacement): another version or configuration without a lost request
//! * [Metrics](metrics): the page, what to watch, who may read them, OpenTelemetry
//! * [Access log](access_log): formats, syslog, journal, samples, privacy
//! * [Privileges](privileges): another user, the sandbox
//! * [Tuning](tuning): kernel and hardware
//! * [Performance](performance): how to measure, what the figures mean
//! * [From HTTP/1.1 to HTTP/3](http1_to_http3): what each protocol buys
//! * [aarch64]
//! * [Configuration](configuration): every key
//! * [Features](features) and [attacks], with the tests that show them

/// Where links between pages lead here: in Markdown the first definition of a name holds, and the
/// pages' own, which lead to files, stand at their ends.
macro_rules! definitions {
    () => {
        "[getting-started.md]: crate::manual::getting_started
[embedding.md]: crate::manual::embedding
[tls.md]: crate::manual::tls
[http3.md]: crate::manual::http3
[static-files.md]: crate::manual::static_files
[sites.md]: crate::manual::sites
[moving.md]: crate::manual::moving
[operating.md]: crate::manual::operating
[metrics.md]: crate::manual::metrics
[replacement.md]: crate::manual::replacement
[access-log.md]: crate::manual::access_log
[privileges.md]: crate::manual::privileges
[tuning.md]: crate::manual::tuning
[performance.md]: crate::manual::performance
[http1-to-http3.md]: crate::manual::http1_to_http3
[aarch64.md]: crate::manual::aarch64
[attacks.md]: crate::manual::attacks
[features.md]: crate::manual::features
[../CONFIGURATION.md]: crate::manual::configuration
"
    };
}

macro_rules! pages {
    ($($name:ident $file:literal)*) => { $(
        #[doc = definitions!()]
        #[doc = include_str!($file)]
        pub mod $name {}
    )* };
}

pages! {
    getting_started "getting-started.md"
    embedding "embedding.md"
    tls "tls.md"
    http3 "http3.md"
    static_files "static-files.md"
    sites "sites.md"
    moving "moving.md"
    operating "operating.md"
    metrics "metrics.md"
    replacement "replacement.md"
    access_log "access-log.md"
    privileges "privileges.md"
    tuning "tuning.md"
    performance "performance.md"
    http1_to_http3 "http1-to-http3.md"
    aarch64 "aarch64.md"
    configuration "../CONFIGURATION.md"
    attacks "attacks.md"
    features "features.md"
}

/// The example in the README is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
