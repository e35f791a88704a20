//! Chunk boundaries: a BOM, a CRLF or a line that is divided between two chunks.

use std::borrow::Cow;

use memchr::{memchr2, memrchr2};
use simdutf8::basic::from_utf8;

use crate::line::{CR, LF};

const BOM: &[u8] = "\u{feff}".as_bytes();

#[derive(Debug, Default)]
pub(crate) struct Splitter {
    /// Whether it is decided that the stream began with a BOM or without.
    pub(crate) begun: bool,
    /// The bytes of a possible BOM so far, until that is decided.
    bom: usize,
    /// Whether the last byte was a CR. Then an LF belongs to it.
    after_cr: bool,
}

/// A chunk in three parts, each of which may be empty.
#[derive(Debug)]
pub(crate) struct ChunkText<'c> {
    /// The end of the divided line, without its line end. `None` if there is no such line, or if this
    /// chunk does not end it.
    pub(crate) continuation: Option<&'c [u8]>,
    /// Whole lines, with their line ends. Invalid bytes are replaced.
    pub(crate) lines: Cow<'c, str>,
    /// The beginning of a line, or a middle part of the divided line.
    pub(crate) tail: &'c [u8],
}

impl Splitter {
    /// `is_divided` tells whether the chunk continues a line.
    // Always inlined: saves 7 % of the instructions for a small event alone in its chunk.
    #[inline(always)]
    pub(crate) fn split<'c>(&mut self, chunk: &'c [u8], is_divided: bool) -> ChunkText<'c> {
        let Some(&last) = chunk.last() else {
            return ChunkText {
                continuation: None,
                lines: Cow::Borrowed(""),
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
        if is_divided {
            let Some(end) = memchr2(LF, CR, chunk) else {
                return ChunkText {
                    continuation,
                    lines: Cow::Borrowed(""),
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
        ChunkText {
            continuation,
            lines: from_utf8(lines).map_or_else(|_| String::from_utf8_lossy(lines), Cow::Borrowed),
            tail,
        }
    }

    /// Removes a BOM at the start of the stream, even if it is divided between chunks. Also returns the end
    /// of the previous chunks that looked like the beginning of a BOM and was text.
    #[cold]
    pub(crate) fn strip_bom<'c>(&mut self, chunk: &'c [u8]) -> (&'static [u8], &'c [u8]) {
        let expected = &BOM[self.bom..];
        let matched = expected
            .iter()
            .zip(chunk)
            .take_while(|(a, b)| a == b)
            .count();
        self.bom += matched;
        if matched == expected.len() {
            self.begun = true;
            return (&[], &chunk[matched..]);
        }
        if matched == chunk.len() {
            return (&[], &[]);
        }
        self.begun = true;
        (&BOM[..self.bom - matched], chunk)
    }
}
