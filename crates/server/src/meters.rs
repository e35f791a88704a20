//! The metrics and traces of sessions, through the `metrics` and `tracing` facades.

use std::error::Error;

use metrics::{Counter, counter, gauge, histogram};
use tidings_proto::FeedError;

use crate::Reason;
use crate::outcome::SentTotals;

/// The counters that a session changes while it is open. Looked up once, when the session opens.
pub(crate) struct Meters {
    events: Counter,
    bytes: Counter,
    frames: Counter,
}

impl Meters {
    /// A session opens.
    pub(crate) fn open() -> Self {
        tracing::debug!("a session opened");
        counter!("tidings_server_sessions_opened_total").increment(1);
        gauge!("tidings_server_sessions").increment(1.0);
        Self {
            events: counter!("tidings_server_events_total"),
            bytes: counter!("tidings_server_bytes_total"),
            frames: counter!("tidings_server_frames_total"),
        }
    }

    /// A frame was handed to the connection. `events` were queued since the previous frame.
    pub(crate) fn frame(&self, bytes: usize, events: u64) {
        self.events.increment(events);
        self.bytes.increment(bytes as u64);
        self.frames.increment(1);
    }

    /// The session is over.
    #[allow(
        clippy::cast_precision_loss,
        reason = "a queue is far below 2^53 bytes"
    )]
    pub(crate) fn close(&self, reason: Reason, sent: &SentTotals) {
        let reason = reason.as_str();
        tracing::debug!(
            reason,
            events = sent.events,
            bytes = sent.bytes,
            "a session closed"
        );
        counter!("tidings_server_sessions_closed_total", "reason" => reason).increment(1);
        gauge!("tidings_server_sessions").decrement(1.0);
        histogram!("tidings_server_queue_high_mark_bytes").record(sent.queue_high_mark as f64);
    }
}

/// A request for a session was refused.
pub(crate) fn refuse(reason: &'static str) {
    tracing::debug!(reason, "a session was refused");
    counter!("tidings_server_sessions_refused_total", "reason" => reason).increment(1);
}

/// The feed of a session did not open.
pub(crate) fn refuse_feed(path: &str, error: &FeedError) {
    let error: &dyn Error = error;
    tracing::debug!(path, error, "the feed of a session did not open");
    counter!("tidings_server_sessions_refused_total", "reason" => "feed").increment(1);
}

/// The feed of a session had no stream, after the head had left. No error means that it is over.
pub(crate) fn trace_unopened(error: Option<&FeedError>) {
    let error = error.map(|error| -> &dyn Error { error });
    tracing::debug!(error, "the feed of a session did not open");
}
