//! Owns `Events`: what one chunk completes, as it is taken.

use std::borrow::Cow;
use std::ops::Range;

use simdutf8::basic::from_utf8;

use crate::line::{CR, LF, LineEnds};
use crate::reader::Reader;
use crate::splitter::Split;
use crate::{Event, EventRef, EventTooLarge};

/// The events of one chunk: owned by iterating, borrowed by [`Events::try_next_ref`].
///
/// After an error there are no more, and further chunks give the same error until
/// [`Decoder::reset`](crate::Decoder::reset).
#[derive(Debug)]
#[must_use = "the chunk is decoded as its events are taken"]
pub struct Events<'d, 'c> {
    reader: &'d mut Reader,
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

/// What is handed out now and cleared before reading goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    Nothing,
    Block,
    /// Only the comment: its block goes on.
    Comment,
}

impl<'d, 'c> Events<'d, 'c> {
    // Always: else the caller copies an iterator that was written a moment ago, and the processor
    // waits for the writes, once a chunk.
    #[inline(always)]
    pub(crate) fn new(reader: &'d mut Reader, chunk: &'c [u8]) -> Self {
        let chunk = if reader.failed { &[] } else { chunk };
        // Nothing, unless the events of the chunk before were leaked.
        reader.block.drop_text();
        let Split { head, lines, tail } = reader.splitter.split(chunk);
        Self {
            reader,
            head,
            lines: from_utf8(lines).map_or_else(|_| String::from_utf8_lossy(lines), Cow::Borrowed),
            ends: LineEnds::default(),
            at: 0,
            tail,
            ready: Ready::Nothing,
            done: false,
        }
    }

    /// The next event, borrowed from the chunk where it lies whole in it: costs no allocation.
    ///
    /// # Errors
    /// [`EventTooLarge`], once, if a block is over [`Decoder::max_event_bytes`](crate::Decoder::max_event_bytes).
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

    /// Clears what was handed out last.
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

    /// The data of the next event if it is the usual one, a line of data and nothing else, which
    /// never gets into the block.
    ///
    /// Two LFs end it; after any other line end, and over the limit, the lines are read one by one.
    #[inline(always)]
    fn next_line_event(&mut self) -> Option<Range<usize>> {
        if self.reader.block.begun || self.head.is_some() {
            return None;
        }
        let bytes = self.lines.as_bytes();
        let value = match bytes[self.at..].strip_prefix(b"data:")? {
            [b' ', ..] => self.at + "data: ".len(),
            _ => self.at + "data:".len(),
        };
        let end = self.ends.peek(bytes)?;
        let ends_block = bytes[end..].starts_with(b"\n\n");
        if !ends_block || end - self.at > self.reader.max_event_bytes {
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
        self.reader.failed = ready.is_err();
        self.ready = ready?;
        Ok(())
    }

    fn read(&mut self) -> Result<Ready, EventTooLarge> {
        if self.reader.failed {
            return Err(self.reader.too_large());
        }
        if let Some(head) = self.head.take()
            && self.reader.read_split_line(head)?
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
                if self.reader.end_block(text) {
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

impl Drop for Events<'_, '_> {
    fn drop(&mut self) {
        self.clear_ready();
        while !self.done && self.advance().is_ok() {
            self.clear_ready();
        }
    }
}
