//! UDP on a ring: large receive buffers for datagrams that the kernel coalesced (UDP_GRO), and
//! outgoing messages. The interface is udp(7) and io_uring_multishot(7).

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::RawFd;

use io_uring::opcode;
use io_uring::types::{CancelBuilder, Fd};
use ringway_quic::{cmsg, forward};

use super::Ring;
use super::buffers::Buffers;
use super::datagram::{Datagrams, Delivered, Outbox};
use super::token::{Id, OpKind, Token};

/// The group of the larger buffers into which UDP sockets receive.
const UDP_GROUP: u16 = 1;
/// UDP_GRO coalesces at most one UDP payload, before which stands a head where another process has
/// handed it on; the kernel truncates what does not fit.
const UDP_BUFFER: u32 = (cmsg::BEFORE + forward::HEAD + forward::PAYLOAD_MAX) as u32;

/// What a ring keeps for UDP.
pub(super) struct UdpBuffers {
    buffers: Buffers,
    /// How much room a receive leaves for the sender's address and for control messages.
    shape: Box<libc::msghdr>,
    outbox: Outbox,
}

impl Ring {
    /// Makes the ring fit for UDP: about `incoming` bytes of receive buffers, 64 KiB each, and
    /// about `outgoing` bytes for messages on their way out.
    pub(super) fn open_udp(&mut self, incoming: usize, outgoing: usize) -> io::Result<()> {
        let most = (incoming / UDP_BUFFER as usize).clamp(2, 1 << 14);
        let buffers = 1 << most.ilog2();
        let buffers = Buffers::new(&self.io.submitter(), UDP_GROUP, buffers, UDP_BUFFER)?;
        // SAFETY: msghdr is plain old data for which all zeroes is a valid value.
        let mut shape: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
        shape.msg_namelen = cmsg::NAME as u32;
        shape.msg_controllen = cmsg::CONTROL;
        self.udp =
            ManuallyDrop::new(Some(UdpBuffers { buffers, shape, outbox: Outbox::new(outgoing) }));
        Ok(())
    }

    /// Receives datagrams until told otherwise.
    pub(crate) fn receive_datagrams(&mut self, socket: Id, fd: RawFd) {
        let Some(udp) = &*self.udp else { return };
        let entry = opcode::RecvMsgMulti::new(Fd(fd), &raw const *udp.shape, UDP_GROUP).build();
        self.push(entry, Token::new(OpKind::Datagrams, 0, socket));
    }

    /// Stops receiving datagrams; the last completion comes without `more`.
    pub(crate) fn stop_receiving(&mut self, socket: Id) {
        let receive = CancelBuilder::user_data(Token::new(OpKind::Datagrams, 0, socket).bits());
        let token = Token::new(OpKind::Ignore, 0, Id::default());
        self.push(opcode::AsyncCancel2::new(receive).build(), token);
    }

    /// The contents of a receive buffer, for `cmsg::ReceivedMessage::read`.
    pub(crate) fn received_datagrams(&mut self, buffer: u16, len: usize) -> &mut [u8] {
        match &mut *self.udp {
            Some(udp) => &mut udp.buffers.slice_mut(buffer, len)[..len],
            None => &mut [],
        }
    }

    /// Gives a receive buffer of datagrams back to the kernel.
    pub(crate) fn recycle_datagrams(&mut self, buffer: u16) {
        if let Some(udp) = &mut *self.udp {
            udp.buffers.recycle(buffer);
        }
    }

    /// Room for a message of datagrams; none until messages that are under way are complete.
    pub(crate) fn datagram_room(&mut self) -> Option<&mut [u8]> {
        self.udp.as_mut()?.outbox.room()
    }

    /// Sends what was written into [`Self::datagram_room`].
    pub(crate) fn send_datagrams(&mut self, what: Datagrams) {
        let Some(udp) = &mut *self.udp else { return };
        let (number, entry) = udp.outbox.send(what);
        self.push(entry, delivered(number));
    }

    /// Takes the completion of a message.
    pub(crate) fn datagrams_sent(&mut self, id: Id, result: i32) -> Delivered {
        let Some(udp) = &mut *self.udp else { return Delivered::Taken };
        let mut again = Vec::new();
        let done = udp.outbox.sent(id.index, result, |number, entry| again.push((number, entry)));
        for (number, entry) in again {
            self.push(entry, delivered(number));
        }
        done
    }

    /// Messages of datagrams under way.
    pub(crate) fn datagrams_under_way(&self) -> usize {
        self.udp.as_ref().map_or(0, |udp| udp.outbox.under_way())
    }
}

fn delivered(message: u32) -> Token {
    Token::new(OpKind::Delivered, 0, Id { index: message, generation: 0 })
}
