//! The pages of entries that a store returns.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops::ControlFlow;

use bytes::Bytes;
use tidings_hub::engine::{Loss, MAX_MERGED, PageBuilder, Selection};
use tidings_hub::{LogError, Page};

use super::MAX_LOOK_BYTES;
use super::entries::Order;
use super::index_walk::Walk;
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
        if selection.missed(self, Loss::After(after), newest)? > 0 {
            return Err(LogError::trimmed(self.floor() + 1).into());
        }
        let from = after.max(self.floor());
        if from >= newest {
            return Ok(Page::new(Vec::new(), after.max(newest)));
        }
        let mut page = PageBuilder::new(from, limit);
        match selection.channels(self, MAX_MERGED)? {
            Some(channels) => self.add_of(channels, newest, &mut page)?,
            None => self.scan(selection, newest, &mut page)?,
        }
        Ok(page.build())
    }

    /// Adds entries of these channels.
    fn add_of(
        &self,
        channels: Vec<ChannelRow>,
        newest: u64,
        page: &mut PageBuilder,
    ) -> Outcome<()> {
        match <[_; 1]>::try_from(channels) {
            Ok([channel]) => {
                let range = (page.through(), newest);
                let mut walk = Walk::new(self, channel, range, Order::OldestFirst)?;
                walk.fetch_at_once(page.limit());
                let mut lookup = self.lookup()?;
                while walk.next()?.is_some() {
                    if !page.add(walk.entry(&mut lookup)?) {
                        return Ok(());
                    }
                }
                page.cover(newest);
                Ok(())
            }
            Err(channels) => self.merge(channels, newest, page),
        }
    }

    fn merge(&self, channels: Vec<ChannelRow>, newest: u64, page: &mut PageBuilder) -> Outcome<()> {
        let range = (page.through(), newest);
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
        page.cover(newest);
        Ok(())
    }

    /// Adds selected entries among the next ones.
    fn scan(&self, selection: &Selection, newest: u64, page: &mut PageBuilder) -> Outcome<()> {
        let mut bytes = 0;
        let range = (page.through(), newest);
        self.each_entry(
            range,
            Order::OldestFirst,
            selection.looks(),
            |mut entry, body| {
                let seq = entry.seq;
                let name = self.name_of(&entry)?;
                if selection.covers(&name) {
                    if !page.has_room(body.len()) {
                        return Ok(ControlFlow::Break(()));
                    }
                    entry.body = Bytes::copy_from_slice(body);
                    page.add(entry.into_entry(name));
                }
                page.cover(seq);
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
