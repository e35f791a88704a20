//! `Grant`: the channels that a client may subscribe to, and until when.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tidings_proto::{Event, EventName};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::subscribe_error::SubscribeFailure;
use crate::{IntoPatterns, InvalidPattern, Pattern, SubscribeError};

/// The name of the last event of a subscription whose grant has lapsed.
pub(crate) const CLOSED: &str = "closed";

/// The channels that a client may subscribe to, until the grant expires or is revoked.
///
/// Make one after you have checked a token or a session, and give it to the
/// [`Subscription`](crate::Subscription::grant). A subscription to a channel that the grant does
/// not cover fails with 403. When the grant expires or is revoked, the subscription delivers the
/// event `closed`, whose data is `{"reason":"expired"}` or `{"reason":"revoked"}`, and ends.
///
/// Clones are the same grant: if you revoke one, you revoke all.
///
/// ```
/// use std::time::Duration;
/// use tidings_hub::{Grant, Hub};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::in_memory();
/// let grant = Grant::new(["news", "users/17/*"])?.expires_in(Duration::from_secs(3600));
/// let subscription = hub.subscribe("users/17/orders").grant(&grant);
/// # drop(subscription);
/// // The user signs out. Every subscription under this grant ends.
/// grant.revoke();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Grant {
    patterns: Arc<[Pattern]>,
    expires_at: Option<Instant>,
    revoked: Arc<watch::Sender<bool>>,
}

/// Why a grant is no longer valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lapse {
    Expired,
    Revoked,
}

impl Grant {
    /// A grant for the channels that these names and [patterns](Pattern) select, valid until it is revoked.
    ///
    /// # Errors
    /// [`InvalidPattern`] for the first text that is not a valid pattern.
    pub fn new(patterns: impl IntoPatterns) -> Result<Self, InvalidPattern> {
        Ok(Self {
            patterns: patterns.into_patterns()?.into(),
            expires_at: None,
            revoked: Arc::new(watch::Sender::new(false)),
        })
    }

    /// Sets how long the grant is valid from now on. Default: until it is revoked.
    #[must_use]
    pub fn expires_in(mut self, time: Duration) -> Self {
        // A time that the clock cannot represent never comes.
        self.expires_at = Instant::now().checked_add(time);
        self
    }

    /// Sets when the grant expires, for example the expiry of a token. Default: never.
    ///
    /// The remaining time is measured now. Later changes of the system clock do not move it.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "tokens state wall-clock time")]
    pub fn expires_at(self, time: SystemTime) -> Self {
        let left = time.duration_since(SystemTime::now());
        self.expires_in(left.unwrap_or_default())
    }

    /// Revokes the grant and its clones: each subscription under it delivers `closed` and ends.
    pub fn revoke(&self) {
        self.revoked.send_replace(true);
    }

    /// Whether the grant is valid and covers every channel that the pattern selects.
    #[must_use]
    pub fn allows(&self, pattern: &Pattern) -> bool {
        self.lapsed().is_none() && self.covers(pattern)
    }

    /// Refuses a subscription to patterns that the grant does not allow.
    pub(crate) fn check(&self, patterns: &[Pattern]) -> Result<(), SubscribeError> {
        if let Some(lapse) = self.lapsed() {
            return Err(SubscribeFailure::GrantLapsed(lapse).into());
        }
        match patterns.iter().find(|pattern| !self.covers(pattern)) {
            Some(pattern) => Err(SubscribeFailure::NotGranted(pattern.clone()).into()),
            None => Ok(()),
        }
    }

    fn covers(&self, pattern: &Pattern) -> bool {
        self.patterns.iter().any(|granted| granted.covers(pattern))
    }

    fn lapsed(&self) -> Option<Lapse> {
        if *self.revoked.borrow() {
            return Some(Lapse::Revoked);
        }
        let is_expired = self.expires_at.is_some_and(|at| at <= Instant::now());
        is_expired.then_some(Lapse::Expired)
    }

    /// Waits until the grant expires or is revoked.
    pub(crate) fn lapse(&self) -> Pin<Box<dyn Future<Output = Lapse> + Send>> {
        let mut revoked = self.revoked.subscribe();
        let expires_at = self.expires_at;
        // Held by the future, so that a grant whose last handle was dropped still expires.
        let held = Arc::clone(&self.revoked);
        Box::pin(async move {
            let expired = async {
                match expires_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let lapse = tokio::select! {
                biased;
                _ = revoked.wait_for(|&is_revoked| is_revoked) => Lapse::Revoked,
                () = expired => Lapse::Expired,
            };
            drop(held);
            lapse
        })
    }
}

impl Lapse {
    /// The last event of a subscription whose grant has lapsed.
    pub(crate) fn to_event(self) -> Event {
        let reason = match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        };
        Event::new(format!("{{\"reason\":\"{reason}\"}}"))
            .event(const { EventName::from_static(CLOSED) })
    }
}
