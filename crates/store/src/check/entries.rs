//! The step of a check that reads all entries.

use tidings_hub::{Draft, Entry, EntryKind};

use super::examination::{Examination, Newest};
use crate::entry_row::EntryRow;
use crate::failure::Outcome;
use crate::index_row::IndexRow;
use crate::state_row::Floor;

/// What is known of the entry before.
#[derive(Clone, Copy)]
struct Before {
    seq: u64,
    time: u64,
    total: u64,
}

impl Examination<'_> {
    pub(super) fn check_entries(&mut self) -> Outcome<()> {
        let sql = format!("SELECT {} FROM entries ORDER BY seq", EntryRow::COLUMNS);
        let mut select = self.connection.prepare(&sql)?;
        let mut rows = select.query([])?;
        let mut before: Option<Before> = None;
        while let Some(row) = rows.next()? {
            let entry = EntryRow::read(row);
            let Some(entry) = self.problems.found("an entry is damaged", entry) else {
                continue;
            };
            self.report.last = entry.seq;
            let last = before.replace(Before {
                seq: entry.seq,
                time: entry.time,
                total: entry.total,
            });
            self.check_order(&entry, last);
            if entry.seq > self.state.swept {
                self.check_entry(entry, last);
            }
        }
        Ok(())
    }

    /// Whether an entry follows the one before.
    fn check_order(&mut self, entry: &EntryRow, before: Option<Before>) {
        let Floor { place, time, total } = self.state.floor;
        let before = match before {
            Some(before) => before,
            // Rows of removed entries may be missing.
            None if entry.seq <= self.state.swept => return,
            None => Before {
                seq: self.state.swept,
                time: 0,
                total: 0,
            },
        };
        let seq = entry.seq;
        let mut expect = |holds, what: &str| {
            self.problems
                .expect(holds, "an entry is wrong", || format!("{seq}: {what}"));
        };
        expect(seq == before.seq + 1, "entries before it are missing");
        expect(entry.time >= before.time, "it is older than the one before");
        expect(entry.total > before.total, "its total is not larger");
        if seq == place.seq {
            let is_floor = (entry.check, entry.time, entry.total) == (place.check, time, total);
            expect(is_floor, "it is not the one that the state names");
        }
        if seq == place.seq + 1 {
            expect(
                entry.time >= time && entry.total > total,
                "it does not follow the removed ones",
            );
        }
    }

    /// Whether an entry that the index does not show as removed agrees with its channel.
    fn check_entry(&mut self, row: EntryRow, before: Option<Before>) {
        let (seq, nth, check, total) = (row.seq, row.nth, row.check, row.total);
        let is_held = seq > self.state.floor.place.seq;
        self.report.entries += u64::from(is_held);
        let indexed = IndexRow {
            channel: row.channel,
            seq,
            nth,
            time: row.time,
        };
        if is_held && seq <= self.state.indexed {
            self.entries_digest.add(&indexed);
        }
        let problems = &mut *self.problems;
        let mut expect = |holds, what: &str| {
            problems.expect(holds, "an entry is wrong", || format!("{seq}: {what}"));
        };
        let Some(channel) = self.channels.get_mut(&row.channel) else {
            return expect(false, "its channel is missing");
        };
        let is_end = row.kind == EntryKind::End;
        let nth_before = match (channel.newest, channel.removed) {
            (Some(newest), _) => Some(newest.nth),
            (None, Some(removed)) => Some(removed.nth),
            (None, None) if is_held => Some(0),
            // A sweep in progress may have deleted the rows before it.
            (None, None) => None,
        };
        let is_next = |before| nth == before + u64::from(!is_end);
        expect(
            nth_before.is_none_or(is_next),
            "it is not the next event of its channel",
        );
        let has_ended = channel.newest.is_some_and(|newest| newest.is_end);
        expect(!has_ended, "it follows the end of its channel");
        expect(
            is_end == (channel.end == Some(seq)),
            "its channel has another end",
        );
        channel.newest = Some(Newest { seq, nth, is_end });
        let mut draft = Draft::event(channel.name.clone(), row.body);
        draft.kind = row.kind;
        let entry = Entry::new(seq, row.time, draft);
        expect(entry.check() == check, "its check is another one");
        if let Some(before) = before.filter(|before| before.seq + 1 == seq) {
            expect(before.total + entry.cost() == total, "its total is wrong");
        }
    }
}
