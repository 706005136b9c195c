//! `ringway tune` on a real kernel, in its own network namespace: check, apply and restore.
//! Afterwards every sysctl, route and queueing discipline of the namespace is as before. If the
//! machine allows no such namespace, the tests say so and pass.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::process::{Command, Output};

/// The namespace: two devices that are joined, addresses and routes of both families, one with
/// metrics of its own.
const SETUP: &str = r#"
set -eu
mount -t sysfs sysfs /sys
ip link set lo up
ip link add near type veth peer name far
ip link set near up && ip link set far up
ip addr add 198.51.100.2/24 dev near
ip route add default via 198.51.100.1
ip route add 203.0.113.0/24 via 198.51.100.1 mtu lock 1300 initcwnd 4
ip route add 192.0.2.0/24 metric 7 nexthop via 198.51.100.1 nexthop via 198.51.100.9
if [ -e /proc/sys/net/ipv6 ]; then
    ip -6 addr add 2001:db8::2/64 dev near nodad
    ip -6 route add default via 2001:db8::1
fi
snapshot() {
    grep -rs . /proc/sys/net | grep -v -e flush -e stable_secret | sort || true
    ip route show table all
    ip -6 route show table all
    tc qdisc
    grep -s . /sys/class/net/*/queues/*/* || true
}
tune() { "$RINGWAY" tune "$@" --journal "$SCRATCH/journal.json"; }
"#;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let id = std::process::id();
        let path = std::env::temp_dir().join(format!("ringway-tune-{id}-{name}"));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs `script` after the set-up in a fresh namespace; none where that cannot be had.
fn inside(name: &str, script: &str) -> Option<String> {
    let possible = Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "sh",
            "-c",
            "mount -t sysfs sysfs /sys && ip link add probe0 type veth",
        ])
        .output();
    match possible {
        Ok(Output { status, .. }) if status.success() => {}
        Ok(Output { stderr, .. }) => {
            println!("skipped {name}: no namespace: {}", String::from_utf8_lossy(&stderr).trim());
            return None;
        }
        Err(error) => {
            let complete = std::env::var_os("RINGWAY_TEST_COMPLETE").is_some();
            assert!(!complete, "unshare: {error}");
            println!("skipped {name}: unshare: {error}");
            return None;
        }
    }
    let scratch = Scratch::new(name);
    let output = Command::new("unshare")
        .args(["--net", "--mount", "bash", "-c", &format!("{SETUP}{script}")])
        .env("RINGWAY", env!("CARGO_BIN_EXE_ringway"))
        .env("SCRATCH", &scratch.0)
        .output()
        .unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} failed\n{out}\n{err}");
    Some(out.into_owned())
}

#[test]
fn check_apply_restore_leaves_no_trace() {
    let script = r#"
snapshot > "$SCRATCH/before"
if tune check --profile bench > "$SCRATCH/check"; then echo 'check found nothing'; exit 1; fi
grep -q '^net.core.somaxconn .* → 65535$' "$SCRATCH/check"
snapshot | diff "$SCRATCH/before" - || { echo 'check changed something'; exit 1; }

tune apply --profile bench --anyway | tee "$SCRATCH/apply"
[ "$(cat /proc/sys/net/core/somaxconn)" = 65535 ]
ip route show default | grep -q 'initcwnd 32 initrwnd 32'
ip route show 203.0.113.0/24 | grep -q 'mtu lock 1300 initcwnd 32'
ip route show 192.0.2.0/24 | tr '\n' ' ' | grep -q 'initcwnd 32.*198.51.100.1.*198.51.100.9'
[ ! -e /proc/sys/net/ipv6 ] || ip -6 route show default | grep -q 'initcwnd 32'

tune apply --profile bench --anyway > "$SCRATCH/again"
tail -1 "$SCRATCH/again" | grep -qx 'nothing to change'

tune restore --anyway --dry-run | tail -1 | grep -q 'would be restored'
tune restore --anyway
snapshot | diff "$SCRATCH/before" - || { echo 'restore left a trace'; exit 1; }
[ ! -e "$SCRATCH/journal.json" ]
tune restore --anyway | grep -q '^nothing to restore'
"#;
    inside("no-trace", script);
}

#[test]
fn only_the_named_group_is_touched_and_the_window_can_be_chosen() {
    let script = r#"
tune apply --only route --initcwnd 20 --initrwnd 24 --anyway > "$SCRATCH/apply"
if grep -q "^net\." "$SCRATCH/apply"; then exit 1; fi
ip route show default | grep -q 'initcwnd 20 initrwnd 24'
tune restore --anyway > "$SCRATCH/restore"
ip route show 203.0.113.0/24 | grep -q 'initcwnd 4'
if ip route show default | grep -q initcwnd; then exit 1; fi
"#;
    inside("only", script);
}

#[test]
fn a_journal_of_another_namespace_is_refused() {
    let script = r#"
tune apply --only route --anyway > "$SCRATCH/apply"
if unshare --net "$RINGWAY" tune restore --anyway --journal "$SCRATCH/journal.json" \
    2> "$SCRATCH/error"; then exit 1; fi
grep -q 'belongs to another network namespace' "$SCRATCH/error"
tune restore --anyway
"#;
    inside("namespace", script);
}

#[test]
fn without_privilege_it_refuses_with_the_reason() {
    let script = r#"
code=0
setpriv --bounding-set -all --inh-caps -all --ambient-caps -all --reuid 65534 --clear-groups \
    "$RINGWAY" tune apply --anyway --journal "$SCRATCH/journal.json" 2> "$SCRATCH/error" || code=$?
[ $code = 1 ] || { cat "$SCRATCH/error"; exit 1; }
grep -q 'needs root (CAP_NET_ADMIN)' "$SCRATCH/error"
"#;
    let scratch = Scratch::new("bin");
    // The test binary may lie where another user may not look.
    let copy = scratch.0.join("ringway");
    std::fs::copy(env!("CARGO_BIN_EXE_ringway"), &copy).unwrap();
    inside("privilege", &format!("RINGWAY={}\n{script}", copy.display()));
}

#[test]
fn usage_errors_say_what_was_meant() {
    for (arguments, wanted) in [
        (&["tune"][..], "`ringway tune` wants one of check|apply|restore"),
        (&["tune", "chek"], "did you mean `check`"),
        (&["tune", "check", "--profile", "thruput"], "expected one of throughput, latency, bench"),
        (&["tune", "check", "--only", "sysctl,rout"], "--only: expected one of sysctl, route"),
        (&["tune", "check", "--initcwnd", "0"], "1 to 1000"),
        (&["tune", "check", "--cpus", "x"], "--cpus: `x` is not a CPU list"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_ringway")).args(arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(wanted), "{arguments:?}: {error}");
    }
}
