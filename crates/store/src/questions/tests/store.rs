//! `TestStore`: the tables of a store, written from a history.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;

use fastrand::Rng;
use rusqlite::Connection;
use tidings_hub::{Entry, Place, random_epoch};

use super::history::{Channel, History};
use crate::StoreOptions;
use crate::entry_row::EntryRow;
use crate::index_row::IndexRow;
use crate::readers::Readers;
use crate::recent_entries::RecentEntries;
use crate::recent_index::RecentIndex;
use crate::schema::SCHEMA;
use crate::shared::{Published, Shared};
use crate::state_row::{Floor, StoreState};

/// Where the index is between disk and memory, and how far the removal of entries has come.
#[derive(Debug)]
pub(super) struct Split {
    /// As in [`StoreState`].
    indexed: u64,
    swept: u64,
    /// The start of the index in memory, and where it has a new generation.
    start: u64,
    seals: Vec<u64>,
    /// A sweep in progress: it has come to this channel, writes rows up to the first number, and deletes rows
    /// up to the second one.
    sweep: (i64, u64, u64),
    /// The entries up to this one were deleted.
    deleted: u64,
    /// The start of the newest entries in memory.
    recent: u64,
}

impl Split {
    pub(super) fn random(history: &History, rng: &mut Rng) -> Self {
        let last = history.entries.len() as u64;
        let indexed = rng.u64(0..=last);
        let floor = history.known.floor;
        let swept = if rng.bool() {
            floor
        } else {
            rng.u64(0..=floor)
        };
        let channels = 1 + history.known.channels.len() as i64;
        let start = if rng.bool() {
            indexed
        } else {
            rng.u64(0..=indexed)
        };
        Self {
            indexed,
            swept,
            start,
            seals: (0..rng.usize(0..3)).map(|_| rng.u64(0..=last)).collect(),
            sweep: (
                rng.i64(0..=channels),
                rng.u64(indexed..=last),
                rng.u64(swept..=floor),
            ),
            deleted: rng.u64(0..=swept),
            recent: rng.u64(floor..=last),
        }
    }
}

pub(crate) struct TestStore {
    pub(crate) path: PathBuf,
    pub(crate) connection: Connection,
}

impl TestStore {
    pub(crate) fn new() -> Self {
        let name = format!(
            "tidings-questions-{}-{}.db",
            process::id(),
            Rng::new().u64(..)
        );
        let path = env::temp_dir().join(name);
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY")
            .unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        Self { path, connection }
    }

    pub(super) fn write(&mut self, history: &History, split: &Split) -> Arc<Shared> {
        let transaction = self.connection.transaction().unwrap();
        for table in ["state", "entries", "channels", "places", "gone"] {
            transaction
                .execute(&format!("DELETE FROM {table}"), [])
                .unwrap();
        }
        state(history, split).write(&transaction).unwrap();
        let mut total = 0;
        let mut recent = RecentEntries::new(split.recent);
        let mut index = RecentIndex::new(split.start);
        for (entry, &(channel, nth)) in history.entries.iter().zip(&history.ids) {
            total += entry.cost();
            if entry.seq > split.deleted {
                row(entry, (channel, nth), total)
                    .insert(&transaction)
                    .unwrap();
            }
            if entry.seq > split.recent {
                recent.push(entry.clone());
            }
            if entry.seq > split.start {
                let (seq, time) = (entry.seq, entry.time);
                index.push(IndexRow {
                    channel,
                    seq,
                    nth,
                    time,
                });
            }
            if split.seals.contains(&entry.seq) {
                index.seal();
            }
        }
        for channel in history.known.channels.values() {
            channel.row.write(&transaction).unwrap();
            for row in on_disk(channel, history, split) {
                row.write(&transaction).unwrap();
            }
        }
        transaction.commit().unwrap();
        self.share(index, published(history, recent))
    }

    pub(crate) fn share(&self, index: RecentIndex, published: Published) -> Arc<Shared> {
        let readers = Readers::open(&self.path).unwrap();
        let options = StoreOptions::default();
        let path = self.path.clone();
        Arc::new(Shared::new(path, options, readers, index, published))
    }

    /// An empty store.
    pub(crate) fn share_empty(&self) -> Arc<Shared> {
        let state = StoreState::new(random_epoch(), [7; 16]);
        state.write(&self.connection).unwrap();
        let published = Published {
            epoch: state.epoch,
            floor: Place::start(),
            last: Place::start(),
            ends_since: 1,
            recent: RecentEntries::new(0),
            failure: None,
        };
        self.share(RecentIndex::new(0), published)
    }

    /// Applies this statement, which changes all rows of a table, to one of them.
    pub(super) fn damage(&self, statement: &str, rng: &mut Rng) {
        let mut words = statement.split(' ');
        let table = words.find(|word| ["entries", "channels", "places", "state"].contains(word));
        let table = table.unwrap();
        let key = match table {
            "entries" => "seq",
            "places" => "(channel, seq)",
            _ => "id",
        };
        let columns = key.trim_matches(['(', ')']);
        let count = format!("SELECT count(*) FROM {table}");
        let count: i64 = self
            .connection
            .query_row(&count, [], |row| row.get(0))
            .unwrap();
        let at = rng.i64(0..count.max(1));
        let one = format!("{key} IN (SELECT {columns} FROM {table} LIMIT 1 OFFSET {at})");
        let statement = format!("{statement} WHERE {one}");
        // A column that must not be NULL stays as it is.
        drop(self.connection.execute(&statement, []));
    }
}

impl Drop for TestStore {
    fn drop(&mut self) {
        fs::remove_file(&self.path).unwrap();
        for suffix in ["-wal", "-shm"] {
            let mut path = self.path.clone().into_os_string();
            path.push(suffix);
            // Only some tests use a write-ahead log.
            drop(fs::remove_file(path));
        }
    }
}

fn published(history: &History, recent: RecentEntries) -> Published {
    Published {
        epoch: history.epoch.clone(),
        floor: history.place(history.known.floor),
        last: history.place(history.entries.len() as u64),
        ends_since: history.known.ends_since,
        recent,
        failure: None,
    }
}

fn state(history: &History, split: &Split) -> StoreState {
    let known = &history.known;
    let floor = known.floor.checked_sub(1);
    let removed = floor.map(|at| &history.entries[..=usize::try_from(at).unwrap()]);
    let removed = removed.unwrap_or_default();
    StoreState {
        floor: Floor {
            place: history.place(known.floor),
            time: removed.last().map_or(0, |entry| entry.time),
            total: removed.iter().map(Entry::cost).sum(),
        },
        removed: known.removed,
        indexed: split.indexed,
        swept: split.swept,
        forgotten_through: known.forgotten_through,
        ends_since: known.ends_since,
        ..StoreState::new(history.epoch.clone(), [7; 16])
    }
}

fn row(entry: &Entry, (channel, nth): (i64, u64), total: u64) -> EntryRow {
    EntryRow {
        seq: entry.seq,
        time: entry.time,
        total,
        channel,
        kind: entry.kind,
        nth,
        check: entry.check(),
        body: entry.body.clone(),
    }
}

/// The rows of a channel that a sweep has written, and not deleted.
fn on_disk(channel: &Channel, history: &History, split: &Split) -> Vec<IndexRow> {
    let (at, through, floor) = split.sweep;
    let is_swept = channel.row.id <= at;
    let written = if is_swept { through } else { split.indexed };
    let removed = if is_swept { floor } else { split.swept };
    let rows = channel.index.iter().filter(|row| row.seq <= written);
    let mut rows: Vec<_> = rows.copied().collect();
    // Rows that are not on the disk yet cannot have been deleted.
    let removed = removed.min(history.known.floor);
    let mut first = rows.iter().rposition(|row| row.seq <= removed).unwrap_or(0);
    if rows
        .get(first)
        .is_some_and(|row| channel.row.end == Some(row.seq))
    {
        first = first.saturating_sub(1);
    }
    rows.split_off(first)
}
