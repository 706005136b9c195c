//! What a ring may be asked to do. A ring performs operations that a seccomp filter never sees, so
//! each is restricted, while it is still disabled, to the operations of one table, their flags, and
//! no further registrations; then it is enabled, for good (io_uring_register(2),
//! IORING_REGISTER_RESTRICTIONS). Anything else gets EACCES. What is measured of the price: one
//! test of a bit for each submission (`restricted_rings_cost_nothing_to_speak_of`).

use std::io;

use io_uring::register::Restriction;
use io_uring::{IoUring, opcode, squeue};

/// Every operation that a worker submits.
pub(super) const WORKER: &[u8] = &[
    opcode::AcceptMulti::CODE,
    opcode::RecvMulti::CODE,
    opcode::RecvMsgMulti::CODE,
    opcode::Send::CODE,
    opcode::SendMsg::CODE,
    opcode::SendMsgZc::CODE,
    opcode::AsyncCancel2::CODE,
    opcode::Close::CODE,
    opcode::OpenAt2::CODE,
    opcode::Statx::CODE,
    opcode::Read::CODE,
];

/// What the rings submit from which other threads post.
pub(super) const SENDER: &[u8] = &[opcode::MsgRingData::CODE];

/// The only flag of a submission in use: the kernel picks the receive buffer.
const FLAGS: squeue::Flags = squeue::Flags::BUFFER_SELECT;

/// IORING_REGISTER_ENABLE_RINGS, which fails on a ring that is enabled. A list of registrations
/// without any entry would on some kernels restrict none.
const NO_REGISTRATION: u8 = 12;

/// Restricts a disabled ring to these operations and enables it. The calling thread becomes the
/// only one that may use it.
pub(super) fn enable(io: &IoUring, operations: &[u8]) -> io::Result<()> {
    let operations = operations.iter().map(|code| Restriction::sqe_op(*code));
    let mut allowed: Vec<_> = operations.collect();
    allowed.push(Restriction::sqe_flags_allowed(FLAGS.bits()));
    allowed.push(Restriction::register_op(NO_REGISTRATION));
    io.submitter().register_restrictions(&mut allowed)?;
    io.submitter().register_enable_rings()
}
