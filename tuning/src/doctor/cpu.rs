//! The CPUs: how many this process may use, which share a core, their NUMA nodes, and their clocks.

use crate::Host;
use crate::report::{Item, Verdict};

const GROUP: &str = "cpu";
const BASE: &str = "sys/devices/system/cpu";

pub(super) fn examine(host: &Host) -> Vec<Item> {
    vec![allowed(host), siblings(host), nodes(host), governor(host), engine()]
}

fn allowed(host: &Host) -> Item {
    let why = "one worker for each; a container's share of CPU time is not seen here";
    let online = host.read(&format!("{BASE}/online")).unwrap_or_else(|| "cannot be read".into());
    let found = match host.status("Cpus_allowed_list") {
        Some(list) if list != online => format!("{list} of {online} online"),
        _ => online,
    };
    Item::new(GROUP, "usable CPUs", found, "", why).rate(Verdict::Note)
}

/// The hardware threads of each core.
fn siblings(host: &Host) -> Item {
    let mut cores: Vec<String> = Vec::new();
    for name in host.names(BASE).iter().filter(|name| is_cpu(name)) {
        let list = host.read(&format!("{BASE}/{name}/topology/thread_siblings_list"));
        cores.extend(list.filter(|list| list.contains([',', '-']) && !cores.contains(list)));
    }
    let found = match cores.len() {
        0 => "each CPU is a core of its own".to_owned(),
        _ => format!("cores of two threads: {}", cores.join(" ")),
    };
    let why = "two workers on one core share its caches and ports: expect 1.2 workers' work; \
               measure with --cpus naming one thread of each core";
    Item::new(GROUP, "SMT siblings", found, "", why).rate(Verdict::Note)
}

/// Options whose value only a measurement on this machine can show.
fn engine() -> Item {
    let why = "engine.busy_poll_us trades CPU for latency on a NIC, engine.batch_wait_us latency \
               for CPU, engine.incoming_cpu keeps a connection on its interrupt's CPU (with `tune \
               apply --irqs onto --cpus LIST` and `--cpus LIST`); all are off: load the server \
               over the real network with and without each (--set engine.batch_wait_us=50), \
               rounds alternating, and keep what helps in CPU time a request \
               (scripts/profile.sh) and in p99 (scripts/load-h2.sh --rps)";
    Item::new(GROUP, "engine options", "to be measured", "", why).rate(Verdict::Note)
}

fn is_cpu(name: &str) -> bool {
    let number = name.strip_prefix("cpu").unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn nodes(host: &Host) -> Item {
    let base = "sys/devices/system/node";
    let nodes: Vec<String> = host
        .names(base)
        .iter()
        .filter(|name| name.starts_with("node"))
        .filter_map(|name| {
            Some(format!("{name}: {}", host.read(&format!("{base}/{name}/cpulist"))?))
        })
        .collect();
    let found = if nodes.is_empty() { "cannot be read".into() } else { nodes.join(", ") };
    let why = "a worker's memory lies on the node it was started on; keep a NIC's queues, their \
               interrupts and the workers on one node";
    Item::new(GROUP, "NUMA nodes", found, "", why).rate(Verdict::Note)
}

fn governor(host: &Host) -> Item {
    let why = "a governor that clocks down between bursts makes their first requests slow";
    let mut found: Vec<String> = Vec::new();
    for name in host.names(BASE).iter().filter(|name| is_cpu(name)) {
        let governor = host.read(&format!("{BASE}/{name}/cpufreq/scaling_governor"));
        found.extend(governor.filter(|governor| !found.contains(governor)));
    }
    if found.is_empty() {
        let found = "not ours to set (a virtual machine, or the firmware decides)";
        return Item::new(GROUP, "CPU governor", found, "performance", why).rate(Verdict::Note);
    }
    let fine = found.iter().all(|governor| governor == "performance");
    Item::new(GROUP, "CPU governor", found.join(", "), "performance", why)
        .unless(fine, Verdict::Better)
        .how("sudo ringway tune apply")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::Fixture;

    #[test]
    fn siblings_are_named_once_a_core() {
        let of = |cpu: u32| format!("{BASE}/cpu{cpu}/topology/thread_siblings_list");
        let machine = Fixture::new("smt")
            .with(&of(0), "0,2\n")
            .with(&of(1), "1,3\n")
            .with(&of(2), "0,2\n")
            .with(&of(3), "1,3\n")
            .with(&format!("{BASE}/cpuidle/x"), "");
        assert_eq!(siblings(&machine.host()).found, "cores of two threads: 0,2 1,3");
    }

    #[test]
    fn a_saving_governor_could_be_better() {
        let path = |cpu: u32| format!("{BASE}/cpu{cpu}/cpufreq/scaling_governor");
        let machine =
            Fixture::new("governor").with(&path(0), "powersave\n").with(&path(1), "performance\n");
        let item = governor(&machine.host());
        assert_eq!(
            (item.verdict, item.found.as_str()),
            (Verdict::Better, "powersave, performance")
        );
    }
}
