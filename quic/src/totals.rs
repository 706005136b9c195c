//! Counters of an endpoint: handshakes, answers, and dropped datagrams by reason.

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Drop {
    /// Too short to be QUIC, or a truncated header.
    Malformed,
    /// An Initial, or a packet of an unknown version, in a datagram under 1,200 bytes.
    ShortInitial,
    /// A destination connection ID that is not ours.
    UnknownCid,
    /// A long header other than Initial of no known connection.
    UnknownLong,
    /// A version negotiation, which clients do not send.
    VersionNegotiation,
    /// This second's limit of answers is reached, or the packet was too short to be reset.
    Rationed,
    /// The table is full.
    Full,
    /// We are draining and take no new connections.
    Draining,
    /// quiche refused the connection.
    Refused,
}

impl Drop {
    /// Number of reasons.
    pub const COUNT: usize = 9;

    /// All reasons, in the order of [`Totals::dropped`].
    pub const ALL: [Self; Self::COUNT] = [
        Self::Malformed,
        Self::ShortInitial,
        Self::UnknownCid,
        Self::UnknownLong,
        Self::VersionNegotiation,
        Self::Rationed,
        Self::Full,
        Self::Draining,
        Self::Refused,
    ];

    /// The name of this reason in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::ShortInitial => "short_initial",
            Self::UnknownCid => "unknown_cid",
            Self::UnknownLong => "unknown_long",
            Self::VersionNegotiation => "version_negotiation",
            Self::Rationed => "rationed",
            Self::Full => "full",
            Self::Draining => "draining",
            Self::Refused => "refused",
        }
    }
}

/// Counts since the endpoint was created.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Connections begun.
    pub accepted: u64,
    /// Handshakes completed.
    pub established: u64,
    /// Completed handshakes that were resumed.
    pub resumed: u64,
    /// Handshakes that timed out.
    pub stalled: u64,
    /// Retry packets sent.
    pub retries: u64,
    /// Valid tokens received.
    pub tokens_good: u64,
    /// Tokens that were forged or meant for another client; treated as absent.
    pub tokens_forged: u64,
    /// Expired tokens; treated as absent.
    pub tokens_expired: u64,
    /// Version negotiations sent.
    pub version_negotiations: u64,
    /// Stateless resets sent.
    pub resets: u64,
    /// Datagrams forwarded to another worker or process.
    pub forwarded: u64,
    /// Dropped datagrams by reason.
    pub dropped: [u64; Drop::COUNT],
    /// Connections that have ended.
    pub ended: u64,
    /// Migrations to another address, counted when the connection ends.
    pub migrations: u64,
    /// Batches sent.
    pub batches: u64,
    /// Datagrams sent, those without a connection excepted.
    pub segments: u64,
}
