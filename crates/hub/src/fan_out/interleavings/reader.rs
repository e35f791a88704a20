//! The readers' side of the test: a reader that takes the steps of
//! [`Reader`](crate::reader::Reader) one by one.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use tidings_proto::Position;

use super::Choices;
use super::hub::{HubStep, SimulatedHub};
use crate::gather::gather;
use crate::id_form::IdForm;
use crate::life::Life;
use crate::tape::{Piece, Slice};
use crate::topic::{Cursor, TapeRead, Topic};
use crate::{Entry, EntryKind, Pattern};

/// A reader before the first step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joining {
    patterns: &'static [&'static str],
    form: IdForm,
    /// Whether its seats are taken before the first step.
    has_joined: bool,
    /// Whether it leaves as soon as it has joined.
    leaves: bool,
}

impl Joining {
    /// Its seats are taken before the first step.
    pub(super) fn before(patterns: &'static [&'static str]) -> Self {
        Self {
            has_joined: true,
            ..Self::late(patterns)
        }
    }

    /// Joins at any time.
    pub(super) fn late(patterns: &'static [&'static str]) -> Self {
        Self {
            patterns,
            form: IdForm::Plain,
            has_joined: false,
            leaves: false,
        }
    }

    /// Joins at any time, and leaves at any later time.
    pub(super) fn leaving(patterns: &'static [&'static str]) -> Self {
        Self {
            leaves: true,
            ..Self::late(patterns)
        }
    }

    /// Its IDs name channels.
    pub(super) fn named(self) -> Self {
        Self {
            form: IdForm::Named,
            ..self
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
pub(super) struct SimulatedReader {
    patterns: Vec<Pattern>,
    form: IdForm,
    seats: Vec<(Arc<Topic>, usize)>,
    /// Whether it leaves as soon as it has joined.
    leaves: bool,
    /// It receives all events after this entry.
    start: u64,
    cursor: Cursor,
    received: Vec<u64>,
    at: ReaderState,
    /// Raised by the reader's waker.
    flag: Arc<Flag>,
}

enum ReaderState {
    /// Has joined as many topics as it has seats.
    Joins,
    Ready,
    /// Has read so many of its topics, up to this high-water mark, and found these pieces.
    Reads {
        is_open: bool,
        high: u64,
        found: Found,
        at: usize,
    },
    /// Found nothing up to this high-water mark. Waits in so many of its topics.
    Waits(u64, usize),
    Asleep,
    /// Has left so many of its seats; of the next one, it has given the seat up if true.
    Leaves(usize, bool),
    /// The stream has ended, or the reader has left.
    Done,
}

#[derive(Default)]
struct Found {
    pieces: Vec<Piece>,
    in_log: Option<u64>,
    ended: usize,
}

pub(super) struct World {
    pub(super) hub: RefCell<SimulatedHub>,
    pub(super) choices: RefCell<Choices>,
    pub(super) life: Arc<Life>,
    pub(super) log: Vec<Entry>,
    /// Whether the hub is drained at some time. Otherwise, no reader takes a step to check that.
    pub(super) can_close: bool,
}

impl World {
    /// Runs steps of the hub that are possible while a reader holds a lock.
    fn interrupt(&self) {
        let mut hub = self.hub.borrow_mut();
        while hub.steps.front().is_some_and(HubStep::is_lock_free) {
            if self.choices.borrow_mut().choose(2) == 0 {
                return;
            }
            hub.take_step();
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

    pub(super) fn take_step(&self, reader: &mut SimulatedReader) {
        let waker = Waker::from(Arc::clone(&reader.flag));
        reader.at = match std::mem::replace(&mut reader.at, ReaderState::Done) {
            ReaderState::Joins => self.join(reader),
            ReaderState::Ready | ReaderState::Asleep if reader.leaves => {
                ReaderState::Leaves(0, false)
            }
            ReaderState::Ready | ReaderState::Asleep
                if reader.seats.len() == 1 && !self.can_close =>
            {
                self.read_one(reader, true, &waker)
            }
            ReaderState::Ready | ReaderState::Asleep => ReaderState::Reads {
                is_open: self.life.is_open(),
                // A reader of one topic reads it under the topic's lock.
                high: self.life.high(),
                found: Found::default(),
                at: 0,
            },
            ReaderState::Reads { is_open, .. } if reader.seats.len() == 1 => {
                self.read_one(reader, is_open, &waker)
            }
            ReaderState::Reads {
                is_open,
                high,
                found,
                at,
            } => self.read_of_several(reader, is_open, high, found, at),
            ReaderState::Waits(high, at) => {
                let (topic, seat) = &reader.seats[at];
                let is_last = at + 1 == reader.seats.len();
                let (now, is_open) = (|| self.high(), || self.is_open());
                match topic.wait(*seat, &waker, high, now, is_open) {
                    true if is_last => ReaderState::Asleep,
                    true => ReaderState::Waits(high, at + 1),
                    false => ReaderState::Ready,
                }
            }
            ReaderState::Leaves(at, is_left) => Self::leave(&self.life, reader, at, is_left),
            ReaderState::Done => unreachable!("it takes no step"),
        };
    }

    /// The first part of [`Reader::new`](crate::reader::Reader::new). It begins before the first entry
    /// or at the newest one.
    fn join(&self, reader: &mut SimulatedReader) -> ReaderState {
        if reader.seats.is_empty() && !reader.leaves && self.life.high() > 0 {
            let starts = [0, self.life.high()];
            reader.start = starts[self.choices.borrow_mut().choose(2)];
            reader.cursor.after = reader.start;
        }
        let pattern = &reader.patterns[reader.seats.len()];
        reader.seats.push(self.life.join(pattern, reader.form));
        if reader.seats.len() == reader.patterns.len() {
            ReaderState::Ready
        } else {
            ReaderState::Joins
        }
    }

    /// The two steps of [`Life::leave`], for each seat.
    fn leave(life: &Life, reader: &SimulatedReader, at: usize, is_left: bool) -> ReaderState {
        let Some((topic, seat)) = reader.seats.get(at) else {
            return ReaderState::Done;
        };
        if !is_left {
            topic.leave(*seat);
            return ReaderState::Leaves(at, true);
        }
        if topic.is_idle() {
            life.directory().remove_idle(topic.pattern(), topic.form());
        }
        ReaderState::Leaves(at + 1, false)
    }

    fn read_one(&self, reader: &mut SimulatedReader, was_open: bool, waker: &Waker) -> ReaderState {
        let (topic, seat) = reader.seats[0].clone();
        let (high, may_wait) = (|| self.high(), || self.is_open());
        let (found, high) = topic.read_or_wait(reader.cursor, high, may_wait, seat, waker);
        match found {
            TapeRead::Events(slice) => reader.receive(seqs(&slice)),
            TapeRead::InLog(held) => self.replay(reader, held),
            TapeRead::Ended => ReaderState::Done,
            TapeRead::Waiting if was_open => {
                reader.cursor.after = reader.cursor.after.max(high);
                ReaderState::Asleep
            }
            TapeRead::Nothing | TapeRead::Waiting => reader.handle_nothing(was_open, high),
            found @ TapeRead::TooSlow => unreachable!("{found:?}"),
        }
    }

    fn read_of_several(
        &self,
        reader: &mut SimulatedReader,
        is_open: bool,
        high: u64,
        mut found: Found,
        at: usize,
    ) -> ReaderState {
        if let Some((topic, _)) = reader.seats.get(at) {
            match topic.read(reader.cursor, high) {
                TapeRead::Events(piece) => found.pieces.push(piece),
                TapeRead::InLog(held) => found.in_log = found.in_log.max(Some(held)),
                TapeRead::Ended => found.ended += 1,
                TapeRead::Nothing => {}
                read => unreachable!("{read:?}"),
            }
            let at = at + 1;
            if at < reader.seats.len() {
                return ReaderState::Reads {
                    is_open,
                    high,
                    found,
                    at,
                };
            }
        }
        match (found.in_log, gather(found.pieces)) {
            (Some(held), _) => self.replay(reader, held),
            (None, Some(slice)) => reader.receive(seqs(&slice)),
            (None, None) if found.ended == reader.seats.len() => ReaderState::Done,
            (None, None) => reader.handle_nothing(is_open, high),
        }
    }

    /// Reads the log up to this entry.
    fn replay(&self, reader: &mut SimulatedReader, held: u64) -> ReaderState {
        let seqs = events_of(&self.log, &reader.patterns, held);
        let new: Vec<_> = seqs.filter(|&seq| seq > reader.cursor.after).collect();
        reader.receive(new);
        reader.cursor.after = held;
        ReaderState::Ready
    }
}

impl SimulatedReader {
    fn receive(&mut self, seqs: impl IntoIterator<Item = u64>) -> ReaderState {
        for seq in seqs {
            assert!(self.received.last().is_none_or(|&before| before < seq));
            self.received.push(seq);
            self.cursor.after = seq;
        }
        ReaderState::Ready
    }

    fn handle_nothing(&mut self, was_open: bool, high: u64) -> ReaderState {
        self.cursor.after = self.cursor.after.max(high);
        if was_open {
            ReaderState::Waits(high, 0)
        } else {
            ReaderState::Done
        }
    }

    /// Whether it can take a step. Its waker ends its sleep.
    pub(super) fn is_awake(&mut self, has_locked: bool) -> bool {
        if matches!(self.at, ReaderState::Asleep) && self.flag.0.swap(false, Ordering::SeqCst) {
            self.at = ReaderState::Ready;
        }
        match self.at {
            ReaderState::Asleep | ReaderState::Done => false,
            // These steps take the directory's lock.
            ReaderState::Joins | ReaderState::Leaves(_, true) => !has_locked,
            _ => true,
        }
    }
}

/// The `seq`s in the IDs of these events.
fn seqs(slice: &Slice) -> Vec<u64> {
    let text = std::str::from_utf8(slice.events.bytes()).unwrap();
    let ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
    ids.map(|id| id.parse::<Position>().unwrap().seq).collect()
}

/// The events of these patterns, up to an entry.
fn events_of<'a>(
    log: &'a [Entry],
    patterns: &'a [Pattern],
    up_to: u64,
) -> impl Iterator<Item = u64> + 'a {
    let is_meant = |entry: &&Entry| patterns.iter().any(|p| p.matches(&entry.channel));
    log.iter()
        .filter(|entry| entry.kind == EntryKind::Event)
        .filter(is_meant)
        .map(|entry| entry.seq)
        .take_while(move |&seq| seq <= up_to)
}

pub(super) fn reader(life: &Life, joining: &Joining) -> SimulatedReader {
    let &Joining {
        patterns: names,
        form,
        has_joined,
        leaves,
    } = joining;
    let patterns: Vec<_> = names
        .iter()
        .map(|name| Pattern::new(name).unwrap())
        .collect();
    let joined = patterns.iter().filter(|_| has_joined);
    SimulatedReader {
        seats: joined.map(|p| life.join(p, form)).collect(),
        patterns,
        form,
        leaves,
        start: 0,
        cursor: Cursor {
            after: 0,
            max_lag: u64::MAX,
        },
        received: Vec::new(),
        at: if has_joined {
            ReaderState::Ready
        } else {
            ReaderState::Joins
        },
        flag: Arc::new(Flag(AtomicBool::new(false))),
    }
}

/// Whether a reader lacks an event, or sleeps although nothing follows.
pub(super) fn is_lost(world: &World, reader: &SimulatedReader) -> bool {
    if reader.leaves {
        return false;
    }
    let has_ended = |pattern: &Pattern| {
        let ends = world.life.ends();
        let end = |channel| ends.end_of(channel);
        pattern.as_channel().and_then(end).is_some()
    };
    let is_over = !world.life.is_open() || reader.patterns.iter().all(has_ended);
    let all = events_of(&world.log, &reader.patterns, u64::MAX);
    let has_all = reader
        .received
        .iter()
        .copied()
        .eq(all.filter(|&seq| seq > reader.start));
    !has_all || matches!(reader.at, ReaderState::Done) != is_over
}
