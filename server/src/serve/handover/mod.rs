//! Replacement: a running server starts its successor, hands it the sockets, and is taken over
//! from.
//!
//! `wire` has the records that both say, over a `channel`; `offer` what is handed over; `give` and
//! `take` the two sides as functions of events and time; `successor` and `predecessor` what either
//! does to the other.

mod channel;
mod fault;
pub mod fuzz;
pub(super) mod give;
mod offer;
mod predecessor;
mod successor;
mod take;
#[cfg(test)]
mod tests;
mod wire;

pub(super) use fault::{reads_on, stops_late};
pub(super) use offer::Generation;
pub use predecessor::decline;
pub(super) use predecessor::{Inheritance, Predecessor, meet};
pub(super) use successor::{Program, Successor, by_listener};
pub(super) use wire::{Hello, Part, VERSION, WireRecord};

/// Whether this process was started to replace another one.
pub(crate) fn is_successor() -> bool {
    std::env::var_os(channel::VARIABLE).is_some()
}
