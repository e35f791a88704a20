//! `Events`: the iterator over the events that one chunk completes.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use simdutf8::basic::from_utf8;

use crate::line::{CR, LF, LineEnds};
use crate::reader::{OverLimit, Reader};
use crate::splitter::Split;
use crate::{Event, EventRef, EventTooLarge};

/// The events of one chunk. Iterating returns owned events, [`Events::try_next_ref`] borrowed ones.
///
/// After an error it returns no more events, and each later chunk fails with the same error until
/// [`Decoder::reset`](crate::Decoder::reset). Under
/// [`Decoder::skip_large_events`](crate::Decoder::skip_large_events), the events after it follow instead.
#[must_use = "the chunk is decoded as you take its events"]
pub struct Events<'d, 'c> {
    reader: &'d mut Reader,
    /// The end of the line that earlier chunks began.
    continuation: Option<&'c [u8]>,
    /// The whole lines of the chunk.
    lines: Cow<'c, str>,
    ends: LineEnds,
    /// The offset of the next line.
    at: usize,
    /// The beginning of a line that a later chunk ends.
    tail: &'c [u8],
    ready: Ready,
    done: bool,
}

/// The events of a chunk, paused between two of them. See [`Events::pause`].
#[derive(Debug)]
pub(crate) struct Paused {
    ends: LineEnds,
    at: usize,
    /// The number of bytes after the last whole line of the chunk.
    tail: usize,
}

/// The item that was returned last. It is cleared before the next line is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    Nothing,
    Block,
    /// Only the comment. Its block continues.
    Comment,
}

impl<'d, 'c> Events<'d, 'c> {
    // Always inlined. Otherwise the caller copies an iterator that was just written, and the processor
    // waits for the writes, once a chunk.
    #[inline(always)]
    pub(crate) fn new(reader: &'d mut Reader, chunk: &'c [u8]) -> Self {
        let chunk = if reader.failed { &[] } else { chunk };
        // Does nothing, unless the `Events` of the previous chunk were leaked.
        reader.block.drop_text();
        let Split {
            continuation,
            lines,
            tail,
        } = reader.splitter.split(chunk);
        Self {
            reader,
            continuation,
            lines: from_utf8(lines).map_or_else(|_| String::from_utf8_lossy(lines), Cow::Borrowed),
            ends: LineEnds::default(),
            at: 0,
            tail,
            ready: Ready::Nothing,
            done: false,
        }
    }

    /// Continues paused events. `text` is the copy of their [`lines`](Self::lines).
    #[inline(always)]
    pub(crate) fn resume(
        reader: &'d mut Reader,
        chunk: &'c [u8],
        text: &'c str,
        paused: Paused,
    ) -> Self {
        Self {
            reader,
            continuation: None,
            lines: Cow::Borrowed(text),
            ends: paused.ends,
            at: paused.at,
            tail: &chunk[chunk.len() - paused.tail..],
            ready: Ready::Nothing,
            done: false,
        }
    }

    /// Whether the chunk has no more events.
    #[inline(always)]
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// The whole lines of the chunk, as text. The caller copies them before it pauses.
    #[inline(always)]
    pub(crate) fn lines(&self) -> &str {
        &self.lines
    }

    /// Keeps the rest of the chunk for later. `None` if it has no more events.
    #[inline(always)]
    pub(crate) fn pause(mut self) -> Option<Paused> {
        self.clear_ready();
        // So that `drop` does not read the rest.
        let was_done = std::mem::replace(&mut self.done, true);
        (!was_done).then(|| Paused {
            ends: std::mem::take(&mut self.ends),
            at: self.at,
            tail: self.tail.len(),
        })
    }

    /// The next event, borrowed. If the chunk contains the whole event, nothing is allocated.
    ///
    /// # Errors
    /// [`EventTooLarge`] if a block exceeds
    /// [`Decoder::max_event_bytes`](crate::Decoder::max_event_bytes): once, or once for each block that is
    /// [skipped](crate::Decoder::skip_large_events).
    #[inline]
    pub fn try_next_ref(&mut self) -> Result<Option<EventRef<'_>>, EventTooLarge> {
        self.clear_ready();
        if self.done {
            return Ok(None);
        }
        if let Some(data) = self.next_line_event() {
            return Ok(Some(EventRef {
                data: Some(&self.lines[data]),
                id: self.reader.last_event_id.get(),
                ..EventRef::default()
            }));
        }
        self.advance()?;
        Ok(self.ready_ref())
    }

    #[inline]
    fn ready_ref(&self) -> Option<EventRef<'_>> {
        let Reader {
            block,
            last_event_id,
            ..
        } = &*self.reader;
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

    /// Clears the item that was returned last.
    #[inline]
    fn clear_ready(&mut self) {
        if self.ready == Ready::Nothing {
            return;
        }
        let block = &mut self.reader.block;
        if self.ready == Ready::Comment {
            block.comments.clear();
        } else {
            block.clear();
        }
        self.ready = Ready::Nothing;
    }

    /// The data of the next event, if that is the usual one: a single line of data and no other field.
    /// It bypasses the block.
    ///
    /// This path takes only an event that two LFs end and that is within the limit. All others are
    /// read line by line.
    #[inline(always)]
    fn next_line_event(&mut self) -> Option<Range<usize>> {
        if self.reader.block.begun || self.continuation.is_some() {
            return None;
        }
        let bytes = self.lines.as_bytes();
        let limit = self.reader.max_event_bytes;
        let data = line_event(bytes, &mut self.at, &mut self.ends, limit)?;
        self.done = self.at == bytes.len() && self.tail.is_empty();
        Some(data)
    }

    /// Reads lines up to the next item, and stores its kind in `ready`.
    fn advance(&mut self) -> Result<(), EventTooLarge> {
        match self.read() {
            Ok(ready) => {
                self.done = ready == Ready::Nothing;
                self.ready = ready;
                Ok(())
            }
            Err(OverLimit) => Err(self.handle_over_limit()),
        }
    }

    /// An event that is skipped ends neither the chunk nor the stream.
    #[cold]
    fn handle_over_limit(&mut self) -> EventTooLarge {
        let is_final = !self.reader.skips_large_events;
        self.done = is_final;
        self.reader.failed = is_final;
        self.reader.too_large()
    }

    fn read(&mut self) -> Result<Ready, OverLimit> {
        if self.reader.failed {
            return Err(OverLimit);
        }
        if let Some(continuation) = self.continuation.take()
            && self.reader.read_divided_line(continuation)?
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
                if self.reader.end_block(text)? {
                    return Ok(Ready::Block);
                }
            } else if self.reader.read_line(text, line)? {
                return Ok(Ready::Comment);
            }
        }
        self.reader.block.spill(text, self.reader.max_event_bytes);
        self.reader.hold_tail(self.tail)?;
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
                id: self.reader.last_event_id.owned(),
                ..Event::default()
            }));
        }
        self.next_of_block()
    }
}

impl Events<'_, '_> {
    /// The first event of a chunk, if it is a single line of data.
    // Always inlined: an event that is built in place is not moved, and the processor need not wait.
    #[inline(always)]
    pub(crate) fn first_of_line(&mut self) -> Option<Event> {
        let data = self.next_line_event()?;
        Some(Event {
            data: Some(self.lines[data].to_owned()),
            id: self.reader.last_event_id.owned(),
            ..Event::default()
        })
    }

    #[inline(never)]
    fn next_of_block(&mut self) -> Option<Result<Event, EventTooLarge>> {
        if let Err(error) = self.advance() {
            return Some(Err(error));
        }
        let Reader {
            block,
            last_event_id,
            names,
            ..
        } = &mut *self.reader;
        let text = &*self.lines;
        let mut event = Event::default();
        match self.ready {
            Ready::Nothing => return None,
            Ready::Block => {
                event.data = block.data.take(text);
                event.event = block.name.get(text).map(|name| names.get(name));
                event.id = last_event_id.owned();
                event.retry = block.retry;
                event.comments = block.comments.take(text);
            }
            Ready::Comment => {
                event.comments = block.comments.take(text);
                event.id = last_event_id.owned();
            }
        }
        Some(Ok(event))
    }
}

#[inline(always)]
fn line_event(
    bytes: &[u8],
    at: &mut usize,
    ends: &mut LineEnds,
    limit: usize,
) -> Option<Range<usize>> {
    let value = match bytes[*at..].strip_prefix(b"data:")? {
        [b' ', ..] => *at + "data: ".len(),
        _ => *at + "data:".len(),
    };
    let end = ends.peek(bytes)?;
    let ends_block = bytes[end..].starts_with(b"\n\n");
    if !ends_block || end - *at > limit {
        return None;
    }
    ends.skip_two();
    *at = end + 2;
    Some(value..end)
}

impl Paused {
    /// The next event, if it is a single line of data. The events stay paused.
    #[inline(always)]
    pub(crate) fn next_of_line(&mut self, reader: &mut Reader, text: &str) -> Option<Event> {
        if reader.block.begun {
            return None;
        }
        let limit = reader.max_event_bytes;
        let data = line_event(text.as_bytes(), &mut self.at, &mut self.ends, limit)?;
        Some(Event {
            data: Some(text[data].to_owned()),
            id: reader.last_event_id.owned(),
            ..Event::default()
        })
    }

    #[inline(always)]
    pub(crate) fn is_end(&self, text: &str) -> bool {
        self.at == text.len() && self.tail == 0
    }
}

impl Drop for Events<'_, '_> {
    fn drop(&mut self) {
        self.clear_ready();
        while !self.done {
            let _dropped = self.advance();
            self.clear_ready();
        }
    }
}

// Shows no text of the stream.
impl fmt::Debug for Events<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("at", &self.at)
            .field("of", &self.lines.len())
            .finish_non_exhaustive()
    }
}
