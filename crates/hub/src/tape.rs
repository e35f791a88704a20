//! A `Tape`: the recent events of a topic, encoded once, and the slices that readers take.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use tidings_proto::{EncodedEvents, EventId};

/// The size up to which a block grows, in bytes. A larger event has a block of its own.
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;
/// How many blocks of one level are compacted into one block of the next level. Readers that keep up
/// leave many small blocks; a reader that is behind then takes few large slices.
const COMPACTED_BLOCKS: usize = 16;
/// A slice that is smaller than its block by more than this factor is copied, so that it does not keep the
/// block in memory while a slow client holds it.
const MAX_PINNED: usize = 8;
/// The cost of a block beside its bytes, its index, its ID and its place in the queue: the allocator's
/// overhead, and the counter of the readers that share it.
const ALLOCATIONS: usize = 96;

/// Encoded events back to back, each after its `id` line: frozen blocks, and one open block that grows.
///
/// A push copies an event into the open block. The first reader that reads it freezes the open block,
/// and the other readers share the frozen bytes. Each block has an allocation of its own, so its memory is
/// free as soon as it is trimmed and no reader holds it. A tape has no lock of its own.
#[derive(Debug)]
pub(crate) struct Tape {
    /// The tape holds all events after this entry.
    since: u64,
    frozen: VecDeque<Block>,
    /// The cost of all frozen blocks, in bytes.
    frozen_cost: usize,
    /// The bytes of the open block.
    bytes: Vec<u8>,
    /// The index of the open block.
    index: Vec<IndexedEvent>,
}

/// An event in the index of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct IndexedEvent {
    seq: u64,
    /// Where it ends in the bytes of its block.
    end: usize,
}

/// At least one event, in bytes that no longer change.
#[derive(Debug)]
struct Block {
    bytes: Bytes,
    index: Vec<IndexedEvent>,
    /// The `seq` of the last event.
    last: u64,
    last_id: EventId,
    /// How often its events were compacted.
    level: u8,
    /// The memory that it takes, in bytes.
    cost: usize,
}

/// Events that a reader takes from one block.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) events: EncodedEvents,
    /// The `seq` of the last event.
    pub(crate) last: u64,
}

/// Events of one block, with the bounds of each: the form in which several tapes are merged.
#[derive(Debug)]
pub(crate) struct Piece {
    /// The bytes of the whole block.
    block: Bytes,
    /// Where the first event begins.
    start: usize,
    /// With ends that count from the beginning of the block.
    index: Vec<IndexedEvent>,
    /// The `seq` of the last event.
    last: u64,
    /// Whether the tape has more events after the last of these.
    pub(crate) is_cut: bool,
}

impl Tape {
    /// An empty tape, which will hold all events after `since`.
    pub(crate) fn new(since: u64) -> Self {
        Self {
            since,
            frozen: VecDeque::new(),
            frozen_cost: 0,
            bytes: Vec::new(),
            index: Vec::new(),
        }
    }

    pub(crate) fn since(&self) -> u64 {
        self.since
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frozen.is_empty() && self.index.is_empty()
    }

    /// The memory that the tape takes on the heap, in bytes. The open block counts as if it was frozen, so
    /// that the cost does not grow when a reader freezes it.
    pub(crate) fn cost(&self) -> usize {
        let open = if self.index.is_empty() {
            0
        } else {
            ALLOCATIONS + size_of::<Block>()
        };
        let index = self.index.capacity() * size_of::<IndexedEvent>();
        let blocks = self.frozen.capacity() * size_of::<Block>() + self.frozen_cost;
        blocks + self.bytes.capacity() + index + open
    }

    /// Appends an event: its `id` line, then its body. Returns its length in bytes.
    pub(crate) fn push(&mut self, seq: u64, id_line: &str, body: &[u8]) -> usize {
        let length = id_line.len() + body.len();
        if self.bytes.capacity() - self.bytes.len() < length {
            self.make_room(length);
        }
        self.bytes.extend_from_slice(id_line.as_bytes());
        self.bytes.extend_from_slice(body);
        if self.index.capacity() == 0 {
            self.index.reserve_exact(1);
        }
        self.index.push(IndexedEvent {
            seq,
            end: self.bytes.len(),
        });
        length
    }

    /// Makes room for `room` bytes. The capacity doubles from one event to a block: a quiet channel takes
    /// little memory, and a busy one seldom allocates.
    fn make_room(&mut self, room: usize) {
        let needed = self.bytes.len() + room;
        if needed > BLOCK_BYTES {
            self.freeze(u64::MAX);
            self.bytes = Vec::with_capacity(room);
        } else {
            let doubled = BLOCK_BYTES.min(2 * self.bytes.capacity());
            self.bytes
                .reserve_exact(doubled.max(needed) - self.bytes.len());
        }
    }

    /// The events after `after` and up to `up_to` that are in one block.
    pub(crate) fn slice(&mut self, after: u64, up_to: u64) -> Option<Slice> {
        let block = self.block(after, up_to)?;
        let (from, to) = block.range(after, up_to);
        if from == to {
            return None;
        }
        let (start, end) = (block.start(from), block.index[to - 1].end);
        let last_id = if to == block.index.len() {
            block.last_id.clone()
        } else {
            id_at(&block.bytes[block.start(to - 1)..])
        };
        let bytes = share(&block.bytes, start..end);
        Some(Slice {
            events: EncodedEvents::from_parts(bytes, Some(last_id), to - from),
            last: block.index[to - 1].seq,
        })
    }

    /// The same events as [`slice`](Self::slice), with the bounds of each.
    pub(crate) fn piece(&mut self, after: u64, up_to: u64) -> Option<Piece> {
        let block = self.block(after, up_to)?;
        let (from, to) = block.range(after, up_to);
        if from == to {
            return None;
        }
        let (start, last) = (block.start(from), block.index[to - 1]);
        let piece = Piece {
            block: block.bytes.clone(),
            start,
            index: block.index[from..to].to_vec(),
            last: last.seq,
            is_cut: false,
        };
        Some(Piece {
            is_cut: self.next(last.seq).is_some_and(|seq| seq <= up_to),
            ..piece
        })
    }

    /// The `seq` of the first event after `after`.
    pub(crate) fn next(&self, after: u64) -> Option<u64> {
        let at = self.frozen.partition_point(|block| block.last <= after);
        let index = self
            .frozen
            .get(at)
            .map_or(&self.index, |block| &block.index);
        let at = index.partition_point(|event| event.seq <= after);
        index.get(at).map(|event| event.seq)
    }

    /// The block with the first event after `after`. If that is the open block, its events up to `up_to`
    /// are frozen first.
    fn block(&mut self, after: u64, up_to: u64) -> Option<&Block> {
        if self.frozen.back().is_none_or(|block| block.last <= after) {
            self.freeze(up_to);
        }
        let newest = self.frozen.back()?;
        let at = if newest.index[0].seq > after {
            self.frozen.partition_point(|block| block.last <= after)
        } else {
            self.frozen.len() - 1
        };
        self.frozen.get(at)
    }

    /// Freezes the events of the open block up to `up_to`.
    fn freeze(&mut self, up_to: u64) {
        let count = if self.index.last().is_some_and(|event| event.seq <= up_to) {
            self.index.len()
        } else {
            self.index.partition_point(|event| event.seq <= up_to)
        };
        if count == 0 {
            return;
        }
        let IndexedEvent { seq: last, end } = self.index[count - 1];
        let (rest, rest_index) = self.split_open(count, end);
        let bytes = std::mem::replace(&mut self.bytes, rest);
        let index = std::mem::replace(&mut self.index, rest_index);
        self.push_block(Block::new(bytes, index, last, 0));
        self.compact();
    }

    /// Splits the open block after the first `count` events, which end at `end`. Returns the rest.
    fn split_open(&mut self, count: usize, end: usize) -> (Vec<u8>, Vec<IndexedEvent>) {
        if count == self.index.len() {
            return (Vec::new(), Vec::new());
        }
        let mut index = self.index.split_off(count);
        index.iter_mut().for_each(|event| event.end -= end);
        (self.bytes.split_off(end), index)
    }

    fn push_block(&mut self, block: Block) {
        self.frozen_cost += block.cost;
        self.frozen.push_back(block);
    }

    /// Compacts the newest blocks while [`COMPACTED_BLOCKS`] of them have the same level. Each event is
    /// copied at most once for each level, however many blocks there are.
    fn compact(&mut self) {
        while let Some(start) = self.frozen.len().checked_sub(COMPACTED_BLOCKS) {
            let level = self.frozen[start].level;
            let last = self.frozen[self.frozen.len() - 1].last;
            let parts = || self.frozen.range(start..);
            let bytes: usize = parts().map(|block| block.bytes.len()).sum();
            if bytes > BLOCK_BYTES || parts().any(|block| block.level != level) {
                return;
            }
            let mut compacted = Vec::with_capacity(bytes);
            let mut index = Vec::with_capacity(parts().map(|block| block.index.len()).sum());
            for block in parts() {
                let moved = compacted.len();
                index.extend(block.index.iter().map(|event| IndexedEvent {
                    end: moved + event.end,
                    ..*event
                }));
                compacted.extend_from_slice(&block.bytes);
            }
            self.frozen_cost -= parts().map(|block| block.cost).sum::<usize>();
            self.frozen.truncate(start);
            self.push_block(Block::new(compacted, index, last, level + 1));
        }
    }

    /// Removes the events at or before `through`. A block that also has later events loses them only if
    /// they are most of it, because its other events are copied.
    pub(crate) fn trim(&mut self, through: u64) {
        while let Some(block) = self.frozen.front().filter(|block| block.last <= through) {
            self.since = self.since.max(block.last);
            self.frozen_cost -= block.cost;
            self.frozen.pop_front();
        }
        if let Some(block) = self.frozen.front_mut() {
            if let Some(cut) = Cut::of(&block.index, &block.bytes, through) {
                self.since = self.since.max(cut.last);
                self.frozen_cost -= block.cost;
                *block = block.after(&cut);
                self.frozen_cost += block.cost;
            }
        } else if let Some(cut) = Cut::of(&self.index, &self.bytes, through) {
            self.since = self.since.max(cut.last);
            (self.bytes, self.index) = self.split_open(cut.count, cut.end);
        }
        if self.frozen.capacity() > 4 * self.frozen.len() + 16 || self.frozen.is_empty() {
            self.frozen.shrink_to_fit();
        }
    }
}

/// The first events of a block that are removed without the others.
struct Cut {
    count: usize,
    /// Where they end.
    end: usize,
    /// The `seq` of the last of them.
    last: u64,
}

impl Cut {
    /// The events at or before `through`, if they are more than half of the block.
    fn of(index: &[IndexedEvent], bytes: &[u8], through: u64) -> Option<Self> {
        let count = index.partition_point(|event| event.seq <= through);
        let &IndexedEvent { seq: last, end } = index.get(count.checked_sub(1)?)?;
        (2 * end > bytes.len()).then_some(Self { count, end, last })
    }
}

impl Block {
    fn new(mut bytes: Vec<u8>, mut index: Vec<IndexedEvent>, last: u64, level: u8) -> Self {
        // A little room is cheaper than another allocation.
        if bytes.capacity() > bytes.len() + bytes.len() / 8 {
            bytes.shrink_to_fit();
        }
        if index.capacity() > index.len() + index.len() / 8 {
            index.shrink_to_fit();
        }
        let start_of_last = index.len().checked_sub(2).map_or(0, |at| index[at].end);
        let last_id = id_at(&bytes[start_of_last..]);
        let indexed = index.capacity() * size_of::<IndexedEvent>();
        Self {
            cost: bytes.capacity() + indexed + last_id.as_str().len() + ALLOCATIONS,
            last_id,
            bytes: bytes.into(),
            index,
            last,
            level,
        }
    }

    /// A copy without the first events.
    fn after(&self, cut: &Cut) -> Self {
        let mut index = self.index[cut.count..].to_vec();
        index.iter_mut().for_each(|event| event.end -= cut.end);
        Self::new(self.bytes[cut.end..].to_vec(), index, self.last, self.level)
    }

    /// The range of its events after `after` and up to `up_to`, as indices.
    fn range(&self, after: u64, up_to: u64) -> (usize, usize) {
        let from = self.index.partition_point(|event| event.seq <= after);
        let to = if self.last <= up_to {
            self.index.len()
        } else {
            self.index.partition_point(|event| event.seq <= up_to)
        };
        (from, to.max(from))
    }

    /// Where the event at this index begins.
    fn start(&self, event: usize) -> usize {
        event
            .checked_sub(1)
            .map_or(0, |before| self.index[before].end)
    }
}

impl Piece {
    /// The events, each with its `seq`.
    pub(crate) fn events(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut start = self.start;
        self.index.iter().map(move |event| {
            let range = start..event.end;
            start = event.end;
            (event.seq, &self.block[range])
        })
    }

    /// The `seq` of the last event.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// All events, without a copy unless they are a small part of their block.
    pub(crate) fn into_slice(self) -> Slice {
        let Some((_, newest)) = self.events().last() else {
            unreachable!("a piece has at least one event");
        };
        let last_id = id_at(newest);
        let end = self.index[self.index.len() - 1].end;
        let bytes = share(&self.block, self.start..end);
        Slice {
            last: self.last,
            events: EncodedEvents::from_parts(bytes, Some(last_id), self.index.len()),
        }
    }
}

/// A part of a block for a reader. It shares the memory of the block unless it is a small part of it.
fn share(block: &Bytes, range: Range<usize>) -> Bytes {
    if range.len() * MAX_PINNED < block.len() {
        Bytes::copy_from_slice(&block[range])
    } else {
        block.slice(range)
    }
}

/// The ID in the first line of an event.
pub(crate) fn id_at(event: &[u8]) -> EventId {
    let line = event.split(|&byte| byte == b'\n').next();
    let id = line.and_then(|line| std::str::from_utf8(line.strip_prefix(b"id: ")?).ok());
    match id.map(EventId::new) {
        Some(Ok(id)) => id,
        _ => unreachable!("`push` puts an `id` line before each event"),
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{EntryCheck, Epoch, Position};

    use super::*;

    fn position(seq: u64) -> Position {
        Position {
            epoch: Epoch::new("e").unwrap(),
            seq,
            check: EntryCheck::from_hash(seq),
        }
    }

    fn push(tape: &mut Tape, seq: u64, body: &[u8]) {
        tape.push(seq, &format!("id: {}\n", position(seq)), body);
    }

    fn tape(seqs: impl IntoIterator<Item = u64>) -> Tape {
        let mut tape = Tape::new(0);
        for seq in seqs {
            push(&mut tape, seq, format!("data: {seq}\n\n").as_bytes());
        }
        tape
    }

    /// The `seq`s of each slice after `after`, read from the events' text.
    fn slices(tape: &mut Tape, mut after: u64, up_to: u64) -> Vec<Vec<u64>> {
        std::iter::from_fn(|| {
            let slice = tape.slice(after, up_to)?;
            let text = std::str::from_utf8(slice.events.bytes()).unwrap();
            let seqs: Vec<u64> = text
                .lines()
                .filter_map(|line| line.strip_prefix("data: ")?.parse().ok())
                .collect();
            let id = EventId::from(&position(slice.last));
            assert_eq!(slice.events.last_event_id(), Some(&id));
            assert_eq!(seqs.last(), Some(&slice.last));
            assert_eq!(slice.events.count(), seqs.len());
            after = slice.last;
            Some(seqs)
        })
        .collect()
    }

    #[test]
    fn events_that_were_pushed_before_a_read_are_one_slice() {
        let mut tape = tape([1, 4, 9]);
        assert_eq!(slices(&mut tape, 0, 9), [[1, 4, 9]]);
        assert_eq!(slices(&mut tape, 1, 9), [[4, 9]]);
        assert_eq!(slices(&mut tape, 3, 8), [[4]]);
        assert_eq!(slices(&mut tape, 9, 9), [[0; 0]; 0]);
    }

    #[test]
    fn no_event_after_the_high_water_mark_is_taken() {
        let mut tape = tape([1, 4, 9]);
        assert_eq!(slices(&mut tape, 0, 0), [[0; 0]; 0]);
        assert_eq!(slices(&mut tape, 0, 4), [[1, 4]]);
        push(&mut tape, 10, b"data: 10\n\n");
        assert_eq!(slices(&mut tape, 0, 10), [[1, 4], [9, 10]]);
    }

    #[test]
    fn two_readers_share_the_bytes() {
        let mut tape = tape([1, 2]);
        let [a, b] = [(); 2].map(|()| tape.slice(0, 2).unwrap().events);
        assert_eq!(a.bytes().as_ptr(), b.bytes().as_ptr());
    }

    #[test]
    fn small_blocks_are_compacted_for_later_readers() {
        let mut tape = Tape::new(0);
        for seq in 1..=1_000 {
            push(&mut tape, seq, format!("data: {seq}\n\n").as_bytes());
            assert_eq!(slices(&mut tape, seq - 1, seq), [[seq]]);
        }
        let taken = slices(&mut tape, 0, 1_000);
        assert_eq!(taken.concat(), (1..=1_000).collect::<Vec<_>>());
        assert!(taken.len() < 3 * COMPACTED_BLOCKS, "{}", taken.len());
    }

    #[test]
    fn a_block_never_exceeds_its_size() {
        let mut tape = Tape::new(0);
        let body = [b"data: ", &[b'x'; 1_000][..], b"\n\n"].concat();
        for seq in 1..=1_000 {
            push(&mut tape, seq, &body);
        }
        let mut after = 0;
        let mut blocks = 0;
        while let Some(slice) = tape.slice(after, 1_000) {
            assert!(slice.events.len() <= BLOCK_BYTES);
            after = slice.last;
            blocks += 1;
        }
        assert_eq!(after, 1_000);
        assert!(blocks < 30, "{blocks}");
    }

    #[test]
    fn an_event_larger_than_a_block_has_one_of_its_own() {
        let mut tape = tape([1]);
        push(&mut tape, 2, &vec![b'x'; 3 * BLOCK_BYTES]);
        push(&mut tape, 3, b"data: 3\n\n");
        let mut after = 0;
        let lengths: Vec<_> = std::iter::from_fn(|| {
            let slice = tape.slice(after, 3)?;
            after = slice.last;
            Some(slice.events.count())
        })
        .collect();
        assert_eq!(lengths.iter().sum::<usize>(), 3);
        assert_eq!(after, 3);
    }

    #[test]
    fn a_trim_moves_since_to_the_last_removed_event() {
        let mut tape = tape([1, 2]);
        tape.slice(0, 2);
        push(&mut tape, 5, b"data: 5\n\n");
        tape.trim(1);
        assert_eq!(tape.since(), 0);
        tape.trim(4);
        assert_eq!((tape.since(), tape.next(0)), (2, Some(5)));
        tape.trim(5);
        assert_eq!((tape.since(), tape.is_empty(), tape.cost()), (5, true, 0));
    }

    #[test]
    fn a_piece_has_the_bounds_of_each_event() {
        let mut tape = tape([1, 4]);
        tape.slice(0, 4);
        push(&mut tape, 9, b"data: 9\n\n");
        let piece = tape.piece(1, 9).unwrap();
        let events: Vec<_> = piece.events().map(|(seq, _)| seq).collect();
        assert_eq!((events, piece.is_cut), (vec![4], true));
        let piece = tape.piece(4, 9).unwrap();
        let (seq, bytes) = piece.events().next().unwrap();
        assert_eq!((seq, bytes.ends_with(b"data: 9\n\n")), (9, true));
        assert!(!piece.is_cut);
    }
}
