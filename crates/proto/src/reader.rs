//! The assembly of lines into blocks, and the limit on held bytes.
//!
//! Two paths lead to the same events. A line that its chunk contains whole is read in place: the whole
//! lines of a chunk are checked as UTF-8 at once, and values are slices of them. Only a line that is
//! divided between chunks is copied, and read after its end has arrived.

use std::fmt;
use std::ops::Range;
use std::str::Utf8Chunk;
use std::time::Duration;

use memchr::memchr;
use simdutf8::basic::from_utf8;

use crate::block::{Block, RETAINED};
use crate::field::{Field, parse_retry};
use crate::last_event_id::LastEventId;
use crate::name_cache::NameCache;
use crate::splitter::Splitter;

/// The default of [`Decoder::max_event_bytes`](crate::Decoder::max_event_bytes): 16 MiB.
///
/// Some real streams exceed 1 MiB, and without a limit a server could exhaust the memory.
pub const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

/// The maximum bytes of comments that an event carries under [`Comments::Attached`]: 64 KiB.
pub const MAX_KEPT_COMMENT_BYTES: usize = 64 * 1024;

/// How the comments of a stream are delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Comments {
    /// Comments are dropped, and never held in memory.
    Skipped,
    /// An event with data carries the comments of its block. A block without data is no event. The
    /// default.
    ///
    /// The event carries at most [`MAX_KEPT_COMMENT_BYTES`] of comments, and no more than its own limit
    /// leaves room for. Older ones are dropped, so even years of comments between two events do not
    /// end the stream. A single comment line over the limit does.
    #[default]
    Attached,
    /// As [`Attached`](Self::Attached), and a block that has comments and no data is an event too.
    ///
    /// Then comments count toward the limit of an event, and none are dropped.
    Shown,
    /// Each comment is an event of its own, as soon as its line ends, also inside a block.
    ///
    /// This suits notes and heartbeats that no empty line follows, such as Mastodon's `:thump`. With
    /// the other modes they wait for the next event.
    Immediate,
}

/// The state of a decoder between two chunks.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) max_event_bytes: usize,
    pub(crate) comments: Comments,
    pub(crate) show_retry_events: bool,

    pub(crate) splitter: Splitter,
    pub(crate) block: Block,
    /// Whether a block was over the limit.
    pub(crate) failed: bool,
    /// Whether the stream has sent a comment.
    pub(crate) has_comment: bool,

    pub(crate) last_event_id: LastEventId,
    pub(crate) reconnection_time: Option<Duration>,
    pub(crate) names: NameCache,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            max_event_bytes: MAX_EVENT_BYTES,
            comments: Comments::default(),
            show_retry_events: false,
            splitter: Splitter::default(),
            block: Block::default(),
            failed: false,
            has_comment: false,
            last_event_id: LastEventId::default(),
            reconnection_time: None,
            names: NameCache::default(),
        }
    }
}

impl Reader {
    /// Forgets the stream, except its last event ID and its reconnection time.
    pub(crate) fn reset(&mut self) {
        self.splitter = Splitter::default();
        self.block = Block::default();
        self.failed = false;
        self.has_comment = false;
    }

    /// Whether a part of an event has arrived, but not its end. A comment or a `retry` is no part of one,
    /// as neither needs that end to count.
    pub(crate) fn is_within_event(&self) -> bool {
        let line = &self.splitter.line;
        self.block.has_part_of_event() || !(line.is_empty() || line.starts_with(b":"))
    }

    /// Reads one line that is not empty. Returns whether it is an event by itself.
    // Always inlined, for the loop over lines. Divided lines alone would not need it.
    #[inline(always)]
    pub(crate) fn read_line(
        &mut self,
        text: &str,
        line: Range<usize>,
    ) -> Result<bool, EventTooLarge> {
        let (field, value_at) = Field::of(&text.as_bytes()[line.clone()]);
        if field == Field::Comment && self.comments == Comments::Skipped {
            self.has_comment = true;
            return Ok(false);
        }
        self.check_limit(line.len())?;
        self.block.begun = true;
        let value = line.start + value_at..line.end;
        let limit = self.max_event_bytes;
        match field {
            Field::Data => self.block.data.add_line(text, value, limit),
            Field::Event => self.block.name.set(value),
            Field::Id => {
                if memchr(0, &text.as_bytes()[value.clone()]).is_none() {
                    self.block.id.set(value);
                }
            }
            Field::Retry => {
                if let Some(time) = parse_retry(&text[value]) {
                    self.reconnection_time = Some(time);
                    self.block.retry = Some(time);
                }
            }
            Field::Comment => {
                self.has_comment = true;
                let kept = self.block.comments.len + value.len();
                if self.comments == Comments::Attached && kept > MAX_KEPT_COMMENT_BYTES {
                    self.block.comments.clear();
                }
                self.block.comments.add_line(text, value, limit);
                return Ok(self.comments == Comments::Immediate);
            }
            Field::Unknown => {}
        }
        Ok(false)
    }

    /// Reads the line that earlier chunks began and this part ends.
    #[cold]
    pub(crate) fn read_divided_line(&mut self, continuation: &[u8]) -> Result<bool, EventTooLarge> {
        if self.splitter.take_skipped() {
            self.has_comment = true;
            return Ok(false);
        }
        self.check_limit(self.splitter.line.len() + continuation.len())?;
        self.splitter.hold(continuation, self.max_event_bytes);
        let mut line = std::mem::take(&mut self.splitter.line);
        let is_event = match from_utf8(&line) {
            Ok(text) => self.read_held_line(text)?,
            Err(_) => {
                let text = self.replace_invalid(&line)?;
                // Frees the line, so that it is not held beside its replacement and the copied value.
                line = Vec::new();
                self.read_held_line(&text)?
            }
        };
        if line.capacity() <= RETAINED {
            line.clear();
            self.splitter.line = line;
        }
        Ok(is_event)
    }

    fn read_held_line(&mut self, text: &str) -> Result<bool, EventTooLarge> {
        let is_event = self.read_line(text, 0..text.len())?;
        self.block.spill(text, self.max_event_bytes);
        Ok(is_event)
    }

    /// `String::from_utf8_lossy` with an exact allocation, because replacements may triple the length.
    fn replace_invalid(&mut self, line: &[u8]) -> Result<String, EventTooLarge> {
        let replacement = |part: &Utf8Chunk| !part.invalid().is_empty();
        let length = line
            .utf8_chunks()
            .map(|part| {
                part.valid().len()
                    + usize::from(replacement(&part)) * char::REPLACEMENT_CHARACTER.len_utf8()
            })
            .sum();
        self.check_limit(length)?;
        let mut text = String::with_capacity(length);
        for part in line.utf8_chunks() {
            text.push_str(part.valid());
            if replacement(&part) {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        Ok(text)
    }

    /// Keeps the beginning of a line that a later chunk ends.
    #[inline]
    pub(crate) fn hold_tail(&mut self, tail: &[u8]) -> Result<(), EventTooLarge> {
        if tail.is_empty() {
            return Ok(());
        }
        if self.comments == Comments::Skipped {
            self.splitter.skip_comment(tail);
        }
        if !self.splitter.skips {
            self.check_limit(self.splitter.line.len() + tail.len())?;
            self.splitter.hold(tail, self.max_event_bytes);
        }
        Ok(())
    }

    #[inline]
    fn check_limit(&mut self, line: usize) -> Result<(), EventTooLarge> {
        if self.block.len() + line <= self.max_event_bytes {
            return Ok(());
        }
        // Attached comments are dropped before they end the stream.
        if self.comments == Comments::Attached {
            self.block.comments.clear();
            if self.block.len() + line <= self.max_event_bytes {
                return Ok(());
            }
        }
        Err(self.too_large())
    }

    pub(crate) fn too_large(&self) -> EventTooLarge {
        EventTooLarge {
            limit: self.max_event_bytes,
        }
    }

    /// Ends the block at an empty line, and takes over its ID. Returns whether the block is an event.
    #[inline]
    pub(crate) fn end_block(&mut self, text: &str) -> bool {
        if self.block.id.is_set() {
            self.last_event_id.commit(&mut self.block.id, text);
        }
        let shown = self.block.data.is_set()
            || (self.comments == Comments::Shown && self.block.comments.is_set())
            || (self.show_retry_events && self.block.retry.is_some());
        if !shown {
            self.block.clear();
        }
        shown
    }
}

/// A block of the stream exceeds [`Decoder::max_event_bytes`](crate::Decoder::max_event_bytes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTooLarge {
    limit: usize,
}

impl EventTooLarge {
    /// The limit in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }
}

impl fmt::Display for EventTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the server sent an event over the limit of {} bytes; `max_event_bytes` sets the limit",
            self.limit
        )
    }
}

impl std::error::Error for EventTooLarge {}
