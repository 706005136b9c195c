//! What would be changed: each setting that falls short of what is wanted, in an order that
//! restoring can go through backwards. Making a plan changes nothing and needs no privilege.

use super::Options;
use super::target::{Target, encode, named};
use crate::Host;
use crate::netlink;
use crate::nic::{self, Nic};
use crate::sysctls::SYSCTLS;
use std::collections::BTreeSet;

/// A kind of setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The sysctls of the profile.
    Sysctl,
    /// The first windows of routes.
    Route,
    /// The clocks of the CPUs.
    Governor,
    /// The queueing disciplines of devices.
    Qdisc,
    /// Interrupts and queues of devices, if [`Irqs`] says where to.
    Irq,
}

impl Group {
    /// The groups by the words that name them.
    pub const ALL: [(&'static str, Self); 5] = [
        ("sysctl", Self::Sysctl),
        ("route", Self::Route),
        ("governor", Self::Governor),
        ("qdisc", Self::Qdisc),
        ("irq", Self::Irq),
    ];

    /// The group that a word names.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(word, _)| *word == name).map(|(_, group)| *group)
    }
}

/// Where the interrupts of network devices go. Which is better differs from machine to machine:
/// measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Irqs {
    /// Where they are.
    Leave,
    /// Queue by queue onto the workers' CPUs: a packet is handled where its connection lives.
    Onto,
    /// Onto the CPUs that no worker has: workers are not interrupted.
    Away,
}

impl Irqs {
    /// The choices by the words that name them.
    pub const ALL: [(&'static str, Self); 3] =
        [("leave", Self::Leave), ("onto", Self::Onto), ("away", Self::Away)];

    /// The choice that a word names.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(word, _)| *word == name).map(|(_, choice)| *choice)
    }
}

pub(super) struct Step {
    pub(super) target: Target,
    pub(super) before: String,
    pub(super) after: String,
}

#[derive(Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// What was left out, and why.
    pub(super) notes: Vec<String>,
}

impl Plan {
    /// Adds the setting if it is there, is not yet so, and is not fixed (as some are outside the
    /// first namespace).
    fn want(&mut self, host: &Host, target: Target, after: String) {
        if target.is_fixed(host) {
            return;
        }
        if let Some(before) = target.value(host).filter(|before| *before != after) {
            self.steps.push(Step { target, before, after });
        }
    }
}

pub(super) fn make(host: &Host, options: &Options) -> Plan {
    let mut plan = Plan::default();
    let has = |group| options.groups.contains(&group);
    // Disciplines first, so that restoring removes them last: by then the kernel's default is the
    // old one again.
    let irqs = has(Group::Irq) && options.irqs != Irqs::Leave;
    if (has(Group::Qdisc) || irqs) && !sees_own_devices(host) {
        plan.notes.push("devices left: /sys shows another network namespace's".into());
    } else {
        for nic in nic::all(host).iter().filter(|_| has(Group::Qdisc)) {
            qdisc(host, nic, &mut plan);
        }
        for nic in nic::physical(host).iter().filter(|_| irqs) {
            queues(host, nic, options, &mut plan);
        }
    }
    if has(Group::Governor) {
        governors(host, &mut plan);
    }
    if has(Group::Sysctl) {
        sysctls(host, options, &mut plan);
    }
    if has(Group::Route) {
        routes(options, &mut plan);
    }
    plan
}

fn sysctls(host: &Host, options: &Options, plan: &mut Plan) {
    for row in SYSCTLS.iter().filter(|row| row.profiles.contains(&options.profile)) {
        let Some(found) = host.sysctl(row.name) else { continue };
        if let Some(better) = row.better(host, &found) {
            plan.want(host, Target::Sysctl(row.name.into()), better);
        }
    }
}

fn routes(options: &Options, plan: &mut Plan) {
    let routes = match netlink::routes() {
        Ok(routes) => routes,
        Err(error) => return plan.notes.push(format!("routes left: {error}")),
    };
    for (name, route) in named(&routes) {
        let wanted = (Some(options.initcwnd), Some(options.initrwnd));
        // Device 1 is loopback: its first flight is not the network's.
        let is_set = (route.initcwnd(), route.initrwnd()) == wanted;
        if is_set || route.device() == Some(1) || route.is_foreign() {
            continue;
        }
        let after = encode(&route.with_windows(options.initcwnd, options.initrwnd));
        plan.steps.push(Step { target: Target::Route(name), before: encode(route), after });
    }
}

fn governors(host: &Host, plan: &mut Plan) {
    let base = "sys/devices/system/cpu";
    for cpu in host.names(base) {
        let path = format!("{base}/{cpu}/cpufreq/scaling_governor");
        let available = host.read(&format!("{base}/{cpu}/cpufreq/scaling_available_governors"));
        if available.is_none_or(|all| all.split(' ').any(|name| name == "performance")) {
            plan.want(host, Target::File(path), "performance".into());
        }
    }
}

/// Only a discipline that the kernel chose itself is replaced: one that someone configured could
/// not be put back exactly. A device of many queues has one discipline for each, of
/// `net.core.default_qdisc`'s kind.
fn qdisc(host: &Host, nic: &Nic, plan: &mut Plan) {
    let Some(index) = nic.index else { return };
    let all = netlink::qdiscs().unwrap_or_default();
    let Some(own) = all.iter().find(|qdisc| qdisc.device == index) else { return };
    if own.handle != 0 || nic.transmit.len() > 1 || ["fq", "noqueue", "mq"].contains(&&*own.kind) {
        return;
    }
    plan.want(host, Target::Qdisc { device: nic.name.clone(), index }, "fq".into());
}

/// Interrupt i goes to the i-th of the chosen CPUs, and so do the sending queues. A device with one
/// receiving queue spreads its packets over all of them in software.
fn queues(host: &Host, nic: &Nic, options: &Options, plan: &mut Plan) {
    let online = cpu_list(&host.read("sys/devices/system/cpu/online").unwrap_or_default());
    let workers = options.cpus.clone().unwrap_or_else(|| online.clone());
    let cpus: Vec<usize> = match options.irqs {
        Irqs::Leave => return,
        Irqs::Onto => workers,
        Irqs::Away => online.into_iter().filter(|cpu| !workers.contains(cpu)).collect(),
    };
    if cpus.is_empty() {
        let note = format!(
            "interrupts of {} left: every CPU is a worker's; name them with --cpus",
            nic.name
        );
        return plan.notes.push(note);
    }
    for (at, interrupt) in nic.interrupts(host).iter().enumerate() {
        let path = format!("proc/irq/{}/smp_affinity_list", interrupt.number);
        plan.want(host, Target::File(path), cpus[at % cpus.len()].to_string());
    }
    let base = format!("sys/class/net/{}/queues", nic.name);
    let width = |path: &str| host.read(path).unwrap_or_default();
    if let [only] = nic.receive.as_slice() {
        let path = format!("{base}/{only}/rps_cpus");
        let mask = mask(&cpus, &width(&path));
        plan.want(host, Target::File(path), mask);
    }
    if nic.transmit.len() > 1 {
        for (at, queue) in nic.transmit.iter().enumerate() {
            let path = format!("{base}/{queue}/xps_cpus");
            let mask = mask(&[cpus[at % cpus.len()]], &width(&path));
            plan.want(host, Target::File(path), mask);
        }
    }
}

/// A mask of CPUs in hexadecimal, as wide as `like`, which is how the kernel shows it: words of 32
/// parted by commas.
fn mask(cpus: &[usize], like: &str) -> String {
    let words = like.split(',').count();
    let first = like.split(',').next().map_or(1, str::len).max(1);
    let word = |index: usize| {
        let bits = cpus.iter().filter(|cpu| *cpu / 32 == index).map(|cpu| 1u32 << (cpu % 32));
        bits.fold(0, |mask, bit| mask | bit)
    };
    let mut text = format!("{:0first$x}", word(words - 1));
    for index in (0..words - 1).rev() {
        text.push_str(&format!(",{:08x}", word(index)));
    }
    text
}

/// `0-3,6` as numbers; what is no number is left out.
fn cpu_list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse::<usize>().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// Whether `/sys` shows the devices of our own network namespace: it shows those of whoever mounted
/// it.
fn sees_own_devices(host: &Host) -> bool {
    let table = host.read("proc/self/net/dev").unwrap_or_default();
    let ours: BTreeSet<&str> =
        table.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    let shown = host.names("sys/class/net");
    let shown: BTreeSet<&str> = shown
        .iter()
        .map(String::as_str)
        .filter(|name| host.has(&format!("sys/class/net/{name}/ifindex")))
        .collect();
    ours == shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_as_wide_as_the_kernels() {
        assert_eq!(mask(&[0, 1], "0"), "3");
        assert_eq!(mask(&[0, 5], "00"), "21");
        assert_eq!(mask(&[0, 33], "00000000,00000000"), "00000002,00000001");
        assert_eq!(mask(&[63], "0000,00000000"), "80000000,00000000");
    }

    #[test]
    fn cpu_lists() {
        assert_eq!(cpu_list("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(cpu_list(""), [0; 0]);
    }
}
