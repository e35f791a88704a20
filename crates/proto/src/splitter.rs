//! Owns the cuts: the BOM, the CRLF and the line that the end of a chunk may fall into.

use memchr::{memchr2, memrchr2};

use crate::block::room;
use crate::line::{CR, LF};

const BOM: &[u8] = "\u{feff}".as_bytes();

#[derive(Debug, Default)]
pub(crate) struct Splitter {
    /// The stream's first bytes have been seen, and were a BOM or not.
    begun: bool,
    /// How many bytes of a BOM the stream began with, while that is open.
    bom: usize,
    /// The last byte was a CR: an LF now belongs to it.
    after_cr: bool,
    /// The line that was cut, raw: the cut may lie inside a character.
    pub(crate) line: Vec<u8>,
    /// The line that was cut is a comment nobody asked for, of which nothing is held.
    pub(crate) skips: bool,
}

/// A chunk in three parts, each of which may be empty.
#[derive(Debug)]
pub(crate) struct Split<'c> {
    /// What ends the line that was cut before, without its line end. `None` if there is no such
    /// line, or nothing here ends it.
    pub(crate) head: Option<&'c [u8]>,
    /// Whole lines with their ends.
    pub(crate) lines: &'c [u8],
    /// The beginning of a line, or more of the one that was cut before.
    pub(crate) tail: &'c [u8],
}

impl Splitter {
    // Always, as `Decoder::decode`, of which it is the larger part.
    #[inline(always)]
    pub(crate) fn split<'c>(&mut self, chunk: &'c [u8]) -> Split<'c> {
        let chunk = if self.begun {
            chunk
        } else {
            self.strip_bom(chunk)
        };
        let Some(&last) = chunk.last() else {
            return Split {
                head: None,
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

        let mut head = None;
        let mut rest = chunk;
        if self.skips || !self.line.is_empty() {
            let Some(end) = memchr2(LF, CR, chunk) else {
                return Split {
                    head,
                    lines: &[],
                    tail: chunk,
                };
            };
            head = Some(&chunk[..end]);
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
        Split { head, lines, tail }
    }

    /// Drops a BOM at the start of the stream, however it is cut.
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
        // What looked like one until now was text.
        self.line.extend_from_slice(&BOM[..self.bom - matched]);
        chunk
    }

    /// If this begins a comment, nothing more of its line is held.
    pub(crate) fn skip_comment(&mut self, tail: &[u8]) {
        self.skips |= self.line.is_empty() && tail.first() == Some(&b':');
    }

    /// Whether the line that ends now is a skipped one.
    pub(crate) fn take_skipped(&mut self) -> bool {
        std::mem::take(&mut self.skips)
    }

    pub(crate) fn hold(&mut self, part: &[u8], limit: usize) {
        let line = &mut self.line;
        line.reserve_exact(room(line.len(), line.capacity(), part.len(), limit));
        line.extend_from_slice(part);
    }
}
