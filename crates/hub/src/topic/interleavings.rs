//! An exhaustive test that no wake-up is lost: it runs every order of the steps of a fan-out and its
//! readers.
//!
//! A step is atomic: a section under a topic's lock, or an atomic operation. Steps that take no topic's
//! lock also run inside the locked sections of readers.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use tidings_proto::{EntryCheck, Epoch, Position};

use super::{Cursor, Stamp, TapeRead, Topic};
use crate::Pattern;
use crate::ends::Ends;
use crate::gather::gather;
use crate::life::{Life, PositionWithId};
use crate::tape::Piece;

/// The choices of one run. Many runs, one after the other, try all combinations.
#[derive(Default)]
struct Choices {
    /// For each choice so far: the chosen option, and the number of options.
    taken: Vec<(usize, usize)>,
    at: usize,
}

impl Choices {
    fn choose(&mut self, options: usize) -> usize {
        if self.at == self.taken.len() {
            self.taken.push((0, options));
        }
        self.at += 1;
        self.taken[self.at - 1].0
    }

    /// Prepares the next run. Returns false after the last one.
    fn begin_next(&mut self) -> bool {
        self.at = 0;
        while let Some((chosen, options)) = self.taken.pop() {
            if chosen + 1 < options {
                self.taken.push((chosen + 1, options));
                return true;
            }
        }
        false
    }
}

/// A step of the fan-out.
#[derive(Debug, Clone, Copy)]
enum FanOutStep {
    /// Pushes the event of this `seq` to this topic.
    Push(usize, u64),
    Advance(u64),
    TakeWakers(usize),
    Wake,
    /// The last two in one step.
    TakeAndWake(usize),
}

impl FanOutStep {
    /// Whether it takes no topic's lock.
    fn is_lock_free(self) -> bool {
        matches!(self, Self::Advance(_) | Self::Wake)
    }
}

/// A fan-out with the steps that it has yet to take.
struct SimulatedFanOut {
    life: Arc<Life>,
    topics: Vec<Arc<Topic>>,
    steps: VecDeque<FanOutStep>,
    wakers: Vec<Waker>,
}

fn position(seq: u64) -> Position {
    Position {
        epoch: Epoch::new("e").unwrap(),
        seq,
        check: EntryCheck::from_hash(seq),
    }
}

impl SimulatedFanOut {
    fn take_step(&mut self) {
        match self.steps.pop_front() {
            Some(FanOutStep::Push(topic, seq)) => {
                let id_line = format!("id: {}\n", position(seq));
                self.topics[topic].push(seq, &id_line, b"data: x\n\n", Stamp::default());
            }
            Some(FanOutStep::Advance(seq)) => {
                self.life.advance(PositionWithId::from(position(seq)))
            }
            Some(FanOutStep::TakeWakers(topic)) => self.topics[topic].take_wakers(&mut self.wakers),
            Some(FanOutStep::Wake) => self.wakers.drain(..).for_each(Waker::wake),
            Some(FanOutStep::TakeAndWake(topic)) => {
                self.topics[topic].take_wakers(&mut self.wakers);
                self.wakers.drain(..).for_each(Waker::wake);
            }
            None => {}
        }
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Reads as [`Reader`](crate::reader::Reader) does, step by step.
struct SimulatedReader {
    /// Topics, by index, and the reader's seats in them.
    seats: Vec<(usize, usize)>,
    cursor: Cursor,
    received: Vec<u64>,
    at: ReaderState,
    /// Raised by the reader's waker.
    flag: Arc<Flag>,
}

enum ReaderState {
    Ready,
    /// Has read so many of its topics, up to this high-water mark, and found these pieces.
    Reads(u64, Vec<Piece>, usize),
    /// Found nothing up to this high-water mark. Waits in so many of its topics.
    Waits(u64, usize),
    Asleep,
}

struct World {
    fan_out: RefCell<SimulatedFanOut>,
    choices: RefCell<Choices>,
    life: Arc<Life>,
    topics: Vec<Arc<Topic>>,
}

impl World {
    /// Runs steps of the fan-out that are possible while a topic is locked.
    fn interrupt(&self) {
        let mut fan_out = self.fan_out.borrow_mut();
        while fan_out
            .steps
            .front()
            .is_some_and(|step| step.is_lock_free())
        {
            if self.choices.borrow_mut().choose(2) == 0 {
                return;
            }
            fan_out.take_step();
        }
    }

    fn high(&self) -> u64 {
        self.interrupt();
        self.life.high()
    }

    fn is_open(&self) -> bool {
        self.interrupt();
        self.life.is_open()
    }

    fn take_step(&self, reader: &mut SimulatedReader) {
        let waker = Waker::from(Arc::clone(&reader.flag));
        if let &[(topic, seat)] = &*reader.seats {
            let topic = &self.topics[topic];
            let high = || self.high();
            let is_open = || self.is_open();
            let (look, high) = topic.read_or_wait(reader.cursor, high, is_open, seat, &waker);
            return match look {
                TapeRead::Events(slice) => reader.receive(slice.last),
                TapeRead::Waiting => {
                    reader.cursor.after = reader.cursor.after.max(high);
                    reader.at = ReaderState::Asleep;
                }
                look => panic!("{look:?}"),
            };
        }
        self.take_step_of_several(reader, &waker);
    }

    fn take_step_of_several(&self, reader: &mut SimulatedReader, waker: &Waker) {
        reader.at = match std::mem::replace(&mut reader.at, ReaderState::Ready) {
            ReaderState::Ready | ReaderState::Asleep => {
                ReaderState::Reads(self.life.high(), Vec::new(), 0)
            }
            ReaderState::Reads(high, mut pieces, at) if at < reader.seats.len() => {
                match self.topics[reader.seats[at].0].read(reader.cursor, high) {
                    TapeRead::Events(piece) => pieces.push(piece),
                    TapeRead::Nothing => {}
                    look => panic!("{look:?}"),
                }
                ReaderState::Reads(high, pieces, at + 1)
            }
            ReaderState::Reads(high, pieces, _) => {
                if let Some(slice) = gather(pieces) {
                    return reader.receive(slice.last);
                }
                reader.cursor.after = reader.cursor.after.max(high);
                ReaderState::Waits(high, 0)
            }
            ReaderState::Waits(high, at) => {
                let (topic, seat) = reader.seats[at];
                let is_last = at + 1 == reader.seats.len();
                let (now, is_open) = (|| self.high(), || self.is_open());
                match self.topics[topic].wait(seat, waker, high, now, is_open) {
                    true if is_last => ReaderState::Asleep,
                    true => ReaderState::Waits(high, at + 1),
                    false => ReaderState::Ready,
                }
            }
        };
    }
}

impl SimulatedReader {
    fn receive(&mut self, last: u64) {
        assert!(self.received.last().is_none_or(|&before| before < last));
        self.received.push(last);
        self.cursor.after = last;
        self.at = ReaderState::Ready;
    }

    /// Whether it can take a step. Its waker ends its sleep.
    fn is_awake(&mut self) -> bool {
        if matches!(self.at, ReaderState::Asleep) && self.flag.0.swap(false, Ordering::SeqCst) {
            self.at = ReaderState::Ready;
        }
        !matches!(self.at, ReaderState::Asleep)
    }
}

/// Runs every order of these steps of the fan-out and the steps of readers of these topics. Returns the
/// number of orders, and in how many of them a reader sleeps for ever before it received all events.
fn explore(topics: usize, steps: &[FanOutStep], readers: &[&[usize]]) -> (usize, usize) {
    let mut choices = Choices::default();
    let (mut runs, mut losses) = (0, 0);
    loop {
        let (is_lost, after) = run(choices, topics, steps, readers);
        choices = after;
        runs += 1;
        losses += usize::from(is_lost);
        if !choices.begin_next() {
            return (runs, losses);
        }
    }
}

/// Runs one order. Returns whether a reader sleeps for ever before it received all events.
fn run(
    choices: Choices,
    topics: usize,
    steps: &[FanOutStep],
    readers: &[&[usize]],
) -> (bool, Choices) {
    let life = Arc::new(Life::new(&position(0), Ends::default()));
    let names = ["a", "b"].map(|name| Pattern::new(name).unwrap());
    let topics: Vec<_> = names[..topics]
        .iter()
        .map(|name| life.join(name).0)
        .collect();
    let mut readers: Vec<_> = readers.iter().map(|of| reader(&topics, of)).collect();
    let world = World {
        fan_out: RefCell::new(SimulatedFanOut {
            life: Arc::clone(&life),
            topics: topics.clone(),
            steps: steps.iter().copied().collect(),
            wakers: Vec::new(),
        }),
        choices: RefCell::new(choices),
        life,
        topics,
    };
    loop {
        let mut awake: Vec<_> = readers
            .iter_mut()
            .filter_map(|r| r.is_awake().then_some(r))
            .collect();
        let has_steps = !world.fan_out.borrow().steps.is_empty();
        let options = awake.len() + usize::from(has_steps);
        if options == 0 {
            break;
        }
        let chosen = world.choices.borrow_mut().choose(options);
        match awake.get_mut(chosen) {
            Some(reader) => world.take_step(reader),
            None => world.fan_out.borrow_mut().take_step(),
        }
    }
    let newest = |reader: &SimulatedReader| {
        let is_of = |topic: &usize| reader.seats.iter().any(|seat| seat.0 == *topic);
        let seqs = steps.iter().filter_map(|step| match step {
            FanOutStep::Push(topic, seq) if is_of(topic) => Some(*seq),
            _ => None,
        });
        seqs.max()
    };
    let is_lost = readers
        .iter()
        .any(|reader| reader.received.last().copied() != newest(reader));
    (is_lost, world.choices.into_inner())
}

fn reader(topics: &[Arc<Topic>], of: &[usize]) -> SimulatedReader {
    SimulatedReader {
        seats: of
            .iter()
            .map(|&topic| (topic, topics[topic].join()))
            .collect(),
        cursor: Cursor {
            after: 0,
            max_lag: u64::MAX,
        },
        received: Vec::new(),
        at: ReaderState::Ready,
        flag: Arc::new(Flag(AtomicBool::new(false))),
    }
}

/// The steps for these batches. Each item of a batch is an event of that topic.
fn batches(batches: &[&[usize]]) -> Vec<FanOutStep> {
    let mut steps = Vec::new();
    let mut seq = 0;
    for topics in batches {
        for &topic in *topics {
            seq += 1;
            steps.push(FanOutStep::Push(topic, seq));
        }
        steps.push(FanOutStep::Advance(seq));
        for &topic in *topics {
            steps.extend([FanOutStep::TakeWakers(topic), FanOutStep::Wake]);
        }
    }
    steps
}

#[track_caller]
fn assert_none_lost(topics: usize, steps: &[FanOutStep], readers: &[&[usize]]) {
    let (runs, losses) = explore(topics, steps, readers);
    assert!(runs > 100, "{runs}");
    assert_eq!(losses, 0, "of {runs}");
}

#[test]
fn a_reader_of_one_topic_receives_two_batches_in_every_order() {
    assert_none_lost(1, &batches(&[&[0], &[0]]), &[&[0]]);
}

#[test]
fn two_readers_of_one_topic_receive_a_batch_in_every_order() {
    assert_none_lost(1, &batches(&[&[0]]), &[&[0], &[0]]);
}

#[test]
fn a_reader_of_two_topics_receives_a_batch_of_both_in_every_order() {
    assert_none_lost(2, &batches(&[&[0, 1]]), &[&[0, 1]]);
}

#[test]
fn a_reader_of_two_topics_receives_a_batch_of_each_in_every_order() {
    let steps = [0, 1].map(|topic| {
        let seq = topic as u64 + 1;
        [
            FanOutStep::Push(topic, seq),
            FanOutStep::Advance(seq),
            FanOutStep::TakeAndWake(topic),
        ]
    });
    assert_none_lost(2, steps.as_flattened(), &[&[0, 1]]);
}

/// Proves that the tests above detect a lost wake-up.
#[test]
fn a_wake_up_is_lost_if_wakers_are_taken_before_the_mark_moves() {
    for (topics, readers) in [(1, &[0][..]), (2, &[0, 1])] {
        let mut steps = batches(&[&[0]]);
        let advance = steps.remove(1);
        steps.push(advance);
        let (_, losses) = explore(topics, &steps, &[readers]);
        assert!(losses > 0);
    }
}
