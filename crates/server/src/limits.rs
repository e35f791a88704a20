//! `Limits`: how many sessions may be open, in total and per key.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::request::Parts;

/// The longest `Retry-After`: a day.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

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
/// The `EventSource` of a browser does not reconnect after a 429, nor after any other refusal. A
/// `tidings` client reconnects if its policy retries refusals.
#[derive(Clone)]
pub struct Limits {
    max_sessions: usize,
    max_per_key: usize,
    key: Option<Arc<Key>>,
    retry_after: Duration,
    open: Arc<Mutex<OpenCounts>>,
}

type Key = dyn Fn(&Parts) -> Option<String> + Send + Sync;

#[derive(Debug, Default)]
struct OpenCounts {
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

    /// The number of open sessions.
    #[must_use]
    pub fn sessions(&self) -> usize {
        lock(&self.open).sessions
    }

    /// Counts a session until the permit is dropped.
    pub(crate) fn admit(&self, request: &Parts) -> Result<Permit, LimitReached> {
        let key = self.key.as_ref().and_then(|key| key(request));
        let mut open = lock(&self.open);
        if open.sessions >= self.max_sessions {
            return Err(LimitReached::Total);
        }
        if let Some(key) = &key {
            let of_key = open.by_key.get(key).copied().unwrap_or(0);
            if of_key >= self.max_per_key {
                return Err(LimitReached::PerKey);
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

/// A session that counts towards the limits until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    open: Arc<Mutex<OpenCounts>>,
    key: Option<String>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.sessions -= 1;
        if let Some(key) = &self.key {
            let Some(of_key) = open.by_key.get_mut(key) else {
                unreachable!("a session counts until it is dropped");
            };
            *of_key -= 1;
            // An unused key costs no memory.
            if *of_key == 0 {
                open.by_key.remove(key);
            }
        }
    }
}

fn lock(open: &Mutex<OpenCounts>) -> MutexGuard<'_, OpenCounts> {
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

    #[test]
    fn each_refusal_has_a_retry_after_of_its_own() {
        let limits = Limits::new().retry_after(Duration::from_secs(10));
        let times: Vec<_> = (0..100).map(|_| limits.jittered_retry_after()).collect();
        let range = Duration::from_secs(10)..=Duration::from_secs(20);
        assert!(times.iter().all(|time| range.contains(time)));
        assert!(times.iter().any(|time| *time != times[0]));
    }
}
