//! `Decoder`: chunks of bytes in, events out.

use std::fmt;
use std::time::Duration;

use crate::reader::{Comments, Reader};
use crate::{EventId, Events};

/// Decodes the bytes of an event stream into events. The chunks may be cut anywhere.
///
/// Each byte string is a valid stream: the only error is an event over the limit. A decoder holds the
/// read part of the current block, the last event ID and a few names. It frees the memory of a large
/// event with the next one.
///
/// ```
/// use tidings_proto::Decoder;
///
/// let mut decoder = Decoder::new();
/// assert!(decoder.decode(b"id: 7\ndata: he").next().is_none());
///
/// // Iterating returns owned events:
/// for event in decoder.decode(b"llo\n\n") {
///     assert_eq!(event?.text(), "hello");
/// }
///
/// // `try_next_ref` returns borrowed ones, without allocation:
/// let mut events = decoder.decode(b"data: again\n\n");
/// while let Some(event) = events.try_next_ref()? {
///     assert_eq!((event.text(), event.id), ("again", Some("7")));
/// }
/// # Ok::<(), tidings_proto::EventTooLarge>(())
/// ```
///
/// Spec: [9.2.5 Parsing](https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream)
/// and [9.2.6 Interpreting](https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation).
///
/// Differs from the standard: the last event ID survives [`Decoder::reset`] until another arrives, as
/// in every browser, and a block over [`Decoder::max_event_bytes`] ends the stream, because memory is
/// finite.
#[derive(Default)]
pub struct Decoder {
    reader: Reader,
}

impl Decoder {
    /// A decoder for the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The maximum bytes of one block. Default: 16 MiB ([`MAX_EVENT_BYTES`](crate::MAX_EVENT_BYTES)).
    /// A block with one more byte fails with [`EventTooLarge`](crate::EventTooLarge).
    ///
    /// The limit counts the values of `data` (with an LF between lines), `event`, `id` and comments
    /// that are not skipped, and the whole line that is being read. It counts text: a byte that is not
    /// UTF-8 counts as the three bytes of its replacement. The cuts of the chunks do not matter.
    ///
    /// The decoder holds a line that is divided between chunks once: its buffer becomes the value of the
    /// event. A buffer doubles when it grows, up to the limit. So an event of `n` bytes takes at most `2n`
    /// bytes, and the decoder at most twice the limit, beside the last event ID. An owned event keeps at
    /// most 4 MiB of that slack.
    #[must_use]
    pub fn max_event_bytes(mut self, limit: usize) -> Self {
        self.reader.set_max_event_bytes(limit);
        self
    }

    /// Whether an event over [`max_event_bytes`](Self::max_event_bytes) is skipped. Default: `false`, so
    /// it ends the stream.
    ///
    /// With `true`, such an event is an [`EventTooLarge`](crate::EventTooLarge) once its empty line has
    /// arrived, and the events after it follow. Its `id` moves the last event ID and its `retry` counts,
    /// before and after the line that exceeds the limit. Only an `id` line that is itself over the limit is
    /// lost: then the last event ID does not move.
    ///
    /// ```
    /// use tidings_proto::Decoder;
    ///
    /// let mut decoder = Decoder::new().max_event_bytes(10).skip_large_events(true);
    /// let mut events = decoder.decode(b"id: 7\ndata: too long\n\ndata: ok\n\n");
    /// let skipped = events.next().unwrap().unwrap_err();
    /// assert_eq!(skipped.last_event_id().unwrap(), "7");
    /// assert_eq!(events.next().unwrap().unwrap().text(), "ok");
    /// ```
    #[must_use]
    pub fn skip_large_events(mut self, skip: bool) -> Self {
        self.reader.skips_large_events = skip;
        self
    }

    /// How comments are delivered. Default: [`Comments::Attached`].
    #[must_use]
    pub fn comments(mut self, comments: Comments) -> Self {
        self.reader.comments = comments;
        self
    }

    /// Whether a block that has a `retry` and no data is an event. Default: `false`.
    ///
    /// The reconnection time counts in both cases.
    #[must_use]
    pub fn show_retry_events(mut self, show: bool) -> Self {
        self.reader.show_retry_events = show;
        self
    }

    /// The last event ID: that of the last finished block with an `id`, with or without data.
    ///
    /// `None` before the first ID. `Some("")` after the server has reset it.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&str> {
        self.reader.last_event_id.get()
    }

    /// The last event ID, shared with the events that carry it.
    pub(crate) fn owned_last_event_id(&mut self) -> Option<EventId> {
        self.reader.last_event_id.owned()
    }

    /// Changes whenever the last event ID may have changed.
    #[inline]
    pub(crate) fn last_event_id_version(&self) -> u64 {
        self.reader.last_event_id.version()
    }

    /// Removes the last event ID.
    pub(crate) fn clear_last_event_id(&mut self) {
        self.reader.last_event_id.clear();
    }

    /// Sets the last event ID, as if an earlier connection had received it.
    pub fn set_last_event_id(&mut self, id: &EventId) {
        self.reader.last_event_id.set(id);
    }

    /// The reconnection time of the last valid `retry` line, even of an unfinished block.
    #[must_use]
    pub fn reconnection_time(&self) -> Option<Duration> {
        self.reader.reconnection_time
    }

    /// Whether the stream has sent a part of an event: a line or the beginning of one, but no empty
    /// line after it. The standard discards such a part at the end of a stream.
    ///
    /// A comment or a `retry` counts without an empty line, so it is no such part.
    #[must_use]
    pub fn is_within_event(&self) -> bool {
        self.reader.is_within_event()
    }

    pub(crate) fn skips_large_events(&self) -> bool {
        self.reader.skips_large_events
    }

    /// Whether the stream has sent a comment, even one that is skipped.
    pub(crate) fn has_comment(&self) -> bool {
        self.reader.has_comment
    }

    /// Prepares for the next connection: discards the unfinished block, and keeps the last event ID and
    /// the reconnection time.
    pub fn reset(&mut self) {
        self.reader.reset();
    }

    pub(crate) fn reader(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// The events that this chunk completes.
    ///
    /// The chunk is decoded as you take the events. If you drop the iterator early, it reads the rest of
    /// the chunk and drops those events.
    #[inline]
    pub fn decode<'c>(&mut self, chunk: &'c [u8]) -> Events<'_, 'c> {
        Events::new(&mut self.reader, chunk)
    }
}

// Shows no text of the stream.
impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("max_event_bytes", &self.reader.max_event_bytes)
            .field("comments", &self.reader.comments)
            .finish_non_exhaustive()
    }
}
