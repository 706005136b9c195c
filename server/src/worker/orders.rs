//! Orders: what other threads give a worker to use from now on.
//!
//! [`Control::Orders`] announces them; the worker takes all that wait at once, so that between two
//! events it has either none or all of those that were given together. What it took is counted, so
//! that the giver can wait for it.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;

use super::replaced::Handover;
use super::{Control, Worker};
use crate::app::handler::Handler;
use crate::config::{Http2Config, Limits, Trace};
use crate::files;
use crate::observe::log::Log;
use crate::observe::trace::Tracer;
use crate::ring::message::Mailbox;
use crate::ring::token::{Id, OpKind, Token};

/// What a worker is to use.
pub(crate) enum Order {
    /// The handler of requests that begin from now on.
    App(Arc<dyn Handler>),
    /// The Strict-Transport-Security of answers over TLS.
    Hsts(Option<HeaderValue>),
    /// The access log, or none; requests that have a line to come get it there.
    Log(Option<Box<Log>>),
    /// The bounds, and which parts of HTTP/2 are spoken. What tables and rings were made for stays
    /// as it was.
    Limits(Box<Limits>, Http2Config),
    /// The transport of QUIC connections that begin from now on.
    Quic(Box<ringway_quic::Config>),
    /// Let go of what nobody uses any more: file services that are gone, memory above its bound.
    Tidy,
    /// The protocols that are traced; connections that are open are traced from here on.
    Trace(Vec<Trace>),
    /// A step of being replaced, or of replacing.
    Handover(Handover),
}

/// How often an announcement is repeated that a worker's full ring refused.
const AGAIN: Duration = Duration::from_millis(100);

/// The orders for one worker. Shared by it and those who give them.
#[derive(Default)]
pub(crate) struct Orders {
    queue: Mutex<Queue>,
    taken: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Order>,
    /// Batches given so far.
    given: u64,
    /// Of these, those that the worker uses.
    taken: u64,
    /// The worker has ended and takes no more.
    ended: bool,
}

impl Orders {
    /// Leaves orders for the worker and announces them to its mailbox; the number of the batch.
    pub(crate) fn give(&self, orders: Vec<Order>, mailbox: &Mailbox) -> u64 {
        let mut queue = self.lock();
        if !queue.ended {
            queue.waiting.extend(orders);
        }
        queue.given += 1;
        let number = queue.given;
        drop(queue);
        announce(mailbox);
        number
    }

    /// Waits until the worker uses the batch `number`, or has ended; false if neither by `until`.
    pub(crate) fn wait(&self, number: u64, until: Instant, mailbox: &Mailbox) -> bool {
        let mut queue = self.lock();
        while queue.taken < number && !queue.ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.taken.wait_timeout(queue, left.min(AGAIN));
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            if timeout.timed_out() {
                announce(mailbox);
            }
        }
        true
    }

    /// The worker takes no more orders.
    pub(crate) fn end(&self) {
        let mut queue = self.lock();
        queue.ended = true;
        let left = std::mem::take(&mut queue.waiting);
        drop(queue);
        drop(left);
        self.taken.notify_all();
    }

    /// All that wait, and the number of their last batch.
    fn take(&self) -> (Vec<Order>, u64) {
        let mut queue = self.lock();
        (std::mem::take(&mut queue.waiting), queue.given)
    }

    /// The worker uses the batches up to `number`.
    fn took(&self, number: u64) {
        self.lock().taken = number;
        self.taken.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Orders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.lock();
        write!(f, "Orders({} of {} taken)", queue.taken, queue.given)
    }
}

fn announce(mailbox: &Mailbox) {
    // An error means that the worker has ended, or that its ring is full: then it is repeated.
    let _ = mailbox.post(Token::new(OpKind::Control, Control::Orders as u8, Id::default()), 0);
}

impl Worker {
    /// Takes the orders that wait.
    pub(super) fn take_orders(&mut self) {
        let (orders, number) = self.orders.take();
        for order in orders {
            self.obey(order);
        }
        self.orders.took(number);
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::App(app) => self.state.use_app(app),
            Order::Log(log) => self.state.use_log(log.map(|log| *log)),
            Order::Limits(limits, http2) => self.use_limits(*limits, &http2),
            Order::Quic(config) => {
                if let Some(udp) = &mut self.udp {
                    udp.use_config(*config);
                }
            }
            Order::Tidy => {
                files::forget_gone();
                files::fit();
            }
            Order::Hsts(policy) => {
                self.state.hsts = policy;
                self.state.advertise(&self.listeners.alt_svc_values);
            }
            Order::Trace(protocols) => {
                self.state.trace = Tracer::new(self.state.number(), &protocols);
            }
            Order::Handover(step) => self.hand_over(step),
        }
    }
}

impl Worker {
    /// Other bounds, also for the connections that are open.
    fn use_limits(&mut self, limits: Limits, http2: &Http2Config) {
        self.state.use_limits(limits);
        self.state.speak(http2);
        if let Some(udp) = &mut self.udp {
            udp.use_limits(&self.state);
        }
        self.connections.reschedule_all(&self.state.cx());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody() -> Mailbox {
        Mailbox::to(|_| {})
    }

    fn now() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_batch_is_waited_for_until_it_is_used() {
        let (orders, mailbox) = (Orders::default(), nobody());
        let first = orders.give(vec![Order::Hsts(None)], &mailbox);
        let second = orders.give(vec![Order::Hsts(None), Order::Trace(Vec::new())], &mailbox);
        assert!(!orders.wait(first, now(), &mailbox), "nobody took it");
        let (taken, number) = orders.take();
        assert_eq!((taken.len(), number), (3, second), "all that wait, at once");
        assert!(!orders.wait(first, now(), &mailbox), "taken, and not in use");
        orders.took(number);
        assert!(orders.wait(second, now(), &mailbox));
        assert_eq!(orders.take().0.len(), 0);
    }

    #[test]
    fn nobody_waits_for_a_worker_that_has_ended() {
        let (orders, mailbox) = (Arc::new(Orders::default()), nobody());
        let number = orders.give(vec![Order::Hsts(None)], &mailbox);
        let theirs = Arc::clone(&orders);
        let ending = std::thread::spawn(move || theirs.end());
        assert!(orders.wait(number, now() + Duration::from_secs(60), &mailbox));
        ending.join().unwrap();
        let late = orders.give(vec![Order::Hsts(None)], &mailbox);
        assert!(orders.wait(late, now(), &mailbox));
        assert_eq!(orders.take().0.len(), 0, "nothing is kept for it");
    }

    #[test]
    fn an_announcement_that_was_refused_is_repeated() {
        let (heard, hears) = std::sync::mpsc::channel();
        let mailbox = Mailbox::to(move |token| {
            let _ = heard.send(token.aux());
        });
        let orders = Orders::default();
        let number = orders.give(Vec::new(), &mailbox);
        assert!(!orders.wait(number, now() + AGAIN * 3, &mailbox));
        assert!(hears.try_iter().filter(|aux| *aux == Control::Orders as u8).count() >= 2);
    }
}
