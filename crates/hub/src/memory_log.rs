//! `MemoryLog`: a log that lives as long as its process.

mod held;
mod keys;
mod tail;

use std::fmt;
use std::future::ready;
use std::hash::{BuildHasher, RandomState};
use std::iter;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use tidings_proto::Epoch;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::held::Held;
use self::keys::Keys;
pub use self::keys::TooManyKeys;
use self::tail::MemoryTail;
use crate::{
    Appended, Bounds, ChannelName, Draft, Log, LogError, LogFuture, Page, Pattern, Retention, Tail,
};

/// 71 random bits, so no two logs have the same epoch by accident.
const EPOCH_CHARS: usize = 12;

/// Collections that have held at most this many entries or keys do not shrink.
const MIN_SHRINK: usize = 1_024;

/// A [`Log`] in memory. It ends with its process; the log of the next process has another epoch.
///
/// Clones are the same log. Each method has done its work when the call returns, so no future of it
/// waits; only a tail does. The log has no task of its own: it removes entries that are too old
/// when a method is called.
///
/// It remembers the keys of at most 1,000,000 appends of the last 2 minutes. Beyond that, an append
/// with a new key fails with [`LogErrorKind::Refused`](crate::LogErrorKind::Refused), whose source
/// is [`TooManyKeys`].
///
/// A key costs about 100 bytes, however long it is. An entry costs about 80 bytes and its body, and
/// 24 more once it was read. A body of more than 2 KiB is kept as it was passed: if it is a slice
/// of a larger buffer, the whole buffer stays in memory.
///
/// ```
/// use tidings_hub::{ChannelName, Draft, Log, MemoryLog, Retention};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let log = MemoryLog::new(Retention::in_memory().max_events(1_000));
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
                epoch: new_epoch(),
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
    /// The epoch stays the same. New entries take the free places and have other checks. Tails that
    /// were past `last` fail with [`LogErrorKind::Rewound`](crate::LogErrorKind::Rewound); the
    /// others continue. Entries that were trimmed stay removed, so a smaller `last` counts as the
    /// place before the oldest entry.
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
    fn bounds(&self) -> LogFuture<'_, Bounds> {
        let state = self.0.look();
        Box::pin(ready(Ok(Bounds::new(
            state.epoch.clone(),
            state.held.first(),
            state.held.last(),
            state.held.floor(),
        ))))
    }

    fn ends(&self) -> LogFuture<'_, Vec<(ChannelName, u64)>> {
        Box::pin(ready(Ok(self.0.look().held.ends())))
    }

    fn append(&self, draft: Draft) -> LogFuture<'_, Appended> {
        let appended = self.0.append(draft);
        if matches!(appended, Ok(appended) if !appended.is_repeat) {
            self.0.changed.notify_waiters();
        }
        Box::pin(ready(appended))
    }

    fn read<'a>(
        &'a self,
        after: u64,
        up_to: u64,
        patterns: &'a [Pattern],
        limit: usize,
    ) -> LogFuture<'a, Page> {
        let page = self.0.look().held.page(after, up_to, patterns, limit);
        Box::pin(ready(page))
    }

    fn tail(&self, after: u64) -> Tail {
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
        // Taken under the lock, so that times are in the order of places.
        let now = self.clock.now();
        state.keys.expire(now);
        if let Some(key) = &draft.key {
            let key = state.keys.hash(&draft.channel, key);
            if let Some(seq) = state.keys.get(key, now) {
                return Ok(Appended::repeat(seq));
            }
            // Nobody receives a late entry, so its publisher may repeat it once the end is removed.
            if !state.held.has_ended(&draft.channel) {
                let next = state.held.last() + 1;
                state.keys.insert(key, next, now)?;
            }
        }
        Ok(Appended::new(state.held.push(draft, now)))
    }

    fn renew_epoch(&self, expected: &Epoch) -> Epoch {
        let mut state = self.lock();
        if state.epoch == *expected {
            state.epoch = new_epoch();
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

fn new_epoch() -> Epoch {
    // Seeded by the system's randomness, because two processes may start in the same nanosecond.
    let mut rng = Rng::with_seed(RandomState::new().hash_one(0));
    let chars = iter::repeat_with(|| rng.alphanumeric());
    let text: String = chars.take(EPOCH_CHARS).collect();
    match Epoch::new(&text) {
        Ok(epoch) => epoch,
        Err(_) => unreachable!("{EPOCH_CHARS} letters and digits are an epoch"),
    }
}
