//! `Heartbeat`: the event or comment that a server sends on a quiet connection.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::EncodedEvents;
use crate::instant::after;

/// The minimum period: 1 ms, the resolution of timers.
const SHORTEST: Duration = Duration::from_millis(1);

/// The usual heartbeat, encoded.
const COMMENT: &[u8] = b": heartbeat\n\n";

/// An event or comment that a server sends at intervals while a session is open.
///
/// Default: the comment `heartbeat` after each 15 s in which the server sends nothing. Proxies that cut
/// connections after 30 or 60 s of silence then keep them, and an `EventSource` ignores comments.
///
/// ```
/// use std::time::Duration;
/// use tidings_proto::{Event, Heartbeat};
///
/// let beat = Event::new("heartbeat");
/// let like_ktor = Heartbeat::every(Duration::from_millis(10)).event(beat).always(true);
/// ```
#[doc(alias = "heartbeat")]
#[doc(alias = "KeepAlive")]
#[derive(Debug, Clone)]
pub struct Heartbeat {
    /// `None` if it is off.
    period: Option<Duration>,
    always: bool,
    beat: HeartbeatEvent,
}

impl Heartbeat {
    /// The comment `heartbeat` after each period of silence. A period under 1 ms counts as 1 ms.
    #[must_use]
    pub fn every(period: Duration) -> Self {
        Self {
            period: Some(period.max(SHORTEST)),
            ..Self::off()
        }
    }

    /// No heartbeat. Switches off the one that a route, or a forwarded feed, has otherwise.
    #[must_use]
    pub fn off() -> Self {
        Self {
            period: None,
            always: false,
            beat: HeartbeatEvent(None),
        }
    }

    /// The period. `None` if the heartbeat is [off](Self::off).
    #[must_use]
    pub fn period(&self) -> Option<Duration> {
        self.period
    }

    /// The event to send. Default: the comment `heartbeat`.
    #[must_use]
    pub fn event(self, event: impl Into<EncodedEvents>) -> Self {
        let event = event.into();
        self.with(move || event.clone())
    }

    /// A function that makes the event to send. It is called for each heartbeat. If its result is empty,
    /// that heartbeat sends nothing.
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
        function: impl Fn() -> E + Send + Sync + 'static,
    ) -> Self {
        self.beat = HeartbeatEvent(Some(Arc::new(move || function().into())));
        self
    }

    /// Whether a heartbeat is sent in each period, as in Ktor, even if the server sent other events.
    /// Default: `false`.
    #[must_use]
    pub fn always(mut self, always: bool) -> Self {
        self.always = always;
        self
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self::every(Duration::from_secs(15))
    }
}

/// The event of a heartbeat that is due.
// Each session has one. So it is small, and the usual one needs no memory of its own.
#[derive(Clone)]
pub struct HeartbeatEvent(Option<Arc<MakeEvent>>);

type MakeEvent = dyn Fn() -> EncodedEvents + Send + Sync;

impl HeartbeatEvent {
    /// The event. A function set by [`Heartbeat::with`] is called now.
    #[must_use]
    pub fn encode(&self) -> EncodedEvents {
        match &self.0 {
            None => EncodedEvents::from_parts(Bytes::from_static(COMMENT), None, 0),
            Some(make) => make(),
        }
    }
}

// Shows no event.
impl fmt::Debug for HeartbeatEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeartbeatEvent").finish_non_exhaustive()
    }
}

/// The heartbeat of an open session.
#[derive(Debug)]
pub(crate) struct RunningHeartbeat {
    heartbeat: Heartbeat,
    /// `None` if the heartbeat is off.
    due: Option<Instant>,
    last_sent: Instant,
}

impl RunningHeartbeat {
    pub(crate) fn new(heartbeat: Heartbeat, now: Instant) -> Self {
        Self {
            due: heartbeat.period.map(|period| after(now, period)),
            last_sent: now,
            heartbeat,
        }
    }

    /// Reports that the session sent something. It does not move the timer, so events cost nothing:
    /// a timer that fires too early is set again.
    pub(crate) fn handle_sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    pub(crate) fn into_heartbeat(self) -> Heartbeat {
        self.heartbeat
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The heartbeat, if it is due.
    pub(crate) fn poll_heartbeat(&mut self, now: Instant) -> Option<HeartbeatEvent> {
        let due = self.due.filter(|due| *due <= now)?;
        let Heartbeat {
            period,
            always,
            beat,
        } = &self.heartbeat;
        let period = (*period)?;
        let quiet_until = after(self.last_sent, period);
        if !always && quiet_until > now {
            self.due = Some(quiet_until);
            return None;
        }
        // Missed heartbeats are not sent later.
        let next = after(due, period);
        self.due = Some(if *always && next > now {
            next
        } else {
            after(now, period)
        });
        self.last_sent = now;
        Some(beat.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Event;

    /// The milliseconds at which a heartbeat of 10 ms is sent, while events are sent at `sent`.
    fn beats(always: bool, sent: &[u64]) -> Vec<u64> {
        #[allow(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        let heartbeat = Heartbeat::every(Duration::from_millis(10)).always(always);
        let mut running = RunningHeartbeat::new(heartbeat, start);
        let mut beats = Vec::new();
        for millis in 0..=50 {
            let now = start + Duration::from_millis(millis);
            if sent.contains(&millis) {
                running.handle_sent(now);
            }
            if running.poll_heartbeat(now).is_some() {
                beats.push(millis);
            }
        }
        beats
    }

    #[test]
    fn a_heartbeat_follows_only_silence() {
        assert_eq!(beats(false, &[]), [10, 20, 30, 40, 50]);
        assert_eq!(beats(false, &[5, 12, 19]), [29, 39, 49]);
    }

    #[test]
    fn a_function_is_called_for_each_heartbeat() {
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
    fn the_usual_heartbeat_is_an_encoded_comment() {
        let expected = Event::comment("heartbeat").encode();
        assert_eq!(Heartbeat::default().beat.encode(), expected);
    }

    #[test]
    fn a_heartbeat_that_is_off_never_sends() {
        #[allow(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        let off = Heartbeat::off().event(Event::new("beat")).always(true);
        assert_eq!(off.period(), None);
        let mut running = RunningHeartbeat::new(off, start);
        assert_eq!(running.due(), None);
        let later = start + Duration::from_secs(1 << 30);
        assert!(running.poll_heartbeat(later).is_none());
    }

    #[test]
    fn an_endless_period_never_sends() {
        #[allow(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        let mut running =
            RunningHeartbeat::new(Heartbeat::every(Duration::MAX).always(true), start);
        assert!(
            running
                .poll_heartbeat(start + Duration::from_secs(1 << 30))
                .is_none()
        );
    }

    #[test]
    fn with_always_a_heartbeat_is_sent_in_each_period() {
        assert_eq!(beats(true, &[5, 12, 19]), [10, 20, 30, 40, 50]);
    }
}
