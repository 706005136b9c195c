//! The do-nothing ring: the cost of io_uring and the kernel's loopback with a server that does
//! nothing.
//!
//! It accepts, receives, and sends a constant reply. No parsing, limits, timers or handling of
//! short writes: it is the ceiling that ringway is measured against, not a server. All requests of
//! a connection are assumed to be as long as its first, so pipelined requests are counted without
//! being parsed.
//!
//! `donothing --http 127.0.0.1:PORT [--recv multishot|single] [--descriptors direct|plain]`

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::process::ExitCode;
use std::ptr;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::{BufRingEntry, Fd, Fixed};
use io_uring::{IoUring, cqueue, opcode, squeue};

/// As long as the arena application's reply to `GET /baseline11?a=13&b=42`.
const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nserver: ringway\r\n\
    date: Sat, 21 Nov 2026 22:00:00 GMT\r\n\
    content-type: text/plain\r\ncontent-length: 2\r\n\r\n55";
/// Replies that one SEND can carry: more than any load here pipelines.
const REPLIES_MAX: usize = 1024;
const CONNECTIONS_MAX: u32 = 8192;
const BUFFERS: u16 = 2048;
const BUFFER_BYTES: usize = 4096;
const GROUP: u16 = 0;

const ACCEPT: u64 = 0;
const RECV: u64 = 1;
const SEND: u64 = 2;
const CLOSE: u64 = 3;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(what) => {
            eprintln!("donothing: {what}");
            return ExitCode::from(2);
        }
    };
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("donothing: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Clone, Copy)]
struct Options {
    address: SocketAddr,
    multishot: bool,
    direct: bool,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut options = Self { address, multishot: true, direct: false };
        while let Some(flag) = args.next() {
            let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
            match (flag.as_str(), value.as_str()) {
                ("--http", address) => {
                    options.address =
                        address.parse().map_err(|_| format!("bad address {address}"))?
                }
                ("--recv", "multishot" | "single") => options.multishot = value == "multishot",
                ("--descriptors", "direct" | "plain") => options.direct = value == "direct",
                _ => return Err(format!("what is {flag} {value}?")),
            }
        }
        Ok(options)
    }
}

#[derive(Clone, Copy, Default)]
struct Connection {
    /// Length of one request, 0 until the first one has arrived.
    request: usize,
    /// Bytes received that do not make a whole request yet.
    received: usize,
    owed: usize,
    sending: bool,
    receiving: bool,
    closed: bool,
    dirty: bool,
}

struct Loop {
    ring: IoUring,
    options: Options,
    listener: RawFd,
    connections: Vec<Connection>,
    buffers: Buffers,
    replies: Vec<u8>,
    dirty: Vec<u32>,
}

fn serve(options: Options) -> io::Result<()> {
    let listener = listen(options.address)?;
    println!("listening http {}", listener.local_addr()?.as_socket().unwrap_or(options.address));
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_cqsize(16384)
        .build(4096)?;
    if options.direct {
        ring.submitter().register_files_sparse(CONNECTIONS_MAX)?;
    }
    let buffers = Buffers::register(&ring)?;
    let mut this = Loop {
        ring,
        options,
        listener: listener.as_raw_fd(),
        connections: vec![Connection::default(); CONNECTIONS_MAX as usize],
        buffers,
        replies: REPLY.repeat(REPLIES_MAX),
        dirty: Vec::with_capacity(CONNECTIONS_MAX as usize),
    };
    this.accept();
    let mut completions = Vec::with_capacity(16384);
    loop {
        this.ring.submit_and_wait(1)?;
        completions.extend(this.ring.completion());
        for completion in completions.drain(..) {
            this.on(&completion);
        }
        this.buffers.publish();
        this.flush();
    }
}

fn listen(address: SocketAddr) -> io::Result<socket2::Socket> {
    let kind = socket2::Type::STREAM;
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), kind, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket)
}

impl Loop {
    fn push(&mut self, entry: &squeue::Entry) {
        loop {
            // SAFETY: every entry points at memory that lives as long as the loop (replies, buffer
            // ring) or at none.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return;
            }
            let submitted = self.ring.submit();
            assert!(submitted.is_ok(), "the kernel takes what is queued: {submitted:?}");
        }
    }

    fn accept(&mut self) {
        let accept = opcode::AcceptMulti::new(Fd(self.listener))
            .allocate_file_index(self.options.direct)
            .build();
        self.push(&accept.user_data(ACCEPT << 32));
    }

    fn receive(&mut self, id: u32) {
        self.connections[id as usize].receiving = true;
        let entry = match (self.options.multishot, self.options.direct) {
            (true, true) => opcode::RecvMulti::new(Fixed(id), GROUP).build(),
            (true, false) => opcode::RecvMulti::new(Fd(id as i32), GROUP).build(),
            (false, true) => single(opcode::Recv::new(Fixed(id), ptr::null_mut(), 0)),
            (false, false) => single(opcode::Recv::new(Fd(id as i32), ptr::null_mut(), 0)),
        };
        self.push(&entry.user_data(RECV << 32 | u64::from(id)));
    }

    fn on(&mut self, completion: &cqueue::Entry) {
        let (op, id) = (completion.user_data() >> 32, completion.user_data() as u32);
        let more = cqueue::more(completion.flags());
        match op {
            ACCEPT => {
                if let Ok(new) = u32::try_from(completion.result()) {
                    assert!(new < CONNECTIONS_MAX, "few enough connections");
                    self.connections[new as usize] = Connection::default();
                    self.receive(new);
                }
                if !more {
                    self.accept();
                }
            }
            RECV => self.received(id, completion.result(), completion.flags(), more),
            SEND => {
                let connection = &mut self.connections[id as usize];
                connection.sending = false;
                if connection.owed > 0 || connection.closed {
                    self.mark(id);
                }
            }
            _ => {}
        }
    }

    fn received(&mut self, id: u32, result: i32, flags: u32, more: bool) {
        let connection = &mut self.connections[id as usize];
        connection.receiving = more;
        if result > 0 {
            let buffer = cqueue::buffer_select(flags).unwrap_or_default();
            if connection.request == 0 {
                let head = self.buffers.bytes(buffer, result as usize);
                let end = head.windows(4).position(|window| window == b"\r\n\r\n");
                connection.request = end.map_or(head.len(), |at| at + 4);
            }
            self.buffers.give_back(buffer);
            connection.received += result as usize;
            connection.owed += connection.received / connection.request;
            connection.received %= connection.request;
        } else if result != -libc::ENOBUFS {
            connection.closed = true;
        }
        // A single-shot receive is queued after the reply, in `flush`.
        if !more && !connection.closed && self.options.multishot {
            self.receive(id);
        }
        self.mark(id);
    }

    fn mark(&mut self, id: u32) {
        let connection = &mut self.connections[id as usize];
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(id);
        }
    }

    /// One SEND per connection and turn, from the constant replies.
    fn flush(&mut self) {
        for index in 0..self.dirty.len() {
            let id = self.dirty[index];
            let connection = &mut self.connections[id as usize];
            connection.dirty = false;
            if connection.sending {
                continue;
            }
            if connection.closed {
                self.close(id);
                continue;
            }
            let count = connection.owed.min(REPLIES_MAX);
            connection.owed -= count;
            connection.sending = count > 0;
            if count > 0 {
                self.send(id, count * REPLY.len());
            }
            if !self.connections[id as usize].receiving {
                self.receive(id);
            }
        }
        self.dirty.clear();
    }

    fn send(&mut self, id: u32, bytes: usize) {
        let (from, len) = (self.replies.as_ptr(), bytes as u32);
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let entry = if self.options.direct {
            opcode::Send::new(Fixed(id), from, len).flags(flags).build()
        } else {
            opcode::Send::new(Fd(id as i32), from, len).flags(flags).build()
        };
        self.push(&entry.user_data(SEND << 32 | u64::from(id)));
    }

    fn close(&mut self, id: u32) {
        let entry = if self.options.direct {
            opcode::Close::new(Fixed(id)).build()
        } else {
            opcode::Close::new(Fd(id as i32)).build()
        };
        self.push(&entry.user_data(CLOSE << 32 | u64::from(id)));
    }
}

/// A single-shot receive that polls first: it is queued after the reply, so no data is waiting yet.
fn single(receive: opcode::Recv) -> squeue::Entry {
    const RECVSEND_POLL_FIRST: u16 = 1;
    receive.ioprio(RECVSEND_POLL_FIRST).buf_group(GROUP).build().flags(squeue::Flags::BUFFER_SELECT)
}

/// The ring of provided buffers.
struct Buffers {
    entries: *mut BufRingEntry,
    memory: Vec<u8>,
    tail: u16,
}

impl Buffers {
    fn register(ring: &IoUring) -> io::Result<Self> {
        let bytes = usize::from(BUFFERS) * size_of::<BufRingEntry>();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh anonymous mapping; its result is checked.
        let mapped = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping is page-aligned, large enough, and never unmapped.
        unsafe { ring.submitter().register_buf_ring_with_flags(mapped as u64, BUFFERS, GROUP, 0) }?;
        let memory = vec![0; usize::from(BUFFERS) * BUFFER_BYTES];
        let mut buffers = Self { entries: mapped.cast(), memory, tail: 0 };
        for id in 0..BUFFERS {
            buffers.give_back(id);
        }
        buffers.publish();
        Ok(buffers)
    }

    fn bytes(&self, id: u16, len: usize) -> &[u8] {
        let at = usize::from(id) * BUFFER_BYTES;
        &self.memory[at..at + len]
    }

    fn give_back(&mut self, id: u16) {
        let address = self.memory[usize::from(id) * BUFFER_BYTES..].as_mut_ptr() as u64;
        let at = usize::from(self.tail % BUFFERS);
        // SAFETY: `at` is inside the mapping, and the kernel reads it only once published.
        let entry = unsafe { &mut *self.entries.add(at) };
        entry.set_addr(address);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        // SAFETY: the tail lies in the mapping; the kernel only reads it.
        let tail = unsafe { &*BufRingEntry::tail(self.entries).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }
}
