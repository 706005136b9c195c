//! A worker: one thread, one ring, and its turn. Read this first.
//!
//! A turn waits in the kernel, tells every connection what happened to it, lets tasks and timers
//! run, flushes what was gathered (one send for each connection) and queues the operations, which
//! the next turn's wait submits: one system call a turn.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ringway_codec::Time;

use crate::conn::{Conn, Event, Op};
use crate::desk::Desk;
use crate::door::Doors;
use crate::executor::Owner;
use crate::local;
use crate::ring::token::{Id, Op as Kind, Token};
use crate::ring::{Completion, Ring, Sent, sys};
use crate::server::Control;
use crate::slot::Slab;
use crate::timer::Wheel;

/// A worker, on its own thread.
pub(crate) struct Worker {
    ring: Ring,
    slots: Slab<Slot>,
    doors: Doors,
    desk: Desk,
    timers: Wheel,
    sleeps: Wheel,
    due: Vec<u32>,
    over: Vec<Id>,
    /// When a drain stops being patient.
    stop_at: Option<Time>,
}

/// A connection and its descriptor.
struct Slot {
    fd: i32,
    conn: Conn,
}

impl Worker {
    pub(crate) fn new(ring: Ring, doors: Doors, desk: Desk) -> Self {
        let now = desk.now();
        Self {
            ring,
            slots: Slab::default(),
            doors,
            desk,
            timers: Wheel::new(now),
            sleeps: Wheel::new(now),
            due: Vec::new(),
            over: Vec::new(),
            stop_at: None,
        }
    }

    /// Works until told to stop.
    pub(crate) fn run(mut self) -> io::Result<()> {
        self.doors.open(&mut self.ring);
        while !self.is_done() {
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        self.ring.enter(self.wait())?;
        let now = self.desk.tick();
        let batch = self.ring.drain();
        for completion in &batch {
            self.complete(*completion);
        }
        self.ring.drained(batch);
        self.run_tasks();
        self.run_timers(now);
        self.flush();
        self.queue();
        self.desk.expire_log();
        if self.desk.is_measured() {
            self.desk.tally.counters.exhausted = self.doors.exhausted;
            let overflows = self.ring.overflows();
            self.desk.end_turn(&self.ring.counters, overflows);
        }
        Ok(())
    }

    /// How long there is nothing to do unless something completes.
    fn wait(&self) -> Option<Duration> {
        if !local::with(local::Local::is_quiet) {
            return Some(Duration::ZERO);
        }
        let times = [
            self.timers.next(),
            self.sleeps.next(),
            self.doors.retry_at(),
            self.stop_at,
            self.desk.log_deadline(),
            self.desk.publish_deadline(),
        ];
        let next = times.into_iter().flatten().min()?;
        Some(next.since(self.desk.now()))
    }

    fn complete(&mut self, completion: Completion) {
        let (token, result) = (completion.token, completion.result);
        let id = token.id();
        match token.op() {
            Kind::Recv => self.received(id, completion),
            Kind::Send => self.sent(id, result),
            Kind::Accept => self.accepted(id, result, completion.more()),
            Kind::Cancel => self.tell(id, Event::Cancelled),
            Kind::Job => {
                let result = self.ring.job_done(id, result);
                local::with(|local| local.finish_job(id, result));
            }
            Kind::Wake => local::with(|local| local.ready.borrow_mut().push(id)),
            Kind::Control => self.control(token),
            Kind::Ignore => {}
        }
    }

    fn received(&mut self, id: Id, completion: Completion) {
        let (result, more) = (completion.result, completion.more());
        let Some(buffer) = completion.buffer() else {
            self.desk.tally.counters.no_buffers += u64::from(result == -libc::ENOBUFS);
            return self.tell(id, Event::Ended { errno: (-result).max(0), more });
        };
        if result > 0 {
            if let Some(slot) = self.slots.get_mut(id) {
                let bytes = self.ring.received(buffer, result as usize);
                let mut cx = self.desk.cx();
                slot.conn.on(Event::Received { bytes, more }, &mut cx);
                Self::follow(id, slot, &mut self.timers, &mut self.over, &self.desk);
            }
        } else {
            self.tell(id, Event::Ended { errno: -result, more });
        }
        self.ring.recycle(buffer);
    }

    fn sent(&mut self, id: Id, result: i32) {
        let go_on = self.slots.get_mut(id).is_some_and(|slot| !slot.conn.is_cut_off());
        match self.ring.sent(id, result, go_on) {
            Sent::Done(buffer) => self.tell(id, Event::Sent(buffer)),
            Sent::Failed(buffer) => self.tell(id, Event::Unsent(buffer)),
            Sent::Again => {}
        }
    }

    /// Tells a connection what happened, if it still lives.
    fn tell(&mut self, id: Id, event: Event<'_>) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.conn.on(event, &mut self.desk.cx());
        Self::follow(id, slot, &mut self.timers, &mut self.over, &self.desk);
    }

    /// Looks at a connection after an event: is it over, and when does it want to be told the time?
    /// One that will be flushed is looked at then.
    fn follow(id: Id, slot: &Slot, timers: &mut Wheel, over: &mut Vec<Id>, desk: &Desk) {
        if slot.conn.is_dirty() {
            return;
        }
        if slot.conn.is_over() {
            over.push(id);
        }
        let deadline = slot.conn.deadline(desk.limits());
        if deadline != Time::NEVER {
            timers.arm(id.index, deadline);
        }
    }

    fn accepted(&mut self, door: Id, result: i32, more: bool) {
        if result >= 0 {
            let full = self.slots.len() >= self.desk.limits().connections as usize;
            if full {
                self.doors.pause(&mut self.ring);
            }
            let arrival = if full { None } else { self.doors.arrival(door) };
            if let Some(arrival) = arrival {
                let desk = &mut self.desk;
                let id = self.slots.insert_with(|id| {
                    let conn = Conn::new(id, result, arrival, &mut desk.cx());
                    Slot { fd: result, conn }
                });
                self.tell(id, Event::Nudge { stream: 0 });
            } else {
                self.ring.close(result);
            }
        }
        self.doors.accepted(door, result, more, self.desk.now(), &mut self.ring);
    }

    fn run_tasks(&mut self) {
        for (Owner { conn, stream }, response) in self.desk.run_tasks() {
            self.tell(conn, Event::Reply { stream, response });
        }
        let nudges = local::with(|local| std::mem::take(&mut *local.nudges.borrow_mut()));
        for (conn, stream) in nudges {
            self.tell(conn, Event::Nudge { stream });
        }
        let local = local::current();
        let hints = std::mem::take(&mut *local.hints.borrow_mut());
        for (Owner { conn, stream }, links) in hints {
            self.tell(conn, Event::Hint { stream, links });
        }
        for (id, request) in local.new_jobs.borrow_mut().drain(..) {
            self.ring.job(id, request);
        }
        for (key, deadline) in local.new_sleeps.borrow_mut().drain(..) {
            self.sleeps.arm(key, deadline);
        }
    }

    fn run_timers(&mut self, now: Time) {
        let mut due = std::mem::take(&mut self.due);
        self.sleeps.expire(now, &mut due);
        for key in due.drain(..) {
            local::with(|local| local.fire_sleep(key));
        }
        self.timers.expire(now, &mut due);
        for index in due.drain(..) {
            let Some((id, slot)) = self.slots.at(index) else { continue };
            let sending = slot.conn.is_sending();
            let acknowledged = if sending { sys::tcp_info(slot.fd).acknowledged } else { 0 };
            self.tell(id, Event::Deadline { acknowledged });
        }
        self.due = due;
        self.doors.retry(now, &mut self.ring);
    }

    /// Flushes every connection that was touched: output gathered, one send each.
    fn flush(&mut self) {
        while let Some(id) = self.desk.next_dirty() {
            let Some(slot) = self.slots.get_mut(id) else { continue };
            slot.conn.flush(&mut self.desk.cx());
            Self::follow(id, slot, &mut self.timers, &mut self.over, &self.desk);
        }
    }

    /// Queues the operations that connections asked for, and closes those that are over.
    fn queue(&mut self) {
        for (id, op) in self.desk.ops.drain(..) {
            let Some(fd) = self.slots.get_mut(id).map(|slot| slot.fd) else { continue };
            match op {
                Op::Recv => self.ring.recv(id, fd),
                Op::Send(head, body) => self.ring.send(id, fd, head, body),
                Op::Pause => self.ring.pause(id),
                Op::Cancel => self.ring.cancel(id, fd),
                // An error means that the peer is gone, which the next completion says too.
                Op::Finish => drop(sys::shutdown_write(fd)),
                Op::Reset => drop(sys::close_by_reset(fd)),
            }
        }
        while let Some(id) = self.over.pop() {
            let Some(slot) = self.slots.remove(id) else { continue };
            self.timers.disarm(id.index);
            if self.desk.is_measured() {
                slot.conn.count_closed(&mut self.desk.cx());
                self.desk.tally.closed(sys::tcp_info(slot.fd));
            }
            self.ring.close(slot.fd);
            self.doors.resume(&mut self.ring);
        }
    }

    fn control(&mut self, token: Token) {
        match Control::from_aux(token.aux()) {
            Some(Control::Drain) => {
                let patience = self.desk.limits().drain_timeout;
                self.stop_at.get_or_insert(self.desk.now() + patience);
                self.doors.close(&mut self.ring);
                self.desk.draining = true;
                for id in self.slots.ids() {
                    self.tell(id, Event::Drain);
                }
            }
            Some(Control::Stop) => {
                self.doors.close(&mut self.ring);
                self.desk.draining = true;
                self.stop_at = Some(self.desk.now());
            }
            Some(Control::Report) => self.report(),
            None => {}
        }
    }

    /// True when the worker is to end; connections that outstayed the drain are cut off first.
    fn is_done(&mut self) -> bool {
        let Some(stop_at) = self.stop_at else { return false };
        if self.slots.len() == 0 {
            return true;
        }
        if self.desk.now() >= stop_at {
            for id in self.slots.ids() {
                let Some(slot) = self.slots.get_mut(id) else { continue };
                slot.conn.abandon(&mut self.desk.cx());
                Self::follow(id, slot, &mut self.timers, &mut self.over, &self.desk);
            }
            self.queue();
            // Cancellations take a turn or two; a second is more than enough for them.
            if self.desk.now() >= stop_at + Duration::from_secs(1) {
                return true;
            }
            self.stop_at = Some(stop_at);
        }
        false
    }

    /// Prints what the worker is doing, for a person.
    fn report(&mut self) {
        let mut states = std::collections::BTreeMap::<&str, usize>::new();
        for id in self.slots.ids() {
            if let Some(slot) = self.slots.get_mut(id) {
                *states.entry(slot.conn.describe()).or_default() += 1;
            }
        }
        let overflows = self.ring.overflows();
        self.desk.report(self.slots.len(), &states, &self.ring.counters, overflows);
    }
}

/// What other threads hold of a worker.
pub(crate) type Mailbox = Arc<crate::ring::message::Mailbox>;
