//! The steps of a check that read the index by channel, and the channels without entries.

use super::examination::Examination;
use super::problems::MAX_OF_A_KIND;
use crate::failure::Outcome;
use crate::index_row::IndexRow;
use crate::state_row::number;

impl Examination<'_> {
    pub(super) fn check_index(&mut self) -> Outcome<()> {
        let sql = format!(
            "SELECT {} FROM places ORDER BY channel, seq",
            IndexRow::COLUMNS
        );
        let mut select = self.connection.prepare(&sql)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let row = IndexRow::read(row);
            // Later rows are being moved, and count for nothing yet.
            if let Some(row) = self.problems.found("a row of the index is damaged", row)
                && row.seq <= self.state.indexed
            {
                self.check_index_row(row);
            }
        }
        Ok(())
    }

    fn check_index_row(&mut self, row: IndexRow) {
        if row.seq > self.state.floor.place.seq {
            self.index_digest.add(&row);
        }
        let problems = &mut *self.problems;
        let mut expect = |holds, what: &str| {
            problems.expect(holds, "a row of the index is wrong", || {
                format!("channel {}, entry {}: {what}", row.channel, row.seq)
            });
        };
        let Some(channel) = self.channels.get_mut(&row.channel) else {
            return expect(false, "the channel is missing");
        };
        let is_event = channel.end != Some(row.seq);
        if let Some(before) = channel.indexed {
            expect(
                row.nth == before.nth + u64::from(is_event),
                "rows before it are missing",
            );
        }
        channel.indexed = Some(row);
        if row.seq <= self.state.swept {
            channel.removed = Some(row);
        }
    }

    /// Whether the index has exactly the entries.
    pub(super) fn compare_index(&mut self) -> Outcome<()> {
        if self.entries_digest == self.index_digest {
            return Ok(());
        }
        let before = self.problems.len();
        self.name_missing("an entry is not in the index", NOT_INDEXED)?;
        self.name_missing("the index has an entry that does not exist", NOT_STORED)?;
        if self.problems.len() == before {
            self.problems
                .add("the index is wrong", "it has other entries than the log");
        }
        Ok(())
    }

    fn name_missing(&mut self, kind: &'static str, sql: &str) -> Outcome<()> {
        let (floor, indexed) = (self.state.floor.place.seq, self.state.indexed);
        let mut select = self.connection.prepare(sql)?;
        let mut rows = select.query([
            floor.cast_signed(),
            indexed.cast_signed(),
            i64::try_from(MAX_OF_A_KIND).unwrap_or(i64::MAX),
        ])?;
        while let Some(row) = rows.next()? {
            self.problems.add(kind, number(row, 0)?);
        }
        Ok(())
    }

    pub(super) fn check_gone(&mut self) -> Outcome<()> {
        let mut select = self
            .connection
            .prepare("SELECT is_ended, seq, channel FROM gone")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let (is_ended, seq, id): (bool, _, i64) = (row.get(0)?, number(row, 1)?, row.get(2)?);
            let floor = self.state.floor.place.seq;
            let channel = self.channels.get_mut(&id);
            let holds = channel.is_some_and(|channel| {
                let is_first = !std::mem::replace(&mut channel.is_gone, true);
                is_first
                    && is_ended == channel.end.is_some()
                    && channel.last() == Some(seq)
                    && seq <= floor
            });
            self.problems.expect(holds, "a gone channel is wrong", || {
                format!("channel {id}, gone since entry {seq}")
            });
        }
        Ok(())
    }

    /// Whether each channel has entries or is remembered, and its end is the entry that it names.
    pub(super) fn check_each_channel(&mut self) {
        let state = &self.state;
        for (id, channel) in &self.channels {
            let mut expect = |holds, what: &str| {
                self.problems.expect(holds, "a channel is wrong", || {
                    format!("channel {id} ({}): {what}", channel.name)
                });
            };
            let Some(last) = channel.last() else {
                expect(false, "it has no entries, and is not remembered");
                continue;
            };
            expect(
                last > state.swept || channel.is_gone,
                "its entries were removed, and it is not remembered",
            );
            expect(
                channel.end.is_none_or(|end| end == last),
                "its end is not its newest entry",
            );
        }
    }
}

/// Held entries up to `indexed` without a row of the index.
const NOT_INDEXED: &str = "SELECT entries.seq FROM entries LEFT JOIN places \
    ON places.channel = entries.channel AND places.seq = entries.seq \
    AND places.nth = entries.nth AND places.time = entries.time \
    WHERE entries.seq > ?1 AND entries.seq <= ?2 AND places.seq IS NULL LIMIT ?3";

/// Rows of the index for held entries that are not there.
const NOT_STORED: &str = "SELECT places.seq FROM places LEFT JOIN entries \
    ON places.seq = entries.seq AND places.channel = entries.channel \
    WHERE places.seq > ?1 AND places.seq <= ?2 AND entries.seq IS NULL LIMIT ?3";
