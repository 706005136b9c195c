//! A worker: one thread, one ring, and its turn. Read this first.
//!
//! A turn waits in the kernel, tells every connection what happened to it, lets tasks and timers
//! run, flushes what was gathered (one send for each connection) and queues the operations, which
//! the next turn's wait submits: one system call a turn.

mod control;
mod listeners;
mod orders;
mod replaced;
mod shed;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ringway_codec::Time;

use crate::conn::Conn;
use crate::proto::state::WorkerState;
use crate::proto::{Action, Context, Event, Leaving};
use crate::ring::token::{Id, OpKind, Token};
use crate::ring::{Completion, Ring, SendOutcome, sys};
use crate::rt::descriptors::OVER;
use crate::rt::executor::TaskOwner;
use crate::rt::slab::Slab;
use crate::rt::thread_state::{self, ThreadState};
use crate::rt::timer::Wheel;
use crate::udp::{self, Udp};
use crate::worker::shed::{GRACE, Shed};

pub(crate) use control::Control;
pub(crate) use listeners::{AltSvc, ListenerConfig, Listeners};
pub(crate) use orders::{Order, Orders};
pub(crate) use replaced::{Handover, Lent, LentSocket, Stopping};

/// A worker, on its own thread.
pub(crate) struct Worker {
    ring: Ring,
    connections: Connections,
    listeners: Listeners,
    orders: Arc<Orders>,
    state: WorkerState,
    /// QUIC, where it listens.
    udp: Option<Box<Udp>>,
    sleeps: Wheel,
    due: Vec<u32>,
    /// When a drain cuts off what is left.
    stop_at: Option<Time>,
}

/// The connections and their timers.
struct Connections {
    slots: Slab<Slot>,
    timers: Wheel,
    over: Vec<Id>,
    shed: Shed,
}

/// With room for this many connections or fewer, they are accepted one at a time.
const NEAR: usize = 64;

/// How often a worker that drains looks whether other threads are done with its closures.
const END_CHECK: Duration = Duration::from_millis(10);

/// A connection and its descriptor.
struct Slot {
    fd: i32,
    /// Index in the per-address table.
    host: u32,
    /// When the wheel fires for this connection.
    timer_at: Time,
    conn: Conn,
}

impl Worker {
    pub(crate) fn new(
        ring: Ring,
        listeners: Listeners,
        mut state: WorkerState,
        udp: Option<Box<Udp>>,
        orders: Arc<Orders>,
    ) -> Self {
        let now = state.now();
        state.advertise(&listeners.alt_svc_values);
        let most = (state.limits().connections + OVER) as usize;
        Self {
            ring,
            connections: Connections {
                slots: Slab::with_room(most),
                timers: Wheel::with_room(most, now),
                over: Vec::with_capacity(64),
                shed: Shed::default(),
            },
            listeners,
            orders,
            state,
            udp,
            sleeps: Wheel::new(now),
            due: Vec::with_capacity(64),
            stop_at: None,
        }
    }

    /// Works until told to stop.
    pub(crate) fn run(mut self) -> io::Result<()> {
        self.narrow();
        self.listeners.open(&mut self.ring);
        if let Some(udp) = &mut self.udp {
            udp.open(&mut self.ring);
        }
        while !self.is_done() {
            self.turn()?;
        }
        // The last descriptors are closed by the ring, which nobody enters any more.
        self.ring.enter(Some(Duration::ZERO))?;
        if let Some(udp) = &self.udp {
            udp.count(&mut self.state.tally.counters);
        }
        self.state.publish(&self.ring.counters);
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        self.ring.enter(self.wait())?;
        let now = self.state.tick();
        let batch = self.ring.completions();
        let mut rest = &batch[..];
        while !rest.is_empty() {
            let moved = self.connections.transfer(rest, &mut self.ring, &mut self.state.cx());
            rest = &rest[moved..];
            if let Some((other, behind)) = rest.split_first() {
                self.complete(*other);
                rest = behind;
            }
        }
        self.ring.recycle_completions(batch);
        if let Some(udp) = &mut self.udp {
            udp.expire(&mut self.state);
            udp.serve(&mut self.state);
        }
        self.run_tasks();
        self.run_timers(now);
        self.flush();
        if let Some(udp) = &mut self.udp {
            udp.flush(&mut self.ring, &mut self.state);
        }
        self.queue();
        self.state.expire_log();
        if self.state.is_measured() {
            self.state.tally.counters.exhausted = self.listeners.exhausted;
            if let (Some(udp), true) = (&self.udp, self.state.is_publishing()) {
                udp.count(&mut self.state.tally.counters);
            }
            self.state.end_turn(&self.ring.counters);
        }
        Ok(())
    }

    /// How long the worker may sleep if nothing completes.
    fn wait(&self) -> Option<Duration> {
        let udp = self.udp.as_ref();
        if !thread_state::with(ThreadState::is_quiet) || udp.is_some_and(|udp| udp.is_busy()) {
            return Some(Duration::ZERO);
        }
        let next = [
            self.connections.timers.next(),
            self.sleeps.next(),
            self.listeners.retry_at(),
            self.end_check(),
            self.state.log_deadline(),
            self.state.publish_deadline(),
            udp.and_then(|udp| udp.deadline(&self.state)),
        ]
        .map(|time| time.unwrap_or(Time::NEVER))
        .into_iter()
        .fold(Time::NEVER, Time::min);
        (next != Time::NEVER).then(|| next.since(self.state.now()))
    }

    /// Handles any completion except receives and sends.
    fn complete(&mut self, completion: Completion) {
        let (token, result) = (completion.token, completion.result);
        let id = token.id();
        match token.kind() {
            OpKind::Recv | OpKind::Send => {} // Connections::transfer
            OpKind::Accept => self.accepted(id, result, completion.more()),
            OpKind::Cancel => self.deliver(id, Event::Cancelled),
            OpKind::Job => {
                let result = self.ring.job_done(id, result);
                thread_state::with(|thread| thread.finish_job(id, result));
            }
            OpKind::Wake => thread_state::with(|thread| thread.ready.borrow_mut().push(id)),
            OpKind::Control => self.control(token),
            OpKind::Datagrams | OpKind::Delivered | OpKind::Forwarded => self.udp(completion),
            OpKind::Ignore => {}
        }
    }

    fn udp(&mut self, completion: Completion) {
        let (token, ring, state) = (completion.token, &mut self.ring, &mut self.state);
        let Some(udp) = &mut self.udp else { return };
        match token.kind() {
            OpKind::Datagrams => udp.received(token.id(), completion, ring, state),
            OpKind::Delivered => udp.delivered(token.id(), completion.result, ring, state),
            _ => udp.take_forwarded(state),
        }
    }

    /// Delivers an event to a connection, if it still exists.
    fn deliver(&mut self, id: Id, event: Event) {
        match &mut self.udp {
            Some(udp) if udp::is_quic(id) => udp.on(id, event, &mut self.state),
            _ => self.connections.deliver(id, event, &mut self.state.cx()),
        }
    }

    fn accepted(&mut self, listener: Id, result: i32, more: bool) {
        if result >= 0 {
            self.arrived(listener, result);
        } else if matches!(-result, libc::EMFILE | libc::ENFILE) {
            self.shed_some(GRACE);
        }
        self.listeners.accepted(listener, result, more, self.state.now(), &mut self.ring);
    }

    /// Takes a connection in. If the table is full it replaces an idle one, or waits.
    fn arrived(&mut self, listener: Id, fd: i32) {
        if self.has_room() {
            self.take_in(listener, fd);
        } else if let Some(refused) =
            self.listeners.wait(listener, fd, self.state.now(), &mut self.ring)
        {
            self.ring.close(refused);
        }
    }

    fn take_in(&mut self, listener: Id, fd: i32) {
        let host = self.state.ip_limits.admit(fd);
        self.state.tally.counters.over_ip_limit += u64::from(host.is_none());
        let arrival = host.and_then(|_| self.listeners.arrival(listener));
        let refused = host.is_some() && arrival.is_none();
        self.state.tally.counters.over_handshake_limit += u64::from(refused);
        if let (Some(host), Some(arrival)) = (host, arrival) {
            let state = &mut self.state;
            let id = self.connections.slots.insert_with(|id| {
                let conn = Conn::new(id, fd, arrival, &mut state.cx());
                Slot { fd, host, timer_at: Time::NEVER, conn }
            });
            self.deliver(id, Event::StreamReady { stream: 0 });
            self.narrow();
        } else {
            host.into_iter().for_each(|host| self.state.ip_limits.leave(host));
            self.ring.close(fd);
        }
    }

    /// Whether there is room for another connection, closing an idle one if needed.
    fn has_room(&mut self) -> bool {
        self.connections.slots.len() < self.state.limits().connections as usize || self.shed(GRACE)
    }

    /// Accepts one connection at a time when room is short, so that the rest stay in the kernel's
    /// queue.
    fn narrow(&mut self) {
        let most = self.state.limits().connections as usize;
        let is_near = self.connections.slots.len() + NEAR >= most;
        self.listeners.narrow(is_near, &mut self.ring);
    }

    /// Takes in waiting connections while there is room.
    fn admit_waiting(&mut self) {
        while self.listeners.is_anyone_waiting() && self.has_room() {
            if let Some((listener, fd)) = self.listeners.next_waiting() {
                self.take_in(listener, fd);
            }
        }
        if !self.listeners.is_anyone_waiting() {
            self.listeners.resume(&mut self.ring);
        }
    }

    /// Closes the longest idle connection; false if none is idle, or enough are closing.
    fn shed(&mut self, grace: Duration) -> bool {
        let Some(id) = self.connections.oldest_idle(self.state.now(), grace) else { return false };
        self.state.tally.counters.shed += 1;
        self.deliver(id, Event::Shed);
        true
    }

    /// Closes as many idle connections as allowed at once, to free descriptors.
    fn shed_some(&mut self, grace: Duration) {
        while self.shed(grace) {}
    }

    fn run_tasks(&mut self) {
        if thread_state::with(ThreadState::is_quiet) {
            return;
        }
        for (TaskOwner { conn, stream }, response) in self.state.run_tasks() {
            self.deliver(conn, Event::Reply { stream, response });
        }
        let ready_streams =
            thread_state::with(|thread| std::mem::take(&mut *thread.ready_streams.borrow_mut()));
        for (conn, stream) in ready_streams {
            self.deliver(conn, Event::StreamReady { stream });
        }
        let thread = thread_state::current();
        let hints = std::mem::take(&mut *thread.hints.borrow_mut());
        for (TaskOwner { conn, stream }, links) in hints {
            self.deliver(conn, Event::Hint { stream, links });
        }
        let hangups = std::mem::take(&mut *thread.hangups.borrow_mut());
        for TaskOwner { conn, stream } in hangups {
            self.deliver(conn, Event::HangUp { stream });
        }
        if thread.starved.take() {
            // A current request matters more than a possible one.
            self.shed_some(Duration::ZERO);
        }
        for (id, request) in thread.new_jobs.borrow_mut().drain(..) {
            self.ring.job(id, request);
        }
        for (key, deadline) in thread.new_sleeps.borrow_mut().drain(..) {
            self.sleeps.arm(key, deadline);
        }
    }

    fn run_timers(&mut self, now: Time) {
        let mut due = std::mem::take(&mut self.due);
        self.sleeps.expire(now, &mut due);
        for key in due.drain(..) {
            thread_state::with(|thread| thread.fire_sleep(key));
        }
        self.connections.timers.expire(now, &mut due);
        for index in due.drain(..) {
            let Some((id, slot)) = self.connections.slots.at(index) else { continue };
            slot.timer_at = Time::NEVER;
            let sending = slot.conn.is_sending();
            let acknowledged = if sending { sys::tcp_info(slot.fd).acknowledged } else { 0 };
            self.deliver(id, Event::Deadline { acknowledged });
        }
        self.due = due;
        if self.listeners.retry(now, &mut self.ring) && self.listeners.is_anyone_waiting() {
            self.admit_waiting();
        }
    }

    /// Flushes every connection that was touched: output gathered, one send each.
    fn flush(&mut self) {
        self.queue();
        let mut cx = self.state.cx();
        while let Some(id) = cx.dirty.pop() {
            self.connections.flush(id, &mut self.ring, &mut cx);
        }
    }

    /// Performs the actions that connections asked for, and closes finished connections.
    fn queue(&mut self) {
        for (id, action) in self.state.actions.drain(..) {
            let Some(fd) = self.connections.slots.get_mut(id).map(|slot| slot.fd) else { continue };
            perform(action, id, fd, &mut self.ring);
        }
        if self.connections.over.is_empty() {
            return;
        }
        while let Some(id) = self.connections.over.pop() {
            let Some(slot) = self.connections.slots.remove(id) else { continue };
            self.connections.timers.disarm(id.index);
            if self.state.is_measured() {
                slot.conn.count_closed(&mut self.state.cx());
                self.state.tally.closed(sys::tcp_info(slot.fd));
            }
            self.state.ip_limits.leave(slot.host);
            self.state.forget(id);
            self.ring.close(slot.fd);
        }
        self.admit_waiting();
        self.narrow();
    }

    fn control(&mut self, token: Token) {
        match Control::from_aux(token.aux()) {
            Some(Control::Drain) => {
                let patience = self.state.limits().drain_timeout;
                let stop_at = self.state.now() + patience;
                self.stop_at = Some(self.stop_at.map_or(stop_at, |at| at.min(stop_at)));
                self.listeners.close(&mut self.ring);
                self.state.leaving = Leaving::Soon;
                thread_state::with(ThreadState::drain);
                for id in self.connections.slots.ids() {
                    self.deliver(id, Event::Drain);
                }
                if let Some(udp) = &mut self.udp {
                    udp.drain(&self.state);
                }
            }
            Some(Control::Stop) => {
                self.listeners.close(&mut self.ring);
                self.state.leaving = Leaving::Soon;
                self.stop_at = Some(self.state.now());
            }
            Some(Control::Report) => self.report(),
            Some(Control::Orders) => self.take_orders(),
            None => {}
        }
    }

    /// Whether the application has tasks that are not done, or closures on other threads.
    fn has_tasks(&self) -> bool {
        let threads = thread_state::with(ThreadState::threads);
        self.state.tasks() > 0 || threads.is_some_and(|threads| !threads.is_idle())
    }

    /// When to look whether a worker that drains is done.
    fn end_check(&self) -> Option<Time> {
        let stop_at = self.stop_at?;
        // Other threads do not tell that they are done.
        let soon = if self.has_tasks() { self.state.now() + END_CHECK } else { stop_at };
        Some(stop_at.min(soon))
    }

    /// True when the worker should end. Connections left after the drain timeout are cut off first.
    fn is_done(&mut self) -> bool {
        let Some(stop_at) = self.stop_at else { return false };
        let udp_is_over = match &mut self.udp {
            Some(udp) => udp.is_over(&self.ring),
            None => true,
        };
        let is_over = self.state.now() >= stop_at;
        if self.connections.slots.len() == 0 && udp_is_over && (is_over || !self.has_tasks()) {
            return true;
        }
        if is_over {
            if let Some(udp) = &mut self.udp {
                udp.stop(&mut self.state);
            }
            for id in self.connections.slots.ids() {
                self.connections.abandon(id, &mut self.state.cx());
            }
            self.queue();
            // Cancellations take a turn or two; one second is ample.
            if self.state.now() >= stop_at + Duration::from_secs(1) {
                return true;
            }
            self.stop_at = Some(stop_at);
        }
        false
    }

    /// Prints the worker's state.
    fn report(&mut self) {
        let mut states = std::collections::BTreeMap::<&str, usize>::new();
        for id in self.connections.slots.ids() {
            if let Some(slot) = self.connections.slots.get_mut(id) {
                *states.entry(slot.conn.describe()).or_default() += 1;
            }
        }
        if let Some(udp) = &self.udp {
            states.insert("QUIC", udp.len());
        }
        self.state.report(self.connections.slots.len(), &states, &self.ring.counters);
    }
}

impl Connections {
    /// Delivers received and sent bytes to connections, up to the first other completion. Returns
    /// how many were delivered.
    fn transfer(&mut self, batch: &[Completion], ring: &mut Ring, cx: &mut Context<'_>) -> usize {
        for (at, completion) in batch.iter().enumerate() {
            let id = completion.token.id();
            match completion.token.kind() {
                OpKind::Recv => self.received(id, *completion, ring, cx),
                OpKind::Send => self.sent(id, completion.result, ring, cx),
                _ => return at,
            }
        }
        batch.len()
    }

    fn received(&mut self, id: Id, completion: Completion, ring: &mut Ring, cx: &mut Context<'_>) {
        let (result, more) = (completion.result, completion.more());
        let Some(buffer) = completion.buffer() else {
            cx.tally.counters.no_buffers += u64::from(result == -libc::ENOBUFS);
            return self.deliver(id, Event::Ended { errno: (-result).max(0), more }, cx);
        };
        if result <= 0 {
            self.deliver(id, Event::Ended { errno: -result, more }, cx);
        } else if let Some(slot) = self.slots.get_mut(id) {
            cx.tally.counters.received_bytes += result as u64;
            slot.conn.received(ring.received(buffer, result as usize), more, cx);
            Self::reschedule(id, slot, &mut self.timers, &mut self.over, cx);
        }
        ring.recycle(buffer);
    }

    fn sent(&mut self, id: Id, result: i32, ring: &mut Ring, cx: &mut Context<'_>) {
        cx.tally.counters.sent_bytes += result.max(0) as u64;
        let mut slot = self.slots.get_mut(id);
        let alive = slot.as_ref().filter(|slot| !slot.conn.is_cut_off());
        let go_on = alive.map(|slot| slot.fd);
        match (ring.sent(id, result, go_on), &mut slot) {
            (SendOutcome::Done(buffer), Some(slot)) => slot.conn.sent(buffer, cx),
            (SendOutcome::Failed(buffer), Some(slot)) => {
                slot.conn.on(Event::SendFailed(buffer), cx)
            }
            (SendOutcome::Again, _) | (_, None) => return,
        }
        if let Some(slot) = slot {
            Self::reschedule(id, slot, &mut self.timers, &mut self.over, cx);
        }
    }

    fn deliver(&mut self, id: Id, event: Event, cx: &mut Context<'_>) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.conn.on(event, cx);
        Self::reschedule(id, slot, &mut self.timers, &mut self.over, cx);
    }

    fn flush(&mut self, id: Id, ring: &mut Ring, cx: &mut Context<'_>) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        if let Some((head, body)) = slot.conn.flush(cx) {
            ring.send(id, slot.fd, head, body);
        }
        for (id, action) in cx.actions.drain(..) {
            perform(action, id, slot.fd, ring);
        }
        Self::reschedule(id, slot, &mut self.timers, &mut self.over, cx);
    }

    /// After a change of the bounds: sets every timer anew.
    fn reschedule_all(&mut self, cx: &Context<'_>) {
        for id in self.slots.ids() {
            let Some(slot) = self.slots.get_mut(id) else { continue };
            Self::reschedule(id, slot, &mut self.timers, &mut self.over, cx);
        }
    }

    /// The longest idle connection that may be closed now, if any.
    fn oldest_idle(&mut self, now: Time, grace: Duration) -> Option<Id> {
        let Self { slots, shed, .. } = self;
        if !shed.has_room(|id| slots.get_mut(id).is_some()) {
            return None;
        }
        loop {
            while let Some((idle, id)) = shed.next() {
                // Active since the scan: no longer a candidate.
                if slots.get_mut(id).and_then(|slot| slot.conn.idle()) == Some(idle) {
                    shed.goes(id);
                    return Some(id);
                }
            }
            if !shed.may_scan(now) {
                return None;
            }
            let idle = slots.iter().filter_map(|(id, slot)| Some((slot.conn.idle()?, id)));
            shed.scanned(idle.collect(), grace, now);
        }
    }

    fn abandon(&mut self, id: Id, cx: &mut Context<'_>) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.conn.abandon(cx);
        Self::reschedule(id, slot, &mut self.timers, &mut self.over, cx);
    }

    /// After an event: notes whether the connection is over, and sets its timer.
    #[inline]
    fn reschedule(
        id: Id,
        slot: &mut Slot,
        timers: &mut Wheel,
        over: &mut Vec<Id>,
        cx: &Context<'_>,
    ) {
        // It will be checked after its flush.
        if slot.conn.is_dirty() {
            return;
        }
        if slot.conn.is_over() {
            over.push(id);
        }
        // Deadlines usually move later. The wheel then fires once for nothing, which is cheaper
        // than updating it each time.
        if slot.timer_at <= cx.soon && slot.conn.is_patient() {
            return;
        }
        let deadline = slot.conn.deadline(cx.limits);
        if deadline < slot.timer_at {
            slot.timer_at = deadline;
            timers.arm(id.index, deadline);
        }
    }
}

/// Performs an action that a connection asked for.
fn perform(action: Action, id: Id, fd: i32, ring: &mut Ring) {
    match action {
        Action::Recv => ring.recv(id, fd),
        Action::Pause => ring.pause(id),
        Action::Cancel => ring.cancel(id, fd),
        // An error means that the peer is gone; the next completion says so.
        Action::Finish => drop(sys::shutdown_write(fd)),
        Action::Reset => drop(sys::close_by_reset(fd)),
    }
}
