//! `RecentIndex`: the part of the index by channel that is not on the disk yet.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::channel_row::ChannelId;
use crate::index_row::IndexRow;

/// The rows of the index by channel of all entries after `start`, in generations.
///
/// The writer moves one generation at a time to the table `places`. It keeps a generation that was moved
/// until the next one was moved too, for readers whose snapshot of the disk is older.
#[derive(Debug)]
pub(crate) struct RecentIndex {
    start: u64,
    /// The older generations, which do not change. Oldest first.
    sealed: VecDeque<Arc<Generation>>,
    /// The newest generation.
    current: Generation,
    /// What was dropped, and is freed step by step.
    waste: VecDeque<Arc<Generation>>,
}

/// How many rows are freed for each one that is added. To free a generation at once would hold up the writer.
const FREED: usize = 4;

/// The index of a range of entries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Generation {
    /// In the order of channels and of numbers.
    pub(crate) rows: BTreeMap<(ChannelId, u64), IndexRow>,
    /// The number of the newest entry of the range.
    pub(crate) through: u64,
}

impl RecentIndex {
    /// An empty index, for the entries after this number.
    pub(crate) fn new(start: u64) -> Self {
        Self {
            start,
            sealed: VecDeque::new(),
            current: Generation::empty(start),
            waste: VecDeque::new(),
        }
    }

    /// It has a row of each entry after this number.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// How many rows the newest generation has.
    pub(crate) fn current_len(&self) -> usize {
        self.current.rows.len()
    }

    /// Adds the row of the next entry.
    pub(crate) fn push(&mut self, row: IndexRow) {
        self.current.push(row);
        self.free();
    }

    /// Frees some rows of the generations that were dropped.
    fn free(&mut self) {
        let Some(oldest) = self.waste.front_mut() else {
            return;
        };
        // Otherwise somebody else still has it, and frees it.
        let rows = Arc::get_mut(oldest).map(|generation| &mut generation.rows);
        let is_free = rows.is_none_or(|rows| {
            let freed = (0..FREED).map_while(|_| rows.pop_first()).count();
            freed < FREED || rows.is_empty()
        });
        if is_free {
            self.waste.pop_front();
        }
    }

    /// A copy for one question. It shares the generations that do not change.
    pub(crate) fn copy(&self) -> Self {
        Self {
            start: self.start,
            sealed: self.sealed.clone(),
            current: self.current.clone(),
            waste: VecDeque::new(),
        }
    }

    /// A copy of the newest generation.
    pub(crate) fn copy_current(&self) -> Generation {
        self.current.clone()
    }

    /// The number of the newest entry of a channel in the newest generation.
    pub(crate) fn newest_in_current(&self, channel: ChannelId) -> Option<u64> {
        self.current.newest_of(channel).map(|row| row.seq)
    }

    /// The first rows of a channel whose numbers are in this range, in order.
    pub(crate) fn first_of(
        &self,
        channel: ChannelId,
        seqs: RangeInclusive<u64>,
        limit: usize,
    ) -> Vec<IndexRow> {
        let generations = self.generations();
        let rows = generations.flat_map(|generation| generation.rows_of(channel, &seqs));
        rows.take(limit).collect()
    }

    /// The last rows of a channel whose numbers are in this range, the newest first.
    pub(crate) fn last_of(
        &self,
        channel: ChannelId,
        seqs: RangeInclusive<u64>,
        limit: usize,
    ) -> Vec<IndexRow> {
        let generations = self.generations().rev();
        let rows = generations.flat_map(|generation| generation.rows_of(channel, &seqs).rev());
        rows.take(limit).collect()
    }

    /// The newest row of a channel.
    pub(crate) fn newest_of(&self, channel: ChannelId) -> Option<IndexRow> {
        let mut newest_first = self.generations().rev();
        newest_first.find_map(|generation| generation.newest_of(channel))
    }

    /// Begins a new generation, and returns the one before.
    pub(crate) fn seal(&mut self) -> Arc<Generation> {
        let next = Generation::empty(self.current.through);
        let sealed = Arc::new(std::mem::replace(&mut self.current, next));
        self.sealed.push_back(Arc::clone(&sealed));
        sealed
    }

    /// Drops all sealed generations but the newest, after that one was moved to the disk.
    pub(crate) fn drop_moved(&mut self) {
        while self.sealed.len() > 1
            && let Some(dropped) = self.sealed.pop_front()
        {
            self.start = dropped.through;
            if dropped.rows.len() > FREED {
                self.waste.push_back(dropped);
            }
        }
    }

    fn generations(&self) -> impl DoubleEndedIterator<Item = &Generation> {
        let sealed = self.sealed.iter().map(AsRef::as_ref);
        sealed.chain([&self.current])
    }
}

impl Generation {
    fn empty(through: u64) -> Self {
        Self {
            rows: BTreeMap::new(),
            through,
        }
    }

    /// Adds the row of the next entry.
    pub(crate) fn push(&mut self, row: IndexRow) {
        self.through = row.seq;
        self.rows.insert((row.channel, row.seq), row);
    }

    fn newest_of(&self, channel: ChannelId) -> Option<IndexRow> {
        self.rows_of(channel, &(0..=u64::MAX)).next_back()
    }

    fn rows_of(
        &self,
        channel: ChannelId,
        seqs: &RangeInclusive<u64>,
    ) -> impl DoubleEndedIterator<Item = IndexRow> {
        let (first, last) = (*seqs.start(), *seqs.end());
        // A range that ends before it begins would panic.
        let range = (first <= last).then(|| self.rows.range((channel, first)..=(channel, last)));
        range.into_iter().flatten().map(|(_, row)| *row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_of_a_channel_are_in_order_over_generations() {
        let mut index = RecentIndex::new(10);
        for seq in 11..=20 {
            if seq % 3 == 0 {
                index.seal();
            }
            let (channel, nth) = (i64::from(seq % 2 == 1), seq);
            index.push(IndexRow {
                channel,
                seq,
                nth,
                time: 0,
            });
        }
        let seqs = |range| -> Vec<_> {
            index
                .first_of(1, range, 99)
                .iter()
                .map(|row| row.seq)
                .collect()
        };
        assert_eq!(seqs(0..=u64::MAX), [11, 13, 15, 17, 19]);
        assert_eq!(seqs(12..=17), [13, 15, 17]);
        let of = |rows: Vec<IndexRow>| -> Vec<_> { rows.iter().map(|row| row.seq).collect() };
        assert_eq!(of(index.first_of(1, 12..=19, 2)), [13, 15]);
        assert_eq!(of(index.last_of(1, 0..=16, 2)), [15, 13]);
        let (first, last) = (18, 12);
        assert!(index.last_of(1, first..=last, 2).is_empty());
        assert_eq!(index.newest_of(0).unwrap().seq, 20);
        assert_eq!(index.newest_of(2), None);
        assert_eq!(index.start(), 10);
        index.drop_moved();
        assert_eq!(index.start(), 14);
        assert_eq!(index.first_of(1, 0..=99, 99).len(), 3);
        assert_eq!(index.current_len(), 3);
    }

    #[test]
    fn a_generation_that_was_dropped_is_freed_step_by_step() {
        let mut index = RecentIndex::new(0);
        let row = |seq| IndexRow {
            channel: 1,
            seq,
            nth: seq,
            time: 0,
        };
        for generation in 0..2 {
            (1..=100).for_each(|n| index.push(row(100 * generation + n)));
            index.seal();
        }
        index.drop_moved();
        assert_eq!(index.waste.len(), 1);
        assert_eq!(index.waste[0].rows.len(), 100);
        assert_eq!(index.first_of(1, 0..=999, 999).len(), 100);
        index.push(row(201));
        assert_eq!(index.waste[0].rows.len(), 100 - FREED);
        (202..=225).for_each(|seq| index.push(row(seq)));
        assert!(index.waste.is_empty());
    }

    #[test]
    fn a_copy_keeps_what_the_index_drops() {
        let row = |seq| IndexRow {
            channel: 1,
            seq,
            nth: seq,
            time: 0,
        };
        let mut index = RecentIndex::new(0);
        for generation in 0..3 {
            (1..=10).for_each(|n| index.push(row(10 * generation + n)));
            index.seal();
        }
        index.push(row(31));
        let copy = index.copy();
        index.drop_moved();
        (32..=40).for_each(|seq| index.push(row(seq)));
        assert_eq!((index.start(), copy.start()), (20, 0));
        assert_eq!(copy.first_of(1, 0..=99, 99).len(), 31);
        assert_eq!(copy.newest_of(1).unwrap().seq, 31);
    }
}
