//! What a connection is told, and what it wants done.

use http::HeaderValue;

use crate::app::response::Response;

/// What a connection wants done.
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
    /// Let the close that follows be a reset.
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
    /// The connection's deadline may have passed; so much did the peer acknowledge.
    Deadline { acknowledged: u32 },
    /// The handler of a stream answered.
    Reply { stream: u64, response: Response },
    /// The handler of a stream has hints to send ahead of its answer.
    Hint { stream: u64, links: Vec<HeaderValue> },
    /// A stream's channel has moved.
    StreamReady { stream: u64 },
    /// The server wants to stop.
    Drain,
    /// Others need the room of this connection, which is idle.
    Shed,
}
