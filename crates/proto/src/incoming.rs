//! Owns `Incoming`: what has come of a stream and is not handed out yet.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use crate::events::Place;
use crate::{Decoder, Event, EventTooLarge, Events};

/// How much of a chunk is read at once, in bytes: bounds what is copied of it, however large it is.
const WINDOW: usize = 16 * 1024;

/// What is kept of the memory for that once all of a chunk was taken, in bytes.
const RETAINED: usize = 1024;

/// A chunk, decoded as its events are taken: none has to wait in memory, unless another chunk
/// comes before.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    /// Decoded before they were taken.
    waiting: VecDeque<Event>,
    /// What is not decoded yet. It begins with the window that is being read.
    chunk: Bytes,
    /// Where the window was left, if it was begun.
    place: Option<Place>,
    /// The lines of the window, once it was left.
    lines: String,
}

impl Incoming {
    /// Another chunk has come, and the one before is [settled](Self::settle).
    pub(crate) fn push(&mut self, chunk: Bytes) {
        self.chunk = chunk;
    }

    /// Makes the events wait that were not taken.
    pub(crate) fn settle(&mut self, decoder: &mut Decoder) -> Result<(), EventTooLarge> {
        while let Some(event) = self.decode(decoder) {
            match event {
                Ok(event) => self.waiting.push_back(event),
                Err(error) => {
                    self.chunk = Bytes::new();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// The next event.
    // Always, here and below: what is built where it is used is not moved, and the processor need
    // not wait for it.
    #[inline(always)]
    pub(crate) fn next(&mut self, decoder: &mut Decoder) -> Option<Result<Event, EventTooLarge>> {
        if self.waiting.is_empty() {
            self.decode(decoder)
        } else {
            self.next_waiting()
        }
    }

    #[inline(never)]
    fn next_waiting(&mut self) -> Option<Result<Event, EventTooLarge>> {
        self.waiting.pop_front().map(Ok)
    }

    #[inline(always)]
    fn decode(&mut self, decoder: &mut Decoder) -> Option<Result<Event, EventTooLarge>> {
        if self.chunk.is_empty() {
            return None;
        }
        // Most events are a line of data: without the detour of any other.
        if let Some(place) = &mut self.place {
            if let Some(event) = decoder.next_of_line(place, &self.lines) {
                if place.is_end(&self.lines) {
                    self.end_window();
                }
                return Some(Ok(event));
            }
            return self.decode_block(decoder);
        }
        let mut events = decoder.decode(window(&self.chunk));
        if let Some(event) = events.first_of_line() {
            let place = leave(events, &mut self.lines);
            self.set_place(place);
            return Some(Ok(event));
        }
        let event = events.next();
        let place = leave(events, &mut self.lines);
        self.set_place(place);
        event.or_else(|| self.decode_block(decoder))
    }

    /// The next event, whatever it is.
    #[inline(never)]
    fn decode_block(&mut self, decoder: &mut Decoder) -> Option<Result<Event, EventTooLarge>> {
        while !self.chunk.is_empty() {
            let (event, place) = if let Some(place) = self.place.take() {
                let mut events = decoder.resume(window(&self.chunk), &self.lines, place);
                (events.next(), events.leave())
            } else {
                let mut events = decoder.decode(window(&self.chunk));
                (events.next(), leave(events, &mut self.lines))
            };
            self.set_place(place);
            if event.is_some() {
                return event;
            }
        }
        None
    }

    /// The window was left here, or is read to its end.
    #[inline(always)]
    fn set_place(&mut self, place: Option<Place>) {
        match place {
            Some(_) => self.place = place,
            None => self.end_window(),
        }
    }

    #[inline(always)]
    fn end_window(&mut self) {
        self.place = None;
        if self.chunk.len() > WINDOW {
            self.chunk.advance(WINDOW);
        } else {
            self.chunk = Bytes::new();
            // A quiet session holds no more of what it has heard.
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

/// Leaves the events of a window for later, and keeps its lines.
#[inline(always)]
fn leave(events: Events<'_, '_>, lines: &mut String) -> Option<Place> {
    if !events.is_done() {
        lines.clear();
        lines.push_str(events.lines());
    }
    events.leave()
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
