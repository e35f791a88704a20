//! A `Reader`: a cursor on the tapes of one life.

use std::ops::Deref;
use std::sync::Arc;
use std::task::{Context, Poll};

use tidings_proto::{EncodedEvents, EventId};

use crate::Pattern;
use crate::gather::gather;
use crate::id_form::IdForm;
use crate::interrupted::Interrupted;
use crate::life::{Life, PositionWithId};
use crate::tape::Slice;
use crate::topic::{Cursor, TapeRead, Topic};

/// Reads the tapes of some topics, in ascending order.
#[derive(Debug)]
pub(crate) struct Reader {
    life: Arc<Life>,
    seats: Seats,
    cursor: Cursor,
    /// How far behind it may be once it has caught up, in entries.
    max_lag: u64,
    /// The last ID that was delivered, or the ID of the position where it began.
    last_id: EventId,
    /// The sequence number of the last ID that was sent to the subscriber, if one was.
    sent_seq: Option<u64>,
}

/// The topics, and the reader's seat in each. Most readers have one topic, which they access for each
/// event: it is stored inline.
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

/// The next step of a reader.
#[derive(Debug)]
pub(crate) enum Progress {
    Events(EncodedEvents),
    /// The tapes no longer hold the next entries. The log must be read, up to this entry.
    InLog(u64),
    /// The reader is further behind than `max_lag`.
    TooSlow,
    /// All channels have ended, or the hub is drained, and everything was delivered.
    Ended,
}

impl Reader {
    /// Reads the entries after `from`, with IDs of this form. `is_sent`: the subscriber has the ID of that
    /// position.
    ///
    /// It may be `max_lag` entries behind. `is_excused`: it may be further behind until it has caught up.
    pub(crate) fn new(
        life: Arc<Life>,
        patterns: &[Pattern],
        form: IdForm,
        from: PositionWithId,
        is_sent: bool,
        max_lag: u64,
        is_excused: bool,
    ) -> Self {
        let join = |pattern| life.join(pattern, form);
        let seats = match patterns {
            [pattern] => Seats::One([join(pattern)]),
            _ => Seats::Many(patterns.iter().map(join).collect()),
        };
        let is_excused = is_excused && from.seq() < life.high();
        Self {
            life,
            seats,
            cursor: Cursor {
                after: from.seq(),
                max_lag: if is_excused { u64::MAX } else { max_lag },
            },
            max_lag,
            sent_seq: is_sent.then_some(from.seq()),
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

    /// Polls for the next events.
    pub(crate) fn poll_progress(
        &mut self,
        cx: &Context<'_>,
    ) -> Poll<Result<Progress, Interrupted>> {
        loop {
            // Read before the tapes: once nothing follows, the tapes hold everything there is.
            let (is_open, is_over) = (self.life.is_open(), self.life.is_over());
            let (found, high) = match &*self.seats {
                [(topic, seat)] => self.read_one(topic, *seat, cx),
                _ => self.read_all(),
            };
            let is_waiting = match found {
                TapeRead::Events(slice) => {
                    return Poll::Ready(Ok(Progress::Events(self.take(slice, high))));
                }
                // After the life is over, the log may hold other entries.
                TapeRead::InLog(_) if is_over => return Poll::Ready(Err(Interrupted::LifeOver)),
                TapeRead::InLog(held) => return Poll::Ready(Ok(Progress::InLog(held))),
                TapeRead::TooSlow => return Poll::Ready(Ok(Progress::TooSlow)),
                TapeRead::Ended => return Poll::Ready(Ok(Progress::Ended)),
                TapeRead::Nothing => false,
                TapeRead::Waiting => true,
            };
            self.cursor.after = self.cursor.after.max(high);
            self.limit_lag(high);
            if is_over {
                return Poll::Ready(Err(Interrupted::LifeOver));
            }
            if !is_open {
                return Poll::Ready(Ok(Progress::Ended));
            }
            if is_waiting || self.wait_for_all(high, cx) {
                return Poll::Pending;
            }
        }
    }

    fn read_one(&self, topic: &Topic, seat: usize, cx: &Context<'_>) -> (TapeRead<Slice>, u64) {
        let high = || self.life.high();
        topic.read_or_wait(self.cursor, high, || self.life.is_open(), seat, cx.waker())
    }

    /// Reads each tape up to the high-water mark, which it reads first. So no event is taken before a
    /// smaller one that is written to another tape meanwhile.
    fn read_all(&self) -> (TapeRead<Slice>, u64) {
        let high = self.life.high();
        let mut pieces = Vec::new();
        let mut ended = 0;
        let mut in_log = None;
        for (topic, _) in self.seats.iter() {
            match topic.read(self.cursor, high) {
                TapeRead::Events(piece) => pieces.push(piece),
                TapeRead::InLog(held) => in_log = in_log.max(Some(held)),
                TapeRead::TooSlow => return (TapeRead::TooSlow, high),
                TapeRead::Ended => ended += 1,
                TapeRead::Nothing => {}
                TapeRead::Waiting => unreachable!("`read` takes no waker"),
            }
        }
        let found = match (in_log, gather(pieces)) {
            (Some(held), _) => TapeRead::InLog(held),
            (None, Some(slice)) => TapeRead::Events(slice),
            (None, None) if ended == self.seats.len() => TapeRead::Ended,
            (None, None) => TapeRead::Nothing,
        };
        (found, high)
    }

    /// Waits in each topic, unless one has something to read after `seen`. Returns whether it waits in
    /// all.
    fn wait_for_all(&self, seen: u64, cx: &Context<'_>) -> bool {
        let (high, may_wait) = (|| self.life.high(), || self.life.is_open());
        let mut seats = self.seats.iter();
        seats.all(|(topic, seat)| topic.wait(*seat, cx.waker(), seen, high, may_wait))
    }

    /// Applies `max_lag` once the reader has caught up.
    fn limit_lag(&mut self, high: u64) {
        if self.cursor.after >= high {
            self.cursor.max_lag = self.max_lag;
        }
    }

    /// Moves the cursor past a slice.
    fn take(&mut self, slice: Slice, high: u64) -> EncodedEvents {
        self.cursor.after = slice.last;
        self.limit_lag(high);
        self.sent_seq = Some(slice.last);
        let Some(id) = slice.events.last_event_id() else {
            unreachable!("each event on a tape has an ID");
        };
        self.last_id.clone_from(id);
        slice.events
    }

    /// Moves the cursor past a replay of the log up to `through`. `last`: the last event that it
    /// delivers.
    pub(crate) fn handle_read(&mut self, through: u64, last: Option<(u64, EventId)>) {
        self.cursor.after = self.cursor.after.max(through);
        self.limit_lag(self.life.high());
        if let Some((seq, id)) = last {
            (self.sent_seq, self.last_id) = (Some(seq), id);
        }
    }

    /// The ID of the newest entry, if the subscriber has everything up to it, but not this ID.
    pub(crate) fn checkpoint(&mut self) -> Option<EventId> {
        let newest = self.life.newest();
        let after = self.cursor.after;
        let has_nothing_after =
            |(topic, _): &(Arc<Topic>, usize)| topic.has_nothing_after(after, newest.seq());
        if newest.seq() < after
            || self.sent_seq == Some(newest.seq())
            || !self.seats.iter().all(has_nothing_after)
        {
            return None;
        }
        self.cursor.after = newest.seq();
        self.sent_seq = Some(newest.seq());
        self.last_id.clone_from(&newest.id);
        Some(newest.id)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        for (topic, seat) in self.seats.iter() {
            self.life.leave(topic, *seat);
        }
    }
}
