//! The machine as files: all reads of `/proc` and `/sys` go through here, so that tests can use a
//! directory of fixtures.

use std::fs;
use std::path::{Path, PathBuf};

/// A machine to examine.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
}

impl Default for Host {
    fn default() -> Self {
        Self::live()
    }
}

impl Host {
    /// The machine that this process runs on.
    pub fn live() -> Self {
        Self::at("/")
    }

    /// A directory that holds `proc` and `sys` like a machine's root.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The real location of `path`, which has no leading slash.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A small file's text without the white space around it; none if it cannot be read.
    pub fn read(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.path(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// A file that holds one number.
    pub fn number(&self, path: &str) -> Option<i64> {
        self.read(path)?.parse().ok()
    }

    /// A sysctl by its dotted name: `net.core.somaxconn`. Tabs between its values become spaces.
    pub fn sysctl(&self, name: &str) -> Option<String> {
        let text = self.read(&format!("proc/sys/{}", name.replace('.', "/")))?;
        Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// The names in a directory, sorted; none at all if it cannot be read.
    pub fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }

    /// Whether a path is there.
    pub fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// The target of a symbolic link.
    pub fn link(&self, path: impl AsRef<Path>) -> Option<PathBuf> {
        fs::read_link(self.root.join(path)).ok()
    }

    /// A field of `/proc/self/status`: `Seccomp`, `CapEff`.
    pub fn status(&self, field: &str) -> Option<String> {
        let text = self.read("proc/self/status")?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        Some(line.trim().to_owned())
    }

    /// Whether this process has a capability in force, by its number in `capabilities(7)`.
    pub fn capable(&self, capability: u32) -> bool {
        let mask = self.status("CapEff").and_then(|mask| u64::from_str_radix(&mask, 16).ok());
        mask.is_some_and(|mask| mask >> capability & 1 == 1)
    }

    /// Whether a seccomp filter is in force on this process.
    pub fn is_filtered(&self) -> bool {
        self.status("Seccomp").is_some_and(|mode| mode != "0")
    }

    /// The container of this process, by the marks of common runtimes; `None` if there are none.
    pub fn container(&self) -> Option<String> {
        let named = self.read("run/systemd/container").filter(|name| !name.is_empty());
        if named.is_some() {
            return named;
        }
        for (mark, name) in [(".dockerenv", "docker"), ("run/.containerenv", "podman")] {
            if self.has(mark) {
                return Some(name.to_owned());
            }
        }
        let environment = self.read("proc/1/environ").unwrap_or_default();
        let named = environment.split('\0').find_map(|each| each.strip_prefix("container="));
        if let Some(name) = named {
            return Some(name.to_owned());
        }
        let groups = self.read("proc/1/cgroup").unwrap_or_default();
        let known = ["docker", "kubepods", "containerd", "libpod", "lxc"];
        known.iter().find(|name| groups.contains(**name)).map(|name| (*name).to_owned())
    }

    /// The kernel's release as two numbers: `6.18.44-x` is `(6, 18)`.
    pub fn kernel(&self) -> Option<(u32, u32)> {
        let release = self.read("proc/sys/kernel/osrelease")?;
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

/// `CAP_NET_ADMIN`: routes, queues, most of `net.*`.
pub(crate) const CAP_NET_ADMIN: u32 = 12;
/// `CAP_SYS_ADMIN`: io_uring where only privileged processes may use it.
pub(crate) const CAP_SYS_ADMIN: u32 = 21;

#[cfg(test)]
pub(crate) mod fixture {
    //! A machine made of files, for tests.

    use super::Host;
    use std::path::PathBuf;

    /// A directory of fixtures, removed with the value.
    pub(crate) struct Fixture(PathBuf);

    impl Fixture {
        pub(crate) fn new(name: &str) -> Self {
            let id = std::process::id();
            let root = std::env::temp_dir().join(format!("ringway-tuning-{id}-{name}"));
            let _ = std::fs::remove_dir_all(&root);
            std::fs::create_dir_all(&root).unwrap();
            Self(root)
        }

        /// Writes a file, making its directories.
        pub(crate) fn with(self, path: &str, text: &str) -> Self {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
            self
        }

        pub(crate) fn host(&self) -> Host {
            Host::at(&self.0)
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::Fixture;

    #[test]
    fn reads_what_is_there_and_nothing_else() {
        let machine = Fixture::new("host")
            .with("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n")
            .with("proc/sys/kernel/osrelease", "6.18.44-x\n")
            .with("proc/self/status", "Name:\tx\nSeccomp:\t2\nCapEff:\t0000000000200000\n");
        let host = machine.host();
        assert_eq!(host.sysctl("net.ipv4.tcp_rmem").as_deref(), Some("4096 131072 6291456"));
        assert_eq!(host.sysctl("net.ipv4.absent"), None);
        assert_eq!(host.kernel(), Some((6, 18)));
        assert!(host.is_filtered() && host.capable(21) && !host.capable(12));
        assert!(host.names("absent").is_empty());
    }
}
