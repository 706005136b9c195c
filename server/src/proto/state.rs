//! A worker's state that its connections borrow during events: clock, date, buffers, tasks, and
//! lists of pending work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use ringway_codec::Time;
use ringway_codec::date::Date;
use ringway_codec::field::{Field, Known};
use ringway_codec::h1::{request, response};
use ringway_codec::h2;
use ringway_codec::scan::Backend;

use super::ip_limits::IpLimits;
use super::{self as proto, Action, Common, Context, Heads, Leaving};
use crate::app::handler::Handler;
use crate::app::response::Response;
use crate::config::{Http2Config, Limits};
use crate::files;
use crate::observe::log::Log;
use crate::observe::metrics::{Published, Tally};
use crate::observe::trace::Tracer;
use crate::ring;
use crate::ring::token::Id;
use crate::rt::console::note;
use crate::rt::executor::{Executor, TaskOwner};
use crate::rt::pool::Pool;
use crate::rt::thread_state;

/// The state that a worker lends to its connections.
pub(crate) struct WorkerState {
    worker: u32,
    app: Arc<dyn Handler>,
    limits: Limits,
    /// See [`Context::soon`].
    soonest: Duration,
    backend: Backend,
    clock: Clock,
    common: Vec<Common>,
    /// The Strict-Transport-Security policy (RFC 6797), if any.
    pub(crate) hsts: Option<HeaderValue>,
    heads: Heads,
    fields: Vec<Field>,
    scratch: Vec<u8>,
    h2: h2::Shared,
    pool: Pool,
    executor: Executor<Response>,
    answers: Vec<(TaskOwner, Response)>,
    pub(crate) actions: Vec<(Id, Action)>,
    dirty: Vec<Id>,
    pub(crate) tally: Tally,
    published: Option<Arc<Published>>,
    publish_at: Option<Time>,
    log: Option<Log>,
    pub(crate) trace: Option<Box<Tracer>>,
    pub(crate) leaving: Leaving,
    /// Number of connections per address.
    pub(crate) ip_limits: IpLimits,
    h2c_upgrade: bool,
}

impl WorkerState {
    pub(crate) fn new(
        worker: u32,
        app: Arc<dyn Handler>,
        limits: Limits,
        backend: Backend,
        executor: Executor<Response>,
        log: Option<Log>,
        published: Option<Arc<Published>>,
    ) -> Self {
        let fields = Vec::with_capacity(usize::from(limits.header_fields) + 1);
        let h2 = h2::Shared::new(backend, h2_config(&limits));
        let soonest = proto::soonest(&limits);
        let ip_limits = IpLimits::new(&limits);
        let mut state = Self {
            worker,
            app,
            limits,
            soonest,
            backend,
            clock: Clock::new(),
            common: vec![Common::default()],
            hsts: None,
            heads: Heads::default(),
            fields,
            scratch: Vec::with_capacity(16 * 1024),
            h2,
            pool: Pool::default(),
            executor,
            answers: Vec::new(),
            actions: Vec::new(),
            dirty: Vec::new(),
            tally: Tally::default(),
            published,
            publish_at: None,
            log,
            trace: None,
            leaving: Leaving::No,
            ip_limits,
            h2c_upgrade: true,
        };
        state.refresh_second();
        state.advertise(&[]);
        thread_state::with(|thread| thread.tick(state.clock.now));
        state
    }

    /// Sets which optional parts of HTTP/2 are enabled.
    pub(crate) fn speak(&mut self, http2: &Http2Config) {
        self.h2c_upgrade = http2.upgrade;
        self.h2.config.rfc7540_priorities = http2.priority_tree;
    }

    /// Sets the Alt-Svc values that announce HTTP/3 over TLS (RFC 7838). Responses of
    /// [`CommonKind::OVER_TLS`](super::CommonKind) carry none; `CommonKind::with_alt_svc(n)` stands
    /// for the value at `n`.
    pub(crate) fn advertise(&mut self, alt_svc_values: &[String]) {
        self.common.truncate(1);
        let mut secure = self.common[0].fields.clone();
        if let Some(hsts) = &self.hsts {
            secure.push((Known::StrictTransportSecurity, hsts.as_bytes().to_vec()));
        }
        self.common.push(Common { lines: Vec::new(), fields: secure.clone() });
        for value in alt_svc_values {
            let mut fields = secure.clone();
            fields.push((Known::AltSvc, value.clone().into_bytes()));
            self.common.push(Common { lines: Vec::new(), fields });
        }
        self.refresh_second();
        // Heads made with other fields in this second.
        self.heads = Heads::default();
    }

    /// The worker's number.
    pub(crate) fn number(&self) -> u32 {
        self.worker
    }

    /// Has `app` answer the requests that begin from now on.
    pub(crate) fn use_app(&mut self, app: Arc<dyn Handler>) {
        self.app = app;
    }

    /// Has this log take the lines from now on.
    pub(crate) fn use_log(&mut self, log: Option<Log>) {
        let former = std::mem::replace(&mut self.log, log);
        if let (Some(log), Some(mut former)) = (&mut self.log, former) {
            log.succeed(&mut former);
        }
        if let Some(log) = &mut self.log {
            log.set_clock(self.clock.unix_micros, self.clock.now);
        }
    }

    /// Holds to other bounds; the number of connections is what its tables were made for.
    pub(crate) fn use_limits(&mut self, limits: Limits) {
        let connections = self.limits.connections;
        self.limits = Limits { connections, ..limits };
        self.soonest = proto::soonest(&self.limits);
        self.ip_limits.bound(&self.limits);
        self.h2.set_config(h2_config(&self.limits));
    }

    /// The turn's time.
    pub(crate) fn now(&self) -> Time {
        self.clock.now
    }

    /// The turn's time as an `Instant`.
    pub(crate) fn instant(&self) -> Instant {
        self.clock.origin + Duration::from_micros(self.clock.now.0)
    }

    /// Converts a time of the system's clock, rounded up.
    pub(crate) fn time_of(&self, at: Instant) -> Time {
        let since = at.saturating_duration_since(self.clock.origin);
        Time(since.as_nanos().div_ceil(1000) as u64)
    }

    /// Seconds since 1970, as in the date.
    pub(crate) fn unix_s(&self) -> u64 {
        self.clock.date.unix() as u64
    }

    /// The vector instructions that the codecs use.
    pub(crate) fn backend(&self) -> Backend {
        self.backend
    }

    /// The limits.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Reads the clock; called once a turn.
    pub(crate) fn tick(&mut self) -> Time {
        if self.clock.tick() {
            self.refresh_second();
        }
        thread_state::with(|thread| thread.tick(self.clock.now));
        self.clock.now
    }

    /// Sets the time, for simulations and application tests.
    pub(crate) fn set_now(&mut self, now: Time) {
        self.clock.now = now;
        thread_state::with(|thread| thread.tick(now));
    }

    /// Number of live tasks.
    pub(crate) fn tasks(&self) -> usize {
        self.executor.len()
    }

    /// The context lent to a connection for one event.
    pub(crate) fn cx(&mut self) -> Context<'_> {
        Context {
            now: self.clock.now,
            soon: self.clock.now + self.soonest,
            limits: &self.limits,
            head_limits: request::Limits {
                request_line: self.limits.request_line,
                head: self.limits.header_bytes,
                fields: self.limits.header_fields,
            },
            backend: self.backend,
            app: &*self.app,
            common: &self.common,
            second: self.clock.date.unix() as u64,
            heads: &mut self.heads,
            leaving: self.leaving,
            // A connection that is to end does not become another one.
            h2c_upgrade: self.h2c_upgrade && self.leaving == Leaving::No,
            fields: &mut self.fields,
            scratch: &mut self.scratch,
            h2: &mut self.h2,
            pool: &mut self.pool,
            executor: &mut self.executor,
            actions: &mut self.actions,
            dirty: &mut self.dirty,
            tally: &mut self.tally,
            log: self.log.as_mut(),
            trace: self.trace.as_deref_mut(),
        }
    }

    /// Drops the data kept for a closed connection.
    pub(crate) fn forget(&mut self, id: Id) {
        if let Some(trace) = &mut self.trace {
            trace.forget(id);
        }
        if let Some(log) = &mut self.log {
            log.forget(id);
        }
    }

    /// True if metrics are served.
    pub(crate) fn is_measured(&self) -> bool {
        self.published.is_some()
    }

    /// Ends the turn: measures response times, and publishes the counters when due.
    pub(crate) fn end_turn(&mut self, ring: &ring::RingCounters) {
        if !self.is_measured() {
            return;
        }
        if self.tally.has_fresh() {
            self.tally.turn_ended(self.clock.now, self.clock.read());
        }
        let at = *self.publish_at.get_or_insert(self.clock.now + PUBLISH_EVERY);
        if at <= self.clock.now {
            self.publish(ring);
        }
    }

    /// Publishes the counters.
    pub(crate) fn publish(&mut self, ring: &ring::RingCounters) {
        let Some(published) = &self.published else { return };
        self.publish_at = None;
        let counters = &mut self.tally.counters;
        counters.submissions = ring.submissions;
        counters.enters = ring.enters;
        counters.queue_full = ring.queue_full;
        counters.overflows = ring.overflows;
        let cache = files::cache_counts();
        counters.cache_hits = cache.hits;
        counters.cache_checks = cache.checks;
        counters.cache_misses = cache.misses;
        published.publish(&self.tally, &self.h2.counters);
    }

    /// True if the counters are published at the end of this turn.
    pub(crate) fn is_publishing(&self) -> bool {
        self.publish_at.is_some_and(|at| at <= self.clock.now)
    }

    /// When the counters are published next.
    pub(crate) fn publish_deadline(&self) -> Option<Time> {
        self.publish_at
    }

    /// When waiting access log lines must be written.
    pub(crate) fn log_deadline(&self) -> Option<Time> {
        self.log.as_ref()?.deadline()
    }

    /// Writes the access log lines that have waited long enough.
    pub(crate) fn expire_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.expire(self.clock.now);
        }
    }

    /// Polls woken tasks; returns their answers with the owners.
    pub(crate) fn run_tasks(&mut self) -> Vec<(TaskOwner, Response)> {
        let answers = &mut self.answers;
        self.executor.run(|owner, response| answers.push((owner, response)));
        std::mem::take(&mut self.answers)
    }

    /// Prints the worker's counters and current state.
    pub(crate) fn report(
        &self,
        connections: usize,
        states: &BTreeMap<&str, usize>,
        ring: &ring::RingCounters,
    ) {
        let states: Vec<_> = states.iter().map(|(state, n)| format!("{n} {state}")).collect();
        note!(
            "worker {}: {connections} connections ({}), {} tasks, {} requests ({} refused), \
             {} enters, {} submissions, {} times queue full, {} completion overflows",
            self.worker,
            states.join(", "),
            self.executor.len(),
            self.tally.counters.requests,
            self.tally.counters.refused,
            ring.enters,
            ring.submissions,
            ring.queue_full,
            ring.overflows,
        );
    }

    /// Updates what changes every second: the date, and the wall clock of the log.
    fn refresh_second(&mut self) {
        if let Some(log) = &mut self.log {
            log.set_clock(self.clock.unix_micros, self.clock.now);
        }
        for Common { lines, fields } in &mut self.common {
            if fields.is_empty() {
                fields.extend([(Known::Server, b"ringway".to_vec()), (Known::Date, Vec::new())]);
            }
            lines.clear();
            for (known, value) in fields {
                if *known == Known::Date {
                    value.clear();
                    value.extend_from_slice(self.clock.date.imf());
                }
                response::field(lines, known.name().as_bytes(), value);
            }
        }
    }
}

/// Interval at which a busy worker publishes its counters.
const PUBLISH_EVERY: Duration = Duration::from_millis(10);

/// Maximum of `stall_octets`: many clients return their window in halves of 65,535 octets.
const STALL_MAX: u64 = 32_767;

/// HTTP/2's configuration, from the configured limits.
fn h2_config(limits: &Limits) -> h2::Config {
    let micros = |time: Duration| time.as_micros() as u64;
    let mut config = h2::Config {
        max_concurrent_streams: limits.h2_streams,
        stream_window: limits.h2_stream_window,
        stream_window_max: limits.h2_stream_window_max,
        connection_window: limits.h2_connection_window,
        max_frame_size: limits.h2_frame_bytes,
        max_header_list: limits.header_bytes,
        max_fields: limits.header_fields,
        max_trailers: limits.trailer_fields,
        header_table: limits.h2_table_bytes,
        encoder_table: limits.h2_table_bytes,
        output_bytes: limits.output_bytes,
        max_pushes: limits.h2_pushes,
        settings_timeout: micros(limits.h2_settings_timeout),
        ping_interval: micros(limits.h2_ping_interval),
        ping_timeout: micros(limits.h2_ping_timeout),
        stall_timeout: micros(limits.h2_stall_timeout),
        stall_octets: limits.least_taken(limits.h2_stall_timeout).min(STALL_MAX) as u16,
        header_timeout: micros(limits.header_timeout),
        ..h2::Config::default()
    };
    for (kind, burst) in [
        (h2::Kind::Reset, limits.h2_resets),
        (h2::Kind::Ping, limits.h2_pings),
        (h2::Kind::Settings, limits.h2_settings),
        (h2::Kind::Priority, limits.h2_priorities),
        (h2::Kind::WindowUpdate, limits.h2_window_updates),
    ] {
        config.budgets[kind] = h2::Budget { burst, per_second: burst.div_ceil(10) };
    }
    config.budgets.continuations = limits.h2_continuations;
    config
}

/// The worker's clock: read once a turn, the date written once a second.
struct Clock {
    origin: Instant,
    now: Time,
    date: Date,
    /// Microseconds since 1970 when the date was last written.
    unix_micros: u64,
    /// When the second shown by `date` is over.
    second_ends: Time,
}

impl Clock {
    fn new() -> Self {
        let mut clock = Self {
            origin: Instant::now(),
            now: Time::ZERO,
            date: Date::new(0),
            unix_micros: 0,
            second_ends: Time::ZERO,
        };
        clock.tick();
        clock
    }

    /// The current time, independent of the turn's.
    fn read(&self) -> Time {
        Time(self.origin.elapsed().as_micros() as u64)
    }

    /// Reads the time; true when the date has changed.
    fn tick(&mut self) -> bool {
        self.now = self.read();
        if self.now < self.second_ends {
            return false;
        }
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.second_ends = Time(self.now.0 + 1_000_000 - u64::from(unix.subsec_micros()));
        self.date = Date::new(unix.as_secs() as i64);
        self.unix_micros = unix.as_micros() as u64;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_bounds_has_the_defaults_of_the_codec() {
        let (ours, theirs) = (h2_config(&Limits::default()), h2::Config::default());
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }
}
