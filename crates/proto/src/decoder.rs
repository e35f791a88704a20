//! Owns the `Decoder`: chunks of bytes in, events out.

use std::time::Duration;

use crate::events::Place;
use crate::last_event_id::LastEventId;
use crate::reader::{Comments, Reader};
use crate::{Event, EventId, Events};

/// Turns the bytes of an event stream into events, however they are cut into chunks.
///
/// Nothing on the wire is malformed: the only error is a block over the limit. The decoder holds
/// what it has read of the current block, the last event ID and nothing else; what a large event
/// took is given back with the next one.
///
/// ```
/// use tidings_proto::Decoder;
///
/// let mut decoder = Decoder::new();
/// assert!(decoder.decode(b"id: 7\ndata: he").next().is_none());
///
/// // Owned events, by iterating:
/// for event in decoder.decode(b"llo\n\n") {
///     assert_eq!(event?.text(), "hello");
/// }
///
/// // or borrowed ones, which cost no allocation:
/// let mut events = decoder.decode(b"data: again\n\n");
/// while let Some(event) = events.try_next_ref()? {
///     assert_eq!((event.text(), event.id), ("again", Some("7")));
/// }
/// # Ok::<(), tidings_proto::EventTooLarge>(())
/// ```
///
/// Spec: [9.2.5 Parsing](https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream)
/// and [9.2.6 Interpreting](https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation).
/// Differs from the standard: the last event ID outlives [`Decoder::reset`] until another arrives,
/// as in every browser, and a block over [`Decoder::max_event_bytes`] ends the stream.
#[derive(Debug, Default)]
pub struct Decoder {
    reader: Reader,
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The most bytes one block may hold; 16 MiB by default ([`MAX_EVENT_BYTES`](crate::MAX_EVENT_BYTES)).
    ///
    /// Counted are the values of `data` (with an LF between lines), `event`, `id` and of comments
    /// unless they are skipped, and the whole line being read, as text: a byte that is not UTF-8
    /// counts as the three bytes of its replacement. At the limit nothing happens; a byte over it
    /// is [`EventTooLarge`](crate::EventTooLarge), wherever the chunks are cut. The memory held is at most twice the
    /// limit, for as long as it takes to append a line to its event, and the last event ID.
    #[must_use]
    pub fn max_event_bytes(mut self, limit: usize) -> Self {
        self.reader.max_event_bytes = limit;
        self
    }

    /// How comments are delivered. Default: [`Comments::Attached`].
    #[must_use]
    pub fn comments(mut self, comments: Comments) -> Self {
        self.reader.comments = comments;
        self
    }

    /// Whether a block that has a `retry` and no data is an event; `false` by default. The
    /// reconnection time it sets counts either way.
    #[must_use]
    pub fn show_retry_events(mut self, show: bool) -> Self {
        self.reader.show_retry_events = show;
        self
    }

    /// The last event ID: of the last finished block, with or without data, that had one.
    ///
    /// `None` before any, `Some("")` once the server has reset it.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&str> {
        self.reader.last_event_id.get()
    }

    /// The last event ID, owned: made once, shared with the events that carry it.
    pub(crate) fn owned_last_event_id(&mut self) -> Option<EventId> {
        self.reader.last_event_id.owned()
    }

    /// There is no last event ID, as if none was ever heard.
    pub(crate) fn clear_last_event_id(&mut self) {
        self.reader.last_event_id = LastEventId::default();
    }

    /// Sets the last event ID, as if an earlier connection had heard it.
    pub fn set_last_event_id(&mut self, id: &EventId) {
        self.reader.last_event_id.set(id);
    }

    /// The reconnection time of the last valid `retry` line, also of an unfinished block.
    #[must_use]
    pub fn reconnection_time(&self) -> Option<Duration> {
        self.reader.reconnection_time
    }

    /// The stream has ended, and another connection begins: discards the unfinished block, keeps
    /// the last event ID and the reconnection time.
    pub fn reset(&mut self) {
        self.reader.reset();
    }

    #[inline(always)]
    pub(crate) fn next_of_line(&mut self, place: &mut Place, text: &str) -> Option<Event> {
        place.next_of_line(&mut self.reader, text)
    }

    /// As [`decode`](Self::decode), of a chunk that was left.
    #[inline(always)]
    pub(crate) fn resume<'c>(
        &mut self,
        chunk: &'c [u8],
        text: &'c str,
        place: Place,
    ) -> Events<'_, 'c> {
        Events::resume(&mut self.reader, chunk, text, place)
    }

    /// The events that this chunk completes.
    ///
    /// The chunk is decoded as they are taken. Dropping the iterator early reads the rest of the
    /// chunk and drops its events.
    #[inline(always)]
    pub fn decode<'c>(&mut self, chunk: &'c [u8]) -> Events<'_, 'c> {
        Events::new(&mut self.reader, chunk)
    }
}
