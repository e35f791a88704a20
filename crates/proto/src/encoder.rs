//! `EncodedEvents`, and the encoding of an event.

use std::fmt::{self, Write};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

use crate::{Decoder, Event, EventId};

/// The wire bytes of one or more events. They are encoded once and shared by all sessions that send them.
///
/// Cloning copies no bytes. [`Event::encode`], [`From`] and `collect` make them:
///
/// ```
/// use tidings_proto::{EncodedEvents, Event};
///
/// let events: EncodedEvents = (0..3).map(|n| Event::new("tick").id(n)).collect();
/// assert_eq!(events.count(), 3);
/// assert_eq!(events.last_event_id().unwrap(), "2");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncodedEvents {
    bytes: Bytes,
    last_event_id: Option<EventId>,
    count: usize,
}

impl EncodedEvents {
    /// Encoded events from stored parts: the bytes, the last `id` in them, and the number of events with
    /// data.
    ///
    /// This is for a log that stores encoded events. The parts are not checked.
    #[must_use]
    pub fn from_parts(bytes: Bytes, last_event_id: Option<EventId>, count: usize) -> Self {
        Self {
            bytes,
            last_event_id,
            count,
        }
    }

    /// The wire bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The wire bytes, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The last `id`. A client that received all of these events resumes after it. `None` if no event has
    /// an `id`.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&EventId> {
        self.last_event_id.as_ref()
    }

    /// The number of events that a client delivers: those with data.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The events that a client delivers: those with data, each with the last event ID in effect.
    ///
    /// ```
    /// use tidings_proto::{EncodedEvents, Event};
    ///
    /// let events = [Event::new("a").id(1), Event::new("b").id(2)];
    /// assert_eq!(EncodedEvents::from_iter(&events).to_events(), events);
    /// ```
    #[must_use]
    pub fn to_events(&self) -> Vec<Event> {
        // Replaced bytes that are not UTF-8 triple the length at most.
        let mut decoder = Decoder::new().max_event_bytes(3 * self.bytes.len());
        let events = decoder.decode(&self.bytes).map(|event| match event {
            Ok(event) => event,
            Err(_) => unreachable!("no event is larger than the limit, three times all of them"),
        });
        events.collect()
    }

    /// The length on the wire, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl From<&Event> for EncodedEvents {
    fn from(event: &Event) -> Self {
        event.encode()
    }
}

impl From<Event> for EncodedEvents {
    fn from(event: Event) -> Self {
        event.encode()
    }
}

impl<'a> FromIterator<&'a Event> for EncodedEvents {
    fn from_iter<I: IntoIterator<Item = &'a Event>>(events: I) -> Self {
        let mut encoder = Encoder::default();
        events.into_iter().for_each(|event| encoder.push(event));
        encoder.finish()
    }
}

impl FromIterator<Event> for EncodedEvents {
    fn from_iter<I: IntoIterator<Item = Event>>(events: I) -> Self {
        let mut encoder = Encoder::default();
        events.into_iter().for_each(|event| encoder.push(&event));
        encoder.finish()
    }
}

#[derive(Default)]
struct Encoder {
    bytes: BytesMut,
    last_event_id: Option<EventId>,
    count: usize,
}

impl Encoder {
    fn push(&mut self, event: &Event) {
        self.bytes.reserve(length_hint(event));
        let Ok(()) = write_event(&mut self.bytes, event) else {
            unreachable!("`BytesMut` grows, and `write_event` returns only errors of its writer")
        };
        if event.id.is_some() {
            self.last_event_id.clone_from(&event.id);
        }
        self.count += usize::from(event.data.is_some());
    }

    fn finish(self) -> EncodedEvents {
        EncodedEvents {
            bytes: self.bytes.freeze(),
            last_event_id: self.last_event_id,
            count: self.count,
        }
    }
}

/// The length of an event whose values have one line each. With more lines the buffer must grow.
fn length_hint(event: &Event) -> usize {
    const FRAMING: usize = ": ".len() + "event: ".len() + "id: ".len() + "data: ".len() + 5;
    const RETRY: usize = "retry: 18446744073709551615\n".len();
    FRAMING
        + event.data.as_ref().map_or(0, String::len)
        + event.event.as_ref().map_or(0, |name| name.len())
        + event.id.as_ref().map_or(0, |id| id.len())
        + event.retry.map_or(0, |_| RETRY)
        + event.comments.as_ref().map_or(0, String::len)
}

/// Writes the lines of an event and the empty line that ends it. Writes nothing if it has no field.
pub(crate) fn write_event(out: &mut impl Write, event: &Event) -> fmt::Result {
    let Event {
        data,
        event: name,
        id,
        retry,
        comments,
    } = event;
    if (data, name, id, retry, comments) == (&None, &None, &None, &None, &None) {
        return Ok(());
    }
    if let Some(comments) = comments {
        write_lines(out, ":", comments)?;
    }
    if let Some(name) = name {
        write_line(out, "event:", name)?;
    }
    if let Some(id) = id {
        write_line(out, "id:", id)?;
    }
    if let Some(retry) = retry {
        writeln!(out, "retry: {}", whole_millis(*retry))?;
    }
    if let Some(data) = data {
        write_lines(out, "data:", data)?;
    }
    out.write_char('\n')
}

fn write_lines(out: &mut impl Write, field: &str, text: &str) -> fmt::Result {
    let mut rest = text;
    while let Some(end) = memchr2(b'\r', b'\n', rest.as_bytes()) {
        write_line(out, field, &rest[..end])?;
        let terminator = if rest[end..].starts_with("\r\n") {
            2
        } else {
            1
        };
        rest = &rest[end + terminator..];
    }
    write_line(out, field, rest)
}

fn write_line(out: &mut impl Write, field: &str, value: &str) -> fmt::Result {
    out.write_str(field)?;
    if !value.is_empty() {
        out.write_char(' ')?;
        out.write_str(value)?;
    }
    out.write_char('\n')
}

/// A `retry` as it is written: at most `u64::MAX` milliseconds.
pub(crate) fn whole_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventName;

    fn check(event: &Event, wire: &str) {
        assert_eq!(event.to_string(), wire);
        assert_eq!(event.encode().bytes(), wire.as_bytes());
    }

    #[test]
    fn an_event_without_a_field_writes_nothing() {
        check(&Event::default(), "");
        assert!(Event::default().encode().is_empty());
    }

    #[test]
    fn each_line_end_in_data_begins_a_line() {
        check(
            &Event::new("a\r\nb\rc\nd\n\re"),
            "data: a\ndata: b\ndata: c\ndata: d\ndata:\ndata: e\n\n",
        );
        check(&Event::new("\n"), "data:\ndata:\n\n");
    }

    #[test]
    fn a_value_keeps_its_first_space() {
        check(&Event::new(" a"), "data:  a\n\n");
        check(
            &Event::new("a").event(EventName::from_static(" b")),
            "event:  b\ndata: a\n\n",
        );
    }

    #[test]
    fn empty_values_are_written() {
        let event = Event {
            data: Some(String::new()),
            event: Some(EventName::from_static("")),
            id: Some(EventId::EMPTY),
            retry: Some(Duration::ZERO),
            comments: Some(String::new()),
        };
        check(&event, ":\nevent:\nid:\nretry: 0\ndata:\n\n");
    }

    #[test]
    fn a_comment_cannot_end_its_line() {
        check(
            &Event::comment("a\ndata: b\r\rc"),
            ": a\n: data: b\n:\n: c\n\n",
        );
    }

    #[test]
    fn a_retry_is_whole_milliseconds_and_never_overflows() {
        check(
            &Event::default().retry(Duration::from_micros(1999)),
            "retry: 1\n\n",
        );
        check(
            &Event::default().retry(Duration::MAX),
            "retry: 18446744073709551615\n\n",
        );
    }

    #[test]
    fn only_events_with_data_count() {
        let events: EncodedEvents = [
            Event::new("a").id(1),
            Event::comment("c"),
            Event::default().id(2),
        ]
        .into_iter()
        .collect();
        assert_eq!(
            (events.count(), events.last_event_id().unwrap().as_str()),
            (1, "2")
        );
    }
}
