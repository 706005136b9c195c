//! Whether the workers use what they were told to use.

use std::fmt;
use std::time::{Duration, Instant};

use super::workers::Post;
use crate::rt::thread_state;

/// Stands for something that every worker of a server was told to use from now on. They do within
/// a turn; one that is held up by a handler does when that returns. Dropping this takes nothing
/// back.
#[derive(Debug)]
pub struct Receipt {
    /// Each worker, and the number under which it was told.
    given: Vec<(Post, u64)>,
    began: Instant,
}

/// The workers that were told and did not listen in time, by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late(pub Vec<usize>);

impl Receipt {
    pub(super) fn of(given: impl Iterator<Item = (Post, u64)>) -> Self {
        let began = Instant::now();
        Self { given: given.collect(), began }
    }

    /// Waits until every worker uses it, or has ended; returns how long that took from the start.
    ///
    /// # Errors
    /// The workers that do not after `patience`. They will, should they ever end their turn.
    ///
    /// # Panics
    /// On a worker, which would wait for itself.
    #[track_caller]
    pub fn wait(&self, patience: Duration) -> Result<Duration, Late> {
        thread_state::forbid_blocking("Receipt::wait", "a thread of its own");
        let until = Instant::now() + patience;
        let late = self.late_at(until);
        if late.is_empty() { Ok(self.began.elapsed()) } else { Err(Late(late)) }
    }

    /// The workers that do not use it yet, by their numbers.
    pub(super) fn late(&self) -> Vec<usize> {
        self.late_at(self.began)
    }

    /// Announces it again to those who do not use it yet.
    pub(super) fn remind(&self) {
        for worker in self.late() {
            let (post, _) = &self.given[worker];
            post.orders.give(Vec::new(), &post.mailbox);
        }
    }

    fn late_at(&self, until: Instant) -> Vec<usize> {
        let is_late =
            |(post, number): &(Post, u64)| !post.orders.wait(*number, until, &post.mailbox);
        let late = self.given.iter().enumerate().filter(|(_, given)| is_late(given));
        late.map(|(worker, _)| worker).collect()
    }
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workers: Vec<String> = self.0.iter().map(usize::to_string).collect();
        let s = if workers.len() == 1 { "" } else { "s" };
        write!(f, "worker{s} {} held up by a handler", workers.join(", "))
    }
}

impl std::error::Error for Late {}
