//! The old process: how it starts its successor, and what it does at each step.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::channel::{Channel, VARIABLE};
use super::fault::{self, Fault};
use super::give::GiverEvent;
use super::offer::{Generation, HandedListener};
use super::wire::{CHUNK, Hello, Offered, Part, Transport, WireRecord};
use crate::serve::notify;
use crate::worker::LentSocket;

/// How this program is started again: noted before anything is upgraded or moved.
pub(crate) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// As this process was started.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        let name = arguments.next().map(PathBuf::from).unwrap_or_default();
        let running = std::env::current_exe()?;
        // The name rather than what it leads to: an upgrade may move a symbolic link.
        let named = match name.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => std::path::absolute(&name).ok(),
            _ => search(&name),
        };
        let is_same = |path: &PathBuf| path.canonicalize().is_ok_and(|path| path == running);
        Ok(Self { path: named.filter(is_same).unwrap_or(running), arguments: arguments.collect() })
    }

    /// What starts it as this process was started.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments);
        command
    }
}

/// The program of this name on the search path.
fn search(name: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let candidates = std::env::split_paths(&path).map(|directory| directory.join(name));
    candidates.filter_map(|path| std::path::absolute(path).ok()).find(|path| path.is_file())
}

/// A process that has been started to replace this one.
pub(crate) struct Successor {
    channel: Arc<Channel>,
    child: Arc<Mutex<Child>>,
    pid: u32,
}

impl Successor {
    /// Starts it. What it says is told to `tell`, and last that it is gone; it has been reaped by
    /// then.
    pub(crate) fn start(
        program: &Program,
        tell: impl Fn(GiverEvent) + Send + 'static,
    ) -> io::Result<Self> {
        let (here, there) = Channel::pair()?;
        let path = match fault::is_injected(Fault::NoProgram) {
            true => Path::new("/nowhere"),
            false => &program.path,
        };
        let mut command = Command::new(path);
        // Its end is its standard input, which is the one way to leave a descriptor to one process
        // and to no other that is started meanwhile.
        command.args(&program.arguments).env(VARIABLE, "0").stdin(Stdio::from(there));
        command.envs(notify::variables());
        let child = command.spawn();
        // The command holds the other end.
        drop(command);
        let child = child.map_err(|error| {
            io::Error::new(error.kind(), format!("{} cannot be started: {error}", path.display()))
        })?;
        let pid = child.id();
        let (channel, child) = (Arc::new(here), Arc::new(Mutex::new(child)));
        let (theirs, reaped) = (Arc::clone(&channel), Arc::clone(&child));
        let listen = move || {
            while let Ok(Some((record, _))) = theirs.hear() {
                tell(GiverEvent::Said(record));
            }
            // The end, or nonsense: it is not waited for.
            let mut child = lock(&reaped);
            let _ = child.kill();
            let _ = child.wait();
            drop(child);
            tell(GiverEvent::Gone);
        };
        std::thread::Builder::new().name("ringway-handover".into()).spawn(listen)?;
        Ok(Self { channel, child, pid })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Kills it.
    pub(crate) fn kill(&self) {
        // An error means that it has ended.
        let _ = lock(&self.child).kill();
    }

    /// Says something; if it is gone, that is told by itself.
    pub(crate) fn say(&self, record: &WireRecord) -> io::Result<()> {
        self.channel.say(record)
    }

    /// Offers everything.
    pub(crate) fn offer(
        &self,
        hello: Hello,
        listeners: &[HandedListener<OwnedFd>],
        generations: &[Generation<OwnedFd>],
        secrets: Option<&str>,
    ) -> io::Result<()> {
        self.say(&WireRecord::Hello(hello))?;
        for HandedListener { transport, name, sockets } in listeners {
            let offered = Offered {
                transport: *transport,
                sockets: sockets.len() as u16,
                name: name.clone(),
            };
            self.channel.pass(&WireRecord::Listener(offered), sockets)?;
        }
        for Generation { number, pid, descriptors } in generations {
            let (number, pid, count) = (*number, *pid, descriptors.len() as u16);
            let generation = WireRecord::Generation { number, pid, descriptors: count };
            self.channel.pass(&generation, descriptors)?;
        }
        self.state(Part::Secrets, secrets.unwrap_or_default().as_bytes())?;
        self.say(&WireRecord::Complete)
    }

    /// Hands state over.
    pub(crate) fn state(&self, part: Part, bytes: &[u8]) -> io::Result<()> {
        bytes.chunks(CHUNK).try_for_each(|chunk| self.say(&WireRecord::State(part, chunk.to_vec())))
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sockets that workers have lent, by listener. Of each listener those of the first place come
/// first, in the order of the workers, which is the order in which the kernel knows them.
pub(crate) fn by_listener(mut lent: Vec<LentSocket>) -> Vec<HandedListener<OwnedFd>> {
    lent.sort_by_key(|socket| (socket.is_udp, socket.place, socket.worker));
    let mut listeners: Vec<HandedListener<OwnedFd>> = Vec::new();
    for LentSocket { is_udp, name, socket, .. } in lent {
        let transport = if is_udp { Transport::Udp } else { Transport::Tcp };
        let known = listeners
            .iter_mut()
            .filter(|listener| listener.transport == transport && *listener.name == *name)
            // The same name twice may be two ports that the kernel has chosen.
            .find(|listener| listener.sockets.first().map(address) == Some(address(&socket)));
        match known {
            Some(listener) => listener.sockets.push(socket),
            None => {
                let name = name.to_string();
                listeners.push(HandedListener { transport, name, sockets: vec![socket] });
            }
        }
    }
    listeners
}

fn address(socket: &OwnedFd) -> Option<socket2::SockAddr> {
    socket2::SockRef::from(socket).local_addr().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_in_the_order_in_which_they_were_bound() {
        let sockets: Vec<_> = (0..4).map(|_| crate::ring::passing::pair().unwrap().0).collect();
        let numbers: Vec<_> = sockets.iter().map(std::os::fd::AsRawFd::as_raw_fd).collect();
        // Two workers with two sockets of a listener each: 0 and 2, 1 and 3.
        let lent = sockets.into_iter().enumerate().map(|(at, socket)| LentSocket {
            worker: at as u32 % 2,
            place: at / 2,
            is_udp: false,
            name: ":80".into(),
            socket,
        });
        let mut lent: Vec<_> = lent.collect();
        lent.swap(0, 3);
        lent.swap(1, 2);
        let listeners = by_listener(lent);
        assert_eq!((listeners.len(), &*listeners[0].name), (1, ":80"));
        let sockets = listeners[0].sockets.iter();
        let found: Vec<_> = sockets.map(std::os::fd::AsRawFd::as_raw_fd).collect();
        assert_eq!(found, numbers);
    }
}
