//! The new process: what it takes over, and from whom.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringway_codec::Time;
use socket2::Socket;
use zeroize::{Zeroize, Zeroizing};

use super::channel::{Channel, VARIABLE};
use super::fault::{self, Fault};
use super::offer::{Generation, HandedListener, Offer};
use super::take::{Taker, TakerAct, TakerEvent};
use super::wire::{Hello, Transport, VERSION, WireRecord};
use crate::app::error::Error;
use crate::config::{Address, Scheme};
use crate::rt::console::note;
use crate::serve::listener;

/// The process that this one replaces.
pub(crate) struct Predecessor {
    channel: Channel,
    taker: Taker,
    began: Instant,
    inheritance: Arc<Inheritance>,
}

/// What was handed over; the server takes its part of it as it starts.
pub(crate) struct Inheritance {
    hello: Hello,
    offer: Mutex<Offer<OwnedFd>>,
    /// Sockets that join those that were handed over; they listen as soon as this process serves.
    fresh: Mutex<Vec<Socket>>,
}

/// Set once the variable has been looked at: it is for the first server of a process.
static TAKEN: AtomicBool = AtomicBool::new(false);

fn failed(why: impl ToString) -> Error {
    Error::Handover(why.to_string())
}

/// The end that this process was started with, if it is to replace another.
fn channel() -> Result<Option<Channel>, Error> {
    let Ok(named) = std::env::var(VARIABLE) else { return Ok(None) };
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(None);
    }
    let channel = Channel::inherited(&named);
    channel.map(Some).map_err(|error| failed(format!("{VARIABLE}={named}: {error}")))
}

/// Tells the process that is to be replaced, if there is one, that this one does not start.
pub fn decline(why: &str) {
    if let Ok(Some(channel)) = channel() {
        // It may be gone.
        let _ = channel.say(&WireRecord::Failed(why.into()));
    }
}

/// Takes over from the process that has started this one, if one has; it may take `patience` for
/// each of its answers.
pub(crate) fn meet(patience: Duration) -> Result<Option<Predecessor>, Error> {
    let Some(channel) = channel()? else { return Ok(None) };
    if fault::is_injected(Fault::Mute) {
        std::thread::sleep(Duration::from_secs(3600));
    }
    let began = Instant::now();
    let mut taker = Taker::new(patience, Time::ZERO);
    let hello = Hello {
        versions: (VERSION, VERSION),
        generation: 0,
        // It is not known yet.
        workers: 0,
        pid: std::process::id(),
        replacements: (0, 0),
        build: env!("CARGO_PKG_VERSION").into(),
    };
    channel.say(&WireRecord::Hello(hello)).map_err(failed)?;
    let mut offer = Offer::default();
    loop {
        let event = hear(&channel, &taker, began, &mut offer);
        match taker.on(event, now(began)).pop() {
            Some(TakerAct::Exit(why)) => return Err(failed(why)),
            Some(TakerAct::Start) => break,
            _ => {}
        }
    }
    let hello = offer.hello.take().filter(Hello::is_understood);
    let hello = hello.ok_or_else(|| failed("the old process speaks another version"))?;
    let inheritance = Inheritance { hello, offer: Mutex::new(offer), fresh: Mutex::default() };
    let inheritance = Arc::new(inheritance);
    Ok(Some(Predecessor { channel, taker, began, inheritance }))
}

/// Waits for what happens next.
fn hear(
    channel: &Channel,
    taker: &Taker,
    began: Instant,
    offer: &mut Offer<OwnedFd>,
) -> TakerEvent {
    loop {
        let left = taker.deadline().map(|deadline| deadline.since(now(began)));
        let heard = channel.patience(left).and_then(|()| channel.hear());
        let (record, descriptors) = match heard {
            Ok(Some(heard)) => heard,
            Ok(None) => return TakerEvent::Gone,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return TakerEvent::Time,
            Err(error) => return TakerEvent::Said(WireRecord::Failed(error.to_string())),
        };
        match offer.take(record, descriptors) {
            Ok(Some(record)) => return TakerEvent::Said(record),
            Ok(None) => {}
            Err(malformed) => return TakerEvent::Said(WireRecord::Failed(malformed.to_string())),
        }
    }
}

fn now(began: Instant) -> Time {
    Time(began.elapsed().as_micros() as u64)
}

impl Predecessor {
    /// What it hands over.
    pub(crate) fn inheritance(&self) -> Arc<Inheritance> {
        Arc::clone(&self.inheritance)
    }

    /// Says why this process does not start.
    pub(crate) fn refuse(&self, error: &Error) {
        let _ = self.channel.say(&WireRecord::Failed(error.to_string()));
    }

    /// All is there: waits until the old process reads no more, and has `begin` begin.
    pub(crate) fn relieve(&mut self, begin: impl FnOnce()) -> Result<(), Error> {
        if fault::is_injected(Fault::DiesEarly) {
            std::process::abort();
        }
        let mut acts = self.taker.on(TakerEvent::Started, now(self.began));
        let mut begin = Some(begin);
        loop {
            for act in std::mem::take(&mut acts) {
                match act {
                    // If it is gone, that is heard next.
                    TakerAct::SayReady => drop(self.channel.say(&WireRecord::Ready)),
                    TakerAct::SayServing => drop(self.channel.say(&WireRecord::Serving)),
                    TakerAct::Exit(why) => return Err(failed(why)),
                    TakerAct::Serve => {
                        inject_ready();
                        self.inheritance.listen();
                        if let Some(begin) = begin.take() {
                            begin();
                        }
                    }
                    TakerAct::Start => {}
                }
            }
            if self.taker.serves() {
                inject_serving();
                return Ok(());
            }
            let event = {
                let mut offer = self.inheritance.offer();
                hear(&self.channel, &self.taker, self.began, &mut offer)
            };
            acts = self.taker.on(event, now(self.began));
        }
    }

    /// Tells it that it cannot take anything back any more: this process is itself replaced.
    pub(crate) fn settle(&self) {
        // It may be gone.
        let _ = self.channel.say(&WireRecord::Settled);
    }
}

fn inject_ready() {
    if fault::is_injected(Fault::DiesReady) {
        std::process::abort();
    }
    if fault::is_injected(Fault::HangsReady) {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn inject_serving() {
    if fault::is_injected(Fault::DiesServing) {
        let soon = || {
            std::thread::sleep(Duration::from_millis(300));
            std::process::abort();
        };
        std::thread::spawn(soon);
    }
}

impl Inheritance {
    fn offer(&self) -> MutexGuard<'_, Offer<OwnedFd>> {
        self.offer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of this generation.
    pub(crate) fn generation(&self) -> u16 {
        self.hello.generation.wrapping_add(1)
    }

    /// Replacements so far, this one not included: that were done, and that failed.
    pub(crate) fn replacements(&self) -> (u32, u32) {
        self.hello.replacements
    }

    /// The process that hands over.
    pub(crate) fn pid(&self) -> u32 {
        self.hello.pid
    }

    /// Of each generation its process, and the end that tells whether it lives.
    pub(crate) fn ends(&self) -> Vec<(u32, OwnedFd)> {
        let offer = self.offer();
        let end = |each: &Generation<OwnedFd>| {
            Some((each.pid, each.descriptors.first()?.try_clone().ok()?))
        };
        offer.generations.iter().filter_map(end).collect()
    }

    /// The generations that still serve, the one that hands over among them.
    pub(crate) fn generations(&self) -> Vec<Generation<OwnedFd>> {
        std::mem::take(&mut self.offer().generations)
    }

    /// Of each generation where its workers are handed datagrams.
    pub(crate) fn frame_ends(&self) -> Vec<(u16, Vec<OwnedFd>)> {
        let offer = self.offer();
        let ends = |each: &Generation<OwnedFd>| {
            let ends = each.descriptors.iter().skip(1).map(OwnedFd::try_clone);
            Some((each.number, ends.collect::<io::Result<Vec<_>>>().ok()?))
        };
        offer.generations.iter().filter_map(ends).collect()
    }

    /// What was handed over last: the QUIC handshakes that are half-way, and the early data that
    /// was taken.
    pub(crate) fn last_state(&self) -> (Vec<u8>, Zeroizing<Vec<u8>>) {
        let mut offer = self.offer();
        (std::mem::take(&mut offer.half_open), Zeroizing::new(std::mem::take(&mut offer.replay)))
    }

    /// The secrets of tickets and of the QUIC endpoint. Wiped where they came; to be wiped by the
    /// caller.
    pub(crate) fn secrets(&self) -> Option<String> {
        let mut offer = self.offer();
        let text = std::str::from_utf8(&offer.secrets).ok().filter(|text| !text.is_empty());
        let text = text.map(str::to_owned);
        offer.secrets.zeroize();
        text
    }

    /// The place of an address among what was handed over: as it was, or with another scheme.
    fn find(&self, scheme: Scheme, address: &Address) -> Option<usize> {
        let offer = self.offer();
        let all = || offer.listeners.iter().enumerate();
        let tcp = || all().filter(|(_, each)| each.transport == Transport::Tcp);
        let place =
            |is: &dyn Fn(&str) -> bool| tcp().find(|(_, each)| is(&each.name)).map(|(at, _)| at);
        let wanted = address.to_string();
        let is_any_port = matches!(address, Address::Ip(ip) if ip.port() == 0)
            || matches!(address, Address::Any(0));
        let as_it_was = format!("{scheme} {wanted}");
        place(&|name| name == as_it_was).or_else(|| {
            let is_same = |name: &str| name.split_once(' ').is_some_and(|(_, at)| at == wanted);
            place(&|name| !is_any_port && is_same(name))
        })
    }

    /// The listener of an address, if its sockets were handed over.
    pub(crate) fn listener(
        &self,
        scheme: Scheme,
        address: &Address,
        workers: usize,
    ) -> Option<Result<listener::Listener, Error>> {
        let at = self.find(scheme, address)?;
        let sockets = self.offer().listeners.remove(at).sockets;
        Some(listener::adopt(scheme, address, sockets, workers).map(|(listener, fresh)| {
            self.fresh.lock().unwrap_or_else(PoisonError::into_inner).extend(fresh);
            listener
        }))
    }

    /// The UDP sockets that are bound to an address, if they were handed over.
    pub(crate) fn datagrams(&self, bound: &str) -> Option<Vec<OwnedFd>> {
        let mut offer = self.offer();
        let is_wanted =
            |each: &HandedListener<OwnedFd>| each.transport == Transport::Udp && each.name == bound;
        let at = offer.listeners.iter().position(is_wanted)?;
        Some(offer.listeners.remove(at).sockets)
    }

    /// Joins those that listen.
    fn listen(&self) {
        let fresh = std::mem::take(&mut *self.fresh.lock().unwrap_or_else(PoisonError::into_inner));
        for socket in fresh {
            if let Err(error) = listener::begin(&socket) {
                note!("a further socket does not listen: {error}");
            }
        }
    }
}
