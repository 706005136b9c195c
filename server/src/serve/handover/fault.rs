//! Faults that tests inject into a hand-over, one for each step that can fail: `RINGWAY_FAULT=N`,
//! in builds with debug assertions only.

/// The fault of this number is to happen.
pub(super) fn is_injected(fault: Fault) -> bool {
    cfg!(debug_assertions)
        && std::env::var("RINGWAY_FAULT").is_ok_and(|named| named == (fault as u8).to_string())
}

/// A worker of this process does not stop reading UDP in time.
pub(crate) fn stops_late() -> bool {
    is_injected(Fault::NoStop)
}

/// This process goes on reading UDP while its successor reads.
pub(crate) fn reads_on() -> bool {
    is_injected(Fault::BothRead)
}

/// What goes wrong, by the step of the hand-over.
#[derive(Clone, Copy)]
pub(super) enum Fault {
    /// The new process cannot be started.
    NoProgram = 1,
    /// The new process says nothing.
    Mute = 2,
    /// The new process dies before it is ready.
    DiesEarly = 3,
    /// A worker of the old process goes on reading UDP.
    NoStop = 4,
    /// The new process dies before it serves, when nobody reads UDP.
    DiesReady = 5,
    /// The new process hangs there.
    HangsReady = 6,
    /// The new process dies soon after it has begun to serve.
    DiesServing = 7,
    /// Step 4 is left out: the old process goes on reading while the new one reads.
    BothRead = 8,
}
