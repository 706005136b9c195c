//! What a completion is about, packed into `user_data`.
//!
//! `op 8 | aux 8 | generation 24 | slot 24`, never a pointer: a late completion must not be
//! mistaken for one of the slot's next tenant. The generation wraps at 2^24. A mix-up would take
//! 2^24 tenants of a slot while one completion of the first is still under way.

/// Bits of a slot index and of a generation.
pub(crate) const INDEX_BITS: u32 = 24;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;

/// The kind of operation that a completion ends or continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum OpKind {
    /// Nobody waits for this completion.
    Ignore = 0,
    /// Multishot accept; the slot names the listener.
    Accept = 1,
    /// Receive on a connection.
    Recv = 2,
    /// The connection's one send.
    Send = 3,
    /// Cancellation of a connection's operations.
    Cancel = 4,
    /// A file operation; the slot names the job.
    Job = 5,
    /// Another thread wakes a task; slot and generation name it.
    Wake = 6,
    /// Another thread says something to the worker; `aux` says what.
    Control = 7,
    /// Receive on a UDP socket; the slot names the socket.
    Datagrams = 8,
    /// A message out of a UDP socket; the slot names the message.
    Delivered = 9,
    /// Another worker has datagrams for this one's connections.
    Forwarded = 10,
}

impl OpKind {
    const ALL: [Self; 11] = [
        Self::Ignore,
        Self::Accept,
        Self::Recv,
        Self::Send,
        Self::Cancel,
        Self::Job,
        Self::Wake,
        Self::Control,
        Self::Datagrams,
        Self::Delivered,
        Self::Forwarded,
    ];
}

/// A slot and its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Id {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// The packed `user_data` of an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token(u64);

impl Token {
    pub(crate) const fn new(kind: OpKind, aux: u8, id: Id) -> Self {
        Self(
            (kind as u64) << 56
                | (aux as u64) << 48
                | (id.generation as u64 & INDEX_MASK) << INDEX_BITS
                | (id.index as u64 & INDEX_MASK),
        )
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// The kind of operation. Unknown kinds, which only a foreign ring message could carry, are
    /// ignored.
    pub(crate) fn kind(self) -> OpKind {
        OpKind::ALL.get((self.0 >> 56) as usize).copied().unwrap_or(OpKind::Ignore)
    }

    pub(crate) const fn aux(self) -> u8 {
        (self.0 >> 48) as u8
    }

    pub(crate) const fn id(self) -> Id {
        Id {
            index: (self.0 & INDEX_MASK) as u32,
            generation: (self.0 >> INDEX_BITS & INDEX_MASK) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_comes_back() {
        for (n, kind) in OpKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, n);
            for index in [0, 1, 0xff_ffff] {
                for generation in [0, 7, 0xff_ffff] {
                    let id = Id { index, generation };
                    let token = Token::from_bits(Token::new(kind, 0xa5, id).bits());
                    assert_eq!((token.kind(), token.aux(), token.id()), (kind, 0xa5, id));
                }
            }
        }
        assert_eq!(Token::from_bits(u64::MAX).kind(), OpKind::Ignore);
    }
}
