//! `EventTooLarge`: an event over the limit of its decoder.

use std::fmt;

use crate::EventId;

/// A block of the stream exceeds [`Decoder::max_event_bytes`](crate::Decoder::max_event_bytes).
///
/// It ends the stream, unless [`Decoder::skip_large_events`](crate::Decoder::skip_large_events) is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTooLarge(pub(crate) Box<LargeEvent>);

/// Boxed, so that the result of a decoder stays small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LargeEvent {
    pub(crate) limit: usize,
    pub(crate) size: usize,
    pub(crate) last_event_id: Option<EventId>,
}

impl EventTooLarge {
    /// The limit in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// The size of the event in bytes, counted as the limit counts. If the event ended the stream, this is
    /// the part that was received; if it was skipped, all of it.
    ///
    /// In lines of a skipped event, each byte that is not UTF-8 counts as one or as its replacement.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.size
    }

    /// The last event ID. If the event ended the stream, it is the ID in effect before the event;
    /// another session can resume after it. If it was skipped, it is the ID of the event, as for any
    /// event.
    ///
    /// An `id` line over the limit is not held, so then the ID is the one before.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&EventId> {
        self.0.last_event_id.as_ref()
    }
}

impl fmt::Display for EventTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the server sent an event of at least {} bytes, over the limit of {}; `max_event_bytes` sets \
             the limit",
            self.size(),
            self.limit()
        )
    }
}

impl std::error::Error for EventTooLarge {}
