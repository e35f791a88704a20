//! `Search`: the place from which a subscriber of a log in memory reads on.

use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::held::Held;
use super::index::ChannelId;
use crate::engine::{Loss, MAX_MERGED, Selection};
use crate::{EntryKind, Located, Place, Start};

/// A search for a start.
pub(super) struct Search {
    start: Start,
    selection: Selection,
    /// No later entry counts.
    newest: u64,
    /// How far the search for the newest events has come.
    back: Back,
}

/// The entries from the newest one back, and the events among them.
struct Back {
    /// No entry after this one is left to examine.
    to: u64,
    /// How many events are still wanted.
    wanted: usize,
    /// The oldest event found.
    oldest: Option<u64>,
}

impl Search {
    pub(super) fn new(start: Start, selection: Selection, newest: u64) -> Self {
        let wanted = match start {
            Start::Last(count) => count,
            Start::After(_) | Start::Earliest | Start::Time(_) | Start::Skip { .. } => 0,
        };
        let back = Back {
            to: newest,
            wanted,
            oldest: None,
        };
        Self {
            start,
            selection,
            newest,
            back,
        }
    }

    /// Looks once; `None` if the search must go on. The log must hold the newest entry, or have removed it.
    pub(super) fn look(&mut self, held: &mut Held) -> Option<Located> {
        match self.start {
            Start::After(place) => Some(self.after(place, held)),
            Start::Earliest => {
                let place = held.floor_place();
                Some(self.missing(Loss::Any, place, held))
            }
            Start::Time(time) => {
                let before = held.last_before(time).min(self.newest);
                let place = held.place(before);
                Some(self.missing(Loss::Since(time), place, held))
            }
            Start::Skip { after, to } => {
                let place = held.place(to.min(self.newest));
                let Ok(removed) = self.selection.missed(held, Loss::After(after), place.seq);
                let Ok(passed) = self.selection.events_between(held, after, place.seq);
                let missed = removed + passed;
                Some(Located::Held { place, missed })
            }
            Start::Last(_) => self.last(held),
        }
    }

    fn missing(&self, loss: Loss, place: Place, held: &Held) -> Located {
        let Ok(missed) = self.selection.missed(held, loss, self.newest);
        Located::Held { place, missed }
    }

    fn after(&self, place: Place, held: &mut Held) -> Located {
        if !held.holds(place) {
            return Located::Unknown { last: held.last() };
        }
        let loss = Loss::After(place.seq);
        let Ok(missed) = self.selection.missed(held, loss, self.newest);
        let place = if missed > 0 {
            held.floor_place()
        } else {
            place
        };
        Located::Held { place, missed }
    }

    fn last(&mut self, held: &mut Held) -> Option<Located> {
        let Ok(channels) = self.selection.channels(held, MAX_MERGED);
        match channels {
            Some(channels) => self.back.merge(&channels, held),
            None if !self.back.scan(&self.selection, held) => return None,
            None => {}
        }
        let seq = self.back.oldest.map_or(self.newest, |oldest| oldest - 1);
        let place = held.place(seq);
        Some(Located::Held { place, missed: 0 })
    }
}

impl Back {
    /// Finds the newest events of these channels.
    fn merge(&mut self, channels: &[ChannelId], held: &Held) {
        let index = &held.index;
        let next = |id: ChannelId, rank: usize| {
            let rank = rank.checked_sub(1)?;
            Some((index.record(id).seqs[rank], id, rank))
        };
        let first = channels.iter();
        let first = first.filter_map(|&id| next(id, index.record(id).rank(self.to)));
        let mut heads: BinaryHeap<_> = first.collect();
        while self.wanted > 0
            && let Some(mut head) = heads.peek_mut()
        {
            let (seq, id, rank) = *head;
            if index.record(id).end() != Some(seq) {
                self.wanted -= 1;
                self.oldest = Some(seq);
            }
            match next(id, rank) {
                Some(next) => *head = next,
                None => drop(PeekMut::pop(head)),
            }
        }
    }

    /// Searches some entries for the newest events. Returns whether it is done.
    fn scan(&mut self, selection: &Selection, held: &Held) -> bool {
        for _ in 0..selection.looks() {
            if self.wanted == 0 || self.to <= held.floor() {
                return true;
            }
            let entry = &held.entries[held.next(self.to - 1)];
            let name = &held.index.record(entry.channel).name;
            if entry.kind == EntryKind::Event && selection.covers(name) {
                self.wanted -= 1;
                self.oldest = Some(self.to);
            }
            self.to -= 1;
        }
        false
    }
}

impl Held {
    /// The last entry before this time, or the floor.
    fn last_before(&self, time: u64) -> u64 {
        let before = self.entries.partition_point(|entry| entry.time < time);
        self.floor() + before as u64
    }
}
