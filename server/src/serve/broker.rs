//! The broker: a small process that stays root when the server becomes another user. It opens for
//! the server, over a pair of sockets, the files that stand in the configuration, which it reads
//! itself: keys and certificates that are renewed, the configuration, the log that was rotated. It
//! has no thread, no ring and no other input, and ends with the server.
//!
//! A server that was taken over may ask for anything. So a path that is not configured is refused,
//! and so is one on which anyone but root could have put something else: every directory and link
//! on the way, and the file, have to be root's, and no directory may be written to by others.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::app::error::Error;
use crate::config::Config;
use crate::ring::broker::{How, PATH_BYTES};
use crate::ring::{broker, passing};
use crate::rt::console::note;
use crate::serve::handover::Program;
use crate::serve::privileges::{empty_bounding_set, give_up_capabilities};

/// Tells a process that its standard input is the socket of a broker.
const VARIABLE: &str = "RINGWAY_BROKER";

/// How long a refusal takes, so that guessing is slow.
const REFUSAL: Duration = Duration::from_millis(20);

/// Links on the way to a file at most, as many as the kernel follows.
const LINKS_MAX: u32 = 40;

/// Starts a broker for this process, which is about to give up being root.
pub(super) fn start() -> Result<(), Error> {
    let spawn = || {
        let (here, there) = passing::pair()?;
        let mut command = Program::of_this_process()?.command();
        command.env(VARIABLE, "0").stdin(Stdio::from(there)).stdout(Stdio::null());
        // It ends when this end is closed, and is nobody's to wait for.
        command.spawn()?;
        broker::engage(here);
        Ok(())
    };
    spawn().map_err(|source| Error::Privileges { what: "the broker".into(), source })
}

/// The files that a configuration names, as a broker may open them.
#[derive(Debug, Default)]
struct Files {
    read: Vec<PathBuf>,
    append: Vec<PathBuf>,
}

impl Files {
    fn of(config: &Config, sources: Vec<PathBuf>) -> Self {
        let tls = &config.tls;
        let of_sites = config.site.iter().filter_map(|site| site.certificate.as_ref());
        let further = tls.certificates.iter().chain(of_sites);
        let further =
            further.flat_map(|each| [&each.cert, &each.key].into_iter().chain(&each.ocsp));
        let first = [&tls.cert, &tls.key, &tls.ocsp, &tls.client_ca].into_iter().flatten();
        let read = first.chain(further).cloned().chain(sources);
        let absolute = |path: PathBuf| std::path::absolute(path).ok();
        Self {
            read: read.filter_map(absolute).collect(),
            append: config.log.file.clone().and_then(absolute).into_iter().collect(),
        }
    }

    fn has(&self, how: How, path: &Path) -> bool {
        match how {
            How::Read => self.read.iter().any(|each| each == path),
            How::Append => self.append.iter().any(|each| each == path),
        }
    }
}

/// A process that is a broker.
pub struct Broker {
    socket: OwnedFd,
    files: Files,
    refused: u64,
}

impl Broker {
    /// The broker that this process is to be; none if it is another command.
    pub fn of_this_process() -> Option<Self> {
        std::env::var_os(VARIABLE).filter(|value| value == "0")?;
        if !passing::is_pair(libc::STDIN_FILENO) {
            return None;
        }
        let socket = passing::claim(libc::STDIN_FILENO).ok()?;
        (passing::maker(&socket).ok()? == passing::user()).then(|| Self::on(socket))
    }

    fn on(socket: OwnedFd) -> Self {
        Self { socket, files: Files::default(), refused: 0 }
    }

    /// Opens files until the server has ended. `configured` reads the configuration, and says which
    /// files it was read from; none where it has a mistake.
    pub fn serve(mut self, configured: impl FnMut() -> Option<(Config, Vec<PathBuf>)>) {
        // They are for the server, and reach the whole group at a terminal.
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2] {
            let _ = signal_hook::flag::register(signal, Arc::default());
        }
        // What is root's is opened by its owner: that takes no capability.
        let given_up = empty_bounding_set().and_then(|()| give_up_capabilities());
        if let Err(error) = given_up {
            return note!("broker: capabilities: {error}");
        }
        self.answer(configured);
    }

    fn answer(&mut self, mut configured: impl FnMut() -> Option<(Config, Vec<PathBuf>)>) {
        let mut room = vec![0; PATH_BYTES + 2];
        while let Ok(passed) = passing::receive(&self.socket, &mut room) {
            let request = &room[..passed.len];
            let Some((how, path)) = request.split_first() else { return };
            let path = Path::new(OsStr::from_bytes(path));
            let how = How::of(*how).filter(|_| !passed.cut);
            // Read anew at each request: what stood there once may not stand there now.
            if let Some((config, sources)) = configured() {
                self.files = self.files_of(&config, sources);
            }
            let opened = match how.filter(|how| self.files.has(*how, path)) {
                Some(how) => open(how, path),
                None => Err(Refusal::NotConfigured),
            };
            let (errno, file) = match opened {
                Ok(file) => (0, Some(file)),
                Err(Refusal::Kernel(errno)) => (errno.raw_os_error(), None),
                Err(refusal) => {
                    self.refuse(path, &refusal);
                    (0, None)
                }
            };
            let lent: Vec<_> = file.iter().map(std::os::fd::AsFd::as_fd).collect();
            if passing::send(&self.socket, &errno.to_ne_bytes(), &lent).is_err() {
                return;
            }
        }
    }

    /// None where somebody else can write the configuration.
    fn files_of(&mut self, config: &Config, sources: Vec<PathBuf>) -> Files {
        for file in &sources {
            let absolute = std::path::absolute(file).unwrap_or_default();
            if let Err(refusal) = open(How::Read, &absolute) {
                self.refuse(file, &refusal);
                return Files::default();
            }
        }
        Files::of(config, sources)
    }

    fn refuse(&mut self, path: &Path, refusal: &Refusal) {
        self.refused += 1;
        note!("broker: {path:?} is refused ({} until now): {refusal}", self.refused);
        std::thread::sleep(REFUSAL);
    }
}

/// Why a file is not opened.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    NotConfigured,
    /// Somebody else could have put something else here.
    NotOurs(PathBuf),
    Kernel(rustix::io::Errno),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotConfigured => f.write_str("the configuration does not name it"),
            Self::NotOurs(at) => write!(
                f,
                "{} is not root's alone (owner, writers, links), so others could have put it there",
                at.display()
            ),
            Self::Kernel(errno) => errno.fmt(f),
        }
    }
}

impl From<rustix::io::Errno> for Refusal {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Kernel(errno)
    }
}

/// Opens a file on a way that root alone has made.
fn open(how: How, path: &Path) -> Result<File, Refusal> {
    const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
    const ENTRY: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
    let top = || openat(CWD, "/", DIRECTORY, Mode::empty());
    let (mut here, mut so_far) = (top()?, PathBuf::from("/"));
    let mut names: VecDeque<OsString> = names_of(path).collect();
    let mut links = 0;
    while let Some(name) = names.pop_front() {
        is_ours(&fstat(&here)?, &so_far)?;
        if name == ".." {
            here = openat(&here, "..", DIRECTORY, Mode::empty())?;
            continue;
        }
        so_far.push(&name);
        if how == How::Append && names.is_empty() {
            return append(&here, &name, &so_far);
        }
        let entry = openat(&here, &name, ENTRY, Mode::empty())?;
        let stat = fstat(&entry)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                links += 1;
                if !has_our_owner(&stat) {
                    return Err(Refusal::NotOurs(so_far));
                }
                if links > LINKS_MAX {
                    return Err(rustix::io::Errno::LOOP.into());
                }
                let target = readlinkat(&entry, "", Vec::new())?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                if target.is_absolute() {
                    (here, so_far) = (top()?, PathBuf::from("/"));
                } else {
                    so_far.pop();
                }
                names_of(&target).rev().for_each(|name| names.push_front(name));
            }
            FileType::Directory => here = entry,
            FileType::RegularFile if names.is_empty() => {
                if !has_our_owner(&stat) || stat.st_nlink != 1 {
                    return Err(Refusal::NotOurs(so_far));
                }
                // The very file that was looked at.
                let same = format!("/proc/self/fd/{}", entry.as_raw_fd());
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                return Ok(File::from(openat(CWD, same, flags, Mode::empty())?));
            }
            _ => return Err(Refusal::NotOurs(so_far)),
        }
    }
    Err(rustix::io::Errno::ISDIR.into())
}

/// Opens a log for appending.
fn append(directory: &OwnedFd, name: &OsStr, path: &Path) -> Result<File, Refusal> {
    is_ours(&fstat(directory)?, path)?;
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::CLOEXEC;
    // A link is followed to nowhere: ELOOP.
    let file = openat(directory, name, flags, Mode::from_raw_mode(0o640))?;
    let stat = fstat(&file)?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    match is_file && has_our_owner(&stat) && stat.st_nlink == 1 {
        true => Ok(File::from(file)),
        false => Err(Refusal::NotOurs(path.to_owned())),
    }
}

fn names_of(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

fn has_our_owner(stat: &Stat) -> bool {
    stat.st_uid == 0 || stat.st_uid == passing::user()
}

/// A directory into which root alone puts things. In one with the sticky bit others do too, but
/// cannot replace what is root's.
fn is_ours(directory: &Stat, path: &Path) -> Result<(), Refusal> {
    let is_shared = directory.st_mode & 0o022 != 0 && directory.st_mode & 0o1000 == 0;
    match has_our_owner(directory) && !is_shared {
        true => Ok(()),
        false => Err(Refusal::NotOurs(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::{io, thread};

    use super::*;
    use crate::config::{LogConfig, TlsConfig};

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir =
                std::env::temp_dir().join(format!("ringway-broker-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir_all(dir.join("open")).unwrap();
            fs::set_permissions(dir.join("open"), fs::Permissions::from_mode(0o777)).unwrap();
            Self(dir)
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            fs::write(self.at(name), text).unwrap();
            self.at(name)
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// What a server gets that asks a broker with this configuration for files, one after another:
    /// their text, or why not.
    fn ask(config: &Config, source: &Path, wanted: &[(How, PathBuf)]) -> Vec<String> {
        let (here, there) = passing::pair().unwrap();
        let (config, source) = (config.clone(), source.to_owned());
        let serving = thread::spawn(move || {
            Broker::on(there).answer(|| Some((config.clone(), vec![source.clone()])));
        });
        let answers = wanted.iter().map(|(how, path)| match broker::asked(&here, *how, path) {
            Ok(Some(file)) if *how == How::Read => io::read_to_string(file).unwrap(),
            Ok(Some(mut file)) => {
                io::Write::write_all(&mut file, b"line").unwrap();
                "appended".to_owned()
            }
            Ok(None) => "refused".to_owned(),
            Err(error) => error.kind().to_string(),
        });
        let answers = answers.collect();
        drop(here);
        serving.join().unwrap();
        answers
    }

    fn configured(cert: PathBuf, key: PathBuf, log: PathBuf) -> Config {
        Config {
            tls: TlsConfig { cert: Some(cert), key: Some(key), ..TlsConfig::default() },
            log: LogConfig { file: Some(log), ..LogConfig::default() },
            ..Config::default()
        }
    }

    /// Row 146: what the configuration does not name, in every spelling, and what it names to be
    /// used in another way.
    #[test]
    fn row_146_only_what_stands_in_the_configuration() {
        let dir = Scratch::new("named");
        let (cert, key) = (dir.write("cert", "the certificate"), dir.write("key", "the key"));
        let (log, other) = (dir.write("log", ""), dir.write("other", "other"));
        let source = dir.write("ringway.toml", "");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let config = configured(cert.clone(), key.clone(), log.clone());
        let wanted = [
            (How::Read, cert),
            (How::Read, key.clone()),
            (How::Read, source.clone()),
            (How::Append, log.clone()),
            (How::Read, other.clone()),
            (How::Read, "/etc/shadow".into()),
            (How::Read, "key".into()),
            (How::Read, dir.at("./key")),
            (How::Read, dir.at("open/../key")),
            (How::Read, "".into()),
            (How::Read, log.clone()),
            (How::Append, key),
            (How::Append, other),
        ];
        let answers = ask(&config, &source, &wanted);
        // A path is compared by its components, of which a dot is none.
        let expected =
            ["the certificate", "the key", "", "appended", "refused", "refused", "refused"];
        assert_eq!(answers[..7], expected);
        assert_eq!(answers[7], "the key");
        assert_eq!(answers[8..], ["refused"; 5]);
        assert_eq!(fs::read_to_string(log).unwrap(), "line");
    }

    /// Row 146: links and files that somebody else could have put where the configuration leads.
    #[test]
    fn row_146_nothing_that_others_could_have_swapped() {
        let dir = Scratch::new("swapped");
        let (secret, source) = (dir.write("secret", "the secret"), dir.write("ringway.toml", ""));
        let log = dir.write("log", "");
        symlink(&secret, dir.at("open/key")).unwrap();
        symlink(&secret, dir.at("live")).unwrap();
        symlink("open", dir.at("way")).unwrap();
        symlink("round", dir.at("round")).unwrap();
        dir.write("open/plain", "plain");
        fs::hard_link(&secret, dir.at("twice")).unwrap();
        rustix::fs::mknodat(CWD, dir.at("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let key = |name: &str, log: &PathBuf| configured(secret.clone(), dir.at(name), log.clone());
        for (name, answer) in [
            ("open/key", "refused"),
            ("open/plain", "refused"),
            ("way/plain", "refused"),
            ("pipe", "refused"),
            ("twice", "refused"),
            ("none", "entity not found"),
        ] {
            let answers = ask(&key(name, &log), &source, &[(How::Read, dir.at(name))]);
            assert_eq!(answers, [answer], "{name}");
        }
        let round = ask(&key("round", &log), &source, &[(How::Read, dir.at("round"))]);
        assert!(!["refused", "the secret"].contains(&round[0].as_str()), "{round:?}");
        fs::remove_file(dir.at("twice")).unwrap();
        // As certbot has them.
        let answers = ask(&key("live", &log), &source, &[(How::Read, dir.at("live"))]);
        assert_eq!(answers, ["the secret"]);
        // A log is no link, and no file of others' directories.
        for name in ["live", "open/log"] {
            let answers = ask(&key("live", &dir.at(name)), &source, &[(How::Append, dir.at(name))]);
            assert!(!answers.contains(&"appended".to_owned()), "{name}");
        }
        assert_eq!(fs::read_to_string(&secret).unwrap(), "the secret");
        // A configuration that others can write names nothing.
        let source = dir.write("open/ringway.toml", "");
        let answers = ask(&key("live", &log), &source, &[(How::Read, dir.at("live"))]);
        assert_eq!(answers, ["refused"]);
    }
}
