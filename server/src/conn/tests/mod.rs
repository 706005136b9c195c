//! Connections against a simulated kernel, from a seed: input in pieces of any size, completions in
//! any order, sends cut short by a cancellation, timeouts, the peer's end at any point.
//!
//! What must hold: one receive and one send at most, nothing after the close, answers in order and
//! byte for byte those of an undisturbed run, or a prefix of them when the peer or a limit ended
//! it.

mod tls;

use std::os::fd::AsRawFd;
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::Duration;

use ringway_codec::scan::{Backend, PAD};

use super::*;
use crate::RequestBody;
use crate::app::handler::panicked;
use crate::app::request::{OwnedRequest, Request};
use crate::app::response::Response;
use crate::app::router::Router;
use crate::body::BodyWriter;
use crate::proto::state::WorkerState;
use crate::proto::{Action, Leaving};
use crate::ring::message::Mailbox;
use crate::ring::send::Pinned;
use crate::rt::executor::Executor;
use crate::rt::thread_state;
use crate::rt::threads::Threads;

/// A small generator of numbers (xorshift64*), so that a seed tells the whole story.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// That of every world, so that several on a thread are of one worker.
static MAILBOX: LazyLock<Arc<Mailbox>> = LazyLock::new(|| {
    let null = std::fs::File::open("/dev/null").unwrap();
    Arc::new(Mailbox::for_tests(null.as_raw_fd()))
});

/// A connection and the kernel that it believes in.
struct World {
    state: WorkerState,
    conn: Conn,
    id: Id,
    random: Random,
    now: Time,
    /// What the peer has sent and the connection has not received.
    input: Vec<u8>,
    peer_ended: bool,
    receiving: bool,
    pausing: bool,
    cancelling: bool,
    sending: Option<(Vec<u8>, Option<Pinned>)>,
    /// What the peer has got.
    output: Vec<u8>,
    finished: bool,
    reset: bool,
}

impl World {
    fn new(seed: u64, limits: Limits) -> Self {
        Self::begun(seed, limits, Arrival::Http)
    }

    fn begun(seed: u64, limits: Limits, arrival: Arrival) -> Self {
        let executor = Executor::new(Arc::clone(&MAILBOX), Arc::new(Threads::new(1, 1)), panicked);
        let mut state =
            WorkerState::new(0, Arc::new(app()), limits, Backend::Scalar, executor, None, None);
        let id = Id { index: 0, generation: 7 };
        let now = Time(1_000_000);
        state.set_now(now);
        let conn = Conn::new(id, -1, arrival, &mut state.cx());
        let mut world = Self {
            state,
            conn,
            id,
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            now,
            input: Vec::new(),
            peer_ended: false,
            receiving: false,
            pausing: false,
            cancelling: false,
            sending: None,
            output: Vec::new(),
            finished: false,
            reset: false,
        };
        world.turn_ends();
        world
    }

    fn tell(&mut self, event: Event) {
        self.conn.on(event, &mut self.state.cx());
    }

    /// Tasks, streams that are ready, flush, operations: the rest of a worker's turn.
    fn turn_ends(&mut self) {
        for (owner, response) in self.state.run_tasks() {
            self.tell(Event::Reply { stream: owner.stream, response });
        }
        let ready_streams =
            thread_state::with(|thread| std::mem::take(&mut *thread.ready_streams.borrow_mut()));
        for (_, stream) in ready_streams {
            self.tell(Event::StreamReady { stream });
        }
        while self.state.cx().dirty.pop().is_some() {
            if let Some((head, body)) = self.conn.flush(&mut self.state.cx()) {
                assert!(self.sending.is_none(), "one send at a time");
                assert!(!self.finished, "nothing is sent behind FIN");
                assert!(!head.is_empty() || body.as_ref().is_some_and(|body| body.len() > 0));
                self.sending = Some((head, body));
            }
        }
        for (id, action) in std::mem::take(&mut self.state.actions) {
            assert_eq!(id, self.id);
            self.submit(action);
        }
    }

    fn submit(&mut self, action: Action) {
        match action {
            Action::Recv => {
                assert!(!self.receiving, "one receive at a time");
                self.receiving = true;
            }
            Action::Pause => self.pausing = true,
            Action::Cancel => self.cancelling = true,
            Action::Finish => self.finished = true,
            Action::Reset => self.reset = true,
        }
    }

    /// Something happens: any one thing that may happen now.
    fn step(&mut self) {
        match self.random.below(10) {
            0..=3 => self.deliver(),
            4..=6 => self.complete_send(),
            7 => self.complete_cancellation(),
            8 => self.end_receive_early(),
            _ => self.pass_time(),
        }
        self.turn_ends();
    }

    fn deliver(&mut self) {
        if !self.receiving {
            return;
        }
        if self.input.is_empty() {
            if self.peer_ended {
                self.receiving = false;
                self.tell(Event::Ended { errno: 0, more: false });
            }
            return;
        }
        let most = self.input.len().min([1, 7, 100, 5000, 16_000][self.random.below(5)]);
        let n = 1 + self.random.below(most);
        let bytes: Vec<u8> = self.input.drain(..n).collect();
        let more = self.random.chance(80);
        self.give(bytes, more);
    }

    /// These bytes come, all at once.
    fn give(&mut self, mut bytes: Vec<u8>, more: bool) {
        assert!(self.receiving);
        bytes.extend_from_slice(&[b'\n'; PAD]);
        self.receiving = more;
        self.conn.received(&mut bytes, more, &mut self.state.cx());
    }

    fn complete_send(&mut self) {
        let Some((head, body)) = self.sending.take() else { return };
        let bytes = body.as_ref().map_or(&[][..], Pinned::bytes);
        if self.cancelling && self.random.chance(50) {
            // Cut short: the peer gets a part, the connection its buffer.
            let whole = [&head, bytes].concat();
            let n = self.random.below(whole.len());
            self.output.extend_from_slice(&whole[..n]);
            return self.tell(Event::SendFailed(head));
        }
        self.output.extend_from_slice(&head);
        self.output.extend_from_slice(bytes);
        self.conn.sent(head, &mut self.state.cx());
    }

    fn complete_cancellation(&mut self) {
        if self.cancelling || self.pausing {
            if self.receiving && self.random.chance(70) {
                self.receiving = false;
                self.tell(Event::Ended { errno: libc::ECANCELED, more: false });
            }
            if !self.receiving {
                (self.cancelling, self.pausing) = (false, false);
                self.tell(Event::Cancelled);
            }
        }
    }

    /// The kernel ran out of buffers, or a multishot receive ended for its own reasons.
    fn end_receive_early(&mut self) {
        if self.receiving && self.random.chance(30) {
            self.receiving = false;
            self.tell(Event::Ended { errno: libc::ENOBUFS, more: false });
        }
    }

    fn pass_time(&mut self) {
        let micros = self.random.below(3000) as u64;
        self.pass(Duration::from_micros(micros));
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.state.set_now(self.now);
        // Time that passes is the reader's: it has taken what was sent.
        self.tell(Event::Deadline { acknowledged: self.output.len() as u32 });
    }

    /// Lets everything finish that can.
    fn settle(&mut self) {
        for _ in 0..200_000 {
            let quiet = self.input.is_empty() || !self.receiving && !self.conn.is_sending();
            let waiting = thread_state::with(|thread| !thread.is_quiet());
            let under_way = self.sending.is_some() || self.cancelling || self.pausing;
            let end_is_due = self.peer_ended && self.receiving;
            if quiet && !waiting && !under_way && !end_is_due {
                return;
            }
            self.step();
        }
        panic!("the connection never comes to rest: {}", self.conn.describe());
    }
}

fn app() -> Router {
    const LARGE: &[u8] = &[b'L'; 300_000];
    Router::new()
        .get("/small", |_: &Request<'_>| Response::text("small"))
        .get("/large", |_: &Request<'_>| Response::text(LARGE))
        .get("/later", async |_: OwnedRequest| {
            yield_now().await;
            yield_now().await;
            Response::text("later")
        })
        .get("/stream", |_: &Request<'_>| Response::stream("text/plain", produce))
        .post("/echo", |request: &Request<'_>| Response::text(request.body().to_vec()))
        .stream(http::Method::POST, "/count", async |_: OwnedRequest, mut body: RequestBody| {
            let mut n = 0;
            while let Some(Ok(chunk)) = body.next().await {
                n += chunk.len();
                yield_now().await;
            }
            Response::display(n)
        })
}

async fn produce(mut out: BodyWriter) {
    for n in 0..20 {
        if out.write(vec![b'0' + n as u8 % 10; 20_000]).await.is_err() {
            return;
        }
        yield_now().await;
    }
}

async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A pipeline of requests of all kinds.
fn requests(random: &mut Random, n: usize) -> Vec<u8> {
    let mut all = Vec::new();
    for _ in 0..n {
        let length = random.below(40_000);
        let body = vec![b'b'; length];
        match random.below(8) {
            0 => all.extend_from_slice(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            1 => all.extend_from_slice(b"GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            2 => all.extend_from_slice(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            3 | 4 => {
                let path = if random.chance(50) { "/echo" } else { "/count" };
                let head =
                    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\ncontent-length: {length}");
                all.extend_from_slice(head.as_bytes());
                all.extend_from_slice(b"\r\n\r\n");
                all.extend_from_slice(&body);
            }
            5 => {
                all.extend_from_slice(b"POST /count HTTP/1.1\r\nHost: localhost\r\n");
                all.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
                for part in body.chunks(9000) {
                    all.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                    all.extend_from_slice(part);
                    all.extend_from_slice(b"\r\n");
                }
                all.extend_from_slice(b"0\r\n\r\n");
            }
            _ => all.extend_from_slice(b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        }
    }
    all
}

/// Bodies of the answers in order: framing taken off, so that chunks may differ.
fn bodies(mut output: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while !output.is_empty() {
        let Some(end) = output.windows(4).position(|four| four == b"\r\n\r\n") else { break };
        let head = String::from_utf8_lossy(&output[..end]).to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        output = &output[end + 4..];
        if let Some(at) = head.find("content-length: ") {
            let length: usize = head[at + 16..].lines().next().unwrap().parse().unwrap();
            let Some(body) = output.get(..length) else { break };
            all.push(body.to_vec());
            output = &output[length..];
            continue;
        }
        let mut body = Vec::new();
        loop {
            let Some(eol) = output.windows(2).position(|two| two == b"\r\n") else { return all };
            let text = std::str::from_utf8(&output[..eol]).unwrap();
            let size = usize::from_str_radix(text, 16).unwrap();
            let Some(data) = output.get(eol + 2..eol + 2 + size) else { return all };
            body.extend_from_slice(data);
            let Some(rest) = output.get(eol + 4 + size..) else { return all };
            output = rest;
            if size == 0 {
                break;
            }
        }
        all.push(body);
    }
    all
}

/// The same input without disturbance.
fn undisturbed(input: &[u8]) -> Vec<Vec<u8>> {
    let mut world = World::new(1, Limits::default());
    world.input = input.to_vec();
    world.settle();
    bodies(&world.output)
}

#[test]
fn answers_are_the_same_whatever_the_order_of_completions() {
    for seed in 0..60 {
        let mut world = World::new(seed, Limits::default());
        let n = 1 + world.random.below(30);
        let input = requests(&mut world.random, n);
        let expected = undisturbed(&input);
        assert_eq!(expected.len(), n, "seed {seed}");
        world.input = input;
        world.settle();
        assert!(bodies(&world.output) == expected, "seed {seed}");
        assert!(!world.conn.output.is_closing(), "seed {seed}");
    }
}

#[test]
fn whenever_the_peer_leaves_the_connection_ends_and_what_it_got_is_a_prefix() {
    for seed in 0..120 {
        let mut world = World::new(seed, Limits::default());
        let n = 1 + world.random.below(20);
        let input = requests(&mut world.random, n);
        let expected = undisturbed(&input);
        let cut = world.random.below(input.len() + 1);
        world.input = input[..cut].to_vec();
        world.peer_ended = true;
        for _ in 0..200_000 {
            if world.conn.is_over() {
                break;
            }
            world.step();
        }
        assert!(world.conn.is_over(), "seed {seed}: {}", world.conn.describe());
        assert!(!world.receiving && world.sending.is_none() && !world.cancelling, "seed {seed}");
        let got = bodies(&world.output);
        assert!(expected.starts_with(&got), "seed {seed}");
    }
}

#[test]
fn whenever_it_is_cut_off_everything_under_way_ends_and_no_task_is_left() {
    for seed in 0..120 {
        let mut world = World::new(seed, Limits::default());
        let input = requests(&mut world.random, 20);
        world.input = input;
        for _ in 0..world.random.below(400) {
            world.step();
        }
        world.conn.abandon(&mut world.state.cx());
        world.turn_ends();
        for _ in 0..10_000 {
            if world.conn.is_over() {
                break;
            }
            world.step();
        }
        assert!(world.conn.is_over(), "seed {seed}");
        for _ in 0..10 {
            world.turn_ends();
        }
        assert_eq!(world.state.tasks(), 0, "seed {seed}");
    }
}

#[test]
fn a_drain_answers_what_has_begun_and_then_closes() {
    for seed in 0..60 {
        let mut world = World::new(seed, Limits::default());
        let input = requests(&mut world.random, 10);
        let expected = undisturbed(&input);
        world.input = input;
        for _ in 0..world.random.below(200) {
            world.step();
        }
        world.state.leaving = Leaving::Soon;
        world.tell(Event::Drain);
        world.turn_ends();
        world.peer_ended = true;
        for _ in 0..200_000 {
            if world.conn.is_over() {
                break;
            }
            world.step();
        }
        assert!(world.conn.is_over(), "seed {seed}: {}", world.conn.describe());
        assert!(!world.reset, "seed {seed}: nothing was cut off");
        let got = bodies(&world.output);
        assert!(expected.starts_with(&got), "seed {seed}");
    }
}

#[test]
fn timeouts_close_what_stands_still() {
    let limits = Limits::default();
    // Nothing ever came: closed without a word.
    let mut world = World::new(3, limits.clone());
    world.pass(limits.idle_timeout);
    world.turn_ends();
    world.settle();
    assert!(world.conn.is_over() && world.output.is_empty());
    // A head that stops half-way, and a body that does: 408.
    let (head, body) =
        ("GET / HT", "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\nx");
    for (input, after) in [(head, limits.header_timeout), (body, limits.rate_grace)] {
        let mut world = World::new(5, limits.clone());
        world.input = input.as_bytes().to_vec();
        world.settle();
        world.pass(after + Duration::from_millis(1));
        world.turn_ends();
        world.settle();
        assert!(world.output.starts_with(b"HTTP/1.1 408 "), "{input}");
        assert!(world.finished && !world.conn.is_over(), "FIN is sent and the peer may read");
        world.peer_ended = true;
        world.settle();
        assert!(world.conn.is_over());
    }
}

#[test]
fn a_reader_that_stands_still_is_reset() {
    let limits = Limits::default();
    let mut world = World::new(9, limits.clone());
    world.input = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
    while world.sending.is_none() {
        world.step();
    }
    world.pass(limits.rate_grace + Duration::from_millis(1));
    world.turn_ends();
    assert!(world.reset && world.cancelling);
    while !world.conn.is_over() {
        world.step();
    }
}

#[test]
fn a_pipeline_whose_answers_nobody_reads_stops_being_read() {
    let limits = Limits { output_bytes: 16 * 1024, spill_bytes: 4 * 1024, ..Limits::default() };
    let mut world = World::new(11, limits);
    let request = b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n";
    world.input = request.repeat(100_000);
    let before = world.input.len();
    for _ in 0..5000 {
        match world.random.below(4) {
            0 => world.complete_cancellation(),
            _ => world.deliver(),
        }
        world.turn_ends();
    }
    assert!(!world.receiving, "the receive is cancelled");
    assert!(before - world.input.len() < 200_000, "{} bytes read", before - world.input.len());
    assert!(world.conn.output.kept() < 64 * 1024 && world.conn.output.queued() < 64 * 1024);
    world.settle();
    assert_eq!(bodies(&world.output).len(), 100_000);
}

#[test]
fn an_idle_connection_is_small() {
    // With the slab's generation and descriptor, the timer's node and the place for a send: 256
    // bytes at most for all that an idle connection costs.
    assert!(size_of::<Conn>() <= 160, "{}", size_of::<Conn>());
}
