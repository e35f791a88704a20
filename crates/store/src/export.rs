//! The export of a store: its entries as lines of JSON.

use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};
use tidings_hub::{ChannelName, EntryKind};

use crate::channel_row::{ChannelId, ChannelRow};
use crate::entry_row::EntryRow;
use crate::export_line::ExportLine;
use crate::failure::{Failure, Outcome};
use crate::index_row::IndexRow;
use crate::live::LiveConnection;
use crate::source::Source;
use crate::state_row::StoreState;
use crate::{StoreError, StoreErrorKind, StoreLog};

/// The most names of channels in memory.
const MAX_NAMES: usize = 100_000;

/// What an export has written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// The entries, one line each: events and ends.
    pub entries: u64,
    /// The ends of channels whose entries were all removed. Their lines come first.
    pub remembered_ends: u64,
}

/// Writes the entries of the store in this file as lines of JSON, in their order. [`import`](crate::import())
/// makes a store of them.
///
/// ```text
/// {"seq":17,"time":"2026-01-31T12:00:00.123456789Z","channel":"news","event":"note","data":"hello"}
/// {"seq":18,"time":"2026-01-31T12:00:01.000000000Z","channel":"news","end":true}
/// ```
///
/// The ends of channels whose entries were removed come first. Idempotency keys, the epoch, and the number of
/// removed events are not exported.
///
/// The export has the entries at its start, also if another process uses or opens the store. Until it
/// returns, the `-wal` file of the store grows with each append, and this process cannot open the store.
/// Nobody can open a store meanwhile that was never opened since it was imported or restored.
///
/// # Blocking
/// It reads the whole file; in an asynchronous program, call it within `spawn_blocking`.
///
/// # Errors
/// [`StoreErrorKind`] lists all kinds. [`Output`](StoreErrorKind::Output) if `to` fails.
pub fn export(path: impl AsRef<Path>, to: impl Write) -> Result<Exported, StoreError> {
    let source = Source::open(path.as_ref())?;
    export_from(&source, &source.path, to)
}

impl StoreLog {
    /// Writes the entries that the store holds now as lines of JSON, while the store is in use; see
    /// [`export`](crate::export()).
    ///
    /// Until it returns, the `-wal` file of the store grows with each append.
    ///
    /// # Blocking
    /// It reads the whole file; in an asynchronous program, call it within `spawn_blocking`.
    ///
    /// # Errors
    /// [`StoreErrorKind`] lists all kinds. [`Output`](StoreErrorKind::Output) if `to` fails.
    pub fn export(&self, to: impl Write) -> Result<Exported, StoreError> {
        let connection = LiveConnection::open(self.shared())?;
        export_from(&connection, self.path(), to)
    }
}

fn export_from(
    connection: &Connection,
    path: &Path,
    to: impl Write,
) -> Result<Exported, StoreError> {
    let output = |error| StoreError::because(StoreErrorKind::Output, path, error);
    let mut export = Export {
        connection,
        names: HashMap::new(),
        to: BufWriter::new(to),
        written: Exported::default(),
    };
    match export.write_all() {
        Ok(()) => {}
        Err(Stop::Store(failure)) => return Err(failure.at(path)),
        Err(Stop::Output(error)) => return Err(output(error)),
    }
    let Export {
        mut to, written, ..
    } = export;
    to.flush().map_err(output)?;
    Ok(written)
}

struct Export<'a, W: Write> {
    connection: &'a Connection,
    names: HashMap<ChannelId, ChannelName>,
    to: BufWriter<W>,
    written: Exported,
}

/// Why an export stops.
enum Stop {
    Store(Failure),
    Output(std::io::Error),
}

impl<E: Into<Failure>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

impl<W: Write> Export<'_, W> {
    fn write_all(&mut self) -> Result<(), Stop> {
        // All of it is one state of the log.
        let snapshot = self.connection.unchecked_transaction()?;
        let state = StoreState::read(&snapshot)?;
        self.write_remembered_ends(&state)?;
        self.write_entries(&state)
    }

    fn write_remembered_ends(&mut self, state: &StoreState) -> Result<(), Stop> {
        // Through the index, because a scan would skip a row whose end is damaged.
        let sql = format!(
            r#"SELECT {} FROM channels INDEXED BY ends WHERE "end" IS NOT NULL AND "end" <= ?1 ORDER BY "end""#,
            ChannelRow::COLUMNS
        );
        let mut select = self.connection.prepare(&sql)?;
        let mut rows = select.query([state.floor.place.seq.cast_signed()])?;
        while let Some(row) = rows.next()? {
            let channel = ChannelRow::read(row)?;
            let Some(end) = channel.end else { continue };
            let time = time_of_end(self.connection, channel.id, end)?;
            self.write(&ExportLine::end(end, time, &channel.name))?;
            self.written.remembered_ends += 1;
        }
        Ok(())
    }

    fn write_entries(&mut self, state: &StoreState) -> Result<(), Stop> {
        let sql = format!(
            "SELECT {} FROM entries WHERE seq > ?1 ORDER BY seq",
            EntryRow::COLUMNS
        );
        let mut select = self.connection.prepare(&sql)?;
        let mut before = state.floor.place.seq;
        let mut rows = select.query([before.cast_signed()])?;
        while let Some(row) = rows.next()? {
            let EntryRow {
                seq,
                time,
                channel,
                kind,
                body,
                ..
            } = EntryRow::read(row)?;
            if seq != before + 1 {
                return Err(missing(before + 1).into());
            }
            before = seq;
            let name = self.name(channel)?;
            let line = match kind {
                EntryKind::Event => ExportLine::event(seq, time, &name, &body),
                EntryKind::End => ExportLine::end(seq, time, &name),
            };
            self.write(&line)?;
            self.written.entries += 1;
        }
        if before < state.last {
            return Err(missing(before + 1).into());
        }
        Ok(())
    }

    fn write(&mut self, line: &ExportLine) -> Result<(), Stop> {
        serde_json::to_writer(&mut self.to, line)
            .map_err(std::io::Error::from)
            .and_then(|()| self.to.write_all(b"\n"))
            .map_err(Stop::Output)
    }

    fn name(&mut self, id: ChannelId) -> Outcome<ChannelName> {
        if let Some(name) = self.names.get(&id) {
            return Ok(name.clone());
        }
        let name = name_of(self.connection, id)?;
        if self.names.len() >= MAX_NAMES {
            self.names.clear();
        }
        self.names.insert(id, name.clone());
        Ok(name)
    }
}

fn missing(seq: u64) -> Failure {
    Failure::damaged(format!("entry {seq} is missing"))
}

fn name_of(connection: &Connection, id: ChannelId) -> Outcome<ChannelName> {
    let sql = format!("SELECT {} FROM channels WHERE id = ?1", ChannelRow::COLUMNS);
    let mut select = connection.prepare_cached(&sql)?;
    let row = select.query_row([id], |row| Ok(ChannelRow::read(row)));
    match row.optional()?.transpose()? {
        Some(row) => Ok(row.name),
        None => Err(Failure::damaged(format!("channel {id} is missing"))),
    }
}

/// The time of a removed end: of its row in the index, or of the entry if the index does not show the removal
/// yet.
pub(crate) fn time_of_end(connection: &Connection, channel: ChannelId, end: u64) -> Outcome<u64> {
    let sql = format!(
        "SELECT {} FROM places WHERE channel = ?1 AND seq = ?2",
        IndexRow::COLUMNS
    );
    let mut select = connection.prepare_cached(&sql)?;
    let end = end.cast_signed();
    let row = select.query_row([channel, end], |row| Ok(IndexRow::read(row)));
    if let Some(row) = row.optional()?.transpose()? {
        return Ok(row.time);
    }
    let sql = format!("SELECT {} FROM entries WHERE seq = ?1", EntryRow::COLUMNS);
    let mut select = connection.prepare_cached(&sql)?;
    let row = select.query_row([end], |row| Ok(EntryRow::read(row)));
    match row.optional()?.transpose()? {
        Some(row) => Ok(row.time),
        None => Err(Failure::damaged(format!("the end {end} is missing"))),
    }
}
