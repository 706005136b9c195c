//! A request to be logged. Its data is copied when the request arrives, because its buffer is gone
//! when the response ends.

use super::{Log, More, Pair, Record, TlsSession};
use crate::app::request::{Peer, Request};
use crate::app::response::{FieldBlock, Response, is_bodiless};
use crate::config::LogFormat;
use crate::ring::sys;
use crate::ring::token::Id;
use crate::tls;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use ringway_codec::Time;
use ringway_codec::field::Known;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

/// A request being answered: created by [`Log::begin`], filled in on the way, finished by
/// [`Log::end`].
#[derive(Debug, Default)]
pub(crate) struct Entry {
    started: Time,
    remote: Option<SocketAddr>,
    protocol: &'static str,
    /// All copied bytes.
    bytes: Vec<u8>,
    method: Range<usize>,
    target: Range<usize>,
    host: Range<usize>,
    referer: Range<usize>,
    agent: Range<usize>,
    user: Range<usize>,
    /// Names and values of all fields, where the format shows them.
    fields: Vec<(Range<usize>, Range<usize>)>,
    /// As above, of the answer, and its content coding.
    answer_fields: Vec<(Range<usize>, Range<usize>)>,
    encoding: Range<usize>,
    /// Its path keeps it out of the log.
    is_excepted: bool,
    /// The format shows fields.
    shows_fields: bool,
    /// The final status; 0 until there is one.
    status: u16,
    /// Bytes of the response's body.
    body_bytes: u64,
    /// The stream, in HTTP/2 and HTTP/3.
    pub(crate) stream: Option<u64>,
    /// The connection, where the format shows it, and its round trips and segments sent again.
    conn: Option<Id>,
    tcp: Option<sys::TcpInfo>,
    tls: Option<Arc<Settled>>,
    /// Why the response did not end as it should have.
    pub(crate) abort: &'static str,
}

/// What the handshake of a connection settled.
#[derive(Debug)]
pub(crate) struct Settled {
    version: &'static str,
    cipher: String,
    alpn: &'static str,
    sni: String,
    resumed: bool,
}

impl Settled {
    fn of(session: &tls::Session) -> Self {
        let version = session.version().map_or("", tls::Version::name);
        let cipher = session.cipher().map(|suite| format!("{suite:?}"));
        Self {
            version: version.trim_start_matches("TLSv"),
            // The registry's names do not tell the versions apart.
            cipher: cipher.unwrap_or_default().replace("TLS13_", "TLS_"),
            alpn: session.alpn().map_or("", tls::Alpn::name),
            sni: session.sni().unwrap_or_default().to_owned(),
            resumed: session.resumed(),
        }
    }

    fn view(&self) -> TlsSession<'_> {
        TlsSession {
            version: self.version,
            cipher: &self.cipher,
            alpn: self.alpn,
            sni: &self.sni,
            resumed: self.resumed,
            early_data: false,
        }
    }
}

/// The logged status for a client that left before it was answered, as nginx has it.
const CLIENT_GONE: u16 = 499;

/// Entries kept for reuse.
const SPARE_ENTRIES: usize = 64;

impl Entry {
    /// The answer's head is written, and `whole` bytes of its body with it; what flows later is
    /// added by [`Self::produced`].
    pub(crate) fn answer(&mut self, response: &Response, whole: u64) {
        self.answer_status(response.status, whole);
        if !self.shows_fields {
            return;
        }
        self.answer_fields.clear();
        if let Some(content_type) = response.content_type {
            self.copy_field(b"content-type", content_type.as_bytes());
        }
        for (_, known, name, value) in response.blocks().flat_map(FieldBlock::iter) {
            self.copy_field(name, value);
            if known == Known::ContentEncoding
                && let Some((_, value)) = self.answer_fields.last()
            {
                self.encoding = value.clone();
            }
        }
    }

    /// As [`Self::answer`], of an answer that is a status and no more.
    pub(crate) fn answer_status(&mut self, status: StatusCode, whole: u64) {
        let is_head = &self.bytes[self.method.clone()] == b"HEAD";
        self.status = status.as_u16();
        self.body_bytes = if is_head || is_bodiless(status) { 0 } else { whole };
    }

    fn copy_field(&mut self, name: &[u8], value: &[u8]) {
        let field = (self.copy(name), self.copy(value));
        self.answer_fields.push(field);
    }

    /// Adds bytes of the body that were sent.
    pub(crate) fn produced(&mut self, bytes: usize) {
        self.body_bytes += bytes as u64;
    }

    fn copy(&mut self, bytes: &[u8]) -> Range<usize> {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        from..self.bytes.len()
    }

    fn fill(&mut self, request: &Request<'_>, with_fields: bool) {
        let line = request.line;
        self.protocol = request.protocol.name();
        self.method = self.copy(line.method_span.of(request.bytes));
        self.target = self.copy(line.target.of(request.bytes));
        if with_fields {
            let host = line.authority.map_or(&b""[..], |host| host.of(request.bytes));
            self.host = self.copy(host);
            for field in request.fields {
                let name = self.copy(field.name(request.bytes));
                let value = self.copy(field.value(request.bytes));
                self.fields.push((name, value));
            }
        }
        self.referer = self.copy(request.known(Known::Referer).unwrap_or_default());
        self.agent = self.copy(request.known(Known::UserAgent).unwrap_or_default());
        if let Some(user) = request.known(Known::Authorization).and_then(user) {
            self.user = self.copy(&user);
        }
    }
}

/// The user's name in Basic credentials (RFC 7617 section 2), whether they are right or not.
fn user(credentials: &[u8]) -> Option<Vec<u8>> {
    let (scheme, rest) = credentials.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut text = STANDARD.decode(rest.trim_ascii()).ok()?;
    text.truncate(text.iter().position(|byte| *byte == b':')?);
    Some(text)
}

impl Log {
    /// An entry for a request that was just taken.
    pub(crate) fn begin(
        &mut self,
        request: &Request<'_>,
        remote: Option<SocketAddr>,
        now: Time,
    ) -> Box<Entry> {
        let mut entry = self.entry(remote, now);
        let json = self.kind() == LogFormat::Json;
        entry.is_excepted = self.filter.excepts(request);
        entry.shows_fields = json;
        entry.fill(request, json);
        if json {
            let id = request.owner.conn;
            entry.conn = Some(id);
            entry.tls = self.sessions.get(&id).cloned();
            if let Peer::Socket(fd) = request.peer {
                entry.tcp = Some(sys::tcp_info(fd)).filter(|tcp| tcp.rtt > 0);
            }
        }
        entry
    }

    /// A connection's handshake is complete.
    pub(crate) fn secured(&mut self, id: Id, session: &tls::Session) {
        if self.kind() == LogFormat::Json {
            self.sessions.insert(id, Arc::new(Settled::of(session)));
        }
    }

    /// The connection is closed.
    pub(crate) fn forget(&mut self, id: Id) {
        self.sessions.remove(&id);
    }

    /// As [`Self::begin`], of a request on a stream.
    pub(crate) fn begin_stream(
        &mut self,
        request: &Request<'_>,
        stream: u64,
        now: Time,
    ) -> Box<Entry> {
        let mut entry = self.begin(request, request.remote_addr(), now);
        entry.stream = Some(stream);
        entry
    }

    /// An entry for a request that could not be parsed; `bytes` is what was received.
    pub(crate) fn begin_unparsed(
        &mut self,
        bytes: &[u8],
        protocol: &'static str,
        remote: Option<SocketAddr>,
        now: Time,
    ) -> Box<Entry> {
        const SHOWN: usize = 256;
        let mut entry = self.entry(remote, now);
        entry.protocol = protocol;
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        entry.target = entry.copy(&line[..line.len().min(SHOWN)]);
        entry
    }

    /// Writes the line of a response that has ended.
    pub(crate) fn end(&mut self, entry: Box<Entry>, now: Time) {
        let status = if entry.status == 0 { CLIENT_GONE } else { entry.status };
        if self.filter.admits(status, entry.is_excepted) {
            self.write(&entry, status, now);
        }
        if self.spare.len() < SPARE_ENTRIES {
            self.spare.push(entry);
        }
    }

    fn write(&mut self, entry: &Entry, status: u16, now: Time) {
        let part = |range: &Range<usize>| &entry.bytes[range.clone()];
        let pairs = |fields: &[(Range<usize>, Range<usize>)]| -> Vec<Pair<'_>> {
            fields.iter().map(|(name, value)| (part(name), part(value))).collect()
        };
        let (fields, answer_fields) = (pairs(&entry.fields), pairs(&entry.answer_fields));
        let record = Record {
            unix_micros: self.unix_micros(now),
            duration: now.since(entry.started),
            remote: entry.remote,
            method: part(&entry.method),
            target: part(&entry.target),
            protocol: entry.protocol,
            host: part(&entry.host),
            user: part(&entry.user),
            referer: part(&entry.referer),
            user_agent: part(&entry.agent),
            status,
            body_bytes: entry.body_bytes,
            more: More {
                headers: &fields,
                response_headers: &answer_fields,
                encoding: str::from_utf8(part(&entry.encoding)).unwrap_or_default(),
                worker: u16::try_from(self.worker).ok(),
                stream: entry.stream,
                connection: entry.conn.map(|id| {
                    let Id { index, generation } = id;
                    (self.worker as u64) << 48 | u64::from(generation) << 24 | u64::from(index)
                }),
                tls: entry.tls.as_ref().map(|tls| tls.view()),
                rtt_micros: entry.tcp.map(|tcp| tcp.rtt),
                retransmits: entry.tcp.map(|tcp| tcp.retransmissions),
                abort: entry.abort,
                ..More::default()
            },
        };
        self.record(&record, now);
    }

    fn entry(&mut self, remote: Option<SocketAddr>, now: Time) -> Box<Entry> {
        let mut entry = self.spare.pop().unwrap_or_default();
        let mut bytes = std::mem::take(&mut entry.bytes);
        let mut fields = std::mem::take(&mut entry.fields);
        let mut answer_fields = std::mem::take(&mut entry.answer_fields);
        bytes.clear();
        fields.clear();
        answer_fields.clear();
        *entry = Entry { started: now, remote, bytes, fields, answer_fields, ..Entry::default() };
        entry
    }
}
