//! HTTP/1.1 and 1.0 on a connection (RFC 9112): requests one after the other, answers in order.
//!
//! A request is parsed where its bytes lie and answered into the gathered output; pipelined ones
//! follow in the same turn until the output's bound is reached. What does not fit this straight way
//! (a body that is not all there, an answer that comes later, a body that flows) has a box.

use std::os::fd::RawFd;

use http::{HeaderValue, StatusCode};
use ringway_codec::Time;
use ringway_codec::field::Field;
use ringway_codec::h1::chunked::Item;
use ringway_codec::h1::request::{self, Head, Method, Resume, Version};
use ringway_codec::h1::response as write;
use ringway_codec::scan::{PAD, Padded};

use super::Cx;
use super::head::{self, Connection, Framing};
use super::incoming::{self, Incoming, Progress, Sink};
use super::link::{COPY_MAX, Link};
use super::outgoing::{Outgoing, Pulled, Sending};
use super::secure::Cover;
use super::upgrade::{SWITCHING, Upgrade};
use crate::body::RequestBody;
use crate::config::Limits;
use crate::executor::{Owner, Work};
use crate::handler::{BodyMode, Reply};
use crate::log::Entry;
use crate::pipe::Pipe;
use crate::request::{OwnedRequest, Params, Parts, Peer, Protocol, Request};
use crate::response::{Body, Response};
use crate::trace::Way;

/// The state of HTTP/1 on a connection; small, because idle connections have it too.
pub(crate) struct Http1 {
    socket: RawFd,
    secure: bool,
    extra: Option<Box<Extra>>,
    resume: Resume,
    incoming: Option<Box<Incoming>>,
    outgoing: Outgoing,
    exchange: Exchange,
    /// Since when the connection has been idle, the head at hand has been arriving, or the request
    /// at hand has been worked on.
    since: Time,
}

/// What most connections do without.
#[derive(Default)]
struct Extra {
    /// Over TLS: the names of the certificate.
    cover: Option<Box<Cover>>,
    /// The request that asked for HTTP/2.
    upgrade: Option<Box<Upgrade>>,
    /// The line of the access log for the request at hand.
    entry: Option<Box<Entry>>,
}

impl Extra {
    /// What clients are told of HTTP/3: see [`Cx::common`].
    fn alt(&self) -> u8 {
        self.cover.as_ref().map_or(0, |cover| cover.alt)
    }
}

/// What of the request at hand the answer depends on.
#[derive(Clone, Copy, Default)]
struct Exchange {
    /// Some of the next request's head has arrived.
    partial: bool,
    /// The answer's head is written.
    answered: bool,
    /// The method was HEAD.
    head_only: bool,
    /// The version was 1.0.
    old: bool,
    /// The client of version 1.0 asked for the connection to stay.
    keep_alive: bool,
    /// The connection ends with the answer.
    close: bool,
    /// The client may still be sending when it does.
    linger: bool,
    /// The answer's status, once it is known.
    status: StatusCode,
}

impl Http1 {
    pub(super) fn new(socket: RawFd, secure: bool, now: Time) -> Self {
        Self {
            socket,
            secure,
            extra: None,
            resume: Resume::default(),
            incoming: None,
            outgoing: Outgoing::None,
            exchange: Exchange::default(),
            since: now,
        }
    }

    /// Uses as much of the input as can be used now; returns how much. `whole` ends in [`PAD`]
    /// bytes that are not input.
    pub(super) fn advance(&mut self, whole: &[u8], link: &mut Link, cx: &mut Cx<'_>) -> usize {
        // Taken once for all requests of a pipeline.
        let mut fields = std::mem::take(cx.fields);
        let used = self.exchange(whole, &mut fields, link, cx);
        *cx.fields = fields;
        used
    }

    fn exchange(
        &mut self,
        whole: &[u8],
        fields: &mut Vec<Field>,
        link: &mut Link,
        cx: &mut Cx<'_>,
    ) -> usize {
        let len = whole.len() - PAD;
        let mut at = 0;
        while !link.is_closing() {
            let used = if self.incoming.is_some() {
                let (used, waits) = self.receive_body(&whole[at..len], link, cx);
                if waits {
                    return at + used;
                }
                used
            } else if at == len || !self.takes_request(link, cx) {
                return at;
            } else {
                let used = self.receive_head(&whole[at..], fields, link, cx);
                if used == 0 && !link.is_closing() {
                    return at;
                }
                used
            };
            at += used;
        }
        len
    }

    /// The connection's certificate stands for these names.
    pub(super) fn set_cover(&mut self, cover: Option<Box<Cover>>) {
        self.extra.get_or_insert_default().cover = cover;
    }

    /// The request that asked for HTTP/2, if it is to have it.
    pub(super) fn take_upgrade(&mut self) -> Option<Box<Upgrade>> {
        self.extra.as_mut()?.upgrade.take()
    }

    /// A handler has hints to send ahead of its answer (RFC 8297).
    pub(super) fn hint(&mut self, links: &[HeaderValue], link: &mut Link, cx: &mut Cx<'_>) {
        if self.exchange.old || !matches!(self.outgoing, Outgoing::Waiting(_)) {
            return;
        }
        let out = link.output(cx);
        write::status_line(out, 103);
        for value in links {
            write::field(out, b"link", value.as_bytes());
        }
        write::end(out);
    }

    /// True when neither a request nor an answer is at hand.
    pub(super) fn is_idle(&self) -> bool {
        self.incoming.is_none() && matches!(self.outgoing, Outgoing::None)
    }

    pub(super) fn describe(&self) -> &'static str {
        match (&self.incoming, &self.outgoing) {
            (Some(_), _) => "receiving a body",
            (None, Outgoing::Waiting(_)) => "waiting for a handler",
            (None, Outgoing::Body(_)) => "sending a body",
            (None, Outgoing::None) if self.exchange.partial => "receiving a head",
            (None, Outgoing::None) => "idle",
        }
    }

    /// True when a body is at hand and only the peer could bring more of it.
    pub(super) fn is_starved(&self) -> bool {
        self.incoming.as_ref().is_some_and(|incoming| !incoming.waits_for_reader())
    }

    /// A handler has answered.
    pub(super) fn reply(&mut self, response: Response, link: &mut Link, cx: &mut Cx<'_>) {
        if matches!(self.outgoing, Outgoing::Waiting(_)) {
            self.outgoing = Outgoing::None;
            self.respond(response, link, cx);
        }
    }

    /// Takes what a producer has made into the output, up to its bound.
    pub(super) fn pull(&mut self, link: &mut Link, cx: &mut Cx<'_>) {
        let Outgoing::Body(sending) = &mut self.outgoing else { return };
        let mut sent = 0;
        let pulled = sending.pull(&mut sent, link, cx);
        if let Some(entry) = self.entry() {
            entry.produced(sent);
        }
        match pulled {
            Pulled::Waiting => {}
            Pulled::Complete => {
                self.outgoing = Outgoing::None;
                self.settle(link, cx);
            }
            Pulled::Broken => {
                self.abandon(cx);
                link.reset(cx);
            }
        }
    }

    /// When the connection wants to hear that time has passed.
    pub(super) fn deadline(&self, limits: &Limits) -> Time {
        match (&self.incoming, &self.outgoing) {
            (Some(incoming), _) => incoming.deadline(limits.rate_grace),
            (None, Outgoing::Waiting(_) | Outgoing::Body(_)) => Time::NEVER,
            (None, Outgoing::None) if self.exchange.partial => self.since + limits.header_timeout,
            (None, Outgoing::None) => self.since + limits.idle_timeout,
        }
    }

    /// A deadline has passed.
    pub(super) fn expire(&mut self, link: &mut Link, cx: &mut Cx<'_>) {
        if let Some(incoming) = &mut self.incoming {
            if incoming.is_slow(cx) {
                cx.tally.counters.slow_bodies += 1;
                self.refuse(StatusCode::REQUEST_TIMEOUT, "the body came too slowly", link, cx);
            }
        } else if self.exchange.partial {
            cx.tally.counters.slow_heads += 1;
            self.refuse(StatusCode::REQUEST_TIMEOUT, "the head came too slowly", link, cx);
        } else {
            link.close_now(cx);
        }
    }

    /// The server stops: an idle connection ends, a busy one after the answer at hand.
    pub(super) fn drain(&mut self, link: &mut Link, cx: &mut Cx<'_>) {
        if self.is_idle() && !self.exchange.partial {
            link.close(false, cx);
        }
    }

    /// Drops the exchange at hand: the connection is gone.
    pub(super) fn abandon(&mut self, cx: &mut Cx<'_>) {
        if let Some(incoming) = self.incoming.take() {
            incoming.abort();
        }
        std::mem::take(&mut self.outgoing).abandon(cx);
        self.log("the connection ended", cx);
    }

    fn takes_request(&self, link: &Link, cx: &Cx<'_>) -> bool {
        matches!(self.outgoing, Outgoing::None) && !self.is_upgrading() && link.has_room(cx)
    }

    fn is_upgrading(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.upgrade.is_some())
    }

    fn entry(&mut self) -> Option<&mut Entry> {
        self.extra.as_mut()?.entry.as_deref_mut()
    }

    /// Parses a head and begins its exchange; 0 while it is incomplete.
    fn receive_head(
        &mut self,
        whole: &[u8],
        fields: &mut Vec<Field>,
        link: &mut Link,
        cx: &mut Cx<'_>,
    ) -> usize {
        let input = Padded::new(whole, whole.len() - PAD);
        match request::parse(cx.backend, input, fields, &mut self.resume, &cx.head_limits) {
            Ok(Some(head)) => {
                if let Some(trace) = &cx.trace {
                    trace.head(link.id, Way::In, &whole[..head.len as usize]);
                }
                self.begin(whole, &head, fields, link, cx)
            }
            Ok(None) => {
                if !self.exchange.partial {
                    self.exchange.partial = true;
                    self.since = cx.now;
                }
                0
            }
            Err(error) => {
                let status = StatusCode::from_u16(error.status());
                self.exchange = Exchange::default();
                self.since = cx.now;
                self.begin_entry_unparsed(&whole[..whole.len() - PAD], cx);
                self.refuse(status.unwrap_or(StatusCode::BAD_REQUEST), error.reason(), link, cx);
                0
            }
        }
    }

    /// Begins an exchange; returns the bytes of the head, and of the body if that was used with it.
    fn begin(
        &mut self,
        whole: &[u8],
        head: &Head,
        fields: &[Field],
        link: &mut Link,
        cx: &mut Cx<'_>,
    ) -> usize {
        cx.tally.counters.requests += 1;
        self.since = cx.now;
        self.exchange = Exchange {
            head_only: head.method == Method::Head,
            old: head.version == Version::H10,
            keep_alive: head.keep_alive,
            close: head.close,
            ..Exchange::default()
        };
        let (bytes, rest) = whole.split_at(head.len as usize);
        let parts = parts(head, self.secure);
        let stream = std::cell::Cell::new(None);
        let request = Request {
            bytes,
            fields,
            parts: &parts,
            body: &[],
            peer: Peer::Socket(self.socket),
            params: Params::default(),
            stream: &stream,
            owner: Owner { conn: link.id, stream: 0 },
        };
        if let Some(log) = cx.log.as_mut() {
            let entry = log.begin(&request, request.remote_addr(), cx.now);
            self.extra.get_or_insert_default().entry = Some(entry);
        }
        if let Some(cover) = self.extra.as_mut().and_then(|extra| extra.cover.as_mut())
            && cover.is_misdirected(request.authority())
        {
            let why = "the certificate of this connection is not that host's";
            self.refuse(StatusCode::MISDIRECTED_REQUEST, why, link, cx);
            return head.len as usize;
        }
        if head.upgrade_h2c
            && !self.secure
            && cx.h2c_upgrade
            && let Some(upgrade) = Upgrade::of(&request)
        {
            self.extra.get_or_insert_default().upgrade = Some(Box::new(upgrade));
            link.output(cx).extend_from_slice(SWITCHING);
            return head.len as usize;
        }
        if head.framing == request::Framing::None {
            self.dispatch(&request, link, cx);
            return head.len as usize;
        }
        self.begin_body(request, head, &rest[..rest.len() - PAD], link, cx)
    }

    /// Begins an exchange whose request has a body, of which `there` has arrived.
    fn begin_body<'a>(
        &mut self,
        mut request: Request<'a>,
        head: &Head,
        there: &'a [u8],
        link: &mut Link,
        cx: &mut Cx<'_>,
    ) -> usize {
        let mode = cx.app.body_mode(&request);
        let limit = match mode {
            BodyMode::Buffer => cx.limits.body_bytes,
            BodyMode::BufferUpTo(limit) => limit,
            BodyMode::Stream => {
                self.begin_stream(&request, head, there.is_empty(), link, cx);
                return head.len as usize;
            }
        };
        if let request::Framing::Length(length) = head.framing {
            if length > limit {
                let why = "the body is larger than the limit";
                self.refuse(StatusCode::PAYLOAD_TOO_LARGE, why, link, cx);
                return head.len as usize;
            }
            if let Some(body) = there.get(..length as usize) {
                request.body = body;
                self.dispatch(&request, link, cx);
                return head.len as usize + length as usize;
            }
        } else if let Some(used) = self.chunked_at_once(&request, there, limit, link, cx) {
            return head.len as usize + used;
        }
        let sink = Sink::Buffer { request: Box::new(request.to_owned()), limit };
        self.incoming = Some(Box::new(Incoming::new(head.framing, sink, cx)));
        if head.expect_continue && there.is_empty() {
            link.output(cx).extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        head.len as usize
    }

    /// Handles a request whose chunked body has come with its head, in the worker's scratch;
    /// returns the body's bytes. Anything else (more to come, errors, too much) takes the long way.
    fn chunked_at_once(
        &mut self,
        request: &Request<'_>,
        there: &[u8],
        limit: u64,
        link: &mut Link,
        cx: &mut Cx<'_>,
    ) -> Option<usize> {
        let mut body = std::mem::take(cx.scratch);
        body.clear();
        let mut decoder = incoming::decoder(cx.limits);
        let mut used = 0;
        let whole = loop {
            match decoder.next(there, &mut used) {
                Ok(Item::Data(range)) => body.extend_from_slice(&there[range]),
                Ok(Item::Trailer(_)) => {}
                Ok(Item::End) => break body.len() as u64 <= limit,
                Ok(Item::More) | Err(_) => break false,
            }
        };
        if whole {
            self.dispatch(&Request { body: &body, ..*request }, link, cx);
        }
        *cx.scratch = body;
        whole.then_some(used)
    }

    /// Begins an exchange whose handler takes the body as it arrives.
    fn begin_stream(
        &mut self,
        request: &Request<'_>,
        head: &Head,
        nothing_there: bool,
        link: &mut Link,
        cx: &mut Cx<'_>,
    ) {
        let pipe = Pipe::default();
        request.stream.set(Some(RequestBody::new(pipe.clone())));
        self.incoming = Some(Box::new(Incoming::new(head.framing, Sink::Pipe(pipe), cx)));
        // A client that waits for 100 and is refused keeps its body, or not: nobody can tell.
        self.exchange.linger = head.expect_continue && nothing_there;
        let reply = cx.app.call(request);
        // What the handler left in the request is a body that it did not want.
        drop(request.stream.take());
        if head.expect_continue && nothing_there && matches!(reply, Reply::Later(_)) {
            self.exchange.linger = false;
            link.output(cx).extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.take_reply(reply, link, cx);
    }

    fn dispatch(&mut self, request: &Request<'_>, link: &mut Link, cx: &mut Cx<'_>) {
        let reply = cx.app.call(request);
        self.take_reply(reply, link, cx);
    }

    fn take_reply(&mut self, reply: Reply, link: &mut Link, cx: &mut Cx<'_>) {
        match reply {
            Reply::Ready(response) => self.respond(response, link, cx),
            Reply::Later(future) => {
                let owner = Owner { conn: link.id, stream: 0 };
                let task = cx.executor.spawn(owner, Work::Reply(future));
                self.outgoing = Outgoing::Waiting(task);
            }
        }
    }

    /// Uses body bytes; returns how many, and whether more have to come (or the reader to read).
    fn receive_body(&mut self, input: &[u8], link: &mut Link, cx: &mut Cx<'_>) -> (usize, bool) {
        let Some(incoming) = &mut self.incoming else { return (0, false) };
        let mut used = 0;
        let progress = incoming.receive(input, &mut used, link.id, cx);
        match progress {
            Progress::More => return (used, true),
            Progress::Complete => {
                let sink = self.incoming.take().map(|incoming| incoming.into_sink());
                if let Some(Sink::Buffer { request, .. }) = sink {
                    self.dispatch_owned(&request, link, cx);
                } else {
                    self.settle(link, cx);
                }
            }
            Progress::TooLarge => {
                let why = "the body is larger than the limit";
                self.refuse(StatusCode::PAYLOAD_TOO_LARGE, why, link, cx);
            }
            Progress::Unwanted => {
                self.incoming = None;
                self.exchange.close = true;
                self.exchange.linger = true;
                self.settle(link, cx);
            }
            Progress::Invalid(error) => {
                let status = StatusCode::from_u16(error.status());
                self.refuse(status.unwrap_or(StatusCode::BAD_REQUEST), error.reason(), link, cx);
            }
        }
        (used, false)
    }

    fn dispatch_owned(&mut self, request: &OwnedRequest, link: &mut Link, cx: &mut Cx<'_>) {
        self.dispatch(&request.view(), link, cx);
    }

    /// Writes a response, or begins to.
    fn respond(&mut self, response: Response, link: &mut Link, cx: &mut Cx<'_>) {
        if self.incoming.as_mut().is_some_and(|incoming| !incoming.may_be_discarded()) {
            self.incoming = None;
            self.exchange.close = true;
            self.exchange.linger = true;
        }
        self.exchange.close |= cx.draining || self.exchange.linger;
        let framing = match response.body.len() {
            _ if head::is_bodiless(response.status) => Framing::Bodiless,
            Some(length) => Framing::Length(length),
            None if self.exchange.old => {
                self.exchange.close = true;
                Framing::UntilClose
            }
            None => Framing::Chunked,
        };
        let connection = match self.exchange {
            Exchange { close: true, .. } => Connection::Closes,
            Exchange { old: true, keep_alive: true, .. } => Connection::KeptAlive,
            _ => Connection::Stays,
        };
        let at = link.output(cx).len();
        let alt = self.extra.as_ref().map_or(0, |extra| extra.alt());
        let (common, id) = cx.common(alt);
        let common = (&mut *cx.heads, &common.lines[..], id);
        head::append(&mut link.out, &response, framing, connection, common);
        if let Some(trace) = &cx.trace {
            trace.head(link.id, Way::Out, &link.out[at..]);
        }
        self.exchange.answered = true;
        self.exchange.status = response.status;
        if cx.log.is_some() {
            self.note(&response, cx);
        }
        if !self.exchange.head_only && framing != Framing::Bodiless {
            self.write_body(response.body, framing, link, cx);
        }
        self.settle(link, cx);
    }

    fn write_body(&mut self, body: Body, framing: Framing, link: &mut Link, cx: &mut Cx<'_>) {
        match body {
            Body::Stream(producer) => {
                let owner = Owner { conn: link.id, stream: 0 };
                self.outgoing =
                    Outgoing::Body(Box::new(Sending::new(producer, framing, owner, cx)));
            }
            Body::Inline(body) => body.append_to(&mut link.out),
            body if body.bytes().len() <= COPY_MAX => link.out.extend_from_slice(body.bytes()),
            body => link.pinned = Some(body.pin()),
        }
    }

    /// Refuses what the client sent, and closes: where its next message would begin is in doubt.
    fn refuse(&mut self, status: StatusCode, why: &str, link: &mut Link, cx: &mut Cx<'_>) {
        cx.tally.counters.refused += 1;
        if let Some(incoming) = self.incoming.take() {
            incoming.abort();
        }
        std::mem::take(&mut self.outgoing).abandon(cx);
        if self.exchange.answered {
            // The answer is under way already; a second one would be taken for a part of it.
            return link.reset(cx);
        }
        self.exchange.close = true;
        self.exchange.linger = true;
        let reason = status.canonical_reason().unwrap_or_default();
        let text = format!("{} {reason}: {why}\n", status.as_u16());
        self.respond(Response::text(text).status(status), link, cx);
    }

    /// Ends the exchange when both its request and its answer are complete.
    fn settle(&mut self, link: &mut Link, cx: &mut Cx<'_>) {
        if !self.exchange.answered || !self.is_idle() {
            return;
        }
        if self.exchange.close || cx.draining {
            link.close(self.exchange.linger, cx);
        }
        let status = std::mem::take(&mut self.exchange).status;
        cx.tally.answered(Protocol::Http11, status, self.since, cx.now);
        self.since = cx.now;
        self.log("", cx);
    }

    /// The line of what could not be parsed.
    fn begin_entry_unparsed(&mut self, bytes: &[u8], cx: &mut Cx<'_>) {
        if let Some(log) = cx.log.as_mut() {
            let remote = Peer::Socket(self.socket).address();
            let entry = log.begin_unparsed(bytes, "HTTP/1.1", remote, cx.now);
            self.extra.get_or_insert_default().entry = Some(entry);
        }
    }

    /// Notes of an answer what its line in the access log says.
    fn note(&mut self, response: &Response, cx: &mut Cx<'_>) {
        if self.entry().is_none() {
            self.begin_entry_unparsed(b"", cx);
        }
        let Some(entry) = self.entry() else { return };
        let whole = match &response.body {
            Body::Stream(_) => 0,
            body => body.bytes().len() as u64,
        };
        entry.answer(response.status, whole);
    }

    /// Writes the line of the request at hand, if there is one.
    fn log(&mut self, abort: &'static str, cx: &mut Cx<'_>) {
        let entry = self.extra.as_mut().and_then(|extra| extra.entry.take());
        if let (Some(log), Some(mut entry)) = (cx.log.as_mut(), entry) {
            entry.abort = abort;
            log.end(entry, cx.now);
        }
    }
}

fn parts(head: &Head, secure: bool) -> Parts {
    Parts {
        method: head.method,
        method_span: head.method_span,
        target: head.target,
        path: head.path,
        query: head.query,
        authority: head.host,
        protocol: match head.version {
            Version::H10 => Protocol::Http10,
            Version::H11 => Protocol::Http11,
        },
        secure,
    }
}
