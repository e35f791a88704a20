//! `Walk`: the index rows of one channel, from the disk and then from memory.

use std::sync::LazyLock;
use std::vec;

use tidings_hub::Entry;

use super::entries::{EntryLookup, Order};
use crate::channel_row::{ChannelId, ChannelRow};
use crate::failure::{Failure, Outcome};
use crate::index_row::IndexRow;
use crate::readers::Snapshot;

/// How many rows are fetched at first, and at most.
const MIN_ROWS: usize = 16;
const MAX_ROWS: usize = 256;

static UP: LazyLock<String> = LazyLock::new(|| select("> (?1, ?2) ORDER BY channel, seq"));
static DOWN: LazyLock<String> =
    LazyLock::new(|| select("<= (?1, ?2) ORDER BY channel DESC, seq DESC"));

fn select(range: &str) -> String {
    format!(
        "SELECT {} FROM places WHERE (channel, seq) {range}",
        IndexRow::COLUMNS
    )
}

impl Snapshot<'_> {
    /// The newest row of a channel up to this number.
    pub(super) fn newest_row(&self, channel: ChannelId, to: u64) -> Outcome<Option<IndexRow>> {
        let next = self.next_row(channel, to)?;
        let rows = self.rows(channel, (0, to), Order::NewestFirst, 1)?;
        let newest = rows.first().copied();
        let on_disk = newest.filter(|newest| newest.seq <= self.state.indexed);
        match (on_disk, next) {
            (Some(newest), Some(next)) if to <= self.state.indexed && !follows(newest, next) => {
                Err(out_of_order(channel, next.seq))
            }
            _ => Ok(newest),
        }
    }

    /// The first rows of a channel in this order, after a number and up to another one: at most `limit`.
    fn rows(
        &self,
        channel: ChannelId,
        (after, to): (u64, u64),
        order: Order,
        limit: usize,
    ) -> Outcome<Vec<IndexRow>> {
        let indexed = self.state.indexed;
        let mut rows = Vec::new();
        let on_disk = |rows: &mut Vec<_>| {
            let range = (after, to.min(indexed));
            self.rows_on_disk(channel, range, order, limit, rows)
        };
        if order == Order::OldestFirst && after < indexed {
            on_disk(&mut rows)?;
        }
        if to > indexed && rows.len() < limit {
            let seqs = after.max(indexed) + 1..=to;
            let wanted = limit - rows.len();
            rows.extend(self.recent(|index| match order {
                Order::OldestFirst => index.first_of(channel, seqs, wanted),
                Order::NewestFirst => index.last_of(channel, seqs, wanted),
            })?);
        }
        if order == Order::NewestFirst && after < indexed {
            on_disk(&mut rows)?;
        }
        Ok(rows)
    }

    /// Finds rows up to `limit`. The first row out of the range is verified too: if its number was damaged,
    /// it may belong to the range.
    fn rows_on_disk(
        &self,
        channel: ChannelId,
        (after, to): (u64, u64),
        order: Order,
        limit: usize,
        found: &mut Vec<IndexRow>,
    ) -> Outcome<()> {
        let (select, from) = match order {
            Order::OldestFirst => (&UP, after),
            Order::NewestFirst => (&DOWN, to),
        };
        let mut select = self.connection.prepare_cached(select)?;
        let mut rows = select.query([channel, from.cast_signed()])?;
        let mut before = None;
        while found.len() < limit
            && let Some(row) = rows.next()?
        {
            let row = IndexRow::read(row)?;
            let is_in_order = match order {
                Order::OldestFirst => {
                    (row.channel, row.seq) > (channel, after)
                        && before.is_none_or(|b| follows(b, row))
                }
                Order::NewestFirst => {
                    (row.channel, row.seq) <= (channel, to)
                        && before.is_none_or(|b| follows(row, b))
                }
            };
            if !is_in_order {
                return Err(out_of_order(channel, row.seq));
            }
            if row.channel != channel || row.seq <= after || row.seq > to {
                break;
            }
            before = Some(row);
            found.push(row);
        }
        Ok(())
    }

    /// Verifies the row after this number on the disk, of whatever channel. A row before it may have become a
    /// later one by damage. Returns it if it belongs to the channel.
    fn next_row(&self, channel: ChannelId, to: u64) -> Outcome<Option<IndexRow>> {
        let to = to.min(self.state.indexed);
        let mut select = self.connection.prepare_cached(&UP)?;
        let mut rows = select.query([channel, to.cast_signed()])?;
        let row = rows.next()?.map(IndexRow::read).transpose()?;
        match row {
            Some(row) if (row.channel, row.seq) <= (channel, to) => {
                Err(out_of_order(channel, row.seq))
            }
            row => Ok(row.filter(|row| row.channel == channel)),
        }
    }
}

/// Whether one row may be the next after another one: its channel has at most one event more.
fn follows(older: IndexRow, newer: IndexRow) -> bool {
    older.channel < newer.channel
        || (older.channel == newer.channel
            && older.seq < newer.seq
            && matches!(newer.nth.checked_sub(older.nth), Some(0 | 1)))
}

fn out_of_order(channel: ChannelId, seq: u64) -> Failure {
    let what = format!("the index of channel {channel} is not in order near entry {seq}");
    Failure::damaged(what)
}

/// A walk through the index rows of one channel. It verifies that no row is missing between them.
pub(super) struct Walk<'s> {
    snapshot: &'s Snapshot<'s>,
    pub(super) channel: ChannelRow,
    order: Order,
    /// The rows that are left: those after the first number, up to the second one.
    left: (u64, u64),
    fetched: vec::IntoIter<IndexRow>,
    fetch: usize,
    /// All rows were fetched.
    is_fetched: bool,
    /// The row before in the order of the walk.
    before: Option<IndexRow>,
}

impl<'s> Walk<'s> {
    /// A walk through the rows after the first number, up to the second one.
    pub(super) fn new(
        snapshot: &'s Snapshot<'s>,
        channel: ChannelRow,
        range: (u64, u64),
        order: Order,
    ) -> Outcome<Self> {
        let before = match order {
            // The rows after it are verified when they are fetched.
            Order::OldestFirst => {
                let before = snapshot.rows(channel.id, (0, range.0), Order::NewestFirst, 1)?;
                before.first().copied()
            }
            Order::NewestFirst => {
                snapshot.next_row(channel.id, range.1)?;
                None
            }
        };
        Ok(Self {
            snapshot,
            channel,
            order,
            left: range,
            fetched: Vec::new().into_iter(),
            fetch: MIN_ROWS,
            is_fetched: false,
            before,
        })
    }

    /// The next row.
    pub(super) fn next(&mut self) -> Outcome<Option<IndexRow>> {
        if self.fetched.as_slice().is_empty() {
            self.fetch()?;
        }
        let Some(row) = self.fetched.next() else {
            return Ok(None);
        };
        match (self.order, self.before.replace(row)) {
            (Order::OldestFirst, before) => self.verify(before, row)?,
            (Order::NewestFirst, Some(before)) => self.verify(Some(row), before)?,
            (Order::NewestFirst, None) => {}
        }
        match self.order {
            Order::OldestFirst => self.left.0 = row.seq,
            Order::NewestFirst => self.left.1 = row.seq - 1,
        }
        Ok(Some(row))
    }

    /// The entry of the row that was returned last.
    pub(super) fn entry(&self, lookup: &mut EntryLookup<'_>) -> Outcome<Entry> {
        match self.before {
            Some(row) => lookup.entry(&self.channel, row),
            None => unreachable!("an entry is asked for after its row"),
        }
    }

    /// Fetches so many rows at once from now on, if they are not too many.
    pub(super) fn fetch_at_once(&mut self, rows: usize) {
        self.fetch = rows.clamp(1, MAX_ROWS);
    }

    fn fetch(&mut self) -> Outcome<()> {
        if !self.is_fetched && self.left.0 < self.left.1 {
            let (snapshot, id) = (self.snapshot, self.channel.id);
            let rows = snapshot.rows(id, self.left, self.order, self.fetch)?;
            if rows.len() < self.fetch {
                self.is_fetched = true;
            }
            self.fetched = rows.into_iter();
            self.fetch = (self.fetch * 4).min(MAX_ROWS);
        }
        Ok(())
    }

    /// Whether one row follows the other.
    fn verify(&self, older: Option<IndexRow>, newer: IndexRow) -> Outcome<()> {
        let IndexRow { seq, nth, .. } = newer;
        let before = older.map_or(0, |older| older.nth);
        let events = nth.checked_sub(before);
        let is_end = self.channel.end == Some(seq);
        if events == Some(u64::from(!is_end)) {
            return Ok(());
        }
        let name = &self.channel.name;
        let what = format!(
            "the index of channel {name} has event {nth} at entry {seq}, after event {before}"
        );
        Err(Failure::damaged(what))
    }
}
