//! Owns `MemoryLog`: a log that lives as long as its process.

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

/// 71 bits: no two logs agree on them by accident.
const EPOCH_CHARS: usize = 12;

/// Up to this many entries, or keys, no memory is given back.
const MIN_SHRINK: usize = 1_024;

/// A [`Log`] in memory. It is gone with its process, and the next one has another epoch.
///
/// Clones are the same log. Every method is done when the call returns; no future of it waits, but a
/// tail. No task belongs to it: what is too old is removed when somebody appends, reads or asks for the
/// bounds.
///
/// It remembers the keys of at most 1,000,000 appends of the last two minutes, then appends with a new
/// key fail with [`LogError::Refused`] for [`TooManyKeys`]. A key costs about 100 bytes, however long it
/// is; an entry about 80, its body, and 24 once it was read. Bodies are kept as they come: one that is a
/// slice of a larger buffer keeps all of that.
///
/// ```
/// use tidings_hub::{ChannelName, Draft, EntryKind, Log, MemoryLog, Retention};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let log = MemoryLog::new(Retention::in_memory().max_events(1_000));
/// let appended = log
///     .append(Draft {
///         channel: ChannelName::new("news")?,
///         kind: EntryKind::Event,
///         body: "data: hello\n\n".into(),
///         key: None,
///     })
///     .await?;
/// assert_eq!(appended.seq, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct MemoryLog(Arc<SharedLog>);

impl MemoryLog {
    /// An empty log that keeps this much.
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

    /// Forgets all entries before `first`, as if they were over the retention; the newest one stays.
    pub fn trim(&self, first: u64) {
        self.0.look().held.trim(first);
        // Who fell behind by this is to hear of it.
        self.0.changed.notify_waiters();
    }

    /// Forgets the newest entries, those behind `last`, as a log does that lost its tail in a crash: to
    /// try what one's subscribers are told.
    ///
    /// The epoch stays the same, and what is appended then takes the places that became free, with
    /// other checks. Tails that were past `last` fail with [`LogError::Rewound`], the others go on.
    /// What was trimmed before stays so: `last` is at least the place before the oldest entry.
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
    /// Keeps what [`Retention::in_memory`] says.
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
        Box::pin(ready(Ok(Bounds {
            epoch: state.epoch.clone(),
            first: state.held.first(),
            last: state.held.last(),
            floor: state.held.floor(),
        })))
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

/// What a log and its tails share.
struct SharedLog {
    clock: Clock,
    state: Mutex<State>,
    /// Told after each change of the state that a tail must know of, and after the lock is free.
    changed: Notify,
}

struct State {
    epoch: Epoch,
    held: Held,
    keys: Keys,
}

impl SharedLog {
    /// The state, without what is too old by now.
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
        // Under the lock, so that times stand in the order of places.
        let now = self.clock.now();
        state.keys.expire(now);
        if let Some(key) = &draft.key {
            let key = state.keys.hash(&draft.channel, key);
            if let Some(seq) = state.keys.get(key, now) {
                return Ok(Appended {
                    seq,
                    is_repeat: true,
                });
            }
            let next = state.held.last() + 1;
            state.keys.insert(key, next, now)?;
        }
        Ok(Appended {
            seq: state.held.push(draft, now),
            is_repeat: false,
        })
    }

    fn renew_epoch(&self, expected: &Epoch) -> Epoch {
        let mut state = self.lock();
        if state.epoch == *expected {
            state.epoch = new_epoch();
        }
        state.epoch.clone()
    }
}

/// Says what time it is: the wall's when the log was made, and then what has passed, so that it never
/// falls when the wall clock is set back.
struct Clock {
    base: u64,
    start: Instant,
}

impl Clock {
    fn start() -> Self {
        #[allow(clippy::disallowed_methods, reason = "an entry says when it was taken")]
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
    // The system's randomness: two processes may start in the same nanosecond.
    let mut rng = Rng::with_seed(RandomState::new().hash_one(0));
    loop {
        let text: String = iter::repeat_with(|| rng.alphanumeric())
            .take(EPOCH_CHARS)
            .collect();
        if let Ok(epoch) = Epoch::new(&text) {
            return epoch;
        }
    }
}
