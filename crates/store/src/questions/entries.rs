//! The entries of a snapshot: single ones, ranges, and their places.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use rusqlite::{CachedStatement, OptionalExtension};
use tidings_hub::{ChannelName, Entry, EntryKind, LogError, Place};
use tidings_proto::Position;

use crate::channel_row::ChannelRow;
use crate::entry_row::EntryRow;
use crate::failure::{Failure, Outcome};
use crate::index_row::IndexRow;
use crate::read_cache::ReadCache;
use crate::readers::Snapshot;

static ONE: LazyLock<String> = LazyLock::new(|| select("seq = ?1"));
static UP: LazyLock<String> =
    LazyLock::new(|| select("seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3"));
static DOWN: LazyLock<String> =
    LazyLock::new(|| select("seq > ?1 AND seq <= ?2 ORDER BY seq DESC LIMIT ?3"));

static CHANNEL: LazyLock<String> = LazyLock::new(|| ChannelRow::select("id = ?1"));

fn select(condition: &str) -> String {
    format!(
        "SELECT {} FROM entries WHERE {condition}",
        EntryRow::COLUMNS
    )
}

/// The order in which a range of entries is examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    OldestFirst,
    NewestFirst,
}

impl Snapshot<'_> {
    /// The number of the newest entry that was removed.
    pub(crate) fn floor(&self) -> u64 {
        self.state.floor.place.seq
    }

    /// Fails unless the log holds this position, or has removed its entry by the retention.
    pub(crate) fn verify(&self, position: &Position) -> Outcome<()> {
        if position.epoch == self.state.epoch && self.holds(Place::from(position))? {
            Ok(())
        } else {
            Err(LogError::rewound(self.last.seq).into())
        }
    }

    /// Whether the log holds this place, or has removed its entry by the retention.
    pub(super) fn holds(&self, place: Place) -> Outcome<bool> {
        let floor = self.state.floor.place;
        Ok(match place.seq {
            0 => place == Place::start(),
            seq if seq == floor.seq => place == floor,
            // Nothing is left to compare.
            seq if seq < floor.seq => true,
            seq if seq > self.last.seq => false,
            seq if seq == self.last.seq => place == self.last,
            seq => self.check(seq)? == place.check.as_str() || self.place(seq)? == place,
        })
    }

    /// The check of an entry as it is stored, without a look at the body, which may be large.
    fn check(&self, seq: u64) -> Outcome<String> {
        let select = r#"SELECT "check" FROM entries WHERE seq = ?1"#;
        let mut select = self.connection.prepare_cached(select)?;
        let check = select.query_row([seq.cast_signed()], |row| Ok(row.get(0).ok()));
        check.optional()?.flatten().ok_or_else(|| missing(seq))
    }

    /// The place of the entry with this number, or the floor if the entry was removed.
    pub(super) fn place(&self, seq: u64) -> Outcome<Place> {
        self.place_and_size(seq).map(|(place, _)| place)
    }

    /// The place, and the size of the entry's body.
    pub(super) fn place_and_size(&self, seq: u64) -> Outcome<(Place, usize)> {
        if seq <= self.floor() {
            return Ok((self.state.floor.place, 0));
        }
        self.row(seq, |row, body| {
            let check = row.check;
            (Place { seq, check }, body.len())
        })
    }

    /// What the entry with this number is, verified, and its body. The log must hold it.
    pub(super) fn row<T>(&self, seq: u64, of: impl FnOnce(EntryRow, &[u8]) -> T) -> Outcome<T> {
        let mut select = self.connection.prepare_cached(&ONE)?;
        let mut rows = select.query([seq.cast_signed()])?;
        let row = rows.next()?.ok_or_else(|| missing(seq))?;
        let (row, body) = EntryRow::verified(row)?;
        Ok(of(row, body))
    }

    pub(super) fn lookup(&self) -> Outcome<EntryLookup<'_>> {
        Ok(EntryLookup {
            select: self.connection.prepare_cached(&ONE)?,
            cache: &self.shared.read_cache,
        })
    }

    /// Examines the entries after `after`, up to and including `to`, which the log must hold: at most
    /// `limit`.
    pub(crate) fn each_entry(
        &self,
        (after, to): (u64, u64),
        order: Order,
        limit: usize,
        mut examine: impl FnMut(EntryRow, &[u8]) -> Outcome<ControlFlow<()>>,
    ) -> Outcome<()> {
        let count = (to.saturating_sub(after)).min(limit as u64);
        let select = match order {
            Order::OldestFirst => &UP,
            Order::NewestFirst => &DOWN,
        };
        let mut select = self.connection.prepare_cached(select)?;
        let range = [after, to, count].map(u64::cast_signed);
        let mut rows = select.query(range)?;
        for at in 0..count {
            let seq = match order {
                Order::OldestFirst => after + 1 + at,
                Order::NewestFirst => to - at,
            };
            let row = rows.next()?.ok_or_else(|| missing(seq))?;
            let (row, body) = EntryRow::verified(row)?;
            if row.seq != seq {
                return Err(missing(seq));
            }
            if examine(row, body)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The last entry before this time, up to `newest`, or the floor.
    pub(super) fn last_before(&self, time: u64, newest: u64) -> Outcome<u64> {
        let mut select = self
            .connection
            .prepare_cached("SELECT time FROM entries WHERE seq = ?1")?;
        let mut time_of = |seq: u64| -> Outcome<u64> {
            let time = select.query_row([seq.cast_signed()], |row| Ok(row.get(0).ok()));
            let time: Option<i64> = time.optional()?.flatten();
            time.map(i64::cast_unsigned).ok_or_else(|| missing(seq))
        };
        // No entry up to `before` has this time or a later one, and none after `to` an earlier one.
        let (mut before, mut to) = (self.floor(), newest.max(self.floor()));
        while before < to {
            let middle = before + (to - before).div_ceil(2);
            if time_of(middle)? < time {
                before = middle;
            } else {
                to = middle - 1;
            }
        }
        let is_before = |seq| self.row(seq, |row, _| row.time < time);
        let is_right = (before <= self.floor() || is_before(before)?)
            && (before >= newest || !is_before(before + 1)?);
        if is_right {
            Ok(before)
        } else {
            let what = format!("the times of the entries near {before} are not in order");
            Err(Failure::damaged(what))
        }
    }
}

/// The statement that reads single entries, and the ones that are in memory.
pub(super) struct EntryLookup<'s> {
    select: CachedStatement<'s>,
    cache: &'s ReadCache,
}

impl EntryLookup<'_> {
    /// The entry of this row of the index.
    pub(super) fn entry(&mut self, channel: &ChannelRow, of: IndexRow) -> Outcome<Entry> {
        let kind = if channel.end == Some(of.seq) {
            EntryKind::End
        } else {
            EntryKind::Event
        };
        let cached = self.cache.entry(of);
        if let Some(entry) = cached.filter(|entry| entry.kind == kind) {
            return Ok(entry);
        }
        let mut rows = self.select.query([of.seq.cast_signed()])?;
        let row = rows.next()?.ok_or_else(|| missing(of.seq))?;
        let row = EntryRow::read(row)?;
        let is_same = (row.seq, row.channel, row.nth, row.time, row.kind)
            == (of.seq, of.channel, of.nth, of.time, kind);
        if !is_same {
            let what = format!("the index by channel contradicts entry {}", of.seq);
            return Err(Failure::damaged(what));
        }
        let entry = row.into_entry(channel.name.clone());
        self.cache.keep_entry(of, &entry);
        Ok(entry)
    }
}

pub(super) fn missing(seq: u64) -> Failure {
    Failure::damaged(format!("entry {seq} is missing"))
}

impl Snapshot<'_> {
    /// The name of an entry's channel.
    pub(crate) fn name_of(&self, entry: &EntryRow) -> Outcome<ChannelName> {
        let EntryRow { seq, channel, .. } = *entry;
        let cache = &self.shared.read_cache;
        if let Some(name) = cache.name(channel) {
            return Ok(name);
        }
        let mut select = self.connection.prepare_cached(&CHANNEL)?;
        let found = select.query_row([channel], |row| Ok(ChannelRow::read(row)));
        let ChannelRow { name, .. } = found.optional()?.transpose()?.ok_or_else(|| {
            Failure::damaged(format!("channel {channel} of entry {seq} is missing"))
        })?;
        cache.keep_name(channel, &name);
        Ok(name)
    }
}
