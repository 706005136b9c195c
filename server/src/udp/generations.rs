//! Datagrams between the processes that follow one another on the same sockets
//! ([`ringway_quic::generations`]). The newest reads; what belongs to an older one goes to the
//! worker that has its connection, as one message of a socket pair, a frame of
//! [`ringway_quic::forward`].
//! Who holds the pair's other end is believed: it was handed over by its maker.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use ringway_quic::cid::Origin;
use ringway_quic::forward::{FrameHead, HEAD};
use ringway_quic::{HalfOpen, Predecessors, cmsg};
use socket2::SockRef;

use super::leaving::Stage;
use super::{BoundSocket, Reading, Udp};
use crate::proto::state::WorkerState;
use crate::ring::token::Id;
use crate::ring::{Completion, Ring, passing, sys};

/// Names the socket of frames among those of a worker, of which there are fewer.
const FRAMES: u32 = 1 << 20;

/// The older generations that still serve: where their workers are handed datagrams.
#[derive(Debug, Default)]
pub(crate) struct Older(Vec<(u16, Vec<OwnedFd>)>);

impl Older {
    /// Those of the generations, each with an end for each of its workers, that the process
    /// `newest` can tell from itself and from one another.
    pub(crate) fn new(mut generations: Vec<(u16, Vec<OwnedFd>)>, newest: u16) -> Self {
        let mut told = Predecessors::default();
        generations.retain(|(number, workers)| {
            let is_any = !workers.is_empty() && *number != newest;
            is_any && told.add(*number, workers.len() as u16)
        });
        Self(generations)
    }

    pub(super) fn predecessors(&self) -> Predecessors {
        let mut all = Predecessors::default();
        for (number, workers) in &self.0 {
            // Those that can be told apart were chosen.
            let _ = all.add(*number, workers.len() as u16);
        }
        all
    }

    fn end(&self, origin: Origin) -> Option<&OwnedFd> {
        let (_, workers) = self.0.iter().find(|(number, _)| *number == origin.generation)?;
        workers.get(usize::from(origin.worker))
    }

    /// Sends one frame, without waiting.
    fn send(&self, origin: Origin, head: FrameHead, datagrams: &[u8]) -> Sent {
        let Some(end) = self.end(origin) else { return Sent::Gone };
        let head = head.to_bytes();
        let parts = [IoSlice::new(&head), IoSlice::new(datagrams)];
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        match SockRef::from(end).send_vectored_with_flags(&parts, flags) {
            Ok(_) => Sent::Taken,
            Err(error) if is_gone(&error) => Sent::Gone,
            Err(_) => Sent::Full,
        }
    }
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Taken,
    /// There was no room for it.
    Full,
    /// Nobody reads any more.
    Gone,
}

/// The ends of socket pairs from which the workers of this process take frames; each takes its own.
pub(crate) struct FrameEnds(Mutex<Vec<Option<OwnedFd>>>);

impl FrameEnds {
    /// Pairs for `workers` workers, and the ends for their successors. A pair holds about `bytes`
    /// bytes that wait, as far as the kernel grants that.
    pub(crate) fn pairs(workers: usize, bytes: usize) -> io::Result<(Self, Vec<OwnedFd>)> {
        let wanted = i32::try_from(bytes).unwrap_or(i32::MAX);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..workers {
            let (read, write) = passing::pair()?;
            // What waits is charged to the sender. The first needs CAP_NET_ADMIN.
            if sys::set_option(&write, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, wanted).is_err() {
                sys::set_option(&write, libc::SOL_SOCKET, libc::SO_SNDBUF, wanted)?;
            }
            ours.push(Some(read));
            theirs.push(write);
        }
        Ok((Self(Mutex::new(ours)), theirs))
    }

    fn take(&self, worker: u8) -> Option<OwnedFd> {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ends.get_mut(usize::from(worker))?.take()
    }
}

/// Where all workers write which handshakes are half-way.
#[derive(Default)]
pub(crate) struct HalfOpenExport {
    /// Entries of a worker at most.
    pub(crate) most: usize,
    bytes: Mutex<Vec<u8>>,
}

impl HalfOpenExport {
    /// For `most` entries of all of `workers` workers.
    pub(crate) fn new(most: usize, workers: usize) -> Self {
        Self { most: most.div_ceil(workers.max(1)), bytes: Mutex::default() }
    }

    /// What was written.
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a worker has to do with other generations.
pub(super) struct Generations {
    /// The number of its own.
    number: u16,
    older: Arc<Older>,
    frames: Option<Frames>,
}

/// The end from which a worker takes frames, and whether a receive is under way on it.
struct Frames {
    socket: OwnedFd,
    receiving: bool,
}

impl Generations {
    pub(super) fn new(number: u16, older: Arc<Older>) -> Self {
        Self { number, older, frames: None }
    }

    pub(super) fn is_older(&self, origin: Origin) -> bool {
        origin.generation != self.number
    }

    /// Starts receiving frames, where there are any to come.
    pub(super) fn open(&mut self, ring: &mut Ring) {
        if let Some(frames) = &mut self.frames
            && !std::mem::replace(&mut frames.receiving, true)
        {
            let id = Id { index: FRAMES, generation: 0 };
            ring.receive_datagrams(id, frames.socket.as_raw_fd());
        }
    }
}

impl Udp {
    /// Reads no more: datagrams wait in the sockets. `stopped` is dropped once the last receive has
    /// ended; what that delivers is still taken.
    pub(crate) fn stop_reading(&mut self, stopped: impl Send + 'static, ring: &mut Ring) {
        self.reading = Reading::Ending(Box::new(stopped));
        for (index, _) in self.sockets.iter().enumerate().filter(|(_, bound)| bound.receiving) {
            ring.stop_receiving(Id { index: index as u32, generation: 0 });
        }
        self.note_silence();
    }

    /// Reads again, or begins to.
    pub(crate) fn read(&mut self, ring: &mut Ring) {
        self.reading = Reading::On;
        self.open(ring);
    }

    pub(super) fn note_silence(&mut self) {
        let is_silent = self.sockets.iter().all(|bound| !bound.receiving);
        if is_silent && matches!(self.reading, Reading::Ending(_)) {
            self.reading = Reading::Off;
        }
    }

    /// A further descriptor of each socket, with its address.
    pub(crate) fn lend(&self) -> io::Result<Vec<(Arc<str>, OwnedFd)>> {
        let lend = |BoundSocket { socket, .. }: &BoundSocket| {
            Ok((socket.local.to_string().into(), socket.fd.try_clone()?))
        };
        self.sockets.iter().map(lend).collect()
    }

    /// Takes frames of the processes that follow, from now on.
    pub(crate) fn take_frames(&mut self, ends: &FrameEnds, ring: &mut Ring) {
        if let Some(socket) = ends.take(self.worker) {
            self.generations.frames = Some(Frames { socket, receiving: false });
            self.generations.open(ring);
        }
    }

    /// Takes no more new connections, and writes which handshakes are half-way: after all workers
    /// have stopped reading.
    pub(crate) fn export_half_open(&mut self, to: &HalfOpenExport, worker: &mut WorkerState) {
        // What came to other workers before they stopped.
        self.take_forwarded(worker);
        self.endpoint.drain();
        let mut bytes = to.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        self.endpoint.export_half_open(to.most, worker.instant(), &mut bytes);
    }

    /// Hands on what belongs to handshakes that older generations have begun.
    pub(crate) fn import_half_open(&mut self, table: Arc<HalfOpen>) {
        self.endpoint.import_half_open(table);
    }

    /// Reads and accepts again, because the next process has failed.
    pub(crate) fn take_back(&mut self, ring: &mut Ring) {
        if self.stage == Stage::Open {
            self.endpoint.resume();
        }
        self.read(ring);
    }

    /// Hands datagrams of one size, but for the last, to the older generation that has their
    /// connections. Never waits: what does not fit is lost, as on a full link.
    #[cold]
    pub(super) fn hand_back(
        &mut self,
        origin: Origin,
        head: FrameHead,
        datagrams: &[u8],
        worker: &mut WorkerState,
    ) {
        let head = FrameHead { hops: head.hops + 1, generation: origin.generation, ..head };
        let counters = &mut worker.tally.counters;
        match self.generations.older.send(origin, head, datagrams) {
            Sent::Taken => counters.quic_older_sent += 1,
            Sent::Full => counters.quic_older_dropped += 1,
            // From now on its clients are told that their connections are no more.
            Sent::Gone => {
                counters.quic_older_dropped += 1;
                self.endpoint.forget(origin);
            }
        }
    }

    /// Handles the completion of a receive of frames.
    pub(super) fn received_frame(
        &mut self,
        completion: Completion,
        ring: &mut Ring,
        worker: &mut WorkerState,
    ) {
        let Some(frames) = &mut self.generations.frames else { return };
        frames.receiving = completion.more();
        let Some(buffer) = completion.buffer() else {
            worker.tally.counters.udp_no_buffers += u64::from(completion.result == -libc::ENOBUFS);
            return;
        };
        let whole = ring.received_datagrams(buffer, completion.result.max(0) as usize);
        match cmsg::message(whole) {
            // Nobody has the other end any more.
            Some((message, _)) if message.is_empty() => self.generations.frames = None,
            Some((message, false)) => self.take_frame(&mut whole[message], worker),
            _ => worker.tally.counters.quic_older_refused += 1,
        }
        ring.recycle_datagrams(buffer);
    }

    fn take_frame(&mut self, message: &mut [u8], worker: &mut WorkerState) {
        match FrameHead::read(message) {
            Ok(head) if head.generation == self.generations.number => {
                worker.tally.counters.quic_older_taken += 1;
                self.take_batch(&mut message[HEAD..], head, worker);
            }
            _ => worker.tally.counters.quic_older_refused += 1,
        }
    }
}

/// Whether an error says that nobody reads any more.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EPIPE | libc::ECONNRESET | libc::ECONNREFUSED | libc::ENOTCONN)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::RingSettings;
    use ringway_quic::forward::PAYLOAD_MAX;
    use std::time::Duration;

    fn head(segment: u16) -> FrameHead {
        let (from, to) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        FrameHead { hops: 1, generation: 7, segment, from, to }
    }

    /// Row 142: frames come whole through the ring; what is too much or too late is told.
    #[test]
    fn row_142_frames_through_a_ring() {
        let (ours, theirs) = FrameEnds::pairs(2, 256 << 10).unwrap();
        let older = Older::new(vec![(7, theirs)], 8);
        let origin = |worker| Origin { worker, generation: 7 };
        assert!(older.predecessors().serves(origin(1)) && !older.predecessors().serves(origin(2)));
        let settings = RingSettings { udp: Some((1 << 20, 1 << 20)), ..RingSettings::default() };
        let mut ring = Ring::new(&settings).unwrap();
        let mut generations = Generations::new(7, Arc::default());
        let socket = ours.take(0).unwrap();
        assert!(ours.take(0).is_none() && ours.take(9).is_none());
        generations.frames = Some(Frames { socket, receiving: false });
        generations.open(&mut ring);
        let batch: Vec<u8> = (0..PAYLOAD_MAX).map(|n| (n / 1200) as u8).collect();
        for len in [1, 1200, 5000, PAYLOAD_MAX] {
            assert_eq!(older.send(origin(0), head(1200), &batch[..len]), Sent::Taken);
            ring.enter(Some(Duration::from_secs(10))).unwrap();
            let done = ring.completions();
            assert_eq!((done.len(), done[0].more()), (1, true), "{len}");
            let buffer = done[0].buffer().unwrap();
            let whole = ring.received_datagrams(buffer, done[0].result as usize);
            let (message, is_cut) = cmsg::message(whole).unwrap();
            let message = &whole[message];
            assert_eq!(FrameHead::read(message), Ok(head(1200)));
            assert!(!is_cut && message[HEAD..] == batch[..len]);
            ring.recycle_datagrams(buffer);
        }
        // Of worker 1 nobody reads.
        let sent = (0..10_000).map(|_| older.send(origin(1), head(1200), &batch));
        let sent: Vec<Sent> = sent.take_while(|sent| *sent != Sent::Full).collect();
        assert!((1..200).contains(&sent.len()), "{} frames wait", sent.len());
        drop(ours);
        assert_eq!(older.send(origin(1), head(1200), b"x"), Sent::Gone);
        assert_eq!(older.send(origin(2), head(1200), b"x"), Sent::Gone);
        // The end of all who write is told once.
        drop(older);
        ring.enter(Some(Duration::from_secs(10))).unwrap();
        let done = ring.completions();
        let whole = ring.received_datagrams(done[0].buffer().unwrap(), done[0].result as usize);
        assert!(cmsg::message(whole).unwrap().0.is_empty() && !done[0].more());
    }

    #[test]
    fn generations_that_cannot_be_told_apart_are_left_out() {
        let pairs = |workers| FrameEnds::pairs(workers, 256 << 10).unwrap().1;
        let all = vec![(1, pairs(1)), (2, pairs(2)), (1, pairs(1)), (3, pairs(0)), (9, pairs(1))];
        let older = Older::new(all, 9);
        assert_eq!(older.0.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2]);
        assert!(!older.predecessors().has(9));
    }
}
