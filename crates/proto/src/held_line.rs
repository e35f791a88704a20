//! The line that a chunk has begun and not ended.

use crate::block::{Block, RETAINED, append};
use crate::field::Field;
use crate::utf8::{REPLACEMENT, Utf8Parts};

/// The bytes that tell the field of any line and where its value begins: `event: ` or `retry: `.
const BEGIN: usize = 7;

/// The line that a chunk has begun and not ended. Its value is held once: the data is appended to its
/// block, and the text of another value becomes that of the block, with its buffer.
#[derive(Debug, Default)]
pub(crate) struct HeldLine {
    /// The bytes of the line that were received. 0 if no line is held.
    received: usize,
    /// The bytes of its text, in which replacements may be longer than the bytes they replace.
    len: usize,
    /// The field, once it is known.
    field: Option<Field>,
    /// The first bytes, until the field is known.
    begin: [u8; BEGIN],
    utf8: Utf8Parts,
    /// The value, unless the block has it.
    text: String,
}

/// A held line that has ended.
#[derive(Debug)]
pub(crate) struct EndedLine {
    pub(crate) field: Field,
    /// The length of the line as text.
    pub(crate) len: usize,
    /// The value. Empty for data, which the block has.
    pub(crate) text: String,
}

impl HeldLine {
    pub(crate) fn is_empty(&self) -> bool {
        self.received == 0
    }

    /// Whether it is a comment if it continues with this part.
    pub(crate) fn is_comment_with(&self, part: &[u8]) -> bool {
        match (self.field, self.received) {
            (Some(field), _) => field == Field::Comment,
            (None, 0) => part.first() == Some(&b':'),
            (None, _) => self.begin[0] == b':',
        }
    }

    /// Whether the line counts only if its block ends.
    pub(crate) fn is_part_of_event(&self) -> bool {
        !self.is_empty() && !self.is_comment_with(&[])
    }

    /// The bytes of the line up to the end of this part. The count stops at half of the largest number, so
    /// that a sum with it cannot overflow.
    pub(crate) fn len_with(&self, part: &[u8]) -> usize {
        (self.received + part.len()).min(usize::MAX / 2)
    }

    /// Continues a comment that is not held.
    pub(crate) fn skip_comment(&mut self, part: &[u8]) {
        self.field = Some(Field::Comment);
        self.received = self.len_with(part);
    }

    /// Continues the line. Its text is held up to `max` bytes.
    #[inline]
    pub(crate) fn push(&mut self, part: &[u8], block: &mut Block, max: usize) {
        if self.field.is_none() {
            return self.push_begin(part, block, max);
        }
        self.received = self.len_with(part);
        self.push_value(part, block, max);
    }

    /// Continues a line whose field is not known yet.
    fn push_begin(&mut self, part: &[u8], block: &mut Block, max: usize) {
        let before = self.received;
        self.received = self.len_with(part);
        let (begin, rest) = part.split_at(part.len().min(BEGIN - before));
        self.begin[before..before + begin.len()].copy_from_slice(begin);
        if before + begin.len() == BEGIN {
            self.decide(BEGIN, block, max);
            self.push_value(rest, block, max);
        }
    }

    /// Ends the line.
    pub(crate) fn end(&mut self, block: &mut Block, max: usize) -> EndedLine {
        let field = match self.field {
            Some(field) => field,
            None => self.decide(self.received, block, max),
        };
        if self.utf8.end() {
            self.push_value(REPLACEMENT.as_bytes(), block, max);
        }
        self.field = None;
        self.received = 0;
        EndedLine {
            field,
            len: std::mem::take(&mut self.len),
            text: std::mem::take(&mut self.text),
        }
    }

    /// Takes back the buffer of a line that was read.
    pub(crate) fn reuse(&mut self, mut text: String) {
        if text.capacity() <= RETAINED {
            text.clear();
            self.text = text;
        }
    }

    /// Determines the field by the first bytes of the line, and holds the part of the value among them.
    fn decide(&mut self, len: usize, block: &mut Block, max: usize) -> Field {
        let begin = self.begin;
        let (field, at) = Field::of(&begin[..len]);
        self.field = Some(field);
        self.len = at;
        if field == Field::Data && !block.is_skipped {
            block.data.begin_line(max);
        }
        self.push_value(&begin[at..len], block, max);
        field
    }

    #[inline]
    fn push_value(&mut self, part: &[u8], block: &mut Block, max: usize) {
        let Self {
            utf8,
            field,
            len,
            text,
            ..
        } = self;
        utf8.push(part, |piece| hold(*field, piece, len, text, block, max));
    }
}

/// Holds a piece of the value. Nothing is held of a line that is over the limit by itself, and of one whose
/// value does not count.
#[inline]
fn hold(
    field: Option<Field>,
    piece: &str,
    len: &mut usize,
    text: &mut String,
    block: &mut Block,
    max: usize,
) {
    *len = (*len + piece.len()).min(usize::MAX / 2);
    let buffer = match field {
        Some(Field::Data) if !block.is_skipped => block.data.line_buffer(),
        Some(Field::Event) if !block.is_skipped => text,
        Some(Field::Id | Field::Retry | Field::Comment) => text,
        _ => return,
    };
    if *len <= max {
        append(buffer, piece, max);
    } else {
        *buffer = String::new();
    }
}
