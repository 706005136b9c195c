//! Events delivered to a connection, and actions that it asks for.

use http::HeaderValue;

use crate::app::response::Response;

/// An action that a connection asks for.
#[derive(Debug)]
pub(crate) enum Action {
    /// Receive.
    Recv,
    /// Cancel the current receive.
    Pause,
    /// Cancel all operations in flight.
    Cancel,
    /// Send FIN.
    Finish,
    /// Make the following close a reset.
    Reset,
}

/// What happened to a connection.
pub(crate) enum Event {
    /// Receiving ended: the peer closed its side (0), or an errno.
    Ended { errno: i32, more: bool },
    /// The kernel refused to send: the peer is gone.
    SendFailed(Vec<u8>),
    /// A cancellation completed.
    Cancelled,
    /// The connection's deadline may have passed. `acknowledged`: bytes that the peer has
    /// acknowledged.
    Deadline { acknowledged: u32 },
    /// A stream's handler has answered.
    Reply { stream: u64, response: Response },
    /// A stream's handler has early hints to send before its answer.
    Hint { stream: u64, links: Vec<HeaderValue> },
    /// A stream's handler ends it without an answer.
    HangUp { stream: u64 },
    /// A stream's body channel has new data or room.
    StreamReady { stream: u64 },
    /// The server drains.
    Drain,
    /// Another process has taken over: the client is told to use another connection.
    Leave,
    /// The idle connection should close to make room for others.
    Shed,
}
