//! Owns `Heartbeat`: what a server sends so that a quiet connection is seen to be alive.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::instant::after;
use crate::{EncodedEvents, Event};

/// The shortest period: 1 ms, the grain of the timers that serve it.
const SHORTEST: Duration = Duration::from_millis(1);

/// An event sent again and again while a session is open.
///
/// By default a comment `heartbeat` after every 15 s in which nothing else was sent: enough for the
/// proxies that cut what is quiet for 30 or 60 s, and invisible to `EventSource`.
///
/// ```
/// use std::time::Duration;
/// use tidings_proto::{Event, Heartbeat};
///
/// let ktors = Heartbeat::every(Duration::from_millis(10)).event(Event::new("heartbeat")).always();
/// ```
#[doc(alias = "heartbeat")]
#[doc(alias = "KeepAlive")]
#[derive(Debug, Clone)]
pub struct Heartbeat {
    period: Duration,
    always: bool,
    beat: HeartbeatEvent,
}

impl Heartbeat {
    /// A comment `heartbeat` after each period of quiet. A period under 1 ms is 1 ms.
    #[must_use]
    pub fn every(period: Duration) -> Self {
        Self {
            period: period.max(SHORTEST),
            always: false,
            beat: HeartbeatEvent(Source::Event(Event::comment("heartbeat").encode())),
        }
    }

    /// Sends this event in place of the comment.
    #[must_use]
    pub fn event(mut self, event: impl Into<EncodedEvents>) -> Self {
        self.beat = HeartbeatEvent(Source::Event(event.into()));
        self
    }

    /// Sends in its place what this returns, asked anew for each beat; nothing if that is empty.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use tidings_proto::{Event, Heartbeat};
    ///
    /// let beats = AtomicU64::new(0);
    /// let counted = Heartbeat::default().with(move || {
    ///     Event::new(beats.fetch_add(1, Ordering::Relaxed).to_string())
    /// });
    /// ```
    #[must_use]
    pub fn with<E: Into<EncodedEvents>>(
        mut self,
        provider: impl Fn() -> E + Send + Sync + 'static,
    ) -> Self {
        self.beat = HeartbeatEvent(Source::Provider(Arc::new(move || provider().into())));
        self
    }

    /// Sends it once a period whatever else is sent, as Ktor does.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.always = true;
        self
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self::every(Duration::from_secs(15))
    }
}

/// What a heartbeat sends when it is due.
#[derive(Debug, Clone)]
pub struct HeartbeatEvent(Source);

#[derive(Clone)]
enum Source {
    Event(EncodedEvents),
    Provider(Arc<dyn Fn() -> EncodedEvents + Send + Sync>),
}

impl HeartbeatEvent {
    /// The event, which a provider makes now.
    #[must_use]
    pub fn encode(&self) -> EncodedEvents {
        match &self.0 {
            Source::Event(event) => event.clone(),
            Source::Provider(provider) => provider(),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => event.fmt(f),
            Self::Provider(_) => f.write_str("Provider"),
        }
    }
}

/// A heartbeat that runs.
#[derive(Debug)]
pub(crate) struct Pulse {
    heartbeat: Heartbeat,
    due: Instant,
    last_sent: Instant,
}

impl Pulse {
    pub(crate) fn new(heartbeat: Heartbeat, now: Instant) -> Self {
        Self {
            due: after(now, heartbeat.period),
            last_sent: now,
            heartbeat,
        }
    }

    /// Something was sent. Moves no timer: that is done when it fires, so that events cost nothing.
    pub(crate) fn handle_sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    pub(crate) fn into_heartbeat(self) -> Heartbeat {
        self.heartbeat
    }

    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// What is due by now.
    pub(crate) fn poll_heartbeat(&mut self, now: Instant) -> Option<HeartbeatEvent> {
        if now < self.due {
            return None;
        }
        let Heartbeat {
            period,
            always,
            beat,
        } = &self.heartbeat;
        let quiet_until = after(self.last_sent, *period);
        if !always && quiet_until > now {
            self.due = quiet_until;
            return None;
        }
        // Beats that were missed are not made up for.
        let next = after(self.due, *period);
        self.due = if *always && next > now {
            next
        } else {
            after(now, *period)
        };
        self.last_sent = now;
        Some(beat.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The milliseconds at which a heartbeat of 10 ms beats while something is sent at `sent`.
    fn beats(always: bool, sent: &[u64]) -> Vec<u64> {
        #[allow(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        let heartbeat = Heartbeat::every(Duration::from_millis(10));
        let heartbeat = if always {
            heartbeat.always()
        } else {
            heartbeat
        };
        let mut pulse = Pulse::new(heartbeat, start);
        let mut beats = Vec::new();
        for millis in 0..=50 {
            let now = start + Duration::from_millis(millis);
            if sent.contains(&millis) {
                pulse.handle_sent(now);
            }
            if pulse.poll_heartbeat(now).is_some() {
                beats.push(millis);
            }
        }
        beats
    }

    #[test]
    fn it_beats_after_quiet_only() {
        assert_eq!(beats(false, &[]), [10, 20, 30, 40, 50]);
        assert_eq!(beats(false, &[5, 12, 19]), [29, 39, 49]);
    }

    #[test]
    fn a_provider_is_asked_for_each_beat() {
        let asked = std::sync::atomic::AtomicU32::new(0);
        let heartbeat = Heartbeat::default().with(move || {
            Event::new(
                asked
                    .fetch_add(1, std::sync::atomic::Ordering::Relaxed)
                    .to_string(),
            )
        });
        let beats = [heartbeat.beat.encode(), heartbeat.clone().beat.encode()];
        assert_eq!(
            beats.map(EncodedEvents::into_bytes),
            ["data: 0\n\n", "data: 1\n\n"]
        );
    }

    #[test]
    fn a_period_that_no_clock_reaches_never_beats() {
        #[allow(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        let mut pulse = Pulse::new(Heartbeat::every(Duration::MAX).always(), start);
        assert!(
            pulse
                .poll_heartbeat(start + Duration::from_secs(1 << 30))
                .is_none()
        );
    }

    #[test]
    fn always_beats_whatever_is_sent() {
        assert_eq!(beats(true, &[5, 12, 19]), [10, 20, 30, 40, 50]);
    }
}
