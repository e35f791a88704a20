//! The channels of a snapshot, and their ends.

use std::sync::LazyLock;

use tidings_hub::engine::MAX_LOOKS;
use tidings_hub::{ChannelName, PAGE_BYTES, StoredChannel};

use crate::channel_row::ChannelRow;
use crate::failure::{Failure, Outcome};
use crate::readers::Snapshot;

/// Through the index, so that no end is missing because of damage in the table.
static ENDS: LazyLock<String> = LazyLock::new(|| {
    let columns = ChannelRow::COLUMNS;
    format!(
        r#"SELECT {columns} FROM channels INDEXED BY ends WHERE "end" IS NOT NULL ORDER BY "end""#
    )
});
static AFTER: LazyLock<String> = LazyLock::new(|| ChannelRow::select("name > ?1 ORDER BY name"));

/// A search for the next channels in the order of names.
#[derive(Debug, Clone)]
pub(super) struct ChannelSearch {
    /// The last name that was examined.
    after: Option<ChannelName>,
    limit: usize,
}

impl ChannelSearch {
    pub(super) fn new(after: Option<&ChannelName>, limit: usize) -> Self {
        let after = after.cloned();
        Self { after, limit }
    }
}

impl Snapshot<'_> {
    pub(super) fn ends(&self) -> Outcome<Vec<(ChannelName, u64)>> {
        let mut select = self.connection.prepare_cached(&ENDS)?;
        let mut rows = select.query([])?;
        let mut ends = Vec::new();
        let mut newest = 0;
        while let Some(row) = rows.next()? {
            let channel = ChannelRow::read(row)?;
            let end = channel.end.filter(|&end| end > newest);
            newest = end.ok_or_else(|| out_of_order(&channel.name))?;
            ends.push((channel.name, newest));
        }
        Ok(ends)
    }

    /// The channel with this name, if the log holds an entry of it or remembers its end; `None` if the
    /// snapshot is ahead of the index in memory.
    pub(super) fn channel(&self, name: &ChannelName) -> Outcome<Option<Option<StoredChannel>>> {
        let Some(last) = self.last_in_index()? else {
            return Ok(None);
        };
        let Some(channel) = ChannelRow::find(self.connection, name)? else {
            return Ok(Some(None));
        };
        let found = self.stored(channel, last)?;
        Ok(Some(found.map(|(found, _)| found)))
    }

    /// Examines the next channels. Returns those that [`channel`](Self::channel) returns, and how the search
    /// goes on if there may be more; `None` if the snapshot is ahead of the index in memory.
    pub(super) fn channels(
        &self,
        search: &ChannelSearch,
    ) -> Outcome<Option<(Option<ChannelSearch>, Vec<StoredChannel>)>> {
        let Some(last) = self.last_in_index()? else {
            return Ok(None);
        };
        let after = search.after.as_ref().map_or("", ChannelName::as_str);
        ChannelRow::check_before(self.connection, after)?;
        let mut select = self.connection.prepare_cached(&AFTER)?;
        let mut rows = select.query([after])?;
        let (mut looks, mut bytes) = (0, 0);
        let mut examined = search.after.clone();
        let mut page = Vec::new();
        while looks < MAX_LOOKS
            && let Some(row) = rows.next()?
        {
            let channel = ChannelRow::read(row)?;
            if Some(&channel.name) <= examined.as_ref() {
                return Err(out_of_order(&channel.name));
            }
            looks += 1;
            examined = Some(channel.name.clone());
            let Some((found, size)) = self.stored(channel, last)? else {
                continue;
            };
            // Each body is read for the position.
            bytes += size;
            if bytes > PAGE_BYTES && !page.is_empty() {
                break;
            }
            page.push(found);
            if page.len() >= search.limit {
                break;
            }
        }
        let next = (looks == MAX_LOOKS).then_some(ChannelSearch {
            after: examined,
            limit: search.limit,
        });
        Ok(Some((next, page)))
    }

    /// The newest entry of the snapshot; `None` if the writer has not added the newest entries to the index
    /// in memory yet. It does so at once, and publishes them then.
    fn last_in_index(&self) -> Outcome<Option<u64>> {
        let mut select = self
            .connection
            .prepare_cached("SELECT max(seq) FROM entries")?;
        let last: Option<i64> = select.query_row([], |row| row.get(0))?;
        let last = last.map_or(self.floor(), i64::cast_unsigned);
        Ok((self.shared.published().last.seq >= last).then_some(last))
    }

    /// A channel as the log stores it, and the size of its newest event; `None` if the log holds no entry of
    /// it and it has not ended.
    fn stored(&self, channel: ChannelRow, last: u64) -> Outcome<Option<(StoredChannel, usize)>> {
        let newest = self.newest_row(channel.id, last)?.ok_or_else(|| {
            let name = &channel.name;
            Failure::damaged(format!("the index has no entry of channel {name}"))
        })?;
        let floor = self.floor();
        if newest.seq <= floor && channel.end.is_none() {
            return Ok(None);
        }
        let event = if channel.end == Some(newest.seq) {
            self.newest_row(channel.id, newest.seq - 1)?
        } else {
            Some(newest)
        };
        let event = event.map(|row| row.seq).filter(|&seq| seq > floor);
        let Some(event) = event else {
            let found = StoredChannel::new(channel.name, None, channel.end);
            return Ok(Some((found, 0)));
        };
        let (place, size) = self.place_and_size(event)?;
        let newest = place.in_epoch(&self.state.epoch);
        let found = StoredChannel::new(channel.name, Some(newest), channel.end);
        Ok(Some((found, size)))
    }
}

/// That an index of the table `channels` is not in order.
pub(super) fn out_of_order(name: &ChannelName) -> Failure {
    Failure::damaged(format!("the channels near {name} are not in order"))
}
