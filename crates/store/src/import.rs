//! The import of a store: a new store from lines of JSON.

use std::collections::HashMap;
use std::io::{BufRead, Read};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use tidings_hub::{ChannelName, Draft, Entry, EntryKind};
use tidings_proto::Position;

use crate::channel_row::{ChannelId, ChannelRow};
use crate::entry_row::EntryRow;
use crate::export_line::{self, ExportLine, MAX_LINE_BYTES};
use crate::failure::Outcome;
use crate::index_row::IndexRow;
use crate::lock::StoreLock;
use crate::state_row::{StoreState, number};
use crate::{StoreError, StoreErrorKind, connection, location, store_file};

/// The time of an entry must not be later than now by more than this.
const MAX_AHEAD: Duration = Duration::from_secs(24 * 3600);

/// What an import has made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// The number of entries.
    pub entries: u64,
    /// The number of channels.
    pub channels: u64,
    /// The position of the newest entry. Its epoch is new.
    pub newest: Position,
}

/// Creates a store in this file from lines as [`export`](crate::export()) writes them, or another program.
///
/// * The entries are numbered from 1 in the order of the lines; `seq` counts for nothing.
/// * `time` must not be before that of the line before, nor more than a day after now. An entry without
///   `time` has that of the line before; the first one has the time of the import.
/// * An event has `data`, `event`, `retry` (in milliseconds) and `comments`, or its bytes as `body` or
///   `body_base64`. An end has `"end":true`, and no line of its channel follows.
/// * An empty line counts for nothing. A line has at most 128 MiB.
///
/// The store has a new epoch, and no idempotency keys. The first open applies the retention. If the import
/// fails, it leaves no store.
///
/// ```no_run
/// use std::fs::File;
/// use std::io::BufReader;
///
/// let lines = BufReader::new(File::open("events.ndjson")?);
/// let imported = tidings_store::import("events.db", lines)?;
/// println!("{} entries", imported.entries);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Blocking
/// In an asynchronous program, call it within `spawn_blocking`.
///
/// # Errors
/// [`StoreErrorKind`] lists all kinds. [`Line`](StoreErrorKind::Line) with the number of the first line that
/// is not valid; [`Exists`](StoreErrorKind::Exists) if there is a file already;
/// [`Input`](StoreErrorKind::Input) if `from` fails.
pub fn import(path: impl AsRef<Path>, from: impl BufRead) -> Result<Imported, StoreError> {
    connection::require_sqlite(path.as_ref())?;
    let path = location::resolve(path.as_ref())?;
    store_file::require_none(&path)?;
    let _lock = StoreLock::take(&path)?;
    // Another process may have created it in between.
    store_file::require_none(&path)?;
    let mut imported = None;
    store_file::build(&path, |connection| {
        imported = Some(fill(connection, &path, from)?);
        Ok(())
    })?;
    match imported {
        Some(imported) => Ok(imported),
        None => unreachable!("the store was built"),
    }
}

fn fill(
    connection: &mut Connection,
    path: &Path,
    from: impl BufRead,
) -> Result<Imported, StoreError> {
    let at = |error| StoreError::sqlite(path, error);
    // After a crash the file is removed, so it needs no journal. It is synchronized when it is complete.
    for (name, value) in [
        ("journal_mode", "OFF"),
        ("synchronous", "OFF"),
        ("temp_store", "FILE"),
    ] {
        connection.pragma_update(None, name, value).map_err(at)?;
    }
    let transaction = connection.transaction().map_err(at)?;
    let mut import = Import::new(&transaction);
    import.lines(path, from)?;
    let imported = import.finish().map_err(|failure| failure.at(path))?;
    transaction.commit().map_err(at)?;
    Ok(imported)
}

struct Import<'a> {
    connection: &'a Connection,
    channels: HashMap<ChannelName, Channel>,
    newest: Newest,
}

#[derive(Debug, Clone, Copy)]
struct Channel {
    id: ChannelId,
    nth: u64,
    end: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Newest {
    seq: u64,
    time: u64,
    total: u64,
    /// The latest time of an entry.
    limit: u64,
}

/// Why a line was not imported.
enum Stop {
    Line(String),
    Store(crate::failure::Failure),
}

impl<'a> Import<'a> {
    #[allow(clippy::disallowed_methods, reason = "an import has no other clock")]
    fn new(connection: &'a Connection) -> Self {
        let now = SystemTime::now();
        let nanos = |time| export_line::nanos(time).unwrap_or_default();
        Self {
            connection,
            channels: HashMap::new(),
            newest: Newest {
                seq: 0,
                time: 0,
                total: 0,
                limit: nanos(now + MAX_AHEAD),
            },
        }
    }

    fn lines(&mut self, path: &Path, mut from: impl BufRead) -> Result<(), StoreError> {
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let limit = MAX_LINE_BYTES as u64 + 1;
            let read = from.by_ref().take(limit).read_until(b'\n', &mut line);
            let bytes =
                read.map_err(|error| StoreError::because(StoreErrorKind::Input, path, error))?;
            if bytes == 0 {
                break;
            }
            let kind = StoreErrorKind::Line { number };
            match self.line(&line) {
                Ok(()) => {}
                Err(Stop::Line(what)) => return Err(StoreError::because(kind, path, what)),
                Err(Stop::Store(failure)) => return Err(failure.at(path)),
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Stop> {
        if line.len() > MAX_LINE_BYTES {
            return Err(Stop::Line(format!(
                "it is longer than {MAX_LINE_BYTES} bytes"
            )));
        }
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let line: ExportLine =
            serde_json::from_slice(line).map_err(|error| Stop::Line(error.to_string()))?;
        let time = self
            .time(line.time().map_err(Stop::Line)?)
            .map_err(Stop::Line)?;
        let draft = line.into_draft().map_err(Stop::Line)?;
        self.append(draft, time)
    }

    fn time(&self, time: Option<u64>) -> Result<u64, String> {
        let before = self.newest.time;
        match time {
            Some(time) if time < before => Err(format!(
                "its time is before {}, the time of the line before",
                export_line::format_time(before)
            )),
            Some(time) if time > self.newest.limit => {
                Err("its time is more than a day after now".to_owned())
            }
            Some(time) => Ok(time),
            None if before == 0 => Ok(self.newest.limit - nanos_of(MAX_AHEAD)),
            None => Ok(before),
        }
    }

    fn append(&mut self, draft: Draft, time: u64) -> Result<(), Stop> {
        let seq = self.newest.seq + 1;
        let next_id = ChannelId::try_from(self.channels.len() + 1).unwrap_or(ChannelId::MAX);
        let channel = self
            .channels
            .entry(draft.channel.clone())
            .or_insert(Channel {
                id: next_id,
                nth: 0,
                end: None,
            });
        if let Some(end) = channel.end {
            let what = format!("the channel {} has ended with entry {end}", draft.channel);
            return Err(Stop::Line(what));
        }
        match draft.kind {
            EntryKind::Event => channel.nth += 1,
            EntryKind::End => channel.end = Some(seq),
        }
        let (id, nth) = (channel.id, channel.nth);
        let entry = Entry::new(seq, time, draft);
        let total = self.newest.total + entry.cost();
        let row = EntryRow {
            seq,
            time,
            total,
            channel: id,
            kind: entry.kind,
            nth,
            check: entry.check(),
            body: entry.body,
        };
        row.insert(self.connection).map_err(Stop::Store)?;
        self.newest = Newest {
            seq,
            time,
            total,
            ..self.newest
        };
        Ok(())
    }

    /// Writes everything but the entries.
    fn finish(self) -> Outcome<Imported> {
        for (name, channel) in &self.channels {
            let row = ChannelRow {
                id: channel.id,
                name: name.clone(),
                known_since: 0,
                end: channel.end,
            };
            row.write(self.connection)?;
        }
        self.write_index()?;
        let mut state = StoreState::read(self.connection)?;
        let last = self.newest.seq;
        state.indexed = last;
        state.last = last;
        state.write(self.connection)?;
        let newest = match store_file::newest_entry(self.connection)? {
            Some(EntryRow { seq, check, .. }) => tidings_hub::Place { seq, check },
            None => tidings_hub::Place::start(),
        };
        Ok(Imported {
            entries: last,
            channels: self.channels.len() as u64,
            newest: newest.in_epoch(&state.epoch),
        })
    }

    /// Writes the index in its own order, which is much faster than in that of the entries.
    fn write_index(&self) -> Outcome<()> {
        let mut select = self
            .connection
            .prepare("SELECT channel, seq, nth, time FROM entries ORDER BY channel, seq")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let row = IndexRow {
                channel: row.get(0)?,
                seq: number(row, 1)?,
                nth: number(row, 2)?,
                time: number(row, 3)?,
            };
            row.write(self.connection)?;
        }
        Ok(())
    }
}

fn nanos_of(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
