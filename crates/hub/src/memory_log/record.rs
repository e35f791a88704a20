//! `Record`: what a log in memory knows of one channel.

use std::collections::VecDeque;
use std::num::NonZeroU64;

use super::capacity;
use crate::ChannelName;
use crate::engine::Removed;

/// What a log in memory knows of one channel: the entries that it holds, the end, and the events that were
/// removed.
pub(super) struct Record {
    pub(super) name: ChannelName,
    /// The numbers of its entries that the log holds, in order. A held end is the last one.
    pub(super) seqs: VecDeque<u64>,
    /// The number of its end, also after the end was removed.
    pub(super) end: Option<NonZeroU64>,
    /// Its events that were removed.
    pub(super) removed: Removed,
    /// Of its events up to this number, the log knows nothing.
    pub(super) known_since: u64,
}

impl Record {
    /// A channel without entries.
    pub(super) fn new(name: ChannelName, known_since: u64) -> Self {
        Self {
            name,
            seqs: VecDeque::new(),
            end: None,
            removed: Removed::default(),
            known_since,
        }
    }

    /// Whether the log holds none of its entries.
    pub(super) fn is_gone(&self) -> bool {
        self.seqs.is_empty()
    }

    pub(super) fn end(&self) -> Option<u64> {
        self.end.map(NonZeroU64::get)
    }

    /// The number of its newest event that the log holds.
    pub(super) fn newest_event(&self) -> Option<u64> {
        let mut newest = self.seqs.iter().rev();
        newest.find(|&&seq| Some(seq) != self.end()).copied()
    }

    /// How many of its events the log holds after `after`, up to and including `to`.
    pub(super) fn events_between(&self, after: u64, to: u64) -> u64 {
        let entries = self.rank(to).saturating_sub(self.rank(after)) as u64;
        let is_held = |end| after < end && end <= to && self.seqs.back() == Some(&end);
        entries - u64::from(self.end().is_some_and(is_held))
    }

    /// How many of the entries that the log holds are at or before this number.
    pub(super) fn rank(&self, seq: u64) -> usize {
        self.seqs.partition_point(|&held| held <= seq)
    }

    pub(super) fn push(&mut self, seq: u64) {
        capacity::grow(&mut self.seqs);
        self.seqs.push_back(seq);
    }

    /// Forgets the oldest entry.
    pub(super) fn pop(&mut self) {
        self.seqs.pop_front();
        capacity::shrink(&mut self.seqs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seqs: &[u64], end: Option<u64>) -> Record {
        let mut record = Record::new(ChannelName::from_static("a"), 0);
        seqs.iter().for_each(|&seq| record.push(seq));
        record.end = end.and_then(NonZeroU64::new);
        record
    }

    #[test]
    fn an_end_is_no_event() {
        let ended = record(&[3, 5, 8], Some(8));
        assert_eq!(ended.newest_event(), Some(5));
        let check = |after, to, events| assert_eq!(ended.events_between(after, to), events);
        check(0, 9, 2);
        check(0, 7, 2);
        check(3, 8, 1);
        check(5, 8, 0);
        check(8, 9, 0);
        check(9, 2, 0);
        // The end was removed too.
        let gone = record(&[], Some(8));
        assert_eq!((gone.newest_event(), gone.events_between(0, 9)), (None, 0));
    }
}
