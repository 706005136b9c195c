//! What is told of the server's life: when it started, whether it drains, and its last reload.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::replacements::Replacements;

/// The life of a server as its page and its metrics tell it.
pub(crate) struct Lifecycle {
    began: Instant,
    leaving: AtomicBool,
    draining: AtomicBool,
    last_reload: Mutex<Option<LastReload>>,
    pub(crate) replacements: Replacements,
    /// The last configuration was refused.
    is_refused: AtomicBool,
}

/// The last reload and what came of it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LastReload {
    /// Seconds since 1970.
    at: f64,
    of: ReloadKind,
    ok: bool,
    /// Why it was not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// What was loaded again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ReloadKind {
    /// The certificates: their files have changed, or the server was told.
    Certificates,
    /// The configuration: the server was told.
    Configuration,
}

impl Lifecycle {
    /// Of a server that starts now, after so many replacements.
    pub(crate) fn begin(replacements: Replacements) -> Self {
        Self {
            began: Instant::now(),
            leaving: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            last_reload: Mutex::new(None),
            replacements,
            is_refused: AtomicBool::new(false),
        }
    }

    /// A reload is over; `Err` says why the former stay in use.
    pub(crate) fn reloaded(&self, of: ReloadKind, result: Result<(), String>) {
        if of == ReloadKind::Configuration {
            self.is_refused.store(result.is_err(), Ordering::Relaxed);
        }
        let reload = LastReload { at: unix_seconds(), of, ok: result.is_ok(), why: result.err() };
        *self.last_reload.lock().unwrap_or_else(PoisonError::into_inner) = Some(reload);
    }

    /// The server is about to end; it serves as before for now.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether it is about to end.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// The server drains from now on.
    pub(crate) fn drain(&self) {
        self.leave();
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether it drains.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether the configuration that was loaded last is in use.
    pub(super) fn is_config_used(&self) -> bool {
        !self.is_refused.load(Ordering::Relaxed)
    }

    /// Whole seconds since the start.
    pub(super) fn uptime(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    pub(super) fn last_reload(&self) -> Option<LastReload> {
        self.last_reload.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl LastReload {
    /// Whole seconds since 1970.
    pub(super) fn unix(&self) -> u64 {
        self.at as u64
    }

    pub(super) fn is_ok(&self) -> bool {
        self.ok
    }
}

/// Seconds since 1970, in whole milliseconds.
pub(super) fn unix_seconds() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as f64 / 1e3
}
