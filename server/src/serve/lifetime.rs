//! A server from its start to its end, under signals: as the command runs it, and
//! [`Server::run`](crate::Server::run).

use std::io;
use std::sync::Arc;

use super::handover::{self, Inheritance, Program};
use super::privileges;
use super::signals::Signals;
use super::supervisor::Supervisor;
use crate::app::error::Error;
use crate::config::Limits;
use crate::rt::console::note;
use crate::serve::handle::ServerHandle;

/// Starts a server, in place of another process if one has started this one for that, says where it
/// serves (`print`), and watches over it until it has ended.
pub(super) fn run(
    limits: &Limits,
    start: impl FnOnce(Option<Arc<Inheritance>>) -> Result<ServerHandle, Error>,
    print: impl FnOnce(&ServerHandle),
    reload: impl FnMut(&ServerHandle),
) -> Result<(), Error> {
    let signals = Signals::listen()?;
    let program = Program::of_this_process();
    let mut predecessor = handover::meet(limits.start_timeout)?;
    let inheritance = predecessor.as_ref().map(|each| each.inheritance());
    let running = match (start(inheritance), &predecessor) {
        (Err(error), Some(predecessor)) => {
            predecessor.refuse(&error);
            return Err(error);
        }
        (started, _) => started?,
    };
    if let Some(predecessor) = &mut predecessor {
        let all = predecessor.inheritance();
        let begin = || {
            let (half_open, replay) = all.last_state();
            running.begin(&half_open, limits.half_open, &replay);
        };
        predecessor.relieve(begin).inspect_err(|_| running.stop())?;
        note!("process {} has been replaced by this one", predecessor.inheritance().pid());
    }
    let program = if privileges::is_sandboxed() {
        Err(io::Error::other("a process in its sandbox starts no other: restart it"))
    } else {
        program.map_err(|error| io::Error::other(format!("this program cannot be found: {error}")))
    };
    print(&running);
    Supervisor::new(&running, limits.clone(), program, predecessor).run(signals, reload)
}
