//! The `Reconnect` policy: whether and when to reconnect.

use std::time::{Duration, SystemTime};

use crate::instant::MAX_WAIT;

/// The reconnection time before the server sends one: 3 s.
///
/// The standard leaves the number to the client, "probably in the region of a few seconds".
pub const RECONNECTION_TIME: Duration = Duration::from_secs(3);

/// The minimum of a server's `retry`: 200 ms. A shorter one counts as this.
///
/// Otherwise a server that closes each connection and sends `retry: 0` would receive requests as
/// fast as the network allows.
pub const RECONNECTION_FLOOR: Duration = Duration::from_millis(200);

/// The default maximum of a server's `retry` and `Retry-After`: 1 h. See
/// [`Reconnect::max_reconnection_time`].
pub const RECONNECTION_CEILING: Duration = Duration::from_secs(60 * 60);

/// The default maximum wait between failed attempts: 30 s. See [`Reconnect::max_delay`].
pub const MAX_RECONNECTION_DELAY: Duration = Duration::from_secs(30);

/// Whether and when to reconnect after a network error or the end of a stream.
///
/// Such a loss begins an outage. An attempt succeeds, and ends the outage, when an event, an ID or a
/// comment arrives. A response head or a `retry` alone is no success: a server that answers "come back
/// later" by a stream of one `retry` counts as a failed attempt, and its time is obeyed.
///
/// The first attempt of an outage waits for the reconnection time: that of the policy until the server
/// sends `retry`. Each failed attempt may lengthen the wait before the next one, with jitter, so that
/// the clients of a restarted server do not all reconnect at once.
///
/// | policy | attempts in one outage | first connection | refusals |
/// | --- | --- | --- | --- |
/// | [`off`](Self::off), the default | none | must succeed | end the session |
/// | [`fixed(n, time)`](Self::fixed) | `n` | must succeed | end the session |
/// | [`standard`](Self::standard) | no limit | is retried | end the session |
/// | [`persistent`](Self::persistent) | no limit | is retried | are retried if they may be temporary |
///
/// A refusal is any status other than 200 and 204, or another media type than `text/event-stream`. The
/// first connection has succeeded with the head of a stream, as `open` returns then; a stream that ends
/// without an event after it is a failed attempt like any other.
///
/// After the last attempt the session fails, also if the last stream ended cleanly. Only under
/// [`off`](Self::off) is a clean end the regular end of the session.
///
/// ```
/// use std::time::Duration;
/// use tidings_proto::Reconnect;
///
/// let patient = Reconnect::standard().max_delay(Duration::from_secs(300));
/// let like_ktor = Reconnect::fixed(4, Duration::from_secs(2));
/// ```
///
/// Spec: [reestablish the connection](https://html.spec.whatwg.org/multipage/server-sent-events.html#reestablish-the-connection).
#[doc(alias = "backoff")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconnect {
    /// `None` is no limit.
    max_attempts: Option<u32>,
    covers_first_connection: bool,
    retries_refusals: bool,
    reconnection_time: Duration,
    max_reconnection_time: Duration,
    multiplier: u32,
    max_delay: Duration,
    stable_after: Duration,
}

/// The facts on which the policy decides about the next attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NextAttempt {
    /// Its number in this outage, counted from 1.
    pub(crate) number: u32,
    /// Whether a connection of the session was open at any time.
    pub(crate) opened_before: bool,
    /// The server's `retry`.
    pub(crate) server_time: Option<Duration>,
    /// The `Retry-After` of the last response.
    pub(crate) retry_after: Option<Duration>,
    /// Random: at least 0 and less than 1.
    pub(crate) jitter: f64,
}

impl Reconnect {
    /// Never reconnects. The end of a stream ends the session, and a cut fails it. The default.
    #[must_use]
    pub const fn off() -> Self {
        Self::fixed(0, RECONNECTION_TIME)
    }

    /// At most this many attempts in one outage, each after this wait. The first connection must
    /// succeed.
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

    /// Reconnects without a limit, as a browser does, and retries the first connection too.
    ///
    /// Waits 3 s until the server sends another time, and up to 30 s after failed attempts. A
    /// refusal ends the session.
    #[must_use]
    pub const fn standard() -> Self {
        Self {
            max_attempts: None,
            covers_first_connection: true,
            multiplier: 2,
            ..Self::fixed(0, RECONNECTION_TIME)
        }
    }

    /// [`standard`](Self::standard), and also retries a refusal that may be temporary: the statuses
    /// 408, 425, 429 and 5xx, after their `Retry-After`.
    ///
    /// This suits a client that runs for months. Any other refusal still ends the session.
    ///
    /// Differs from the standard: there, each refusal is final.
    #[must_use]
    pub const fn persistent() -> Self {
        Self::standard().retry_refusals(true)
    }

    /// The maximum attempts in one outage. After the last one the session fails. With 0, a clean end is
    /// the regular end of the session. Default: that of the policy.
    #[doc(alias = "maxReconnectionAttempts")]
    #[must_use]
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Whether a first connection that fails is retried. Default: that of the policy.
    #[must_use]
    pub const fn retry_first_connection(mut self, retry: bool) -> Self {
        self.covers_first_connection = retry;
        self
    }

    /// Whether a refusal that may be temporary is retried, as a failed attempt: the statuses 408,
    /// 425, 429 and 5xx. A `Retry-After` can lengthen the wait. Default: that of the policy.
    ///
    /// Differs from the standard: there, each refusal is final.
    #[must_use]
    pub const fn retry_refusals(mut self, retry: bool) -> Self {
        self.retries_refusals = retry;
        self
    }

    /// The reconnection time until the server sends another. Default: 3 s, or the delay of
    /// [`fixed`](Self::fixed).
    ///
    /// A zero is obeyed, unlike one from the server.
    #[must_use]
    pub const fn reconnection_time(mut self, time: Duration) -> Self {
        self.reconnection_time = time;
        self
    }

    /// The maximum of a server's `retry` and `Retry-After`. Default: 1 h. A longer one counts as
    /// this.
    #[must_use]
    pub const fn max_reconnection_time(mut self, time: Duration) -> Self {
        self.max_reconnection_time = time;
        self
    }

    /// The factor by which each failed attempt may lengthen the wait. Default: 2 under
    /// [`standard`](Self::standard) and [`persistent`](Self::persistent), otherwise 1.
    ///
    /// The wait before attempt *n* is random between the reconnection time and that time multiplied
    /// by the factor to the power of *n* − 1, at most [`max_delay`](Self::max_delay). After a failed
    /// attempt, a reconnection time under [`RECONNECTION_FLOOR`] grows from that floor.
    #[must_use]
    pub const fn multiplier(mut self, multiplier: u32) -> Self {
        self.multiplier = multiplier;
        self
    }

    /// The maximum wait that failed attempts can lead to. Default: 30 s.
    ///
    /// It does not shorten a reconnection time or a `Retry-After`.
    #[must_use]
    pub const fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// The time that a connection must stay open to end an outage, beside an event, an ID or a comment
    /// that it must send. Default: zero.
    ///
    /// A server may greet each connection and drop it soon. With a time here, the waits grow then
    /// too, and [`max_attempts`](Self::max_attempts) applies.
    #[must_use]
    pub const fn stable_after(mut self, time: Duration) -> Self {
        self.stable_after = time;
        self
    }

    /// Whether a connection that was open for this long ends the outage.
    pub(crate) fn is_stable(&self, open_for: Duration) -> bool {
        open_for >= self.stable_after
    }

    /// Whether the policy allows any attempt.
    pub(crate) fn reconnects(&self) -> bool {
        self.max_attempts != Some(0)
    }

    pub(crate) fn retries_refusals(&self) -> bool {
        self.retries_refusals
    }

    /// Whether a loss may be retried: always after a first open connection, otherwise if the policy
    /// covers that too.
    pub(crate) fn covers(&self, opened_before: bool) -> bool {
        opened_before || self.covers_first_connection
    }

    /// The reconnection time: the server's within the limits, otherwise that of the policy.
    pub(crate) fn time(&self, server_time: Option<Duration>) -> Duration {
        match server_time {
            Some(time) => time.min(self.max_reconnection_time).max(RECONNECTION_FLOOR),
            None => self.reconnection_time,
        }
    }

    /// The wait before this attempt. `None` if the policy does not allow it.
    pub(crate) fn delay(&self, next: NextAttempt) -> Option<Duration> {
        let allowed = self.max_attempts.is_none_or(|most| next.number <= most)
            && self.covers(next.opened_before);
        if !allowed {
            return None;
        }
        let time = self.time(next.server_time);
        let failed_attempts = next.number.saturating_sub(1);
        // Even a zero from the caller grows. Otherwise a client would send requests without a pause
        // to a server that is down.
        let growing = if failed_attempts > 0 && self.multiplier > 1 {
            time.max(RECONNECTION_FLOOR)
        } else {
            time
        };
        let longest = growing
            .saturating_mul(self.multiplier.saturating_pow(failed_attempts))
            .min(self.max_delay)
            .max(time);
        let delay = time + (longest - time).mul_f64(next.jitter);
        let retry_after = next.retry_after.unwrap_or_default();
        Some(delay.max(retry_after.min(self.max_reconnection_time)))
    }
}

impl Default for Reconnect {
    fn default() -> Self {
        Self::off()
    }
}

/// The wait that a `Retry-After` asks for: seconds, or the time until a date, zero once the date has
/// passed. `None` if it is neither.
///
/// Spec: [RFC 9110, section 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3).
#[must_use]
pub fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim_matches([' ', '\t']);
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that overflows is a long time, to which other times can still be added.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)).min(MAX_WAIT));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    const NEXT: NextAttempt = NextAttempt {
        number: 1,
        opened_before: true,
        server_time: None,
        retry_after: None,
        jitter: 0.0,
    };

    #[test]
    fn off_never_retries() {
        assert_eq!(Reconnect::default().delay(NEXT), None);
    }

    #[test]
    fn fixed_limits_attempts_and_always_waits_the_same() {
        let reconnect = Reconnect::fixed(2, SECOND);
        let at = |attempt| NextAttempt {
            number: attempt,
            jitter: 0.9,
            ..NEXT
        };
        assert_eq!(reconnect.delay(at(1)), Some(SECOND));
        assert_eq!(reconnect.delay(at(2)), Some(SECOND));
        assert_eq!(reconnect.delay(at(3)), None);
        let first = NextAttempt {
            opened_before: false,
            ..NEXT
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
            let next = NextAttempt {
                number: attempt,
                jitter,
                opened_before: false,
                ..NEXT
            };
            reconnect.delay(next).unwrap().as_secs_f64()
        };
        assert_eq!(delay(1, 0.5), 1.0);
        assert_eq!(delay(2, 0.0), 1.0);
        assert_eq!(delay(2, 0.5), 1.5);
        assert_eq!(delay(4, 0.5), 4.5);
        assert_eq!(delay(100, 0.5), 15.5);
        assert_eq!(delay(u32::MAX, 0.0), 1.0);
    }

    #[test]
    fn a_zero_from_the_caller_grows_after_failed_attempts() {
        let reconnect = Reconnect::standard().reconnection_time(Duration::ZERO);
        let delay = |attempt| {
            let next = NextAttempt {
                number: attempt,
                jitter: 0.5,
                ..NEXT
            };
            reconnect.delay(next).unwrap()
        };
        assert_eq!(delay(1), Duration::ZERO);
        assert_eq!(delay(2), RECONNECTION_FLOOR);
        assert_eq!(delay(3), 2 * RECONNECTION_FLOOR);
        assert_eq!(delay(100), MAX_RECONNECTION_DELAY / 2);
        let fixed = Reconnect::fixed(5, Duration::ZERO);
        let next = NextAttempt {
            number: 3,
            jitter: 0.9,
            ..NEXT
        };
        assert_eq!(fixed.delay(next), Some(Duration::ZERO));
    }

    #[test]
    fn a_time_from_the_server_has_limits_and_one_from_the_caller_has_none() {
        let reconnect = Reconnect::standard().reconnection_time(Duration::ZERO);
        let delay = |server_time| {
            reconnect.delay(NextAttempt {
                server_time,
                ..NEXT
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
        let next = NextAttempt {
            server_time: Some(SECOND),
            ..NEXT
        };
        assert_eq!(none.delay(next), Some(RECONNECTION_FLOOR));
    }

    #[test]
    fn retry_after_only_lengthens_the_wait() {
        let reconnect = Reconnect::fixed(1, SECOND);
        let delay = |retry_after| {
            reconnect.delay(NextAttempt {
                retry_after: Some(retry_after),
                ..NEXT
            })
        };
        assert_eq!(delay(Duration::ZERO), Some(SECOND));
        assert_eq!(delay(5 * SECOND), Some(5 * SECOND));
        assert_eq!(delay(Duration::MAX), Some(RECONNECTION_CEILING));
    }

    #[test]
    fn persistent_is_standard_with_refusals() {
        assert_eq!(
            Reconnect::persistent(),
            Reconnect::standard().retry_refusals(true)
        );
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
        check("99999999999999999999999", Some(MAX_WAIT.as_secs()));
        check("Sun, 06 Nov 1994 08:49:47 GMT", Some(10));
        check("Sunday, 06-Nov-94 08:49:47 GMT", Some(10));
        check("Sun Nov  6 08:49:37 1994", Some(0));
        check("Sun, 06 Nov 1994 08:49:07 GMT", Some(0));
        for value in ["", "-1", "+1", "1.5", "soon", "Sun, 06 Nov 1994"] {
            check(value, None);
        }
    }
}
