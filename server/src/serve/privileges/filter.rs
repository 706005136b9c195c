//! seccomp filters (seccomp(2)), for all threads of the process. Three stand upon each other and
//! the strictest answer counts: what is on the list passes the last; what a process that was taken
//! over would try gets EPERM; clone3 gets ENOSYS, so that the C library makes threads by clone,
//! whose flags a filter can see. A fourth comes when all rings are made. What needs no look at its
//! arguments costs nothing: the kernel remembers that it passes.

use std::collections::BTreeMap;
use std::io;

use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::calls::{GROUPS, NAMESPACES, OLD, REFUSED};
use crate::config::Sandbox;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

const EPERM: SeccompAction = SeccompAction::Errno(libc::EPERM as u32);
const ENOSYS: SeccompAction = SeccompAction::Errno(libc::ENOSYS as u32);

/// Leaves the process only the calls of the table, and those that reach a log daemon or a collector
/// where it `connects`. Returns how many that are.
pub(super) fn enter(mode: Sandbox, connects: bool) -> io::Result<usize> {
    let mut listed = allowed().map_err(io::Error::other)?;
    if connects {
        listed.extend(CONNECTING.map(|call| (call, Vec::new())));
    }
    let calls = listed.len();
    let otherwise = match mode {
        Sandbox::Kill => SeccompAction::KillProcess,
        Sandbox::On | Sandbox::Off => ENOSYS,
    };
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let refused = REFUSED.iter().filter(|call| !listed.contains_key(&call.1));
    let mut refused: Rules = refused.map(|call| (call.1, Vec::new())).collect();
    if connects {
        refused.insert(libc::SYS_socket, vec![other_sockets().map_err(io::Error::other)?]);
    }
    // Each of these lets pass, or answers by itself, what the list is silent about.
    let mut passing = listed;
    passing.extend(refused.keys().map(|call| (*call, Vec::new())));
    passing.insert(libc::SYS_clone3, Vec::new());
    apply(clone3, SeccompAction::Allow, ENOSYS)?;
    apply(refused, SeccompAction::Allow, EPERM)?;
    apply(passing, otherwise, SeccompAction::Allow)?;
    Ok(calls)
}

/// No ring after these: one that is made later could be asked for anything.
pub(super) fn no_more_rings() -> io::Result<()> {
    let setup = BTreeMap::from([(libc::SYS_io_uring_setup, Vec::new())]);
    apply(setup, SeccompAction::Allow, EPERM)
}

fn apply(rules: Rules, otherwise: SeccompAction, listed: SeccompAction) -> io::Result<()> {
    let architecture = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    let program = SeccompFilter::new(rules, otherwise, listed, architecture)
        .and_then(BpfProgram::try_from)
        .map_err(io::Error::other)?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| match error {
        seccompiler::Error::Prctl(source) | seccompiler::Error::Seccomp(source) => source,
        other => io::Error::other(other),
    })
}

/// The calls of the table; of some only with certain arguments.
fn allowed() -> Result<Rules, BackendError> {
    let all = GROUPS.iter().flat_map(|group| group.server).chain(OLD);
    let mut rules: Rules = all.map(|call| (call.1, Vec::new())).collect();
    let own = u64::from(std::process::id());
    let exec = libc::PROT_EXEC as u64;
    let of_thread = libc::CLONE_THREAD as u64;
    // Threads only, in no new namespace.
    rules.insert(libc::SYS_clone, vec![low(0, MaskedEq(of_thread | NAMESPACES), of_thread)?]);
    // No new code.
    rules.insert(libc::SYS_mmap, vec![low(2, MaskedEq(exec), 0)?]);
    rules.insert(libc::SYS_mprotect, vec![low(2, MaskedEq(exec), 0)?]);
    // What abort(3) sends.
    rules.insert(libc::SYS_tgkill, vec![low(0, Eq, own)?]);
    // Bounds are read, not raised.
    rules.insert(libc::SYS_prlimit64, vec![whole(2, 0)?]);
    let among = |options: &[u64], at| {
        options.iter().map(|of| low(at, Eq, *of)).collect::<Result<Vec<_>, _>>()
    };
    // Names of threads and of memory; what the next filter wants.
    let of_process =
        [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA, libc::PR_SET_NO_NEW_PRIVS];
    rules.insert(libc::SYS_prctl, among(&of_process.map(|option| option as u64), 0)?);
    let of_descriptors =
        [libc::TCGETS, libc::TIOCGWINSZ, libc::FIONBIO, libc::FIONREAD, libc::FIOCLEX];
    rules.insert(libc::SYS_ioctl, among(&of_descriptors, 1)?);
    Ok(rules)
}

/// What a log daemon or a collector is reached by: UDP has itself given a port, the C library asks
/// name servers by several messages at once.
const CONNECTING: [i64; 4] =
    [libc::SYS_socket, libc::SYS_connect, libc::SYS_bind, libc::SYS_sendmmsg];

/// Sockets that nothing of this is reached by.
fn other_sockets() -> Result<SeccompRule, BackendError> {
    let kinds = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];
    let other = kinds.map(|kind| SeccompCondition::new(0, Dword, Ne, kind as u64));
    SeccompRule::new(other.into_iter().collect::<Result<_, _>>()?)
}

/// Where the lower half of an argument is this.
fn low(argument: u8, is: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, Dword, is, value)?])
}

/// Where the whole of an argument is this.
fn whole(argument: u8, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, Qword, Eq, value)?])
}
