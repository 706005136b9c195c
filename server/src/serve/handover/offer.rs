//! What the old process offers: its sockets, secrets and predecessors, put together from records.

use super::wire::{Hello, Malformed, Offered, Part, Transport, WireRecord};

/// Descriptors of a hand-over at most: 256 workers with 16 listeners of both transports.
const DESCRIPTORS_MAX: usize = 8192;
/// Listeners of both transports at most.
const LISTENERS_MAX: usize = 1024;
/// Generations at most.
const GENERATIONS_MAX: usize = 16;
/// Octets of all state at most.
const STATE_MAX: usize = 32 << 20;

/// A listener's sockets; `D` is a descriptor.
#[derive(Debug)]
pub(crate) struct HandedListener<D> {
    pub(crate) transport: Transport,
    pub(crate) name: String,
    pub(crate) sockets: Vec<D>,
}

/// A generation that still serves.
#[derive(Debug)]
pub(crate) struct Generation<D> {
    pub(crate) number: u16,
    pub(crate) pid: u32,
    /// The first reports its end; the others take the datagrams of its workers, in their order.
    pub(crate) descriptors: Vec<D>,
}

/// Everything that was offered so far.
#[derive(Debug)]
pub(crate) struct Offer<D> {
    pub(crate) hello: Option<Hello>,
    pub(crate) listeners: Vec<HandedListener<D>>,
    pub(crate) generations: Vec<Generation<D>>,
    pub(crate) secrets: Vec<u8>,
    pub(crate) half_open: Vec<u8>,
    pub(crate) replay: Vec<u8>,
    descriptors: usize,
    owed: Owed,
}

/// Descriptors that were announced and have not come yet.
#[derive(Clone, Copy, Debug)]
enum Owed {
    Nothing,
    Listener(usize),
    Generation(usize),
}

impl<D> Default for Offer<D> {
    fn default() -> Self {
        Self {
            hello: None,
            listeners: Vec::new(),
            generations: Vec::new(),
            secrets: Vec::new(),
            half_open: Vec::new(),
            replay: Vec::new(),
            descriptors: 0,
            owed: Owed::Nothing,
        }
    }
}

impl<D> Offer<D> {
    /// Takes a record in, and the descriptors that came with it. What an offer does not consist of
    /// is given back.
    pub(crate) fn take(
        &mut self,
        record: WireRecord,
        descriptors: Vec<D>,
    ) -> Result<Option<WireRecord>, Malformed> {
        self.descriptors += descriptors.len();
        if self.descriptors > DESCRIPTORS_MAX {
            return Err(Malformed("more descriptors than any server has sockets"));
        }
        let is_owed = !matches!(self.owed, Owed::Nothing);
        if is_owed != matches!(record, WireRecord::More) {
            return Err(Malformed("descriptors that were announced did not come"));
        }
        match record {
            WireRecord::Listener(offered) => self.announce(offered)?,
            WireRecord::Generation { number, pid, descriptors } => {
                if descriptors == 0 || self.generations.len() == GENERATIONS_MAX {
                    return Err(Malformed("more generations than can live"));
                }
                self.generations.push(Generation { number, pid, descriptors: Vec::new() });
                self.owed = Owed::Generation(descriptors.into());
            }
            WireRecord::Hello(hello) => self.hello = Some(hello),
            WireRecord::State(part, bytes) => self.append(part, &bytes)?,
            WireRecord::More if descriptors.is_empty() => {
                return Err(Malformed("descriptors that were announced did not come"));
            }
            WireRecord::More => {}
            WireRecord::Unknown(_) => return Ok(None),
            other if descriptors.is_empty() => return Ok(Some(other)),
            _ => return Err(Malformed("descriptors that nobody asked for")),
        }
        self.settle(descriptors).map(|()| None)
    }

    fn announce(&mut self, offered: Offered) -> Result<(), Malformed> {
        if offered.sockets == 0 || self.listeners.len() == LISTENERS_MAX {
            return Err(Malformed("more listeners than any server has"));
        }
        let Offered { transport, sockets, name } = offered;
        self.listeners.push(HandedListener { transport, name, sockets: Vec::new() });
        self.owed = Owed::Listener(sockets.into());
        Ok(())
    }

    fn append(&mut self, part: Part, bytes: &[u8]) -> Result<(), Malformed> {
        let all = self.secrets.len() + self.half_open.len() + self.replay.len();
        if all + bytes.len() > STATE_MAX {
            return Err(Malformed("more state than any server has"));
        }
        let to = match part {
            Part::Secrets => &mut self.secrets,
            Part::HalfOpen => &mut self.half_open,
            Part::Replay => &mut self.replay,
        };
        to.extend_from_slice(bytes);
        Ok(())
    }

    /// Gives descriptors to whom they were announced for.
    fn settle(&mut self, descriptors: Vec<D>) -> Result<(), Malformed> {
        let count = descriptors.len();
        let (to, owed): (_, fn(usize) -> Owed) = match self.owed {
            Owed::Listener(_) => {
                (self.listeners.last_mut().map(|last| &mut last.sockets), Owed::Listener)
            }
            Owed::Generation(_) => {
                (self.generations.last_mut().map(|last| &mut last.descriptors), Owed::Generation)
            }
            Owed::Nothing => (None, |_| Owed::Nothing),
        };
        let left = match self.owed {
            Owed::Listener(left) | Owed::Generation(left) => left.checked_sub(count),
            Owed::Nothing => (count == 0).then_some(0),
        };
        let left = left.ok_or(Malformed("more descriptors than were announced"))?;
        if let Some(to) = to {
            to.extend(descriptors);
        }
        self.owed = if left == 0 { Owed::Nothing } else { owed(left) };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(sockets: u16) -> WireRecord {
        WireRecord::Listener(Offered { transport: Transport::Tcp, sockets, name: ":80".into() })
    }

    #[test]
    fn sockets_come_in_their_order_over_several_messages() {
        let mut offer = Offer::<u32>::default();
        assert_eq!(offer.take(listener(300), (0..200).collect()), Ok(None));
        assert_eq!(offer.take(WireRecord::More, (200..300).collect()), Ok(None));
        assert_eq!(offer.take(WireRecord::Unknown(99), vec![]), Ok(None));
        assert_eq!(
            offer.take(WireRecord::Generation { number: 3, pid: 1, descriptors: 2 }, vec![]),
            Ok(None)
        );
        assert_eq!(offer.take(WireRecord::More, vec![7, 8]), Ok(None));
        for part in [b"abc", b"def"] {
            offer.take(WireRecord::State(Part::Secrets, part.to_vec()), vec![]).unwrap();
        }
        assert_eq!(offer.take(WireRecord::Complete, vec![]), Ok(Some(WireRecord::Complete)));
        assert_eq!(offer.listeners[0].sockets, (0..300).collect::<Vec<_>>());
        assert_eq!(offer.generations[0].descriptors, [7, 8]);
        assert_eq!(offer.secrets, b"abcdef");
    }

    /// Row 141: more descriptors than were announced, fewer, none, ten thousand; state without
    /// end.
    #[test]
    fn row_141_an_offer_is_bounded_and_its_counts_are_exact() {
        let fresh = Offer::<u32>::default;
        assert!(fresh().take(listener(2), vec![1, 2, 3]).is_err());
        assert!(fresh().take(listener(0), vec![]).is_err());
        assert!(fresh().take(WireRecord::More, vec![1]).is_err());
        assert!(fresh().take(WireRecord::Complete, vec![1]).is_err());
        let mut offer = fresh();
        offer.take(listener(2), vec![1]).unwrap();
        assert!(offer.take(WireRecord::Complete, vec![]).is_err(), "one is owed");
        let mut offer = fresh();
        offer.take(listener(10_000), (0..200).collect()).unwrap();
        let taken = (1..50).take_while(|n| {
            offer.take(WireRecord::More, (n * 200..n * 200 + 200).collect()).is_ok()
        });
        assert!(taken.count() < 49, "ten thousand descriptors");
        let mut offer = fresh();
        let part = vec![0; super::super::wire::CHUNK];
        let taken = (0..1000).take_while(|_| {
            offer.take(WireRecord::State(Part::Replay, part.clone()), vec![]).is_ok()
        });
        assert!(taken.count() <= STATE_MAX / part.len());
        let mut offer = fresh();
        let all = (0..10_000).take_while(|_| offer.take(listener(1), vec![1]).is_ok());
        assert_eq!(all.count(), LISTENERS_MAX);
        let mut offer = fresh();
        let generation = |n| WireRecord::Generation { number: n, pid: 1, descriptors: 1 };
        let all = (0..100).take_while(|n| offer.take(generation(*n), vec![1]).is_ok());
        assert_eq!(all.count(), GENERATIONS_MAX);
    }
}
