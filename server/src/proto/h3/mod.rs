//! HTTP/3 on a connection: connects the events of `ringway_quic::http` with the handlers, as `h2`
//! does for HTTP/2. `requests` handles what streams receive, `responses` what they send.
//!
//! A ready answer goes to the transport in the call that received its request. An answer that comes
//! later, or finds no room, has an exchange until its stream ends.

mod requests;
mod responses;

use std::net::SocketAddr;
use std::rc::Rc;

use ringway_codec::Time;
use ringway_quic::http::{self as quic, Code, Http, Key};
use ringway_quic::{Buf, Conn};

use super::Context;
use super::exchange::{Exchanges, Stream, abort};
use super::response_body::Pulled;
use super::tls_io::CertificateScope;
use crate::app::request::Protocol;
use crate::ring::send::{Owner, Pinned};
use crate::ring::token::Id;
use crate::tls::Tls;

/// HTTP/3's state on a connection.
pub(crate) struct Http3 {
    pub(crate) http: Http,
    exchanges: Exchanges<Key>,
    /// The certificate's names.
    scope: Option<CertificateScope>,
    /// Source address of the last datagram.
    pub(crate) peer: Option<SocketAddr>,
    /// Since when no stream has been open.
    pub(crate) since: Time,
    /// Requests arrived before the handshake completed.
    pub(crate) was_early: bool,
}

impl Default for Http3 {
    fn default() -> Self {
        Self {
            http: Http::default(),
            exchanges: Exchanges::new(Protocol::Http3),
            scope: None,
            peer: None,
            since: Time::ZERO,
            was_early: false,
        }
    }
}

/// What the connection may use during an event.
pub(crate) struct Io<'a, 'w> {
    pub(crate) id: Id,
    pub(crate) conn: &'a mut Conn,
    pub(crate) shared: &'a mut quic::Shared,
    pub(crate) tls: &'a Tls,
    pub(crate) cx: &'a mut Context<'w>,
}

impl Http3 {
    /// Handles received data and expired deadlines.
    pub(crate) fn receive(&mut self, io: &mut Io<'_, '_>) {
        while let Some((stream, refusal)) = self.exchanges.next_slow(io.cx) {
            self.refuse(stream.key, refusal, io);
        }
        loop {
            match self.http.receive(io.conn, io.shared) {
                Ok(quic::Event::More) => break,
                Ok(event) => self.take(event, io),
                Err(_) => {
                    io.cx.tally.counters.refused += 1;
                    self.abandon(io.cx);
                    break;
                }
            }
        }
    }

    /// Gives the transport as much data as it has room for.
    pub(crate) fn pull(&mut self, io: &mut Io<'_, '_>) {
        loop {
            let (exchanges, id) = (&mut self.exchanges, io.id);
            let limit = io.cx.limits.output_bytes;
            let pulled = self.http.output(limit, io.conn, |key, max, content| {
                let (pulled, piece) = exchanges.pull(stream_of(key), max, id);
                if let Some(piece) = piece {
                    content.share(buf(piece));
                }
                match pulled {
                    Pulled::More => quic::Pulled::More,
                    Pulled::Pending => quic::Pulled::Pending,
                    Pulled::End => quic::Pulled::End,
                    Pulled::Trailers => quic::Pulled::Trailers,
                    Pulled::Broken => quic::Pulled::Abort(Code::Internal),
                }
            });
            self.exchanges.finish(io.cx);
            match pulled {
                Ok(Some(key)) => self.trailers(key, io),
                Ok(None) | Err(_) => break,
            }
        }
    }

    /// A stream's channel has changed: there is something to send, or the handler has read.
    pub(crate) fn stream_ready(&mut self, stream: u64, io: &mut Io<'_, '_>) {
        let Some((key, read)) = self.exchanges.moved(stream, io.id) else { return };
        if read > 0 {
            self.http.consume(key, read, io.shared);
        }
        self.http.wake(key);
    }

    /// Drops every exchange, because the connection is gone.
    pub(crate) fn abandon(&mut self, cx: &mut Context<'_>) {
        self.exchanges.abandon(abort::ENDED, cx);
    }
}

/// The stream as tasks and channels identify it.
fn stream_of(key: Key) -> Stream<Key> {
    Stream::new(key, key.id(), key.slot())
}

/// A piece of a body, which QUIC keeps until it is acknowledged.
fn buf(piece: Pinned) -> Buf {
    let (owner, range) = piece.into_parts();
    let whole = match owner {
        Owner::Static(bytes) => Buf::from(bytes),
        Owner::Local(bytes) => Buf::from(bytes),
        Owner::Shared(bytes) => Buf::from(bytes),
        Owner::Owned(bytes) => Buf::from(bytes),
        Owner::Buffer(bytes) => Buf::from(bytes as Rc<dyn AsRef<[u8]>>),
    };
    whole.slice(range)
}
