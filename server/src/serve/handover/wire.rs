//! What two processes say to each other while one replaces the other: records over a SEQPACKET
//! pair, one a message. A record is its kind (2 octets), the length of what follows (4), and that;
//! numbers are little-endian. Kinds that are not known are passed over, so that versions can
//! differ.
//!
//! The other side is a program of the same user, and may still be an old or a broken one: nothing
//! that it says is believed beyond the bounds here.

use std::fmt;

/// What this build speaks, and the oldest that it understands.
pub(crate) const VERSION: u16 = 1;

/// A message is at most this long.
pub(crate) const MESSAGE_MAX: usize = 56 * 1024;

/// Octets of state that a record carries at most; more comes in several.
pub(crate) const CHUNK: usize = 48 * 1024;

const HEADER: usize = 6;

/// A record that breaks the rules of the wire.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The newest version that it speaks, and the oldest.
    pub(crate) versions: (u16, u16),
    /// The number of its generation, which its connection IDs carry.
    pub(crate) generation: u16,
    pub(crate) workers: u16,
    pub(crate) pid: u32,
    /// Replacements so far: that were done, and that failed.
    pub(crate) replacements: (u32, u32),
    /// What it was built from, for people.
    pub(crate) build: String,
}

impl Hello {
    /// Whether both have a version in common.
    pub(crate) fn is_understood(&self) -> bool {
        let (newest, oldest) = self.versions;
        oldest <= VERSION && VERSION <= newest
    }
}

/// What the sockets of a listener speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

/// A listener. Its sockets follow in worker order, with this record and [`WireRecord::More`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) transport: Transport,
    /// How many sockets it has.
    pub(crate) sockets: u16,
    /// Of TCP the scheme and the address as the configuration wrote it, of UDP the one it is bound
    /// to.
    pub(crate) name: String,
}

/// State that moves from one process to the next, in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The master secret of session tickets, and the endpoint's, as in the key file.
    Secrets,
    /// Handshakes that are half done, whose datagrams do not name their generation yet.
    HalfOpen,
    /// ClientHellos of early data that must not be taken twice.
    Replay,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WireRecord {
    Hello(Hello),
    Listener(Offered),
    /// More descriptors of the record before.
    More,
    State(Part, Vec<u8>),
    /// A generation that still serves: its number and process, and how many descriptors come: one
    /// that reports its end, then those by which its workers are handed datagrams.
    Generation {
        number: u16,
        pid: u32,
        descriptors: u16,
    },
    /// All has been offered.
    Complete,
    /// The new process could serve at once.
    Ready,
    /// The old process reads no UDP any more.
    Stopped,
    /// The new process serves.
    Serving,
    /// The speaker has itself been replaced: it is not to be taken back any more.
    Settled,
    /// It is off, and why.
    Failed(String),
    /// Of a later version.
    Unknown(u16),
}

impl WireRecord {
    /// The record as a message.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Out(vec![0; HEADER]);
        let kind: u16 = match self {
            Self::Hello(hello) => {
                out.number(hello.versions.0).number(hello.versions.1).number(hello.generation);
                let (done, failed) = hello.replacements;
                let numbers = [hello.pid, done, failed].map(u32::to_le_bytes);
                out.number(hello.workers).bytes(numbers.as_flattened()).text(&hello.build);
                1
            }
            Self::Listener(offered) => {
                out.number(offered.transport as u16).number(offered.sockets);
                out.text(&offered.name);
                2
            }
            Self::More => 3,
            Self::State(part, bytes) => {
                out.number(*part as u16).bytes(bytes);
                4
            }
            Self::Generation { number, pid, descriptors } => {
                out.number(*number).bytes(&pid.to_le_bytes()).number(*descriptors);
                5
            }
            Self::Complete => 6,
            Self::Ready => 7,
            Self::Stopped => 8,
            Self::Serving => 9,
            Self::Settled => 10,
            Self::Failed(why) => {
                out.text(why);
                11
            }
            Self::Unknown(kind) => *kind,
        };
        let len = (out.0.len() - HEADER) as u32;
        out.0[..2].copy_from_slice(&kind.to_le_bytes());
        out.0[2..HEADER].copy_from_slice(&len.to_le_bytes());
        out.0
    }

    /// Reads a message.
    pub(crate) fn read(message: &[u8]) -> Result<Self, Malformed> {
        if message.len() > MESSAGE_MAX {
            return Err(Malformed("a message is too long"));
        }
        let mut rest = In(message);
        let (kind, len) = (rest.number()?, rest.long()?);
        if len as usize != rest.0.len() {
            return Err(Malformed("a record's length is not that of its message"));
        }
        let record = match kind {
            1 => Self::Hello(Hello {
                versions: (rest.number()?, rest.number()?),
                generation: rest.number()?,
                workers: rest.number()?,
                pid: rest.long()?,
                replacements: (rest.long()?, rest.long()?),
                build: rest.text()?,
            }),
            2 => Self::Listener(Offered {
                transport: match rest.number()? {
                    0 => Transport::Tcp,
                    1 => Transport::Udp,
                    _ => return Err(Malformed("a listener is neither of TCP nor of UDP")),
                },
                sockets: rest.number()?,
                name: rest.text()?,
            }),
            3 => Self::More,
            4 => {
                let part = rest.number()?;
                let bytes = std::mem::take(&mut rest.0).to_vec();
                match [Part::Secrets, Part::HalfOpen, Part::Replay].get(usize::from(part)) {
                    Some(part) => Self::State(*part, bytes),
                    None => Self::Unknown(kind),
                }
            }
            5 => Self::Generation {
                number: rest.number()?,
                pid: rest.long()?,
                descriptors: rest.number()?,
            },
            6 => Self::Complete,
            7 => Self::Ready,
            8 => Self::Stopped,
            9 => Self::Serving,
            10 => Self::Settled,
            11 => Self::Failed(rest.text()?),
            other => {
                rest.0 = &[];
                Self::Unknown(other)
            }
        };
        match rest.0 {
            [] => Ok(record),
            _ => Err(Malformed("a record is longer than its contents")),
        }
    }
}

struct Out(Vec<u8>);

impl Out {
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn number(&mut self, number: u16) -> &mut Self {
        self.bytes(&number.to_le_bytes())
    }

    /// A text with its length; a very long one is cut.
    fn text(&mut self, text: &str) -> &mut Self {
        let most = text.len().min(TEXT_MAX);
        let len = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        self.number(len as u16).bytes(&text.as_bytes()[..len])
    }
}

/// Octets of a text at most.
const TEXT_MAX: usize = 4096;

struct In<'a>(&'a [u8]);

const SHORT: Malformed = Malformed("a record is cut short");

impl In<'_> {
    fn number(&mut self) -> Result<u16, Malformed> {
        let (number, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(u16::from_le_bytes(*number))
    }

    fn long(&mut self) -> Result<u32, Malformed> {
        let (number, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*number))
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let len = usize::from(self.number()?);
        if len > TEXT_MAX {
            return Err(Malformed("a text is too long"));
        }
        let (text, rest) = self.0.split_at_checked(len).ok_or(SHORT)?;
        self.0 = rest;
        match std::str::from_utf8(text) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(Malformed("a text is not UTF-8")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<WireRecord> {
        let hello = Hello {
            versions: (3, 1),
            generation: 7,
            workers: 64,
            pid: 1 << 20,
            replacements: (8, 1),
            build: "ringway 0.1 (tested)".into(),
        };
        let offered = Offered { transport: Transport::Udp, sockets: 300, name: "[::]:443".into() };
        vec![
            WireRecord::Hello(hello),
            WireRecord::Listener(offered),
            WireRecord::More,
            WireRecord::State(Part::Replay, vec![9; CHUNK]),
            WireRecord::Generation { number: 4, pid: 77, descriptors: 65 },
            WireRecord::Complete,
            WireRecord::Ready,
            WireRecord::Stopped,
            WireRecord::Serving,
            WireRecord::Settled,
            WireRecord::Failed("the address is in use".into()),
            WireRecord::Unknown(77),
        ]
    }

    #[test]
    fn every_record_comes_back_and_fits_a_message() {
        for record in all() {
            let message = record.write();
            assert!(message.len() <= MESSAGE_MAX);
            assert_eq!(WireRecord::read(&message).as_ref(), Ok(&record));
        }
        let long = WireRecord::Failed("é".repeat(1 << 16)).write();
        assert!(
            matches!(WireRecord::read(&long), Ok(WireRecord::Failed(why)) if why.len() == TEXT_MAX)
        );
    }

    #[test]
    fn a_later_version_may_say_more() {
        let message = [&77_u16.to_le_bytes()[..], &3_u32.to_le_bytes(), b"new"].concat();
        assert_eq!(WireRecord::read(&message), Ok(WireRecord::Unknown(77)));
        let unknown_part = [&4_u16.to_le_bytes()[..], &3_u32.to_le_bytes(), &[9, 0, 1]].concat();
        assert_eq!(WireRecord::read(&unknown_part), Ok(WireRecord::Unknown(4)));
    }

    /// Row 141: lengths that lie.
    #[test]
    fn row_141_every_cut_and_every_wrong_length_is_refused() {
        for record in all() {
            let message = record.write();
            for len in 0..message.len().min(80) {
                assert!(WireRecord::read(&message[..len]).is_err(), "{record:?} cut to {len}");
            }
            for lie in [0, 1, u32::MAX, message.len() as u32] {
                let mut lying = message.clone();
                lying[2..HEADER].copy_from_slice(&lie.to_le_bytes());
                if lie as usize != message.len() - HEADER {
                    assert!(WireRecord::read(&lying).is_err(), "{record:?} says {lie}");
                }
            }
            if !matches!(record, WireRecord::State(..) | WireRecord::Unknown(_)) {
                let mut longer = message.clone();
                longer.push(0);
                let len = (longer.len() - HEADER) as u32;
                longer[2..HEADER].copy_from_slice(&len.to_le_bytes());
                assert!(WireRecord::read(&longer).is_err(), "{record:?} with an octet more");
            }
        }
        assert!(WireRecord::read(&vec![0; MESSAGE_MAX + 1]).is_err());
    }
}
