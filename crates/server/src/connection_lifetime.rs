//! `ConnectionLifetime`: the end of a connection, at which its sessions are closed.

use std::time::Duration;

use tokio::time::Instant;

/// The end of a connection's lifetime. In the extensions of a request it closes the request's session then,
/// as [`SessionOptions::max_lifetime`](crate::SessionOptions::max_lifetime) does, unless the session
/// [may finish](crate::SessionOptions::may_finish).
///
/// So the clients of a connection learn that their streams ended, before the connection is cut by an
/// [`IoDeadline::lifetime`](crate::IoDeadline::lifetime) that is a little longer. `tidings_axum::serve` puts
/// it there if it has a maximum lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLifetime {
    ends_at: Instant,
}

impl ConnectionLifetime {
    /// A random lifetime from 80 to 100 % of this one, from now on, so that connections that began together
    /// do not end together. `None` if the clock cannot express its end: it never ends.
    #[must_use]
    pub fn random(max_lifetime: Duration) -> Option<Self> {
        let ends_at = Instant::now().checked_add(shortened(max_lifetime))?;
        Some(Self { ends_at })
    }

    /// When it ends.
    #[must_use]
    pub fn ends_at(&self) -> Instant {
        self.ends_at
    }

    /// How much of it is left.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.ends_at.saturating_duration_since(Instant::now())
    }
}

/// A random time from 80 to 100 % of this one.
pub(crate) fn shortened(lifetime: Duration) -> Duration {
    lifetime.saturating_sub(lifetime.mul_f64(0.2 * fastrand::f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lifetime_is_random_and_one_without_end_is_none() {
        let max = Duration::from_secs(100);
        let times: Vec<_> = (0..100).map(|_| shortened(max)).collect();
        let range = max.mul_f64(0.799)..=max;
        assert!(times.iter().all(|time| range.contains(time)));
        assert!(times.iter().any(|time| *time != times[0]));
        assert_eq!(ConnectionLifetime::random(Duration::MAX), None);
    }
}
