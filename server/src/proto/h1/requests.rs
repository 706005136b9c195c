//! Incoming requests: heads and the bodies that follow them.

use std::borrow::Cow;

use ringway_codec::authority;
use ringway_codec::field::Field;
use ringway_codec::h1::chunked::Item;
use ringway_codec::h1::request::{self, Head, Method, Version};
use ringway_codec::h1::{Error, Span};
use ringway_codec::path;
use ringway_codec::scan::{PAD, Padded};

use super::super::exchange::{self, Begun, Content};
use super::super::output::Output;
use super::super::refusal::{Refusal, check_request};
use super::super::request_body::Sink;
use super::super::upgrade::{SWITCHING, Upgrade};
use super::super::{CommonKind, Context};
use super::request_body::{IncomingBody, Progress, decoder};
use super::{Exchange, Http1, Outgoing};
use crate::app::extensions::Attached;
use crate::app::handler::Reply;
use crate::app::request::{Origin, Peer, Protocol, Request};
use crate::app::response::Body;
use crate::observe::trace::Way;

impl Http1 {
    /// Consumes as much input as possible now; returns how much. `whole` ends in [`PAD`] bytes that
    /// are not input.
    #[inline]
    pub(crate) fn advance(
        &mut self,
        whole: &[u8],
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> usize {
        // Taken once for all pipelined requests.
        let mut fields = std::mem::take(cx.fields);
        let used = self.use_input(whole, &mut fields, output, cx);
        *cx.fields = fields;
        used
    }

    fn use_input(
        &mut self,
        whole: &[u8],
        fields: &mut Vec<Field>,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> usize {
        let len = whole.len() - PAD;
        let mut at = 0;
        while !output.is_closing() {
            let used = if self.incoming.is_some() {
                let (used, waits) = self.receive_body(&whole[at..len], output, cx);
                if waits {
                    return at + used;
                }
                used
            } else if at == len || !self.takes_request(output, cx) {
                return at;
            } else {
                let used = self.receive_head(&whole[at..], fields, output, cx);
                if used == 0 && !output.is_closing() {
                    return at;
                }
                used
            };
            at += used;
        }
        len
    }

    fn takes_request(&self, output: &Output, cx: &Context<'_>) -> bool {
        matches!(self.outgoing, Outgoing::None) && !self.is_upgrading() && output.has_room(cx)
    }

    fn is_upgrading(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.upgrade.is_some())
    }

    /// Parses a head and begins its exchange; returns 0 while the head is incomplete.
    fn receive_head(
        &mut self,
        whole: &[u8],
        fields: &mut Vec<Field>,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> usize {
        let input = Padded::new(whole, whole.len() - PAD);
        match request::parse(cx.backend, input, fields, &mut self.resume, &cx.head_limits) {
            Ok(Some(ref head)) => {
                if let Some(trace) = &cx.trace {
                    trace.head(output.id, Way::In, &whole[..head.len as usize]);
                }
                let (bytes, rest) = whole.split_at(head.len as usize);
                if head.plain {
                    self.begin(bytes, rest, head, fields, output, cx)
                } else {
                    self.begin_canonical(bytes, rest, *head, fields, output, cx)
                }
            }
            Ok(None) => {
                self.awaits_head(cx);
                0
            }
            Err(error) => {
                let refusal = Refusal::parsed(error);
                self.refuse_unread(refusal, &whole[..whole.len() - PAD], output, cx);
                0
            }
        }
    }

    /// Same as [`Self::begin`], after path and authority are made canonical. Non-canonical ones are
    /// stored after a copy of the head. A path without a canonical form is left as it is.
    #[cold]
    fn begin_canonical(
        &mut self,
        bytes: &[u8],
        rest: &[u8],
        mut head: Head,
        fields: &[Field],
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> usize {
        let port = head.default_port(bytes, self.secure);
        let text = head.line.authority.map_or(&[][..], |authority| authority.of(bytes));
        // Bytes after a refused CONNECT may be meant for the tunnel.
        head.close |= head.line.method == Method::Connect;
        let Ok(form) = authority::canonical(text, port) else {
            let error = Error::HostInvalid;
            self.refuse_unread(Refusal::parsed(error), bytes, output, cx);
            return 0;
        };
        let mut all = Cow::Borrowed(bytes);
        if let Cow::Owned(form) = form {
            let (at, len) = (all.len() as u32, form.len() as u32);
            head.line.authority = Some(Span { at, len });
            all.to_mut().extend_from_slice(&form);
        }
        if !head.line.canonical {
            let at = all.len();
            let made = path::canonical(head.line.path.of(bytes), all.to_mut());
            if made.is_ok() {
                head.line.path = Span { at: at as u32, len: (all.len() - at) as u32 };
                head.line.canonical = true;
            }
        }
        self.begin(&all, rest, &head, fields, output, cx)
    }

    /// Begins an exchange. Returns the length of the head, plus the body if it was consumed with
    /// it. `bytes` holds the head and possibly canonical forms; `rest` follows the head.
    fn begin(
        &mut self,
        bytes: &[u8],
        rest: &[u8],
        head: &Head,
        fields: &[Field],
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> usize {
        cx.tally.counters.requests += 1;
        self.since = cx.now;
        let attached = Attached::default();
        let origin = Origin {
            protocol: match head.version {
                Version::H10 => Protocol::Http10,
                Version::H11 => Protocol::Http11,
            },
            secure: self.secure,
            certified: self.certified,
            peer: Peer::Socket(self.socket),
            owner: Self::owner(output),
        };
        let request = Request::new(bytes, fields, &head.line, &attached, origin);
        if is_ordinary(head)
            && cx.allows_fast_path()
            && let Some(kind) = self.fast_path(&request)
        {
            self.exchange = Exchange::default();
            let reply = cx.app.call(&request);
            match &reply {
                // By reference: an answer is large, and moving recently written data is slow.
                Reply::Ready(response) if !matches!(response.body, Body::Stream(_)) => {
                    Self::answer_at_once(response, kind, output, cx);
                    Self::finish_at_once(reply, output, cx);
                }
                _ => self.take_reply(reply, output, cx),
            }
            return head.len as usize;
        }
        self.begin_other(request, head, &rest[..rest.len() - PAD], output, cx)
    }

    /// The kind of the connection, where nothing about it keeps an ordinary request from the
    /// fast path.
    #[inline]
    fn fast_path(&mut self, request: &Request<'_>) -> Option<CommonKind> {
        match &mut self.extra {
            None => Some(CommonKind::CLEAR),
            Some(extra) => extra.fast_path(request),
        }
    }

    /// Begins an exchange of any kind. `there` is the input after its head.
    fn begin_other<'a>(
        &mut self,
        request: Request<'a>,
        head: &Head,
        there: &'a [u8],
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> usize {
        self.exchange = Exchange {
            head_only: head.line.method == Method::Head,
            old: head.version == Version::H10,
            keep_alive: head.keep_alive,
            close: head.close,
            ..Exchange::default()
        };
        if let Some(log) = cx.log.as_mut() {
            let entry = log.begin(&request, request.remote_addr(), cx.now);
            self.extra.get_or_insert_default().entry = Some(entry);
        }
        if self.is_misplaced() {
            self.refuse_cleartext(Some(&request), output, cx);
            return head.len as usize;
        }
        let scope = self.extra.as_mut().and_then(|extra| extra.scope.as_deref_mut());
        if let Some(refusal) = check_request(&request, scope) {
            self.refuse(refusal, output, cx);
            return head.len as usize;
        }
        if head.upgrade_h2c
            && !self.secure
            && cx.h2c_upgrade
            && let Some(upgrade) = Upgrade::of(&request)
        {
            self.extra.get_or_insert_default().upgrade = Some(Box::new(upgrade));
            output.buffer(cx).extend_from_slice(SWITCHING);
            return head.len as usize;
        }
        self.begin_body(request, head, there, output, cx)
    }

    /// Continues a request that may have a body; `there` has arrived of it.
    fn begin_body<'a>(
        &mut self,
        mut request: Request<'a>,
        head: &Head,
        there: &'a [u8],
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> usize {
        let content = match head.framing {
            request::Framing::None => Content::None,
            request::Framing::Length(length) => Content::Some(Some(length)),
            request::Framing::Chunked => Content::Some(None),
        };
        let used = head.len as usize;
        let expects = head.expects_more() && there.is_empty();
        match exchange::begin(&request, content, cx.app, cx.limits) {
            Begun::Called(reply) => self.take_reply(reply, output, cx),
            Begun::Refused(refusal) => self.refuse(refusal, output, cx),
            Begun::Buffer(limit) => {
                if let request::Framing::Length(length) = head.framing {
                    if let Some(body) = there.get(..length as usize) {
                        request.body = body;
                        self.dispatch(&request, output, cx);
                        return used + length as usize;
                    }
                } else if let Some(more) = self.chunked_at_once(&request, there, limit, output, cx)
                {
                    return used + more;
                }
                let sink = Sink::buffer(Box::new(request.to_owned()), limit, cx.now);
                self.await_body(head, sink, cx);
                self.proceed(expects, output, cx);
            }
            Begun::Stream(channel, reply) => {
                let sink = Sink::channel(channel, cx.now);
                // A client that waits for 100 and is refused keeps its body, or not: nobody can
                // tell, so that the connection ends.
                self.exchange.linger = expects && !sink.is_wanted(&reply);
                match self.exchange.linger {
                    true => sink.abort(),
                    false => self.await_body(head, sink, cx),
                }
                self.proceed(expects && !self.exchange.linger, output, cx);
                self.take_reply(reply, output, cx);
            }
        }
        used
    }

    fn await_body(&mut self, head: &Head, sink: Sink, cx: &Context<'_>) {
        self.incoming = Some(Box::new(IncomingBody::new(head.framing, sink, cx.limits)));
    }

    /// Sends 100 (Continue) if the client waits for it (RFC 9110 section 10.1.1).
    fn proceed(&mut self, expects: bool, output: &mut Output, cx: &mut Context<'_>) {
        if expects {
            output.buffer(cx).extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }

    /// Handles a request whose chunked body arrived completely with its head, using the worker's
    /// scratch buffer. Returns the body's length in the input. Every other case (incomplete,
    /// invalid, too large) takes the slow path.
    fn chunked_at_once(
        &mut self,
        request: &Request<'_>,
        there: &[u8],
        limit: u64,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> Option<usize> {
        let mut body = std::mem::take(cx.scratch);
        body.clear();
        let mut decoder = decoder(cx.limits);
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
            self.dispatch(&Request { body: &body, ..*request }, output, cx);
        }
        *cx.scratch = body;
        whole.then_some(used)
    }

    /// Consumes body bytes. Returns how many, and whether to wait for more input or for the reader.
    fn receive_body(
        &mut self,
        input: &[u8],
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> (usize, bool) {
        let Some(incoming) = &mut self.incoming else { return (0, false) };
        let mut used = 0;
        let progress = incoming.receive(input, &mut used, Self::owner(output));
        match progress {
            Progress::More => return (used, true),
            Progress::Complete => {
                let sink = self.incoming.take().map(|incoming| incoming.sink);
                match sink.and_then(|sink| sink.complete(cx.app)) {
                    Some(reply) => self.take_reply(reply, output, cx),
                    None => self.settle(output, cx),
                }
            }
            Progress::TooLarge => self.refuse(Refusal::BODY_TOO_LARGE, output, cx),
            Progress::Unwanted => {
                self.incoming = None;
                self.exchange.close = true;
                self.exchange.linger = true;
                self.settle(output, cx);
            }
            Progress::Invalid(error) => {
                self.refuse(Refusal::parsed(error), output, cx);
            }
        }
        (used, false)
    }
}

/// True for a request that needs no special handling: no body, not HEAD, and the connection stays
/// open.
fn is_ordinary(head: &Head) -> bool {
    head.line.method != Method::Head
        && head.version == Version::H11
        && head.framing == request::Framing::None
        && !head.close
        && !head.upgrade_h2c
        && head.line.canonical
}
