//! Owns the unfinished block: the fields read since the last empty line, wherever their text is.

use std::ops::Range;
use std::time::Duration;

/// What a buffer keeps of its memory once a larger value has left it, in bytes.
pub(crate) const RETAINED: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Block {
    /// A line has been read since the last empty one: until then all else is empty.
    pub(crate) begun: bool,
    pub(crate) name: Value,
    pub(crate) data: Value,
    pub(crate) id: Value,
    pub(crate) comments: Value,
    pub(crate) retry: Option<Duration>,
}

impl Block {
    /// How many bytes of text it holds.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.name.len + self.data.len + self.id.len + self.comments.len
    }

    /// Copies what still lies in a text that is about to go away.
    #[inline]
    pub(crate) fn spill(&mut self, text: &str, limit: usize) {
        if !self.begun {
            return;
        }
        for value in self.values() {
            value.spill(text, limit);
        }
    }

    /// Forgets what lies in a text that is gone.
    #[inline]
    pub(crate) fn drop_text(&mut self) {
        if self.begun {
            for value in self.values() {
                value.drop_text();
            }
        }
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        if !self.begun {
            return;
        }
        self.begun = false;
        self.name.clear();
        self.data.clear();
        self.id.clear();
        self.comments.clear();
        self.retry = None;
    }

    fn values(&mut self) -> [&mut Value; 4] {
        [
            &mut self.name,
            &mut self.data,
            &mut self.id,
            &mut self.comments,
        ]
    }
}

/// The value of one field: left where it was read for as long as it can be.
#[derive(Debug, Default)]
pub(crate) struct Value {
    place: Place,
    pub(crate) len: usize,
    buffer: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The field was not set.
    #[default]
    Nowhere,
    /// In the text of the current chunk, from this offset.
    Text(usize),
    Buffer,
}

impl Value {
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.place != Place::Nowhere
    }

    #[inline]
    pub(crate) fn get<'a>(&'a self, text: &'a str) -> Option<&'a str> {
        match self.place {
            Place::Nowhere => None,
            Place::Text(at) => Some(&text[at..at + self.len]),
            Place::Buffer => Some(&self.buffer),
        }
    }

    /// Replaces the value by this part of the text.
    #[inline]
    pub(crate) fn set(&mut self, range: Range<usize>) {
        self.release();
        self.place = Place::Text(range.start);
        self.len = range.len();
    }

    /// Adds a line: LF and this part of the text.
    #[inline]
    pub(crate) fn add_line(&mut self, text: &str, range: Range<usize>, limit: usize) {
        if !self.is_set() {
            return self.set(range);
        }
        self.spill(text, limit);
        self.len += 1 + range.len();
        self.reserve(1 + range.len(), limit);
        self.buffer.push('\n');
        self.buffer.push_str(&text[range]);
    }

    pub(crate) fn spill(&mut self, text: &str, limit: usize) {
        if let Place::Text(at) = self.place {
            self.buffer.clear();
            self.reserve(self.len, limit);
            self.buffer.push_str(&text[at..at + self.len]);
            self.place = Place::Buffer;
        }
    }

    fn drop_text(&mut self) {
        if matches!(self.place, Place::Text(_)) {
            self.clear();
        }
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.release();
        self.place = Place::Nowhere;
        self.len = 0;
    }

    /// Gives back what a large value took: nothing will read the buffer again.
    #[inline]
    fn release(&mut self) {
        if self.place == Place::Buffer {
            self.buffer.clear();
            if self.buffer.capacity() > RETAINED {
                self.buffer = String::new();
            }
        }
    }

    /// The value as a string of its own: a copy, or, of a large one, the buffer itself.
    // Always: what is returned through memory and moved at once makes the processor wait.
    #[inline(always)]
    pub(crate) fn take(&mut self, text: &str) -> Option<String> {
        if self.place == Place::Buffer && self.len > RETAINED {
            self.place = Place::Nowhere;
            self.len = 0;
            let mut value = std::mem::take(&mut self.buffer);
            value.shrink_to_fit();
            return Some(value);
        }
        self.get(text).map(str::to_owned)
    }

    /// Makes this the text of `kept`, without a copy where there is a buffer to trade.
    pub(crate) fn trade(&mut self, text: &str, kept: &mut String) {
        if self.place == Place::Buffer {
            std::mem::swap(&mut self.buffer, kept);
        } else if let Some(value) = self.get(text) {
            kept.clear();
            kept.shrink_to(RETAINED);
            kept.push_str(value);
        }
    }

    fn reserve(&mut self, more: usize, limit: usize) {
        let buffer = &mut self.buffer;
        buffer.reserve_exact(room(buffer.len(), buffer.capacity(), more, limit));
    }
}

/// How much more to reserve so that `more` bytes fit: buffers grow by doubling, but not past the
/// limit unless they must, as doubling would hold up to twice as much as what is counted.
pub(crate) fn room(len: usize, capacity: usize, more: usize, limit: usize) -> usize {
    if more <= capacity - len {
        return 0;
    }
    (len + more).max((capacity * 2).min(limit)) - len
}
