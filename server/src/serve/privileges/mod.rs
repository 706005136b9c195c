//! What a server gives up once its sockets are bound and its keys are read, before its first thread
//! starts: the user, all capabilities, further privileges, files, ports, signals and system calls
//! that serving does not need. Threads that are started later have no more than the one that starts
//! them; so do the rings that they make. Beside `[lifecycle]` see the manual's page on privileges.

mod calls;
mod filter;
mod paths;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, Gid, Uid, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use self::paths::Paths;
use crate::app::error::Error;
use crate::config::{self, Account, Config, Identity, Sandbox};
use crate::rt::console::note;

static SANDBOXED: AtomicBool = AtomicBool::new(false);

/// Whether this process has entered its sandbox, out of which nobody comes: neither it nor a
/// program that it would start.
pub(super) fn is_sandboxed() -> bool {
    SANDBOXED.load(Ordering::Relaxed)
}

/// What is to be given up.
#[derive(Debug)]
pub(super) struct Privileges {
    user: Option<(Account, Identity)>,
    sandbox: Sandbox,
    paths: Paths,
}

impl Privileges {
    /// What a configuration asks for; none if nothing.
    pub(super) fn of(config: &Config) -> Result<Option<Self>, Error> {
        let lifecycle = &config.lifecycle;
        if !lifecycle.gives_up() {
            return Ok(None);
        }
        let identity = config::identity(lifecycle).map_err(|no| Error::Privileges {
            what: format!("`{}`", no.key),
            source: io::Error::other(no.message),
        })?;
        Ok(Some(Self {
            user: lifecycle.user.clone().zip(identity),
            sandbox: lifecycle.sandbox,
            paths: Paths::of(config),
        }))
    }

    /// Whether the process will become another user.
    pub(super) fn becomes_another(config: &Config) -> bool {
        config.lifecycle.user.is_some() && rustix::process::geteuid().is_root()
    }

    /// Gives it up. The calling thread has to be the only one: another would keep what it has.
    pub(super) fn give_up(&self) -> Result<(), Error> {
        let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
        if threads > 1 {
            let source = io::Error::other(format!("{threads} threads run already"));
            return Err(failed("privileges are given up before there are threads")(source));
        }
        self.enter()
    }

    fn enter(&self) -> Result<(), Error> {
        let mut said = Vec::new();
        // Before the user, because that takes a capability.
        empty_bounding_set().map_err(failed("the bounding set of capabilities"))?;
        if let Some((name, identity)) = &self.user {
            said.extend(become_user(name, identity)?);
        }
        give_up_capabilities().map_err(failed("capabilities"))?;
        set_no_new_privs(true).map_err(io::Error::from).map_err(failed("no_new_privs"))?;
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(io::Error::from)
            .map_err(failed("dumps of memory"))?;
        if self.sandbox != Sandbox::Off {
            let restricted =
                paths::restrict(&self.paths).map_err(failed("the sandbox (Landlock)"))?;
            let calls = filter::enter(self.sandbox, self.paths.connects)
                .map_err(failed("the sandbox (seccomp)"))?;
            SANDBOXED.store(true, Ordering::Relaxed);
            said.push(format!("sandbox: {restricted}, seccomp with {calls} calls"));
            if let Some(lacking) = restricted.lacks() {
                note!("warning: the sandbox restricts system calls; {lacking}");
            }
        }
        if !said.is_empty() {
            note!("{}", said.join("; "));
        }
        Ok(())
    }

    /// When all rings are made: no further one.
    pub(super) fn seal(&self) -> Result<(), Error> {
        match self.sandbox {
            Sandbox::Off => Ok(()),
            Sandbox::On | Sandbox::Kill => {
                filter::no_more_rings().map_err(failed("the sandbox (seccomp)"))
            }
        }
    }
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    |source| Error::Privileges { what: what.into(), source }
}

/// Says as whom the process serves, unless it was that user before.
fn become_user(name: &Account, identity: &Identity) -> Result<Option<String>, Error> {
    let now = rustix::process::geteuid();
    if !now.is_root() {
        if now.as_raw() != identity.uid {
            note!(
                "warning: `lifecycle.user` is {name}, and only root becomes another user: user {} \
                 serves",
                now.as_raw()
            );
        }
        return Ok(None);
    }
    let groups: Vec<Gid> = identity.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    set_thread_groups(&groups)
        .and_then(|()| set_thread_res_gid(gid, gid, gid))
        .and_then(|()| set_thread_res_uid(uid, uid, uid))
        .map_err(io::Error::from)
        .map_err(failed(format!("the user {name}")))?;
    Ok(Some(format!("serving as {name} (user {}, group {})", identity.uid, identity.gid)))
}

/// Who has not the right to empty it has no use for it either, once there are no new privileges.
pub(super) fn empty_bounding_set() -> io::Result<()> {
    for capability in CapabilitySet::all().iter() {
        match remove_capability_from_bounding_set(capability) {
            // Not of this kernel.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(rustix::io::Errno::PERM) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

pub(super) fn give_up_capabilities() -> io::Result<()> {
    let none = CapabilitySet::empty();
    clear_ambient_capability_set()?;
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(())
}
