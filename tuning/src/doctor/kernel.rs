//! The kernel: its version, io_uring, clock, mitigations, memory, and the limits of this process.

use super::Ring;
use crate::Host;
use crate::host::CAP_SYS_ADMIN;
use crate::report::{Item, Verdict};
use rustix::process::{Resource, getrlimit};

const GROUP: &str = "kernel";

pub(super) fn examine(host: &Host, ring: Option<&Ring>) -> Vec<Item> {
    let mut items = vec![version(host), container(host)];
    items.extend(rings(host, ring));
    items.extend([seccomp(host), clock(host), mitigations(host), huge_pages(host), ktls(host)]);
    items
}

fn version(host: &Host) -> Item {
    let release = host.sysctl("kernel.osrelease");
    let found = release.unwrap_or_else(|| "cannot be read".into());
    let item =
        Item::new(GROUP, "kernel", found, "6.1 or later", "the first with all that ringway uses");
    match host.kernel() {
        None => item.rate(Verdict::Note),
        Some(version) => item
            .unless(version >= (6, 1), Verdict::Harmful)
            .how("install a newer kernel; 6.12 and later also waits for several events at once"),
    }
}

fn container(host: &Host) -> Item {
    let found = host.container().unwrap_or_else(|| "none seen".into());
    let why = "in a container sysctls, routes and limits are the host's to set";
    Item::new(GROUP, "container", found, "", why).rate(Verdict::Note)
}

fn rings(host: &Host, ring: Option<&Ring>) -> Vec<Item> {
    let why = "everything that ringway does goes through io_uring";
    let item = |found: &str| Item::new(GROUP, "io_uring", found, "allowed", why);
    match ring {
        None => vec![gate(host, item)],
        Some(Ring::Refused(error)) => vec![item(&error.to_string()).rate(Verdict::Harmful)],
        Some(Ring::Works(features)) => {
            let mut items = vec![item("allowed")];
            items.extend(features.iter().map(|feature| {
                let found = if feature.has { "there" } else { "not there" };
                let lacks = if feature.needed { Verdict::Harmful } else { Verdict::Note };
                let name = format!("io_uring {}", feature.name);
                Item::new(GROUP, name, found, "there", feature.why.as_str())
                    .unless(feature.has, lacks)
                    .how("use kernel 6.1 or later")
            }));
            items
        }
    }
}

/// Findings about io_uring that need no ring.
fn gate(host: &Host, item: impl Fn(&str) -> Item) -> Item {
    let how = "sudo sysctl kernel.io_uring_disabled=0";
    match host.number("proc/sys/kernel/io_uring_disabled") {
        None => item("not tried").rate(Verdict::Note),
        Some(2) => item("kernel.io_uring_disabled is 2").rate(Verdict::Harmful).how(how),
        Some(1) if !host.capable(CAP_SYS_ADMIN) => {
            let item = item("kernel.io_uring_disabled is 1, for root and one group only");
            item.rate(Verdict::Harmful).how(how)
        }
        Some(_) => item("allowed by kernel.io_uring_disabled"),
    }
}

fn seccomp(host: &Host) -> Item {
    let found = match host.status("Seccomp").as_deref() {
        Some("0") => "no filter",
        Some(_) => "a filter is in force",
        None => "cannot be read",
    };
    let why = "containers forbid io_uring by a filter unless told otherwise; \
               scripts/seccomp-io_uring.json admits it";
    Item::new(GROUP, "seccomp", found, "", why).rate(Verdict::Note)
}

fn clock(host: &Host) -> Item {
    let base = "sys/devices/system/clocksource/clocksource0";
    let found = host.read(&format!("{base}/current_clocksource"));
    let why = "others than these need a system call for every look at the clock";
    let wanted = "tsc, kvm-clock or the architecture's own";
    match found {
        None => Item::new(GROUP, "clock source", "cannot be read", wanted, why).rate(Verdict::Note),
        Some(name) => {
            let slow = ["hpet", "acpi_pm", "jiffies", "xen", "refined-jiffies"];
            let has_tsc = host
                .read(&format!("{base}/available_clocksource"))
                .is_some_and(|all| all.split(' ').any(|name| name == "tsc"));
            let item = Item::new(GROUP, "clock source", name.as_str(), wanted, why)
                .unless(!slow.contains(&name.as_str()), Verdict::Harmful);
            match has_tsc {
                true => item.how(format!("echo tsc | sudo tee /{base}/current_clocksource")),
                false => item.how("boot with tsc=reliable if the CPU's counter is invariant"),
            }
        }
    }
}

fn mitigations(host: &Host) -> Item {
    let base = "sys/devices/system/cpu/vulnerabilities";
    let active: Vec<String> = host
        .names(base)
        .into_iter()
        .filter(|name| {
            let state = host.read(&format!("{base}/{name}"));
            state.is_some_and(|state| state.starts_with("Mitigation"))
        })
        .collect();
    let found = match active.len() {
        0 => "none active".to_owned(),
        count => format!("{count} active: {}", active.join(", ")),
    };
    let why = "each makes entering the kernel dearer; ringway enters once a turn. Keep them where \
               others share the machine";
    Item::new(GROUP, "CPU mitigations", found, "", why).rate(Verdict::Note)
}

fn huge_pages(host: &Host) -> Item {
    let found = host.read("sys/kernel/mm/transparent_hugepage/enabled");
    let found = found.and_then(|text| Some(text.split('[').nth(1)?.split(']').next()?.to_owned()));
    let why = "with `always` an idle connection's pages can grow to 2 MiB; with `madvise` only \
               memory that asks gets huge pages";
    let Some(found) = found else {
        return Item::new(GROUP, "transparent huge pages", "cannot be read", "madvise", why)
            .rate(Verdict::Note);
    };
    let fine = found != "always";
    Item::new(GROUP, "transparent huge pages", found, "madvise", why)
        .unless(fine, Verdict::Better)
        .how("echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled")
}

fn ktls(host: &Host) -> Item {
    let found = if host.has("proc/net/tls_stat") { "loaded" } else { "not loaded" };
    let why = "not used: TLS is decrypted in place in user space, one record for each flush";
    Item::new(GROUP, "kernel TLS", found, "", why).rate(Verdict::Note)
}

/// The resource limits of this process.
pub(super) fn limits(host: &Host) -> Vec<Item> {
    let files = getrlimit(Resource::Nofile);
    let memory = getrlimit(Resource::Memlock);
    let hard = files.maximum.unwrap_or(u64::MAX);
    let descriptors = Item::new(
        "limits",
        "file descriptors",
        format!("{} soft, {} hard", show(files.current), show(files.maximum)),
        "65536 hard or more",
        "one for each connection; the soft limit is raised to the hard one at start",
    );
    let descriptors = match hard {
        4096.. => descriptors.unless(hard >= 65_536, Verdict::Better),
        _ => descriptors.rate(Verdict::Harmful),
    };
    let locked = memory.current.unwrap_or(u64::MAX);
    let fine = locked >= 8 * 1024 * 1024 || host.capable(CAP_IPC_LOCK);
    let memlock = Item::new(
        "limits",
        "locked memory",
        show(memory.current),
        "8 MiB",
        "buffers that are registered with io_uring count against it",
    )
    .unless(fine, Verdict::Better)
    .how("in the unit: LimitMEMLOCK=infinity")
    .how("with Docker: --ulimit memlock=-1");
    let open_files = host.sysctl("fs.file-max").unwrap_or_else(|| "cannot be read".into());
    vec![
        descriptors
            .how("in the unit: LimitNOFILE=1048576")
            .how("with Docker: --ulimit nofile=1048576:1048576"),
        memlock,
        Item::new("limits", "fs.file-max", open_files, "", "open files of the whole machine")
            .rate(Verdict::Note),
    ]
}

const CAP_IPC_LOCK: u32 = 14;

fn show(limit: Option<u64>) -> String {
    limit.map_or("unlimited".to_owned(), |limit| limit.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::Fixture;

    #[test]
    fn an_old_kernel_is_harmful() {
        let old = Fixture::new("kernel").with("proc/sys/kernel/osrelease", "5.15.0-91-generic\n");
        let item = version(&old.host());
        assert_eq!((item.verdict, item.found.as_str()), (Verdict::Harmful, "5.15.0-91-generic"));
        let new = Fixture::new("newer").with("proc/sys/kernel/osrelease", "10.0.1\n");
        assert_eq!(version(&new.host()).verdict, Verdict::Fine);
    }

    #[test]
    fn a_slow_clock_is_harmful_and_the_fast_one_is_named() {
        let base = "sys/devices/system/clocksource/clocksource0";
        let machine = Fixture::new("clock")
            .with(&format!("{base}/current_clocksource"), "hpet\n")
            .with(&format!("{base}/available_clocksource"), "tsc hpet acpi_pm\n");
        let item = clock(&machine.host());
        assert_eq!(item.verdict, Verdict::Harmful);
        assert!(item.how[0].starts_with("echo tsc"), "{item:?}");
    }

    #[test]
    fn huge_pages_are_read_from_their_brackets() {
        let path = "sys/kernel/mm/transparent_hugepage/enabled";
        let always = Fixture::new("thp").with(path, "[always] madvise never\n");
        assert_eq!(huge_pages(&always.host()).verdict, Verdict::Better);
        let asked = Fixture::new("thp2").with(path, "always [madvise] never\n");
        let item = huge_pages(&asked.host());
        assert_eq!((item.verdict, item.found.as_str()), (Verdict::Fine, "madvise"));
    }
}
