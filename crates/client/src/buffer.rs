//! `BufferPolicy`: how much text an error carries, and the buffer that keeps it.

/// How much of the text before a failure the error carries, as
/// [`Error::buffer`](crate::Error::buffer). Default: [`Off`](Self::Off).
///
/// The session keeps the text of the last connection as it arrived, at most
/// [`max_event_bytes`](crate::RequestBuilder::max_event_bytes). At the limit it drops the oldest.
#[doc(alias = "SSEBufferPolicy")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BufferPolicy {
    /// No text. The default.
    #[default]
    Off,
    /// The last lines.
    LastLines(usize),
    /// The last event, with the empty line that ends it.
    LastEvent,
    /// The last events.
    LastEvents(usize),
    /// All text, including an unfinished event at the end.
    All,
}

/// The text kept of one connection.
#[derive(Debug)]
pub(crate) struct Buffer {
    policy: BufferPolicy,
    limit: usize,
    bytes: Vec<u8>,
    /// Trims once there are this many bytes.
    trim_at: usize,
}

/// Bytes kept beyond the policy, so that not every chunk moves the rest.
const SLACK: usize = 4 * 1024;

impl Buffer {
    /// `None` if the policy keeps nothing.
    pub(crate) fn new(policy: BufferPolicy, limit: usize) -> Option<Self> {
        (policy != BufferPolicy::Off).then(|| Self {
            policy,
            limit,
            bytes: Vec::new(),
            trim_at: SLACK,
        })
    }

    /// Begins another connection.
    pub(crate) fn clear(&mut self) {
        self.bytes = Vec::new();
        self.trim_at = SLACK;
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.bytes.extend_from_slice(chunk);
        if self.bytes.len() >= self.trim_at {
            let start = self
                .kept()
                .start
                .max(self.bytes.len().saturating_sub(self.limit));
            self.bytes.drain(..start);
            self.trim_at = 2 * self.bytes.len() + SLACK;
        }
    }

    /// The text that the policy keeps.
    pub(crate) fn text(&self) -> String {
        let kept = &self.bytes[self.kept()];
        let kept = &kept[kept.len().saturating_sub(self.limit)..];
        String::from_utf8_lossy(kept).into_owned()
    }

    fn kept(&self) -> std::ops::Range<usize> {
        let bytes = self.bytes.as_slice();
        match self.policy {
            BufferPolicy::Off => 0..0,
            BufferPolicy::LastLines(count) => last(line_ends(bytes), count),
            BufferPolicy::LastEvent => last(block_ends(bytes), 1),
            BufferPolicy::LastEvents(count) => last(block_ends(bytes), count),
            BufferPolicy::All => 0..bytes.len(),
        }
    }
}

/// The range of the last `count` pieces, given the ends of all pieces from the last to the first.
fn last(mut ends: impl Iterator<Item = usize>, count: usize) -> std::ops::Range<usize> {
    let Some(end) = ends.next().filter(|_| count > 0) else {
        return 0..0;
    };
    ends.nth(count - 1).unwrap_or(0)..end
}

/// The offset after each line end, from the last to the first. CRLF is one line end.
fn line_ends(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let is_end = |at: &usize| match bytes[*at] {
        b'\n' => true,
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    };
    (0..bytes.len()).rev().filter(is_end).map(|at| at + 1)
}

/// The offset after each empty line that ends a block, from the last to the first.
fn block_ends(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let ends_a_block = |end: &usize| {
        let before = without_line_end(&bytes[..*end]);
        ends_in_empty_line(&bytes[..*end]) && !before.is_empty() && !ends_in_empty_line(before)
    };
    line_ends(bytes).filter(ends_a_block)
}

/// Whether the last of these whole lines is empty.
fn ends_in_empty_line(lines: &[u8]) -> bool {
    let line = without_line_end(lines).last();
    line.is_none_or(|byte| matches!(byte, b'\n' | b'\r'))
}

fn without_line_end(lines: &[u8]) -> &[u8] {
    [b"\r\n".as_slice(), b"\n", b"\r"]
        .iter()
        .find_map(|end| lines.strip_suffix(*end))
        .unwrap_or(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(policy: BufferPolicy, text: &str, kept: &str) {
        for cut in 0..=text.len() {
            let mut buffer = Buffer::new(policy, 1000).unwrap();
            buffer.push(&text.as_bytes()[..cut]);
            // Trim at each step.
            buffer.trim_at = 0;
            for byte in text[cut..].bytes() {
                buffer.push(&[byte]);
                buffer.trim_at = 0;
            }
            assert_eq!(buffer.text(), kept, "{policy:?} {text:?} cut at {cut}");
        }
    }
    const TEXT: &str = "data: a\n\nid: 2\r\ndata: b\r\n\r\ndata: c\r\rdata: d\n";

    #[test]
    fn the_last_lines_are_kept() {
        check(BufferPolicy::LastLines(0), TEXT, "");
        check(BufferPolicy::LastLines(1), TEXT, "data: d\n");
        check(BufferPolicy::LastLines(3), TEXT, "data: c\r\rdata: d\n");
        check(BufferPolicy::LastLines(99), TEXT, TEXT);
        check(BufferPolicy::LastLines(1), "no line end", "");
    }

    #[test]
    fn events_are_kept_whole() {
        check(BufferPolicy::LastEvent, TEXT, "data: c\r\r");
        check(
            BufferPolicy::LastEvents(2),
            TEXT,
            "id: 2\r\ndata: b\r\n\r\ndata: c\r\r",
        );
        let whole = TEXT.strip_suffix("data: d\n").unwrap();
        check(BufferPolicy::LastEvents(3), TEXT, whole);
        check(BufferPolicy::LastEvents(99), TEXT, whole);
        check(BufferPolicy::LastEvent, "data: a\n", "");
        check(
            BufferPolicy::LastEvents(1),
            "\n\ndata: a\n\n\n\n",
            "\n\ndata: a\n\n",
        );
    }

    #[test]
    fn everything_is_kept_up_to_the_limit() {
        check(BufferPolicy::All, TEXT, TEXT);
        let mut buffer = Buffer::new(BufferPolicy::All, 10_000).unwrap();
        for _ in 0..100_000 {
            buffer.push(b"data: x\n\n");
            assert!(buffer.bytes.capacity() < 100_000);
        }
        assert_eq!(buffer.text().len(), 10_000);
        buffer.clear();
        assert_eq!(buffer.text(), "");
    }

    #[test]
    fn no_text_is_kept_by_default() {
        assert!(Buffer::new(BufferPolicy::default(), 1000).is_none());
    }
}
