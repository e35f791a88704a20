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

/// Where the events of a chunk were left, to go on later: see [`Events::leave`].
#[derive(Debug)]
pub(crate) struct Place {
    ends: LineEnds,
    at: usize,
    /// How many bytes of the chunk's end are no whole line.
    tail: usize,
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

    /// Goes on where they were left; the lines are those that were put into `text`.
    #[inline(always)]
    pub(crate) fn resume(
        reader: &'d mut Reader,
        chunk: &'c [u8],
        text: &'c str,
        place: Place,
    ) -> Self {
        Self {
            reader,
            head: None,
            lines: Cow::Borrowed(text),
            ends: place.ends,
            at: place.at,
            tail: &chunk[chunk.len() - place.tail..],
            ready: Ready::Nothing,
            done: false,
        }
    }

    /// Whether another event may come of this chunk: to leave then would be to drop it.
    #[inline(always)]
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// What has been read as text: what a chunk that is left is resumed with.
    #[inline(always)]
    pub(crate) fn lines(&self) -> &str {
        &self.lines
    }

    /// Leaves the rest of the chunk for later, after an event was taken. `None` if there is none.
    #[inline(always)]
    pub(crate) fn leave(mut self) -> Option<Place> {
        self.clear_ready();
        // There is nothing left to be read as this is dropped.
        let was_done = std::mem::replace(&mut self.done, true);
        (!was_done).then(|| Place {
            ends: std::mem::take(&mut self.ends),
            at: self.at,
            tail: self.tail.len(),
        })
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
        let limit = self.reader.max_event_bytes;
        let data = line_event(bytes, &mut self.at, &mut self.ends, limit)?;
        self.done = self.at == bytes.len() && self.tail.is_empty();
        Some(data)
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
        self.next_of_block()
    }
}

impl Events<'_, '_> {
    /// The next event of a chunk that nothing was taken of yet, if it is a line of data.
    // Always: what is built where it is used is not moved, and the processor need not wait for it.
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

impl Place {
    /// The next event of a chunk that was left, if it is a line of data: without resuming it.
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
        while !self.done && self.advance().is_ok() {
            self.clear_ready();
        }
    }
}
