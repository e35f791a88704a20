//! `Sweep`: the step by step update of the tables `places` and `gone`, and of what depends on them.

use std::collections::BTreeSet;
use std::sync::Arc;

use rusqlite::{OptionalExtension, params};

use super::budget::Budget;
use super::commit::{Commit, Swept, read};
use super::head::Head;
use crate::channel_row::{ChannelId, ChannelRow};
use crate::failure::{Failure, Outcome};
use crate::index_row::IndexRow;
use crate::recent_index::Generation;
use crate::state_row::number;

/// Fewer removed rows of a channel than these are deleted at once.
const FEW: u8 = 16;

/// How many channels a small sweep beside appends forgets, and two for each append, before it looks at the
/// time; and about how many rows are written for each.
const FORGOTTEN: u64 = 16;
const FORGET: u64 = 4;

/// How many rows of `entries`, and about how many bytes of them, are deleted by one statement.
const DELETED_AT_ONCE: u64 = 64;
const DELETED_BYTES: u64 = 64 << 10;

/// Moves index rows to the disk, and deletes those of removed entries there, channel by channel.
#[derive(Debug)]
pub(super) struct Sweep {
    /// The rows to move.
    pub(super) rows: Arc<Generation>,
    /// The channels of which entries were removed.
    pub(super) removed: BTreeSet<ChannelId>,
    /// The newest removed entry when the sweep began.
    pub(super) floor: u64,
}

/// How far a sweep is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The channels before this one are done.
    channel: ChannelId,
    /// Its rows up to this number were moved.
    moved: u64,
}

impl Sweep {
    fn has_row_after(&self, channel: ChannelId, seq: u64) -> bool {
        let rows = (channel, seq + 1)..=(channel, u64::MAX);
        self.rows.rows.range(rows).next().is_some()
    }

    /// The first channel that is not done.
    fn channel(&self, cursor: Cursor) -> Option<ChannelId> {
        let Cursor { channel, moved } = cursor;
        let mut rows = self.rows.rows.range((channel, moved + 1)..);
        let with_rows = rows.next().map(|((channel, _), _)| *channel);
        let with_removed = self.removed.range(channel..).next().copied();
        [with_rows, with_removed].into_iter().flatten().min()
    }
}

/// How many rows the index in memory may have, or how many removals may wait, before a sweep begins.
pub(super) fn threshold(head: &Head, index_batch: usize) -> u64 {
    (head.held() / 8).clamp(1, index_batch as u64)
}

impl Commit<'_> {
    /// Continues the sweep in progress, or does a small one at once; then forgets channels and deletes the
    /// rows of removed entries.
    pub(super) fn tidy(&mut self, budget: &mut Budget) -> Outcome<()> {
        let is_swept = match self.sweep {
            Some(sweep) => self.continue_sweep(sweep, budget, Swept::Finished)?,
            None => {
                if let Some(sweep) = self.small_sweep() {
                    self.sweep_at_once(&sweep)?;
                }
                true
            }
        };
        if is_swept {
            self.forget(budget)?;
        }
        self.delete_entries(budget)
    }

    /// Does a small sweep, and forgets some channels whatever time is left, so that a small log forgets at
    /// once on a slow machine too: beside appends a few; otherwise as many as the sweep has found.
    fn sweep_at_once(&mut self, sweep: &Sweep) -> Outcome<()> {
        let gone = |head: &Head| head.gone.iter().sum::<u64>();
        let before = gone(&self.staged.head);
        self.staged.head.cursor = Cursor::default();
        self.continue_sweep(sweep, &mut Budget::unlimited(), Swept::AtOnce)?;
        let most = match self.staged.entries.len() as u64 {
            0 => gone(&self.staged.head) - before,
            appends => FORGOTTEN + 2 * appends,
        };
        self.forget(&mut Budget::untimed(FORGET * most))
    }

    /// A sweep of everything, if one is due that is small.
    fn small_sweep(&self) -> Option<Sweep> {
        let (head, settings) = (&self.staged.head, self.settings);
        let index = read(self.index);
        let rows = (index.current_len() + self.staged.rows.len()) as u64;
        let threshold = threshold(head, settings.index_batch);
        let is_due = rows.max(head.unswept()) >= threshold;
        if !is_due || rows + head.unswept() > settings.steps.at_once {
            return None;
        }
        let mut generation = index.copy_current();
        for row in &self.staged.rows {
            generation.push(*row);
        }
        let removed = self.removed.iter().chain(&self.staged.removed);
        Some(Sweep {
            rows: Arc::new(generation),
            removed: removed.copied().collect(),
            floor: head.floor(),
        })
    }

    /// Returns whether the sweep is finished.
    fn continue_sweep(
        &mut self,
        sweep: &Sweep,
        budget: &mut Budget,
        swept: Swept,
    ) -> Outcome<bool> {
        while let Some(channel) = sweep.channel(self.staged.head.cursor) {
            if budget.is_spent() || !self.sweep_channel(sweep, channel, budget)? {
                return Ok(false);
            }
            self.staged.head.cursor = Cursor {
                channel: channel + 1,
                moved: 0,
            };
        }
        let state = &mut self.staged.head.state;
        state.indexed = state.indexed.max(sweep.rows.through);
        state.swept = sweep.floor;
        self.staged.swept = swept;
        Ok(true)
    }

    /// Returns whether the channel is done.
    fn sweep_channel(
        &mut self,
        sweep: &Sweep,
        channel: ChannelId,
        budget: &mut Budget,
    ) -> Outcome<bool> {
        let cursor = &mut self.staged.head.cursor;
        if cursor.channel < channel {
            *cursor = Cursor { channel, moved: 0 };
        }
        for (_, row) in sweep
            .rows
            .rows
            .range((channel, cursor.moved + 1)..=(channel, u64::MAX))
        {
            if budget.is_spent() {
                return Ok(false);
            }
            row.write(self.connection)?;
            cursor.moved = row.seq;
            budget.spend(1);
        }
        if !sweep.removed.contains(&channel) {
            return Ok(true);
        }
        if budget.is_spent() {
            return Ok(false);
        }
        match self.sweep_removed(sweep, channel, budget) {
            // No row was changed. The questions about this channel fail; all others must not be held up.
            Err(Failure::Damaged(what)) => {
                tracing::error!(channel, what, "the index of a channel is damaged");
                budget.spend(1);
                Ok(true)
            }
            done => done,
        }
    }

    /// Deletes the rows of a channel before its newest removed one. Returns whether none is left.
    fn sweep_removed(
        &mut self,
        sweep: &Sweep,
        channel: ChannelId,
        budget: &mut Budget,
    ) -> Outcome<bool> {
        let floor = sweep.floor;
        let rows = self.last_rows(channel, floor, FEW)?;
        let Some(newest) = rows.first() else {
            let what = format!("the index lacks the removed entries of channel {channel}");
            return Err(Failure::damaged(what));
        };
        let is_end = is_end(newest, rows.get(1));
        // The row of the newest event counts the events. An end needs both.
        let kept = rows.get(usize::from(is_end)).unwrap_or(newest);
        if rows.len() < usize::from(FEW) {
            if rows.last().is_some_and(|oldest| oldest.seq < kept.seq) {
                self.delete_few_places(channel, kept.seq)?;
            }
            budget.spend(rows.len() as u64);
        } else {
            let limit = budget.rows();
            let deleted = self.delete_places(channel, kept.seq, limit)?;
            budget.spend(deleted + 1);
            if deleted >= limit {
                return Ok(false);
            }
        }
        if !sweep.has_row_after(channel, floor) && !self.has_entry_after(channel, floor)? {
            self.insert_gone(is_end, newest.seq, channel)?;
        }
        Ok(true)
    }

    /// Deletes the index rows of a channel before this number, which are few.
    fn delete_few_places(&self, channel: ChannelId, before: u64) -> Outcome<()> {
        let mut delete = self
            .connection
            .prepare_cached("DELETE FROM places WHERE channel = ?1 AND seq < ?2")?;
        delete.execute([channel, before.cast_signed()])?;
        Ok(())
    }

    /// Deletes the oldest index rows of a channel before this number. Returns how many.
    fn delete_places(&self, channel: ChannelId, before: u64, limit: u64) -> Outcome<u64> {
        let mut delete = self.connection.prepare_cached(
            "DELETE FROM places WHERE channel = ?1 AND seq IN \
             (SELECT seq FROM places WHERE channel = ?1 AND seq < ?2 ORDER BY seq LIMIT ?3)",
        )?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let deleted = delete.execute(params![channel, before.cast_signed(), limit])?;
        Ok(deleted as u64)
    }

    fn has_entry_after(&self, channel: ChannelId, seq: u64) -> Outcome<bool> {
        let staged = self.staged.newest.get(&channel).copied();
        let newest = staged.or_else(|| read(self.index).newest_in_current(channel));
        if newest.is_some_and(|newest| newest > seq) {
            return Ok(true);
        }
        let mut select = self
            .connection
            .prepare_cached("SELECT 1 FROM places WHERE channel = ?1 AND seq > ?2 LIMIT 1")?;
        Ok(select.exists([channel, seq.cast_signed()])?)
    }

    fn insert_gone(&mut self, is_ended: bool, seq: u64, channel: ChannelId) -> Outcome<()> {
        let mut insert = self
            .connection
            .prepare_cached("INSERT OR IGNORE INTO gone VALUES(?1, ?2, ?3)")?;
        let inserted = insert.execute(params![is_ended, seq.cast_signed(), channel])?;
        self.staged.head.gone[usize::from(is_ended)] += inserted as u64;
        Ok(())
    }

    /// Forgets the oldest channels without entries that are more than the limit.
    fn forget(&mut self, budget: &mut Budget) -> Outcome<()> {
        let limit = self.settings.retention.remembered_channels;
        for is_ended in [true, false] {
            while self.staged.head.gone[usize::from(is_ended)] > limit
                && !budget.is_spent()
                && self.forget_oldest(is_ended)?
            {
                budget.spend(FORGET);
            }
        }
        Ok(())
    }

    /// Returns whether there was one. A channel that only an unfinished sweep has found is none: after a
    /// crash, the next sweep needs its rows, and an older one may follow.
    fn forget_oldest(&mut self, is_ended: bool) -> Outcome<bool> {
        let swept = self.staged.head.state.swept.cast_signed();
        let mut select = self.connection.prepare_cached(
            "SELECT seq, channel FROM gone WHERE is_ended = ?1 AND seq <= ?2 ORDER BY seq LIMIT 1",
        )?;
        let oldest: Option<(i64, ChannelId)> = select
            .query_row(params![is_ended, swept], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let Some((seq, channel)) = oldest else {
            return Ok(false);
        };
        match self.forget_channel(is_ended, seq, channel) {
            Err(Failure::Damaged(what)) => {
                tracing::error!(channel, what, "a damaged channel is not forgotten");
            }
            done => done?,
        }
        self.delete_gone(is_ended, seq)?;
        Ok(true)
    }

    /// Changes nothing if a row of the channel is damaged.
    fn forget_channel(&mut self, is_ended: bool, seq: i64, channel: ChannelId) -> Outcome<()> {
        let rows = self.last_rows(channel, u64::MAX >> 1, 2)?;
        let newest_event = rows.get(usize::from(is_ended));
        let row = self.channel_row(channel)?;
        let state = &mut self.staged.head.state;
        let through = newest_event.map_or(0, |row| row.seq);
        state.forgotten_through = state.forgotten_through.max(through);
        if is_ended {
            state.ends_since = seq.cast_unsigned() + 1;
        }
        self.delete_channel(channel)?;
        self.staged.forgotten.push(row.name);
        Ok(())
    }

    fn channel_row(&self, channel: ChannelId) -> Outcome<ChannelRow> {
        let mut select = self.connection.prepare_cached(
            r#"SELECT id, name, known_since, "end", sum FROM channels WHERE id = ?1"#,
        )?;
        let row = select.query_row([channel], |row| Ok(ChannelRow::read(row)));
        let missing = || Failure::damaged(format!("the row of channel {channel} is missing"));
        row.optional()?.ok_or_else(missing)?
    }

    fn delete_gone(&mut self, is_ended: bool, seq: i64) -> Outcome<()> {
        let mut delete = self
            .connection
            .prepare_cached("DELETE FROM gone WHERE is_ended = ?1 AND seq = ?2")?;
        delete.execute(params![is_ended, seq])?;
        self.staged.head.gone[usize::from(is_ended)] -= 1;
        Ok(())
    }

    fn delete_channel(&self, channel: ChannelId) -> Outcome<()> {
        let prepare = |sql| self.connection.prepare_cached(sql);
        prepare("DELETE FROM places WHERE channel = ?1")?.execute([channel])?;
        prepare("DELETE FROM channels WHERE id = ?1")?.execute([channel])?;
        Ok(())
    }

    /// Deletes rows of removed entries: always more of them, or more bytes, than the transaction appends.
    fn delete_entries(&mut self, budget: &mut Budget) -> Outcome<()> {
        let appended = self.staged.entries.iter();
        let mut least_bytes = 2 * appended.map(|entry| entry.body.len() as u64).sum::<u64>();
        let mut least = 2 * self.staged.entries.len() as u64;
        while self.staged.head.has_waste() && ((least > 0 && least_bytes > 0) || !budget.is_spent())
        {
            let limit = DELETED_AT_ONCE.min(budget.rows().max(least));
            let (through, bytes) = self.next_waste(limit)?;
            let mut delete = self
                .connection
                .prepare_cached("DELETE FROM entries WHERE seq BETWEEN ?1 AND ?2")?;
            let head = &mut self.staged.head;
            delete.execute([head.first_row.cast_signed(), through.cast_signed()])?;
            let deleted = through + 1 - head.first_row;
            head.first_row = through + 1;
            least = least.saturating_sub(deleted);
            least_bytes = least_bytes.saturating_sub(bytes);
            budget.spend(deleted);
            budget.spend_bytes(bytes);
        }
        Ok(())
    }

    /// The number through which the next rows of removed entries can be deleted at once, and their size.
    fn next_waste(&self, limit: u64) -> Outcome<(u64, u64)> {
        let head = &self.staged.head;
        let through = (head.first_row + limit - 1).min(head.state.swept);
        // The length is in the row itself; the pages of a large body are not read for it.
        let mut select = self.connection.prepare_cached(
            "SELECT seq, length(body) FROM entries WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq",
        )?;
        let mut rows = select.query([head.first_row.cast_signed(), through.cast_signed()])?;
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            bytes += number(row, 1)?;
            if bytes >= DELETED_BYTES {
                return Ok((number(row, 0)?, bytes));
            }
        }
        Ok((through, bytes))
    }
}

/// Whether a row is that of an end, by the row before it.
fn is_end(row: &IndexRow, before: Option<&IndexRow>) -> bool {
    row.nth == before.map_or(0, |before| before.nth)
}
