//! The assembly of lines into blocks, and the limit on held bytes.
//!
//! Two paths lead to the same events. A line that its chunk contains whole is read in place: the whole
//! lines of a chunk are checked as UTF-8 at once, and values are slices of them. Only a line that is
//! divided between chunks is copied, and read after its end has arrived.

use std::ops::Range;
use std::str::Utf8Chunk;
use std::time::Duration;

use memchr::memchr;
use simdutf8::basic::from_utf8;

use crate::block::{Block, RETAINED};
use crate::event_too_large::{EventTooLarge, LargeEvent};
use crate::field::{Field, parse_retry};
use crate::last_event_id::LastEventId;
use crate::name_cache::NameCache;
use crate::splitter::{Skipped, Splitter};

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
    pub(crate) skips_large_events: bool,
    pub(crate) comments: Comments,
    pub(crate) show_retry_events: bool,

    /// The limit in effect: `max_event_bytes`, or 0 while a block is skipped. So a line of such a block is
    /// always over it, and the other lines need no check for a skipped block.
    pub(crate) limit: usize,
    /// The bytes of the block over the limit: at least those that were received.
    size: usize,

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
            skips_large_events: false,
            limit: MAX_EVENT_BYTES,
            size: 0,
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
        self.limit = self.max_event_bytes;
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
    pub(crate) fn read_line(&mut self, text: &str, line: Range<usize>) -> Result<bool, OverLimit> {
        let (field, value_at) = Field::of(&text.as_bytes()[line.clone()]);
        if field == Field::Comment && self.comments == Comments::Skipped {
            self.has_comment = true;
            return Ok(false);
        }
        let value = line.start + value_at..line.end;
        if !self.has_room_for(line.len()) {
            return self.read_line_over_limit(text, line.len(), field, value);
        }
        self.block.begun = true;
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
    pub(crate) fn read_divided_line(&mut self, continuation: &[u8]) -> Result<bool, OverLimit> {
        match self.splitter.take_skipped() {
            Skipped::Nothing => {}
            Skipped::Comment => {
                self.has_comment = true;
                return Ok(false);
            }
            Skipped::LongLine => {
                self.size = self.size.saturating_add(continuation.len());
                return Ok(false);
            }
        }
        if !self.may_hold(self.splitter.line.len() + continuation.len())? {
            self.splitter.line = Vec::new();
            return Ok(false);
        }
        self.splitter.hold(continuation, self.max_event_bytes);
        let mut line = std::mem::take(&mut self.splitter.line);
        let is_event = match from_utf8(&line) {
            Ok(text) => self.read_held_line(text)?,
            Err(_) => match self.replace_invalid(&line)? {
                Some(text) => {
                    // Frees the line, so that it is not held beside its replacement and the copied
                    // value.
                    line = Vec::new();
                    self.read_held_line(&text)?
                }
                None => false,
            },
        };
        if line.capacity() <= RETAINED {
            line.clear();
            self.splitter.line = line;
        }
        Ok(is_event)
    }

    fn read_held_line(&mut self, text: &str) -> Result<bool, OverLimit> {
        let is_event = self.read_line(text, 0..text.len())?;
        self.block.spill(text, self.max_event_bytes);
        Ok(is_event)
    }

    /// `String::from_utf8_lossy` with an exact allocation, because replacements may triple the length.
    /// `None` if the line is too long to be read.
    fn replace_invalid(&mut self, line: &[u8]) -> Result<Option<String>, OverLimit> {
        let replacement = |part: &Utf8Chunk| !part.invalid().is_empty();
        let length = line
            .utf8_chunks()
            .map(|part| {
                part.valid().len()
                    + usize::from(replacement(&part)) * char::REPLACEMENT_CHARACTER.len_utf8()
            })
            .sum();
        if !self.may_hold(length)? {
            return Ok(None);
        }
        let mut text = String::with_capacity(length);
        for part in line.utf8_chunks() {
            text.push_str(part.valid());
            if replacement(&part) {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        Ok(Some(text))
    }

    /// Keeps the beginning of a line that a later chunk ends.
    #[inline]
    pub(crate) fn hold_tail(&mut self, tail: &[u8]) -> Result<(), OverLimit> {
        if tail.is_empty() {
            return Ok(());
        }
        if self.comments == Comments::Skipped {
            self.splitter.skip_comment(tail);
        }
        match self.splitter.skipped {
            Skipped::Nothing => {}
            Skipped::Comment => return Ok(()),
            Skipped::LongLine => {
                self.size = self.size.saturating_add(tail.len());
                return Ok(());
            }
        }
        if self.may_hold(self.splitter.line.len() + tail.len())? {
            self.splitter.hold(tail, self.max_event_bytes);
        } else {
            self.splitter.skip_long_line();
        }
        Ok(())
    }

    /// Whether the block has room for a line of this length.
    #[inline]
    fn has_room_for(&mut self, line: usize) -> bool {
        self.block.len() + line <= self.limit || self.has_room_without_comments_for(line)
    }

    /// Attached comments are dropped before they make a block too large.
    #[inline(never)]
    fn has_room_without_comments_for(&mut self, line: usize) -> bool {
        if self.comments != Comments::Attached {
            return false;
        }
        self.block.comments.clear();
        self.block.len() + line <= self.limit
    }

    /// Whether a line of this length may be held. If not, its block is over the limit and skipped, and the
    /// line alone is over the limit too.
    #[inline]
    fn may_hold(&mut self, line: usize) -> Result<bool, OverLimit> {
        if self.has_room_for(line) {
            return Ok(true);
        }
        self.skip_block(line)?;
        let may_hold = line <= self.max_event_bytes;
        if !may_hold {
            self.size = self.size.saturating_add(line);
        }
        Ok(may_hold)
    }

    /// The block is over the limit with this much of its current line. Skips it, if that is allowed.
    #[cold]
    fn skip_block(&mut self, line: usize) -> Result<(), OverLimit> {
        if self.block.is_skipped {
            return Ok(());
        }
        self.size = self.block.len();
        if !self.skips_large_events {
            self.size = self.size.saturating_add(line);
            return Err(OverLimit);
        }
        self.block.skip();
        self.limit = 0;
        Ok(())
    }

    /// Reads a line of a block that is skipped. Its ID and its `retry` count, like those of any block.
    #[cold]
    fn read_line_over_limit(
        &mut self,
        text: &str,
        line: usize,
        field: Field,
        value: Range<usize>,
    ) -> Result<bool, OverLimit> {
        self.skip_block(line)?;
        self.size = self.size.saturating_add(line);
        if line > self.max_event_bytes {
            return Ok(false);
        }
        match field {
            Field::Id => {
                if memchr(0, &text.as_bytes()[value.clone()]).is_none() {
                    self.block.id.set(value);
                }
            }
            Field::Retry => {
                if let Some(time) = parse_retry(&text[value]) {
                    self.reconnection_time = Some(time);
                }
            }
            Field::Comment => {
                self.has_comment = true;
                if self.comments == Comments::Immediate {
                    self.block
                        .comments
                        .add_line(text, value, self.max_event_bytes);
                    return Ok(true);
                }
            }
            Field::Data | Field::Event | Field::Unknown => {}
        }
        Ok(false)
    }

    pub(crate) fn too_large(&mut self) -> EventTooLarge {
        EventTooLarge(Box::new(LargeEvent {
            limit: self.max_event_bytes,
            size: self.size,
            last_event_id: self.last_event_id.owned(),
        }))
    }

    /// Ends the block at an empty line, and takes over its ID. Returns whether the block is an event.
    ///
    /// # Errors
    /// The block was skipped, and has ended.
    #[inline]
    pub(crate) fn end_block(&mut self, text: &str) -> Result<bool, OverLimit> {
        if self.block.id.is_set() {
            self.last_event_id.commit(&mut self.block.id, text);
        }
        let shown = self.block.data.is_set()
            || (self.comments == Comments::Shown && self.block.comments.is_set())
            || (self.show_retry_events && self.block.retry.is_some());
        if !shown {
            let was_skipped = self.block.is_skipped;
            self.block.clear();
            if was_skipped {
                self.limit = self.max_event_bytes;
                return Err(OverLimit);
            }
        }
        Ok(shown)
    }
}

/// A block is over the limit, or has ended and was skipped. [`Reader::too_large`] has the details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OverLimit;
