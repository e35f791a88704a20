//! Owns `Life`: all that is derived from one unbroken stretch of a log's tail.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::Waker;

use tidings_proto::{EntryCheck, Epoch, EventId, Position};

use crate::Pattern;
use crate::confirm::Confirmations;
use crate::directory::Directory;
use crate::ends::Ends;
use crate::topic::Topic;

/// What a hub knows of its log since it began to follow it without a break.
///
/// When the log turns out not to be the continuation of what was promised, or the hub has missed
/// some of it, this life is over and another begins: whoever reads goes on there from the last id
/// that was handed out, as a client that comes back does.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) epoch: Epoch,
    /// All tapes are written up to here.
    high: AtomicU64,
    state: AtomicU8,
    /// The newest entry that all tapes hold.
    newest: Mutex<PositionWithId>,
    /// The position behind which it began.
    pub(crate) base: PositionWithId,
    directory: Mutex<Directory>,
    ends: RwLock<Ends>,
    confirmations: Mutex<Confirmations>,
}

/// A position and its text as an event ID.
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

const OPEN: u8 = 0;
const CLOSING: u8 = 1;
const OVER: u8 = 2;

impl Life {
    pub(crate) fn new(base: &Position, ends: Ends) -> Self {
        let base = PositionWithId::from(base.clone());
        Self {
            epoch: base.position.epoch.clone(),
            high: AtomicU64::new(base.seq()),
            state: AtomicU8::new(OPEN),
            newest: Mutex::new(base.clone()),
            directory: Mutex::new(Directory::new(base.seq())),
            ends: RwLock::new(ends),
            confirmations: Mutex::new(Confirmations::new(base.seq())),
            base,
        }
    }

    /// All that is behind this place may not be written yet.
    pub(crate) fn high(&self) -> u64 {
        self.high.load(Ordering::Acquire)
    }

    /// The newest entry that all tapes are written up to.
    pub(crate) fn newest(&self) -> PositionWithId {
        lock(&self.newest).clone()
    }

    /// Where this entry stands, in this life of the log.
    pub(crate) fn position(&self, seq: u64, check: EntryCheck) -> Position {
        Position {
            epoch: self.epoch.clone(),
            seq,
            check,
        }
    }

    /// Another life has begun.
    pub(crate) fn is_over(&self) -> bool {
        self.state.load(Ordering::Acquire) == OVER
    }

    /// More may come.
    pub(crate) fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) == OPEN
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

    /// The topic of this pattern, with a seat in it.
    pub(crate) fn join(&self, pattern: &Pattern) -> (Arc<Topic>, usize) {
        let mut directory = self.directory();
        let topic = if let Some(channel) = pattern.as_channel() {
            let written = directory.written();
            Arc::clone(directory.channel_topic(channel, written, || self.ends().of(channel)))
        } else {
            directory.pattern_topic(pattern)
        };
        let seat = topic.join();
        (topic, seat)
    }

    /// Leaves the topic, which is removed if it is of no more use.
    pub(crate) fn leave(&self, topic: &Topic, seat: usize) {
        topic.leave(seat);
        if topic.is_idle() {
            self.directory().remove_idle(topic.pattern());
        }
    }

    /// The log has forgotten what stands before `first`, and with it ends.
    pub(crate) fn forget_ends_before(&self, first: u64) {
        let reopened = self.ends_mut().forget(first);
        if reopened.is_empty() {
            return;
        }
        let directory = self.directory();
        for channel in reopened {
            if let Some(topic) = directory.existing(&channel) {
                topic.reopen(first);
            }
        }
    }

    /// All tapes are written up to this entry.
    pub(crate) fn advance(&self, to: PositionWithId) {
        let mut newest = lock(&self.newest);
        self.high.store(to.seq(), Ordering::Release);
        *newest = to;
    }

    /// Nothing more comes: whoever has heard all is done.
    pub(crate) fn close(&self) {
        self.move_to(CLOSING);
    }

    /// Another life has begun.
    pub(crate) fn end(&self) {
        let waiting = self.confirmations().handle_over();
        drop(waiting);
        self.move_to(OVER);
    }

    fn move_to(&self, state: u8) {
        self.state.fetch_max(state, Ordering::AcqRel);
        let topics = self.directory().topics();
        let mut wakers = Vec::new();
        for topic in topics {
            topic.take_wakers(&mut wakers);
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
