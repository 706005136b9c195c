//! Replacement without a kernel: generations of processes, whose messages, starts and deaths come
//! in any order that a seed chooses. What holds at every moment: two never read UDP; as long as no
//! process ends that serves, somebody accepts; and afterwards the newest that serves does both.

use std::collections::VecDeque;
use std::time::Duration;

use ringway_codec::Time;

use super::give::{self, Giver, Patience};
use super::take::{self, Taker};
use super::wire::{Hello, VERSION, WireRecord};

const MS: u64 = 1000;
const PATIENCE: Patience = Patience {
    start: Duration::from_millis(300),
    pause: Duration::from_millis(40),
    probation: Duration::from_millis(500),
};

/// What a process is told, and when it is there.
enum Mail {
    FromOld(take::TakerEvent),
    FromNew(give::GiverEvent),
}

struct Process {
    alive: bool,
    reads: bool,
    accepts: bool,
    leaves: bool,
    giver: Option<Giver>,
    taker: Option<Taker>,
    old: Option<usize>,
    new: Option<usize>,
    mail: VecDeque<(Time, Mail)>,
    /// When its workers have stopped reading, where they were told to.
    stops: Option<Time>,
    /// When it is ready.
    starts: Option<Time>,
    failures: Vec<String>,
}

struct World {
    now: Time,
    seed: u64,
    processes: Vec<Process>,
    /// How long nobody has read, and the longest time of that.
    unread: u64,
    longest: u64,
    /// Steps that hang instead of taking their time.
    hangs: bool,
    steps: usize,
    /// The process that dies, and the event in whose stead it does.
    death: Option<(usize, usize)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let first = Process {
            alive: true,
            reads: true,
            accepts: true,
            leaves: false,
            giver: None,
            taker: None,
            old: None,
            new: None,
            mail: VecDeque::new(),
            stops: None,
            starts: None,
            failures: Vec::new(),
        };
        Self {
            now: Time(1),
            seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            processes: vec![first],
            unread: 0,
            longest: 0,
            hangs: false,
            steps: 0,
            death: None,
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % below
    }

    /// Puts a message behind those that are on their way.
    fn post(&mut self, to: usize, mail: Mail) {
        let last = self.processes[to].mail.back().map_or(Time::ZERO, |(at, _)| *at);
        let at = self.now + Duration::from_millis(self.random(4));
        self.processes[to].mail.push_back((at.max(last), mail));
    }

    /// USR2 at the process that serves, if there is one that is not being replaced already.
    fn replace(&mut self) {
        if let [at] = self.reading()[..]
            && self.processes[at].giver.as_ref().is_none_or(Giver::is_over)
        {
            self.spawn(at);
        }
    }

    fn spawn(&mut self, at: usize) {
        let new = self.processes.len();
        self.processes[at].giver = Some(Giver::new(PATIENCE, self.now));
        self.processes[at].new = Some(new);
        self.processes.push(Process {
            alive: true,
            reads: false,
            accepts: false,
            leaves: false,
            giver: None,
            taker: Some(Taker::new(PATIENCE.start, self.now)),
            old: Some(at),
            new: None,
            mail: VecDeque::new(),
            stops: None,
            starts: None,
            failures: Vec::new(),
        });
        let hello = Hello {
            versions: (VERSION, VERSION),
            generation: new as u16,
            workers: 1,
            pid: 1,
            replacements: (0, 0),
            build: String::new(),
        };
        self.post(at, Mail::FromNew(give::GiverEvent::Said(WireRecord::Hello(hello))));
    }

    fn die(&mut self, at: usize) {
        let process = &mut self.processes[at];
        if !std::mem::take(&mut process.alive) {
            return;
        }
        (process.reads, process.accepts) = (false, false);
        let (old, new) = (process.old, process.new);
        if let Some(old) = old {
            self.post(old, Mail::FromNew(give::GiverEvent::Gone));
        }
        if let Some(new) = new {
            self.post(new, Mail::FromOld(take::TakerEvent::Gone));
        }
    }

    fn give(&mut self, at: usize, event: give::GiverEvent) {
        let now = self.now;
        let process = &mut self.processes[at];
        let (Some(giver), Some(new)) = (&mut process.giver, process.new) else { return };
        for act in giver.on(event, now) {
            let say = |record| Mail::FromOld(take::TakerEvent::Said(record));
            match act {
                give::GiverAct::Offer => self.post(new, say(WireRecord::Complete)),
                give::GiverAct::Settle => {
                    if let Some(old) = self.processes[at].old {
                        self.post(old, Mail::FromNew(give::GiverEvent::Said(WireRecord::Settled)));
                    }
                }
                give::GiverAct::StopUdp => {
                    let takes = if self.hangs && self.random(4) == 0 { 90 } else { 4 };
                    let after = Duration::from_millis(self.random(takes));
                    self.processes[at].stops = Some(now + after);
                }
                give::GiverAct::SayStopped => {
                    assert!(!self.processes[at].reads, "it says that it has stopped");
                    self.post(new, say(WireRecord::Stopped));
                }
                give::GiverAct::GoUdp => {
                    self.processes[at].stops = None;
                    self.processes[at].reads = true;
                }
                give::GiverAct::StepBack => self.processes[at].accepts = false,
                give::GiverAct::StepForward => self.processes[at].accepts = true,
                give::GiverAct::Leave => self.processes[at].leaves = true,
                give::GiverAct::Kill => self.die(new),
                give::GiverAct::Fail(why) => self.processes[at].failures.push(why),
            }
        }
    }

    fn take(&mut self, at: usize, event: take::TakerEvent) {
        let now = self.now;
        let process = &mut self.processes[at];
        let (Some(taker), Some(old)) = (&mut process.taker, process.old) else { return };
        for act in taker.on(event, now) {
            let say = |record| Mail::FromNew(give::GiverEvent::Said(record));
            match act {
                take::TakerAct::Start => {
                    let takes = if self.hangs && self.random(4) == 0 { 700 } else { 40 };
                    let after = Duration::from_millis(self.random(takes));
                    self.processes[at].starts = Some(now + after);
                }
                take::TakerAct::SayReady => self.post(old, say(WireRecord::Ready)),
                take::TakerAct::Serve => {
                    self.processes[at].reads = true;
                    self.processes[at].accepts = true;
                }
                take::TakerAct::SayServing => self.post(old, say(WireRecord::Serving)),
                take::TakerAct::Exit(_) => self.die(at),
            }
        }
    }

    /// A millisecond passes.
    fn step(&mut self) {
        self.now = self.now + Duration::from_micros(MS);
        for at in 0..self.processes.len() {
            while let Some((due, _)) = self.processes[at].mail.front() {
                if *due > self.now || !self.processes[at].alive {
                    break;
                }
                let Some((_, mail)) = self.processes[at].mail.pop_front() else { break };
                if self.is_deadly(at) {
                    break;
                }
                match mail {
                    Mail::FromOld(event) => self.take(at, event),
                    Mail::FromNew(event) => self.give(at, event),
                }
                self.check();
            }
            let process = &mut self.processes[at];
            if !process.alive {
                continue;
            }
            let is_due = |due: &mut Option<Time>| due.take_if(|due| *due <= self.now).is_some();
            let (starts, stops) = (is_due(&mut process.starts), is_due(&mut process.stops));
            if (starts || stops) && self.is_deadly(at) {
                continue;
            }
            if stops {
                self.processes[at].reads = false;
                self.give(at, give::GiverEvent::UdpStopped);
            }
            if starts {
                self.take(at, take::TakerEvent::Started);
            }
            self.give(at, give::GiverEvent::Time);
            self.take(at, take::TakerEvent::Time);
            self.check();
        }
        let reads = self.processes.iter().any(|process| process.reads);
        self.unread = if reads { 0 } else { self.unread + 1 };
        self.longest = self.longest.max(self.unread);
    }

    /// Counts an event; its process dies instead if that was chosen.
    fn is_deadly(&mut self, at: usize) -> bool {
        self.steps += 1;
        let dies = self.death.is_some_and(|(who, when)| who == at && when <= self.steps);
        if dies {
            self.death = None;
            self.die(at);
        }
        dies
    }

    fn check(&self) {
        let readers = self.processes.iter().filter(|process| process.reads).count();
        assert!(readers <= 1, "{readers} processes read UDP at {:?}", self.now);
        assert!(self.processes.iter().all(|process| process.alive || !process.reads));
    }

    fn run(&mut self, millis: u64) {
        (0..millis).for_each(|_| self.step());
    }

    fn accepting(&self) -> usize {
        self.processes.iter().filter(|process| process.accepts).count()
    }

    fn reading(&self) -> Vec<usize> {
        let all = self.processes.iter().enumerate();
        all.filter(|(_, process)| process.reads).map(|(at, _)| at).collect()
    }
}

/// L12: without a fault each replacement succeeds, and the pause is short.
#[test]
fn l12_generation_after_generation_takes_over() {
    for seed in 1..300 {
        let mut world = World::new(seed);
        for _ in 0..4 {
            world.replace();
            for _ in 0..80 {
                world.step();
                assert!(world.accepting() >= 1, "seed {seed}");
            }
        }
        world.run(600);
        assert_eq!((world.reading(), world.accepting()), (vec![4], 1), "seed {seed}");
        assert!(world.longest <= 10, "seed {seed}: {} ms", world.longest);
        assert!(world.processes[..4].iter().all(|process| process.leaves));
    }
}

/// L12: whichever event the new process dies at, the old one serves on, or again.
#[test]
fn l12_a_successor_that_dies_at_any_step_is_taken_back() {
    for (seed, when) in (1..30).flat_map(|seed| (1..40).map(move |when| (seed, when))) {
        let mut world = World::new(seed);
        world.death = Some((1, when));
        world.replace();
        world.run(400);
        let dead = !world.processes[1].alive;
        if !dead {
            // It dies later: on probation.
            world.die(1);
        }
        for _ in 0..200 {
            world.step();
        }
        let at = format!("seed {seed}, event {when}");
        assert_eq!((world.reading(), world.accepting()), (vec![0], 1), "{at}");
        assert_eq!(world.processes[0].failures.len(), 1, "{at}");
        // And the next one succeeds.
        world.replace();
        world.run(700);
        assert_eq!((world.reading(), world.accepting()), (vec![2], 1), "{at}");
    }
}

/// L12: whichever event the old process dies at, the new one serves if it was offered the sockets.
#[test]
fn l12_an_old_process_that_dies_at_any_step_is_replaced_at_once() {
    for (seed, when) in (1..30).flat_map(|seed| (1..12).map(move |when| (seed, when))) {
        let mut world = World::new(seed);
        world.death = Some((0, when));
        world.replace();
        world.run(700);
        let reading = world.reading();
        let offered = world.processes[1].taker.as_ref().is_some_and(Taker::serves);
        assert_eq!(reading, if offered { vec![1] } else { vec![] }, "seed {seed}, event {when}");
        assert_eq!(world.accepting(), reading.len());
    }
}

/// L12: hanging starts and workers, deaths of anyone, further replacements: never two readers, and
/// the newest that can serve does.
#[test]
fn l12_whatever_happens_two_never_read() {
    let (mut replaced, mut failed) = (0, 0);
    for seed in 1..3000 {
        let mut world = World::new(seed);
        world.hangs = true;
        for _ in 0..6 {
            let newest = world.processes.len() - 1;
            if world.random(2) == 0 {
                let who = newest.saturating_sub(world.random(3) as usize);
                world.death = Some((who, world.steps + world.random(14) as usize));
            }
            world.replace();
            let pause = 1 + world.random(900);
            world.run(pause);
        }
        world.death = None;
        world.run(3000);
        let alive = world.processes.iter().any(|each| each.alive && !each.leaves);
        assert_eq!(world.reading().len(), usize::from(alive), "seed {seed}");
        assert_eq!(world.accepting(), usize::from(alive), "seed {seed}");
        replaced += world.processes.len() - 1;
        failed += world.processes.iter().map(|each| each.failures.len()).sum::<usize>();
    }
    assert!(replaced > 5000 && failed > 1000, "{replaced} replacements, {failed} failed");
}

/// A process that is told to end, or that says what is not its turn, takes nobody with it.
#[test]
fn l12_a_replacement_that_is_not_wanted_any_more_is_given_up() {
    let mut world = World::new(7);
    world.replace();
    world.run(5);
    world.give(0, give::GiverEvent::Told);
    world.run(100);
    assert_eq!((world.reading(), world.processes[1].alive), (vec![0], false));
    world.replace();
    world.give(0, give::GiverEvent::Said(WireRecord::Serving));
    world.run(100);
    assert_eq!((world.reading(), world.processes[2].alive), (vec![0], false));
    assert_eq!(world.processes[0].failures[1], "it says what is not its turn to say");
}

/// Settled predecessors do not come back when their successor's successor fails.
#[test]
fn l12_only_the_last_one_takes_back() {
    let mut world = World::new(3);
    world.replace();
    world.run(100);
    world.replace();
    world.run(100);
    assert_eq!(world.reading(), [2]);
    world.die(2);
    world.run(50);
    assert_eq!((world.reading(), world.accepting()), (vec![1], 1));
    world.die(1);
    world.run(50);
    assert!(world.reading().is_empty(), "the first has been told that it is over");
}

/// The fuzz target's corpus, each input also cut short at every length and with bits flipped.
#[test]
fn row_141_the_corpus_of_the_fuzz_target() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/handover");
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let octets = std::fs::read(file.unwrap().path()).unwrap();
        (0..=octets.len()).for_each(|len| super::fuzz::messages(&octets[..len]));
        for bit in 0..octets.len() * 8 {
            let mut flipped = octets.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            super::fuzz::messages(&flipped);
        }
        count += 1;
    }
    assert!(count >= 8, "there is a corpus");
}
