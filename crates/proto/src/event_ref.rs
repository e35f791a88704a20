//! Owns `EventRef`: an event that borrows what it was read from.

use std::time::Duration;

use crate::name::DEFAULT_TYPE;
use crate::{Event, EventId, EventName};

/// An event as it was read, borrowed from the chunk and the decoder. The fields are those of
/// [`Event`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs, reason = "the fields are the standard's")]
pub struct EventRef<'a> {
    /// The payload: its lines joined by LF.
    pub data: Option<&'a str>,
    /// The name, as it was sent.
    pub event: Option<&'a str>,
    /// The last event ID in effect: `None` before any, `Some("")` after a reset.
    pub id: Option<&'a str>,
    /// The reconnection time that the event's block set.
    pub retry: Option<Duration>,
    /// Comment lines, joined by LF, without the one space that follows the colon.
    pub comments: Option<&'a str>,
}

impl<'a> EventRef<'a> {
    /// The type an `EventSource` dispatches: the name, or `message` without one.
    #[must_use]
    pub fn event_type(&self) -> &'a str {
        self.event
            .filter(|name| !name.is_empty())
            .unwrap_or(DEFAULT_TYPE)
    }

    /// The data, `""` without any.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.data.unwrap_or_default()
    }

    /// The same event, owned. Iterating [`Events`](crate::Events) is cheaper: it shares names and
    /// ids between events.
    #[must_use]
    pub fn to_event(&self) -> Event {
        Event {
            data: self.data.map(str::to_owned),
            event: self.event.map(EventName::from_line),
            id: self.id.map(EventId::from_checked),
            retry: self.retry,
            comments: self.comments.map(str::to_owned),
        }
    }
}
