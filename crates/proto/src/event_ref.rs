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
    /// ids between events. What cannot be a name or an id, which a decoder never hands out, is left
    /// out.
    #[must_use]
    pub fn to_event(&self) -> Event {
        Event {
            data: self.data.map(str::to_owned),
            event: self.event.and_then(|name| EventName::new(name).ok()),
            id: self.id.and_then(|id| EventId::new(id).ok()),
            retry: self.retry,
            comments: self.comments.map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_inject_a_line_is_left_out() {
        let event = EventRef {
            data: Some("a"),
            event: Some("x\ndata: b"),
            id: Some("1\rdata: c"),
            ..EventRef::default()
        };
        assert_eq!(event.to_event(), Event::new("a"));
    }
}
