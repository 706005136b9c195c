//! Signals: TERM and INT drain, a second one ends at once, QUIT prints what every worker is doing,
//! USR1 opens the access log's file again, HUP loads the configuration and the certificates again,
//! and opens the served directories again, USR2 replaces the process by a new one.

use std::thread::JoinHandle;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::{Handle, Signals as Pending};

use crate::app::error::Error;

/// The signals that have come, and will.
pub(super) struct Signals(Pending);

/// The thread that waits for them; it ends with this.
pub(super) struct Listening {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Signals {
    /// Queues signals from here on. Called before anything is printed, because a reader may stop
    /// the server at once.
    pub(super) fn listen() -> Result<Self, Error> {
        let all = [SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGHUP];
        Pending::new(all).map(Self).map_err(Error::Worker)
    }

    /// Tells each to `tell`, on a thread of its own.
    pub(super) fn forward(
        mut self,
        tell: impl Fn(i32) + Send + 'static,
    ) -> Result<Listening, Error> {
        let handle = self.0.handle();
        let body = move || self.0.forever().for_each(tell);
        let builder = std::thread::Builder::new().name("ringway-signals".into());
        let thread = Some(builder.spawn(body).map_err(Error::Worker)?);
        Ok(Listening { handle, thread })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // It cannot panic: it only tells.
            let _ = thread.join();
        }
    }
}
