//! A worker without a ring. Its connections transfer bytes in memory, and its clock is set by the
//! test. Everything else is as on a server.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use ringway_codec::Time;
use ringway_codec::scan::{Backend, PAD};

use super::answer::Answer;
use crate::app::handler::{Handler, panicked};
use crate::config::Limits;
use crate::conn::{Arrival, Conn};
use crate::proto::state::WorkerState;
use crate::proto::{Action, Event};
use crate::ring::job;
use crate::ring::message::Mailbox;
use crate::ring::send::Pinned;
use crate::ring::token::{Id, OpKind, Token};
use crate::rt::executor::{Executor, TaskOwner};
use crate::rt::slab::Slab;
use crate::rt::thread_state::{self, ThreadState};
use crate::rt::threads::Threads;

/// Messages to the worker's thread.
pub(super) enum Message {
    /// From wakers on other threads.
    Wake(Token),
    /// From the client.
    Do(Box<dyn FnOnce(&mut Machine) + Send>),
    /// From the client, which is dropped.
    End,
}

/// The worker.
pub(super) struct Machine {
    state: WorkerState,
    peers: Slab<Peer>,
    /// Timers of futures, with their keys.
    sleeps: BTreeSet<(Time, u32)>,
    waits: Vec<Wait>,
}

/// A connection and the client at its other end.
struct Peer {
    conn: Conn,
    /// Sent by the client, not yet received by the connection.
    input: Vec<u8>,
    receiving: bool,
    cancelling: bool,
    /// The client has closed the connection.
    gone: bool,
    sending: Option<(Vec<u8>, Option<Pinned>)>,
    answer: Answer,
    /// The client takes all output; otherwise at most [`WINDOW`] bytes wait for it.
    takes_all: bool,
    taken: u32,
}

/// A client that waits for the end of an answer.
struct Wait {
    id: Id,
    /// The clock may advance as far as needed.
    hurries: bool,
    until: Time,
    done: Sender<()>,
}

/// Maximum number of body bytes that wait for a client that takes pieces.
const WINDOW: usize = 64 * 1024;
/// Maximum number of bytes received at once, as with a server's buffers.
const RECEIVE: usize = 16 * 1024;
/// Maximum time that the clock advances for an answer.
const FAR: Duration = Duration::from_secs(24 * 3600);
/// Interval at which an advancing clock checks whether closures on other threads are done.
const LOOK: Duration = Duration::from_millis(2);
/// Interval at which connections are told the time while the clock advances.
const STEP: Duration = Duration::from_millis(10);

/// The worker's thread.
pub(super) fn run(
    app: Arc<dyn Handler>,
    limits: Limits,
    post: Sender<Message>,
    messages: &Receiver<Message>,
) {
    let mailbox = Arc::new(Mailbox::to(move |token| {
        // An error means that the client and its worker are gone.
        let _ = post.send(Message::Wake(token));
    }));
    let Limits { blocking_threads, blocking_queue, compress_queue, .. } = limits;
    let threads = Arc::new(
        Threads::new(blocking_threads.into(), blocking_queue as usize)
            .press_queue(compress_queue as usize),
    );
    let executor = Executor::new(Arc::clone(&mailbox), threads, panicked);
    let state = WorkerState::new(0, app, limits, Backend::detect(), executor, None, None);
    let (peers, sleeps, waits) = (Slab::default(), BTreeSet::new(), Vec::new());
    let mut machine = Machine { state, peers, sleeps, waits };
    loop {
        machine.settle();
        match machine.next(messages) {
            Some(Message::Wake(token)) if token.kind() == OpKind::Wake => {
                thread_state::with(|thread| thread.ready.borrow_mut().push(token.id()));
            }
            Some(Message::Wake(_)) | None => {}
            Some(Message::Do(work)) => work(&mut machine),
            Some(Message::End) => return,
        }
    }
}

impl Machine {
    /// The next message; `None` if the clock has advanced instead, or must be checked again.
    fn next(&mut self, messages: &Receiver<Message>) -> Option<Message> {
        if let Ok(message) = messages.try_recv() {
            return Some(message);
        }
        let now = self.state.now();
        if !self.waits.iter().any(|wait| wait.hurries && now < wait.until) {
            return Some(messages.recv().unwrap_or(Message::End));
        }
        let threads = thread_state::with(ThreadState::threads);
        if threads.is_some_and(|threads| !threads.is_idle()) {
            return match messages.recv_timeout(LOOK) {
                Err(RecvTimeoutError::Disconnected) => Some(Message::End),
                received => received.ok(),
            };
        }
        // Messages of finished threads are in the queue by now.
        if let Ok(message) = messages.try_recv() {
            return Some(message);
        }
        match self.sleeps.first() {
            Some((at, _)) => self.pass_to(*at),
            None => return Some(messages.recv().unwrap_or(Message::End)),
        }
        None
    }

    /// Connects a client that sends `input`.
    pub(super) fn connect(&mut self, input: Vec<u8>, answer: Answer) -> Id {
        let state = &mut self.state;
        let id = self.peers.insert_with(|id| Peer {
            conn: Conn::new(id, -1, Arrival::Http, &mut state.cx()),
            input,
            receiving: false,
            cancelling: false,
            gone: false,
            sending: None,
            answer,
            takes_all: false,
            taken: 0,
        });
        self.settle();
        id
    }

    /// Sends more of the client's input.
    pub(super) fn send(&mut self, id: Id, bytes: &[u8]) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.input.extend_from_slice(bytes);
        }
        self.settle();
    }

    /// The client's answer so far.
    pub(super) fn answer(&mut self, id: Id) -> Option<&mut Answer> {
        self.peers.get_mut(id).map(|peer| &mut peer.answer)
    }

    /// Waits for the rest of the answer, and takes all of it.
    pub(super) fn wait(&mut self, id: Id, hurries: bool, done: Sender<()>) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.takes_all = true;
        }
        self.waits.push(Wait { id, hurries, until: self.state.now() + FAR, done });
    }

    /// Closes the client's connection.
    pub(super) fn leave(&mut self, id: Id) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        peer.gone = true;
        peer.receiving = false;
        self.deliver(id, Event::Ended { errno: libc::ECONNRESET, more: false });
        self.settle();
        if let Some(peer) = self.peers.get_mut(id) {
            peer.conn.abandon(&mut self.state.cx());
        }
        self.settle();
        self.peers.remove(id);
    }

    /// Advances the clock. Everything that becomes due happens in order.
    pub(super) fn advance(&mut self, duration: Duration) {
        let end = self.state.now() + duration;
        self.settle();
        while let Some(next) = self.next_time().filter(|next| *next <= end) {
            self.pass_to(next);
            self.settle();
        }
        self.pass_to(end);
        self.settle();
    }

    /// The next deadline of a future or a connection.
    fn next_time(&mut self) -> Option<Time> {
        let soonest = self.state.now() + STEP;
        let limits = self.state.limits().clone();
        let deadlines = self.peers.iter().map(|(_, peer)| peer.conn.deadline(&limits).max(soonest));
        let sleep = self.sleeps.first().map(|(at, _)| *at);
        deadlines.chain(sleep).min().filter(|at| *at != Time::NEVER)
    }

    /// Sets the time to `now`.
    fn pass_to(&mut self, now: Time) {
        self.state.set_now(now.max(self.state.now()));
        while let Some((at, key)) = self.sleeps.first().copied().filter(|(at, _)| *at <= now) {
            self.sleeps.remove(&(at, key));
            thread_state::with(|thread| thread.fire_sleep(key));
        }
        let limits = self.state.limits().clone();
        for id in self.peers.ids() {
            let Some(peer) = self.peers.get_mut(id) else { continue };
            if peer.conn.deadline(&limits) <= now {
                let acknowledged = peer.taken;
                self.deliver(id, Event::Deadline { acknowledged });
            }
        }
    }

    fn deliver(&mut self, id: Id, event: Event) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.conn.on(event, &mut self.state.cx());
        }
    }

    /// Runs everything possible without advancing the clock or waiting for other threads.
    fn settle(&mut self) {
        while self.turn() {}
        let peers = &mut self.peers;
        self.waits.retain(|wait| {
            let waits = peers.get_mut(wait.id).is_some_and(|peer| !peer.answer.is_over());
            if !waits {
                // The client may have given up.
                let _ = wait.done.send(());
            }
            waits
        });
    }

    /// Runs one turn of the worker; false if nothing happened.
    fn turn(&mut self) -> bool {
        let mut moved = !thread_state::with(ThreadState::is_quiet);
        if moved {
            self.run_tasks();
        }
        while let Some(id) = self.state.cx().dirty.pop() {
            let Some(peer) = self.peers.get_mut(id) else { continue };
            if let Some(sending) = peer.conn.flush(&mut self.state.cx()) {
                peer.sending = Some(sending);
            }
            moved = true;
        }
        for (id, action) in std::mem::take(&mut self.state.actions) {
            self.perform(id, action);
            moved = true;
        }
        for id in self.peers.ids() {
            moved |= self.transfer(id);
        }
        moved
    }

    fn run_tasks(&mut self) {
        for (TaskOwner { conn, stream }, response) in self.state.run_tasks() {
            self.deliver(conn, Event::Reply { stream, response });
        }
        let thread = thread_state::current();
        let ready_streams = std::mem::take(&mut *thread.ready_streams.borrow_mut());
        for (conn, stream) in ready_streams {
            self.deliver(conn, Event::StreamReady { stream });
        }
        let hints = std::mem::take(&mut *thread.hints.borrow_mut());
        for (TaskOwner { conn, stream }, links) in hints {
            self.deliver(conn, Event::Hint { stream, links });
        }
        let hangups = std::mem::take(&mut *thread.hangups.borrow_mut());
        for TaskOwner { conn, stream } in hangups {
            self.deliver(conn, Event::HangUp { stream });
        }
        thread.starved.set(false);
        let jobs = std::mem::take(&mut *thread.new_jobs.borrow_mut());
        for (id, request) in jobs {
            thread.finish_job(id, job::run(request));
        }
        for (key, deadline) in thread.new_sleeps.borrow_mut().drain(..) {
            self.sleeps.insert((deadline, key));
        }
    }

    fn perform(&mut self, id: Id, action: Action) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        match action {
            Action::Recv => peer.receiving = true,
            Action::Pause | Action::Cancel => peer.cancelling = true,
            Action::Finish | Action::Reset => peer.answer.end(),
        }
    }

    /// Transfers bytes both ways, as far as each end accepts them; false if there were none.
    fn transfer(&mut self, id: Id) -> bool {
        let Some(peer) = self.peers.get_mut(id) else { return false };
        let takes = peer.takes_all || peer.gone || peer.answer.untaken() < WINDOW;
        if let Some((head, body)) = peer.sending.take_if(|_| takes) {
            let bytes = body.as_ref().map_or(&[][..], Pinned::bytes);
            peer.taken = peer.taken.wrapping_add((head.len() + bytes.len()) as u32);
            peer.answer.receive(&head);
            peer.answer.receive(bytes);
            peer.conn.sent(head, &mut self.state.cx());
            return true;
        }
        if peer.cancelling {
            peer.cancelling = false;
            if std::mem::take(&mut peer.receiving) {
                let event = Event::Ended { errno: libc::ECANCELED, more: false };
                peer.conn.on(event, &mut self.state.cx());
            }
            peer.conn.on(Event::Cancelled, &mut self.state.cx());
            return true;
        }
        if peer.conn.is_over() {
            peer.answer.end();
            return false;
        }
        if !peer.receiving || peer.input.is_empty() {
            return false;
        }
        let n = peer.input.len().min(RECEIVE);
        let mut bytes: Vec<u8> = peer.input.drain(..n).collect();
        bytes.resize(n + PAD, b'\n');
        peer.conn.received(&mut bytes, true, &mut self.state.cx());
        true
    }
}
