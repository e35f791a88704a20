//! Owns `Reconnect`: whether and when a client that lost its connection tries again.

use std::time::{Duration, SystemTime};

use crate::instant::FOR_EVER;

/// The reconnection time before the server names one: 3 s.
///
/// The standard leaves it to the client, "probably in the region of a few seconds".
pub const RECONNECTION_TIME: Duration = Duration::from_secs(3);

/// The least a server's `retry` is taken for: 200 ms. A server that closes at once and says
/// `retry: 0` would otherwise be asked as fast as the network allows.
pub const RECONNECTION_FLOOR: Duration = Duration::from_millis(200);

/// The most a server's `retry` or `Retry-After` is taken for, unless the caller says else: 1 h.
pub const RECONNECTION_CEILING: Duration = Duration::from_secs(60 * 60);

/// The longest wait between failed attempts, unless the caller says else: 30 s.
pub const MAX_RECONNECTION_DELAY: Duration = Duration::from_secs(30);

/// Whether and when to connect again after a network error or the end of a stream.
///
/// The first attempt in an outage comes after the reconnection time: that of the policy until the
/// server sends `retry`, which is taken for no less than [`RECONNECTION_FLOOR`]; a zero of the
/// caller's own is obeyed. Each failed attempt may lengthen the wait before the next, with jitter,
/// so that the clients of a server that fell do not all come back at once. A connection that opens
/// ends the outage.
///
/// A refusal (any status but 200 and 204, or another media type) is never repeated unless
/// [`retry_refusals`](Self::retry_refusals) says so.
///
/// ```
/// use std::time::Duration;
/// use tidings_proto::Reconnect;
///
/// let patient = Reconnect::standard().max_delay(Duration::from_secs(300));
/// let ktors = Reconnect::fixed(4, Duration::from_secs(2));
/// ```
///
/// Spec: [reestablish the connection](https://html.spec.whatwg.org/multipage/server-sent-events.html#reestablish-the-connection).
#[doc(alias = "backoff")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconnect {
    /// Most attempts in one outage; `None` is for ever.
    max_attempts: Option<u32>,
    covers_first_connection: bool,
    retries_refusals: bool,
    reconnection_time: Duration,
    max_reconnection_time: Duration,
    multiplier: u32,
    max_delay: Duration,
    stable_after: Duration,
}

/// What is known when an attempt is to be decided on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    /// The attempt in this outage, counted from 1.
    pub(crate) attempt: u32,
    /// Whether a connection of the session was ever open.
    pub(crate) opened_before: bool,
    /// The server's `retry`.
    pub(crate) server_time: Option<Duration>,
    /// The server's `Retry-After`, with its last answer.
    pub(crate) retry_after: Option<Duration>,
    /// Random, from 0 up to and without 1.
    pub(crate) jitter: f64,
}

impl Reconnect {
    /// Never: a stream that ends is over, and a connection that breaks is an error. The default.
    #[must_use]
    pub const fn off() -> Self {
        Self::fixed(0, RECONNECTION_TIME)
    }

    /// At most this many attempts in one outage, this long after each loss. The first connection
    /// must succeed.
    #[must_use]
    pub const fn fixed(attempts: u32, delay: Duration) -> Self {
        Self {
            max_attempts: Some(attempts),
            covers_first_connection: false,
            retries_refusals: false,
            reconnection_time: delay,
            max_reconnection_time: RECONNECTION_CEILING,
            multiplier: 1,
            max_delay: MAX_RECONNECTION_DELAY,
            stable_after: Duration::ZERO,
        }
    }

    /// For ever, as a browser does, from the first connection on; 3 s until the server names
    /// another time, and up to 30 s after failed attempts.
    #[must_use]
    pub const fn standard() -> Self {
        Self {
            max_attempts: None,
            covers_first_connection: true,
            multiplier: 2,
            ..Self::fixed(0, RECONNECTION_TIME)
        }
    }

    /// Most attempts in one outage.
    #[doc(alias = "maxReconnectionAttempts")]
    #[must_use]
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Whether a first connection that fails is tried again; `true` only under
    /// [`Reconnect::standard`].
    #[must_use]
    pub const fn retry_first_connection(mut self, retry: bool) -> Self {
        self.covers_first_connection = retry;
        self
    }

    /// Whether a refusal that may be temporary is tried again as a failed attempt: the statuses
    /// 408, 425, 429 and 5xx, after the time of their `Retry-After` if that is longer; `false` by
    /// default.
    ///
    /// Differs from the standard: there, a refusal is for good.
    #[must_use]
    pub const fn retry_refusals(mut self, retry: bool) -> Self {
        self.retries_refusals = retry;
        self
    }

    /// The reconnection time until the server names another.
    #[must_use]
    pub const fn reconnection_time(mut self, time: Duration) -> Self {
        self.reconnection_time = time;
        self
    }

    /// The most a server's `retry` or `Retry-After` is taken for; 1 h by default.
    #[must_use]
    pub const fn max_reconnection_time(mut self, time: Duration) -> Self {
        self.max_reconnection_time = time;
        self
    }

    /// How much longer the wait may get with each failed attempt; 2 under
    /// [`Reconnect::standard`], else 1.
    ///
    /// The wait before attempt *n* is random between the reconnection time and that times the
    /// multiplier to the power of *n* − 1, at most [`max_delay`](Self::max_delay). A time under
    /// [`RECONNECTION_FLOOR`] grows as that does.
    #[must_use]
    pub const fn multiplier(mut self, multiplier: u32) -> Self {
        self.multiplier = multiplier;
        self
    }

    /// The longest wait that failed attempts may lead to; 30 s by default. A reconnection time or
    /// a `Retry-After` that is longer is waited for all the same.
    #[must_use]
    pub const fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// How long a connection must stay open to end an outage; zero by default, so that any open
    /// connection does.
    ///
    /// With a time here, a server that takes every connection and drops it soon is asked more and
    /// more seldom, and no more often than [`max_attempts`](Self::max_attempts).
    #[must_use]
    pub const fn stable_after(mut self, time: Duration) -> Self {
        self.stable_after = time;
        self
    }

    /// Whether a connection that was open for this long ends the outage.
    pub(crate) fn is_stable(&self, open_for: Duration) -> bool {
        open_for >= self.stable_after
    }

    pub(crate) fn retries_refusals(&self) -> bool {
        self.retries_refusals
    }

    /// Whether a lost connection may be tried again, as far as it is the first or not.
    pub(crate) fn covers(&self, opened_before: bool) -> bool {
        opened_before || self.covers_first_connection
    }

    /// How long to wait before this attempt; `None` if it is not to be made.
    pub(crate) fn delay(&self, outage: Outage) -> Option<Duration> {
        let allowed = self.max_attempts.is_none_or(|most| outage.attempt <= most)
            && self.covers(outage.opened_before);
        if !allowed {
            return None;
        }
        let time = match outage.server_time {
            Some(time) => time.min(self.max_reconnection_time).max(RECONNECTION_FLOOR),
            None => self.reconnection_time,
        };
        let failed_attempts = outage.attempt.saturating_sub(1);
        // A caller's zero grows too: else a server that is down would be asked without a pause.
        let growing = if failed_attempts > 0 && self.multiplier > 1 {
            time.max(RECONNECTION_FLOOR)
        } else {
            time
        };
        let longest = growing
            .saturating_mul(self.multiplier.saturating_pow(failed_attempts))
            .min(self.max_delay)
            .max(time);
        let delay = time + (longest - time).mul_f64(outage.jitter);
        let retry_after = outage.retry_after.unwrap_or_default();
        Some(delay.max(retry_after.min(self.max_reconnection_time)))
    }
}

impl Default for Reconnect {
    fn default() -> Self {
        Self::off()
    }
}

/// The wait that a `Retry-After` asks for: seconds, or a date, of which nothing is left once it
/// has passed. `None` if it is neither.
///
/// Spec: [RFC 9110, section 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3).
pub(crate) fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim_matches([' ', '\t']);
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // As many digits as overflow are a long time, to which others can still be added.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)).min(FOR_EVER));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    const OUTAGE: Outage = Outage {
        attempt: 1,
        opened_before: true,
        server_time: None,
        retry_after: None,
        jitter: 0.0,
    };

    #[test]
    fn off_never_tries() {
        assert_eq!(Reconnect::default().delay(OUTAGE), None);
    }

    #[test]
    fn fixed_counts_attempts_and_always_waits_the_same() {
        let reconnect = Reconnect::fixed(2, SECOND);
        let at = |attempt| Outage {
            attempt,
            jitter: 0.9,
            ..OUTAGE
        };
        assert_eq!(reconnect.delay(at(1)), Some(SECOND));
        assert_eq!(reconnect.delay(at(2)), Some(SECOND));
        assert_eq!(reconnect.delay(at(3)), None);
        let first = Outage {
            opened_before: false,
            ..OUTAGE
        };
        assert_eq!(reconnect.delay(first), None);
        assert_eq!(
            reconnect.retry_first_connection(true).delay(first),
            Some(SECOND)
        );
    }

    #[test]
    fn standard_waits_longer_only_after_failed_attempts() {
        let reconnect = Reconnect::standard().reconnection_time(SECOND);
        let delay = |attempt, jitter| {
            let outage = Outage {
                attempt,
                jitter,
                opened_before: false,
                ..OUTAGE
            };
            reconnect.delay(outage).unwrap().as_secs_f64()
        };
        assert_eq!(delay(1, 0.5), 1.0);
        assert_eq!(delay(2, 0.0), 1.0);
        assert_eq!(delay(2, 0.5), 1.5);
        assert_eq!(delay(4, 0.5), 4.5);
        assert_eq!(delay(100, 0.5), 15.5);
        assert_eq!(delay(u32::MAX, 0.0), 1.0);
    }

    #[test]
    fn a_zero_of_the_callers_grows_after_failed_attempts() {
        let reconnect = Reconnect::standard().reconnection_time(Duration::ZERO);
        let delay = |attempt| {
            let outage = Outage {
                attempt,
                jitter: 0.5,
                ..OUTAGE
            };
            reconnect.delay(outage).unwrap()
        };
        assert_eq!(delay(1), Duration::ZERO);
        assert_eq!(delay(2), RECONNECTION_FLOOR);
        assert_eq!(delay(3), 2 * RECONNECTION_FLOOR);
        assert_eq!(delay(100), MAX_RECONNECTION_DELAY / 2);
        let fixed = Reconnect::fixed(5, Duration::ZERO);
        let outage = Outage {
            attempt: 3,
            jitter: 0.9,
            ..OUTAGE
        };
        assert_eq!(fixed.delay(outage), Some(Duration::ZERO));
    }

    #[test]
    fn a_servers_time_is_kept_within_limits_and_a_callers_is_obeyed() {
        let reconnect = Reconnect::standard().reconnection_time(Duration::ZERO);
        let delay = |server_time| {
            reconnect.delay(Outage {
                server_time,
                ..OUTAGE
            })
        };
        assert_eq!(delay(None), Some(Duration::ZERO));
        assert_eq!(delay(Some(Duration::ZERO)), Some(RECONNECTION_FLOOR));
        assert_eq!(delay(Some(Duration::MAX)), Some(RECONNECTION_CEILING));
        assert_eq!(
            delay(Some(10 * MAX_RECONNECTION_DELAY)),
            Some(10 * MAX_RECONNECTION_DELAY)
        );
        let none = reconnect.max_reconnection_time(Duration::ZERO);
        let outage = Outage {
            server_time: Some(SECOND),
            ..OUTAGE
        };
        assert_eq!(none.delay(outage), Some(RECONNECTION_FLOOR));
    }

    #[test]
    fn retry_after_only_lengthens_the_wait() {
        let reconnect = Reconnect::fixed(1, SECOND);
        let delay = |retry_after| {
            reconnect.delay(Outage {
                retry_after: Some(retry_after),
                ..OUTAGE
            })
        };
        assert_eq!(delay(Duration::ZERO), Some(SECOND));
        assert_eq!(delay(5 * SECOND), Some(5 * SECOND));
        assert_eq!(delay(Duration::MAX), Some(RECONNECTION_CEILING));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let check = |value: &str, seconds: Option<u64>| {
            assert_eq!(
                parse_retry_after(value, now),
                seconds.map(Duration::from_secs),
                "{value:?}"
            );
        };
        check("120", Some(120));
        check(" 0 ", Some(0));
        check("99999999999999999999999", Some(FOR_EVER.as_secs()));
        check("Sun, 06 Nov 1994 08:49:47 GMT", Some(10));
        check("Sunday, 06-Nov-94 08:49:47 GMT", Some(10));
        check("Sun Nov  6 08:49:37 1994", Some(0));
        check("Sun, 06 Nov 1994 08:49:07 GMT", Some(0));
        for value in ["", "-1", "+1", "1.5", "soon", "Sun, 06 Nov 1994"] {
            check(value, None);
        }
    }
}
