//! Owns where lines end: at LF, CR or CRLF, found 64 bytes at a time.

use memchr::memchr2;
use wide::u8x16;

pub(crate) const LF: u8 = b'\n';
pub(crate) const CR: u8 = b'\r';

const BLOCK: usize = 64;

/// After this many blocks without a line end the line is long, and memchr, which strides wider but
/// starts slower, takes over. Tuned on 300-byte lines of JSON, where 2 to 8 differ by little.
const BLOCKS_OF_A_SHORT_LINE: usize = 4;

/// The offsets of LF and CR in a text, in order. The text is the same at every call.
#[derive(Debug, Default)]
pub(crate) struct LineEnds {
    /// The line ends of the current block that are not yet taken; bit n is its n-th byte.
    found: u64,
    /// Where the current block begins.
    block: usize,
    /// Where the search goes on.
    next: usize,
}

impl LineEnds {
    #[inline]
    pub(crate) fn next(&mut self, text: &[u8]) -> Option<usize> {
        if self.found == 0 {
            self.search(text)?;
        }
        let end = self.block + self.found.trailing_zeros() as usize;
        self.found &= self.found - 1;
        Some(end)
    }

    /// Moves to the next block that has a line end.
    #[inline]
    fn search(&mut self, text: &[u8]) -> Option<()> {
        for _ in 0..BLOCKS_OF_A_SHORT_LINE {
            let Some(block) = text[self.next..].first_chunk() else {
                return self.search_last(text);
            };
            self.block = self.next;
            self.next += BLOCK;
            self.found = line_ends(block);
            if self.found != 0 {
                return Some(());
            }
        }
        self.search_long(text)
    }

    #[cold]
    fn search_long(&mut self, text: &[u8]) -> Option<()> {
        self.next += memchr2(LF, CR, &text[self.next..])?;
        self.search(text)
    }

    /// Searches the fewer than 64 bytes that are left.
    #[inline]
    fn search_last(&mut self, text: &[u8]) -> Option<()> {
        let left = text.len() - self.next;
        if left == 0 {
            return None;
        }
        self.found = if let Some(last) = text.last_chunk() {
            line_ends(last) >> (BLOCK - left)
        } else {
            let mut padded = [0; BLOCK];
            padded[..left].copy_from_slice(&text[self.next..]);
            line_ends(&padded)
        };
        self.block = self.next;
        self.next = text.len();
        (self.found != 0).then_some(())
    }
}

#[inline]
fn line_ends(block: &[u8; BLOCK]) -> u64 {
    let (lanes, _) = block.as_chunks();
    lanes.iter().rev().fold(0, |found, lanes| {
        let lanes = u8x16::new(*lanes);
        let ends = lanes.simd_eq(u8x16::splat(LF)) | lanes.simd_eq(u8x16::splat(CR));
        found << 16 | u64::from(ends.to_bitmask())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8]) {
        let mut ends = LineEnds::default();
        let found: Vec<usize> = std::iter::from_fn(|| ends.next(text)).collect();
        let expected: Vec<usize> = memchr::memchr2_iter(LF, CR, text).collect();
        assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(text));
    }

    #[test]
    fn every_line_end_is_found_once_and_in_order() {
        for length in 0..300 {
            check(&vec![b'x'; length]);
            check(&vec![b'\n'; length]);
            for stride in [1, 2, 7, 63, 64, 65, 200] {
                let byte = |at| {
                    if at % stride == 0 {
                        b"\n\r"[at / stride % 2]
                    } else {
                        b'\x0b'
                    }
                };
                check(&(0..length).map(byte).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_long_line_is_followed_by_short_ones() {
        for length in 240..400 {
            let mut text = vec![b'x'; length];
            text.extend_from_slice(b"\n\r\na\n");
            check(&text);
        }
    }
}
