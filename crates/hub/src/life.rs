//! The `Life` of a log: all state that the hub derives from one unbroken part of the log's tail.
//!
//! # The words of this crate
//!
//! * **Entry**: an item of the log, either an event or the end of a channel. Entries are numbered from 1
//!   without holes; the number is `seq`. The *check* of an entry tells it from another entry that had the
//!   same number. A *position* is the log's epoch, a `seq` and a check; its text is the event ID.
//! * **Tail**: the stream of new entries, in batches, that the log delivers to the hub. The hub's own
//!   task [follows](crate::follow) it.
//! * **Life**: the state of the hub from the time it attaches to the log until the log breaks, because
//!   the log was rewound, has another epoch, or removed entries that the hub has not received. Then the
//!   next life begins. Each subscription [resumes](crate::resume) in it after the last ID it delivered,
//!   like a client that reconnects.
//! * **Topic**: a channel or a pattern such as `a/*`, in one life. It has a tape, and a *seat* for each
//!   of its readers. The seat holds the reader's waker while the reader waits. Readers whose IDs name the
//!   channels have topics of their own: see [`IdForm`](crate::id_form::IdForm).
//! * **Tape**: the recent events of a topic, encoded once. All readers share its bytes.
//! * **High-water mark**, in code `high`: the `seq` of the newest entry that all tapes hold. No reader
//!   reads beyond it, so a reader of several topics receives their events in ascending order.
//! * **[Fan-out](crate::fan_out)**: the steps after a batch arrived. The events are written to the
//!   tapes, the high-water mark moves, publishers are confirmed, and waiting readers are woken.
//! * **Generation**: consecutive entries that are removed from the tapes together, when all tapes
//!   together exceed their limit.
//! * **[Confirmation](crate::confirm)**: the outcome of an entry, for its publisher. `publish` returns
//!   only after its entry came back through the tail.
//! * **[Replay](crate::replay)**: a read of the log for a reader whose next event the tapes no longer
//!   hold.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::Waker;

use tidings_proto::{EntryCheck, Epoch, EventId, Position};

use crate::Pattern;
use crate::confirm::Confirmations;
use crate::directory::Directory;
use crate::ends::Ends;
use crate::id_form::IdForm;
use crate::topic::Topic;

/// The state of the hub while the log's tail is unbroken.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) epoch: Epoch,
    /// The high-water mark: all tapes hold their entries up to this one.
    high: AtomicU64,
    /// A [`LifeState`] as a number. It only ever increases.
    state: AtomicU8,
    /// The position of the high-water mark.
    newest: Mutex<PositionWithId>,
    /// The newest position when the life began. The life delivers what follows it.
    pub(crate) base: PositionWithId,
    directory: Mutex<Directory>,
    ends: RwLock<Ends>,
    confirmations: Mutex<Confirmations>,
}

/// Whether entries may follow in a life, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum LifeState {
    Open,
    /// The hub is drained: no more entries follow.
    Closing,
    /// The log broke, or the hub's task stopped.
    Over,
}

impl Life {
    pub(crate) fn new(base: Position, ends: Ends) -> Self {
        let base = PositionWithId::from(base);
        Self {
            epoch: base.position.epoch.clone(),
            high: AtomicU64::new(base.seq()),
            state: AtomicU8::new(LifeState::Open as u8),
            newest: Mutex::new(base.clone()),
            directory: Mutex::default(),
            ends: RwLock::new(ends),
            confirmations: Mutex::new(Confirmations::new(base.seq())),
            base,
        }
    }

    /// The high-water mark. Tapes may already hold some later entries, but not all.
    pub(crate) fn high(&self) -> u64 {
        self.high.load(Ordering::Acquire)
    }

    /// The position of the high-water mark.
    pub(crate) fn newest(&self) -> PositionWithId {
        lock(&self.newest).clone()
    }

    /// The position of an entry in this life of the log.
    pub(crate) fn position(&self, seq: u64, check: EntryCheck) -> Position {
        Position {
            epoch: self.epoch.clone(),
            seq,
            check,
        }
    }

    /// Whether the log broke, or the hub's task stopped.
    pub(crate) fn is_over(&self) -> bool {
        self.state.load(Ordering::Acquire) == LifeState::Over as u8
    }

    /// Whether more entries may follow.
    pub(crate) fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) == LifeState::Open as u8
    }

    pub(crate) fn confirmations(&self) -> MutexGuard<'_, Confirmations> {
        lock(&self.confirmations)
    }

    pub(crate) fn ends(&self) -> RwLockReadGuard<'_, Ends> {
        self.ends.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ends_mut(&self) -> RwLockWriteGuard<'_, Ends> {
        self.ends.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn directory(&self) -> MutexGuard<'_, Directory> {
        lock(&self.directory)
    }

    /// Takes a seat in the topic of this pattern with IDs of this form.
    ///
    /// The tape of a new topic holds all events after the high-water mark, which does not move while the
    /// directory is locked. A reader that has not received everything up to there reads the log.
    pub(crate) fn join(&self, pattern: &Pattern, form: IdForm) -> (Arc<Topic>, usize) {
        let mut directory = self.directory();
        let high = self.high();
        let topic = match pattern.as_channel() {
            Some(channel) => {
                directory.channel_topic(channel, form, high, || self.ends().end_of(channel))
            }
            None => directory.pattern_topic(pattern, form, high),
        };
        (Arc::clone(topic), topic.join())
    }

    /// Leaves a seat, and removes the topic if it is idle now.
    pub(crate) fn leave(&self, topic: &Topic, seat: usize) {
        topic.leave(seat);
        if topic.is_idle() {
            self.directory().remove_idle(topic.pattern(), topic.form());
        }
    }

    /// Forgets the ends of channels before `first`, because the log has forgotten them.
    pub(crate) fn forget_ends_before(&self, first: u64) {
        // Locked first: otherwise the fan-out could write an event of a reopened channel to a topic that
        // still has the old end, and the topic's readers would miss it.
        let directory = self.directory();
        let reopened = self.ends_mut().forget_before(first);
        for channel in reopened {
            for topic in directory.existing(&channel) {
                topic.reopen(first);
            }
        }
    }

    /// Moves the high-water mark. All tapes must hold their entries up to it. The directory is still locked
    /// since the first of these entries was written, so that no reader joined a topic in between.
    pub(crate) fn advance(&self, _locked: &mut Directory, to: PositionWithId) {
        let mut newest = lock(&self.newest);
        self.high.store(to.seq(), Ordering::Release);
        *newest = to;
    }

    /// Ends each subscription once it has delivered everything. No more entries follow.
    pub(crate) fn close(&self) {
        self.raise_state(LifeState::Closing);
        self.wake_all();
    }

    /// Ends this life: its publishers get no confirmation, and its subscriptions resume in the next life.
    pub(crate) fn end(&self) {
        // First: a subscriber that waits for an entry must find out why it waits no longer.
        self.raise_state(LifeState::Over);
        let waiting = self.confirmations().handle_over();
        drop(waiting);
        self.wake_all();
    }

    pub(crate) fn raise_state(&self, state: LifeState) {
        self.state.fetch_max(state as u8, Ordering::AcqRel);
    }

    /// Wakes all readers that wait, after the state was raised. A reader whose topic is not in the list
    /// yet takes the directory's lock after this, so it finds the new state before it waits.
    fn wake_all(&self) {
        let topics = self.directory().topics();
        let mut wakers = Vec::new();
        for topic in topics {
            topic.take_wakers(&mut wakers);
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A position, and its text as an event ID.
#[derive(Debug, Clone)]
pub(crate) struct PositionWithId {
    pub(crate) position: Position,
    pub(crate) id: EventId,
}

impl PositionWithId {
    pub(crate) fn seq(&self) -> u64 {
        self.position.seq
    }
}

impl From<Position> for PositionWithId {
    fn from(position: Position) -> Self {
        Self {
            id: EventId::from(&position),
            position,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicBool;
    use std::task::{Context, Wake};

    use tidings_proto::{EntryCheck, Epoch};

    use super::*;
    use crate::confirm::Confirmation;

    /// Whether the life was over when a waiting subscriber was woken.
    struct SeenOver(Arc<Life>, AtomicBool);

    impl Wake for SeenOver {
        fn wake(self: Arc<Self>) {
            self.1.store(self.0.is_over(), Ordering::Relaxed);
        }
    }

    #[test]
    fn a_wait_ends_after_its_life_is_over_and_not_before() {
        let base = Position {
            epoch: Epoch::new("e").unwrap(),
            seq: 0,
            check: EntryCheck::from_hash(0),
        };
        let life = Arc::new(Life::new(base, Ends::default()));
        let Confirmation::Pending(waits) = life.confirmations().find(1) else {
            panic!("no entry has come")
        };
        let seen = Arc::new(SeenOver(Arc::clone(&life), AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&seen));
        let mut waits = pin!(waits);
        let polled = waits.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        life.end();
        assert!(seen.1.load(Ordering::Relaxed));
    }
}
