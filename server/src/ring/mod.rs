//! All contact with io_uring: a worker's ring, behind a safe interface.
//!
//! Everything the kernel may touch while an operation is under way is owned by the [`Ring`]
//! (receive buffers, bytes being sent, file jobs) and given back by the completion, so nothing
//! outside this folder needs `unsafe` and no future or connection can free memory under the
//! kernel's hands. Submissions are queued and go out with the next [`Ring::enter`]: one system call
//! a turn. What is known of the kernel's side: io_uring_setup(2), io_uring_enter(2),
//! io_uring_multishot(7), io_uring_provided_buffers(7), io_uring_cancelation(7).

#[cfg(ringway_asan)]
mod asan;
pub(crate) mod broker;
mod buffers;
pub(crate) mod datagram;
pub(crate) mod job;
pub(crate) mod message;
mod operations;
pub(crate) mod passing;
pub(crate) mod probe;
pub(crate) mod process;
pub(crate) mod reserve;
pub(crate) mod send;
pub(crate) mod sys;
#[cfg(test)]
mod tests;
pub(crate) mod token;
mod udp;

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fd, Napi, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use ringway_codec::scan::PAD;

use crate::ring::reserve::{grow, room};
use buffers::Buffers;
use job::Job;
use send::{Pinned, Send, Sending};
use token::{Id, OpKind, Token};
use udp::UdpBuffers;

const GROUP: u16 = 0;
const ENTER_GETEVENTS: u32 = 1;
const ENTER_EXT_ARG: u32 = 1 << 3;
/// Linux 6.15: an idle worker is idle, not waiting for a disk.
const ENTER_NO_IOWAIT: u32 = 1 << 7;
/// With batching on, a wait ends early after this many completions.
const BATCH: u32 = 16;
const RECV_POLL_FIRST: u16 = 1;
/// Boxes kept for sends of more than one part.
const SPARE_SENDS: usize = 64;

/// How connections receive. Both run the same connection machine; ARCHITECTURE.md has the figures
/// by which one was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RecvMode {
    /// One submission for many receives; pausing costs a cancellation.
    #[default]
    Multishot,
    /// One submission for each receive, made after the poll; pausing costs nothing.
    Single,
}

/// The sizes and modes of a ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingSettings {
    /// Submission queue entries: a batch.
    pub(crate) submissions: u32,
    /// Completion queue entries. More completions in one turn overflow into kernel memory.
    pub(crate) completions: u32,
    /// Receive buffers, a power of two.
    pub(crate) buffers: u16,
    /// Bytes in each.
    pub(crate) buffer_size: u32,
    /// How connections receive.
    pub(crate) recv: RecvMode,
    /// Expected connections; sizes the table of sends.
    pub(crate) connections: usize,
    /// For UDP, where that is wanted: bytes of receive buffers, and bytes on their way out.
    pub(crate) udp: Option<(usize, usize)>,
    /// Busy polling of the network card, in microseconds; 0 for none.
    pub(crate) busy_poll_us: u32,
    /// How long completions may gather, in microseconds; 0 for not at all.
    pub(crate) batch_wait_us: u32,
}

impl Default for RingSettings {
    fn default() -> Self {
        // 16 KiB holds a whole TLS record; 256 of them are 4 MiB, of which a quiet worker touches
        // only the first lines of each.
        Self {
            submissions: 512,
            completions: 8192,
            buffers: 256,
            buffer_size: 16 * 1024 + 512,
            recv: RecvMode::default(),
            connections: 0,
            udp: None,
            busy_poll_us: 0,
            batch_wait_us: 0,
        }
    }
}

/// A completion.
#[derive(Clone, Copy)]
pub(crate) struct Completion {
    /// The operation that it belongs to.
    pub(crate) token: Token,
    /// The operation's result: a count, a descriptor, or a negated errno.
    pub(crate) result: i32,
    flags: u32,
}

impl Completion {
    /// The operation goes on and will complete again.
    pub(crate) fn more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// The provided buffer that holds what was received.
    pub(crate) fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }
}

/// The result of a connection's send.
pub(crate) enum SendOutcome {
    /// Everything was taken by the kernel; the buffer comes back.
    Done(Vec<u8>),
    /// The send was short; the rest is queued.
    Again,
    /// The send failed: the peer is gone, or the send was cancelled.
    Failed(Vec<u8>),
}

/// Counters of the ring's own events.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RingCounters {
    /// Submissions.
    pub(crate) submissions: u64,
    /// Calls of io_uring_enter(2).
    pub(crate) enters: u64,
    /// Times that the submission queue was full and was submitted early.
    pub(crate) queue_full: u64,
    /// Calls of enter that found the completion queue overflown.
    pub(crate) overflows: u64,
}

/// The error for an option that this kernel does not support.
fn lacking(key: &str, release: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{key} needs Linux {release} or newer: {error}"))
}

/// A worker's ring.
pub(crate) struct Ring {
    // Dropped by hand, before the memory that the kernel may still write to.
    io: ManuallyDrop<IoUring>,
    buffers: ManuallyDrop<Buffers>,
    sends: Vec<Sending>,
    #[expect(clippy::vec_box, reason = "the kernel holds pointers into the boxes")]
    spare_sends: Vec<Box<Send>>,
    jobs: Vec<Option<Box<Job>>>,
    udp: ManuallyDrop<Option<UdpBuffers>>,
    under_way: usize,
    recv: RecvMode,
    enter_flags: u32,
    batch_wait_us: u32,
    batch: Vec<Completion>,
    #[cfg(ringway_asan)]
    lent: asan::Lent,
    pub(crate) counters: RingCounters,
}

impl Ring {
    /// Makes the ring on the calling thread, which alone may use it.
    pub(crate) fn new(settings: &RingSettings) -> io::Result<Self> {
        let io = build(settings)?;
        let buffers = Buffers::new(&io.submitter(), GROUP, settings.buffers, settings.buffer_size)?;
        let mut enter_flags = ENTER_GETEVENTS | ENTER_EXT_ARG;
        if io.params().is_feature_no_iowait() {
            enter_flags |= ENTER_NO_IOWAIT;
        }
        if settings.busy_poll_us > 0 {
            let napi = Napi::new().set_busy_poll_timeout(settings.busy_poll_us);
            io.submitter()
                .register_napi(&mut napi.set_prefer_busy_poll(true))
                .map_err(|error| lacking("engine.busy_poll_us", "6.9", &error))?;
        }
        let mut ring = Self {
            io: ManuallyDrop::new(io),
            buffers: ManuallyDrop::new(buffers),
            sends: room(settings.connections),
            spare_sends: Vec::with_capacity(SPARE_SENDS),
            jobs: Vec::new(),
            udp: ManuallyDrop::new(None),
            under_way: 0,
            recv: settings.recv,
            enter_flags,
            batch_wait_us: settings.batch_wait_us,
            batch: Vec::with_capacity(settings.completions as usize),
            #[cfg(ringway_asan)]
            lent: asan::Lent::default(),
            counters: RingCounters::default(),
        };
        if let Some((incoming, outgoing)) = settings.udp {
            ring.open_udp(incoming, outgoing)?;
        }
        operations::enable(&ring.io, operations::WORKER)?;
        if settings.batch_wait_us > 0 {
            // A kernel that does not know the field refuses it.
            ring.enter(Some(Duration::ZERO))
                .map_err(|error| lacking("engine.batch_wait_us", "6.12", &error))?;
        }
        Ok(ring)
    }

    /// The descriptor to which other threads send messages.
    pub(crate) fn mailbox(&self) -> io::Result<message::Mailbox> {
        message::Mailbox::new(self.io.as_raw_fd())
    }

    /// Submits what is queued, and waits until something completes or `timeout` has passed; a zero
    /// timeout only collects what is there.
    pub(crate) fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let queued = self.io.submission().len() as u32;
        self.note_overflow();
        let want = match (timeout, self.batch_wait_us) {
            (Some(Duration::ZERO), _) => 0,
            (_, 0) => 1,
            // Returns after a batch, or with what came by the timeout.
            _ => BATCH,
        };
        let timeout = timeout.unwrap_or(Duration::from_secs(3600));
        let spec = Timespec::new().sec(timeout.as_secs()).nsec(timeout.subsec_nanos());
        let arguments = SubmitArgs::new().timespec(&spec).min_wait_usec(self.batch_wait_us);
        self.counters.enters += 1;
        self.counters.submissions += u64::from(queued);
        // SAFETY: the flags announce exactly the argument that is passed, whose type the crate
        // itself passes in `submit_with_args`; every queued entry points into memory that this ring
        // owns until the completion.
        let entered =
            unsafe { self.io.submitter().enter(queued, want, self.enter_flags, Some(&arguments)) };
        match entered.map_err(|error| error.raw_os_error()) {
            // The timeout passed; a signal came; the completion queue must be drained first.
            Ok(_) | Err(Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)) => Ok(()),
            Err(errno) => Err(io::Error::from_raw_os_error(errno.unwrap_or(libc::EIO))),
        }
    }

    fn note_overflow(&mut self) {
        self.counters.overflows += u64::from(self.io.submission().cq_overflow());
    }

    /// Everything that has completed, in order. Give the list back with
    /// [`Self::recycle_completions`].
    pub(crate) fn completions(&mut self) -> Vec<Completion> {
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        for entry in self.io.completion() {
            #[cfg(ringway_asan)]
            if !cqueue::more(entry.flags()) {
                self.lent.give_back(entry.user_data());
            }
            batch.push(Completion {
                token: Token::from_bits(entry.user_data()),
                result: entry.result(),
                flags: entry.flags(),
            });
        }
        batch
    }

    /// Takes the list back, so that draining never allocates once warm.
    pub(crate) fn recycle_completions(&mut self, batch: Vec<Completion>) {
        self.batch = batch;
    }

    /// Accepts on a listener until told otherwise.
    pub(crate) fn accept(&mut self, listener: Id, fd: RawFd, once: bool) {
        let entry = if once {
            let accept = opcode::Accept::new(Fd(fd), std::ptr::null_mut(), std::ptr::null_mut());
            accept.flags(libc::SOCK_CLOEXEC).build()
        } else {
            opcode::AcceptMulti::new(Fd(fd)).flags(libc::SOCK_CLOEXEC).build()
        };
        self.push(entry, Token::new(OpKind::Accept, 0, listener));
    }

    /// Receives into provided buffers.
    pub(crate) fn recv(&mut self, id: Id, fd: RawFd) {
        let entry = match self.recv {
            RecvMode::Multishot => opcode::RecvMulti::new(Fd(fd), GROUP).build(),
            RecvMode::Single => opcode::Recv::new(Fd(fd), std::ptr::null_mut(), 0)
                .buf_group(GROUP)
                .ioprio(RECV_POLL_FIRST)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT),
        };
        self.push(entry, Token::new(OpKind::Recv, 0, id));
    }

    /// The received bytes, with [`PAD`] readable bytes behind them.
    pub(crate) fn received(&mut self, buffer: u16, len: usize) -> &mut [u8] {
        let whole = self.buffers.slice_mut(buffer, len);
        debug_assert_eq!(whole.len(), len + PAD);
        whole
    }

    /// Gives a receive buffer back to the kernel.
    pub(crate) fn recycle(&mut self, buffer: u16) {
        self.buffers.recycle(buffer);
    }

    /// Sends `head`, then `body`. At most one send of a slot may be under way.
    #[inline]
    pub(crate) fn send(&mut self, id: Id, fd: RawFd, head: Vec<u8>, body: Option<Pinned>) {
        let index = id.index as usize;
        while self.sends.len() <= index {
            grow(&mut self.sends);
            self.sends.push(Sending::Nothing);
        }
        let idle = matches!(self.sends[index], Sending::Nothing);
        assert!(idle, "one send of a connection at a time");
        self.under_way += 1;
        if body.is_some() {
            return self.send_parts(id, fd, head, body, 0);
        }
        let entry = send::bytes(fd, &head);
        self.sends[index] = Sending::Bytes(head);
        self.push(entry, Token::new(OpKind::Send, 0, id));
    }

    /// Sends what is left of `head` and `body` when `done` bytes are with the kernel.
    fn send_parts(&mut self, id: Id, fd: RawFd, head: Vec<u8>, body: Option<Pinned>, done: usize) {
        let mut send = self.spare_sends.pop().unwrap_or_else(Send::empty);
        send.set(fd, head, body, done);
        let entry = send.entry();
        self.sends[id.index as usize] = Sending::Parts(send);
        self.push(entry, Token::new(OpKind::Send, 0, id));
    }

    /// Takes the completion of a slot's send. `go_on` has the descriptor where a short one is to be
    /// continued; a connection that is being closed has cancelled it, which may leave it short.
    #[inline]
    pub(crate) fn sent(&mut self, id: Id, result: i32, go_on: Option<RawFd>) -> SendOutcome {
        let Some(sending) = self.sends.get_mut(id.index as usize) else {
            return SendOutcome::Failed(Vec::new());
        };
        match std::mem::take(sending) {
            Sending::Bytes(head) if usize::try_from(result) == Ok(head.len()) => {
                self.under_way -= 1;
                SendOutcome::Done(head)
            }
            sending => self.sent_in_part(id, sending, result, go_on),
        }
    }

    fn sent_in_part(
        &mut self,
        id: Id,
        sending: Sending,
        result: i32,
        go_on: Option<RawFd>,
    ) -> SendOutcome {
        let (buffer, short) = match (sending, go_on) {
            (Sending::Nothing, _) => return SendOutcome::Failed(Vec::new()),
            (Sending::Bytes(head), Some(fd)) if result > 0 => {
                self.send_parts(id, fd, head, None, result as usize);
                return SendOutcome::Again;
            }
            (Sending::Bytes(head), _) => (head, true),
            (Sending::Parts(mut send), go_on) => {
                let short = result > 0 && !send.advance(result as usize);
                if short && go_on.is_some() {
                    let entry = send.entry();
                    self.sends[id.index as usize] = Sending::Parts(send);
                    self.push(entry, Token::new(OpKind::Send, 0, id));
                    return SendOutcome::Again;
                }
                let buffer = send.take();
                if self.spare_sends.len() < SPARE_SENDS {
                    self.spare_sends.push(send);
                }
                (buffer, short)
            }
        };
        self.under_way -= 1;
        if result < 0 || short { SendOutcome::Failed(buffer) } else { SendOutcome::Done(buffer) }
    }

    /// Cancels a connection's receive, and nothing else of it.
    pub(crate) fn pause(&mut self, id: Id) {
        let recv = CancelBuilder::user_data(Token::new(OpKind::Recv, 0, id).bits());
        self.push(opcode::AsyncCancel2::new(recv).build(), Token::new(OpKind::Cancel, 0, id));
    }

    /// Stops accepting on a listener.
    pub(crate) fn stop_accepting(&mut self, listener: Id) {
        let accept = CancelBuilder::user_data(Token::new(OpKind::Accept, 0, listener).bits());
        let token = Token::new(OpKind::Ignore, 0, Id::default());
        self.push(opcode::AsyncCancel2::new(accept).build(), token);
    }

    /// Cancels everything that is under way on a descriptor.
    pub(crate) fn cancel(&mut self, id: Id, fd: RawFd) {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::fd(Fd(fd)).all()).build();
        self.push(entry, Token::new(OpKind::Cancel, 0, id));
    }

    /// Closes a descriptor on which nothing is under way any more.
    pub(crate) fn close(&mut self, fd: RawFd) {
        let entry = opcode::Close::new(Fd(fd)).build();
        self.push(entry, Token::new(OpKind::Ignore, 0, Id::default()));
    }

    /// Starts a file operation under a number that is free.
    pub(crate) fn job(&mut self, id: Id, request: job::JobRequest) {
        let index = id.index as usize;
        if self.jobs.len() <= index {
            self.jobs.resize_with(index + 1, || None);
        }
        assert!(self.jobs[index].is_none(), "the job's number is free");
        let mut job = Job::new(request);
        let entry = job.entry();
        self.jobs[index] = Some(job);
        self.under_way += 1;
        self.push(entry, Token::new(OpKind::Job, 0, id));
    }

    /// Takes the completion of a file operation.
    pub(crate) fn job_done(&mut self, id: Id, result: i32) -> io::Result<job::JobResponse> {
        let job = self.jobs.get_mut(id.index as usize).and_then(Option::take);
        let Some(job) = job else { return Err(io::Error::from_raw_os_error(libc::EIO)) };
        self.under_way -= 1;
        job.finish(result)
    }

    // Inlined where the entry is made, so that its parts are written where they go: an entry put
    // together in small stores and then moved in large loads waits for each of them.
    #[inline(always)]
    fn push(&mut self, entry: squeue::Entry, token: Token) {
        let entry = entry.user_data(token.bits());
        #[cfg(ringway_asan)]
        self.lent.lend(&entry, token.bits());
        // SAFETY: what the entry points to is owned by this ring (`sends`, `jobs`, `buffers`,
        // `udp`) and is neither moved nor freed before its completion is taken.
        while unsafe { self.io.submission().push(&entry) }.is_err() {
            self.make_room();
        }
    }

    #[cold]
    fn make_room(&mut self) {
        // The queue holds one batch; a larger burst takes several calls.
        self.counters.queue_full += 1;
        // Submitting flushes the overflow, and clears its flag.
        self.note_overflow();
        if let Err(error) = self.io.submit() {
            assert!(
                matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)),
                "io_uring_enter: {error}"
            );
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let under_way = self.under_way + self.datagrams_under_way();
        // SAFETY: no field is used again. The ring is closed first; where operations are still
        // under way the kernel may finish them later, so their memory is leaked rather than freed.
        unsafe {
            ManuallyDrop::drop(&mut self.io);
            if under_way == 0 {
                ManuallyDrop::drop(&mut self.buffers);
                ManuallyDrop::drop(&mut self.udp);
            }
        }
        if under_way != 0 {
            std::mem::forget(std::mem::take(&mut self.sends));
            std::mem::forget(std::mem::take(&mut self.jobs));
        }
    }
}

/// Sets the ring up, disabled, with the best flags that the kernel accepts.
fn build(settings: &RingSettings) -> io::Result<IoUring> {
    let mut builder = IoUring::<squeue::Entry, cqueue::Entry>::builder();
    builder
        .dontfork()
        .setup_clamp()
        .setup_cqsize(settings.completions)
        .setup_submit_all()
        .setup_r_disabled()
        .setup_single_issuer()
        .setup_defer_taskrun();
    // NO_SQARRAY is of Linux 6.6; only EINVAL says that it is unknown, anything else is a refusal.
    let mut io = match builder.clone().setup_no_sqarray().build(settings.submissions) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            builder.build(settings.submissions)?
        }
        built => built?,
    };
    // Saves a descriptor look-up in each enter; the ring works without it.
    let _ = io.submitter().register_ring_fd();
    let _ = &mut io;
    Ok(io)
}
