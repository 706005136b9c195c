//! Network devices as the kernel shows them: their queues and the interrupts that serve them.

use crate::Host;

/// A device with hardware, or a hypervisor's idea of it, behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nic {
    pub(crate) name: String,
    pub(crate) index: Option<u32>,
    /// The names of its receive queues: `rx-0`.
    pub(crate) receive: Vec<String>,
    /// The names of its transmit queues: `tx-0`.
    pub(crate) transmit: Vec<String>,
}

/// An interrupt of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interrupt {
    pub(crate) number: u32,
    /// The CPUs that may take it, as a list.
    pub(crate) cpus: String,
}

/// Devices with hardware.
pub(crate) fn physical(host: &Host) -> Vec<Nic> {
    let names = host.names("sys/class/net");
    let names = names.into_iter().filter(|name| host.has(&format!("sys/class/net/{name}/device")));
    names.map(|name| nic(host, name)).collect()
}

/// Every device except loopback, virtual ones included.
pub(crate) fn all(host: &Host) -> Vec<Nic> {
    let names = host.names("sys/class/net").into_iter().filter(|name| name != "lo");
    names.map(|name| nic(host, name)).collect()
}

fn nic(host: &Host, name: String) -> Nic {
    let queues = host.names(&format!("sys/class/net/{name}/queues"));
    let (receive, transmit) = queues.into_iter().partition(|queue| queue.starts_with("rx-"));
    let index = host.number(&format!("sys/class/net/{name}/ifindex"));
    Nic { name, index: index.and_then(|index| index.try_into().ok()), receive, transmit }
}

impl Nic {
    /// The interrupts of the device: by its MSI list, or for a virtio device by its name in the
    /// kernel's table.
    pub(crate) fn interrupts(&self, host: &Host) -> Vec<Interrupt> {
        let device = format!("sys/class/net/{}/device", self.name);
        let mut numbers: Vec<u32> = host
            .names(&format!("{device}/msi_irqs"))
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect();
        if numbers.is_empty() {
            let link = host.link(&device);
            let own =
                link.as_deref().and_then(|path| path.file_name()).and_then(|name| name.to_str());
            let table = host.read("proc/interrupts").unwrap_or_default();
            numbers = own.map(|own| interrupts_named(&table, own)).unwrap_or_default();
        }
        numbers.sort_unstable();
        let cpus = |number| {
            let path = format!("proc/irq/{number}/smp_affinity_list");
            host.read(&path).map(|cpus| Interrupt { number, cpus })
        };
        numbers.into_iter().filter_map(cpus).collect()
    }
}

/// The numbers of the interrupts that belong to `device`, `virtio1`: their names are
/// `virtio1-input.0`.
fn interrupts_named(table: &str, device: &str) -> Vec<u32> {
    let of = |line: &str| {
        let number = line.trim_start().split_once(':')?.0.parse().ok()?;
        let name = line.split_whitespace().last()?;
        let rest = name.strip_prefix(device)?;
        (rest.is_empty() || rest.starts_with('-')).then_some(number)
    };
    table.lines().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::Fixture;

    #[test]
    fn queues_and_interrupts() {
        let machine = Fixture::new("nic")
            .with("sys/class/net/eth0/queues/rx-0/rps_cpus", "0\n")
            .with("sys/class/net/eth0/queues/tx-0/xps_cpus", "0\n")
            .with("sys/class/net/eth0/ifindex", "2\n")
            .with("sys/class/net/eth0/device/msi_irqs/31", "msix\n")
            .with("sys/class/net/eth0/device/msi_irqs/30", "msix\n")
            .with("proc/irq/30/smp_affinity_list", "0\n")
            .with("proc/irq/31/smp_affinity_list", "0-1\n")
            .with("sys/class/net/veth0/ifindex", "3\n");
        let host = machine.host();
        let nics = physical(&host);
        assert_eq!(nics.len(), 1, "a device without hardware is left out");
        assert_eq!((nics[0].receive.len(), nics[0].transmit.len()), (1, 1));
        assert_eq!(nics[0].index, Some(2));
        let interrupts = nics[0].interrupts(&host);
        assert_eq!(interrupts.len(), 2);
        assert_eq!((interrupts[1].number, interrupts[1].cpus.as_str()), (31, "0-1"));
        assert_eq!(all(&host).len(), 2);
    }

    #[test]
    fn interrupts_of_virtio_are_found_by_name() {
        let table = " 38:  0  6434 PCI-MSIX-0000:00:03.0 1-edge virtio2-input.0\n\
                     39:  1  0 PCI-MSIX-0000:00:03.0 2-edge virtio2-output.0\n\
                     40:  1  0 PCI-MSIX-0000:00:03.0 2-edge virtio21-output.0\n\
                     NMI: 0 0 Non-maskable interrupts\n";
        assert_eq!(interrupts_named(table, "virtio2"), [38, 39]);
    }
}
