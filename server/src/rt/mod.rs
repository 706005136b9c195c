//! A worker's own runtime: tasks, sleep, files, timers, and the tables that hold them.

pub(crate) mod channel;
pub(crate) mod console;
pub(crate) mod descriptors;
pub(crate) mod drain;
pub(crate) mod executor;
pub(crate) mod fs;
pub(crate) mod interval;
pub(crate) mod oneshot;
pub(crate) mod panics;
pub(crate) mod park;
pub(crate) mod pool;
pub(crate) mod slab;
pub(crate) mod sleep;
pub(crate) mod task;
pub(crate) mod thread_state;
pub(crate) mod threads;
pub(crate) mod timeout;
pub(crate) mod timer;
