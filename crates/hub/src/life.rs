//! Owns `Life`: all that is derived from one unbroken stretch of a log's tail.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::Waker;

use tidings_proto::{EntryCheck, Epoch, EventId, Position};

use crate::confirm::Confirms;
use crate::ends::Ends;
use crate::topic::Topic;
use crate::{ChannelName, Pattern};

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
    /// The newest entry, and the one it began behind.
    head: Mutex<Head>,
    pub(crate) base: Head,
    directory: Mutex<Directory>,
    ends: RwLock<Ends>,
    confirms: Mutex<Confirms>,
}

/// A place and its id.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) seq: u64,
    pub(crate) position: Position,
    pub(crate) id: EventId,
}

impl From<Position> for Head {
    fn from(position: Position) -> Self {
        Self {
            seq: position.seq,
            id: EventId::from(&position),
            position,
        }
    }
}

/// The topics that have readers, and the channels that have recent events.
#[derive(Debug)]
pub(crate) struct Directory {
    channels: HashMap<ChannelName, Arc<Topic>>,
    /// By the name that stands before `/*`; only those with readers.
    below: HashMap<ChannelName, Arc<Topic>>,
    /// The newest entry that is, or is being, written: a topic made now has all events behind it.
    written: u64,
}

const OPEN: u8 = 0;
const CLOSING: u8 = 1;
const OVER: u8 = 2;

impl Life {
    pub(crate) fn new(base: &Position, ends: Ends) -> Self {
        let head = Head::from(base.clone());
        Self {
            epoch: base.epoch.clone(),
            high: AtomicU64::new(base.seq),
            state: AtomicU8::new(OPEN),
            head: Mutex::new(head.clone()),
            base: head,
            directory: Mutex::new(Directory {
                channels: HashMap::new(),
                below: HashMap::new(),
                written: base.seq,
            }),
            ends: RwLock::new(ends),
            confirms: Mutex::new(Confirms::new(base.seq)),
        }
    }

    /// All that is behind this place may not be written yet.
    pub(crate) fn high(&self) -> u64 {
        self.high.load(Ordering::Acquire)
    }

    /// The newest entry that all tapes are written up to.
    pub(crate) fn head(&self) -> Head {
        lock(&self.head).clone()
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

    pub(crate) fn confirms(&self) -> MutexGuard<'_, Confirms> {
        lock(&self.confirms)
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
            let written = directory.written;
            Arc::clone(directory.channel(channel, written, || self.ends().of(channel)))
        } else {
            directory.below(pattern)
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
    pub(crate) fn advance(&self, head: Head) {
        let mut newest = lock(&self.head);
        self.high.store(head.seq, Ordering::Release);
        *newest = head;
    }

    /// Nothing more comes: whoever has heard all is done.
    pub(crate) fn close(&self) {
        self.leave_state(CLOSING);
    }

    /// Another life has begun.
    pub(crate) fn end(&self) {
        let waiting = self.confirms().handle_over();
        drop(waiting);
        self.leave_state(OVER);
    }

    fn leave_state(&self, state: u8) {
        self.state.fetch_max(state, Ordering::AcqRel);
        let topics = self.directory().topics();
        let mut wakers = Vec::new();
        for topic in topics {
            topic.take_wakers(&mut wakers);
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Directory {
    /// The topic of this channel; a new one has all events behind `since`, and is asked where it has
    /// ended.
    pub(crate) fn channel(
        &mut self,
        channel: &ChannelName,
        since: u64,
        end: impl FnOnce() -> Option<u64>,
    ) -> &Arc<Topic> {
        if !self.channels.contains_key(channel) {
            let topic = Topic::new(channel.clone().into(), since, end());
            self.channels.insert(channel.clone(), Arc::new(topic));
        }
        &self.channels[channel]
    }

    fn below(&mut self, pattern: &Pattern) -> Arc<Topic> {
        let topic = self.below.entry(pattern.name().clone());
        let make = || Arc::new(Topic::new(pattern.clone(), self.written, None));
        Arc::clone(topic.or_insert_with(make))
    }

    /// The topic of this channel if there is one.
    pub(crate) fn existing(&self, channel: &ChannelName) -> Option<&Arc<Topic>> {
        self.channels.get(channel)
    }

    /// The topics of the patterns that mean this channel among others.
    pub(crate) fn above(&self, channel: &ChannelName) -> impl Iterator<Item = &Arc<Topic>> {
        let parents = (!self.below.is_empty()).then(|| channel.parents());
        parents
            .into_iter()
            .flatten()
            .filter_map(|name| self.below.get(name))
    }

    /// Entries up to this one are about to be written.
    pub(crate) fn begin_batch(&mut self, written: u64) {
        self.written = written;
    }

    /// Removes the topic if it is of no more use. What is on it then is forgotten in its turn.
    pub(crate) fn remove_idle(&mut self, pattern: &Pattern) {
        let topics = if pattern.as_channel().is_some() {
            &mut self.channels
        } else {
            &mut self.below
        };
        if topics
            .get(pattern.name())
            .is_some_and(|topic| topic.is_idle())
        {
            topics.remove(pattern.name());
            if topics.capacity() > 4 * topics.len() + 64 {
                topics.shrink_to_fit();
            }
        }
    }

    fn topics(&self) -> Vec<Arc<Topic>> {
        let all = self.channels.values().chain(self.below.values());
        all.cloned().collect()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.channels.len() + self.below.len()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
