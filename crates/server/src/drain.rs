//! Owns `Drain`: all sessions of a server ended on purpose, and who is still to go.

use std::fmt;
use std::mem;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use slab::Slab;
use tidings_proto::Event;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::Reason;
use crate::shared::Shared;
use crate::timer::after;

/// Ends all sessions of a server on purpose, as before a new version starts.
///
/// A drain starts once and for good. Each session that it knows is then told by a `retry:` field
/// when to come back, after what was sent, and its stream ends cleanly. What is still open at the
/// deadline is cut: a client that reads nothing cannot be told anything, and would hold the server
/// for ever.
///
/// It knows the sessions of requests that carry it in their extensions, and the connections under an
/// [`IoDeadline`](crate::IoDeadline) that was given it. The latter are what it cuts. A clone is the
/// same drain; sessions may come and go at many servers over one.
///
/// ```
/// use std::time::Duration;
/// use tidings_server::{Drain, Drained};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let drain = Drain::new().deadline(Duration::from_secs(2));
/// // Each request that a server hands on: `request.extensions_mut().insert(drain.clone())`.
/// drain.start();
/// assert_eq!(drain.finished().await, Drained::Clean);
/// # }
/// ```
#[derive(Clone)]
pub struct Drain(Arc<Inner>);

/// How a [`Drain`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Drained {
    /// Every session and every connection went by itself.
    Clean,
    /// The deadline passed, and what was left is cut.
    Cut,
}

#[derive(Default)]
struct Inner {
    /// When what is left is cut. Set as the drain starts, under the registry's lock.
    cut_off: OnceLock<Instant>,
    registry: Mutex<Registry>,
    /// The drain has started, or the last one has left.
    changed: Notify,
}

struct Registry {
    deadline: Duration,
    retry: RangeInclusive<Duration>,
    /// Empty for those that end by themselves.
    sessions: Slab<Weak<Shared>>,
    connections: Slab<Wakers>,
}

/// Of the tasks that wait on one connection, by [`Side`].
type Wakers = [Option<Waker>; 2];

/// Which half of a connection a task waits for: two tasks may have one each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Read,
    Write,
}

impl Drain {
    /// A drain that has not started.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// How long sessions and connections have to end once the drain has started: 10 s by default.
    /// What is still open then is cut.
    ///
    /// It holds for all clones, and is without effect once the drain has started.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        self.0.lock().deadline = deadline;
        self
    }

    /// When clients come back: each session is told a random time of this range, in whole
    /// milliseconds, so that they do not all come at once. 1 s to 5 s by default; a range that ends
    /// before it starts is its start alone.
    ///
    /// It holds for all clones, and for sessions that are still told.
    #[must_use]
    pub fn retry(self, range: RangeInclusive<Duration>) -> Self {
        self.0.lock().retry = range;
        self
    }

    /// Starts the drain; another call changes nothing.
    pub fn start(&self) {
        let (sessions, wakers) = {
            let mut registry = self.0.lock();
            if self.is_started() {
                return;
            }
            self.0.cut_off.get_or_init(|| after(registry.deadline));
            // Whom this ends and wakes may come back here: only after the lock is released.
            (registry.sessions(), registry.take_wakers())
        };
        tracing::debug!(sessions = sessions.len(), "a drain has started");
        for (session, retry) in sessions {
            if let Some(session) = session.upgrade() {
                tell(&session, retry);
            }
        }
        wakers.into_iter().for_each(Waker::wake);
        self.0.changed.notify_waiters();
    }

    /// Whether the drain has started: no new session should open.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.cut_off().is_some()
    }

    /// Ready once the drain has started, at once if it has: what a loop that accepts connections
    /// waits for beside the next one.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, nothing is lost.
    pub fn started(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let inner = Arc::clone(&self.0);
        async move {
            inner.wait_for(|| inner.cut_off.get().copied()).await;
        }
    }

    /// The instant at which what is still open is cut: `None` before the drain starts.
    #[must_use]
    pub fn cut_off(&self) -> Option<Instant> {
        self.0.cut_off.get().copied()
    }

    /// Waits until the drain has started, and then until all sessions and connections are gone, or
    /// the deadline has passed.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, nothing is lost.
    pub async fn finished(&self) -> Drained {
        let cut_off = self.0.wait_for(|| self.0.cut_off.get().copied()).await;
        let all_gone = self.0.wait_for(|| self.0.lock().is_empty().then_some(()));
        match timeout_at(cut_off, all_gone).await {
            Ok(()) => Drained::Clean,
            Err(_) => Drained::Cut,
        }
    }

    /// How many sessions are open.
    #[must_use]
    pub fn open_sessions(&self) -> usize {
        self.0.lock().sessions.len()
    }

    /// How many connections under an [`IoDeadline`](crate::IoDeadline) with this drain are open.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.0.lock().connections.len()
    }

    /// A random time of the range after which clients come back.
    pub(crate) fn random_retry(&self) -> Duration {
        self.0.lock().random_retry()
    }

    /// Ends the session when the drain starts: at once if it has.
    pub(crate) fn register_session(&self, session: &Arc<Shared>) -> DrainedSession {
        let registered = self.register(Arc::downgrade(session));
        // Looked at after the session became known: either this sees the start, or the start saw it.
        if self.is_started() {
            tell(session, self.random_retry());
        }
        registered
    }

    /// Waits for a session that ends by itself.
    pub(crate) fn await_session(&self) -> DrainedSession {
        self.register(Weak::new())
    }

    fn register(&self, session: Weak<Shared>) -> DrainedSession {
        DrainedSession {
            key: self.0.lock().sessions.insert(session),
            drain: self.clone(),
        }
    }

    pub(crate) fn register_connection(&self) -> DrainedConnection {
        DrainedConnection {
            key: self.0.lock().connections.insert(Wakers::default()),
            drain: self.clone(),
            known: Wakers::default(),
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("cut_off", &self.cut_off())
            .field("open_sessions", &self.open_sessions())
            .field("open_connections", &self.open_connections())
            .finish_non_exhaustive()
    }
}

/// Tells a session's client when to come back, after what was sent, and ends the session.
fn tell(session: &Shared, retry: Duration) {
    session.end_with(Reason::Drained, Event::default().retry(retry).encode());
}

/// One session that a drain ends. Dropped, the drain forgets it.
pub(crate) struct DrainedSession {
    drain: Drain,
    key: usize,
}

impl Drop for DrainedSession {
    fn drop(&mut self) {
        self.drain
            .0
            .leave(|registry| registry.sessions.try_remove(self.key));
    }
}

/// One connection that a drain waits for, and cuts. Dropped, the drain forgets it.
pub(crate) struct DrainedConnection {
    drain: Drain,
    key: usize,
    /// Those that the drain knows, so that it is asked only when they change.
    known: Wakers,
}

impl DrainedConnection {
    /// When the connection is cut. While nobody knows, the waker is woken when the drain starts.
    pub(crate) fn cut_off(&mut self, side: Side, waker: &Waker) -> Option<Instant> {
        let known = &mut self.known[side as usize];
        if self.drain.is_started() || known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return self.drain.cut_off();
        }
        *known = Some(waker.clone());
        let stale = self
            .drain
            .0
            .lock()
            .connections
            .get_mut(self.key)
            .and_then(|wakers| wakers[side as usize].replace(waker.clone()));
        drop(stale);
        let cut_off = self.drain.cut_off();
        if cut_off.is_some() {
            // It started meanwhile, and may have missed this waker: whoever waits for the start
            // beside the connection is to look again.
            waker.wake_by_ref();
        }
        cut_off
    }
}

impl Drop for DrainedConnection {
    fn drop(&mut self) {
        self.drain
            .0
            .leave(|registry| registry.connections.try_remove(self.key));
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something to look at, which is asked whenever something has changed.
    async fn wait_for<T>(&self, look: impl Fn() -> Option<T>) -> T {
        loop {
            // Hears of what changes from here on.
            let changed = self.changed.notified();
            if let Some(found) = look() {
                return found;
            }
            changed.await;
        }
    }

    /// Forgets one, and tells who waits for the last. What is forgotten is dropped without the lock.
    fn leave<T>(&self, forget: impl FnOnce(&mut Registry) -> Option<T>) {
        let (forgotten, is_empty) = {
            let mut registry = self.lock();
            (forget(&mut registry), registry.is_empty())
        };
        drop(forgotten);
        if is_empty && self.cut_off.get().is_some() {
            self.changed.notify_waiters();
        }
    }
}

impl Registry {
    fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.connections.is_empty()
    }

    /// Each session, and when its client is to come back.
    fn sessions(&self) -> Vec<(Weak<Shared>, Duration)> {
        let sessions = self.sessions.iter();
        sessions
            .map(|(_, session)| (Weak::clone(session), self.random_retry()))
            .collect()
    }

    fn take_wakers(&mut self) -> Vec<Waker> {
        let connections = self.connections.iter_mut();
        connections
            .flat_map(|(_, wakers)| mem::take(wakers))
            .flatten()
            .collect()
    }

    fn random_retry(&self) -> Duration {
        let millis = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let start = millis(self.retry.start());
        let end = millis(self.retry.end()).max(start);
        Duration::from_millis(fastrand::u64(start..=end))
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            retry: Duration::from_secs(1)..=Duration::from_secs(5),
            sessions: Slab::new(),
            connections: Slab::new(),
        }
    }
}
