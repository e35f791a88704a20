//! `Limits`: how many sessions may be open, in total and per key.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::request::Parts;

use crate::Reason;
use crate::ending::{Ending, OpenSession, nobody};

/// The longest `Retry-After`: a day.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// When the client of a replaced session reconnects: after 1 to 2 hours. Two clients over a limit that
/// reconnected soon would replace each other for ever.
const RETRY_WHEN_REPLACED: Duration = Duration::from_secs(60 * 60);

/// How many sessions may be open at one time. A request over a limit is answered 429 with
/// `Retry-After`.
///
/// By default nothing is limited. Clones count together, so several routes can share one limit.
///
/// ```
/// use tidings_server::{Limits, SessionOptions};
///
/// let limits = Limits::new().max_sessions(10_000).max_sessions_per_key(6, |request| {
///     let user = request.headers.get("x-user")?;
///     Some(user.to_str().ok()?.to_owned())
/// });
/// let options = SessionOptions::new().limits(&limits);
/// ```
///
/// The `EventSource` of a browser does not reconnect after a 429, nor after any other refusal, unless
/// it is asked to [come back later](Self::come_back_later). A `tidings` client reconnects if its policy
/// retries refusals.
#[derive(Clone)]
pub struct Limits {
    max_sessions: usize,
    max_per_key: usize,
    key: Option<Arc<Key>>,
    retry_after: Duration,
    replace_oldest: bool,
    pub(crate) come_back_later: bool,
    open: Arc<Mutex<OpenCounts>>,
}

type Key = dyn Fn(&Parts) -> Option<String> + Send + Sync;

#[derive(Debug, Default)]
struct OpenCounts {
    sessions: usize,
    by_key: HashMap<String, OfKey>,
    /// The place of the next session that can be replaced.
    next_place: u64,
}

/// The sessions of one key.
#[derive(Debug, Default)]
struct OfKey {
    sessions: usize,
    /// The sessions that can be replaced, by their place in the order of admission.
    replaceable: BTreeMap<u64, Holder>,
}

/// The session that holds a place.
#[derive(Debug, Clone)]
struct Holder {
    /// Empty while the session is not open, such as one whose feed still opens.
    session: Weak<dyn OpenSession>,
    may_finish: bool,
}

impl Limits {
    /// No limit.
    #[must_use]
    pub fn new() -> Self {
        Self {
            max_sessions: usize::MAX,
            max_per_key: usize::MAX,
            key: None,
            retry_after: Duration::from_secs(5),
            replace_oldest: false,
            come_back_later: false,
            open: Arc::default(),
        }
    }

    /// Sets the maximum number of sessions in total. Default: no limit.
    #[must_use]
    pub fn max_sessions(mut self, max: usize) -> Self {
        self.max_sessions = max;
        self
    }

    /// Sets the maximum number of sessions whose requests have the same key, such as a user or an
    /// address. A request without a key counts only towards the total. Default: no limit.
    #[must_use]
    pub fn max_sessions_per_key(
        mut self,
        max: usize,
        key: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.max_per_key = max;
        self.key = Some(Arc::new(key));
        self
    }

    /// Sets the `Retry-After` of refusals, in whole seconds. Default: 5 s. Maximum: a day.
    ///
    /// Each refusal has a random time, from this up to twice as long, so that the clients do not all
    /// return at the same time.
    #[must_use]
    pub fn retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = retry_after.min(LONGEST_RETRY_AFTER);
        self
    }

    /// Sets whether a session over the limit of its key replaces the oldest session of that key. Default:
    /// `false`: it is refused.
    ///
    /// For pages: one that is reloaded opens its new session before the server knows that the old one is
    /// gone. The oldest session ends, and counts no more at once, even if its connection is dead. A session
    /// over the limit in total is refused all the same, unless it replaces another.
    ///
    /// The replaced session sends `retry:` with 1 to 2 hours, and ends cleanly. Otherwise two tabs over
    /// the limit would replace each other for ever. So the tab that lost stays quiet until it is reloaded;
    /// its script sees an `error` event. Each session of such limits begins with `retry:`: that of
    /// [`SessionOptions::retry`](crate::SessionOptions::retry), otherwise 3 s. A session that
    /// [may finish](crate::SessionOptions::may_finish) is cut, so that its client sees that the answer is
    /// incomplete.
    ///
    /// Only sessions of clones that have this setting are replaced.
    #[must_use]
    pub fn replace_oldest(mut self, replace_oldest: bool) -> Self {
        self.replace_oldest = replace_oldest;
        self
    }

    /// Sets whether an `EventSource` over a limit is asked to [come back later](crate#come-back-later),
    /// in place of the 429, after which it would give up for ever. Default: `false`.
    ///
    /// It returns until it is admitted, so use it only for clients that you want to keep.
    #[must_use]
    pub fn come_back_later(mut self, come_back_later: bool) -> Self {
        self.come_back_later = come_back_later;
        self
    }

    /// The number of open sessions. Replaced sessions do not count.
    #[must_use]
    pub fn sessions(&self) -> usize {
        lock(&self.open).sessions
    }

    /// Counts a session until the permit is dropped, or until another session replaces it.
    pub(crate) fn admit(&self, request: &Parts) -> Result<Permit, LimitReached> {
        let key = self.key.as_ref().and_then(|key| key(request));
        let (place, replaced) = self.count(key.as_deref())?;
        if let Some(replaced) = replaced {
            // Only after the lock is released: the end wakes tasks of the caller.
            replaced.end();
        }
        Ok(Permit {
            open: Arc::clone(&self.open),
            key: key.map(|key| Box::new(CountedKey { key, place })),
        })
    }

    /// Counts a session. Returns its place, and the session that it replaces.
    fn count(&self, key: Option<&str>) -> Result<(Option<u64>, Option<Holder>), LimitReached> {
        let mut open = lock(&self.open);
        let total = open.sessions < self.max_sessions;
        let total = total.then_some(()).ok_or(LimitReached::Total);
        let Some(key) = key else {
            total?;
            open.sessions += 1;
            return Ok((None, None));
        };
        let mut replaced = None;
        let of_key = open.by_key.get_mut(key);
        if of_key.as_ref().map_or(0, |of_key| of_key.sessions) >= self.max_per_key {
            let oldest = of_key.filter(|_| self.replace_oldest);
            let oldest = oldest.and_then(|of_key| of_key.replaceable.pop_first());
            let Some((_, oldest)) = oldest else {
                return total.and(Err(LimitReached::PerKey));
            };
            // The new session takes its place in both counts.
            replaced = Some(oldest);
        } else {
            total?;
            open.sessions += 1;
            open.by_key.entry(key.to_owned()).or_default().sessions += 1;
        }
        if !self.replace_oldest {
            return Ok((None, replaced));
        }
        let place = open.next_place;
        open.next_place += 1;
        let of_key = open.of_key(key);
        of_key.replaceable.insert(place, Holder::opening());
        Ok((Some(place), replaced))
    }

    /// Whether a client may have been told to wait for hours, so that a new session must set its
    /// reconnection time.
    pub(crate) fn is_replacing(&self) -> bool {
        self.replace_oldest
    }

    /// The `Retry-After` of one refusal.
    pub(crate) fn jittered_retry_after(&self) -> Duration {
        self.retry_after.mul_f64(1.0 + fastrand::f64())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits")
            .field("max_sessions", &self.max_sessions)
            .field("max_per_key", &self.max_per_key)
            .field("retry_after", &self.retry_after)
            .field("replace_oldest", &self.replace_oldest)
            .field("sessions", &self.sessions())
            .finish_non_exhaustive()
    }
}

/// The limit that a request reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitReached {
    Total,
    PerKey,
}

/// A session that counts towards the limits until it is dropped or replaced.
#[derive(Debug)]
pub(crate) struct Permit {
    open: Arc<Mutex<OpenCounts>>,
    key: Option<Box<CountedKey>>,
}

/// The key that a session counts towards.
#[derive(Debug)]
struct CountedKey {
    key: String,
    /// Its place among the sessions of its key, if it can be replaced.
    place: Option<u64>,
}

impl Permit {
    /// The session is open. From now on another session ends it when it replaces it. If one has replaced it
    /// before, it ends at once.
    pub(crate) fn handle_open(&self, session: &Arc<dyn OpenSession>, may_finish: bool) {
        let Some(CountedKey { key, place }) = self.key.as_deref() else {
            return;
        };
        let Some(place) = place else {
            return;
        };
        let holder = Holder {
            session: Arc::downgrade(session),
            may_finish,
        };
        let is_counted = {
            let mut open = lock(&self.open);
            let of_key = open.by_key.get_mut(key);
            let place = of_key.and_then(|of_key| of_key.replaceable.get_mut(place));
            place.map(|place| *place = holder.clone()).is_some()
        };
        if !is_counted {
            holder.end();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        let Some(CountedKey { key, place }) = self.key.as_deref() else {
            open.sessions -= 1;
            return;
        };
        if let Some(place) = place {
            let of_key = open.by_key.get_mut(key);
            let held = of_key.and_then(|of_key| of_key.replaceable.remove(place));
            if held.is_none() {
                // Another session has its place in the counts.
                return;
            }
        }
        open.sessions -= 1;
        let of_key = open.of_key(key);
        of_key.sessions -= 1;
        // An unused key costs no memory.
        if of_key.sessions == 0 {
            open.by_key.remove(key);
        }
    }
}

impl OpenCounts {
    fn of_key(&mut self, key: &str) -> &mut OfKey {
        let of_key = self.by_key.get_mut(key);
        of_key.unwrap_or_else(|| unreachable!("a key is known while a session of it counts"))
    }
}

impl Holder {
    fn opening() -> Self {
        Self {
            session: nobody(),
            may_finish: false,
        }
    }

    /// Ends a session that another one has replaced.
    fn end(&self) {
        let Some(session) = self.session.upgrade() else {
            return;
        };
        session.end_from_outside(if self.may_finish {
            Ending::cut(Reason::Replaced)
        } else {
            let retry = RETRY_WHEN_REPLACED.mul_f64(1.0 + fastrand::f64());
            Ending::with_retry(Reason::Replaced, retry)
        });
    }
}

fn lock(open: &Mutex<OpenCounts>) -> MutexGuard<'_, OpenCounts> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use http::Request;

    use super::*;
    use crate::outbox::Outbox;
    use crate::shared::Shared;

    fn by_user(user: &str) -> Parts {
        let request = Request::builder().header("x-user", user).body(());
        request.unwrap().into_parts().0
    }

    fn user(request: &Parts) -> Option<String> {
        let user = request.headers.get("x-user")?.to_str().ok()?;
        (!user.is_empty()).then(|| user.to_owned())
    }

    #[test]
    fn sessions_are_counted_until_they_end() {
        let limits = Limits::new().max_sessions(2);
        let first = limits.admit(&by_user("")).unwrap();
        let second = limits.clone().admit(&by_user("")).unwrap();
        assert_eq!(limits.admit(&by_user("")).unwrap_err(), LimitReached::Total);
        drop(first);
        assert_eq!(limits.sessions(), 1);
        drop((limits.admit(&by_user("")).unwrap(), second));
        assert_eq!(limits.sessions(), 0);
    }

    #[test]
    fn a_key_at_its_limit_leaves_other_keys_alone_and_unused_keys_are_forgotten() {
        let limits = Limits::new().max_sessions_per_key(1, user);
        let of_a = limits.admit(&by_user("a")).unwrap();
        assert_eq!(
            limits.admit(&by_user("a")).unwrap_err(),
            LimitReached::PerKey
        );
        let others = ["b", "", ""].map(|user| limits.admit(&by_user(user)).unwrap());
        assert_eq!(limits.sessions(), 4, "a refused request is not counted");
        drop((of_a, others));
        assert!(lock(&limits.open).by_key.is_empty());
        drop(limits.admit(&by_user("a")).unwrap());
    }

    fn replacing(max_per_key: usize) -> Limits {
        let limits = Limits::new().max_sessions_per_key(max_per_key, user);
        limits.replace_oldest(true)
    }

    fn session_of(permit: &Permit) -> Arc<Shared> {
        let session = Arc::new(Shared::new(Outbox::default()));
        permit.handle_open(&(Arc::clone(&session) as Arc<dyn OpenSession>), false);
        session
    }

    #[test]
    fn the_newest_session_of_a_key_replaces_the_oldest() {
        let limits = replacing(2).max_sessions(3);
        let permits = ["a", "a", "b"].map(|user| limits.admit(&by_user(user)).unwrap());
        let sessions = permits.each_ref().map(session_of);
        let is_closed = || sessions.each_ref().map(|session| session.is_closed());
        // Over the total, but it replaces.
        let third = limits.admit(&by_user("a")).unwrap();
        assert_eq!(is_closed(), [true, false, false]);
        assert_eq!(limits.sessions(), 3);
        let fourth = limits.admit(&by_user("a")).unwrap();
        assert_eq!(is_closed(), [true, true, false]);
        assert_eq!(
            limits.admit(&by_user("b")).unwrap_err(),
            LimitReached::Total
        );
        assert_eq!(limits.admit(&by_user("")).unwrap_err(), LimitReached::Total);
        // The replaced ones have left the counts already.
        let [first, second, of_b] = permits;
        drop((first, second));
        assert_eq!(limits.sessions(), 3);
        drop((third, fourth, of_b));
        assert_eq!(limits.sessions(), 0);
        assert!(lock(&limits.open).by_key.is_empty());
    }

    #[test]
    fn a_session_that_was_replaced_before_it_opened_ends_when_it_opens() {
        let limits = replacing(1);
        let opening = limits.admit(&by_user("a")).unwrap();
        let newer = limits.admit(&by_user("a")).unwrap();
        assert!(session_of(&opening).is_closed());
        assert!(!session_of(&newer).is_closed());
    }

    #[test]
    fn a_limit_of_none_replaces_nothing_and_a_clone_without_the_setting_keeps_its_sessions() {
        let none = replacing(0).admit(&by_user("a"));
        assert_eq!(none.unwrap_err(), LimitReached::PerKey);
        let limits = replacing(1);
        let kept = limits.clone().replace_oldest(false);
        let _kept = kept.admit(&by_user("a")).unwrap();
        assert_eq!(
            limits.admit(&by_user("a")).unwrap_err(),
            LimitReached::PerKey
        );
    }

    #[test]
    fn concurrent_replacements_never_exceed_the_limit_and_leave_the_newest_open() {
        const LIMIT: usize = 3;
        let limits = replacing(LIMIT);
        let is_running = AtomicBool::new(true);
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let mut most = 0;
                while is_running.load(Ordering::Relaxed) {
                    most = most.max(limits.sessions());
                }
                most
            });
            let admitting: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let mut open = Vec::new();
                        for n in 0..2000 {
                            let permit = limits.admit(&by_user("a")).unwrap();
                            let session = session_of(&permit);
                            open.push((permit, session));
                            if n % 3 == 0 {
                                open.remove(0);
                            }
                        }
                        open
                    })
                })
                .collect();
            let open: Vec<_> = admitting
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect();
            is_running.store(false, Ordering::Relaxed);
            assert!(watcher.join().unwrap() <= LIMIT);
            let live = open.iter().filter(|(_, session)| !session.is_closed());
            assert_eq!(live.count(), limits.sessions());
            drop(open);
        });
        assert_eq!(limits.sessions(), 0);
        assert!(lock(&limits.open).by_key.is_empty());
    }

    #[test]
    fn each_refusal_has_a_retry_after_of_its_own() {
        let limits = Limits::new().retry_after(Duration::from_secs(10));
        let times: Vec<_> = (0..100).map(|_| limits.jittered_retry_after()).collect();
        let range = Duration::from_secs(10)..=Duration::from_secs(20);
        assert!(times.iter().all(|time| range.contains(time)));
        assert!(times.iter().any(|time| *time != times[0]));
    }
}
