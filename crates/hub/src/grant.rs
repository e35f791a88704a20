//! Owns `Grant`: what somebody may hear, and until when.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tidings_proto::{Event, EventName};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::{Error, Pattern};

/// The name of the last event of who lost a grant.
pub(crate) const CLOSED: EventName = EventName::from_static("closed");

/// Which channels somebody may hear, and until when.
///
/// Made by whoever checked a token or a session, and given to a
/// [`Subscription`](crate::Subscription::grant): one that asks for more is refused, and what was granted
/// is all that it hears, replayed or live. When the grant expires or is revoked the subscription ends
/// with the event `closed`, whose data is `{"reason":"expired"}` or `{"reason":"revoked"}`.
///
/// Clones are one grant.
///
/// ```
/// use std::time::Duration;
/// use tidings_hub::{Event, Grant, Hub};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::in_memory();
/// let grant = Grant::new(["news", "users/17/*"])?.expires_in(Duration::from_secs(3600));
/// let subscription = hub.subscribe("users/17/orders").grant(&grant);
/// # drop(subscription);
/// // The user signs out: all that was subscribed to under it ends.
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

/// Why a grant is none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lapse {
    Expired,
    Revoked,
}

impl Grant {
    /// A grant of the channels that these names and patterns mean, until it is revoked.
    ///
    /// # Errors
    /// [`Error::Name`] if one of them is none.
    pub fn new<P>(patterns: impl IntoIterator<Item = P>) -> Result<Self, Error>
    where
        P: AsRef<str>,
    {
        let parsed = patterns.into_iter().map(|text| Pattern::new(text.as_ref()));
        Ok(Self {
            patterns: parsed.collect::<Result<_, _>>()?,
            expires_at: None,
            revoked: Arc::new(watch::Sender::new(false)),
        })
    }

    /// Expires this long from now.
    #[must_use]
    pub fn expires_in(mut self, time: Duration) -> Self {
        // What no clock reaches is no end.
        self.expires_at = Instant::now().checked_add(time);
        self
    }

    /// Expires at this time, such as a token says. What the clock is set to later moves it no more.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "tokens speak of wall time")]
    pub fn expires_at(self, time: SystemTime) -> Self {
        let left = time.duration_since(SystemTime::now());
        self.expires_in(left.unwrap_or_default())
    }

    /// Takes it back: whoever hears something under it, or a clone, hears `closed`.
    pub fn revoke(&self) {
        self.revoked.send_replace(true);
    }

    /// Whether all channels that the pattern means are granted now.
    #[must_use]
    pub fn allows(&self, pattern: &Pattern) -> bool {
        self.lapsed().is_none() && self.patterns.iter().any(|granted| granted.covers(pattern))
    }

    fn lapsed(&self) -> Option<Lapse> {
        if *self.revoked.borrow() {
            return Some(Lapse::Revoked);
        }
        let is_expired = self.expires_at.is_some_and(|at| at <= Instant::now());
        is_expired.then_some(Lapse::Expired)
    }

    /// Waits until it is none any more.
    pub(crate) fn lapse(&self) -> Pin<Box<dyn Future<Output = Lapse> + Send>> {
        let mut revoked = self.revoked.subscribe();
        let expires_at = self.expires_at;
        // Held, so that one that everybody else has dropped still expires.
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
    /// The last event of who hears no more.
    pub(crate) fn to_event(self) -> Event {
        let reason = match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        };
        Event::new(format!("{{\"reason\":\"{reason}\"}}")).event(CLOSED)
    }
}
