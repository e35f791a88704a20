//! The search for line ends (LF, CR and CRLF), 64 bytes at a time.

use wide::u8x16;

pub(crate) const LF: u8 = b'\n';
pub(crate) const CR: u8 = b'\r';

/// The bytes that are searched at once.
const STRIDE: usize = 64;

/// The bytes that SSE2 and NEON compare at once.
const LANE: usize = 16;

/// The offsets of LF and CR in a text, in order. Each call must pass the same text.
#[derive(Debug, Default)]
pub(crate) struct LineEnds {
    /// The line ends of the current stride that are not taken yet. Bit n is its n-th byte.
    found: u64,
    /// The offset of the current stride.
    stride: usize,
    /// The offset at which the search continues.
    next: usize,
}

impl LineEnds {
    #[inline]
    pub(crate) fn next(&mut self, text: &[u8]) -> Option<usize> {
        let end = self.peek(text)?;
        self.found &= self.found - 1;
        Some(end)
    }

    /// The next line end, without taking it.
    #[inline]
    pub(crate) fn peek(&mut self, text: &[u8]) -> Option<usize> {
        if self.found == 0 {
            self.search(text)?;
        }
        Some(self.stride + self.found.trailing_zeros() as usize)
    }

    /// Skips the line end that was peeked at and the one directly after it.
    #[inline]
    pub(crate) fn skip_two(&mut self) {
        self.found &= self.found - 1;
        if self.found == 0 {
            self.next += 1;
        } else {
            self.found &= self.found - 1;
        }
    }

    /// Moves to the next stride with a line end.
    fn search(&mut self, text: &[u8]) -> Option<()> {
        let (strides, rest) = text[self.next..].as_chunks();
        for stride in strides {
            self.stride = self.next;
            self.next += STRIDE;
            self.found = line_ends(stride);
            if self.found != 0 {
                return Some(());
            }
        }
        let Some(last) = rest.last_chunk() else {
            return self.search_few(rest);
        };
        self.stride = self.next;
        self.next = text.len();
        self.found = line_ends_of_rest(rest, last);
        (self.found != 0).then_some(())
    }

    /// Moves to the next line end in the last bytes, which are fewer than a lane.
    fn search_few(&mut self, rest: &[u8]) -> Option<()> {
        self.stride = self.next + rest.iter().position(|byte| matches!(*byte, LF | CR))?;
        self.found = 1;
        self.next = self.stride + 1;
        Some(())
    }
}

#[inline]
fn line_ends(stride: &[u8; STRIDE]) -> u64 {
    let (lanes, _) = stride.as_chunks();
    // In most strides no byte is as low as a line end. That check costs half as much.
    let lowest = lanes
        .iter()
        .map(|lane| u8x16::new(*lane))
        .fold(u8x16::splat(u8::MAX), u8x16::min);
    if !lowest.simd_le(u8x16::splat(CR)).any() {
        return 0;
    }
    lanes
        .iter()
        .rev()
        .fold(0, |found, lane| found << LANE | line_ends_of_lane(lane))
}

/// The line ends in fewer bytes than a stride. The last lane may overlap the previous one.
#[inline]
fn line_ends_of_rest(rest: &[u8], last: &[u8; LANE]) -> u64 {
    let (lanes, _) = rest.as_chunks();
    lanes.iter().enumerate().fold(
        line_ends_of_lane(last) << (rest.len() - LANE),
        |found, (n, lane)| found | line_ends_of_lane(lane) << (n * LANE),
    )
}

#[inline]
fn line_ends_of_lane(lane: &[u8; LANE]) -> u64 {
    let bytes = u8x16::new(*lane);
    let ends = bytes.simd_eq(u8x16::splat(LF)) | bytes.simd_eq(u8x16::splat(CR));
    u64::from(ends.to_bitmask())
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
    fn each_line_end_is_found_once_and_in_order() {
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

    #[test]
    fn adjacent_line_ends_are_passed_over_together() {
        for length in 0..200 {
            let mut text = vec![b'x'; length];
            text.extend_from_slice(b"\n\na\n");
            let mut ends = LineEnds::default();
            assert_eq!(ends.peek(&text), Some(length));
            ends.skip_two();
            assert_eq!(ends.next(&text), Some(length + 3));
        }
    }
}
