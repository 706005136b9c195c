//! HTTP/2 against a model client: a small encoder of its own that can say anything, and a reader
//! that checks every frame of the server's against the windows, states and header blocks that the
//! client knows of.

// clippy.toml allows these in tests; the rig's functions are helpers of tests.
#![allow(clippy::unwrap_used, clippy::type_complexity)]

mod attacks;
#[path = "../chosen/mod.rs"]
mod chosen;
mod drive;
mod features;
mod flow;
mod frames;
mod heads;
mod musts;
mod priorities;
mod rig;
mod sim;
mod states;
