//! A `Topic`: a tape, its readers, and their wake-ups.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use slab::Slab;

use crate::Pattern;
use crate::id_form::IdForm;
use crate::tape::{Piece, Slice, Tape};

/// The tape of a channel, or of all channels below a name, and the seats of its readers. All its readers want
/// the IDs of its events in the same form.
#[derive(Debug)]
pub(crate) struct Topic {
    pattern: Pattern,
    form: IdForm,
    state: Mutex<TopicState>,
}

/// The part of a topic that is under its lock.
#[derive(Debug)]
struct TopicState {
    tape: Tape,
    /// The `seq` of the channel's end, if it has ended.
    end: Option<u64>,
    /// One seat for each reader.
    readers: Slab<Seat>,
    /// The seats of the readers that wait. A wake-up visits only these, however many readers there are.
    waiting: Vec<usize>,
    /// The last batch and generation that wrote to this topic.
    stamp: Stamp,
    /// The cost of the topic when it was last written or trimmed, in bytes. Each change is reported to the
    /// fan-out.
    cost: usize,
}

/// The cost of a topic whose tape is not empty, beside its tape and its name, in bytes: the topic itself,
/// its places in the directory and in the lists of generations, and the allocator's overhead.
const TOPIC_BYTES: usize = size_of::<Topic>() + 192;

/// A reader's registration in a topic.
#[derive(Debug, Default)]
struct Seat {
    /// Present while the reader waits.
    waker: Option<Waker>,
    /// Its index in `waiting` while the reader waits.
    waiting_at: usize,
}

/// The batch that is being written, and the generation it belongs to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stamp {
    pub(crate) batch: u64,
    pub(crate) generation: u64,
}

/// The result of [`Topic::push`].
#[derive(Debug)]
pub(crate) struct Pushed {
    /// The length of the encoded event, in bytes.
    pub(crate) length: usize,
    /// The change of the topic's cost, in bytes.
    pub(crate) change: isize,
    pub(crate) was_touched: Touched,
}

/// The result of [`Topic::trim`].
#[derive(Debug)]
pub(crate) struct Trimmed {
    /// The change of the topic's cost, in bytes.
    pub(crate) change: isize,
    /// Whether the tape has lost its last event.
    pub(crate) is_emptied: bool,
}

/// Whether the current batch and generation had written to the topic before.
#[derive(Debug)]
pub(crate) struct Touched {
    pub(crate) in_batch: bool,
    pub(crate) in_generation: bool,
}

/// The result of reading a tape.
#[derive(Debug)]
pub(crate) enum TapeRead<T> {
    Events(T),
    /// The tape no longer holds the next entries. The log does, at least up to this entry.
    InLog(u64),
    /// The reader is further behind than its `max_lag`.
    TooSlow,
    /// No event up to the high-water mark.
    Nothing,
    /// As `Nothing`, and the reader's waker is in its seat: it is woken when the tape grows.
    Waiting,
    /// The channel has ended, and the cursor is at its end.
    Ended,
}

/// A reader's position in the log, and its limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor {
    /// The reader has everything up to this entry.
    pub(crate) after: u64,
    /// How far the reader may be behind the high-water mark, in entries.
    pub(crate) max_lag: u64,
}

impl Cursor {
    /// Whether a reader whose next entry is `next` is further behind than it may be.
    fn is_slow(self, next: u64, high: u64) -> bool {
        (high + 1).saturating_sub(next) > self.max_lag
    }
}

impl Topic {
    /// A topic with an empty tape, which will hold all events after `since`.
    pub(crate) fn new(pattern: Pattern, form: IdForm, since: u64, end: Option<u64>) -> Self {
        let state = TopicState {
            tape: Tape::new(since),
            end,
            readers: Slab::new(),
            waiting: Vec::new(),
            stamp: Stamp::default(),
            cost: 0,
        };
        Self {
            pattern,
            form,
            state: Mutex::new(state),
        }
    }

    pub(crate) fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// The form of the IDs of its events.
    pub(crate) fn form(&self) -> IdForm {
        self.form
    }

    fn lock(&self) -> MutexGuard<'_, TopicState> {
        // A panic under the lock leaves a tape that has one event more or less.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The methods of readers.
impl Topic {
    /// Takes a seat, and returns its number.
    pub(crate) fn join(&self) -> usize {
        self.lock().readers.insert(Seat::default())
    }

    /// Gives the seat up.
    pub(crate) fn leave(&self, seat: usize) {
        // Dropped without the lock: a waker may hold the last reference to its task, whose drop may take
        // the lock.
        let waker = self.lock().leave(seat);
        drop(waker);
    }

    /// Reads one slice after the cursor. If there is none and `may_wait` returns true, the reader
    /// waits: its waker is called when there is more.
    ///
    /// No wake-up is lost. The fan-out first moves the high-water mark, and then takes the wakers of each
    /// topic that it has written to, under the topic's lock. `high` is called under the same lock. So a
    /// reader that still finds the old mark has its waker in its seat before the fan-out takes the wakers.
    /// The fan-out has written to this topic if an entry of the batch concerns it, because no topic is made
    /// between the write and the new mark: see [`Directory`](crate::directory::Directory).
    pub(crate) fn read_or_wait(
        &self,
        cursor: Cursor,
        high: impl FnOnce() -> u64,
        may_wait: impl FnOnce() -> bool,
        seat: usize,
        waker: &Waker,
    ) -> (TapeRead<Slice>, u64) {
        let mut state = self.lock();
        let high = high();
        let mut found = state.read(cursor, high, Tape::slice);
        let mut before = None;
        if matches!(found, TapeRead::Nothing) && may_wait() {
            before = state.wait(seat, waker);
            found = TapeRead::Waiting;
        }
        drop(state);
        drop(before);
        (found, high)
    }

    /// Reads one piece after the cursor, up to `high`.
    pub(crate) fn read(&self, cursor: Cursor, high: u64) -> TapeRead<Piece> {
        self.lock().read(cursor, high, Tape::piece)
    }

    /// Puts the waker into the seat, unless there is something to read after `seen` by now or `may_wait`
    /// returns false. Returns whether the reader waits.
    ///
    /// No wake-up is lost. An event up to the current high-water mark is found here, under the lock.
    /// Each later event of this topic is announced as [`read_or_wait`](Self::read_or_wait) describes: the
    /// mark moves, and then the wakers are taken under the same lock. So it does no harm that the mark has
    /// moved since the reader saw `seen`, as it always has in a busy hub.
    pub(crate) fn wait(
        &self,
        seat: usize,
        waker: &Waker,
        seen: u64,
        high: impl FnOnce() -> u64,
        may_wait: impl FnOnce() -> bool,
    ) -> bool {
        let mut state = self.lock();
        let waits = may_wait() && !state.has_news(seen, high());
        let before = waits.then(|| state.wait(seat, waker));
        drop(state);
        drop(before);
        waits
    }

    /// Whether the topic has no event after `after`, up to `high`.
    pub(crate) fn has_nothing_after(&self, after: u64, high: u64) -> bool {
        self.lock().has_nothing_after(after, high)
    }
}

/// The methods of the fan-out.
impl Topic {
    /// Appends an event to the tape.
    pub(crate) fn push(&self, seq: u64, id_line: &str, body: &[u8], stamp: Stamp) -> Pushed {
        let mut state = self.lock();
        Pushed {
            length: state.tape.push(seq, id_line, body),
            change: state.update_cost(&self.pattern),
            was_touched: state.touch(stamp),
        }
    }

    /// Ends the channel with the entry `seq`.
    pub(crate) fn end(&self, seq: u64, stamp: Stamp) -> Touched {
        let mut state = self.lock();
        state.end = Some(seq);
        state.touch(stamp)
    }

    /// Forgets an end before `first`, which the log has removed. A newer end stays.
    pub(crate) fn reopen(&self, first: u64) {
        let mut state = self.lock();
        state.end = state.end.filter(|&end| end >= first);
    }

    /// Takes the wakers of all readers that wait.
    pub(crate) fn take_wakers(&self, wakers: &mut Vec<Waker>) {
        let mut state = self.lock();
        let TopicState {
            readers, waiting, ..
        } = &mut *state;
        let taken = waiting.drain(..).map(|seat| {
            let waker = readers[seat].waker.take();
            waker.unwrap_or_else(|| unreachable!("a seat in `waiting` holds a waker"))
        });
        wakers.extend(taken);
    }

    /// Removes the events up to `through` from the tape.
    pub(crate) fn trim(&self, through: u64) -> Trimmed {
        let mut state = self.lock();
        let was_empty = state.tape.is_empty();
        state.tape.trim(through);
        Trimmed {
            change: state.update_cost(&self.pattern),
            is_emptied: state.tape.is_empty() && !was_empty,
        }
    }

    /// Whether the topic has no reader, and no events to keep for a later one. A channel with plain IDs keeps
    /// its events while there is room. Any other topic has only copies of them, and keeps none.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.lock();
        let is_copy = self.form == IdForm::Named || self.pattern.as_channel().is_none();
        state.readers.is_empty() && (is_copy || state.tape.is_empty())
    }
}

impl TopicState {
    fn read<T>(
        &mut self,
        cursor: Cursor,
        high: u64,
        take: impl FnOnce(&mut Tape, u64, u64) -> Option<T>,
    ) -> TapeRead<T> {
        let after = cursor.after;
        let held = self.tape.since().min(high);
        if held > after {
            return if cursor.is_slow(after + 1, high) {
                TapeRead::TooSlow
            } else {
                TapeRead::InLog(held)
            };
        }
        if cursor.max_lag != u64::MAX {
            let next = self.tape.next(after).filter(|&next| next <= high);
            if next.is_some_and(|next| cursor.is_slow(next, high)) {
                return TapeRead::TooSlow;
            }
        }
        match take(&mut self.tape, after, high) {
            Some(taken) => TapeRead::Events(taken),
            None if self.end.is_some_and(|end| end <= high.max(after)) => TapeRead::Ended,
            None => TapeRead::Nothing,
        }
    }

    /// Marks the topic as written by this batch and generation.
    fn touch(&mut self, stamp: Stamp) -> Touched {
        let before = std::mem::replace(&mut self.stamp, stamp);
        Touched {
            in_batch: before.batch == stamp.batch,
            in_generation: before.generation == stamp.generation,
        }
    }

    /// Computes the cost again, and returns its change.
    fn update_cost(&mut self, pattern: &Pattern) -> isize {
        let cost = if self.tape.is_empty() {
            self.tape.cost()
        } else {
            self.tape.cost() + TOPIC_BYTES + pattern.name().len()
        };
        let before = std::mem::replace(&mut self.cost, cost);
        cost.cast_signed() - before.cast_signed()
    }

    fn has_nothing_after(&self, after: u64, high: u64) -> bool {
        self.tape.since().min(high) <= after && self.tape.next(after).is_none_or(|next| next > high)
    }

    /// Whether there is an event, or the channel's end, after `seen` and up to `high`.
    fn has_news(&self, seen: u64, high: u64) -> bool {
        let has_ended = self.end.is_some_and(|end| seen < end && end <= high);
        has_ended || !self.has_nothing_after(seen, high)
    }

    /// Puts the waker into the seat. Returns the one that was there, which the caller drops without the
    /// lock.
    fn wait(&mut self, seat: usize, waker: &Waker) -> Option<Waker> {
        let Seat {
            waker: current,
            waiting_at,
        } = &mut self.readers[seat];
        if current
            .as_ref()
            .is_some_and(|current| current.will_wake(waker))
        {
            return None;
        }
        let before = current.replace(waker.clone());
        if before.is_none() {
            *waiting_at = self.waiting.len();
            self.waiting.push(seat);
        }
        before
    }

    /// Removes the seat. Returns the waker that was there, which the caller drops without the lock.
    fn leave(&mut self, seat: usize) -> Option<Waker> {
        let Seat { waker, waiting_at } = self.readers.remove(seat);
        if waker.is_some() {
            self.waiting.swap_remove(waiting_at);
            if let Some(&moved) = self.waiting.get(waiting_at) {
                self.readers[moved].waiting_at = waiting_at;
            }
        }
        waker
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[derive(Debug, Clone)]
    enum SeatStep {
        Join,
        /// The index of a taken seat.
        Leave(usize),
        Wait(usize),
        Wake,
    }

    fn step() -> impl Strategy<Value = SeatStep> {
        prop_oneof![
            Just(SeatStep::Join),
            any::<usize>().prop_map(SeatStep::Leave),
            any::<usize>().prop_map(SeatStep::Wait),
            any::<usize>().prop_map(SeatStep::Wait),
            Just(SeatStep::Wake),
        ]
    }

    proptest! {
        #[test]
        fn each_waiting_reader_is_woken_once_and_no_other(
            steps in prop::collection::vec(step(), 0..100),
        ) {
            let topic = Topic::new(Pattern::new("a").unwrap(), IdForm::Plain, 0, None);
            // By seat: whether its reader waits.
            let mut seats = BTreeMap::<usize, bool>::new();
            let woken = Arc::new(Woken::default());
            for step in steps {
                let nth = |n: usize| seats.keys().nth(n % seats.len().max(1)).copied();
                match step {
                    SeatStep::Join => {
                        seats.insert(topic.join(), false);
                    }
                    SeatStep::Leave(n) => if let Some(seat) = nth(n) {
                        topic.leave(seat);
                        seats.remove(&seat);
                    },
                    SeatStep::Wait(n) => if let Some(seat) = nth(n) {
                        prop_assert!(topic.wait(seat, &Arc::clone(&woken).into(), 0, || 0, || true));
                        seats.insert(seat, true);
                    },
                    SeatStep::Wake => {
                        let mut wakers = Vec::new();
                        topic.take_wakers(&mut wakers);
                        wakers.into_iter().for_each(Waker::wake);
                        let waiting = seats.values().filter(|waits| **waits).count();
                        prop_assert_eq!(woken.0.swap(0, Ordering::Relaxed), waiting);
                        seats.values_mut().for_each(|waits| *waits = false);
                    }
                }
                prop_assert!(topic.lock().waiting.len() <= seats.len());
            }
        }
    }

    fn topic() -> (Topic, usize) {
        let topic = Topic::new(Pattern::new("a").unwrap(), IdForm::Plain, 0, None);
        let seat = topic.join();
        (topic, seat)
    }

    fn push(topic: &Topic, seq: u64) {
        topic.push(seq, "id: 3\n", b"data: 3\n\n", Stamp::default());
    }

    fn waits(topic: &Topic, seat: usize, seen: u64, high: u64) -> bool {
        topic.wait(seat, Waker::noop(), seen, || high, || true)
    }

    #[test]
    fn a_reader_that_found_nothing_waits_even_if_the_mark_has_moved() {
        let (topic, seat) = topic();
        push(&topic, 3);
        assert!(waits(&topic, seat, 3, 3));
        assert!(waits(&topic, seat, 3, 9));
        let mut wakers = Vec::new();
        topic.take_wakers(&mut wakers);
        assert_eq!(wakers.len(), 1);
    }

    #[test]
    fn a_reader_that_has_something_to_read_does_not_wait() {
        let (topic, seat) = topic();
        push(&topic, 3);
        assert!(!waits(&topic, seat, 2, 3));
        // Event 3 is written but not announced: the fan-out will take the wakers.
        assert!(waits(&topic, seat, 2, 2));
        topic.trim(3);
        assert!(!waits(&topic, seat, 2, 3));
        topic.end(4, Stamp::default());
        assert!(!waits(&topic, seat, 3, 4));
        assert!(waits(&topic, seat, 4, 9));
        assert!(!topic.wait(seat, Waker::noop(), 4, || 9, || false));
    }
}
