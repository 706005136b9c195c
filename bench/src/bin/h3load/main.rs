//! `ringway-h3load`: a single-threaded load generator for HTTP/3. Closed loop: every connection
//! keeps a fixed number of requests under way. Open loop (`--rate`): requests begin when they are
//! due, and latency counts from then, so a server cannot hide stalls.

mod args;
mod client;
mod histogram;
mod report;
mod short;
mod socket;

use args::{Args, Target};
use client::{Client, Shared};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use report::Report;
use ringway_quic::{gso, quiche};
use short::Handshakes;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A finished request.
struct Outcome {
    since: Instant,
    /// 0 if no head arrived.
    status: u16,
    /// Bytes of content.
    body: u64,
    /// It ended without a protocol error.
    is_whole: bool,
}

/// Time limit for establishing the connections.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The longest sleep: progress and the end are checked that often.
const SLEEP_MAX: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => return ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("ringway-h3load: {problem}");
            return ExitCode::from(2);
        }
    };
    match run(&args) {
        Ok(report) => {
            report.print(args.json);
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            eprintln!("ringway-h3load: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> io::Result<Report> {
    let mut load = Load::connect(args)?;
    let mut report = Report::new(args);
    let begun = Instant::now();
    let measured_from = begun + args.warm_up;
    let end = measured_from + args.duration;
    let mut progress = begun + Duration::from_secs(1);
    let mut is_warm = args.warm_up.is_zero();
    loop {
        let now = Instant::now();
        let is_over = now >= end || args.requests.is_some_and(|most| load.answered >= most);
        if is_over {
            break;
        }
        load.ask(now);
        load.flush(now)?;
        load.wait(end.min(now + SLEEP_MAX))?;
        load.receive()?;
        let now = Instant::now();
        if !is_warm && now >= measured_from {
            is_warm = true;
            load.handshakes = Handshakes::default();
        }
        for outcome in load.done.drain(..) {
            load.answered += 1;
            report.add(&outcome, now, outcome.since >= measured_from || args.warm_up.is_zero());
        }
        if now >= progress {
            progress = now + Duration::from_secs(1);
            if !args.quiet {
                report.progress(now - begun);
            }
        }
        if args.short {
            load.renew()?;
        } else if load.clients.iter().all(|client| client.conn.is_closed()) {
            report.ended_early = true;
            break;
        }
    }
    let end = Instant::now();
    report.seconds = end.saturating_duration_since(measured_from).as_secs_f64();
    load.finish(&mut report)?;
    let failed = report.handshakes.missing(args.resume, args.early);
    failed.map_or(Ok(report), |message| Err(io::Error::other(message)))
}

struct Load<'a> {
    args: &'a Args,
    clients: Vec<Client>,
    shared: Shared,
    out: Vec<u8>,
    done: Vec<Outcome>,
    begun: u64,
    answered: u64,
    /// In the open loop: when the next request is due, and the client that sends it.
    due: Instant,
    turn: usize,
    config: quiche::Config,
    /// Resumable sessions.
    sessions: Vec<Vec<u8>>,
    handshakes: Handshakes,
}

impl<'a> Load<'a> {
    /// Establishes all connections.
    fn connect(args: &'a Args) -> io::Result<Self> {
        let mut config = config(args).map_err(io::Error::other)?;
        let target = &args.targets[0];
        let clients: io::Result<Vec<_>> =
            (0..args.connections).map(|_| Client::connect(target, &mut config, None)).collect();
        let now = Instant::now();
        let mut load = Self {
            args,
            clients: clients?,
            shared: Shared::new(),
            out: vec![0; gso::BYTES_MAX],
            done: Vec::new(),
            begun: 0,
            answered: 0,
            due: now,
            turn: 0,
            config,
            sessions: Vec::new(),
            handshakes: Handshakes::default(),
        };
        while !load.clients.iter().all(Client::is_ready) {
            let now = Instant::now();
            if now >= load.due + HANDSHAKE || load.clients.iter().any(|c| c.conn.is_ending()) {
                let ready = load.clients.iter().filter(|client| client.is_ready()).count();
                let all = load.clients.len();
                let message = format!("{ready} of {all} connections were established");
                return Err(io::Error::new(io::ErrorKind::ConnectionRefused, message));
            }
            load.flush(now)?;
            load.wait(now + SLEEP_MAX)?;
            load.receive()?;
        }
        load.due = Instant::now();
        Ok(load)
    }

    /// Starts the requests that are due.
    fn ask(&mut self, now: Instant) {
        let most = self.args.requests.unwrap_or(u64::MAX);
        let Some(rate) = self.args.rate else {
            for client in &mut self.clients {
                while client.under_way() < self.args.streams
                    && self.begun < most
                    && client.is_ready()
                    && (!self.args.short || client.is_untouched())
                    && client.request(&self.args.targets, now)
                {
                    self.begun += 1;
                }
            }
            return;
        };
        let step = Duration::from_secs_f64(1.0 / rate);
        while self.due <= now && self.begun < most {
            let count = self.clients.len();
            let taken = (0..count).any(|more| {
                let client = &mut self.clients[(self.turn + more) % count];
                client.is_ready()
                    && (!self.args.short || client.is_untouched())
                    && client.under_way() < self.args.streams
                    && client.request(&self.args.targets, self.due)
            });
            if !taken {
                // The next chance comes with an answer; latency still counts from when it was due.
                return;
            }
            self.turn = (self.turn + 1) % count;
            self.begun += 1;
            self.due += step;
        }
    }

    fn flush(&mut self, now: Instant) -> io::Result<()> {
        for client in &mut self.clients {
            client.flush(&mut self.out, now)?;
        }
        Ok(())
    }

    /// Sleeps until something can be read, a timer is due, or `until`.
    fn wait(&self, until: Instant) -> io::Result<()> {
        let deadlines = self.clients.iter().filter_map(|client| client.conn.deadline());
        let mut until = deadlines.fold(until, Instant::min);
        if self.args.rate.is_some() {
            until = until.min(self.due);
        }
        let left = until.saturating_duration_since(Instant::now());
        let mut fds: Vec<_> = self
            .clients
            .iter()
            .map(|client| PollFd::new(client.socket.as_fd(), PollFlags::POLLIN))
            .collect();
        // No sleep under a millisecond: an open loop must be on time.
        let timeout = u16::try_from(left.as_millis()).unwrap_or(u16::MAX);
        match poll(&mut fds, PollTimeout::from(timeout)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        let now = Instant::now();
        for client in &mut self.clients {
            client.receive(&mut self.shared, &mut self.done)?;
            if client.conn.deadline().is_some_and(|deadline| deadline <= now) {
                client.conn.expire();
            }
            if client.conn.is_closed() {
                client.give_up(&mut self.done);
            }
        }
        Ok(())
    }

    /// Closes the connections, so the server need not wait for its timers.
    fn finish(mut self, report: &mut Report) -> io::Result<()> {
        for client in &mut self.clients {
            let stats = client.conn.transport().stats();
            report.lost += stats.lost as u64;
            report.datagrams += stats.recv as u64;
            if !self.args.short {
                self.handshakes.note(client);
            }
            client.conn.close(0x100, b"");
        }
        report.handshakes = self.handshakes;
        self.flush(Instant::now())
    }
}

fn config(args: &Args) -> Result<quiche::Config, quiche::Error> {
    let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION)?;
    config.set_application_protos(&[b"h3"])?;
    config.verify_peer(args.verify);
    config.set_max_idle_timeout(30_000);
    config.set_max_recv_udp_payload_size(args.datagram_bytes);
    config.set_max_send_udp_payload_size(args.datagram_bytes);
    config.set_initial_max_data(args.window * args.streams as u64);
    config.set_initial_max_stream_data_bidi_local(args.window);
    config.set_initial_max_stream_data_uni(1 << 20);
    config.set_initial_max_streams_uni(16);
    config.set_max_connection_window((args.window * args.streams as u64).max(1 << 26));
    config.set_max_stream_window(args.window.max(1 << 24));
    config.grease(false);
    if args.early {
        config.enable_early_data();
    }
    Ok(config)
}
