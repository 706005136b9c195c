//! One end of the pair over which two processes talk.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::wire::{MESSAGE_MAX, WireRecord};
use crate::ring::passing;

/// Names the descriptor over which a process is handed another one's sockets.
pub(super) const VARIABLE: &str = "RINGWAY_HANDOVER";

/// How long the other side may leave a message unread while there is no room for it.
const SEND_PATIENCE: Duration = Duration::from_secs(1);

/// Octets in the kernel that a side asks for; it may get less.
const ROOM: usize = 8 << 20;

/// An end of the pair.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// An end, and the other one as it is given to a process.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (here, there) = passing::pair()?;
        Ok((Self::new(here)?, there))
    }

    /// The end that [`VARIABLE`] names, if that is set.
    pub(crate) fn inherited(named: &str) -> io::Result<Self> {
        let number = named.parse().ok().filter(|number| passing::is_pair(*number));
        let Some(number) = number else {
            return Err(io::Error::other("it names no socket of a hand-over"));
        };
        let socket = passing::claim(number)?;
        let maker = passing::maker(&socket)?;
        if maker != 0 && maker != passing::user() {
            return Err(io::Error::other(format!("the other side belongs to user {maker}")));
        }
        Self::new(socket)
    }

    fn new(socket: OwnedFd) -> io::Result<Self> {
        let ours = socket2::SockRef::from(&socket);
        ours.set_write_timeout(Some(SEND_PATIENCE))?;
        // The kernel cuts it to what net.core.wmem_max allows.
        ours.set_send_buffer_size(ROOM)?;
        Ok(Self(socket))
    }

    /// Says something.
    pub(crate) fn say(&self, record: &WireRecord) -> io::Result<()> {
        passing::send(&self.0, &record.write(), &[])
    }

    /// Says something with any number of descriptors, in messages that the kernel takes.
    pub(crate) fn pass(&self, record: &WireRecord, descriptors: &[OwnedFd]) -> io::Result<()> {
        let lent: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        let mut parts = lent.chunks(passing::DESCRIPTORS_MAX);
        passing::send(&self.0, &record.write(), parts.next().unwrap_or(&[]))?;
        parts.try_for_each(|part| passing::send(&self.0, &WireRecord::More.write(), part))
    }

    /// How long [`Self::hear`] waits.
    pub(crate) fn patience(&self, patience: Option<Duration>) -> io::Result<()> {
        let least = Duration::from_millis(1);
        let patience = patience.map(|patience| patience.max(least));
        socket2::SockRef::from(&self.0).set_read_timeout(patience)
    }

    /// Waits for a message; none at the end. What is malformed is an error, and so is silence.
    pub(crate) fn hear(&self) -> io::Result<Option<(WireRecord, Vec<OwnedFd>)>> {
        let mut room = vec![0; MESSAGE_MAX + 1];
        let passed = passing::receive(&self.0, &mut room)?;
        if passed.len == 0 {
            return Ok(None);
        }
        if passed.cut || passed.descriptors.len() > passing::DESCRIPTORS_MAX {
            return Err(io::Error::other("a message does not fit"));
        }
        match WireRecord::read(&room[..passed.len]) {
            Ok(record) => Ok(Some((record, passed.descriptors))),
            Err(malformed) => Err(io::Error::other(malformed.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn descriptors_without_number_are_passed_in_order() {
        let (here, there) = Channel::pair().unwrap();
        let there = Channel::new(there).unwrap();
        let files: Vec<OwnedFd> = (0..450).map(|_| passing::pair().unwrap().0).collect();
        here.pass(&WireRecord::Ready, &files).unwrap();
        here.say(&WireRecord::Complete).unwrap();
        let mut count = Vec::new();
        while let Some((record, descriptors)) = there.hear().unwrap() {
            count.push(descriptors.len());
            if record == WireRecord::Complete {
                break;
            }
        }
        assert_eq!(count, [200, 200, 50, 0]);
        drop(here);
        assert!(there.hear().unwrap().is_none());
    }

    /// Row 141: what is said is no record, or comes with too much.
    #[test]
    fn row_141_what_is_no_record_is_refused_and_its_descriptors_are_closed() {
        let (here, there) = Channel::pair().unwrap();
        let there = Channel::new(there).unwrap();
        let (file, watched) = std::os::unix::net::UnixStream::pair().unwrap();
        let file = OwnedFd::from(file);
        passing::send(&here.0, b"nonsense", &[file.as_fd(); 100]).unwrap();
        drop(file);
        assert!(there.hear().is_err());
        watched.set_nonblocking(true).unwrap();
        let left = io::Read::read(&mut &watched, &mut [0]).unwrap();
        assert_eq!(left, 0, "nobody holds the file any more");
        passing::send(&here.0, &vec![1; 2 * MESSAGE_MAX], &[]).unwrap();
        assert!(there.hear().is_err());
        there.patience(Some(Duration::from_millis(20))).unwrap();
        assert_eq!(there.hear().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn only_a_pair_is_taken_for_one() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let names = [file.as_raw_fd().to_string(), "999999".into(), "-1".into(), "three".into()];
        for name in names {
            assert!(Channel::inherited(&name).is_err(), "{name}");
        }
        let (_here, there) = Channel::pair().unwrap();
        let number = std::os::fd::IntoRawFd::into_raw_fd(there);
        Channel::inherited(&number.to_string()).unwrap();
    }
}
