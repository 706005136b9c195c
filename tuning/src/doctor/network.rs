//! The network: the sysctls of the table, the routes' first windows, the devices with their queues
//! and interrupts, and what UDP can batch.

use super::{Facts, HTTP3};
use crate::firewall::{PORT, Passage};
use crate::netlink;
use crate::nic::{self, Nic};
use crate::report::{Item, Verdict};
use crate::sysctls::SYSCTLS;
use crate::{Host, Transport, start};
use std::io;

pub(super) fn examine(host: &Host, facts: &Facts) -> Vec<Item> {
    let mut items: Vec<Item> = SYSCTLS.iter().map(|row| sysctl(host, row)).collect();
    items.push(available(host));
    items.extend(routes(facts));
    items.extend(udp(host, facts));
    items.push(port(host, facts));
    items.push(filter(facts));
    for nic in nic::physical(host) {
        items.extend(device(host, &nic));
    }
    items
}

fn sysctl(host: &Host, row: &crate::sysctls::Sysctl) -> Item {
    let item = |found: &str| Item::new("network", row.name, found, row.wanted(), row.why);
    let Some(found) = host.sysctl(row.name) else {
        return item("not seen from here").rate(Verdict::Note);
    };
    let Some(better) = row.better(host, &found) else { return item(&found) };
    // A row of a single profile is advice for that purpose, not a fault.
    let everywhere = row.profiles.len() > 1;
    let verdict = match row.name {
        "net.ipv4.tcp_syncookies" => Verdict::Harmful,
        _ if everywhere => Verdict::Better,
        _ => Verdict::Note,
    };
    let value = if better.contains(' ') { format!("\"{better}\"") } else { better };
    item(&found).rate(verdict).how(format!("sudo sysctl {}={value}", row.name))
}

fn available(host: &Host) -> Item {
    let found = host.sysctl("net.ipv4.tcp_available_congestion_control");
    let found = found.unwrap_or_else(|| "not seen from here".into());
    let has = found.split(' ').any(|name| name == "bbr");
    let why = "BBR keeps lossy paths busy; load its module if it is built: sudo modprobe tcp_bbr";
    let item = Item::new("network", "congestion controls", found, "bbr among them", why);
    if has { item } else { item.rate(Verdict::Note) }
}

fn routes(facts: &Facts) -> Vec<Item> {
    let why = "segments sent before the first acknowledgement: 10 carry 14 KB, 32 carry a page of \
               46 KB in one round trip";
    let Some(routes) = &facts.routes else {
        let name = "route first windows";
        return vec![Item::new("network", name, "cannot be listed", "", why).rate(Verdict::Note)];
    };
    let show = |window: Option<u32>| window.map_or("10 (default)".into(), |n| n.to_string());
    let mut items: Vec<Item> = Vec::new();
    for route in routes.iter().filter(|route| route.is_default()) {
        let found =
            format!("initcwnd {}, initrwnd {}", show(route.initcwnd()), show(route.initrwnd()));
        let item = Item::new("network", format!("route {route}"), found, "initcwnd 32", why);
        let verdict = match route.initcwnd() {
            Some(0..10) => Verdict::Harmful,
            Some(32..) => Verdict::Fine,
            _ => Verdict::Better,
        };
        if items.iter().all(|other| other.name != item.name) {
            items.push(item.rate(verdict).how("sudo ringway tune apply"));
        }
    }
    items
}

fn udp(host: &Host, facts: &Facts) -> [Item; 2] {
    let since = |version: (u32, u32), probed: Option<bool>| {
        probed.or_else(|| host.kernel().map(|kernel| kernel >= version))
    };
    let item = |name, has: Option<bool>, why| {
        let found = match has {
            Some(true) => "there",
            Some(false) => "not there",
            None => "not tried",
        };
        let item = Item::new("network", name, found, "there", why);
        match has {
            Some(has) => item.unless(has, Verdict::Better).how("use kernel 6.1 or later"),
            None => item.rate(Verdict::Note),
        }
    };
    [
        item("UDP GSO", since((4, 18), facts.udp_gso), "sends up to 64 QUIC packets in one call"),
        item("UDP GRO", since((5, 0), facts.udp_gro), "receives many QUIC packets in one buffer"),
    ]
}

/// Whether HTTP/3 may listen where clients look for it.
fn port(host: &Host, facts: &Facts) -> Item {
    let why = "HTTP/3 listens there; without it clients keep to HTTP/2";
    let item = |found: &str| Item::new("network", "UDP port 443", found, "free to bind", why);
    match &facts.udp_443 {
        None => item("not tried").rate(Verdict::Note),
        Some(Ok(())) => item("can be bound"),
        Some(Err(error)) => {
            let answer = start::explain_bind(host, error, HTTP3, Transport::Udp);
            // The holder may be ringway itself.
            let is_taken = error.kind() == io::ErrorKind::AddrInUse;
            let verdict = if is_taken { Verdict::Note } else { Verdict::Better };
            answer.how.into_iter().fold(item(&answer.why).rate(verdict), Item::how)
        }
    }
}

/// Whether this machine's packet filter accepts clients' datagrams.
fn filter(facts: &Facts) -> Item {
    let why = "a firewall that drops QUIC silently sends every client back to HTTP/2, after a wait";
    let elsewhere = "a cloud's or router's firewall cannot be seen from here";
    let item = |found: String| {
        let found = format!("{found}; {elsewhere}");
        Item::new("network", "UDP 443 through the firewall", found, "let in", why)
    };
    let wall = match &facts.firewall {
        None => return item("not looked at".into()).rate(Verdict::Note),
        Some(Err(error)) => return item(format!("not seen ({error})")).rate(Verdict::Note),
        Some(Ok(wall)) => wall,
    };
    match wall.passage() {
        Passage::Free => item("let in by this machine".into()),
        Passage::Sometimes(place) => {
            item(format!("let in for some, see the chain {place}")).rate(Verdict::Note)
        }
        Passage::Dropped(place) => {
            let item = item(format!("dropped in the chain {place}")).rate(Verdict::Better);
            let item = wall.remedy(&place).into_iter().fold(item, Item::how);
            item.how(format!("and in a cloud's security group: allow UDP {PORT} from everywhere"))
        }
    }
}

fn device(host: &Host, nic: &Nic) -> Vec<Item> {
    let name = &nic.name;
    let interrupts = nic.interrupts(host);
    let cpus: Vec<String> =
        interrupts.iter().map(|irq| format!("{}→{}", irq.number, irq.cpus)).collect();
    let queues = format!("{} receive, {} transmit", nic.receive.len(), nic.transmit.len());
    let mut items = vec![
        Item::new(
            "network",
            format!("{name} queues"),
            queues,
            "",
            "with a queue for each worker no packet changes CPUs; `ethtool -L` sets their number",
        )
        .rate(Verdict::Note),
        Item::new(
            "network",
            format!("{name} interrupts"),
            if cpus.is_empty() { "not seen from here".into() } else { cpus.join(" ") },
            "",
            "interrupt→CPUs; pair them with the workers or keep them away: measure both",
        )
        .rate(Verdict::Note),
    ];
    if let Some(mtu) = host.number(&format!("sys/class/net/{name}/mtu")) {
        let why = "QUIC needs packets of 1280 bytes; 1500 and more carry data with less overhead";
        let verdict = match mtu {
            1500.. => Verdict::Fine,
            1280.. => Verdict::Better,
            _ => Verdict::Harmful,
        };
        let item = Item::new("network", format!("{name} MTU"), mtu.to_string(), "1500", why);
        items.push(item.rate(verdict).how(format!("sudo ip link set {name} mtu 1500")));
    }
    let root = netlink::qdiscs().unwrap_or_default();
    if let Some(qdisc) = root.iter().find(|qdisc| Some(qdisc.device) == nic.index) {
        let why =
            "fq paces; mq has one discipline for each queue, of net.core.default_qdisc's kind";
        let item =
            Item::new("network", format!("{name} qdisc"), qdisc.kind.as_str(), "fq or mq", why);
        let fine = ["fq", "mq", "noqueue"].contains(&qdisc.kind.as_str());
        items.push(item.unless(fine, Verdict::Better).how("sudo ringway tune apply"));
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::Fixture;

    #[test]
    fn a_short_backlog_could_be_better_and_the_command_is_there() {
        let machine = Fixture::new("backlog")
            .with("proc/sys/net/core/somaxconn", "128\n")
            .with("proc/sys/net/ipv4/tcp_syncookies", "0\n")
            .with("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
        let items = examine(&machine.host(), &Facts::default());
        let named = |name| items.iter().find(|item| item.name == name).unwrap();
        assert_eq!(named("net.core.somaxconn").verdict, Verdict::Better);
        assert_eq!(named("net.core.somaxconn").how, ["sudo sysctl net.core.somaxconn=65535"]);
        assert_eq!(named("net.ipv4.tcp_syncookies").verdict, Verdict::Harmful);
        assert_eq!(named("net.ipv4.ip_local_port_range").verdict, Verdict::Note);
    }
}
