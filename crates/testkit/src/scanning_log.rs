//! `ScanningLog`: a log in memory that finds every answer by a scan of its entries.

mod state;

use std::fmt;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream;
use tidings_hub::{
    Abilities, Appended, Bounds, ChannelName, Draft, Entry, Located, Log, LogError, LogFuture,
    Page, Retention, Scope, Start, StoredChannel, Tail,
};
use tidings_proto::{Epoch, Position};
use tokio::sync::Notify;

use self::state::State;

/// A log in memory that finds every answer by a scan of its entries.
///
/// It has no ability, unless it is made [`with`](Self::with) some: a stand-in for an engine that knows
/// nothing about single channels. With all of them it is the contract of a log as a program, beside which
/// an engine can be tested. Clones are the same log. Its futures are ready at once, and it has no task.
///
/// Do not use it for long histories: it keeps every entry, the removed ones without their bodies.
#[derive(Clone)]
pub struct ScanningLog(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Notified after each change that a tail must see, when the lock is free.
    changed: Notify,
}

impl ScanningLog {
    /// An empty log with this retention and no ability.
    #[must_use]
    pub fn new(retention: Retention) -> Self {
        Self::with(Abilities::NONE, retention)
    }

    /// An empty log with these abilities and this retention.
    #[must_use]
    pub fn with(abilities: Abilities, retention: Retention) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State::new(abilities, retention)),
            changed: Notify::new(),
        }))
    }

    /// Removes all entries before `first`, as if they exceeded the retention. The newest entry stays.
    pub fn trim(&self, first: u64) {
        self.0.look().trim(first);
        self.0.changed.notify_waiters();
    }

    /// Removes the entries after `last`, like a log that has lost its newest entries in a crash. The epoch
    /// stays. Entries that the retention has removed stay removed.
    pub fn rewind(&self, last: u64) {
        self.0.look().rewind(last);
        self.0.changed.notify_waiters();
    }

    fn answer<'a, T: Send + 'a>(
        &'a self,
        of: impl FnOnce(&mut State) -> Result<T, LogError>,
    ) -> LogFuture<'a, T> {
        let answer = of(&mut self.0.look());
        Box::pin(ready(answer))
    }
}

impl fmt::Debug for ScanningLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanningLog").finish_non_exhaustive()
    }
}

impl Log for ScanningLog {
    fn abilities(&self) -> Abilities {
        self.0.look().abilities()
    }

    fn bounds(&self) -> LogFuture<'_, Bounds> {
        self.answer(|state| Ok(state.bounds()))
    }

    fn ends(&self) -> LogFuture<'_, Vec<(ChannelName, u64)>> {
        self.answer(|state| Ok(state.ends()))
    }

    fn channel<'a>(&'a self, name: &'a ChannelName) -> LogFuture<'a, Option<StoredChannel>> {
        self.answer(|state| Ok(state.channel(name)))
    }

    fn channels<'a>(
        &'a self,
        after: Option<&'a ChannelName>,
        limit: usize,
    ) -> LogFuture<'a, Vec<StoredChannel>> {
        self.answer(|state| Ok(state.channels(after, limit)))
    }

    fn append(&self, draft: Draft) -> LogFuture<'_, Appended> {
        let appended = self.answer(|state| state.append(draft));
        self.0.changed.notify_waiters();
        appended
    }

    fn locate<'a>(&'a self, start: Start, scope: Scope<'a>) -> LogFuture<'a, Located> {
        self.answer(|state| state.locate(start, scope))
    }

    fn read<'a>(&'a self, after: u64, limit: usize, scope: Scope<'a>) -> LogFuture<'a, Page> {
        self.answer(|state| state.read(after, limit, scope))
    }

    fn tail(&self, after: &Position) -> Tail {
        let log = Arc::clone(&self.0);
        // The log as it is now decides, not as it is when the tail is polled.
        let start = log.look().verify(after).map(|()| after.clone());
        Box::pin(stream::unfold(Some((log, start)), async |tail| {
            let (log, cursor) = tail?;
            let batch = match cursor {
                Ok(cursor) => log.next(&cursor).await,
                Err(error) => Err(error),
            };
            Some(match batch {
                Ok((batch, cursor)) => (Ok(batch), Some((log, Ok(cursor)))),
                Err(error) => (Err(error), None),
            })
        }))
    }

    fn renew_epoch<'a>(&'a self, expected: &'a Epoch) -> LogFuture<'a, Epoch> {
        let epoch = self.answer(|state| Ok(state.renew_epoch(expected)));
        self.0.changed.notify_waiters();
        epoch
    }
}

impl Shared {
    /// The state, after entries that are too old were removed.
    fn look(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.expire();
        state
    }

    /// The next batch of a tail, and the position of its last entry.
    async fn next(&self, cursor: &Position) -> Result<(Vec<Entry>, Position), LogError> {
        loop {
            // Registered before the look, so an append after the look still wakes it.
            let changed = self.changed.notified();
            if let Some(batch) = self.look().batch(cursor)? {
                return Ok(batch);
            }
            changed.await;
        }
    }
}
