//! The assembly of lines into blocks, and the limit on held bytes.
//!
//! Two paths lead to the same events. A line that its chunk contains whole is read in place: the whole
//! lines of a chunk are checked as UTF-8 at once, and values are slices of them. Only a line that is
//! divided between chunks is copied, once, and read after its end has arrived.

use std::ops::Range;
use std::time::Duration;

use memchr::memchr;

use crate::block::{Block, Value};
use crate::cursor::Cursor;
use crate::event_too_large::{EventTooLarge, LargeEvent};
use crate::field::{Field, parse_retry};
use crate::held_line::HeldLine;
use crate::last_event_id::LastEventId;
use crate::name_cache::NameCache;
use crate::splitter::{ChunkText, Splitter};

/// The default of [`Decoder::max_event_bytes`](crate::Decoder::max_event_bytes): 16 MiB.
///
/// Some real streams exceed 1 MiB, and without a limit a server could exhaust the memory.
pub const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

/// The maximum bytes of comments that an event carries under [`Comments::Attached`]: 64 KiB, or one larger
/// comment line.
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
    /// end the stream. The newest comment line is attached whole, even if it is larger than
    /// [`MAX_KEPT_COMMENT_BYTES`]. A single comment line over the limit of the event ends the stream.
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
    limit: usize,
    /// The bytes of the block over the limit: at least those that were received.
    size: usize,

    splitter: Splitter,
    /// While a line is held, the block has [`begun`](Block::begun).
    pub(crate) held: HeldLine,
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
            held: HeldLine::default(),
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
    pub(crate) fn set_max_event_bytes(&mut self, limit: usize) {
        self.max_event_bytes = limit;
        self.limit = limit;
    }

    /// Forgets the stream, except its last event ID and its reconnection time.
    pub(crate) fn reset(&mut self) {
        self.splitter = Splitter::default();
        self.held = HeldLine::default();
        self.block = Block::default();
        self.failed = false;
        self.has_comment = false;
        self.limit = self.max_event_bytes;
    }

    /// Whether a part of an event has arrived, but not its end. A comment or a `retry` is no part of one,
    /// as neither needs that end to count.
    pub(crate) fn is_within_event(&self) -> bool {
        self.block.has_part_of_event() || self.held.is_part_of_event()
    }

    /// Begins a chunk.
    // Always inlined: saves 10 % of the instructions for a small event alone in its chunk.
    #[inline(always)]
    pub(crate) fn begin<'c>(&mut self, chunk: &'c [u8], cursor: &mut Cursor) -> ChunkText<'c> {
        // Does nothing, unless the `Events` of the previous chunk were leaked.
        self.block.drop_text();
        let chunk = if self.failed {
            &[]
        } else if self.splitter.begun {
            chunk
        } else {
            self.strip_bom(chunk)
        };
        let is_divided = !self.held.is_empty();
        let chunk = self.splitter.split(chunk, is_divided);
        *cursor = Cursor::default();
        if is_divided && chunk.continuation.is_none() {
            cursor.is_done = self.hold_middle(chunk.tail);
        }
        chunk
    }

    /// Holds a chunk that has only a middle part of a line, and is read with that. Returns `false` if it is
    /// over the limit: then reading it fails.
    fn hold_middle(&mut self, part: &[u8]) -> bool {
        !part.is_empty() && self.hold(part).is_ok()
    }

    #[cold]
    fn strip_bom<'c>(&mut self, chunk: &'c [u8]) -> &'c [u8] {
        let (text, chunk) = self.splitter.strip_bom(chunk);
        if !text.is_empty() {
            self.block.begun = true;
            self.held.push(text, &mut self.block, self.max_event_bytes);
        }
        chunk
    }

    /// Reads one line that is not empty. Returns whether it is an event by itself.
    #[inline]
    pub(crate) fn read_line(&mut self, text: &str, line: Range<usize>) -> Result<bool, OverLimit> {
        let (field, value_at) = Field::of(&text.as_bytes()[line.clone()]);
        let range = line.start + value_at..line.end;
        self.read_field(field, line.len(), InChunk { text, range })
    }

    /// Reads the line that earlier chunks began and this part ends. Returns whether it is an event by
    /// itself.
    pub(crate) fn end_held_line(&mut self, end: &[u8]) -> Result<bool, OverLimit> {
        self.hold(end)?;
        let max = self.max_event_bytes;
        let mut line = self.held.end(&mut self.block, max);
        let is_event = self.read_field(line.field, line.len, Held(&mut line.text))?;
        self.held.reuse(line.text);
        Ok(is_event)
    }

    /// Reads a field of a line of this length.
    // Always inlined, for the loop over lines: saves 3 % of the instructions for an event of two lines.
    #[inline(always)]
    fn read_field(
        &mut self,
        field: Field,
        line: usize,
        value: impl LineValue,
    ) -> Result<bool, OverLimit> {
        if field == Field::Comment && self.comments == Comments::Skipped {
            self.has_comment = true;
            return Ok(false);
        }
        if !self.has_room_for(line) {
            return self.read_field_over_limit(field, line, value);
        }
        self.block.begun = true;
        match field {
            Field::Data => value.add_data(&mut self.block.data, self.max_event_bytes),
            Field::Event => value.set(&mut self.block.name),
            Field::Id => self.read_id(value),
            Field::Retry => {
                if let Some(time) = parse_retry(value.text()) {
                    self.reconnection_time = Some(time);
                    self.block.retry = Some(time);
                }
            }
            Field::Comment => {
                self.has_comment = true;
                let kept = self.block.comments.len + value.text().len();
                if self.comments == Comments::Attached && kept > MAX_KEPT_COMMENT_BYTES {
                    self.block.comments.clear();
                }
                value.add_comment(&mut self.block.comments, self.max_event_bytes);
                return Ok(self.comments == Comments::Immediate);
            }
            Field::Unknown => {}
        }
        Ok(false)
    }

    #[inline]
    fn read_id(&mut self, value: impl LineValue) {
        if memchr(0, value.text().as_bytes()).is_none() {
            value.set(&mut self.block.id);
        }
    }

    /// Keeps a part of a line that a later chunk ends.
    #[inline]
    pub(crate) fn hold(&mut self, part: &[u8]) -> Result<(), OverLimit> {
        if part.is_empty() {
            return Ok(());
        }
        self.block.begun = true;
        if self.comments == Comments::Skipped && self.held.is_comment_with(part) {
            self.held.skip_comment(part);
            return Ok(());
        }
        let line = self.held.len_with(part);
        if !self.has_room_for(line) {
            self.skip_block(line)?;
        }
        self.held.push(part, &mut self.block, self.max_event_bytes);
        Ok(())
    }

    /// Whether the block has room for a line of this length.
    #[inline]
    fn has_room_for(&mut self, line: usize) -> bool {
        self.block.len() + line <= self.limit || self.has_room_without_comments_for(line)
    }

    /// Attached comments are dropped before they make a block too large.
    // Never inlined: saves 3 % of the instructions for an event of two lines.
    #[inline(never)]
    fn has_room_without_comments_for(&mut self, line: usize) -> bool {
        if self.comments != Comments::Attached {
            return false;
        }
        self.block.comments.clear();
        self.block.len() + line <= self.limit
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
    fn read_field_over_limit(
        &mut self,
        field: Field,
        line: usize,
        value: impl LineValue,
    ) -> Result<bool, OverLimit> {
        self.skip_block(line)?;
        self.size = self.size.saturating_add(line);
        if line > self.max_event_bytes {
            return Ok(false);
        }
        match field {
            Field::Id => self.read_id(value),
            Field::Retry => {
                if let Some(time) = parse_retry(value.text()) {
                    self.reconnection_time = Some(time);
                }
            }
            Field::Comment => {
                self.has_comment = true;
                if self.comments == Comments::Immediate {
                    value.add_comment(&mut self.block.comments, self.max_event_bytes);
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

/// The value of a line, and how a block takes it.
trait LineValue {
    fn text(&self) -> &str;
    fn set(self, value: &mut Value);
    fn add_data(self, data: &mut Value, limit: usize);
    fn add_comment(self, comments: &mut Value, limit: usize);
}

/// A part of the text of a chunk.
struct InChunk<'a> {
    text: &'a str,
    range: Range<usize>,
}

impl LineValue for InChunk<'_> {
    #[inline]
    fn text(&self) -> &str {
        &self.text[self.range.clone()]
    }

    #[inline]
    fn set(self, value: &mut Value) {
        value.set(self.range);
    }

    #[inline]
    fn add_data(self, data: &mut Value, limit: usize) {
        data.add_line(self.text, self.range, limit);
    }

    #[inline]
    fn add_comment(self, comments: &mut Value, limit: usize) {
        comments.add_line(self.text, self.range, limit);
    }
}

/// The text of a held line.
struct Held<'a>(&'a mut String);

impl LineValue for Held<'_> {
    fn text(&self) -> &str {
        self.0
    }

    fn set(self, value: &mut Value) {
        value.set_held(self.0);
    }

    // The parts of the line are in the value already.
    fn add_data(self, data: &mut Value, _limit: usize) {
        data.end_line();
    }

    fn add_comment(self, comments: &mut Value, limit: usize) {
        comments.add_held_line(self.0, limit);
    }
}
