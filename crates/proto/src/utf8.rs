//! `Utf8Parts`: the text of bytes that arrive in parts, cut anywhere.

use std::str::from_utf8 as explain;

use simdutf8::basic::from_utf8;

/// The text of bytes in parts. A character that is cut waits for its other bytes. Invalid bytes become
/// [`char::REPLACEMENT_CHARACTER`], as `String::from_utf8_lossy` replaces them.
///
/// Each part is validated when it arrives, while it is in the cache of the processor.
#[derive(Debug, Default)]
pub(crate) struct Utf8Parts {
    /// The beginning of a character that the next part continues, in the first `len` bytes.
    begun: [u8; 4],
    len: usize,
}

/// The text in place of invalid bytes.
pub(crate) const REPLACEMENT: &str = "\u{fffd}";

impl Utf8Parts {
    /// Passes the text of a part to `sink`, in order.
    #[inline]
    pub(crate) fn push(&mut self, mut part: &[u8], mut sink: impl FnMut(&str)) {
        while self.len > 0 {
            let Some((byte, rest)) = part.split_first() else {
                return;
            };
            if self.continue_char(*byte, &mut sink) {
                part = rest;
            }
        }
        if !part.last().is_none_or(u8::is_ascii) {
            part = self.take_cut_char(part);
        }
        match from_utf8(part) {
            Ok(text) => sink(text),
            Err(_) => replace_invalid(part, &mut sink),
        }
    }

    /// Ends the text. Returns whether the last character is cut, so that [`REPLACEMENT`] follows.
    pub(crate) fn end(&mut self) -> bool {
        std::mem::take(&mut self.len) > 0
    }

    /// Appends a byte to the character. Returns whether the byte is part of it. If not, the character is
    /// replaced.
    fn continue_char(&mut self, byte: u8, sink: &mut impl FnMut(&str)) -> bool {
        self.begun[self.len] = byte;
        match explain(&self.begun[..=self.len]) {
            Ok(char) => {
                sink(char);
                self.len = 0;
            }
            Err(error) if error.error_len().is_none() => self.len += 1,
            Err(_) => {
                sink(REPLACEMENT);
                self.len = 0;
                return false;
            }
        }
        true
    }

    /// Takes the bytes at the end that begin a character and do not complete it. Returns the others.
    fn take_cut_char<'p>(&mut self, part: &'p [u8]) -> &'p [u8] {
        // A character has at most four bytes. The first is not a continuation byte.
        let last = part.len().saturating_sub(3);
        let first = part[last..].iter().rposition(|byte| byte & 0xC0 != 0x80);
        let (whole, cut) = part.split_at(first.map_or(part.len(), |first| last + first));
        match explain(cut) {
            Err(error) if error.valid_up_to() == 0 && error.error_len().is_none() => {
                self.begun[..cut.len()].copy_from_slice(cut);
                self.len = cut.len();
                whole
            }
            _ => part,
        }
    }
}

#[cold]
fn replace_invalid(bytes: &[u8], sink: &mut impl FnMut(&str)) {
    for chunk in bytes.utf8_chunks() {
        sink(chunk.valid());
        if !chunk.invalid().is_empty() {
            sink(REPLACEMENT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of the bytes, cut at these offsets.
    fn text(bytes: &[u8], cuts: [usize; 2]) -> String {
        let mut parts = Utf8Parts::default();
        let mut text = String::new();
        for part in [
            &bytes[..cuts[0]],
            &bytes[cuts[0]..cuts[1]],
            &bytes[cuts[1]..],
        ] {
            parts.push(part, |piece| text.push_str(piece));
        }
        if parts.end() {
            text.push_str(REPLACEMENT);
        }
        text
    }

    #[test]
    fn cuts_make_no_difference() {
        for bytes in [
            "aß…𝄞z".as_bytes(),
            "𝄞𝄞".as_bytes(),
            b"\xE2\x82A\xE2\x82\xE2\x82\xAC",
            b"\xED\xA0\x80\xC0\x8A\xF4\x90\x80\x80",
            b"\xF0\x9F\x92\xF0\x9F\xF0\xFF\x80\xC2",
            b"\xF0\x9F\x92",
        ] {
            for second in 0..=bytes.len() {
                for first in 0..=second {
                    let expected = String::from_utf8_lossy(bytes);
                    assert_eq!(text(bytes, [first, second]), expected, "{first}, {second}");
                }
            }
        }
    }
}
