//! Signals, waited for by the thread that started the server: TERM and INT drain, a second one ends
//! at once, QUIT prints what every worker is doing, USR1 opens the access log's file again, HUP
//! loads the configuration and the certificates again, and opens the served directories again.

use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::notify;
use crate::app::error::Error;
use crate::config::Limits;
use crate::rt::console::note;
use crate::serve::handle::ServerHandle;

/// How often to check whether the workers have ended.
const LOOK: Duration = Duration::from_millis(20);

/// Queues signals for [`supervise`] from here on. Called before the addresses are printed, because
/// a reader may stop the server at once.
pub(crate) fn listen() -> Result<Signals, Error> {
    Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGHUP]).map_err(Error::Worker)
}

/// Waits until the server has ended and passes signals on to it. `reload` runs at HUP.
pub(crate) fn supervise(
    server: &ServerHandle,
    limits: &Limits,
    mut signals: Signals,
    mut reload: impl FnMut(&ServerHandle),
) -> Result<(), Error> {
    notify::serving(server);
    notify::watch(server)?;
    let mut draining = false;
    while !server.is_finished() {
        for signal in signals.pending() {
            match signal {
                SIGQUIT => server.report(),
                SIGHUP => {
                    notify::reloading();
                    crate::files::reopen();
                    reload(server);
                    notify::serving(server);
                }
                SIGUSR1 => server.reopen_log(),
                _ if draining => server.stop(),
                _ => {
                    draining = true;
                    notify::stopping(limits);
                    note!("draining: finishing what is in flight; signal again to end now");
                    server.drain();
                }
            }
        }
        // Clients of a dead worker would wait for ever, so the server ends and can be restarted.
        if !draining && server.lacks_a_worker() {
            server.stop();
        }
        std::thread::sleep(LOOK);
    }
    server.join()
}
