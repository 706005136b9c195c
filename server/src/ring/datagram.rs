//! Outgoing datagrams: written during a turn, read by the kernel until each message completes.
//! Messages lie one behind the other in a few large blocks. A block is reused from its start once
//! none of its messages is under way, so memory is bounded by the blocks. The interface is udp(7),
//! with UDP_SEGMENT.

use std::net::IpAddr;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};
use ringway_quic::cmsg::{self, Control};
use ringway_quic::gso::{BYTES_MAX, Transmit};

/// Bytes of a block.
const BLOCK: usize = 4 * 64 * 1024;

/// A message for a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagrams {
    /// The socket.
    pub(crate) fd: RawFd,
    /// Addresses, length, segments.
    pub(crate) transmit: Transmit,
    /// The address to send from, where the socket has more than one.
    pub(crate) from: Option<IpAddr>,
    /// The connection that sent it, returned with the result.
    pub(crate) owner: u64,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// The kernel took it.
    Taken,
    /// The kernel refused it with this errno. QUIC's loss recovery sends the data again.
    Refused { owner: u64, errno: i32 },
    /// The kernel cannot split it (this errno): its datagrams are sent one by one.
    Unsplit { owner: u64, errno: i32 },
}

/// All messages of a ring.
pub(super) struct Outbox {
    blocks: Vec<Block>,
    blocks_max: usize,
    /// The block that is being written.
    current: usize,
    messages: Vec<Option<Box<Message>>>,
    #[expect(clippy::vec_box, reason = "the kernel holds pointers into the boxes")]
    spare: Vec<Box<Message>>,
    free: Vec<u32>,
}

struct Block {
    bytes: Box<[u8]>,
    used: usize,
    under_way: u32,
}

/// A message under way. The kernel holds pointers into it, so it stays in its box until it is done.
struct Message {
    what: Datagrams,
    block: usize,
    at: usize,
    name: [u8; cmsg::NAME],
    control: Control,
    part: libc::iovec,
    header: libc::msghdr,
}

impl Outbox {
    /// An outbox of about `bytes` bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            blocks: Vec::new(),
            blocks_max: (bytes / BLOCK).max(2),
            current: 0,
            messages: Vec::new(),
            spare: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Room for a message. `None` while every block is full; completions make room.
    pub(super) fn room(&mut self) -> Option<&mut [u8]> {
        let fits = |block: &Block| block.bytes.len() - block.used >= BYTES_MAX;
        if !self.blocks.get(self.current).is_some_and(fits) {
            self.current = match self.blocks.iter().position(fits) {
                Some(at) => at,
                None if self.blocks.len() < self.blocks_max => {
                    let bytes = vec![0; BLOCK].into();
                    self.blocks.push(Block { bytes, used: 0, under_way: 0 });
                    self.blocks.len() - 1
                }
                None => return None,
            };
        }
        let block = &mut self.blocks[self.current];
        Some(&mut block.bytes[block.used..])
    }

    /// The submission of a message that was written into [`Self::room`], and its number.
    pub(super) fn send(&mut self, what: Datagrams) -> (u32, squeue::Entry) {
        let block = &mut self.blocks[self.current];
        let at = block.used;
        assert!(what.transmit.len <= block.bytes.len() - at, "a message lies in its block");
        block.used += what.transmit.len;
        self.start(what, self.current, at)
    }

    fn start(&mut self, what: Datagrams, block: usize, at: usize) -> (u32, squeue::Entry) {
        let mut message = self.spare.pop().unwrap_or_else(Message::empty);
        (message.what, message.block, message.at) = (what, block, at);
        let block = &mut self.blocks[block];
        block.under_way += 1;
        let entry = message.entry(&mut block.bytes[at..at + what.transmit.len]);
        let number = self.free.pop().unwrap_or_else(|| {
            self.messages.push(None);
            self.messages.len() as u32 - 1
        });
        self.messages[number as usize] = Some(message);
        (number, entry)
    }

    /// Takes a message's completion. `more` is given the submissions of its datagrams if they have
    /// to be sent one by one.
    pub(super) fn sent(
        &mut self,
        number: u32,
        result: i32,
        mut more: impl FnMut(u32, squeue::Entry),
    ) -> Delivered {
        let Some(message) = self.messages.get_mut(number as usize).and_then(Option::take) else {
            return Delivered::Taken;
        };
        self.free.push(number);
        let (what, block, at) = (message.what, message.block, message.at);
        if self.spare.len() < SPARE {
            self.spare.push(message);
        }
        let errno = -result;
        let delivered = if result >= 0 {
            Delivered::Taken
        } else if what.transmit.segment_size.is_some() && is_unsplit(errno) {
            for range in what.transmit.datagrams() {
                let (at, len) = (at + range.start, range.len());
                let transmit = Transmit { len, segment_size: None, ..what.transmit };
                let (number, entry) = self.start(Datagrams { transmit, ..what }, block, at);
                more(number, entry);
            }
            Delivered::Unsplit { owner: what.owner, errno }
        } else {
            Delivered::Refused { owner: what.owner, errno }
        };
        let block = &mut self.blocks[block];
        block.under_way -= 1;
        if block.under_way == 0 {
            block.used = 0;
        }
        delivered
    }

    /// Messages under way.
    pub(super) fn under_way(&self) -> usize {
        self.messages.len() - self.free.len()
    }
}

/// Spare messages kept; more are freed.
const SPARE: usize = 256;

/// Whether the errno means that the message cannot be segmented: a device or tunnel cannot split
/// (EIO, EINVAL), or the segments exceed the path's MTU (EMSGSIZE).
fn is_unsplit(errno: i32) -> bool {
    matches!(errno, libc::EIO | libc::EINVAL | libc::EMSGSIZE)
}

impl Message {
    fn empty() -> Box<Self> {
        let nowhere = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
        let transmit = Transmit { to: nowhere, from: nowhere, len: 0, segment_size: None };
        // SAFETY: iovec and msghdr are plain old data for which all zeroes is a valid value.
        let (part, header) = unsafe { std::mem::zeroed() };
        Box::new(Self {
            what: Datagrams { fd: -1, transmit, from: None, owner: 0 },
            block: 0,
            at: 0,
            name: [0; cmsg::NAME],
            control: Control::new(None, None),
            part,
            header,
        })
    }

    /// The submission entry. Its pointers go into `self` and `bytes`, which must stay.
    fn entry(&mut self, bytes: &mut [u8]) -> squeue::Entry {
        let Datagrams { fd, transmit, from, .. } = self.what;
        self.part.iov_base = bytes.as_mut_ptr().cast();
        self.part.iov_len = bytes.len();
        self.header.msg_namelen = cmsg::write_address(transmit.to, &mut self.name) as u32;
        self.header.msg_name = self.name.as_mut_ptr().cast();
        self.header.msg_iov = &raw mut self.part;
        self.header.msg_iovlen = 1;
        self.control = Control::new(transmit.segment_size, from);
        let control = self.control.as_bytes();
        self.header.msg_controllen = control.len();
        self.header.msg_control = match control.len() {
            0 => std::ptr::null_mut(),
            _ => control.as_ptr().cast_mut().cast(),
        };
        opcode::SendMsg::new(types::Fd(fd), &raw const self.header).build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(len: usize, segment_size: Option<u16>) -> Datagrams {
        let (to, from) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        let transmit = Transmit { to, from, len, segment_size };
        Datagrams { fd: 7, transmit, from: None, owner: 5 }
    }

    #[test]
    fn there_is_room_until_all_blocks_are_under_way() {
        let mut outbox = Outbox::new(2 * BLOCK);
        let mut numbers = Vec::new();
        while outbox.room().is_some() {
            assert!(numbers.len() < 8, "two blocks hold eight of the largest messages");
            numbers.push(outbox.send(message(BYTES_MAX, Some(1200))).0);
        }
        assert_eq!((numbers.len(), outbox.under_way()), (8, 8));
        // One block's messages have to be complete, all of them.
        for number in &numbers[..3] {
            assert_eq!(outbox.sent(*number, 9, |_, _| ()), Delivered::Taken);
            assert!(outbox.room().is_none());
        }
        outbox.sent(numbers[3], 9, |_, _| ());
        assert!(outbox.room().is_some_and(|room| room.len() == BLOCK));
    }

    #[test]
    fn what_cannot_be_split_goes_one_by_one_from_where_it_lies() {
        let mut outbox = Outbox::new(0);
        outbox.room().unwrap()[..10].copy_from_slice(b"0123456789");
        let (number, _) = outbox.send(message(10, Some(4)));
        let mut again = Vec::new();
        let delivered = outbox.sent(number, -libc::EIO, |number, _| again.push(number));
        assert_eq!(delivered, Delivered::Unsplit { owner: 5, errno: libc::EIO });
        let part = |number: &u32| {
            let message = outbox.messages[*number as usize].as_ref().unwrap();
            assert_eq!(message.header.msg_controllen, 0);
            (message.at, message.part.iov_len)
        };
        let parts: Vec<_> = again.iter().map(part).collect();
        assert_eq!(parts, [(0, 4), (4, 4), (8, 2)]);
        let refused = outbox.sent(again[0], -libc::EMSGSIZE, |_, _| ());
        assert_eq!(refused, Delivered::Refused { owner: 5, errno: libc::EMSGSIZE });
        outbox.sent(again[1], 4, |_, _| ());
        outbox.sent(again[2], 2, |_, _| ());
        assert_eq!(outbox.under_way(), 0);
        assert_eq!(outbox.room().map(|room| room.len()), Some(BLOCK));
    }
}
