//! A worker without connections: a real ring for a handler's file operations, and a clock.

use std::fs;
use std::future::{Future, poll_fn};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, SystemTime};

use ringway_codec::Time;
use ringway_codec::field::{Field, Known};
use ringway_codec::h1::Span;
use ringway_codec::h1::request::{Line, Method};

use crate::app::body_channel::{End, Read};
use crate::app::extensions::Attached;
use crate::app::handler::{Handler, Reply};
use crate::app::request::{Params, Peer, Protocol, Request};
use crate::app::response::{Body, FieldBlock, Response};
use crate::files::Files;
use crate::ring::token::OpKind;
use crate::ring::{self, Ring};
use crate::rt::thread_state;
use crate::rt::threads::Threads;

/// A directory that is gone when the test is over.
pub(super) struct Tree(pub(super) PathBuf);

impl Tree {
    pub(super) fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("ringway-{name}-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        Self(root)
    }

    /// Writes a file that looks as if it had been there for an hour.
    pub(super) fn old(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        self.aged(path, content, Duration::from_secs(3600))
    }

    pub(super) fn aged(&self, path: &str, content: impl AsRef<[u8]>, age: Duration) -> &Self {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let file = fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
        self
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The little of a worker that handlers need: a ring for their file operations, and a clock.
pub(super) struct Worker {
    ring: Ring,
    now: Time,
    files: Files,
}

/// Unparks the test's thread, so that a wake from another thread is not missed.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Worker {
    pub(super) fn new(files: Files) -> Self {
        let settings = ring::RingSettings { buffers: 2, ..ring::RingSettings::default() };
        let now = Time(1_000_000);
        let ring = Ring::new(&settings).unwrap();
        let mailbox = Arc::new(ring.mailbox().unwrap());
        thread_state::with(|thread| {
            thread.enter(&mailbox, Arc::new(Threads::new(1, 1)));
            thread.tick(now);
        });
        Self { ring, now, files }
    }

    /// Lets time pass.
    pub(super) fn later(&mut self, duration: Duration) {
        self.now = self.now + duration;
        thread_state::with(|thread| thread.tick(self.now));
    }

    pub(super) fn run<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut under_way = 0;
        loop {
            if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
                return result;
            }
            for (id, request) in thread_state::with(|thread| thread.new_jobs.take()) {
                self.ring.job(id, request);
                under_way += 1;
            }
            if under_way == 0 {
                std::thread::park_timeout(Duration::from_millis(50));
                continue;
            }
            self.ring.enter(None).unwrap();
            let batch = self.ring.completions();
            for completion in &batch {
                assert_eq!(completion.token.kind(), OpKind::Job);
                let id = completion.token.id();
                let result = self.ring.job_done(id, completion.result);
                thread_state::with(|thread| thread.finish_job(id, result));
                under_way -= 1;
            }
            self.ring.recycle_completions(batch);
        }
    }

    pub(super) fn start(&self, method: Method, target: &str, lines: &[(&str, &str)]) -> Reply {
        let mut bytes = target.as_bytes().to_vec();
        let mut fields = Vec::new();
        for (name, value) in lines {
            let name_at = bytes.len() as u32;
            bytes.extend_from_slice(name.as_bytes());
            let value_at = bytes.len() as u32;
            bytes.extend_from_slice(value.as_bytes());
            fields.push(Field {
                name_at,
                value_at,
                value_len: value.len() as u32,
                name_len: name.len() as u16,
                known: Known::of(name.as_bytes()),
                flags: 0,
            });
        }
        let question = target.find('?').unwrap_or(target.len());
        let span = |from: usize, to: usize| Span { at: from as u32, len: (to - from) as u32 };
        let line = Line {
            method,
            method_span: span(0, 0),
            target: span(0, target.len()),
            path: span(0, question),
            canonical: true,
            query: (question < target.len()).then(|| span(question + 1, target.len())),
            authority: None,
        };
        self.files.call(&Request {
            bytes: &bytes,
            fields: &fields,
            line: &line,
            protocol: Protocol::Http11,
            secure: false,
            certified: false,
            body: &[],
            peer: Peer::Address(None),
            params: Params::default(),
            attached: &Attached::default(),
            owner: crate::rt::executor::TaskOwner::default(),
        })
    }

    pub(super) fn ask(&mut self, method: Method, target: &str, lines: &[(&str, &str)]) -> Response {
        match self.start(method, target, lines) {
            Reply::Ready(response) => response,
            Reply::Later(future) => self.run(future),
        }
    }

    pub(super) fn get(&mut self, target: &str) -> Answer {
        self.get_with(target, &[])
    }

    pub(super) fn get_with(&mut self, target: &str, lines: &[(&str, &str)]) -> Answer {
        let response = self.ask(Method::Get, target, lines);
        self.receive(response)
    }

    pub(super) fn receive(&mut self, response: Response) -> Answer {
        let fields = response.blocks().flat_map(FieldBlock::iter).map(|(_, _, name, value)| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (text(name), text(value))
        });
        let content_type = response.content_type.map(|t| ("content-type".into(), t.into()));
        let fields = fields.chain(content_type).collect();
        let status = response.status_code().as_u16();
        let length = response.body.len();
        let body = match response.body {
            Body::Stream(producer) => {
                let (channel, future) = producer.into_parts();
                let mut future = pin!(future);
                let mut body = Vec::new();
                let end = self.run(poll_fn(|context| {
                    let _ = future.as_mut().poll(context);
                    loop {
                        match channel.read(usize::MAX) {
                            Read::Chunk(chunk) => body.extend_from_slice(chunk.bytes()),
                            Read::Empty => return Poll::Pending,
                            Read::End(end) => return Poll::Ready(end),
                        }
                    }
                }));
                if end == End::Complete { Ok(body) } else { Err(body) }
            }
            body => Ok(body.bytes().to_vec()),
        };
        Answer { status, fields, length, body }
    }
}

/// A response, received.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) fields: Vec<(String, String)>,
    pub(super) length: Option<u64>,
    /// The body; what came of it, when it broke off.
    pub(super) body: Result<Vec<u8>, Vec<u8>>,
}

impl Answer {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> String {
        let body = self.body.as_ref().unwrap_or_else(|part| part);
        String::from_utf8_lossy(body).into_owned()
    }
}
