//! QUIC on a worker. Datagrams go from its sockets through `ringway_quic`'s endpoint to the
//! handlers, and back as one message with UDP_SEGMENT for each burst. Every connection touched in a
//! turn is worked on once, after its last datagram. All contact with io_uring is in `ring`.

mod forward;
mod generations;
mod leaving;
mod setup;
mod sockets;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_codec::Time;
use ringway_quic::cid::Origin;
use ringway_quic::forward::FrameHead;
use ringway_quic::http::{self, Code};
use ringway_quic::{Endpoint, Received, Transmit, cmsg};

use crate::observe::metrics::Counters;
use crate::proto::h3::{Http3, Io};
use crate::proto::state::WorkerState;
use crate::proto::{Context, Event};
use crate::ring::datagram::{Datagrams, Delivered};
use crate::ring::token::Id;
use crate::ring::{Completion, Ring};
use crate::rt::console::note;
use crate::tls::Tls;
use forward::Forwarded;
use generations::Generations;
use leaving::{Farewell, Stage};

pub(crate) use forward::Forwarder;
pub(crate) use generations::{FrameEnds, HalfOpenExport, Older};
pub(crate) use setup::{Setup, config, generation};
pub(crate) use sockets::{Socket, WORKERS_MAX, adopt, bind, share};

/// How often all connections are checked for timeouts.
const SWEEP: Duration = Duration::from_secs(1);

/// Marks the id of a QUIC connection: indices of TCP connections have 24 bits.
const MARK: u32 = 1 << 31;

/// True for a QUIC connection.
pub(crate) fn is_quic(id: Id) -> bool {
    id.index & MARK != 0
}

/// The id by which tasks and channels know a connection.
fn conn_id(id: ringway_quic::Id) -> Id {
    Id { index: id.slot() as u32 | MARK, generation: id.generation() }
}

fn quic_id(id: Id) -> ringway_quic::Id {
    ringway_quic::Id::of(id.index & !MARK, id.generation)
}

/// A worker's QUIC connections.
pub(crate) struct Udp {
    worker: u8,
    sockets: Vec<BoundSocket>,
    endpoint: Endpoint<State>,
    shared: http::Shared,
    tls: Tls,
    forwarder: Arc<Forwarder>,
    forwarded: Vec<Forwarded>,
    /// Connections to work on in this turn.
    touched: Vec<ringway_quic::Id>,
    ids: Vec<ringway_quic::Id>,
    replies: Replies,
    idle_timeout: Duration,
    sweep_at: Option<Time>,
    stage: Stage,
    /// Handshakes are finished during a drain, and may have a request.
    gentle: bool,
    reading: Reading,
    generations: Generations,
    /// The message about missing segmentation offload was printed.
    said_unsplit: bool,
}

/// What the endpoint keeps with a connection.
#[derive(Default)]
struct State {
    h3: Http3,
    /// It is among those that are looked at in this turn.
    is_touched: bool,
    /// It has been counted among the connections that were opened.
    is_counted: bool,
    /// How far its client has been told to leave.
    farewell: Farewell,
    /// Its path does not split batches.
    is_unsplit: bool,
    /// Migrations that were counted.
    migrations: u32,
}

/// A socket, and whether a receive is under way on it.
struct BoundSocket {
    socket: Socket,
    receiving: bool,
}

/// Whether the sockets are read.
enum Reading {
    On,
    /// Not any more, once the last receive has ended; dropped then.
    Ending(#[expect(dead_code, reason = "dropping it tells")] Box<dyn Send>),
    Off,
}

/// Replies to datagrams without a connection, until there is room to send them.
#[derive(Default)]
struct Replies {
    bytes: Vec<u8>,
    transmits: Vec<Transmit>,
}

impl Udp {
    /// Starts receiving on every socket that is not receiving yet.
    pub(crate) fn open(&mut self, ring: &mut Ring) {
        self.generations.open(ring);
        if !matches!(self.reading, Reading::On) {
            return;
        }
        for (index, bound) in self.sockets.iter_mut().enumerate() {
            if bound.socket.receives && !std::mem::replace(&mut bound.receiving, true) {
                let id = Id { index: index as u32, generation: 0 };
                ring.receive_datagrams(id, bound.socket.fd.as_raw_fd());
            }
        }
    }

    /// Handles a receive's completion: up to 64 KiB of datagrams from one sender.
    pub(crate) fn received(
        &mut self,
        socket: Id,
        completion: Completion,
        ring: &mut Ring,
        worker: &mut WorkerState,
    ) {
        let Some(bound) = self.sockets.get_mut(socket.index as usize) else {
            return self.received_frame(completion, ring, worker);
        };
        bound.receiving = completion.more();
        let (local, result) = (bound.socket.local, completion.result);
        self.note_silence();
        let Some(buffer) = completion.buffer() else {
            worker.tally.counters.udp_no_buffers += u64::from(result == -libc::ENOBUFS);
            return;
        };
        let whole = ring.received_datagrams(buffer, result.max(0) as usize);
        if let Some(received) = cmsg::ReceivedMessage::read(whole) {
            let counters = &mut worker.tally.counters;
            counters.udp_receives += 1;
            counters.udp_truncated += u64::from(received.truncated);
            counters.received_bytes += received.payload.len() as u64;
            let to = SocketAddr::new(received.to.unwrap_or(local.ip()), local.port());
            let to = if local.ip().is_unspecified() { to } else { local };
            let (from, segment) = (received.from, received.segment as u16);
            let datagrams = &mut whole[received.payload];
            worker.tally.counters.udp_received += datagrams.len().div_ceil(received.segment) as u64;
            let head = FrameHead { hops: 0, generation: 0, segment, from, to };
            self.take_batch(datagrams, head, worker);
        }
        ring.recycle_datagrams(buffer);
    }

    /// Takes datagrams of one sender. Neighbours that belong to one worker of an older generation
    /// are handed to it together.
    fn take_batch(&mut self, datagrams: &mut [u8], head: FrameHead, worker: &mut WorkerState) {
        let (segment, now) = (usize::from(head.segment.max(1)), worker.instant());
        let (mut at, mut run) = (0, None::<(Origin, usize)>);
        while at < datagrams.len() {
            let end = datagrams.len().min(at + segment);
            let older = self.take(&mut datagrams[at..end], head.from, head.to, now, worker);
            if let Some((origin, begin)) = run.take_if(|(origin, _)| older != Some(*origin)) {
                self.hand_back(origin, head, &datagrams[begin..at], worker);
            }
            if let (None, Some(origin)) = (run, older) {
                run = Some((origin, at));
            }
            at = end;
        }
        if let Some((origin, begin)) = run {
            self.hand_back(origin, head, &datagrams[begin..], worker);
        }
    }

    /// Takes datagrams that other workers received for this one.
    pub(crate) fn take_forwarded(&mut self, worker: &mut WorkerState) {
        let mut forwarded = std::mem::take(&mut self.forwarded);
        self.forwarder.take(self.worker, &mut forwarded);
        let now = worker.instant();
        for Forwarded { from, to, mut bytes } in forwarded.drain(..) {
            worker.tally.counters.quic_forwarded_taken += 1;
            if let Some(origin) = self.take(&mut bytes, from, to, now, worker) {
                let segment = bytes.len() as u16;
                let head = FrameHead { hops: 0, generation: 0, segment, from, to };
                self.hand_back(origin, head, &bytes, worker);
            }
        }
        self.forwarded = forwarded;
    }

    /// Takes a datagram; gives the worker of an older generation whose it is.
    fn take(
        &mut self,
        datagram: &mut [u8],
        from: SocketAddr,
        to: SocketAddr,
        now: Instant,
        worker: &mut WorkerState,
    ) -> Option<Origin> {
        let out = self.replies.room();
        match self.endpoint.receive(datagram, from, to, now, out) {
            Received::Accepted(id) if !worker.ip_limits.admit_quic(id.slot(), from.ip()) => {
                worker.tally.counters.over_ip_limit += 1;
                if let Some(transmit) = self.endpoint.refuse(id, now, out) {
                    self.replies.push(transmit);
                }
            }
            Received::Connection(id) | Received::Accepted(id) => {
                if let Some((_, state)) = self.endpoint.peek(id) {
                    state.h3.peer = Some(from);
                    if state.h3.since == Time::ZERO {
                        state.h3.since = worker.now();
                    }
                    if !std::mem::replace(&mut state.is_touched, true) {
                        self.touched.push(id);
                    }
                }
            }
            Received::Reply(transmit) => self.replies.push(transmit),
            Received::Forward(origin) if self.generations.is_older(origin) => return Some(origin),
            Received::Forward(origin) => {
                let forwarded = Forwarded { from, to, bytes: (*datagram).into() };
                let counters = &mut worker.tally.counters;
                let is_ours = origin.worker == self.worker;
                match !is_ours && self.forwarder.forward(origin.worker, forwarded) {
                    true => counters.quic_forwarded += 1,
                    false => counters.quic_unforwarded += 1,
                }
            }
            Received::Dropped(_) => {}
        }
        None
    }

    /// Processes the connections that got datagrams in this turn; requests go to their handlers.
    pub(crate) fn serve(&mut self, worker: &mut WorkerState) {
        if self.touched.is_empty() {
            return;
        }
        for at in 0..self.touched.len() {
            let id = self.touched[at];
            let Some((conn, state)) = self.endpoint.get(id) else { continue };
            let (shared, cx, tls) = (&mut self.shared, &mut worker.cx(), &self.tls);
            let mut io = Io { id: conn_id(id), conn, shared, tls, cx };
            state.h3.receive(&mut io);
            state.count(&mut io);
        }
    }

    /// Delivers an event of a handler to its connection.
    pub(crate) fn on(&mut self, id: Id, event: Event, worker: &mut WorkerState) {
        let id = quic_id(id);
        let Some((conn, state)) = self.endpoint.get(id) else { return };
        let (shared, cx, tls) = (&mut self.shared, &mut worker.cx(), &self.tls);
        let mut io = Io { id: conn_id(id), conn, shared, tls, cx };
        match event {
            Event::Reply { stream, response } => state.h3.reply(stream, response, &mut io),
            Event::Hint { stream, links } => state.h3.hint(stream, &links, &mut io),
            Event::HangUp { stream } => state.h3.hang_up(stream, &mut io),
            Event::StreamReady { stream } => state.h3.stream_ready(stream, &mut io),
            _ => return,
        }
        self.touch(id);
    }

    /// Handles timeouts.
    pub(crate) fn expire(&mut self, worker: &mut WorkerState) {
        let now = worker.now();
        self.endpoint.expire(worker.instant());
        self.go_on(now);
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep_at = None;
            self.endpoint.tick(worker.unix_s());
            self.sweep(worker);
        }
        if self.sweep_at.is_none() && self.endpoint.load().0 > 0 {
            self.sweep_at = Some(now + SWEEP);
        }
    }

    /// Moves answers into the transport, and the transport's packets into the ring.
    pub(crate) fn flush(&mut self, ring: &mut Ring, worker: &mut WorkerState) {
        let mut touched = std::mem::take(&mut self.touched);
        touched.retain(|id| {
            let Some((conn, state)) = self.endpoint.get(*id) else { return false };
            let (shared, cx, tls) = (&mut self.shared, &mut worker.cx(), &self.tls);
            let mut io = Io { id: conn_id(*id), conn, shared, tls, cx };
            state.h3.pull(&mut io);
            if state.farewell == Farewell::Parted && state.h3.http.is_done(io.conn, io.shared) {
                state.h3.http.close(Code::NoError, b"", io.conn);
            }
            state.is_touched = state.h3.http.wants_output();
            state.is_touched
        });
        self.touched = touched;
        self.send_replies(ring);
        self.transmit(ring, worker.instant());
        if self.unstick() {
            self.transmit(ring, worker.instant());
        }
        while let Some(ended) = self.endpoint.next_ended() {
            worker.ip_limits.leave_quic(ended.id.slot());
            let mut cx = worker.cx();
            let mut state = ended.state;
            state.h3.abandon(&mut cx);
            state.count_closed(&ended.conn, &mut cx);
        }
        self.open(ring);
    }

    /// Resumes connections that were stuck; false if there were none.
    fn unstick(&mut self) -> bool {
        let mut any = false;
        while let Some(id) = self.endpoint.next_stuck() {
            if let Some((conn, state)) = self.endpoint.get(id) {
                state.h3.http.unstick(conn);
                any = true;
            }
        }
        any
    }

    fn transmit(&mut self, ring: &mut Ring, now: Instant) {
        while let Some(room) = ring.datagram_room() {
            let Some((id, transmit)) = self.endpoint.transmit(room, now) else { return };
            let unsplit = self.endpoint.peek(id).is_some_and(|(_, state)| state.is_unsplit);
            let (fd, from) = self.socket_for(transmit.from);
            let what = Datagrams { fd, transmit, from, owner: Self::owner_of(id) };
            if unsplit {
                for range in transmit.datagrams() {
                    let transmit = Transmit { len: range.len(), segment_size: None, ..transmit };
                    ring.send_datagrams(Datagrams { transmit, ..what });
                }
            } else {
                ring.send_datagrams(what);
            }
        }
    }

    fn send_replies(&mut self, ring: &mut Ring) {
        let mut at = 0;
        for transmit in std::mem::take(&mut self.replies.transmits) {
            // Without room the reply is dropped, as on a full link.
            if let Some(room) = ring.datagram_room() {
                room[..transmit.len].copy_from_slice(&self.replies.bytes[at..at + transmit.len]);
                let (fd, from) = self.socket_for(transmit.from);
                ring.send_datagrams(Datagrams { fd, transmit, from, owner: NOBODY });
            }
            at += transmit.len;
        }
        self.replies.bytes.clear();
    }

    /// Takes the completion of a message.
    pub(crate) fn delivered(
        &mut self,
        id: Id,
        result: i32,
        ring: &mut Ring,
        worker: &mut WorkerState,
    ) {
        let counters = &mut worker.tally.counters;
        counters.sent_bytes += result.max(0) as u64;
        match ring.datagrams_sent(id, result) {
            Delivered::Taken => {}
            Delivered::Refused { .. } => counters.udp_refused += 1,
            Delivered::Unsplit { owner, errno } => {
                counters.gso_fallbacks += 1;
                // After EMSGSIZE the path may still take smaller segments.
                let is_final = errno != libc::EMSGSIZE;
                if let Some((_, state)) = self.endpoint.peek(Self::id_of(owner)) {
                    state.is_unsplit |= is_final;
                }
                if is_final && !std::mem::replace(&mut self.said_unsplit, true) {
                    let why = std::io::Error::from_raw_os_error(errno);
                    note!("QUIC: segmentation offload is off where it fails: {why}");
                }
            }
        }
    }

    fn owner_of(id: ringway_quic::Id) -> u64 {
        u64::from(id.generation()) << 32 | id.slot() as u64
    }

    fn id_of(owner: u64) -> ringway_quic::Id {
        ringway_quic::Id::of(owner as u32, (owner >> 32) as u32)
    }

    /// The socket that sends from `from`, and the source address to set if the socket has several.
    fn socket_for(&self, from: SocketAddr) -> (i32, Option<IpAddr>) {
        let fits = |bound: &&BoundSocket| {
            let local = bound.socket.local;
            local == from || local.ip().is_unspecified() && local.port() == from.port()
        };
        let bound = self.sockets.iter().find(fits).unwrap_or(&self.sockets[0]);
        let named = bound.socket.local.ip().is_unspecified().then_some(from.ip());
        (bound.socket.fd.as_raw_fd(), named)
    }

    /// When the next timeout is due.
    pub(crate) fn deadline(&self, worker: &WorkerState) -> Option<Time> {
        let step = match self.stage {
            Stage::Leaving(until) | Stage::Refusing(until) => Some(until),
            Stage::Open | Stage::Closing => None,
        };
        let timers = self.endpoint.deadline().map(|at| worker.time_of(at));
        [timers, step, self.sweep_at].into_iter().flatten().min()
    }

    /// True when the next turn has something to do already.
    pub(crate) fn is_busy(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Number of connections.
    pub(crate) fn len(&self) -> usize {
        self.endpoint.load().0
    }

    /// Writes down what the endpoint has counted.
    pub(crate) fn count(&self, counters: &mut Counters) {
        setup::count(self.endpoint.totals(), counters);
    }

    fn touch(&mut self, id: ringway_quic::Id) {
        if let Some((_, state)) = self.endpoint.peek(id)
            && !std::mem::replace(&mut state.is_touched, true)
        {
            self.touched.push(id);
        }
    }

    fn collect(&mut self) {
        self.ids.clear();
        self.ids.extend(self.endpoint.ids());
    }

    /// Checks every connection for timeouts.
    fn sweep(&mut self, worker: &mut WorkerState) {
        self.collect();
        let (now, instant) = (worker.now(), worker.instant());
        for at in 0..self.ids.len() {
            let id = self.ids[at];
            let Some((conn, state)) = self.endpoint.peek(id) else { continue };
            let is_leaving =
                self.gentle && matches!(self.stage, Stage::Refusing(_) | Stage::Closing);
            if is_leaving && state.farewell != Farewell::Parted && conn.is_established() {
                state.farewell.say(&mut state.h3.http, conn);
            } else if state.h3.http.is_waiting() {
                state.h3.since = now;
                state.h3.http.expire(instant, conn, &self.shared);
            } else if conn.is_established() && now >= state.h3.since + self.idle_timeout {
                state.h3.http.close(Code::NoError, b"idle", conn);
            } else {
                continue;
            }
            self.touch(id);
        }
    }
}

/// The owner of messages that belong to no connection.
const NOBODY: u64 = u64::MAX;

/// Maximum size of a reply without a connection.
const REPLY: usize = 1500;

impl Replies {
    fn room(&mut self) -> &mut [u8] {
        let at: usize = self.transmits.iter().map(|transmit| transmit.len).sum();
        self.bytes.resize(at + REPLY, 0);
        &mut self.bytes[at..]
    }

    fn push(&mut self, transmit: Transmit) {
        self.transmits.push(transmit);
    }
}

impl State {
    /// Counts what has happened to the connection as a whole.
    fn count(&mut self, io: &mut Io<'_, '_>) {
        let counters = &mut io.cx.tally.counters;
        if !self.is_counted && io.conn.is_established() {
            self.is_counted = true;
            counters.opened_h3 += 1;
            let resumed = io.conn.transport().is_resumed();
            match (resumed, self.h3.was_early) {
                (true, true) => counters.tls13_early += 1,
                (true, false) => counters.tls13_resumed += 1,
                (false, _) => counters.tls13_full += 1,
            }
        }
        let migrations = io.conn.counts().migrations;
        counters.quic_migrations += u64::from(migrations - self.migrations);
        self.migrations = migrations;
    }

    fn count_closed(&self, conn: &ringway_quic::Conn, cx: &mut Context<'_>) {
        let counters = &mut cx.tally.counters;
        counters.closed_h3 += u64::from(self.is_counted);
        counters.qpack_inserts += self.h3.http.inserted();
        let stats = conn.transport().stats();
        counters.quic_sent += stats.sent as u64;
        counters.quic_lost += stats.lost as u64;
        let rtt = conn.transport().path_stats().find(|path| path.active).map(|path| path.rtt);
        counters.quic_rtt_micros += rtt.map_or(0, |rtt| rtt.as_micros() as u64);
    }
}
