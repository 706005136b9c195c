//! The table of sysctls: what is wanted of each, why, and in which profiles `tune` sets it.
//! `doctor` reads the same rows.

use super::Host;

/// What a machine is tuned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A busy server: long queues, large buffers.
    Throughput,
    /// A server whose tail latency matters: as throughput, with less data queued in the kernel.
    Latency,
    /// A machine that runs load tests against itself: as throughput, with ports for the clients.
    Bench,
}

impl Profile {
    /// The profiles by the words that name them.
    pub const ALL: [(&'static str, Self); 3] =
        [("throughput", Self::Throughput), ("latency", Self::Latency), ("bench", Self::Bench)];

    /// The profile that a word names.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(word, _)| *word == name).map(|(_, profile)| *profile)
    }
}

/// What is wanted of a sysctl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// One number, no smaller than this.
    AtLeast(i64),
    /// The last of three numbers (minimum, default, maximum) no smaller than this.
    MaximumAtLeast(i64),
    /// All of these bits.
    Bits(i64),
    /// Exactly this.
    Is(&'static str),
    /// This word, where the second sysctl lists it among what the kernel has.
    IfAvailable(&'static str, &'static str),
}

pub(crate) struct Sysctl {
    pub(crate) name: &'static str,
    pub(crate) wanted: Wanted,
    pub(crate) profiles: &'static [Profile],
    pub(crate) why: &'static str,
}

const ALL: &[Profile] = &[Profile::Throughput, Profile::Latency, Profile::Bench];
const BENCH: &[Profile] = &[Profile::Bench];
const LATENCY: &[Profile] = &[Profile::Latency];

pub(crate) const SYSCTLS: &[Sysctl] = &[
    Sysctl {
        name: "net.core.somaxconn",
        wanted: Wanted::AtLeast(65_535),
        profiles: ALL,
        why: "connections that wait for accept; beyond it a burst is dropped and retries after 1 s",
    },
    Sysctl {
        name: "net.ipv4.tcp_max_syn_backlog",
        wanted: Wanted::AtLeast(65_536),
        profiles: ALL,
        why: "half-open connections that are remembered before cookies take over",
    },
    Sysctl {
        name: "net.ipv4.tcp_syncookies",
        wanted: Wanted::AtLeast(1),
        profiles: ALL,
        why: "without cookies a flood of SYNs shuts out everyone",
    },
    Sysctl {
        name: "net.core.netdev_max_backlog",
        wanted: Wanted::AtLeast(16_384),
        profiles: ALL,
        why: "packets that wait for a CPU; loopback and busy NICs drop beyond it",
    },
    Sysctl {
        name: "net.core.rmem_max",
        wanted: Wanted::AtLeast(7_500_000),
        profiles: ALL,
        why: "the largest receive buffer a QUIC socket can ask for; too small loses datagrams",
    },
    Sysctl {
        name: "net.core.wmem_max",
        wanted: Wanted::AtLeast(7_500_000),
        profiles: ALL,
        why: "the largest send buffer a QUIC socket can ask for",
    },
    Sysctl {
        name: "net.ipv4.tcp_rmem",
        wanted: Wanted::MaximumAtLeast(6_291_456),
        profiles: ALL,
        why: "the largest receive window of TCP: less cannot fill a long fast path",
    },
    Sysctl {
        name: "net.ipv4.tcp_wmem",
        wanted: Wanted::MaximumAtLeast(4_194_304),
        profiles: ALL,
        why: "the largest send buffer of TCP: less cannot fill a long fast path",
    },
    Sysctl {
        name: "net.ipv4.tcp_slow_start_after_idle",
        wanted: Wanted::Is("0"),
        profiles: ALL,
        why: "1 makes a kept-alive connection start slowly again after every pause",
    },
    Sysctl {
        name: "net.ipv4.tcp_fastopen",
        wanted: Wanted::Bits(2),
        profiles: ALL,
        why: "bit 2 lets a returning client send its request with the SYN",
    },
    Sysctl {
        name: "net.ipv4.tcp_notsent_lowat",
        wanted: Wanted::Is("131072"),
        profiles: LATENCY,
        why: "keeps what is not yet sent in ringway, where an urgent stream can still overtake it",
    },
    Sysctl {
        name: "net.ipv4.tcp_mtu_probing",
        wanted: Wanted::AtLeast(1),
        profiles: ALL,
        why: "finds the path's packet size where a router drops the messages that tell it",
    },
    Sysctl {
        name: "net.ipv4.tcp_congestion_control",
        wanted: Wanted::IfAvailable("bbr", "net.ipv4.tcp_available_congestion_control"),
        profiles: ALL,
        why: "BBR does not take every loss for congestion: it keeps a lossy path busy",
    },
    Sysctl {
        name: "net.core.default_qdisc",
        wanted: Wanted::Is("fq"),
        profiles: ALL,
        why: "fq paces packets, which BBR and QUIC's pacing rely on",
    },
    Sysctl {
        name: "net.ipv4.ip_local_port_range",
        wanted: Wanted::Is("1024 65535"),
        profiles: BENCH,
        why: "ports of a load generator on this machine; the default ends at 28,232 connections",
    },
    Sysctl {
        name: "net.ipv4.tcp_tw_reuse",
        wanted: Wanted::Is("1"),
        profiles: BENCH,
        why: "lets a load generator use a port again before its minute of TIME_WAIT is over",
    },
];

impl Sysctl {
    /// The value that should be set, if the one that is there does not do. Exact in the parts that
    /// are wanted, as found in the others.
    pub(crate) fn better(&self, host: &Host, found: &str) -> Option<String> {
        let numbers: Vec<i64> = found.split(' ').filter_map(|word| word.parse().ok()).collect();
        let single = numbers.first().copied();
        match self.wanted {
            Wanted::AtLeast(least) => single.is_none_or(|n| n < least).then(|| least.to_string()),
            Wanted::MaximumAtLeast(least) => match numbers[..] {
                [low, middle, high] if high < least => Some(format!("{low} {middle} {least}")),
                _ => None,
            },
            Wanted::Bits(bits) => {
                let set = single.unwrap_or(0);
                (set & bits != bits).then(|| (set | bits).to_string())
            }
            Wanted::Is(value) => (found != value).then(|| value.to_owned()),
            Wanted::IfAvailable(value, list) => {
                let has = host.sysctl(list)?.split(' ').any(|word| word == value);
                (has && found != value).then(|| value.to_owned())
            }
        }
    }

    /// What is wanted, for people.
    pub(crate) fn wanted(&self) -> String {
        match self.wanted {
            Wanted::AtLeast(least) => format!("at least {least}"),
            Wanted::MaximumAtLeast(least) => format!("maximum at least {least}"),
            Wanted::Bits(bits) => format!("bit {bits} set"),
            Wanted::Is(value) => value.to_owned(),
            Wanted::IfAvailable(value, _) => format!("{value} where built"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::Fixture;

    fn better(name: &str, found: &str) -> Option<String> {
        let machine = Fixture::new(&format!("sysctl-{}", found.len()))
            .with("proc/sys/net/ipv4/tcp_available_congestion_control", "reno bbr\n");
        let row = SYSCTLS.iter().find(|row| row.name == name).unwrap();
        row.better(&machine.host(), found)
    }

    #[test]
    fn only_what_falls_short_is_changed() {
        assert_eq!(better("net.core.somaxconn", "4096").as_deref(), Some("65535"));
        assert_eq!(better("net.core.somaxconn", "100000"), None, "more than enough stays");
        let raised = better("net.ipv4.tcp_rmem", "4096 131072 1000000");
        assert_eq!(raised.as_deref(), Some("4096 131072 6291456"));
        assert_eq!(better("net.ipv4.tcp_fastopen", "1").as_deref(), Some("3"));
        assert_eq!(better("net.ipv4.tcp_fastopen", "1026"), None, "other bits are not ours");
        assert_eq!(better("net.ipv4.tcp_congestion_control", "cubic").as_deref(), Some("bbr"));
        assert_eq!(better("net.ipv4.tcp_congestion_control", "bbr"), None);
    }

    #[test]
    fn names_are_unique_and_every_row_has_a_profile() {
        let mut names: Vec<_> = SYSCTLS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SYSCTLS.len());
        assert!(SYSCTLS.iter().all(|row| !row.profiles.is_empty() && row.name.starts_with("net.")));
    }
}
