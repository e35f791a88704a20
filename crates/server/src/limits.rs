//! Owns `Limits`: how many sessions may be open, in all and for one key.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::request::Parts;

/// Nobody waits for longer: a day.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// How many sessions may be open at a time. Who comes after is answered 429 with `Retry-After`.
///
/// Without a setting nothing is limited. Clones count together, so that several routes may share
/// one limit.
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
/// A browser's `EventSource` gives up on a 429, as on any refusal; a client of ours comes back if
/// its policy retries refusals.
#[derive(Clone)]
pub struct Limits {
    max_sessions: usize,
    max_per_key: usize,
    key: Option<Arc<Key>>,
    retry_after: Duration,
    open: Arc<Mutex<Open>>,
}

type Key = dyn Fn(&Parts) -> Option<String> + Send + Sync;

#[derive(Debug, Default)]
struct Open {
    sessions: usize,
    by_key: HashMap<String, usize>,
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
            open: Arc::default(),
        }
    }

    /// At most so many sessions in all.
    #[must_use]
    pub fn max_sessions(mut self, max: usize) -> Self {
        self.max_sessions = max;
        self
    }

    /// At most so many sessions whose requests have the same key, such as a user or an address. A
    /// request without a key counts only in all.
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

    /// When who was refused may come back: 5 s by default. Each is told its own time, from this up
    /// to twice as long, in whole seconds, so that they do not all come at once. A day at most.
    #[must_use]
    pub fn retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = retry_after.min(LONGEST_RETRY_AFTER);
        self
    }

    /// How many sessions are open.
    #[must_use]
    pub fn sessions(&self) -> usize {
        lock(&self.open).sessions
    }

    /// Counts a session until the permit is dropped.
    pub(crate) fn admit(&self, request: &Parts) -> Result<Permit, Refused> {
        let key = self.key.as_ref().and_then(|key| key(request));
        let mut open = lock(&self.open);
        if open.sessions >= self.max_sessions {
            return Err(Refused::InAll);
        }
        if let Some(key) = &key {
            let of_key = open.by_key.get(key).copied().unwrap_or(0);
            if of_key >= self.max_per_key {
                return Err(Refused::OfKey);
            }
            open.by_key.insert(key.clone(), of_key + 1);
        }
        open.sessions += 1;
        drop(open);
        Ok(Permit {
            open: Arc::clone(&self.open),
            key,
        })
    }

    /// Of one who was refused: from the time that was set, or 5 s, up to twice as long.
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
            .field("sessions", &self.sessions())
            .finish_non_exhaustive()
    }
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    InAll,
    OfKey,
}

/// One session that counts.
#[derive(Debug)]
pub(crate) struct Permit {
    open: Arc<Mutex<Open>>,
    key: Option<String>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.sessions -= 1;
        if let Some(key) = self.key.take()
            && let Some(of_key) = open.by_key.get_mut(&key)
        {
            *of_key -= 1;
            // A key that nobody uses costs nothing.
            if *of_key == 0 {
                open.by_key.remove(&key);
            }
        }
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

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
        assert_eq!(limits.admit(&by_user("")).unwrap_err(), Refused::InAll);
        drop(first);
        assert_eq!(limits.sessions(), 1);
        drop((limits.admit(&by_user("")).unwrap(), second));
        assert_eq!(limits.sessions(), 0);
    }

    #[test]
    fn one_key_leaves_room_for_others_and_no_trace() {
        let limits = Limits::new().max_sessions_per_key(1, user);
        let of_a = limits.admit(&by_user("a")).unwrap();
        assert_eq!(limits.admit(&by_user("a")).unwrap_err(), Refused::OfKey);
        let others = ["b", "", ""].map(|user| limits.admit(&by_user(user)).unwrap());
        assert_eq!(limits.sessions(), 4, "who is refused is not counted");
        drop((of_a, others));
        assert!(lock(&limits.open).by_key.is_empty());
        drop(limits.admit(&by_user("a")).unwrap());
    }

    #[test]
    fn those_who_are_refused_do_not_come_back_together() {
        let limits = Limits::new().retry_after(Duration::from_secs(10));
        let times: Vec<_> = (0..100).map(|_| limits.jittered_retry_after()).collect();
        let range = Duration::from_secs(10)..=Duration::from_secs(20);
        assert!(times.iter().all(|time| range.contains(time)));
        assert!(times.iter().any(|time| *time != times[0]));
    }
}
