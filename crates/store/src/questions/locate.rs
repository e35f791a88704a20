//! `Search`: the place from which a subscriber reads on.

use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops::ControlFlow;

use tidings_hub::engine::{Loss, MAX_MERGED, Selection};
use tidings_hub::{EntryKind, Located, Place, Start};
use tidings_proto::Position;

use super::MAX_LOOK_BYTES;
use super::entries::Order;
use super::index_walk::Walk;
use crate::channel_row::ChannelRow;
use crate::failure::Outcome;
use crate::readers::Snapshot;

/// A search for a start.
#[derive(Debug, Clone)]
pub(super) struct Search {
    start: Start,
    selection: Selection,
    /// No later entry counts.
    newest: Position,
    /// How far the search for the newest events has come.
    back: Back,
}

/// The entries from the newest one back, and the events among them.
#[derive(Debug, Clone)]
struct Back {
    /// No entry after this one is left to examine.
    to: u64,
    /// How many events are still wanted.
    wanted: usize,
    /// The oldest event found.
    oldest: Option<u64>,
}

impl Search {
    pub(super) fn new(start: Start, selection: Selection, newest: &Position) -> Self {
        let wanted = match start {
            Start::Last(count) => count,
            Start::After(_) | Start::Earliest | Start::Time(_) | Start::Skip { .. } => 0,
        };
        Self {
            start,
            selection,
            newest: newest.clone(),
            back: Back {
                to: newest.seq,
                wanted,
                oldest: None,
            },
        }
    }

    /// Looks once; `None` if the search must go on.
    pub(super) fn look(&mut self, snapshot: &Snapshot<'_>) -> Outcome<Option<Located>> {
        snapshot.verify(&self.newest)?;
        let newest = self.newest.seq;
        match self.start {
            Start::After(place) => self.after(place, snapshot).map(Some),
            Start::Earliest => {
                let place = snapshot.state.floor.place;
                self.missing(Loss::Any, place, snapshot).map(Some)
            }
            Start::Time(time) => {
                let before = snapshot.last_before(time, newest)?;
                let place = snapshot.place(before)?;
                self.missing(Loss::Since(time), place, snapshot).map(Some)
            }
            // The entries of a commit are published, and in the index in memory, at once after it.
            Start::Skip { .. } if snapshot.floor() > snapshot.last.seq => Ok(None),
            Start::Skip { after, to } => {
                let place = snapshot.place(to.min(newest))?;
                let loss = Loss::After(after);
                let removed = self.selection.missed(snapshot, loss, place.seq)?;
                let passed = self.selection.events_between(snapshot, after, place.seq)?;
                let missed = removed + passed;
                Ok(Some(Located::Held { place, missed }))
            }
            Start::Last(_) => self.last(snapshot),
        }
    }

    fn missing(&self, loss: Loss, place: Place, snapshot: &Snapshot<'_>) -> Outcome<Located> {
        let missed = self.selection.missed(snapshot, loss, self.newest.seq)?;
        Ok(Located::Held { place, missed })
    }

    fn after(&self, place: Place, snapshot: &Snapshot<'_>) -> Outcome<Located> {
        if !snapshot.holds(place)? {
            let last = snapshot.last.seq;
            return Ok(Located::Unknown { last });
        }
        let loss = Loss::After(place.seq);
        let missed = self.selection.missed(snapshot, loss, self.newest.seq)?;
        let place = if missed > 0 {
            snapshot.state.floor.place
        } else {
            place
        };
        Ok(Located::Held { place, missed })
    }

    fn last(&mut self, snapshot: &Snapshot<'_>) -> Outcome<Option<Located>> {
        match self.selection.channels(snapshot, MAX_MERGED)? {
            Some(channels) => self.back.merge(channels, snapshot)?,
            None if !self.back.scan(&self.selection, snapshot)? => return Ok(None),
            None => {}
        }
        let seq = self
            .back
            .oldest
            .map_or(self.newest.seq, |oldest| oldest - 1);
        let place = snapshot.place(seq)?;
        Ok(Some(Located::Held { place, missed: 0 }))
    }
}

impl Back {
    /// Finds the newest events of these channels.
    fn merge(&mut self, channels: Vec<ChannelRow>, snapshot: &Snapshot<'_>) -> Outcome<()> {
        let range = (snapshot.floor(), self.to);
        let mut walks = Vec::new();
        let mut heads = BinaryHeap::new();
        for channel in channels {
            let mut walk = Walk::new(snapshot, channel, range, Order::NewestFirst)?;
            heads.extend(walk.next()?.map(|row| (row.seq, walks.len())));
            walks.push(walk);
        }
        while self.wanted > 0
            && let Some(mut head) = heads.peek_mut()
        {
            let (seq, at) = *head;
            let walk = &mut walks[at];
            if walk.channel.end != Some(seq) {
                self.wanted -= 1;
                self.oldest = Some(seq);
            }
            match walk.next()? {
                Some(next) => *head = (next.seq, at),
                None => drop(PeekMut::pop(head)),
            }
        }
        Ok(())
    }

    /// Searches some entries for the newest events. Returns whether it is done.
    fn scan(&mut self, selection: &Selection, snapshot: &Snapshot<'_>) -> Outcome<bool> {
        if self.is_done(snapshot) {
            return Ok(true);
        }
        let mut bytes = 0;
        let range = (snapshot.floor(), self.to);
        let looks = selection.looks();
        snapshot.each_entry(range, Order::NewestFirst, looks, |entry, body| {
            let is_event = entry.kind == EntryKind::Event;
            if is_event && (selection.is_all() || selection.covers(&snapshot.name_of(&entry)?)) {
                self.wanted -= 1;
                self.oldest = Some(entry.seq);
            }
            self.to = entry.seq - 1;
            bytes += body.len();
            let is_enough = self.wanted == 0 || bytes >= MAX_LOOK_BYTES;
            Ok(if is_enough {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
        Ok(self.is_done(snapshot))
    }

    fn is_done(&self, snapshot: &Snapshot<'_>) -> bool {
        self.wanted == 0 || self.to <= snapshot.floor()
    }
}
