//! The one table of system calls: those that the server makes once its privileges are given up, of
//! which its own filter is made, and beside them those that a container's start, a shell in it and
//! other architectures need, which make the profile `scripts/seccomp-io_uring.json` with them.

/// A system call by its name and its number on this architecture.
pub(super) type Call = (&'static str, libc::c_long);

/// Calls that belong together.
#[cfg_attr(not(test), expect(dead_code, reason = "the profile is made by a test"))]
pub(super) struct Group {
    /// What they are for.
    pub(super) what: &'static str,
    /// What the server makes itself.
    pub(super) server: &'static [Call],
    /// What the profile allows besides.
    pub(super) profile: &'static [&'static str],
}

/// `SYS_read` as its name and its number.
macro_rules! calls {
    ($($call:ident)*) => { &[$((stringify!($call), libc::$call)),*] };
}

/// The name of a call, without the `SYS_` of its constant.
#[cfg(test)]
fn name(call: &Call) -> &'static str {
    call.0.trim_start_matches("SYS_")
}

pub(super) const GROUPS: &[Group] = &[
    Group {
        what: "io_uring: what Docker's own filter leaves out and ringway is built on",
        server: calls! { SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register },
        profile: &[],
    },
    Group {
        what: "sockets",
        server: calls! {
            SYS_accept4 SYS_getsockname SYS_getpeername SYS_getsockopt SYS_setsockopt SYS_shutdown
            SYS_sendto SYS_sendmsg SYS_recvfrom SYS_recvmsg SYS_socketpair
        },
        profile: &["socket", "bind", "listen", "accept", "connect", "sendmmsg", "recvmmsg"],
    },
    Group {
        what: "files and directories",
        server: calls! {
            SYS_read SYS_write SYS_readv SYS_writev SYS_pread64 SYS_pwrite64 SYS_openat SYS_openat2
            SYS_close SYS_lseek SYS_fstat SYS_newfstatat SYS_statx SYS_statfs SYS_fstatfs
            SYS_faccessat SYS_faccessat2 SYS_readlinkat SYS_getdents64 SYS_getcwd SYS_mkdirat
            SYS_unlinkat SYS_renameat SYS_renameat2 SYS_ftruncate SYS_fsync SYS_fdatasync
            SYS_fadvise64 SYS_flock
        },
        profile: &[
            "preadv",
            "pwritev",
            "preadv2",
            "pwritev2",
            "open",
            "creat",
            "close_range",
            "_llseek",
            "stat",
            "lstat",
            "stat64",
            "lstat64",
            "fstat64",
            "fstatat64",
            "statfs64",
            "fstatfs64",
            "access",
            "readlink",
            "getdents",
            "chdir",
            "fchdir",
            "mkdir",
            "rmdir",
            "unlink",
            "rename",
            "link",
            "linkat",
            "symlink",
            "symlinkat",
            "chmod",
            "fchmod",
            "fchmodat",
            "fchmodat2",
            "chown",
            "fchown",
            "fchownat",
            "lchown",
            "truncate",
            "ftruncate64",
            "fallocate",
            "sync_file_range",
            "umask",
            "utimensat",
            "futimesat",
            "utime",
            "utimes",
            "getxattr",
            "lgetxattr",
            "fgetxattr",
            "listxattr",
            "llistxattr",
            "flistxattr",
            "inotify_init",
            "inotify_init1",
            "inotify_add_watch",
            "inotify_rm_watch",
            "copy_file_range",
            "sendfile",
            "sendfile64",
            "splice",
            "tee",
            "vmsplice",
            "fadvise64_64",
            "readahead",
            "memfd_create",
        ],
    },
    Group {
        what: "descriptors, pipes and waiting",
        server: calls! {
            SYS_dup SYS_dup3 SYS_fcntl SYS_ioctl SYS_pipe2 SYS_ppoll SYS_epoll_create1
            SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2
        },
        profile: &[
            "dup2",
            "fcntl64",
            "pipe",
            "poll",
            "select",
            "_newselect",
            "pselect6",
            "epoll_create",
            "epoll_wait",
            "eventfd",
            "signalfd",
            "signalfd4",
            "timerfd_create",
            "timerfd_settime",
            "timerfd_gettime",
        ],
    },
    Group {
        what: "memory",
        server: calls! {
            SYS_brk SYS_mmap SYS_munmap SYS_mremap SYS_mprotect SYS_madvise SYS_mincore SYS_mlock
            SYS_munlock SYS_membarrier SYS_get_mempolicy SYS_mbind
        },
        profile: &[
            "mmap2",
            "mlock2",
            "mlockall",
            "munlockall",
            "msync",
            "set_mempolicy",
            "pkey_alloc",
            "pkey_free",
            "pkey_mprotect",
        ],
    },
    Group {
        what: "processes and threads",
        server: calls! {
            SYS_exit SYS_exit_group SYS_futex SYS_set_robust_list SYS_get_robust_list SYS_rseq
            SYS_getpid SYS_getppid SYS_gettid SYS_prctl SYS_sched_yield SYS_sched_getaffinity
            SYS_sched_setaffinity SYS_sched_getattr SYS_sched_getparam SYS_sched_getscheduler
            SYS_sched_setattr SYS_sched_setscheduler SYS_getpriority SYS_setpriority
            SYS_ioprio_get SYS_ioprio_set SYS_getcpu SYS_getrlimit SYS_prlimit64 SYS_getrusage
            SYS_restart_syscall
        },
        profile: &[
            "execve",
            "execveat",
            "fork",
            "vfork",
            "wait4",
            "waitid",
            "waitpid",
            "futex_waitv",
            "set_tid_address",
            "set_thread_area",
            "get_thread_area",
            "arch_prctl",
            "getpgid",
            "getpgrp",
            "setpgid",
            "getsid",
            "setsid",
            "sched_get_priority_max",
            "sched_get_priority_min",
            "sched_setparam",
            "ugetrlimit",
            "setrlimit",
            "times",
            "pidfd_open",
            "pidfd_send_signal",
        ],
    },
    Group {
        what: "signals",
        server: calls! {
            SYS_tgkill SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigpending SYS_rt_sigreturn
            SYS_rt_sigsuspend SYS_rt_sigtimedwait SYS_sigaltstack
        },
        profile: &[
            "kill",
            "tkill",
            "rt_sigqueueinfo",
            "rt_tgsigqueueinfo",
            "sigaction",
            "sigprocmask",
            "sigreturn",
            "pause",
            "alarm",
            "getitimer",
            "setitimer",
        ],
    },
    Group {
        what: "identity: taking over the unprivileged user at start, and giving up more",
        server: calls! {
            SYS_getuid SYS_geteuid SYS_getgid SYS_getegid SYS_getresuid SYS_getresgid SYS_getgroups
            SYS_capget SYS_seccomp
        },
        profile: &[
            "getuid32",
            "geteuid32",
            "getgid32",
            "getegid32",
            "getresuid32",
            "getresgid32",
            "getgroups32",
            "setuid",
            "setuid32",
            "setgid",
            "setgid32",
            "setreuid",
            "setreuid32",
            "setregid",
            "setregid32",
            "setresuid",
            "setresuid32",
            "setresgid",
            "setresgid32",
            "setgroups",
            "setgroups32",
            "setfsuid",
            "setfsuid32",
            "setfsgid",
            "setfsgid32",
            "capset",
            "landlock_create_ruleset",
            "landlock_add_rule",
            "landlock_restrict_self",
        ],
    },
    Group {
        what: "time, randomness and facts about the machine",
        server: calls! {
            SYS_clock_gettime SYS_clock_getres SYS_clock_nanosleep SYS_nanosleep SYS_gettimeofday
            SYS_getrandom SYS_uname SYS_sysinfo
        },
        profile: &["clock_gettime64", "time"],
    },
];

/// What x86_64 has besides, from before there was a directory in every call.
#[cfg(target_arch = "x86_64")]
pub(super) const OLD: &[Call] = calls! {
    SYS_open SYS_stat SYS_lstat SYS_access SYS_readlink SYS_mkdir SYS_unlink SYS_rename SYS_poll
    SYS_epoll_wait SYS_epoll_create SYS_eventfd SYS_pipe SYS_dup2 SYS_time
};
#[cfg(not(target_arch = "x86_64"))]
pub(super) const OLD: &[Call] = &[];

/// What a process that was taken over would try next. It gets EPERM, whatever other calls get that
/// are not on the list.
pub(super) const REFUSED: &[Call] = calls! {
    SYS_execve SYS_execveat SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_mount
    SYS_umount2 SYS_pivot_root SYS_chroot SYS_bpf SYS_perf_event_open SYS_socket SYS_connect
    SYS_bind SYS_listen SYS_kill SYS_tkill SYS_pidfd_open SYS_pidfd_getfd SYS_pidfd_send_signal
    SYS_setuid SYS_setgid SYS_setreuid SYS_setregid SYS_setresuid SYS_setresgid SYS_setgroups
    SYS_capset SYS_unshare SYS_setns SYS_keyctl SYS_add_key SYS_request_key SYS_init_module
    SYS_finit_module SYS_delete_module SYS_kexec_load SYS_open_by_handle_at SYS_userfaultfd
    SYS_personality SYS_reboot SYS_swapon SYS_swapoff SYS_memfd_create
};

/// New namespaces, as flags of clone(2): NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
pub(super) const NAMESPACES: u64 = 0x7e02_0000;

/// The profile for containers, in the form of Docker and podman.
#[cfg(test)]
fn profile() -> String {
    use std::fmt::Write;
    let mut out = String::from(
        "{\n  \"defaultAction\": \"SCMP_ACT_ERRNO\",\n  \"defaultErrnoRet\": 38,\n  \
         \"architectures\": [\"SCMP_ARCH_X86_64\", \"SCMP_ARCH_AARCH64\"],\n  \"syscalls\": [\n",
    );
    let entry = |out: &mut String, what: &str, names: &[&str], end: &str| {
        let _ = write!(out, "    {{\n      \"comment\": \"{what}\",\n      \"names\": [");
        let mut width = usize::MAX;
        for (at, name) in names.iter().enumerate() {
            let comma = if at + 1 < names.len() { "," } else { "" };
            let word = format!("\"{name}\"{comma}");
            if width.saturating_add(word.len() + 1) > 100 {
                out.push_str("\n       ");
                width = 7;
            }
            width += word.len() + 1;
            let _ = write!(out, " {word}");
        }
        let _ = write!(out, "\n      ],\n      \"action\": \"SCMP_ACT_ALLOW\"{end}");
    };
    for group in GROUPS {
        let names = group.server.iter().map(name).chain(group.profile.iter().copied());
        entry(&mut out, group.what, &names.collect::<Vec<_>>(), "\n    },\n");
    }
    let argument = |out: &mut String, what: &str, call: &str, test: &str| {
        let test =
            format!(",\n      \"args\": [\n        {{\"index\": 0, {test}}}\n      ]\n    }}");
        entry(out, what, &[call], &test);
    };
    let masked =
        format!("\"value\": {NAMESPACES}, \"valueTwo\": 0, \"op\": \"SCMP_CMP_MASKED_EQ\"");
    argument(&mut out, "threads and children, but no new namespaces", "clone", &masked);
    out.push_str(",\n");
    let plain = "\"value\": 0, \"op\": \"SCMP_CMP_EQ\"";
    argument(&mut out, "the plain personality only", "personality", plain);
    out.push_str("\n  ]\n}\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `RINGWAY_WRITE=1` writes the profile anew.
    #[test]
    fn the_profile_for_containers_is_made_from_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/seccomp-io_uring.json");
        if std::env::var_os("RINGWAY_WRITE").is_some() {
            std::fs::write(path, profile()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), profile(), "RINGWAY_WRITE=1 mends it");
        let parsed: serde_json::Value = serde_json::from_str(&profile()).unwrap();
        let names = |entry: &serde_json::Value| entry["names"].as_array().unwrap().clone();
        let mut all: Vec<_> =
            parsed["syscalls"].as_array().unwrap().iter().flat_map(names).collect();
        let count = all.len();
        all.sort_by_key(ToString::to_string);
        all.dedup();
        assert_eq!(all.len(), count, "a call stands there twice");
        // Whatever the server's own filter allows, a container's has to.
        for call in OLD {
            assert!(all.contains(&name(call).into()), "{}", name(call));
        }
    }

    #[test]
    fn what_is_refused_is_not_allowed() {
        let allowed = GROUPS.iter().flat_map(|group| group.server).chain(OLD);
        let allowed: Vec<_> = allowed.map(|call| call.1).collect();
        for call in REFUSED {
            assert!(!allowed.contains(&call.1), "{}", name(call));
        }
    }
}
