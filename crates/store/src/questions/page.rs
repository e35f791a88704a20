//! The pages of entries that a store returns.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops::ControlFlow;

use bytes::Bytes;
use tidings_hub::{Entry, LogError, PAGE_BYTES, Page};

use super::entries::{Names, Order};
use super::index_walk::Walk;
use super::loss::Loss;
use super::selection::Selection;
use super::{MAX_LOOK_BYTES, MAX_MERGED};
use crate::channel_row::ChannelRow;
use crate::failure::Outcome;
use crate::readers::Snapshot;

impl Snapshot<'_> {
    /// The entries of the selected channels after `after`, up to and including `newest`, which the log holds
    /// or has removed.
    pub(super) fn page(
        &self,
        after: u64,
        limit: usize,
        selection: &Selection,
        newest: u64,
    ) -> Outcome<Page> {
        if self.missed(Loss::After(after), selection, newest)? > 0 {
            return Err(LogError::trimmed(self.floor() + 1).into());
        }
        let from = after.max(self.floor());
        if from >= newest {
            return Ok(Page::new(Vec::new(), after.max(newest)));
        }
        let mut page = Builder::new(from, limit);
        match selection.channels(self, MAX_MERGED)? {
            Some(channels) => self.add_of(channels, newest, &mut page)?,
            None => self.scan(selection, newest, &mut page)?,
        }
        Ok(page.page)
    }

    /// Adds entries of these channels.
    fn add_of(&self, channels: Vec<ChannelRow>, newest: u64, page: &mut Builder) -> Outcome<()> {
        match <[_; 1]>::try_from(channels) {
            Ok([channel]) => {
                let range = (page.page.through, newest);
                let walk = Walk::new(self, channel, range, Order::OldestFirst)?;
                if walk.add_entries(|entry| page.add(entry))? {
                    page.page.through = newest;
                }
                Ok(())
            }
            Err(channels) => self.merge(channels, newest, page),
        }
    }

    fn merge(&self, channels: Vec<ChannelRow>, newest: u64, page: &mut Builder) -> Outcome<()> {
        let range = (page.page.through, newest);
        let mut walks = Vec::new();
        let mut heads = BinaryHeap::new();
        let mut lookup = self.lookup()?;
        for channel in channels {
            let mut walk = Walk::new(self, channel, range, Order::OldestFirst)?;
            heads.extend(walk.next()?.map(|row| Reverse((row.seq, walks.len()))));
            walks.push(walk);
        }
        while let Some(mut head) = heads.peek_mut() {
            let Reverse((_, at)) = *head;
            let walk = &mut walks[at];
            if !page.add(walk.entry(&mut lookup)?) {
                return Ok(());
            }
            match walk.next()? {
                Some(next) => *head = Reverse((next.seq, at)),
                None => drop(PeekMut::pop(head)),
            }
        }
        page.page.through = newest;
        Ok(())
    }

    /// Adds selected entries among the next ones.
    fn scan(&self, selection: &Selection, newest: u64, page: &mut Builder) -> Outcome<()> {
        let mut names = Names::default();
        let mut bytes = 0;
        let range = (page.page.through, newest);
        self.each_entry(
            range,
            Order::OldestFirst,
            selection.looks(),
            |mut entry, body| {
                let seq = entry.seq;
                let name = names.get(self, &entry)?;
                if selection.covers(name) {
                    if page.is_full() || !page.has_room(body.len()) {
                        return Ok(ControlFlow::Break(()));
                    }
                    entry.body = Bytes::copy_from_slice(body);
                    page.add(entry.into_entry(name.clone()));
                }
                page.page.through = seq;
                bytes += body.len();
                Ok(if bytes >= MAX_LOOK_BYTES {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            },
        )
    }
}

/// A page while entries are added.
struct Builder {
    page: Page,
    limit: usize,
    bytes: usize,
}

impl Builder {
    fn new(after: u64, limit: usize) -> Self {
        Self {
            page: Page::new(Vec::new(), after),
            limit: limit.max(1),
            bytes: 0,
        }
    }

    /// Whether no entry fits, whatever its size.
    fn is_full(&self) -> bool {
        self.page.entries.len() == self.limit || self.bytes > PAGE_BYTES
    }

    /// Whether an entry of this size fits. The first one always does.
    fn has_room(&self, bytes: usize) -> bool {
        self.page.entries.is_empty() || self.bytes + bytes <= PAGE_BYTES
    }

    /// Adds an entry, unless it does not fit.
    fn add(&mut self, entry: Entry) -> bool {
        let has_room = !self.is_full() && self.has_room(entry.body.len());
        if has_room {
            self.bytes += entry.body.len();
            self.page.through = entry.seq;
            self.page.entries.push(entry);
        }
        has_room
    }
}
