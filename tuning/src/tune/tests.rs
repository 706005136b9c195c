use super::*;
use crate::host::fixture::Fixture;

/// A machine of files on which sysctls and governors can be set. Its routes are this machine's, so
/// tests leave them.
fn machine(name: &str) -> Fixture {
    Fixture::new(name)
        .with("proc/self/status", "CapEff:\tffffffffffffffff\n")
        .with("proc/sys/kernel/random/boot_id", "boot-1\n")
        .with("proc/sys/net/core/somaxconn", "4096\n")
        .with("proc/sys/net/core/rmem_max", "99999999\n")
        .with("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t1000\n")
        .with("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n")
        .with("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n")
}

fn options(machine: &Fixture) -> Options {
    Options {
        groups: vec![Group::Sysctl, Group::Governor],
        journal: Some(machine.host().path("tune.json")),
        ..Options::default()
    }
}

fn files(host: &Host) -> Vec<Option<String>> {
    ["net.core.somaxconn", "net.core.rmem_max", "net.ipv4.tcp_rmem", "net.ipv4.ip_local_port_range"]
        .iter()
        .map(|name| host.sysctl(name))
        .chain([host.read("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")])
        .collect()
}

#[test]
fn check_apply_apply_restore_leaves_no_trace() {
    let machine = machine("cycle");
    let (host, options) = (machine.host(), options(&machine));
    let before = files(&host);
    let check = run(&host, Action::Check, &options).unwrap();
    assert_eq!((check.changes, files(&host)), (3, before.clone()), "{:?}", check.lines);
    let applied = run(&host, Action::Apply, &options).unwrap();
    assert_eq!((applied.changes, applied.failures), (3, 0));
    assert_eq!(applied.lines, check.lines, "apply does what check says");
    assert_eq!(host.sysctl("net.core.somaxconn").as_deref(), Some("65535"));
    assert_eq!(host.sysctl("net.core.rmem_max").as_deref(), Some("99999999"), "enough already");
    assert_eq!(run(&host, Action::Apply, &options).unwrap(), Outcome::default(), "idempotent");
    let restored = run(&host, Action::Restore, &options).unwrap();
    assert_eq!((restored.changes, files(&host)), (3, before));
    assert!(!host.has("tune.json"));
    let again = run(&host, Action::Restore, &options).unwrap();
    assert_eq!(again.changes, 0);
}

#[test]
fn a_second_profile_keeps_the_first_values_for_restoring() {
    let machine = machine("profiles");
    let host = machine.host();
    let before = files(&host);
    run(&host, Action::Apply, &options(&machine)).unwrap();
    let bench = Options { profile: Profile::Bench, ..options(&machine) };
    assert_eq!(run(&host, Action::Apply, &bench).unwrap().changes, 1);
    assert_eq!(run(&host, Action::Restore, &bench).unwrap().changes, 4);
    assert_eq!(files(&host), before);
}

#[test]
fn what_someone_else_changed_since_is_left() {
    let machine = machine("foreign");
    let (host, options) = (machine.host(), options(&machine));
    run(&host, Action::Apply, &options).unwrap();
    std::fs::write(host.path("proc/sys/net/core/somaxconn"), "777\n").unwrap();
    let restored = run(&host, Action::Restore, &options).unwrap();
    assert_eq!(host.sysctl("net.core.somaxconn").as_deref(), Some("777"));
    assert!(restored.lines.iter().any(|line| line.contains("changed since by someone else")));
    assert!(!host.has("tune.json"));
}

#[test]
fn a_dry_run_changes_nothing_and_needs_no_privilege() {
    let machine = machine("dry").with("proc/self/status", "CapEff:\t0\n");
    let (host, options) = (machine.host(), options(&machine));
    let before = files(&host);
    let dry = Options { dry_run: true, ..options.clone() };
    assert_eq!(run(&host, Action::Apply, &dry).unwrap().changes, 3);
    assert_eq!(files(&host), before);
    assert!(!host.has("tune.json"));
    let refused = run(&host, Action::Apply, &options).unwrap_err();
    assert!(refused.contains("CAP_NET_ADMIN"), "{refused}");
}

#[test]
fn a_container_is_refused_with_the_reason() {
    let machine = machine("container").with(".dockerenv", "");
    let (host, options) = (machine.host(), options(&machine));
    let refused = run(&host, Action::Apply, &options).unwrap_err();
    assert!(refused.contains("container (docker)"), "{refused}");
    let anyway = Options { anyway: true, ..options };
    assert_eq!(run(&host, Action::Apply, &anyway).unwrap().changes, 3);
}

#[test]
fn a_journal_of_another_boot_is_forgotten_and_a_foreign_file_is_refused() {
    let machine = machine("boot");
    let (host, options) = (machine.host(), options(&machine));
    run(&host, Action::Apply, &options).unwrap();
    std::fs::write(host.path("proc/sys/kernel/random/boot_id"), "boot-2\n").unwrap();
    let restored = run(&host, Action::Restore, &options).unwrap();
    assert_eq!(restored.changes, 0, "{:?}", restored.lines);
    assert!(!host.has("tune.json"));
    std::fs::write(host.path("tune.json"), "{}").unwrap();
    let refused = run(&host, Action::Restore, &options).unwrap_err();
    assert!(refused.contains("is not a journal"), "{refused}");
}

#[test]
fn what_nobody_may_write_is_not_planned() {
    use std::os::unix::fs::PermissionsExt;
    let machine = machine("fixed");
    let (host, options) = (machine.host(), options(&machine));
    let path = host.path("proc/sys/net/core/somaxconn");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o444)).unwrap();
    assert_eq!(run(&host, Action::Check, &options).unwrap().changes, 2);
}

#[test]
fn interrupts_and_queues_go_onto_the_workers_or_away_and_back() {
    let machine = machine("irqs")
        .with("proc/self/net/dev", "a\nb\n lo: 0\neth0: 0\n")
        .with("sys/class/net/lo/ifindex", "1\n")
        .with("sys/class/net/eth0/ifindex", "2\n")
        .with("sys/class/net/eth0/device/msi_irqs/30", "msix\n")
        .with("sys/class/net/eth0/device/msi_irqs/31", "msix\n")
        .with("sys/class/net/eth0/queues/rx-0/rps_cpus", "0\n")
        .with("sys/class/net/eth0/queues/tx-0/xps_cpus", "0\n")
        .with("proc/irq/30/smp_affinity_list", "0-3\n")
        .with("proc/irq/31/smp_affinity_list", "0-3\n")
        .with("sys/devices/system/cpu/online", "0-3\n");
    let host = machine.host();
    let files = || {
        let irq = |n: u32| host.read(&format!("proc/irq/{n}/smp_affinity_list")).unwrap();
        let rps = host.read("sys/class/net/eth0/queues/rx-0/rps_cpus").unwrap();
        [irq(30), irq(31), rps]
    };
    let before = files();
    let onto = Options {
        groups: vec![Group::Irq],
        irqs: Irqs::Onto,
        cpus: Some(vec![0, 1]),
        ..options(&machine)
    };
    run(&host, Action::Apply, &onto).unwrap();
    assert_eq!(files(), ["0", "1", "3"]);
    let away = Options { irqs: Irqs::Away, ..onto.clone() };
    run(&host, Action::Apply, &away).unwrap();
    assert_eq!(files(), ["2", "3", "c"]);
    run(&host, Action::Restore, &away).unwrap();
    assert_eq!(files(), before);
    let none = Options { cpus: None, ..away };
    let outcome = run(&host, Action::Check, &none).unwrap();
    assert!(outcome.lines[0].contains("every CPU is a worker's"), "{:?}", outcome.lines);
}
