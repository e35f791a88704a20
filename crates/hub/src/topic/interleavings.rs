//! Owns the test that no wake-up is lost: every order in which a tail and its readers may take their
//! steps is tried, one after the other.
//!
//! A step is what nothing else can come between: a section under a topic's lock, or an atomic. What takes
//! no lock of a topic is also tried inside the sections of readers.

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

/// Which of several ways to go on is tried: all of them, in the course of many runs.
#[derive(Default)]
struct Choices {
    /// What was chosen of how many.
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

    /// Another run; false if all were made.
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

#[derive(Debug, Clone, Copy)]
enum TailStep {
    Push(usize, u64),
    Advance(u64),
    Take(usize),
    Wake,
    /// The two in one.
    TakeAndWake(usize),
}

impl TailStep {
    /// It takes no lock of a topic.
    fn is_free(self) -> bool {
        matches!(self, Self::Advance(_) | Self::Wake)
    }
}

struct Tail {
    life: Arc<Life>,
    topics: Vec<Arc<Topic>>,
    steps: VecDeque<TailStep>,
    wakers: Vec<Waker>,
}

fn position(seq: u64) -> Position {
    Position {
        epoch: Epoch::new("e").unwrap(),
        seq,
        check: EntryCheck::from_hash(seq),
    }
}

impl Tail {
    fn take_step(&mut self) {
        match self.steps.pop_front() {
            Some(TailStep::Push(topic, seq)) => {
                let id_line = format!("id: {}\n", position(seq));
                self.topics[topic].push(seq, &id_line, b"data: x\n\n", Stamp::default());
            }
            Some(TailStep::Advance(seq)) => self.life.advance(PositionWithId::from(position(seq))),
            Some(TailStep::Take(topic)) => self.topics[topic].take_wakers(&mut self.wakers),
            Some(TailStep::Wake) => self.wakers.drain(..).for_each(Waker::wake),
            Some(TailStep::TakeAndWake(topic)) => {
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

/// Reads as `Reader` does, step by step.
struct Reader {
    seats: Vec<(usize, usize)>,
    cursor: Cursor,
    heard: Vec<u64>,
    at: At,
    flag: Arc<Flag>,
}

enum At {
    Begin,
    /// Has looked at some topics, up to this mark.
    Looks(u64, Vec<crate::tape::Piece>, usize),
    /// Has registered with some topics.
    Waits(u64, usize),
    Asleep,
}

struct World {
    tail: RefCell<Tail>,
    choices: RefCell<Choices>,
    life: Arc<Life>,
    topics: Vec<Arc<Topic>>,
}

impl World {
    /// Lets the tail do what it can while a topic is locked.
    fn interrupt(&self) {
        let mut tail = self.tail.borrow_mut();
        while tail.steps.front().is_some_and(|step| step.is_free()) {
            if self.choices.borrow_mut().choose(2) == 0 {
                return;
            }
            tail.take_step();
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

    fn step_of(&self, reader: &mut Reader) {
        let waker = Waker::from(Arc::clone(&reader.flag));
        if let &[(topic, seat)] = &*reader.seats {
            let topic = &self.topics[topic];
            let high = || self.high();
            let is_open = || self.is_open();
            let (look, high) = topic.read_or_wait(reader.cursor, high, is_open, seat, &waker);
            return match look {
                TapeRead::Events(slice) => reader.hear(slice.last),
                TapeRead::Waiting => {
                    reader.cursor.after = reader.cursor.after.max(high);
                    reader.at = At::Asleep;
                }
                look => panic!("{look:?}"),
            };
        }
        self.step_of_several(reader, &waker);
    }

    fn step_of_several(&self, reader: &mut Reader, waker: &Waker) {
        reader.at = match std::mem::replace(&mut reader.at, At::Begin) {
            At::Begin | At::Asleep => At::Looks(self.life.high(), Vec::new(), 0),
            At::Looks(high, mut pieces, at) if at < reader.seats.len() => {
                match self.topics[reader.seats[at].0].read(reader.cursor, high) {
                    TapeRead::Events(piece) => pieces.push(piece),
                    TapeRead::Nothing => {}
                    look => panic!("{look:?}"),
                }
                At::Looks(high, pieces, at + 1)
            }
            At::Looks(high, pieces, _) => {
                if let Some(slice) = gather(pieces) {
                    return reader.hear(slice.last);
                }
                reader.cursor.after = reader.cursor.after.max(high);
                At::Waits(high, 0)
            }
            At::Waits(high, at) => {
                let (topic, seat) = reader.seats[at];
                let is_last = at + 1 == reader.seats.len();
                let (now, is_open) = (|| self.high(), || self.is_open());
                match self.topics[topic].wait(seat, waker, high, now, is_open) {
                    true if is_last => At::Asleep,
                    true => At::Waits(high, at + 1),
                    false => At::Begin,
                }
            }
        };
    }
}

impl Reader {
    fn hear(&mut self, last: u64) {
        assert!(self.heard.last().is_none_or(|&before| before < last));
        self.heard.push(last);
        self.cursor.after = last;
        self.at = At::Begin;
    }

    /// Whether it goes on; wakes it if it was woken.
    fn is_awake(&mut self) -> bool {
        if matches!(self.at, At::Asleep) && self.flag.0.swap(false, Ordering::SeqCst) {
            self.at = At::Begin;
        }
        !matches!(self.at, At::Asleep)
    }
}

/// How many orders there are of these steps of the tail and those of readers, each of these topics; and
/// in how many of them one sleeps for ever and has not heard all.
fn explore(topics: usize, steps: &[TailStep], readers: &[&[usize]]) -> (usize, usize) {
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

fn run(
    choices: Choices,
    topics: usize,
    steps: &[TailStep],
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
        tail: RefCell::new(Tail {
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
        let has_tail = !world.tail.borrow().steps.is_empty();
        let options = awake.len() + usize::from(has_tail);
        if options == 0 {
            break;
        }
        let chosen = world.choices.borrow_mut().choose(options);
        match awake.get_mut(chosen) {
            Some(reader) => world.step_of(reader),
            None => world.tail.borrow_mut().take_step(),
        }
    }
    let newest = |reader: &Reader| {
        let is_of = |topic: &usize| reader.seats.iter().any(|seat| seat.0 == *topic);
        let seqs = steps.iter().filter_map(|step| match step {
            TailStep::Push(topic, seq) if is_of(topic) => Some(*seq),
            _ => None,
        });
        seqs.max()
    };
    let is_lost = readers
        .iter()
        .any(|reader| reader.heard.last().copied() != newest(reader));
    (is_lost, world.choices.into_inner())
}

fn reader(topics: &[Arc<Topic>], of: &[usize]) -> Reader {
    Reader {
        seats: of
            .iter()
            .map(|&topic| (topic, topics[topic].join()))
            .collect(),
        cursor: Cursor {
            after: 0,
            max_lag: u64::MAX,
        },
        heard: Vec::new(),
        at: At::Begin,
        flag: Arc::new(Flag(AtomicBool::new(false))),
    }
}

/// As the tail writes batches: each of events of one topic, or of both.
fn batches(batches: &[&[usize]]) -> Vec<TailStep> {
    let mut steps = Vec::new();
    let mut seq = 0;
    for topics in batches {
        for &topic in *topics {
            seq += 1;
            steps.push(TailStep::Push(topic, seq));
        }
        steps.push(TailStep::Advance(seq));
        for &topic in *topics {
            steps.extend([TailStep::Take(topic), TailStep::Wake]);
        }
    }
    steps
}

#[track_caller]
fn assert_none_lost(topics: usize, steps: &[TailStep], readers: &[&[usize]]) {
    let (runs, losses) = explore(topics, steps, readers);
    assert!(runs > 100, "{runs}");
    assert_eq!(losses, 0, "of {runs}");
}

#[test]
fn a_reader_of_one_topic_hears_two_batches_in_every_order() {
    assert_none_lost(1, &batches(&[&[0], &[0]]), &[&[0]]);
}

#[test]
fn two_readers_of_one_topic_hear_a_batch_in_every_order() {
    assert_none_lost(1, &batches(&[&[0]]), &[&[0], &[0]]);
}

#[test]
fn a_reader_of_two_topics_hears_a_batch_of_both_in_every_order() {
    assert_none_lost(2, &batches(&[&[0, 1]]), &[&[0, 1]]);
}

#[test]
fn a_reader_of_two_topics_hears_a_batch_of_each_in_every_order() {
    let steps = [0, 1].map(|topic| {
        let seq = topic as u64 + 1;
        [
            TailStep::Push(topic, seq),
            TailStep::Advance(seq),
            TailStep::TakeAndWake(topic),
        ]
    });
    assert_none_lost(2, steps.as_flattened(), &[&[0, 1]]);
}

/// So that what is tried above would be found.
#[test]
fn wakers_that_are_taken_before_the_mark_moves_are_lost() {
    for (topics, readers) in [(1, &[0][..]), (2, &[0, 1])] {
        let mut steps = batches(&[&[0]]);
        let advance = steps.remove(1);
        steps.push(advance);
        let (_, losses) = explore(topics, &steps, &[readers]);
        assert!(losses > 0);
    }
}
