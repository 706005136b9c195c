//! Landlock (landlock(7)): which files a server may open once its privileges are given up, no TCP
//! port that it may bind or connect to, and no signal to processes outside. As much of it as the
//! kernel has; the rest is said.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope, make_bitflags, path_beneath_rules,
};

use crate::config::{Config, KeyLogMode, SyslogAddress};

/// What can be asked for: files since 1, TCP ports since 4, signals since 6.
const WANTED: ABI = ABI::V6;

/// The files that serving needs.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// Read, and below if they are directories.
    pub(super) read: Vec<PathBuf>,
    /// Files are made, written, renamed and removed in these directories.
    pub(super) write: Vec<PathBuf>,
    /// TCP ports to which it connects: a log daemon's, a collector's.
    pub(super) ports: Vec<u16>,
    /// Whether it connects at all, also again: to a log daemon, to a collector.
    pub(super) connects: bool,
}

impl Paths {
    /// What a configuration names. Certificates and their like are found again by name when they
    /// are renewed, as logs are when they are rotated: so the directories count that hold them.
    pub(super) fn of(config: &Config) -> Self {
        let mut paths = Self::default();
        match config.site.is_empty() {
            true => paths.read.push(config.files.root.clone()),
            false => paths.read.extend(config.site.iter().map(|site| site.root.clone())),
        }
        let tls = &config.tls;
        let of_sites = config.site.iter().filter_map(|site| site.certificate.as_ref());
        let further = tls.certificates.iter().chain(of_sites);
        let further =
            further.flat_map(|each| [&each.cert, &each.key].into_iter().chain(&each.ocsp));
        let first = [&tls.cert, &tls.key, &tls.ocsp, &tls.client_ca].into_iter().flatten();
        for file in first.chain(further) {
            paths.read.extend(holders(file));
        }
        paths.read.extend(config.lifecycle.readable.iter().cloned());
        // Its own descriptors and counters; what the kernel says of itself; who is who, for the
        // configuration that is read again.
        let own = ["/proc/self", "/proc/sys", "/etc/passwd", "/etc/group"];
        paths.read.extend(own.map(PathBuf::from));
        let written = tls.ticket_key.iter().chain(&config.log.file);
        paths.write.extend(written.flat_map(|file| holders(file)));
        paths.connects = config.log.syslog.is_some() || config.log.journal || config.otlp.is_some();
        if let Some(collector) = &config.otlp {
            paths.ports.push(collector.port);
            // By which its name is resolved.
            let of_names = ["hosts", "host.conf", "resolv.conf", "nsswitch.conf", "gai.conf"];
            paths.read.extend(of_names.map(|name| Path::new("/etc").join(name)));
        }
        if let Some(SyslogAddress::Tcp(address)) = &config.log.syslog {
            paths.ports.push(address.port());
        }
        paths.write.extend(config.qlog.clone());
        if tls.key_log == KeyLogMode::Env {
            let named = std::env::var_os("SSLKEYLOGFILE").map(PathBuf::from);
            paths.write.extend(named.iter().flat_map(|file| holders(file)));
        }
        paths
    }
}

/// The directory of a file, and that of what it is a link to.
fn holders(file: &Path) -> impl Iterator<Item = PathBuf> {
    let parent = |file: &Path| match file.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(PathBuf::from(".")),
        parent => parent.map(Path::to_path_buf),
    };
    let target = file.canonicalize().ok();
    [parent(file), target.as_deref().and_then(parent)].into_iter().flatten()
}

/// What came of it.
pub(super) enum Restricted {
    /// The version of the kernel's interface.
    Abi(ABI),
    /// Why there is nothing.
    Not(&'static str),
}

impl Restricted {
    /// What stays open, and what would close it; none if nothing does.
    pub(super) fn lacks(&self) -> Option<String> {
        match self {
            Self::Not(why) => Some(format!("files, TCP ports and signals are not: {why}")),
            Self::Abi(abi) if *abi < ABI::V4 => {
                Some("TCP ports and signals are not: that takes Linux 6.7 and 6.12".into())
            }
            Self::Abi(abi) if *abi < ABI::V6 => {
                Some("signals are not: that takes Linux 6.12".into())
            }
            Self::Abi(_) => None,
        }
    }
}

impl fmt::Display for Restricted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abi(abi) => write!(f, "Landlock (version {})", *abi as i32),
            Self::Not(_) => f.write_str("no Landlock"),
        }
    }
}

/// Leaves the calling thread, and those that it will start, these files. What is open stays so.
pub(super) fn restrict(paths: &Paths) -> io::Result<Restricted> {
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let write =
        read | make_bitflags!(AccessFs::{WriteFile | MakeReg | MakeDir | RemoveFile | Truncate});
    let status = apply(paths, read, write).map_err(io::Error::other)?;
    Ok(match status {
        LandlockStatus::Available { effective_abi, .. } => Restricted::Abi(effective_abi),
        LandlockStatus::NotEnabled => {
            Restricted::Not("Landlock is built into this kernel and not enabled (`lsm=` at boot)")
        }
        _ => Restricted::Not("this kernel has no Landlock"),
    })
}

fn apply(
    paths: &Paths,
    read: BitFlags<AccessFs>,
    write: BitFlags<AccessFs>,
) -> Result<LandlockStatus, RulesetError> {
    let ports = paths.ports.iter().map(|port| NetPort::new(*port, AccessNet::ConnectTcp));
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(WANTED))?
        .handle_access(AccessNet::from_all(WANTED))?
        .scope(Scope::from_all(WANTED))?
        .create()?
        .add_rules(path_beneath_rules(&paths.read, read))?
        .add_rules(path_beneath_rules(&paths.write, write))?
        .add_rules(ports.map(Ok::<_, RulesetError>))?;
    Ok(ruleset.restrict_self()?.landlock)
}
