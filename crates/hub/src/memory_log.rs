//! `MemoryLog`: a log that lives as long as its process.

mod capacity;
mod channels;
mod held;
mod index;
mod keys;
mod locate;
mod page;
mod record;
mod secret;
mod tail;

use std::fmt;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tidings_proto::{Epoch, Position};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::Instant;

use self::held::Held;
use self::keys::Keys;
pub use self::keys::TooManyKeys;
use self::locate::Search;
use self::tail::MemoryTail;
use crate::engine::Selection;
use crate::{
    Abilities, Appended, Bounds, ChannelName, Draft, Located, Log, LogError, LogFuture, Page,
    Place, Retention, Scope, Start, StoredChannel, Tail, random_epoch,
};

/// A [`Log`] in memory. It ends with its process; the log of the next process has another epoch.
///
/// Clones are the same log. The log's futures are ready at once, with two exceptions that let other tasks run
/// after each 8,192 entries: [`Start::Last`] of a pattern that selects more than 256 channels, and
/// [`channels`](Log::channels) among many that are only remembered. The log has no task: each call removes
/// entries that are too old.
///
/// It remembers the keys of at most 1,000,000 appends of the last 2 minutes. Beyond that, an append
/// with a new key fails with [`LogErrorKind::Refused`](crate::LogErrorKind::Refused), whose source
/// is [`TooManyKeys`].
///
/// It has an index of its channels, so that a read of named channels takes time in proportion to their
/// entries. For a pattern that selects more than 8,192 channels, a loss is judged by the whole log, so that
/// the question does not delay appends. For its memory, see [`Retention::max_bytes`] and
/// [`Retention::remembered_channels`].
///
/// A key takes about 100 bytes, however long it is. An entry takes about 60 bytes and its body.
/// A body of more than 1 KiB takes 24 more once it was read, and is kept as it was passed: if it is a
/// slice of a larger buffer, the whole buffer stays in memory.
///
/// ```
/// use tidings_hub::{ChannelName, Draft, Log, MemoryLog, Retention};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let log = MemoryLog::new(Retention::in_memory().max_events(Some(1_000)));
/// let draft = Draft::event(ChannelName::new("news")?, "data: hello\n\n");
/// let appended = log.append(draft).await?;
/// assert_eq!(appended.seq, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct MemoryLog(Arc<SharedLog>);

impl MemoryLog {
    /// An empty log with this retention.
    #[must_use]
    pub fn new(retention: Retention) -> Self {
        Self(Arc::new(SharedLog {
            clock: Clock::start(),
            state: Mutex::new(State {
                epoch: random_epoch(),
                held: Held::new(retention),
                keys: Keys::new(),
            }),
            changed: Notify::new(),
        }))
    }

    /// Removes all entries before `first`, as if they exceeded the retention. The newest entry stays.
    pub fn trim(&self, first: u64) {
        self.0.look().held.trim(first);
        // A tail whose next entry was removed must fail.
        self.0.changed.notify_waiters();
    }

    /// Removes the entries after `last`, like a log that has lost its newest entries in a crash.
    /// Use it to test how your subscribers handle that.
    ///
    /// The epoch stays the same. New entries take the free numbers and have other checks. Tails that
    /// were past `last` fail with [`LogErrorKind::Rewound`](crate::LogErrorKind::Rewound); the
    /// others continue. Entries that were removed before stay removed, so a smaller `last` counts as the
    /// number before the oldest entry.
    pub fn rewind(&self, last: u64) {
        let mut state = self.0.look();
        state.held.rewind(last);
        let last = state.held.last();
        state.keys.rewind(last);
        drop(state);
        self.0.changed.notify_waiters();
    }
}

impl Default for MemoryLog {
    /// A log with the retention [`Retention::in_memory`].
    fn default() -> Self {
        Self::new(Retention::in_memory())
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.look();
        f.debug_struct("MemoryLog")
            .field("epoch", &state.epoch)
            .field("first", &state.held.first())
            .field("last", &state.held.last())
            .finish()
    }
}

impl Log for MemoryLog {
    fn abilities(&self) -> Abilities {
        Abilities::ALL
    }

    fn bounds(&self) -> LogFuture<'_, Bounds> {
        let mut state = self.0.look();
        let State { epoch, held, .. } = &mut *state;
        let (floor, last) = (held.floor_place(), held.place(held.last()));
        let bounds = Bounds::new(epoch.clone(), floor, last, held.index.ends_since());
        Box::pin(ready(Ok(bounds)))
    }

    fn ends(&self) -> LogFuture<'_, Vec<(ChannelName, u64)>> {
        let state = self.0.look();
        let ends = state.held.index.ends();
        let ends = ends.map(|(name, seq)| (name.clone(), seq)).collect();
        Box::pin(ready(Ok(ends)))
    }

    fn channel<'a>(&'a self, name: &'a ChannelName) -> LogFuture<'a, Option<StoredChannel>> {
        let mut state = self.0.look();
        let State { epoch, held, .. } = &mut *state;
        Box::pin(ready(Ok(held.channel(name, epoch))))
    }

    fn channels<'a>(
        &'a self,
        after: Option<&'a ChannelName>,
        limit: usize,
    ) -> LogFuture<'a, Vec<StoredChannel>> {
        let mut after = after.cloned();
        self.0.ask(move |state| {
            let State { epoch, held, .. } = state;
            Ok(held.channels(&mut after, limit, epoch))
        })
    }

    fn append(&self, draft: Draft) -> LogFuture<'_, Appended> {
        let appended = self.0.append(draft);
        if matches!(appended, Ok(appended) if !appended.is_repeat) {
            self.0.changed.notify_waiters();
        }
        Box::pin(ready(appended))
    }

    fn locate<'a>(&'a self, start: Start, scope: Scope<'a>) -> LogFuture<'a, Located> {
        let selection = Selection::new(scope.patterns);
        let mut search = Search::new(start, selection, scope.newest.seq);
        self.0.ask(move |state| {
            state.verify(scope.newest)?;
            Ok(search.look(&mut state.held))
        })
    }

    fn read<'a>(&'a self, after: u64, limit: usize, scope: Scope<'a>) -> LogFuture<'a, Page> {
        let selection = Selection::new(scope.patterns);
        let mut state = self.0.look();
        let verified = state.verify(scope.newest);
        let page = verified.and_then(|()| {
            let newest = scope.newest.seq;
            state.held.page(after, limit, &selection, newest)
        });
        Box::pin(ready(page))
    }

    fn tail(&self, after: &Position) -> Tail {
        MemoryTail::stream(Arc::clone(&self.0), after)
    }

    fn renew_epoch<'a>(&'a self, expected: &'a Epoch) -> LogFuture<'a, Epoch> {
        let epoch = self.0.renew_epoch(expected);
        self.0.changed.notify_waiters();
        Box::pin(ready(Ok(epoch)))
    }
}

/// The state that a log shares with its tails.
struct SharedLog {
    clock: Clock,
    state: Mutex<State>,
    /// Notified after each change that a tail must see, when the lock is free.
    changed: Notify,
}

struct State {
    epoch: Epoch,
    held: Held,
    keys: Keys,
}

impl State {
    /// Fails unless the log holds this position, or has removed its entry by the retention.
    fn verify(&mut self, position: &Position) -> Result<(), LogError> {
        if position.epoch == self.epoch && self.held.holds(Place::from(position)) {
            Ok(())
        } else {
            Err(LogError::rewound(self.held.last()))
        }
    }
}

impl SharedLog {
    /// The state, after entries that are too old were removed.
    fn look(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.held.expire(self.clock.now());
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, draft: Draft) -> Result<Appended, LogError> {
        let mut state = self.lock();
        let State { held, keys, .. } = &mut *state;
        // Taken under the lock, so that times are in the order of numbers.
        let now = self.clock.now();
        held.touch_oldest();
        keys.expire(now);
        let key = draft.key.as_ref();
        let key = key.map(|key| keys.hash(&draft.channel, key));
        if let Some(seq) = key.and_then(|key| keys.get(key, now)) {
            return Ok(Appended::repeat(seq));
        }
        let channel = held.find(&draft.channel);
        if channel.is_some_and(|id| held.index.record(id).end.is_some()) {
            return Err(LogError::ended());
        }
        if let Some(key) = key {
            keys.insert(key, held.last() + 1, now)?;
        }
        Ok(Appended::new(held.push(channel, draft, now)))
    }

    /// The answer of these looks at the state. The first look is taken at once. If it finds no answer, the
    /// future takes more, and yields before each of them.
    fn ask<'a, T: Send + 'a>(
        &'a self,
        mut look: impl FnMut(&mut State) -> Result<Option<T>, LogError> + Send + 'a,
    ) -> LogFuture<'a, T> {
        if let Some(answer) = look(&mut self.look()).transpose() {
            return Box::pin(ready(answer));
        }
        Box::pin(async move {
            loop {
                yield_now().await;
                let answer = look(&mut self.look())?;
                if let Some(answer) = answer {
                    return Ok(answer);
                }
            }
        })
    }

    fn renew_epoch(&self, expected: &Epoch) -> Epoch {
        let mut state = self.lock();
        if state.epoch == *expected {
            state.epoch = random_epoch();
        }
        state.epoch.clone()
    }
}

/// The time: the wall clock when the log was made, plus the time since then, so it never decreases
/// when the wall clock is set back.
struct Clock {
    base: u64,
    start: Instant,
}

impl Clock {
    fn start() -> Self {
        #[allow(
            clippy::disallowed_methods,
            reason = "an entry has the time at which it was stored"
        )]
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            base: nanos(wall.unwrap_or_default()),
            start: Instant::now(),
        }
    }

    /// In nanoseconds since 1970.
    fn now(&self) -> u64 {
        self.base.saturating_add(nanos(self.start.elapsed()))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
