//! What a snapshot knows of the channels that a question selects.

use std::sync::LazyLock;

use tidings_hub::ChannelName;
use tidings_hub::engine::{Channels, Removed};

use super::channels::out_of_order;
use crate::channel_row::ChannelRow;
use crate::failure::{Failure, Outcome};
use crate::index_row::IndexRow;
use crate::readers::Snapshot;

static FROM: LazyLock<String> = LazyLock::new(|| ChannelRow::select("name >= ?1 ORDER BY name"));

impl Channels for Snapshot<'_> {
    type Channel = ChannelRow;
    type Error = Failure;

    fn floor(&self) -> u64 {
        self.floor()
    }

    fn removed(&self) -> Removed {
        self.state.removed
    }

    fn forgotten_through(&self) -> u64 {
        self.state.forgotten_through
    }

    fn find(&self, name: &ChannelName) -> Outcome<Option<ChannelRow>> {
        ChannelRow::find(self.connection, name)
    }

    fn below(&self, name: &str, max: usize) -> Outcome<Vec<ChannelRow>> {
        self.first_below(name, max)
    }

    fn known_since(&self, channel: &ChannelRow) -> u64 {
        channel.known_since
    }

    fn removed_of(&self, channel: &ChannelRow) -> Outcome<Removed> {
        let Some(newest) = self.newest_row(channel.id, self.floor())? else {
            return Ok(Removed::default());
        };
        let event = if channel.end != Some(newest.seq) {
            newest
        } else if newest.nth == 0 {
            return Ok(Removed::default());
        } else {
            // The newest event before the end stays in the index as long as the end.
            let event = self.newest_row(channel.id, newest.seq - 1)?;
            let event = event.filter(|event| event.nth == newest.nth);
            event.ok_or_else(|| {
                let name = &channel.name;
                let what = format!("the index of channel {name} has no event before its end");
                Failure::damaged(what)
            })?
        };
        Ok(Removed {
            count: event.nth,
            seq: event.seq,
            time: event.time,
        })
    }

    fn events_of(&self, channel: &ChannelRow, after: u64, to: u64) -> Outcome<u64> {
        let nth = |row: Option<IndexRow>| row.map_or(0, |row| row.nth);
        let before = nth(self.newest_row(channel.id, after)?);
        let events = nth(self.newest_row(channel.id, to)?).checked_sub(before);
        events.ok_or_else(|| {
            let id = channel.id;
            let what = format!("the index of channel {id} counts back after entry {after}");
            Failure::damaged(what)
        })
    }

    fn ends_between(&self, after: u64, to: u64) -> Outcome<u64> {
        let select = r#"SELECT count(*) FROM channels WHERE "end" > ?1 AND "end" <= ?2"#;
        let mut select = self.connection.prepare_cached(select)?;
        let count: i64 = select.query_row([after, to].map(u64::cast_signed), |row| row.get(0))?;
        Ok(count.cast_unsigned().min(to - after))
    }
}

impl Snapshot<'_> {
    /// Finds the channels below this name, in the order of names, until `max` were found.
    fn first_below(&self, name: &str, max: usize) -> Outcome<Vec<ChannelRow>> {
        // Their names begin with a slash after the name, and `0` is the next character.
        let (first, end) = (format!("{name}/"), format!("{name}0"));
        ChannelRow::check_before(self.connection, &first)?;
        let mut select = self.connection.prepare_cached(&FROM)?;
        let mut rows = select.query([first.as_str()])?;
        let mut found: Vec<ChannelRow> = Vec::new();
        while found.len() < max
            && let Some(row) = rows.next()?
        {
            let channel = ChannelRow::read(row)?;
            let is_in_order = channel.name.as_str() > first.as_str()
                && found.last().is_none_or(|before| before.name < channel.name);
            if !is_in_order {
                return Err(out_of_order(&channel.name));
            }
            if channel.name.as_str() >= end.as_str() {
                break;
            }
            found.push(channel);
        }
        Ok(found)
    }
}
