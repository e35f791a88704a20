//! `Incoming`: received bytes that are not delivered yet, decoded on demand.

use std::borrow::Cow;
use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use crate::cursor::Cursor;
use crate::splitter::ChunkText;
use crate::{Decoder, Event, EventTooLarge};

/// The maximum bytes of a chunk that are decoded at once. It limits the copy that a pause makes.
const WINDOW: usize = 16 * 1024;

/// The maximum bytes of memory for that copy that stay allocated after a chunk.
const RETAINED: usize = 1024;

/// A chunk that is decoded as its events are taken. So no decoded event waits in memory, unless the next
/// chunk arrives first.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    /// Events, and skipped ones, that were decoded before they were taken.
    waiting: VecDeque<Result<Event, EventTooLarge>>,
    /// The rest of the chunk. It begins with the window that is being decoded.
    chunk: Bytes,
    /// How far the window is read.
    cursor: Cursor,
    /// Whether the window is paused: its first event was taken, and `lines` has its lines.
    is_paused: bool,
    lines: String,
    /// The bytes after the last whole line of the window.
    tail: usize,
}

impl Incoming {
    /// Takes the next chunk. The previous one must be [settled](Self::settle).
    pub(crate) fn push(&mut self, chunk: Bytes) {
        self.chunk = chunk;
    }

    /// Decodes the events that were not taken.
    ///
    /// # Errors
    /// An event over the limit, which the decoder does not skip.
    pub(crate) fn settle(&mut self, decoder: &mut Decoder) -> Result<(), EventTooLarge> {
        while let Some(event) = self.decode(decoder) {
            match event {
                Err(error) if !decoder.skips_large_events() => {
                    self.chunk = Bytes::new();
                    return Err(error);
                }
                event => self.waiting.push_back(event),
            }
        }
        Ok(())
    }

    /// The next event.
    #[inline]
    pub(crate) fn next(&mut self, decoder: &mut Decoder) -> Option<Result<Event, EventTooLarge>> {
        if self.waiting.is_empty() {
            self.decode(decoder)
        } else {
            self.next_waiting()
        }
    }

    /// The events, and skipped ones, that were decoded before they were taken.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Result<Event, EventTooLarge>> {
        self.waiting.iter()
    }

    fn next_waiting(&mut self) -> Option<Result<Event, EventTooLarge>> {
        self.waiting.pop_front()
    }

    // Always inlined: saves 3 % of the instructions for a small event alone in its chunk.
    #[inline(always)]
    fn decode(&mut self, decoder: &mut Decoder) -> Option<Result<Event, EventTooLarge>> {
        while !self.chunk.is_empty() {
            let event = if self.is_paused {
                self.resume(decoder)
            } else {
                self.begin(decoder)
            };
            if self.cursor.is_done {
                self.end_window();
            }
            if event.is_some() {
                return event;
            }
        }
        None
    }

    /// The first event of the window.
    #[inline]
    fn begin(&mut self, decoder: &mut Decoder) -> Option<Result<Event, EventTooLarge>> {
        let reader = decoder.reader();
        let chunk = reader.begin(window(&self.chunk), &mut self.cursor);
        let event = reader.next_event(&mut self.cursor, &chunk);
        if !self.cursor.is_done {
            self.lines.clear();
            self.lines.push_str(&chunk.lines);
            self.tail = chunk.tail.len();
            self.is_paused = true;
        }
        event
    }

    /// The next event of the window.
    #[inline]
    fn resume(&mut self, decoder: &mut Decoder) -> Option<Result<Event, EventTooLarge>> {
        let window = window(&self.chunk);
        let chunk = ChunkText {
            continuation: None,
            lines: Cow::Borrowed(&self.lines),
            tail: &window[window.len() - self.tail..],
        };
        decoder.reader().next_event(&mut self.cursor, &chunk)
    }

    fn end_window(&mut self) {
        self.is_paused = false;
        if self.chunk.len() > WINDOW {
            self.chunk.advance(WINDOW);
        } else {
            self.chunk = Bytes::new();
            // So that a quiet session holds little memory.
            if self.lines.capacity() > RETAINED {
                self.lines = String::new();
            }
        }
    }
}

fn window(chunk: &[u8]) -> &[u8] {
    &chunk[..chunk.len().min(WINDOW)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_chunk_is_decoded_as_it_is_taken() {
        let mut decoder = Decoder::new();
        let mut incoming = Incoming::default();
        incoming.push("data: x\n\nevent: y\ndata: y\n\n".repeat(5_000).into());
        for _ in 0..5_000 {
            for text in ["x", "y"] {
                let event = incoming.next(&mut decoder).unwrap().unwrap();
                assert_eq!(event.text(), text);
                assert!(incoming.waiting.is_empty() && incoming.lines.len() <= WINDOW);
            }
        }
        assert_eq!(incoming.next(&mut decoder), None);
        assert!(incoming.lines.capacity() <= RETAINED);
    }
}
