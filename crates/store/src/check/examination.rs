//! `Examination`: the steps of a check, and what they know of each channel.

use std::collections::HashMap;

use rusqlite::Connection;
use tidings_hub::ChannelName;

use super::CheckReport;
use super::problems::{MAX_OF_A_KIND, Problems};
use crate::channel_row::{ChannelId, ChannelRow};
use crate::failure::Outcome;
use crate::index_row::IndexRow;
use crate::keys::Keys;
use crate::schema;
use crate::state_row::{StoreState, number};
use crate::sums::Sum;

/// A check, and what its steps have found so far.
pub(super) struct Examination<'a> {
    pub(super) connection: &'a Connection,
    pub(super) report: &'a mut CheckReport,
    pub(super) problems: &'a mut Problems,
    pub(super) state: StoreState,
    pub(super) channels: HashMap<ChannelId, Channel>,
    /// Of the entries after the floor that must be in the index.
    pub(super) entries_digest: Digest,
    /// Of the rows of the index for these entries.
    pub(super) index_digest: Digest,
}

/// What a check knows of a channel.
pub(super) struct Channel {
    pub(super) name: ChannelName,
    pub(super) end: Option<u64>,
    /// The newest row of the index so far.
    pub(super) indexed: Option<IndexRow>,
    /// The newest row of the index of an entry that the index shows as removed.
    pub(super) removed: Option<IndexRow>,
    /// The newest entry so far that the index does not show as removed.
    pub(super) newest: Option<Newest>,
    pub(super) is_gone: bool,
}

#[derive(Clone, Copy)]
pub(super) struct Newest {
    pub(super) seq: u64,
    pub(super) nth: u64,
    pub(super) is_end: bool,
}

/// A hash of a set of index rows, whatever their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    count: u64,
    sum: u64,
}

impl Digest {
    pub(super) fn add(&mut self, row: &IndexRow) {
        self.count += 1;
        let sum = Sum::of("digest")
            .number(row.channel.cast_unsigned())
            .number(row.seq)
            .number(row.nth)
            .number(row.time);
        self.sum = self.sum.wrapping_add(sum.finish().cast_unsigned());
    }
}

impl Channel {
    /// The number of the newest entry of the channel.
    pub(super) fn last(&self) -> Option<u64> {
        let entry = self.newest.map(|newest| newest.seq);
        entry.max(self.indexed.map(|row| row.seq))
    }
}

impl<'a> Examination<'a> {
    /// All steps. A step that fails is a problem, and the next ones go on if they can.
    pub(super) fn run(
        connection: &'a Connection,
        report: &'a mut CheckReport,
        problems: &'a mut Problems,
    ) {
        let pages = check_pages(connection, report, problems);
        problems.found("the file cannot be read", pages);
        problems.found("the tables are damaged", schema::verify(connection));
        let state = problems.found("the state is damaged", StoreState::read(connection));
        // Without it, nothing can be compared.
        let Some(state) = state else { return };
        report.floor = state.floor.place.seq;
        let mut check = Self {
            connection,
            report,
            problems,
            state,
            channels: HashMap::new(),
            entries_digest: Digest::default(),
            index_digest: Digest::default(),
        };
        check.step("the channels cannot be read", Self::check_channels);
        check.step("the index cannot be read", Self::check_index);
        check.step("the entries cannot be read", Self::check_entries);
        check.check_state();
        check.step("the index cannot be compared", Self::compare_index);
        check.step("the gone channels cannot be read", Self::check_gone);
        check.check_each_channel();
        check.step("a key is damaged", Self::check_keys);
    }

    fn step(&mut self, kind: &'static str, step: impl FnOnce(&mut Self) -> Outcome<()>) {
        let outcome = step(self);
        self.problems.found(kind, outcome);
    }

    fn check_channels(&mut self) -> Outcome<()> {
        let sql = format!("SELECT {} FROM channels NOT INDEXED", ChannelRow::COLUMNS);
        let mut select = self.connection.prepare(&sql)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let channel = ChannelRow::read(row);
            let Some(row) = self.problems.found("a channel is damaged", channel) else {
                continue;
            };
            self.report.channels += 1;
            self.report.ended += u64::from(row.end.is_some());
            let channel = Channel {
                name: row.name,
                end: row.end,
                indexed: None,
                removed: None,
                newest: None,
                is_gone: false,
            };
            self.channels.insert(row.id, channel);
        }
        Ok(())
    }

    /// Whether the state agrees with the newest entry.
    fn check_state(&mut self) {
        let state = &self.state;
        let (floor, last) = (state.floor.place.seq, self.report.last);
        let mut expect = |holds, what: &str| {
            self.problems
                .expect(holds, "the state is wrong", || what.to_owned());
        };
        expect(state.last <= last, "the newest entries are missing");
        expect(
            floor < last || (floor, last) == (0, 0),
            "it has removed the newest entry",
        );
        expect(
            state.swept <= floor,
            "the index has removed more than the state",
        );
        expect(state.indexed <= last, "the index has more than the entries");
        expect(
            state.removed.count <= state.removed.seq && state.removed.seq <= floor,
            "the number of removed events is impossible",
        );
        expect(
            state.forgotten_through <= floor && state.ends_since <= floor + 1,
            "it has forgotten what it has not removed",
        );
    }

    fn check_keys(&mut self) -> Outcome<()> {
        // It verifies each of them.
        Keys::recover(self.connection, self.state.secret, 0)?;
        let mut select = self.connection.prepare("SELECT seq FROM keys")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let seq = number(row, 0)?;
            let holds = (1..=self.report.last).contains(&seq);
            self.problems
                .expect(holds, "a key has no entry", || seq.to_string());
        }
        Ok(())
    }
}

fn check_pages(
    connection: &Connection,
    report: &mut CheckReport,
    problems: &mut Problems,
) -> Outcome<()> {
    let value = |name| -> rusqlite::Result<i64> {
        connection.pragma_query_value(None, name, |row| row.get(0))
    };
    report.bytes = (value("page_count")? * value("page_size")?).cast_unsigned();
    let mut select = connection.prepare(&format!("PRAGMA integrity_check({MAX_OF_A_KIND})"))?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let found: String = row.get(0)?;
        if found != "ok" {
            problems.add("a page is damaged", found);
        }
    }
    Ok(())
}
