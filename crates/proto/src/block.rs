//! The unfinished block: the fields since the last empty line.

use std::ops::Range;
use std::time::Duration;

/// The maximum bytes of memory that a buffer keeps after a large value.
pub(crate) const RETAINED: usize = 64 * 1024;

/// The maximum bytes of unused memory that a large owned value keeps. A smaller slack is not freed: after a
/// buffer that was shrunk, glibc maps memory anew for the next one, and the page faults take ten times the
/// rest of decoding an event of 1 MB (0.6 ns a byte beside 0.06).
const MAX_SLACK: usize = 4 * 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Block {
    /// Whether a line was read since the last empty one. Otherwise all other fields are empty.
    pub(crate) begun: bool,
    /// Whether it is over the limit, and read only for its ID.
    pub(crate) is_skipped: bool,
    pub(crate) name: Value,
    pub(crate) data: Value,
    pub(crate) id: Value,
    pub(crate) comments: Value,
    pub(crate) retry: Option<Duration>,
}

impl Block {
    /// The bytes of text that it holds.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.name.len + self.data.len + self.id.len + self.comments.len
    }

    /// Whether it has a field that only its end makes count.
    pub(crate) fn has_part_of_event(&self) -> bool {
        self.is_skipped || self.data.is_set() || self.name.is_set() || self.id.is_set()
    }

    /// Drops all values but the ID, and all later ones.
    pub(crate) fn skip(&mut self) {
        self.begun = true;
        self.is_skipped = true;
        self.name.clear();
        self.data.clear();
        self.comments.clear();
        self.retry = None;
    }

    /// Copies the values that are still in the text of the chunk, which ends.
    #[inline]
    pub(crate) fn spill(&mut self, text: &str, limit: usize) {
        if !self.begun {
            return;
        }
        for value in self.values() {
            value.spill(text, limit);
        }
    }

    /// Clears the values in the text of a chunk that no longer exists.
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
        self.is_skipped = false;
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

/// The value of one field. It stays in the text of the chunk as long as possible.
#[derive(Debug, Default)]
pub(crate) struct Value {
    storage: ValueStorage,
    pub(crate) len: usize,
    buffer: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ValueStorage {
    /// The block has no such field.
    #[default]
    Unset,
    /// The value is in the text of the current chunk, from this offset.
    Text(usize),
    /// The value is in `buffer`.
    Buffer,
}

impl Value {
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.storage != ValueStorage::Unset
    }

    #[inline]
    pub(crate) fn get<'a>(&'a self, text: &'a str) -> Option<&'a str> {
        match self.storage {
            ValueStorage::Unset => None,
            ValueStorage::Text(at) => Some(&text[at..at + self.len]),
            ValueStorage::Buffer => Some(&self.buffer),
        }
    }

    /// Replaces the value with this part of the text.
    #[inline]
    pub(crate) fn set(&mut self, range: Range<usize>) {
        self.release();
        self.storage = ValueStorage::Text(range.start);
        self.len = range.len();
    }

    /// Appends a line: LF and this part of the text.
    #[inline]
    pub(crate) fn add_line(&mut self, text: &str, range: Range<usize>, limit: usize) {
        if !self.is_set() {
            return self.set(range);
        }
        self.spill(text, limit);
        self.push_line(&text[range], limit);
    }

    /// Replaces the value with a held text, whose buffer becomes that of the value.
    pub(crate) fn set_held(&mut self, held: &mut String) {
        self.release();
        std::mem::swap(&mut self.buffer, held);
        self.storage = ValueStorage::Buffer;
        self.len = self.buffer.len();
    }

    /// Appends a line: LF and a held text.
    pub(crate) fn add_held_line(&mut self, held: &mut String, limit: usize) {
        if !self.is_set() {
            return self.set_held(held);
        }
        debug_assert_eq!(self.storage, ValueStorage::Buffer, "spilled with its chunk");
        self.push_line(held, limit);
    }

    /// Begins a line that is appended in parts, to the returned buffer, until [`end_line`](Self::end_line).
    /// The length of the value does not count the line before its end.
    pub(crate) fn begin_line(&mut self, limit: usize) {
        if self.is_set() {
            debug_assert_eq!(self.storage, ValueStorage::Buffer, "spilled with its chunk");
            append(&mut self.buffer, "\n", limit);
        } else {
            debug_assert!(self.buffer.is_empty());
            self.storage = ValueStorage::Buffer;
        }
    }

    /// The buffer for the parts of a line that has begun.
    pub(crate) fn line_buffer(&mut self) -> &mut String {
        debug_assert_eq!(self.storage, ValueStorage::Buffer, "a line has begun");
        &mut self.buffer
    }

    pub(crate) fn end_line(&mut self) {
        self.len = self.buffer.len();
    }

    #[inline]
    fn push_line(&mut self, line: &str, limit: usize) {
        let buffer = &mut self.buffer;
        reserve(buffer, 1 + line.len(), limit);
        buffer.push('\n');
        buffer.push_str(line);
        self.len = buffer.len();
    }

    pub(crate) fn spill(&mut self, text: &str, limit: usize) {
        if let ValueStorage::Text(at) = self.storage {
            debug_assert!(self.buffer.is_empty(), "released with its value");
            append(&mut self.buffer, &text[at..at + self.len], limit);
            self.storage = ValueStorage::Buffer;
        }
    }

    fn drop_text(&mut self) {
        if matches!(self.storage, ValueStorage::Text(_)) {
            self.clear();
        }
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.release();
        self.storage = ValueStorage::Unset;
        self.len = 0;
    }

    /// Empties the buffer, and frees the memory of a large value.
    #[inline]
    fn release(&mut self) {
        if self.storage == ValueStorage::Buffer {
            self.buffer.clear();
            if self.buffer.capacity() > RETAINED {
                self.buffer = String::new();
            }
        }
    }

    /// The value as an owned string: a copy, or the buffer itself for a large value.
    // Always inlined: saves 3 % of the instructions for an owned event of two lines.
    #[inline(always)]
    pub(crate) fn take(&mut self, text: &str) -> Option<String> {
        if self.storage == ValueStorage::Buffer && self.len > RETAINED {
            self.storage = ValueStorage::Unset;
            self.len = 0;
            let mut value = std::mem::take(&mut self.buffer);
            if value.capacity() - value.len() > MAX_SLACK {
                value.shrink_to_fit();
            }
            return Some(value);
        }
        self.get(text).map(str::to_owned)
    }

    /// Stores the value in `kept`. Swaps the buffers if it has one, otherwise copies.
    pub(crate) fn trade(&mut self, text: &str, kept: &mut String) {
        if self.storage == ValueStorage::Buffer {
            std::mem::swap(&mut self.buffer, kept);
        } else if let Some(value) = self.get(text) {
            kept.clear();
            kept.shrink_to(RETAINED);
            kept.push_str(value);
        }
    }
}

/// Appends to a buffer that [`reserve`] lets grow.
#[inline]
pub(crate) fn append(buffer: &mut String, text: &str, limit: usize) {
    reserve(buffer, text.len(), limit);
    buffer.push_str(text);
}

/// Reserves room for `more` bytes. A buffer doubles, but exceeds the limit only if it must: otherwise it
/// could hold twice the bytes that the limit counts.
#[inline]
fn reserve(buffer: &mut String, more: usize, limit: usize) {
    let (len, capacity) = (buffer.len(), buffer.capacity());
    if more > capacity - len {
        buffer.reserve_exact((len + more).max((capacity * 2).min(limit)) - len);
    }
}
