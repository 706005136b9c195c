//! Events delivered to a connection, and actions that it asks for.

use http::HeaderValue;

use crate::app::response::Response;

/// An action that a connection asks for.
#[derive(Debug)]
pub(crate) enum Action {
    /// Receive.
    Recv,
    /// Cancel the receive that is under way.
    Pause,
    /// Cancel everything that is under way.
    Cancel,
    /// Send FIN.
    Finish,
    /// Make the following close a reset.
    Reset,
}

/// What happened to a connection.
pub(crate) enum Event {
    /// Receiving ended: the peer is done (0), or an errno.
    Ended { errno: i32, more: bool },
    /// The kernel refused to send: the peer is gone.
    SendFailed(Vec<u8>),
    /// A cancellation is through.
    Cancelled,
    /// The connection's deadline may have passed. `acknowledged`: bytes that the peer has
    /// acknowledged.
    Deadline { acknowledged: u32 },
    /// The handler of a stream answered.
    Reply { stream: u64, response: Response },
    /// The handler of a stream has hints to send ahead of its answer.
    Hint { stream: u64, links: Vec<HeaderValue> },
    /// A stream's body channel has new data or room.
    StreamReady { stream: u64 },
    /// The server wants to stop.
    Drain,
    /// The idle connection is to make room for others.
    Shed,
}
