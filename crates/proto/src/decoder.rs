//! Owns the `Decoder`: chunks of bytes in, events out.
//!
//! Two paths give the same events. A line that lies whole in its chunk is read where it is: the
//! chunk's whole lines are checked as UTF-8 at once, and values are slices of them. Only a line
//! that is cut by the end of a chunk is copied, and read when its end has come.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::str::Utf8Chunk;
use std::time::Duration;

use memchr::memchr;
use simdutf8::basic::from_utf8;

use crate::block::{Block, RETAINED};
use crate::event_ref::EventRef;
use crate::field::{Field, parse_retry};
use crate::last_event_id::LastEventId;
use crate::line::{CR, LF, LineEnds};
use crate::name_cache::NameCache;
use crate::splitter::{Split, Splitter};
use crate::{Event, EventId};

/// The default of [`Decoder::max_event_bytes`]: 16 MiB. 1 MiB breaks real streams, and no limit is
/// an attack.
pub const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

/// What becomes of comment lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Comments {
    /// They are skipped, and not even held. The default.
    #[default]
    Skip,
    /// An event with data carries those of its block.
    Keep,
    /// As `Keep`, and a block that has comments and no data is an event too.
    Show,
    /// Each is an event of its own as soon as its line ends, also inside a block.
    AtOnce,
}

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
#[derive(Debug)]
pub struct Decoder {
    max_event_bytes: usize,
    comments: Comments,
    show_retry_events: bool,

    splitter: Splitter,
    block: Block,
    failed: bool,

    last_event_id: LastEventId,
    reconnection_time: Option<Duration>,
    names: NameCache,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            max_event_bytes: MAX_EVENT_BYTES,
            comments: Comments::default(),
            show_retry_events: false,
            splitter: Splitter::default(),
            block: Block::default(),
            failed: false,
            last_event_id: LastEventId::default(),
            reconnection_time: None,
            names: NameCache::default(),
        }
    }
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The most bytes one block may hold; 16 MiB by default ([`MAX_EVENT_BYTES`]).
    ///
    /// Counted are the values of `data` (with an LF between lines), `event`, `id` and of comments
    /// unless they are skipped, and the whole line being read, as text: a byte that is not UTF-8
    /// counts as the three bytes of its replacement. At the limit nothing happens; a byte over it
    /// is [`EventTooLarge`], wherever the chunks are cut. The memory held is at most twice the
    /// limit, for as long as it takes to append a line to its event, and the last event ID.
    #[must_use]
    pub fn max_event_bytes(mut self, limit: usize) -> Self {
        self.max_event_bytes = limit;
        self
    }

    /// What becomes of comment lines; [`Comments::Skip`] by default.
    #[must_use]
    pub fn comments(mut self, comments: Comments) -> Self {
        self.comments = comments;
        self
    }

    /// Whether a block that has a `retry` and no data is an event; `false` by default. The
    /// reconnection time it sets counts either way.
    #[must_use]
    pub fn show_retry_events(mut self, show: bool) -> Self {
        self.show_retry_events = show;
        self
    }

    /// The last event ID: of the last finished block, with or without data, that had one.
    ///
    /// `None` before any, `Some("")` once the server has reset it.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.get()
    }

    /// The last event ID, owned: made once, shared with the events that carry it.
    pub(crate) fn shared_last_event_id(&mut self) -> Option<EventId> {
        self.last_event_id.shared()
    }

    /// Sets the last event ID, as if an earlier connection had heard it.
    pub fn set_last_event_id(&mut self, id: &EventId) {
        self.last_event_id.set(id);
    }

    /// The reconnection time of the last valid `retry` line, also of an unfinished block.
    #[must_use]
    pub fn reconnection_time(&self) -> Option<Duration> {
        self.reconnection_time
    }

    /// The stream has ended, and another connection begins: discards the unfinished block, keeps
    /// the last event ID and the reconnection time.
    pub fn reset(&mut self) {
        self.splitter = Splitter::default();
        self.block = Block::default();
        self.failed = false;
    }

    /// The events that this chunk completes.
    ///
    /// The chunk is decoded as they are taken. Dropping the iterator early reads the rest of the
    /// chunk and drops its events.
    // Always: else the caller copies an iterator that was written a moment ago, and the processor
    // waits for the writes, once a chunk.
    #[inline(always)]
    pub fn decode<'c>(&mut self, chunk: &'c [u8]) -> Events<'_, 'c> {
        let chunk = if self.failed { &[] } else { chunk };
        let Split { head, lines, tail } = self.splitter.split(chunk);
        Events {
            decoder: self,
            head,
            lines: from_utf8(lines).map_or_else(|_| String::from_utf8_lossy(lines), Cow::Borrowed),
            ends: LineEnds::default(),
            at: 0,
            tail,
            ready: Ready::Nothing,
            done: false,
        }
    }

    /// Reads one line that is not empty. Says whether it is to be handed out at once.
    // Always, for the loop over lines: lines that are split over chunks alone would not need it.
    #[inline(always)]
    fn read_line(&mut self, text: &str, line: Range<usize>) -> Result<bool, EventTooLarge> {
        let (field, value_at) = Field::of(&text.as_bytes()[line.clone()]);
        if field == Field::Comment && self.comments == Comments::Skip {
            return Ok(false);
        }
        self.check_limit(line.len())?;
        self.block.begun = true;
        let value = line.start + value_at..line.end;
        let limit = self.max_event_bytes;
        match field {
            Field::Data => self.block.data.add_line(text, value, limit),
            Field::Event => self.block.name.set(value),
            Field::Id => {
                if memchr(0, &text.as_bytes()[value.clone()]).is_none() {
                    self.block.id.set(value);
                }
            }
            Field::Retry => {
                if let Some(time) = parse_retry(&text[value]) {
                    self.reconnection_time = Some(time);
                    self.block.retry = Some(time);
                }
            }
            Field::Comment => {
                self.block.comments.add_line(text, value, limit);
                return Ok(self.comments == Comments::AtOnce);
            }
            Field::Unknown => {}
        }
        Ok(false)
    }

    /// Reads the line that earlier chunks began and this head ends.
    #[cold]
    fn read_split_line(&mut self, head: &[u8]) -> Result<bool, EventTooLarge> {
        if self.splitter.take_skipped() {
            return Ok(false);
        }
        self.check_limit(self.splitter.line.len() + head.len())?;
        self.splitter.hold(head, self.max_event_bytes);
        let mut line = std::mem::take(&mut self.splitter.line);
        let hands_out = match from_utf8(&line) {
            Ok(text) => self.read_held_line(text)?,
            Err(_) => {
                let text = self.replace_invalid(&line)?;
                // Not held beside its replacement and the value that is copied out of it.
                line = Vec::new();
                self.read_held_line(&text)?
            }
        };
        if line.capacity() <= RETAINED {
            line.clear();
            self.splitter.line = line;
        }
        Ok(hands_out)
    }

    fn read_held_line(&mut self, text: &str) -> Result<bool, EventTooLarge> {
        let hands_out = self.read_line(text, 0..text.len())?;
        self.block.spill(text, self.max_event_bytes);
        Ok(hands_out)
    }

    /// `String::from_utf8_lossy` of exactly what it takes, as replacements may triple the length.
    fn replace_invalid(&self, line: &[u8]) -> Result<String, EventTooLarge> {
        let replacement = |part: &Utf8Chunk| !part.invalid().is_empty();
        let length = line
            .utf8_chunks()
            .map(|part| {
                part.valid().len()
                    + usize::from(replacement(&part)) * char::REPLACEMENT_CHARACTER.len_utf8()
            })
            .sum();
        self.check_limit(length)?;
        let mut text = String::with_capacity(length);
        for part in line.utf8_chunks() {
            text.push_str(part.valid());
            if replacement(&part) {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        Ok(text)
    }

    /// Keeps the beginning of a line that this chunk does not end.
    #[inline]
    fn hold_tail(&mut self, tail: &[u8]) -> Result<(), EventTooLarge> {
        if tail.is_empty() {
            return Ok(());
        }
        if self.comments == Comments::Skip {
            self.splitter.skip_comment(tail);
        }
        if !self.splitter.skips {
            self.check_limit(self.splitter.line.len() + tail.len())?;
            self.splitter.hold(tail, self.max_event_bytes);
        }
        Ok(())
    }

    #[inline]
    fn check_limit(&self, line: usize) -> Result<(), EventTooLarge> {
        if self.block.len() + line > self.max_event_bytes {
            return Err(EventTooLarge {
                limit: self.max_event_bytes,
            });
        }
        Ok(())
    }

    /// An empty line: the block's id is now the last event ID. Says whether the block is an event.
    #[inline]
    fn end_block(&mut self, text: &str) -> bool {
        if self.block.id.is_set() {
            self.last_event_id.commit(&mut self.block.id, text);
        }
        let shown = self.block.data.is_set()
            || (self.comments == Comments::Show && self.block.comments.is_set())
            || (self.show_retry_events && self.block.retry.is_some());
        if !shown {
            self.block.clear();
        }
        shown
    }
}

/// The events of one chunk: owned by iterating, borrowed by [`Events::try_next_ref`].
///
/// After an error there are no more, and further chunks give the same error until
/// [`Decoder::reset`].
#[derive(Debug)]
#[must_use = "the chunk is decoded as its events are taken"]
pub struct Events<'d, 'c> {
    decoder: &'d mut Decoder,
    /// The rest of the line that earlier chunks began.
    head: Option<&'c [u8]>,
    /// The chunk's whole lines.
    lines: Cow<'c, str>,
    ends: LineEnds,
    /// Where the next line begins.
    at: usize,
    /// The beginning of a line that later chunks end.
    tail: &'c [u8],
    ready: Ready,
    done: bool,
}

/// What is handed out now and cleared before the decoder goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    Nothing,
    Block,
    /// Only the comment: its block goes on.
    Comment,
}

impl Events<'_, '_> {
    /// The next event, borrowed from the chunk where it lies whole in it: costs no allocation.
    ///
    /// # Errors
    /// [`EventTooLarge`], once, if a block is over [`Decoder::max_event_bytes`].
    #[inline]
    pub fn try_next_ref(&mut self) -> Result<Option<EventRef<'_>>, EventTooLarge> {
        self.clear_ready();
        if self.done {
            return Ok(None);
        }
        if let Some(data) = self.next_line_event() {
            return Ok(Some(EventRef {
                data: Some(&self.lines[data]),
                id: self.decoder.last_event_id.get(),
                ..EventRef::default()
            }));
        }
        self.advance()?;
        Ok(self.ready_ref())
    }

    #[inline]
    fn ready_ref(&self) -> Option<EventRef<'_>> {
        let Decoder {
            block,
            last_event_id,
            ..
        } = &*self.decoder;
        let text = &*self.lines;
        match self.ready {
            Ready::Nothing => None,
            Ready::Block => Some(EventRef {
                data: block.data.get(text),
                event: block.name.get(text),
                id: last_event_id.get(),
                retry: block.retry,
                comments: block.comments.get(text),
            }),
            Ready::Comment => Some(EventRef {
                comments: block.comments.get(text),
                id: last_event_id.get(),
                ..EventRef::default()
            }),
        }
    }

    /// Clears what was handed out last.
    #[inline]
    fn clear_ready(&mut self) {
        if self.ready == Ready::Nothing {
            return;
        }
        let block = &mut self.decoder.block;
        if self.ready == Ready::Comment {
            block.comments.clear();
        } else {
            block.clear();
        }
        self.ready = Ready::Nothing;
    }

    /// The data of the next event if it is the usual one, a line of data and nothing else, which
    /// never gets into the block.
    ///
    /// Two LFs end it; after any other line end, and over the limit, the lines are read one by one.
    #[inline(always)]
    fn next_line_event(&mut self) -> Option<Range<usize>> {
        if self.decoder.block.begun || self.head.is_some() {
            return None;
        }
        let bytes = self.lines.as_bytes();
        let value = match bytes[self.at..].strip_prefix(b"data:")? {
            [b' ', ..] => self.at + "data: ".len(),
            _ => self.at + "data:".len(),
        };
        let end = self.ends.peek(bytes)?;
        let ends_block = bytes[end..].starts_with(b"\n\n");
        if !ends_block || end - self.at > self.decoder.max_event_bytes {
            return None;
        }
        self.ends.skip_two();
        self.at = end + 2;
        self.done = self.at == bytes.len() && self.tail.is_empty();
        Some(value..end)
    }

    /// Moves to the next event, line by line, and says in `ready` what it is.
    fn advance(&mut self) -> Result<(), EventTooLarge> {
        let ready = self.read();
        self.done = matches!(ready, Ok(Ready::Nothing) | Err(_));
        self.decoder.failed = ready.is_err();
        self.ready = ready?;
        Ok(())
    }

    fn read(&mut self) -> Result<Ready, EventTooLarge> {
        if self.decoder.failed {
            return Err(EventTooLarge {
                limit: self.decoder.max_event_bytes,
            });
        }
        if let Some(head) = self.head.take()
            && self.decoder.read_split_line(head)?
        {
            return Ok(Ready::Comment);
        }
        let text = &*self.lines;
        let bytes = text.as_bytes();
        while let Some(end) = self.ends.next(bytes) {
            let line = self.at..end;
            self.at = end + 1;
            if bytes[end] == CR && bytes.get(end + 1) == Some(&LF) {
                self.ends.next(bytes);
                self.at += 1;
            }
            if line.is_empty() {
                if self.decoder.end_block(text) {
                    return Ok(Ready::Block);
                }
            } else if self.decoder.read_line(text, line)? {
                return Ok(Ready::Comment);
            }
        }
        self.decoder.block.spill(text, self.decoder.max_event_bytes);
        self.decoder.hold_tail(self.tail)?;
        Ok(Ready::Nothing)
    }
}

impl Iterator for Events<'_, '_> {
    type Item = Result<Event, EventTooLarge>;

    fn next(&mut self) -> Option<Self::Item> {
        self.clear_ready();
        if self.done {
            return None;
        }
        if let Some(data) = self.next_line_event() {
            return Some(Ok(Event {
                data: Some(self.lines[data].to_owned()),
                id: self.decoder.last_event_id.shared(),
                ..Event::default()
            }));
        }
        if let Err(error) = self.advance() {
            return Some(Err(error));
        }
        let Decoder {
            block,
            last_event_id,
            names,
            ..
        } = &mut *self.decoder;
        let text = &*self.lines;
        match self.ready {
            Ready::Nothing => None,
            Ready::Block => Some(Ok(Event {
                data: block.data.take(text),
                event: block.name.get(text).map(|name| names.get(name)),
                id: last_event_id.shared(),
                retry: block.retry,
                comments: block.comments.take(text),
            })),
            Ready::Comment => Some(Ok(Event {
                comments: block.comments.take(text),
                id: last_event_id.shared(),
                ..Event::default()
            })),
        }
    }
}

impl Drop for Events<'_, '_> {
    fn drop(&mut self) {
        self.clear_ready();
        while !self.done && self.advance().is_ok() {
            self.clear_ready();
        }
    }
}

/// A block of the stream is over [`Decoder::max_event_bytes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTooLarge {
    limit: usize,
}

impl EventTooLarge {
    /// The limit in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }
}

impl fmt::Display for EventTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the server sent an event over the limit of {} bytes",
            self.limit
        )
    }
}

impl std::error::Error for EventTooLarge {}
