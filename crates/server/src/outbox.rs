//! `Outbox`: the frames that a session sends next, and how much it has sent.

use std::mem;
use std::time::{Duration, Instant};

use tidings_proto::{
    EncodedEvents, Event, Heartbeat, HeartbeatEvent, MAX_QUEUED_BYTES, SessionFrame, SessionState,
};

use crate::connection_lifetime::shortened;
use crate::ending::Ending;
use crate::outcome::{Outcome, SentTotals};
use crate::{Limits, Reason, SessionOptions};

/// The reconnection time of most browsers: 3 s. Sent to a client that may have another from an earlier
/// session.
const USUAL_RETRY: Duration = Duration::from_secs(3);

/// The queue, the heartbeat, the lifetime and the end of a session, and how much it has sent.
///
/// It has no lock. The owner keeps the queue within its room.
#[derive(Default)]
pub(crate) struct Outbox {
    state: SessionState,
    /// Why the session ended.
    reason: Option<Reason>,
    sent: SentTotals,
    /// How many of the sent events have left in a frame.
    counted: u64,
}

/// What is due in a session.
#[derive(Default)]
pub(crate) struct Due {
    pub(crate) heartbeat: Option<HeartbeatEvent>,
    /// The lifetime has just ended the session.
    pub(crate) is_over: bool,
}

impl Outbox {
    /// The outbox of a session that opens with these options. Its lifetime ends at the latest at
    /// `connection_end`.
    pub(crate) fn open(
        options: &SessionOptions,
        connection_end: Option<tokio::time::Instant>,
    ) -> Self {
        let now = tokio::time::Instant::now();
        let mut outbox = Self::default();
        let limits = options.limits.as_ref();
        let after_replacement = limits.is_some_and(Limits::is_replacing);
        let retry = options.retry.or(after_replacement.then_some(USUAL_RETRY));
        if let Some(retry) = retry {
            outbox.push(Event::default().retry(retry).encode());
        }
        let heartbeat = options.heartbeat.as_ref();
        if let Some(heartbeat) = heartbeat.filter(|heartbeat| heartbeat.period().is_some()) {
            outbox.start_heartbeat(heartbeat.clone(), now.into_std());
        }
        // A lifetime that ends after the last instant of the clock never ends.
        let own_end = options
            .max_lifetime
            .and_then(|lifetime| now.checked_add(shortened(lifetime)));
        if let Some(ends_at) = own_end.into_iter().chain(connection_end).min() {
            outbox.state.handle_lifetime(ends_at.into_std());
        }
        outbox
    }

    /// When the lifetime ends.
    pub(crate) fn ends_at(&self) -> Option<Instant> {
        self.state.ends_at()
    }

    /// Starts this heartbeat, and returns the one that it replaces.
    pub(crate) fn start_heartbeat(
        &mut self,
        heartbeat: Heartbeat,
        now: Instant,
    ) -> Option<Heartbeat> {
        self.state.handle_heartbeat(heartbeat, now)
    }

    /// Queues events for which there is room. Events after the end are dropped.
    pub(crate) fn push(&mut self, events: EncodedEvents) {
        self.sent.events += events.count() as u64;
        self.state.handle_events(events);
        let queued = self.state.queued_bytes();
        self.sent.queue_high_mark = self.sent.queue_high_mark.max(queued);
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.state.queued_bytes()
    }

    /// The number of bytes handed to the connection.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent.bytes
    }

    /// The free room of the queue.
    pub(crate) fn room(&self) -> usize {
        MAX_QUEUED_BYTES.saturating_sub(self.queued_bytes())
    }

    /// Ends the session after the queued events. Returns whether it was open; the first reason counts.
    pub(crate) fn end(&mut self, ending: Ending) -> bool {
        let was_open = !self.is_ended();
        if let Some(retry) = ending.retry {
            self.state
                .handle_events(Event::default().retry(retry).encode());
        }
        if ending.is_cut {
            self.state.handle_failure();
        } else {
            self.state.handle_end();
        }
        self.reason.get_or_insert(ending.reason);
        was_open
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.state.is_ended()
    }

    /// Whether [`poll_frame`](Self::poll_frame) returns a frame.
    pub(crate) fn has_frame(&self) -> bool {
        self.queued_bytes() > 0 || self.is_ended()
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.state.poll_timeout()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Due {
        let was_open = !self.is_ended();
        self.state.handle_timeout(now);
        let is_over = was_open && self.is_ended();
        if is_over {
            self.reason = Some(Reason::Lifetime);
        }
        Due {
            heartbeat: self.state.poll_heartbeat(now),
            is_over,
        }
    }

    /// The next frame, and the number of events queued since the previous one.
    pub(crate) fn poll_frame(&mut self, now: Instant) -> (Option<SessionFrame>, u64) {
        let frame = self.state.poll_frame(now);
        let mut events = 0;
        if let Some(SessionFrame::Data(bytes)) = &frame {
            self.sent.bytes += bytes.len() as u64;
            events = self.sent.events - self.counted;
            self.counted = self.sent.events;
        }
        (frame, events)
    }

    /// The body is dropped. Returns the outcome, and the queue and the heartbeat, whose drop may run the
    /// caller's code.
    pub(crate) fn abandon(&mut self) -> (Outcome, SessionState) {
        let remains = mem::take(&mut self.state);
        self.state.handle_end();
        let outcome = Outcome {
            reason: *self.reason.get_or_insert(Reason::Gone),
            sent: self.sent,
        };
        (outcome, remains)
    }
}

/// The room that this many bytes take. Events larger than the queue take all of it, and so leave
/// alone.
pub(crate) fn room_of(bytes: usize) -> usize {
    bytes.min(MAX_QUEUED_BYTES)
}
