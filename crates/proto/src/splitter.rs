//! Chunk boundaries: a BOM, a CRLF or a line that is divided between two chunks.

use memchr::{memchr2, memrchr2};

use crate::block::room;
use crate::line::{CR, LF};

const BOM: &[u8] = "\u{feff}".as_bytes();

#[derive(Debug, Default)]
pub(crate) struct Splitter {
    /// Whether it is decided that the stream began with a BOM or without.
    begun: bool,
    /// The bytes of a possible BOM so far, until that is decided.
    bom: usize,
    /// Whether the last byte was a CR. Then an LF belongs to it.
    after_cr: bool,
    /// The beginning of the divided line, as bytes: the cut may be inside a character.
    pub(crate) line: Vec<u8>,
    /// Whether the divided line is skipped, so that nothing of it is held.
    pub(crate) skipped: Skipped,
}

/// A divided line that is not held.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skipped {
    #[default]
    Nothing,
    Comment,
    /// A line over the limit, in a block that is skipped.
    LongLine,
}

/// A chunk in three parts, each of which may be empty.
#[derive(Debug)]
pub(crate) struct Split<'c> {
    /// The end of the divided line, without its line end. `None` if there is no such line, or if this
    /// chunk does not end it.
    pub(crate) continuation: Option<&'c [u8]>,
    /// Whole lines, with their line ends.
    pub(crate) lines: &'c [u8],
    /// The beginning of a line, or a middle part of the divided line.
    pub(crate) tail: &'c [u8],
}

impl Splitter {
    // Always inlined, like `Decoder::decode`, of which it is the larger part.
    #[inline(always)]
    pub(crate) fn split<'c>(&mut self, chunk: &'c [u8]) -> Split<'c> {
        let chunk = if self.begun {
            chunk
        } else {
            self.strip_bom(chunk)
        };
        let Some(&last) = chunk.last() else {
            return Split {
                continuation: None,
                lines: &[],
                tail: &[],
            };
        };
        let was_after_cr = std::mem::replace(&mut self.after_cr, last == CR);
        let chunk = if was_after_cr {
            chunk.strip_prefix(&[LF]).unwrap_or(chunk)
        } else {
            chunk
        };

        let mut continuation = None;
        let mut rest = chunk;
        if self.skipped != Skipped::Nothing || !self.line.is_empty() {
            let Some(end) = memchr2(LF, CR, chunk) else {
                return Split {
                    continuation,
                    lines: &[],
                    tail: chunk,
                };
            };
            continuation = Some(&chunk[..end]);
            let terminator = if chunk[end..].starts_with(&[CR, LF]) {
                2
            } else {
                1
            };
            rest = &chunk[end + terminator..];
        }
        let whole = match rest.last() {
            Some(&(LF | CR)) => rest.len(),
            _ => memrchr2(LF, CR, rest).map_or(0, |end| end + 1),
        };
        let (lines, tail) = rest.split_at(whole);
        Split {
            continuation,
            lines,
            tail,
        }
    }

    /// Removes a BOM at the start of the stream, even if it is divided between chunks.
    #[cold]
    fn strip_bom<'c>(&mut self, chunk: &'c [u8]) -> &'c [u8] {
        let expected = &BOM[self.bom..];
        let matched = expected
            .iter()
            .zip(chunk)
            .take_while(|(a, b)| a == b)
            .count();
        self.bom += matched;
        if matched == expected.len() {
            self.begun = true;
            return &chunk[matched..];
        }
        if matched == chunk.len() {
            return &[];
        }
        self.begun = true;
        // The bytes that looked like a BOM were text.
        self.line.extend_from_slice(&BOM[..self.bom - matched]);
        chunk
    }

    /// If this is the beginning of a comment, the rest of its line is not held.
    pub(crate) fn skip_comment(&mut self, tail: &[u8]) {
        let begins = self.skipped == Skipped::Nothing && self.line.is_empty();
        if begins && tail.first() == Some(&b':') {
            self.skipped = Skipped::Comment;
        }
    }

    /// The rest of the divided line is not held.
    pub(crate) fn skip_long_line(&mut self) {
        self.line = Vec::new();
        self.skipped = Skipped::LongLine;
    }

    /// Whether the line that ends now was skipped.
    pub(crate) fn take_skipped(&mut self) -> Skipped {
        std::mem::take(&mut self.skipped)
    }

    pub(crate) fn hold(&mut self, part: &[u8], limit: usize) {
        let line = &mut self.line;
        line.reserve_exact(room(line.len(), line.capacity(), part.len(), limit));
        line.extend_from_slice(part);
    }
}
