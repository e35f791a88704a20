//! Owns `Reader`: a cursor on the tapes of one life.

use std::ops::Deref;
use std::sync::Arc;
use std::task::Context;

use tidings_proto::{EncodedEvents, EventId};

use crate::Pattern;
use crate::gather::gather;
use crate::life::{Head, Life};
use crate::tape::Slice;
use crate::topic::{Cursor, Look, Topic};

/// Reads the tapes of some topics, in the order of places.
#[derive(Debug)]
pub(crate) struct Reader {
    life: Arc<Life>,
    seats: Seats,
    cursor: Cursor,
    /// How far behind it may be once it has caught up.
    max_lag: u64,
    /// The last id that was handed out, or where it began.
    last_id: EventId,
    /// Its place, if it is known to whoever reads.
    told: Option<u64>,
}

/// Topics, and the reader's seat in each. Most have one, which is read for each event, and so is not
/// to lie elsewhere.
#[derive(Debug)]
enum Seats {
    One([(Arc<Topic>, usize); 1]),
    Many(Box<[(Arc<Topic>, usize)]>),
}

impl Deref for Seats {
    type Target = [(Arc<Topic>, usize)];

    fn deref(&self) -> &Self::Target {
        match self {
            Self::One(seat) => seat,
            Self::Many(seats) => seats,
        }
    }
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Next {
    Events(EncodedEvents),
    /// The log has to be read, up to here.
    Behind(u64),
    /// It is behind by more than it may be.
    Slow,
    /// Nothing yet; the waker is woken when there is.
    Pending,
    /// Nothing more ever.
    Over,
    /// Another life has begun.
    LifeOver,
}

impl Reader {
    /// Reads on behind this head; `is_told` if whoever reads knows its id.
    ///
    /// It may be behind by `max_lag`; if `is_excused`, by any number until it has caught up.
    pub(crate) fn new(
        life: Arc<Life>,
        patterns: &[Pattern],
        from: Head,
        is_told: bool,
        max_lag: u64,
        is_excused: bool,
    ) -> Self {
        let seats = match patterns {
            [pattern] => Seats::One([life.join(pattern)]),
            _ => Seats::Many(patterns.iter().map(|pattern| life.join(pattern)).collect()),
        };
        let is_excused = is_excused && from.seq < life.high();
        Self {
            life,
            seats,
            cursor: Cursor {
                after: from.seq,
                max_lag: if is_excused { u64::MAX } else { max_lag },
            },
            max_lag,
            told: is_told.then_some(from.seq),
            last_id: from.id,
        }
    }

    pub(crate) fn life(&self) -> &Arc<Life> {
        &self.life
    }

    pub(crate) fn patterns(&self) -> Arc<[Pattern]> {
        let patterns = self.seats.iter().map(|(topic, _)| topic.pattern().clone());
        patterns.collect()
    }

    pub(crate) fn after(&self) -> u64 {
        self.cursor.after
    }

    pub(crate) fn last_id(&self) -> &EventId {
        &self.last_id
    }

    pub(crate) fn next(&mut self, cx: &Context<'_>) -> Next {
        loop {
            // Asked first: when nothing comes any more, what is found after that is all.
            let (is_open, is_over) = (self.life.is_open(), self.life.is_over());
            let (look, high) = match &*self.seats {
                [(topic, seat)] => self.look_at_one(topic, *seat, cx),
                _ => self.look_at_all(),
            };
            match look {
                Look::Take(slice) => return Next::Events(self.take(slice, high)),
                // What the log holds by now may be another history.
                Look::Behind(_) if is_over => return Next::LifeOver,
                Look::Behind(held) => return Next::Behind(held),
                Look::Slow => return Next::Slow,
                Look::Ended => return Next::Over,
                Look::Nothing | Look::Waiting => {
                    self.cursor.after = self.cursor.after.max(high);
                    self.count_lag(high);
                }
            }
            match look {
                _ if is_over => return Next::LifeOver,
                _ if !is_open => return Next::Over,
                Look::Waiting => return Next::Pending,
                _ if self.wait_for_all(high, cx) => return Next::Pending,
                _ => {}
            }
        }
    }

    fn look_at_one(&self, topic: &Topic, seat: usize, cx: &Context<'_>) -> (Look<Slice>, u64) {
        let high = || self.life.high();
        topic.look_or_wait(self.cursor, high, || self.life.is_open(), seat, cx.waker())
    }

    /// Reads `high` first and no tape beyond it: so nothing is taken that something else, written
    /// since, stands before.
    fn look_at_all(&self) -> (Look<Slice>, u64) {
        let high = self.life.high();
        let mut pieces = Vec::new();
        let mut ended = 0;
        let mut behind = None;
        for (topic, _) in self.seats.iter() {
            match topic.look(self.cursor, high) {
                Look::Take(piece) => pieces.push(piece),
                Look::Behind(held) => behind = behind.max(Some(held)),
                Look::Slow => return (Look::Slow, high),
                Look::Ended => ended += 1,
                Look::Nothing | Look::Waiting => {}
            }
        }
        let look = match (behind, gather(pieces)) {
            (Some(held), _) => Look::Behind(held),
            (None, Some(slice)) => Look::Take(slice),
            (None, None) if ended == self.seats.len() => Look::Ended,
            (None, None) => Look::Nothing,
        };
        (look, high)
    }

    /// Whether each topic wakes us when there is more than what was seen up to here.
    fn wait_for_all(&self, seen: u64, cx: &Context<'_>) -> bool {
        let (high, may_wait) = (|| self.life.high(), || self.life.is_open());
        let mut seats = self.seats.iter();
        seats.all(|(topic, seat)| topic.wait(*seat, cx.waker(), seen, high, may_wait))
    }

    /// From when it has caught up on, it counts how far it is behind.
    fn count_lag(&mut self, high: u64) {
        if self.cursor.after >= high {
            self.cursor.max_lag = self.max_lag;
        }
    }

    fn take(&mut self, slice: Slice, high: u64) -> EncodedEvents {
        self.cursor.after = slice.last;
        self.count_lag(high);
        self.told = Some(slice.last);
        if let Some(id) = slice.events.last_event_id() {
            self.last_id.clone_from(id);
        }
        slice.events
    }

    /// The log was read up to here; the last event of it has this id.
    pub(crate) fn handle_read(&mut self, through: u64, last: Option<(u64, EventId)>) {
        self.cursor.after = self.cursor.after.max(through);
        self.count_lag(self.life.high());
        if let Some((seq, id)) = last {
            (self.told, self.last_id) = (Some(seq), id);
        }
    }

    /// The id of the newest entry, if everything up to there was heard and its id not told.
    pub(crate) fn checkpoint(&mut self) -> Option<EventId> {
        let head = self.life.head();
        let after = self.cursor.after;
        let is_quiet = |(topic, _): &(Arc<Topic>, usize)| topic.is_quiet(after, head.seq);
        if head.seq < after || self.told == Some(head.seq) || !self.seats.iter().all(is_quiet) {
            return None;
        }
        self.cursor.after = head.seq;
        self.told = Some(head.seq);
        self.last_id.clone_from(&head.id);
        Some(head.id)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        for (topic, seat) in self.seats.iter() {
            self.life.leave(topic, *seat);
        }
    }
}
