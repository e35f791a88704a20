//! `Incoming`: received bytes that are not delivered yet, decoded on demand.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use crate::events::Paused;
use crate::{Decoder, Event, EventTooLarge, Events};

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
    /// The paused events of the window, after its first event was taken.
    paused: Option<Paused>,
    /// The lines of the window, while its events are paused.
    lines: String,
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
    // Always inlined, here and below: an event that is built in place is not moved, and the processor
    // need not wait.
    #[inline(always)]
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

    #[inline(never)]
    fn next_waiting(&mut self) -> Option<Result<Event, EventTooLarge>> {
        self.waiting.pop_front()
    }

    #[inline(always)]
    fn decode(&mut self, decoder: &mut Decoder) -> Option<Result<Event, EventTooLarge>> {
        if self.chunk.is_empty() {
            return None;
        }
        // Most events are a single line of data. They take this shortcut.
        if let Some(paused) = &mut self.paused {
            if let Some(event) = decoder.next_of_line(paused, &self.lines) {
                if paused.is_end(&self.lines) {
                    self.end_window();
                }
                return Some(Ok(event));
            }
            return self.decode_block(decoder);
        }
        let mut events = decoder.decode(window(&self.chunk));
        if let Some(event) = events.first_of_line() {
            let paused = pause(events, &mut self.lines);
            self.set_paused(paused);
            return Some(Ok(event));
        }
        let event = events.next();
        let paused = pause(events, &mut self.lines);
        self.set_paused(paused);
        event.or_else(|| self.decode_block(decoder))
    }

    /// The next event, of any shape.
    #[inline(never)]
    fn decode_block(&mut self, decoder: &mut Decoder) -> Option<Result<Event, EventTooLarge>> {
        while !self.chunk.is_empty() {
            let (event, paused) = if let Some(paused) = self.paused.take() {
                let mut events = decoder.resume(window(&self.chunk), &self.lines, paused);
                (events.next(), events.pause())
            } else {
                let mut events = decoder.decode(window(&self.chunk));
                (events.next(), pause(events, &mut self.lines))
            };
            self.set_paused(paused);
            if event.is_some() {
                return event;
            }
        }
        None
    }

    /// Stores the paused events, or moves to the next window if there are none.
    #[inline(always)]
    fn set_paused(&mut self, paused: Option<Paused>) {
        match paused {
            Some(_) => self.paused = paused,
            None => self.end_window(),
        }
    }

    #[inline(always)]
    fn end_window(&mut self) {
        self.paused = None;
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

#[inline(always)]
fn window(chunk: &[u8]) -> &[u8] {
    &chunk[..chunk.len().min(WINDOW)]
}

/// Pauses the events of a window, and copies its lines.
#[inline(always)]
fn pause(events: Events<'_, '_>, lines: &mut String) -> Option<Paused> {
    if !events.is_done() {
        lines.clear();
        lines.push_str(events.lines());
    }
    events.pause()
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
