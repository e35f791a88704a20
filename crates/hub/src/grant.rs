//! `Grant`: the channels that a client may subscribe to, and until when.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use tidings_proto::{Event, EventName};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use crate::clock::wall_time;
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
/// A grant expires on time even if the machine was suspended meanwhile: at the latest 1 s after it runs
/// again, and before the next event.
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
    /// `None`: all channels.
    patterns: Option<Arc<[Pattern]>>,
    expiry: Expiry,
    revoked: Arc<watch::Sender<bool>>,
}

/// When a grant expires: as soon as one of the two clocks says so, because tokio's stops while the machine is
/// suspended, and the wall clock may be set back. `None`: never.
#[derive(Debug, Clone, Copy, Default)]
struct Expiry {
    time: Option<Instant>,
    wall_time: Option<SystemTime>,
}

impl Expiry {
    fn has_come(self) -> bool {
        self.time.is_some_and(|at| at <= Instant::now()) || self.has_come_on_the_wall()
    }

    fn has_come_on_the_wall(self) -> bool {
        self.wall_time.is_some_and(|at| at <= wall_time())
    }

    /// Waits for the expiry on tokio's clock.
    async fn come(self) {
        match self.time {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
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
        let patterns = patterns.into_patterns()?;
        Ok(Self {
            patterns: Some(patterns.into()),
            ..Self::all()
        })
    }

    /// A grant for all channels, valid until it is revoked. No list of patterns selects all of them.
    #[must_use]
    pub fn all() -> Self {
        Self {
            patterns: None,
            expiry: Expiry::default(),
            revoked: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Sets how long the grant is valid from now on, in time that includes suspension of the machine.
    /// Default: until it is revoked.
    ///
    /// If the system clock is set forward, the grant expires earlier by as much. If it is set back, the grant
    /// still expires after this time.
    #[must_use]
    pub fn expires_in(mut self, time: Duration) -> Self {
        // A time that the clock cannot represent never comes.
        self.expiry = Expiry {
            time: Instant::now().checked_add(time),
            wall_time: wall_time().checked_add(time),
        };
        self
    }

    /// Sets when the grant expires, for example the expiry of a token. Default: never.
    ///
    /// If the system clock is set back later, the grant still expires when the time has passed that was left
    /// at this call.
    #[must_use]
    pub fn expires_at(mut self, time: SystemTime) -> Self {
        let left = time.duration_since(wall_time()).unwrap_or_default();
        self.expiry = Expiry {
            time: Instant::now().checked_add(left),
            wall_time: Some(time),
        };
        self
    }

    /// Revokes the grant and its clones: each subscription under it delivers `closed` and ends.
    pub fn revoke(&self) {
        self.revoked.send_replace(true);
    }

    /// Whether the grant has neither expired nor been revoked.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.lapsed().is_none()
    }

    /// Whether the grant is valid and covers every channel that the pattern selects.
    #[must_use]
    pub fn allows(&self, pattern: &Pattern) -> bool {
        self.is_valid() && self.covers(pattern)
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
        let Some(patterns) = &self.patterns else {
            return true;
        };
        patterns.iter().any(|granted| granted.covers(pattern))
    }

    fn lapsed(&self) -> Option<Lapse> {
        if *self.revoked.borrow() {
            return Some(Lapse::Revoked);
        }
        self.expiry.has_come().then_some(Lapse::Expired)
    }

    /// Waits until the grant expires or is revoked. `woken` is notified after the machine was suspended. The
    /// wall clock is read at each poll too, so that no event is delivered after the expiry.
    pub(crate) fn lapse(&self, woken: &Arc<Notify>) -> Pin<Box<dyn Future<Output = Lapse> + Send>> {
        let mut revoked = self.revoked.subscribe();
        let (expiry, woken) = (self.expiry, Arc::clone(woken));
        // Held by the future, so that a grant whose last handle was dropped still expires.
        let held = Arc::clone(&self.revoked);
        let mut waits = Box::pin(async move {
            let expired = async {
                tokio::select! {
                    () = expiry.come() => {}
                    never = poll_again(&woken) => match never {},
                }
            };
            let lapse = tokio::select! {
                biased;
                _ = revoked.wait_for(|&is_revoked| is_revoked) => Lapse::Revoked,
                () = expired => Lapse::Expired,
            };
            drop(held);
            lapse
        });
        if expiry.wall_time.is_none() {
            return waits;
        }
        Box::pin(poll_fn(move |cx| match waits.as_mut().poll(cx) {
            Poll::Pending if expiry.has_come_on_the_wall() => Poll::Ready(Lapse::Expired),
            polled => polled,
        }))
    }
}

/// Has its task poll again at each notification.
async fn poll_again(woken: &Notify) -> Infallible {
    loop {
        woken.notified().await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::tests::shift;
    use crate::{Hub, SubscriptionStream};

    const HOUR: i64 = 3_600;

    fn granted(hub: &Hub, seconds: u64) -> SubscriptionStream {
        let grant = Grant::new(["a"]).unwrap();
        let grant = grant.expires_in(Duration::from_secs(seconds));
        hub.subscribe("a").grant(&grant).resume_after(None)
    }

    async fn next(stream: &mut SubscriptionStream) -> String {
        let events = stream.next().await.unwrap().unwrap().to_events();
        events[0].text().to_owned()
    }

    const EXPIRED: &str = r#"{"reason":"expired"}"#;

    #[tokio::test(start_paused = true)]
    async fn an_idle_subscription_expires_within_a_second_after_the_machine_was_suspended() {
        let hub = Hub::in_memory();
        let mut idle = granted(&hub, 3_600);
        let (start, suspended) = (Instant::now(), Duration::from_secs(60));
        let machine = async {
            tokio::time::sleep(suspended).await;
            shift(HOUR);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            text = next(&mut idle) => assert_eq!(text, EXPIRED),
            () = machine => unreachable!("it is suspended once"),
        }
        let late = start.elapsed() - suspended;
        assert!(late <= Duration::from_secs(1), "{late:?}");
        assert!(idle.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn no_event_is_delivered_after_the_expiry() {
        let hub = Hub::in_memory();
        let mut stream = granted(&hub, 3_600);
        hub.publish("a", Event::new("1")).await.unwrap();
        assert_eq!(next(&mut stream).await, "1");
        hub.publish("a", Event::new("2")).await.unwrap();
        shift(HOUR);
        assert_eq!(next(&mut stream).await, EXPIRED);
        assert!(granted(&hub, 0).next().await.unwrap().is_err());
        let grant = Grant::new(["a"])
            .unwrap()
            .expires_in(Duration::from_secs(5));
        assert!(grant.lapsed().is_none());
        shift(HOUR);
        assert_eq!(grant.lapsed(), Some(Lapse::Expired));
    }

    #[tokio::test(start_paused = true)]
    async fn a_grant_for_all_channels_expires_and_is_revoked_too() {
        let hub = Hub::in_memory();
        let grant = Grant::all().expires_in(Duration::from_secs(60));
        for text in ["a", "a/b/*"] {
            let pattern = Pattern::from_static(text);
            assert!(grant.allows(&pattern));
            assert!(!Grant::new([""; 0]).unwrap().allows(&pattern));
        }
        let mut stream = hub.subscribe("a").grant(&grant).resume_after(None);
        hub.publish("a", Event::new("1")).await.unwrap();
        assert_eq!(next(&mut stream).await, "1");
        assert!(grant.is_valid());
        assert_eq!(next(&mut stream).await, EXPIRED);
        let revoked = Grant::all();
        revoked.revoke();
        for grant in [grant, revoked] {
            assert!(!grant.is_valid() && !grant.allows(&Pattern::from_static("a")));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_is_set_back_prolongs_no_grant() {
        let hub = Hub::in_memory();
        let until = wall_time() + Duration::from_secs(60);
        let grant = Grant::new(["a"]).unwrap().expires_at(until);
        let mut stream = hub.subscribe("a").grant(&grant).resume_after(None);
        let start = Instant::now();
        shift(-24 * HOUR);
        assert_eq!(next(&mut stream).await, EXPIRED);
        assert_eq!(start.elapsed().as_secs(), 60);
    }
}
