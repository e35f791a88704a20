//! `Drain`: ends all sessions of a server, and waits until they and their connections are gone.

use std::fmt;
use std::mem;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::sync::Notify;
use tokio::time::timeout_at;

use crate::Reason;
use crate::ending::{Ending, OpenSession, nobody};
use crate::timer::after;

/// Ends all sessions of a server, for example before a new version starts.
///
/// A drain starts once, and stays started. Each open session then sends a `retry:` field, which gives
/// its client a time to reconnect, and ends cleanly after the events it has queued. At the deadline
/// the drain cuts every connection that is still open. Without that, a client that does not read would
/// keep the server running for ever.
///
/// A drain ends the sessions of requests that carry it in their extensions or
/// [options](crate::SessionOptions::drain). It waits for the connections whose
/// [`IoDeadline`](crate::IoDeadline) has it, and those are the ones it cuts. Clones are the same drain,
/// so several servers can share one.
///
/// ```
/// use std::time::Duration;
/// use tidings_server::{Drain, Drained};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let drain = Drain::new().deadline(Duration::from_secs(2));
/// // For each request: `request.extensions_mut().insert(drain.clone())`.
/// drain.start();
/// assert_eq!(drain.finished().await, Drained::Clean);
/// # }
/// ```
#[derive(Clone)]
pub struct Drain(Arc<DrainInner>);

/// How a [`Drain`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Drained {
    /// Every session and every connection ended before the deadline.
    Clean,
    /// Some sessions or connections were still open at the deadline. Their connections are cut.
    Cut,
}

#[derive(Default)]
struct DrainInner {
    /// When the open connections are cut. Set when the drain starts, under the lock of the registry.
    cut_off: OnceLock<Instant>,
    registry: Mutex<Registry>,
    /// Notified when the drain starts, and when the last session or connection ends.
    changed: Notify,
}

struct Registry {
    deadline: Duration,
    retry: RangeInclusive<Duration>,
    /// The open sessions. Those that may finish by themselves have an empty `Weak`.
    sessions: Slab<Weak<dyn OpenSession>>,
    connections: Slab<Wakers>,
}

/// The wakers of the tasks that wait for one connection, by [`Side`].
type Wakers = [Option<Waker>; 2];

/// The half of a connection that a task waits for. Each half may have a task of its own.
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

    /// Sets how long sessions and connections have to end after the drain has started. Default: 10 s.
    /// Connections that are still open then are cut.
    ///
    /// Applies to all clones. Has no effect after the drain has started.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        self.0.lock().deadline = deadline;
        self
    }

    /// Sets how long clients wait before they reconnect. Default: 1 s to 5 s.
    ///
    /// Each session sends a random time of this range, in whole milliseconds, so that the clients do
    /// not all return at the same time. A range that ends before it starts is only its start.
    ///
    /// Applies to all clones, and to the sessions that have not sent their `retry:` field yet.
    #[must_use]
    pub fn retry(self, range: RangeInclusive<Duration>) -> Self {
        self.0.lock().retry = range;
        self
    }

    /// Starts the drain. Further calls have no effect.
    pub fn start(&self) {
        let (sessions, wakers) = {
            let mut registry = self.0.lock();
            if self.is_started() {
                return;
            }
            let deadline = registry.deadline;
            self.0.cut_off.get_or_init(|| after(deadline).into_std());
            (registry.sessions(), registry.take_wakers())
        };
        // Only after the lock is released: the tasks and drops of the caller that this runs may use
        // the drain.
        tracing::debug!(sessions = sessions.len(), "a drain has started");
        for (session, retry) in sessions {
            if let Some(session) = session.upgrade() {
                end_session(&*session, retry);
            }
        }
        wakers.into_iter().for_each(Waker::wake);
        self.0.changed.notify_waiters();
    }

    /// Whether the drain has started. Requests for sessions are then asked to
    /// [come back later](crate#come-back-later).
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.cut_off().is_some()
    }

    /// Waits until the drain has started. A loop that accepts connections waits for this beside the
    /// next connection.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub fn started(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let inner = Arc::clone(&self.0);
        async move {
            inner.wait_for(|| inner.cut_off.get().copied()).await;
        }
    }

    /// The instant at which open connections are cut. `None` before the drain starts.
    #[must_use]
    pub fn cut_off(&self) -> Option<Instant> {
        self.0.cut_off.get().copied()
    }

    /// Waits until the drain has started, and then until all sessions and connections have ended or
    /// the deadline has passed.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn finished(&self) -> Drained {
        let cut_off = self.0.wait_for(|| self.0.cut_off.get().copied()).await;
        let all_gone = self.0.wait_for(|| self.0.lock().is_empty().then_some(()));
        match timeout_at(cut_off.into(), all_gone).await {
            Ok(()) => Drained::Clean,
            Err(_) => Drained::Cut,
        }
    }

    /// The number of open sessions.
    #[must_use]
    pub fn open_sessions(&self) -> usize {
        self.0.lock().sessions.len()
    }

    /// The number of open connections whose [`IoDeadline`](crate::IoDeadline) has this drain.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.0.lock().connections.len()
    }

    /// A random time after which a client reconnects.
    pub(crate) fn random_retry(&self) -> Duration {
        self.0.lock().random_retry()
    }

    /// Ends the session when the drain starts, or at once if it has started.
    pub(crate) fn register_session(&self, session: &Arc<dyn OpenSession>) -> DrainedSession {
        let registered = self.register(Arc::downgrade(session));
        // Checked after the session was registered: either this sees that the drain has started, or
        // the start sees the session.
        if self.is_started() {
            end_session(&**session, self.random_retry());
        }
        registered
    }

    /// Waits for a session that may finish by itself.
    pub(crate) fn await_session(&self) -> DrainedSession {
        self.register(nobody())
    }

    fn register(&self, session: Weak<dyn OpenSession>) -> DrainedSession {
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

/// Sends the `retry:` field after the queued events, and ends the session.
fn end_session(session: &dyn OpenSession, retry: Duration) {
    session.end_from_outside(Ending::with_retry(Reason::Drained, retry));
}

/// A session that a drain ends. When it is dropped, the drain no longer waits for it.
pub(crate) struct DrainedSession {
    drain: Drain,
    key: usize,
}

impl Drop for DrainedSession {
    fn drop(&mut self) {
        self.drain
            .0
            .remove(|registry| registry.sessions.remove(self.key));
    }
}

/// A connection that a drain waits for and cuts. When it is dropped, the drain no longer waits for
/// it.
pub(crate) struct DrainedConnection {
    drain: Drain,
    key: usize,
    /// A copy of the registered wakers, so that the registry is locked only when one changes.
    known: Wakers,
}

impl DrainedConnection {
    /// When the connection is cut. Before the drain starts, it registers the waker for the start.
    pub(crate) fn cut_off(&mut self, side: Side, waker: &Waker) -> Option<Instant> {
        let known = &mut self.known[side as usize];
        if self.drain.is_started() || known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return self.drain.cut_off();
        }
        *known = Some(waker.clone());
        let stale = {
            let connections = &mut self.drain.0.lock().connections;
            connections[self.key][side as usize].replace(waker.clone())
        };
        drop(stale);
        let cut_off = self.drain.cut_off();
        if cut_off.is_some() {
            // The drain started in between and may have missed this waker. The task may also wait
            // for the start itself, so it is woken.
            waker.wake_by_ref();
        }
        cut_off
    }
}

impl Drop for DrainedConnection {
    fn drop(&mut self) {
        self.drain
            .0
            .remove(|registry| registry.connections.remove(self.key));
    }
}

impl DrainInner {
    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `look` finds something. It looks again after each change.
    async fn wait_for<T>(&self, look: impl Fn() -> Option<T>) -> T {
        loop {
            // Created before `look` is called, so that no change in between is missed.
            let changed = self.changed.notified();
            if let Some(found) = look() {
                return found;
            }
            changed.await;
        }
    }

    /// Removes one entry, and wakes the tasks that wait for the last one. The entry is dropped after
    /// the lock is released.
    fn remove<T>(&self, remove: impl FnOnce(&mut Registry) -> T) {
        let (removed, is_empty) = {
            let mut registry = self.lock();
            (remove(&mut registry), registry.is_empty())
        };
        drop(removed);
        if is_empty && self.cut_off.get().is_some() {
            self.changed.notify_waiters();
        }
    }
}

impl Registry {
    fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.connections.is_empty()
    }

    /// Each session, with the time after which its client reconnects.
    fn sessions(&self) -> Vec<(Weak<dyn OpenSession>, Duration)> {
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
