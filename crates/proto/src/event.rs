//! Owns `Event`: what is sent and what is heard.

use std::fmt;
use std::time::Duration;

use crate::name::DEFAULT_TYPE;
use crate::{EncodedEvents, EventId, EventName, IntoEventId, IntoEventName};

/// One server-sent event: its five fields, all optional.
///
/// On the sending end a field that is `None` writes no line, and an event without `data` is not
/// heard as one: it only moves the id, sets the reconnection time or carries a comment. On the
/// receiving end `id` is the last event ID in effect, so relaying is sending the event as it is.
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
    /// The payload. `None` writes no `data` line, so nobody hears an event; `Some("")` is one.
    ///
    /// May hold anything: CRLF, CR and LF each begin a new line on the wire and read back as LF.
    pub data: Option<T>,
    /// The name; `None` and the empty name mean `message`. See [`Event::event_type`].
    pub event: Option<EventName>,
    /// The last event ID: on the receiving end the one in effect, `None` before any, and
    /// `Some("")` after a reset.
    pub id: Option<EventId>,
    /// The reconnection time the server asks for, in whole milliseconds on the wire.
    #[cfg_attr(feature = "serde", serde(default, with = "millis"))]
    pub retry: Option<Duration>,
    /// Comment lines, joined by LF, without the one space that follows the colon.
    pub comments: Option<String>,
}

impl Event {
    /// An event of this data and nothing else.
    ///
    /// ```
    /// # use tidings_proto::Event;
    /// assert_eq!(Event::new("hello").to_string(), "data: hello\n\n");
    /// ```
    #[must_use]
    pub fn new(data: impl Into<String>) -> Self {
        Self::of(data.into())
    }

    /// An event that is only a comment: no client hears it, but the connection is used.
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

    /// The data, `""` without any.
    #[must_use]
    pub fn text(&self) -> &str {
        self.data.as_deref().unwrap_or_default()
    }

    /// The wire form, made once.
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
    /// An event of data of any type.
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

    /// The type an `EventSource` dispatches: the name, or `message` without one.
    #[must_use]
    pub fn event_type(&self) -> &str {
        self.event
            .as_deref()
            .filter(|name| !name.is_empty())
            .unwrap_or(DEFAULT_TYPE)
    }

    /// The same event under this name.
    ///
    /// ```
    /// use tidings_proto::{Event, EventName};
    ///
    /// let event = Event::new("21 degrees").event(EventName::from_static("weather"));
    /// assert_eq!(event.event_type(), "weather");
    /// ```
    #[must_use]
    pub fn event(mut self, name: impl IntoEventName) -> Self {
        self.event = Some(name.into_event_name());
        self
    }

    /// The same event with this id; every integer is one.
    #[must_use]
    pub fn id(mut self, id: impl IntoEventId) -> Self {
        self.id = Some(id.into_event_id());
        self
    }

    /// The same event with this reconnection time.
    #[must_use]
    pub fn retry(mut self, time: Duration) -> Self {
        self.retry = Some(time);
        self
    }

    /// The same event with its data passed through `f`.
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

/// The wire form, as it is sent.
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
    fn the_type_is_message_unless_named() {
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
