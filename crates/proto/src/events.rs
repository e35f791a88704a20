//! `Events`: the iterator over the events that one chunk completes.

use std::fmt;

use crate::cursor::{Cursor, Item};
use crate::reader::Reader;
use crate::splitter::ChunkText;
use crate::{Event, EventRef, EventTooLarge};

/// The events of one chunk. Iterating returns owned events, [`Events::try_next_ref`] borrowed ones.
///
/// After an error it returns no more events, and each later chunk fails with the same error until
/// [`Decoder::reset`](crate::Decoder::reset). Under
/// [`Decoder::skip_large_events`](crate::Decoder::skip_large_events), the events after it follow instead.
#[must_use = "the chunk is decoded as you take its events"]
pub struct Events<'d, 'c> {
    reader: &'d mut Reader,
    chunk: ChunkText<'c>,
    cursor: Cursor,
    /// The borrowed event that was returned last. It is cleared before the next line is read.
    taken: Item,
}

impl<'d, 'c> Events<'d, 'c> {
    #[inline]
    pub(crate) fn new(reader: &'d mut Reader, chunk: &'c [u8]) -> Self {
        let mut cursor = Cursor::default();
        let chunk = reader.begin(chunk, &mut cursor);
        Self {
            reader,
            chunk,
            cursor,
            taken: Item::Nothing,
        }
    }

    /// The next event, borrowed. If the chunk contains the whole event, nothing is allocated.
    ///
    /// # Errors
    /// [`EventTooLarge`] if a block exceeds
    /// [`Decoder::max_event_bytes`](crate::Decoder::max_event_bytes): once, or once for each block that is
    /// [skipped](crate::Decoder::skip_large_events).
    #[inline]
    pub fn try_next_ref(&mut self) -> Result<Option<EventRef<'_>>, EventTooLarge> {
        self.clear_taken();
        if self.cursor.is_done {
            return Ok(None);
        }
        let data = self.reader.next_line_event(&mut self.cursor, &self.chunk);
        if let Some(data) = data {
            return Ok(Some(EventRef {
                data: Some(&self.chunk.lines[data]),
                id: self.reader.last_event_id.get(),
                ..EventRef::default()
            }));
        }
        self.take_item()?;
        Ok(self.taken_ref())
    }

    #[inline(never)]
    fn take_item(&mut self) -> Result<(), EventTooLarge> {
        self.taken = self.reader.next_item(&mut self.cursor, &self.chunk)?;
        Ok(())
    }

    #[inline]
    fn taken_ref(&self) -> Option<EventRef<'_>> {
        let Reader {
            block,
            last_event_id,
            ..
        } = &*self.reader;
        let text = &*self.chunk.lines;
        match self.taken {
            Item::Nothing => None,
            Item::Block => Some(EventRef {
                data: block.data.get(text),
                event: block.name.get(text),
                id: last_event_id.get(),
                retry: block.retry,
                comments: block.comments.get(text),
            }),
            Item::Comments => Some(EventRef {
                comments: block.comments.get(text),
                id: last_event_id.get(),
                ..EventRef::default()
            }),
        }
    }

    #[inline]
    fn clear_taken(&mut self) {
        let taken = std::mem::replace(&mut self.taken, Item::Nothing);
        self.reader.clear(taken);
    }
}

impl Events<'_, '_> {
    /// Reads the rest of the chunk, and drops its events.
    #[cold]
    fn drain(&mut self) {
        self.clear_taken();
        while !self.cursor.is_done {
            let _dropped = self.take_item();
            self.clear_taken();
        }
    }
}

impl Iterator for Events<'_, '_> {
    type Item = Result<Event, EventTooLarge>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.clear_taken();
        self.reader.next_event(&mut self.cursor, &self.chunk)
    }
}

impl Drop for Events<'_, '_> {
    #[inline]
    fn drop(&mut self) {
        if self.taken != Item::Nothing || !self.cursor.is_done {
            self.drain();
        }
    }
}

// Shows no text of the stream.
impl fmt::Debug for Events<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("cursor", &self.cursor)
            .field("of", &self.chunk.lines.len())
            .finish_non_exhaustive()
    }
}
