//! `Event`, with five optional fields.

use std::fmt;
use std::time::Duration;

use crate::name::DEFAULT_TYPE;
use crate::{EncodedEvents, EventId, EventName, IntoEventId, IntoEventName};

/// One server-sent event. It has five fields, and each is optional.
///
/// A server writes a line for each field that is not `None`. A client does not deliver an event without
/// `data`: such an event only sets the last event ID, sets the reconnection time or carries a comment.
///
/// A received event has the last event ID in effect as its `id`. To relay an event, send it unchanged.
///
/// With the feature `serde`, an event is read and written as a struct of these fields, and `retry` as
/// milliseconds.
///
/// ```
/// use std::time::Duration;
/// use tidings_proto::{Event, EventName};
///
/// const NOTE: EventName = EventName::from_static("note");
/// let event = Event::new("first line\nsecond line").event(NOTE).id(7);
/// assert_eq!(event.to_string(), "event: note\nid: 7\ndata: first line\ndata: second line\n\n");
///
/// let event = Event { retry: Some(Duration::from_secs(1)), ..Event::default() };
/// assert_eq!(event.to_string(), "retry: 1000\n\n");
/// ```
///
/// Spec: [9.2.6 Interpreting an event stream](https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation).
#[doc(alias = "ServerSentEvent")]
#[doc(alias = "TypedServerSentEvent")]
#[doc(alias = "empty")]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Event<T = String> {
    /// The payload. With `None` a client delivers no event; with `Some("")` it does.
    ///
    /// Any text is allowed. CRLF, CR and LF each begin a new `data` line, and are received as LF.
    pub data: Option<T>,
    /// The name. `None` and the empty name both mean `message`. See [`Event::event_type`].
    pub event: Option<EventName>,
    /// The event ID. In a received event it is the last event ID in effect: `None` before the first ID,
    /// `Some("")` after the server has reset it.
    pub id: Option<EventId>,
    /// The reconnection time that the server asks for, in whole milliseconds on the wire.
    #[cfg_attr(feature = "serde", serde(default, with = "millis"))]
    pub retry: Option<Duration>,
    /// The comment lines, joined by LF, without the space after the colon.
    pub comments: Option<String>,
}

impl Event {
    /// An event with this data and no other field.
    ///
    /// ```
    /// # use tidings_proto::Event;
    /// assert_eq!(Event::new("hello").to_string(), "data: hello\n\n");
    /// ```
    #[must_use]
    pub fn new(data: impl Into<String>) -> Self {
        Self::of(data.into())
    }

    /// A comment. An `EventSource` ignores it, but it keeps the connection from being idle.
    ///
    /// ```
    /// # use tidings_proto::Event;
    /// assert_eq!(Event::comment("still here").to_string(), ": still here\n\n");
    /// ```
    #[must_use]
    pub fn comment(text: impl Into<String>) -> Self {
        Self {
            comments: Some(text.into()),
            ..Self::default()
        }
    }

    /// The data. `""` if there is none.
    #[must_use]
    pub fn text(&self) -> &str {
        self.data.as_deref().unwrap_or_default()
    }

    /// The wire bytes, to send to many sessions without encoding again.
    #[must_use]
    pub fn encode(&self) -> EncodedEvents {
        std::iter::once(self).collect()
    }
}

// A generic `Default` would leave `Event::default()` without a type to infer.
#[allow(clippy::derivable_impls, reason = "only for Event<String>")]
impl Default for Event {
    fn default() -> Self {
        Self {
            data: None,
            event: None,
            id: None,
            retry: None,
            comments: None,
        }
    }
}

impl<T> Event<T> {
    /// An event with data of any type.
    #[must_use]
    pub fn of(data: T) -> Self {
        Self {
            data: Some(data),
            event: None,
            id: None,
            retry: None,
            comments: None,
        }
    }

    /// The type that an `EventSource` dispatches: the name, or `message` if that is missing or empty.
    #[must_use]
    pub fn event_type(&self) -> &str {
        self.event
            .as_deref()
            .filter(|name| !name.is_empty())
            .unwrap_or(DEFAULT_TYPE)
    }

    /// Sets the name.
    ///
    /// ```
    /// use tidings_proto::{Event, EventName};
    ///
    /// let event = Event::new("21 degrees").event(const { EventName::from_static("weather") });
    /// assert_eq!(event.event_type(), "weather");
    /// ```
    #[must_use]
    pub fn event(mut self, name: impl IntoEventName) -> Self {
        self.event = Some(name.into_event_name());
        self
    }

    /// Sets the ID: an [`EventId`], an integer or a [`Position`](crate::Position).
    ///
    /// ```
    /// use tidings_proto::{Event, EventId};
    ///
    /// let first = Event::new("a").id(1);
    /// let second = Event::new("b").id(const { EventId::from_static("b-2") });
    /// ```
    #[must_use]
    pub fn id(mut self, id: impl IntoEventId) -> Self {
        self.id = Some(id.into_event_id());
        self
    }

    /// Sets the reconnection time. On the wire it is in whole milliseconds.
    #[must_use]
    pub fn retry(mut self, time: Duration) -> Self {
        self.retry = Some(time);
        self
    }

    /// Converts the data with `f`, and keeps the other fields.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Event<U> {
        Event {
            data: self.data.map(f),
            event: self.event,
            id: self.id,
            retry: self.retry,
            comments: self.comments,
        }
    }
}

/// The wire form of the event.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::encoder::write_event(f, self)
    }
}

/// `retry` in serde formats: whole milliseconds, as on the wire.
#[cfg(feature = "serde")]
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::encoder::whole_millis;

    pub(super) fn serialize<S: Serializer>(
        retry: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        retry.map(whole_millis).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let millis = Option::deserialize(deserializer)?;
        Ok(millis.map(Duration::from_millis))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_event_has_five_fields_and_needs_none() {
        let event = Event::new("text");
        assert_eq!(event.data.as_deref(), Some("text"));
        let none = Event {
            data: None,
            ..event.clone()
        };
        assert_eq!(none, Event::default());
        assert_eq!(none.to_string(), "");

        let whole = Event {
            data: Some("text".into()),
            event: Some(EventName::from_static("note")),
            id: Some(7.into()),
            retry: Some(Duration::from_secs(1)),
            comments: Some("seen".into()),
        };
        let wire = ": seen\nevent: note\nid: 7\nretry: 1000\ndata: text\n\n";
        assert_eq!(whole.to_string(), wire);
        let copies = HashSet::from([whole.clone(), whole.clone()]);
        assert!(copies.len() == 1 && copies.contains(&whole));
        assert_ne!(whole.clone().id(8), whole);
        assert!(format!("{whole:?}").contains("seen"));
    }

    #[test]
    fn the_type_of_an_event_without_a_name_is_message() {
        assert_eq!(Event::new("x").event_type(), "message");
        assert_eq!(
            Event::new("x")
                .event(EventName::from_static(""))
                .event_type(),
            "message"
        );
        assert_eq!(
            Event::new("x")
                .event(EventName::from_static("price"))
                .event_type(),
            "price"
        );
    }

    #[test]
    fn typed_data_keeps_the_other_fields() {
        let event = Event::new("4").id(1).map(|data| data.len());
        assert_eq!(event, Event::of(1_usize).id(1));
    }
}
