//! Any octets at all as what the other process says: the entry point of the fuzz target
//! (`server/fuzz`), and of the test that replays its corpus.

use std::time::Duration;

use ringway_codec::Time;

use super::give::{self, Giver, Patience};
use super::offer::Offer;
use super::take::{self, Taker};
use super::wire::WireRecord;

/// Messages, one after the other: how long, how many descriptors come with it (times four), how
/// many milliseconds pass, and that many octets. Both sides are told each.
///
/// # Panics
/// If a record that was read is not written as it came, or an offer grows beyond its bounds.
pub fn messages(octets: &[u8]) {
    let patience = Patience {
        start: Duration::from_millis(300),
        pause: Duration::from_millis(100),
        probation: Duration::from_millis(500),
    };
    let mut now = Time::ZERO;
    let mut giver = Giver::new(patience, now);
    let mut taker = Taker::new(patience.start, now);
    let mut offer = Offer::<u8>::default();
    let mut rest = octets;
    while let [len, descriptors, millis, more @ ..] = rest {
        let (message, more) = more.split_at(more.len().min(usize::from(*len)));
        rest = more;
        now = now + Duration::from_millis((*millis).into());
        let Ok(record) = WireRecord::read(message) else { continue };
        if !matches!(record, WireRecord::Unknown(_)) {
            assert_eq!(record.write(), message, "{record:?}");
        }
        giver.on(give::GiverEvent::Said(record.clone()), now);
        let descriptors = vec![0; usize::from(*descriptors) * 4];
        let event = match offer.take(record, descriptors) {
            Ok(Some(record)) => take::TakerEvent::Said(record),
            Ok(None) => take::TakerEvent::Time,
            Err(malformed) => take::TakerEvent::Said(WireRecord::Failed(malformed.to_string())),
        };
        taker.on(event, now);
        let sockets = offer.listeners.iter().map(|listener| listener.sockets.len());
        assert!(sockets.sum::<usize>() <= 8192 && offer.generations.len() <= 16);
    }
}
