//! `EventRef`, an event that borrows its text from the chunk and the decoder.

use std::time::Duration;

use crate::name::DEFAULT_TYPE;
use crate::{Event, EventId, EventName};

/// A received event that borrows its text from the chunk and the decoder. It has the fields of
/// [`Event`].
///
/// ```
/// use tidings_proto::Decoder;
///
/// let mut decoder = Decoder::new();
/// let mut events = decoder.decode(b"event: price\ndata: 42\n\n");
/// let event = events.try_next_ref()?.unwrap();
/// assert_eq!((event.event_type(), event.text()), ("price", "42"));
/// # Ok::<(), tidings_proto::EventTooLarge>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs, reason = "the fields are the standard's")]
pub struct EventRef<'a> {
    /// The payload, its lines joined by LF.
    pub data: Option<&'a str>,
    /// The name, unchanged.
    pub event: Option<&'a str>,
    /// The last event ID in effect: `None` before the first ID, `Some("")` after a reset.
    pub id: Option<&'a str>,
    /// The reconnection time that the block of the event set.
    pub retry: Option<Duration>,
    /// The comment lines, joined by LF, without the space after the colon.
    pub comments: Option<&'a str>,
}

impl<'a> EventRef<'a> {
    /// The type that an `EventSource` dispatches: the name, or `message` if that is missing or empty.
    #[must_use]
    pub fn event_type(&self) -> &'a str {
        self.event
            .filter(|name| !name.is_empty())
            .unwrap_or(DEFAULT_TYPE)
    }

    /// The data. `""` if there is none.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.data.unwrap_or_default()
    }

    /// The event, owned. Iterating [`Events`](crate::Events) is cheaper: it shares names and IDs between
    /// events.
    ///
    /// A decoder returns only valid names and IDs. If you have set another one, it is left out, so that
    /// it cannot inject a line.
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
    fn a_name_or_an_id_that_would_inject_a_line_is_left_out() {
        let event = EventRef {
            data: Some("a"),
            event: Some("x\ndata: b"),
            id: Some("1\rdata: c"),
            ..EventRef::default()
        };
        assert_eq!(event.to_event(), Event::new("a"));
    }
}
