//! Owns `Reconnect`: whether and when a client that lost its connection tries again.

use std::time::Duration;

/// The reconnection time before the server names one: 3 s.
///
/// The standard leaves it to the client, "probably in the region of a few seconds".
pub const RECONNECTION_TIME: Duration = Duration::from_secs(3);

/// The least a server's `retry` is taken for: 200 ms. A server that closes at once and says
/// `retry: 0` would otherwise be asked as fast as the network allows.
pub const RECONNECTION_FLOOR: Duration = Duration::from_millis(200);

/// Whether and when to connect again after a network error or the end of a stream.
///
/// The wait is the reconnection time: that of the policy until the server sends `retry`, which is
/// never taken for less than [`RECONNECTION_FLOOR`]; a zero of the caller's own is obeyed. Attempts
/// count per outage: a connection that opens begins again at none. A refusal (any status but 200
/// and 204, or another media type) is never repeated.
///
/// Spec: [reestablish the connection](https://html.spec.whatwg.org/multipage/server-sent-events.html#reestablish-the-connection).
#[doc(alias = "maxReconnectionAttempts")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconnect {
    /// Most attempts in one outage; `None` is for ever.
    max_attempts: Option<u32>,
    reconnection_time: Duration,
    covers_first_connection: bool,
}

impl Reconnect {
    /// Never: a stream that ends is over, and a connection that breaks is an error. The default.
    #[must_use]
    pub const fn off() -> Self {
        Self {
            max_attempts: Some(0),
            reconnection_time: RECONNECTION_TIME,
            covers_first_connection: false,
        }
    }

    /// At most this many attempts in one outage, this long after each loss. The first connection
    /// must succeed.
    #[must_use]
    pub const fn fixed(attempts: u32, delay: Duration) -> Self {
        Self {
            max_attempts: Some(attempts),
            reconnection_time: delay,
            covers_first_connection: false,
        }
    }

    /// For ever, as a browser does, from the first connection on; 3 s until the server names
    /// another time.
    #[must_use]
    pub const fn standard() -> Self {
        Self {
            max_attempts: None,
            reconnection_time: RECONNECTION_TIME,
            covers_first_connection: true,
        }
    }

    /// The same policy with this reconnection time until the server names another.
    #[doc(alias = "reconnectionTime")]
    #[must_use]
    pub const fn reconnection_time(mut self, time: Duration) -> Self {
        self.reconnection_time = time;
        self
    }

    /// Whether a first connection that fails is tried again; `true` only under
    /// [`Reconnect::standard`].
    #[must_use]
    pub const fn retry_first_connection(mut self, retry: bool) -> Self {
        self.covers_first_connection = retry;
        self
    }

    /// How long to wait before this attempt, counted from 1; `None` if it is not to be made.
    pub(crate) fn delay(
        &self,
        attempt: u32,
        opened_before: bool,
        server_time: Option<Duration>,
    ) -> Option<Duration> {
        let allowed = self.max_attempts.is_none_or(|most| attempt <= most)
            && (opened_before || self.covers_first_connection);
        allowed.then(|| match server_time {
            Some(time) => time.max(RECONNECTION_FLOOR),
            None => self.reconnection_time,
        })
    }
}

impl Default for Reconnect {
    fn default() -> Self {
        Self::off()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn off_never_tries() {
        assert_eq!(Reconnect::default().delay(1, true, Some(SECOND)), None);
    }

    #[test]
    fn fixed_counts_attempts() {
        let reconnect = Reconnect::fixed(2, SECOND);
        assert_eq!(reconnect.delay(2, true, None), Some(SECOND));
        assert_eq!(reconnect.delay(3, true, None), None);
        assert_eq!(reconnect.delay(1, false, None), None);
    }

    #[test]
    fn standard_tries_for_ever() {
        assert_eq!(
            Reconnect::standard().delay(u32::MAX, false, None),
            Some(RECONNECTION_TIME)
        );
    }

    #[test]
    fn a_servers_zero_is_raised_and_a_callers_is_obeyed() {
        let reconnect = Reconnect::standard().reconnection_time(Duration::ZERO);
        assert_eq!(
            reconnect.delay(1, true, Some(Duration::ZERO)),
            Some(RECONNECTION_FLOOR)
        );
        assert_eq!(reconnect.delay(1, true, None), Some(Duration::ZERO));
    }
}
