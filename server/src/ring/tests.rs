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

/// The result of one submission, put into the queue as a server would that does not run our code
/// any more.
fn submitted(ring: &mut Ring, entry: squeue::Entry) -> i32 {
    let token = Token::new(OpKind::Ignore, 0, Id::default());
    ring.push(entry, token);
    let done = settle(ring);
    assert_eq!(done.len(), 1);
    done[0].result
}

/// L19: a ring does what the server needs of it, and nothing else.
#[test]
fn l19_a_ring_refuses_what_no_worker_submits() {
    let mut ring = small(2);
    let root = std::fs::File::open("/").unwrap();
    let mut room = [0u8; 8];
    let how = io_uring::types::OpenHow::new().flags(libc::O_RDONLY as u64);
    let path = c"etc/hostname".as_ptr();
    let address = std::ptr::null();
    for (name, entry) in [
        ("SOCKET", opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0).build()),
        ("OPENAT", opcode::OpenAt::new(Fd(root.as_raw_fd()), path).build()),
        ("CONNECT", opcode::Connect::new(Fd(0), address, 0).build()),
        ("BIND", opcode::Bind::new(Fd(0), address, 0).build()),
        ("WRITE", opcode::Write::new(Fd(1), room.as_ptr(), 0).build()),
        ("UNLINKAT", opcode::UnlinkAt::new(Fd(root.as_raw_fd()), path).build()),
        (
            "EPOLL_CTL",
            opcode::EpollCtl::new(Fd(0), Fd(1), libc::EPOLL_CTL_ADD, address.cast()).build(),
        ),
        ("MSG_RING", opcode::MsgRingData::new(Fd(0), 0, 0, None).build()),
        (
            "a flag that is not in use",
            opcode::Read::new(Fd(root.as_raw_fd()), room.as_mut_ptr(), 8)
                .build()
                .flags(squeue::Flags::ASYNC),
        ),
        (
            "a personality",
            opcode::Read::new(Fd(root.as_raw_fd()), room.as_mut_ptr(), 8).build().personality(1),
        ),
    ] {
        let expected = if name == "a personality" { -libc::EINVAL } else { -libc::EACCES };
        assert_eq!(submitted(&mut ring, entry), expected, "{name}");
    }
    let open = opcode::OpenAt2::new(Fd(root.as_raw_fd()), path, &raw const how).build();
    let opened = submitted(&mut ring, open);
    assert!(
        opened >= 0 || opened == -libc::ENOENT,
        "OPENAT2 is what files are opened by: {opened}"
    );
    // Registrations, among them one that would give a ring somebody else's credentials.
    let submitter = ring.io.submitter();
    let denied = |result: io::Result<()>| result.unwrap_err().raw_os_error();
    assert_eq!(denied(submitter.register_personality().map(drop)), Some(libc::EACCES));
    assert_eq!(denied(submitter.register_files(&[0])), Some(libc::EACCES));
    assert_eq!(denied(submitter.register_restrictions(&mut [])), Some(libc::EACCES));
}

/// What the restrictions of a ring cost a submission, for ARCHITECTURE.md.
#[test]
#[ignore = "a measurement"]
fn restricted_rings_cost_nothing_to_speak_of() {
    let time = |io: &mut IoUring| {
        let mut best = f64::MAX;
        for _ in 0..200 {
            let start = std::time::Instant::now();
            for _ in 0..64 {
                let cancel = opcode::AsyncCancel::new(7).build();
                // SAFETY: the entry holds no pointers.
                while unsafe { io.submission().push(&cancel) }.is_err() {
                    io.submit().unwrap();
                }
            }
            io.submit_and_wait(64).unwrap();
            io.completion().for_each(drop);
            best = best.min(start.elapsed().as_nanos() as f64 / 64.0);
        }
        best
    };
    let mut free =
        IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(64).unwrap();
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_r_disabled();
    let mut bound = builder.build(64).unwrap();
    operations::enable(&bound, operations::WORKER).unwrap();
    for _ in 0..5 {
        let (free, bound) = (time(&mut free), time(&mut bound));
        println!("ns a submission: free {free:.1}, restricted {bound:.1}");
    }
}
