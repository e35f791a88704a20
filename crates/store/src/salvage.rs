//! The salvage of a damaged store: its intact entries as lines of JSON.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row};
use tidings_hub::{ChannelName, Entry, EntryKind};

use crate::channel_row::{ChannelId, ChannelRow};
use crate::entry_row::EntryRow;
use crate::export_line::ExportLine;
use crate::lock::StoreLock;
use crate::state_row::StoreState;
use crate::store_file::{self, StoreFile};
use crate::{StoreError, StoreErrorKind, connection, export, location};

/// What a salvage has written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Salvaged {
    /// The entries, one line each: events and ends.
    pub entries: u64,
    /// The ends of channels whose entries were all removed. Their lines come first.
    pub remembered_ends: u64,
    /// How many entries are damaged or missing, at least.
    pub lost: u64,
}

/// Writes the intact entries of a damaged store as lines, as [`export`](crate::export()) does, and leaves out
/// the others. [`import`](crate::import()) makes a store of them, with other numbers and a new epoch.
///
/// Copy the store and its `-wal` file first, and salvage the copy. If the floor of the log is lost, removed
/// entries that are still in the file are written too.
///
/// # Blocking
/// It reads the whole file; in an asynchronous program, call it within `spawn_blocking`.
///
/// # Errors
/// [`StoreErrorKind`] lists all kinds. [`Damaged`](StoreErrorKind::Damaged) if SQLite cannot find the entries
/// at all; the recovery of the `sqlite3` shell may find them.
pub fn salvage(path: impl AsRef<Path>, to: impl Write) -> Result<Salvaged, StoreError> {
    connection::require_sqlite(path.as_ref())?;
    let path = location::resolve(path.as_ref())?;
    store_file::require_file(&path)?;
    let lock = StoreLock::take(&path)?;
    let connection = StoreFile::connect_damaged(&path)?;
    let at = |error| StoreError::sqlite(&path, error);
    let output = |error| StoreError::because(StoreErrorKind::Output, &path, error);
    let sql = format!(
        "SELECT {} FROM entries WHERE seq > ?1 ORDER BY seq",
        EntryRow::COLUMNS
    );
    // If this fails, so does everything else.
    drop(connection.prepare_cached(&sql).map_err(at)?);
    let state = StoreState::read(&connection).ok();
    let mut salvage = Salvage {
        connection: &connection,
        entries: sql,
        names: names(&connection),
        last: state.as_ref().map(|state| state.floor.place.seq),
        to: BufWriter::new(to),
        salvaged: Salvaged::default(),
    };
    if let Some(state) = &state {
        salvage.write_remembered_ends(state).map_err(output)?;
    }
    salvage.write_entries(state.as_ref()).map_err(output)?;
    salvage.to.flush().map_err(output)?;
    let salvaged = salvage.salvaged;
    drop(connection);
    drop(lock);
    Ok(salvaged)
}

struct Salvage<'a, W: Write> {
    connection: &'a Connection,
    /// The statement that reads the entries after a number.
    entries: String,
    /// The names that each channel may have. The check of an entry shows which one is right.
    names: HashMap<ChannelId, Vec<ChannelName>>,
    /// The newest entry that was written or removed; `None` if nothing is known of those before.
    last: Option<u64>,
    to: BufWriter<W>,
    salvaged: Salvaged,
}

impl<W: Write> Salvage<'_, W> {
    /// Only those of which everything is intact.
    fn write_remembered_ends(&mut self, state: &StoreState) -> io::Result<()> {
        let sql = format!(
            r#"SELECT {} FROM channels INDEXED BY ends WHERE "end" IS NOT NULL AND "end" <= {} ORDER BY "end""#,
            ChannelRow::COLUMNS,
            state.floor.place.seq,
        );
        let mut ends = Vec::new();
        each_intact(self.connection, &sql, |row| {
            ends.extend(ChannelRow::read(row).ok());
            Ok(())
        });
        for channel in ends {
            if let Some(end) = channel.end
                && let Ok(time) = export::time_of_end(self.connection, channel.id, end)
            {
                self.write(&ExportLine::end(end, time, &channel.name))?;
                self.salvaged.remembered_ends += 1;
            }
        }
        Ok(())
    }

    fn write_entries(&mut self, state: Option<&StoreState>) -> io::Result<()> {
        let mut after = self.last.unwrap_or(0);
        while !self.write_until_unreadable(&mut after)? {
            match self.next_readable(after) {
                Some(next) => after = next,
                None => break,
            }
        }
        let newest = state.map_or(0, |state| state.last);
        self.salvaged.lost += newest.saturating_sub(self.last.unwrap_or(newest));
        Ok(())
    }

    /// Writes the entries after this number, until the file cannot be read. Returns whether these were all.
    fn write_until_unreadable(&mut self, after: &mut u64) -> io::Result<bool> {
        let connection = self.connection;
        let Ok(mut select) = connection.prepare_cached(&self.entries) else {
            return Ok(true);
        };
        let Ok(mut rows) = select.query([after.cast_signed()]) else {
            return Ok(true);
        };
        loop {
            match rows.next() {
                Ok(Some(row)) => {
                    if let Ok(row) = EntryRow::read(row)
                        && row.seq > *after
                    {
                        *after = row.seq;
                        self.write_entry(&row)?;
                    }
                }
                Ok(None) => return Ok(true),
                Err(_) => return Ok(false),
            }
        }
    }

    fn write_entry(&mut self, row: &EntryRow) -> io::Result<()> {
        let Some(names) = self.names.get(&row.channel) else {
            return Ok(());
        };
        let entries = names
            .iter()
            .map(|name| row.clone().into_entry(name.clone()));
        let Some(entry) = entries.into_iter().find(|entry| entry.check() == row.check) else {
            return Ok(());
        };
        let Entry {
            seq,
            time,
            channel,
            kind,
            body,
            ..
        } = entry;
        let line = match kind {
            EntryKind::Event => ExportLine::event(seq, time, &channel, &body),
            EntryKind::End => ExportLine::end(seq, time, &channel),
        };
        self.write(&line)?;
        self.salvaged.entries += 1;
        self.salvaged.lost += self.last.map_or(0, |last| seq - last - 1);
        self.last = Some(seq);
        Ok(())
    }

    fn write(&mut self, line: &ExportLine) -> io::Result<()> {
        serde_json::to_writer(&mut self.to, line)?;
        self.to.write_all(b"\n")
    }

    /// A number from which the file can be read again: a small one, but not always the smallest.
    fn next_readable(&self, after: u64) -> Option<u64> {
        let mut select = self
            .connection
            .prepare_cached("SELECT seq, sum FROM entries WHERE seq > ?1 ORDER BY seq LIMIT 1")
            .ok()?;
        let mut is_readable = |seq: u64| {
            let row = select.query_row([seq.cast_signed()], |row| row.get::<_, i64>(1));
            row.optional().is_ok()
        };
        let steps = (0..62).map(|bit| 1_u64 << bit);
        let mut numbers = steps.map_while(|step| after.checked_add(step));
        let mut good = numbers.find(|&number| is_readable(number))?;
        let mut bad = after;
        while good - bad > 1 {
            let middle = bad + (good - bad) / 2;
            if is_readable(middle) {
                good = middle;
            } else {
                bad = middle;
            }
        }
        Some(good)
    }
}

/// The names in the table of the channels, and those in its index. Some of them may be damaged.
fn names(connection: &Connection) -> HashMap<ChannelId, Vec<ChannelName>> {
    let mut names: HashMap<_, Vec<ChannelName>> = HashMap::new();
    for sql in [
        "SELECT id, name FROM channels NOT INDEXED ORDER BY id",
        "SELECT id, name FROM channels ORDER BY name",
    ] {
        each_intact(connection, sql, |row| {
            let name: String = row.get(1)?;
            let known = names.entry(row.get(0)?).or_default();
            if let Ok(name) = ChannelName::new(name)
                && !known.contains(&name)
            {
                known.push(name);
            }
            Ok(())
        });
    }
    names
}

/// Calls `take` with each row, until one cannot be read from the file. Rows that `take` refuses are left out.
fn each_intact(
    connection: &Connection,
    sql: &str,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) {
    let Ok(mut select) = connection.prepare(sql) else {
        return;
    };
    let Ok(mut rows) = select.query([]) else {
        return;
    };
    while let Ok(Some(row)) = rows.next() {
        take(row).unwrap_or_default();
    }
}
