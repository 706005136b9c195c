//! What only a kernel does: queues and buffers that run out.

use std::io::Write;
use std::os::unix::net::UnixStream;

use super::*;

/// A ring of which everything is small.
fn small(buffers: u16) -> Ring {
    let settings = RingSettings {
        submissions: 4,
        completions: 8,
        buffers,
        buffer_size: 4096,
        ..RingSettings::default()
    };
    Ring::new(&settings).unwrap()
}

/// Turns until nothing more completes.
fn settle(ring: &mut Ring) -> Vec<Completion> {
    let mut all = Vec::new();
    loop {
        ring.enter(Some(Duration::ZERO)).unwrap();
        let batch = ring.completions();
        all.extend_from_slice(&batch);
        let is_over = batch.is_empty();
        ring.recycle_completions(batch);
        if is_over {
            return all;
        }
    }
}

/// Row 30: more at once than either queue holds.
#[test]
fn a_burst_beyond_both_queues_is_counted_and_not_lost() {
    const BURST: u32 = 100;
    let mut ring = small(2);
    // There is nothing to cancel, which the kernel says at once.
    (0..BURST).for_each(|index| ring.pause(Id { index, generation: 0 }));
    let mut answers: Vec<_> =
        settle(&mut ring).iter().map(|done| (done.token.id().index, done.result)).collect();
    answers.sort_unstable();
    let expected: Vec<_> = (0..BURST).map(|index| (index, -libc::ENOENT)).collect();
    assert_eq!(answers, expected);
    let RingCounters { submissions: _, enters, queue_full, overflows } = ring.counters;
    println!("{queue_full} times full, {overflows} overflows, {enters} enters");
    assert!(queue_full >= u64::from(BURST / 4 - 1), "{queue_full}");
    assert!(overflows > 0);
}

/// Row 30: a receive that finds no buffer ends with ENOBUFS, and the bytes wait.
#[test]
fn a_receive_goes_on_when_there_are_buffers_again() {
    let mut ring = small(2);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(&[b'x'; 3 * 4096]).unwrap();
    let id = Id { index: 7, generation: 1 };
    ring.recv(id, ours.as_raw_fd());
    let done = settle(&mut ring);
    let results: Vec<_> = done.iter().map(|done| (done.result, done.more())).collect();
    assert_eq!(results, [(4096, true), (4096, true), (-libc::ENOBUFS, false)]);
    for done in &done[..2] {
        ring.recycle(done.buffer().unwrap());
    }
    ring.recv(id, ours.as_raw_fd());
    let done = settle(&mut ring);
    assert_eq!(done.len(), 1);
    let bytes = ring.received(done[0].buffer().unwrap(), done[0].result as usize);
    assert_eq!(bytes[..4096], [b'x'; 4096]);
}
