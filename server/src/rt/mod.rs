//! A worker's own runtime: tasks, sleep, files, timers, and the tables that hold them.

pub(crate) mod descriptors;
pub(crate) mod executor;
pub(crate) mod fs;
pub(crate) mod pool;
pub(crate) mod slab;
pub(crate) mod sleep;
pub(crate) mod thread_state;
pub(crate) mod timer;
