//! How a store is opened: the lock, the format, and the recovery after a crash.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use tidings_hub::random_epoch;

use crate::failure::Failure;
use crate::location;
use crate::readers::Readers;
use crate::shared::Shared;
use crate::state_row::StoreState;
use crate::store_file::StoreFile;
use crate::writer::{Writer, WriterThread};
use crate::{StoreError, StoreErrorKind, StoreOptions, connection, wal};

pub(crate) fn open(
    path: &Path,
    options: StoreOptions,
) -> Result<(Arc<Shared>, WriterThread), StoreError> {
    // The last one is dropped first, and the lock last.
    let StoreFile {
        lock,
        path,
        mut state,
        connection,
    } = StoreFile::open_or_create(path)?;
    begin(&path, &connection, &mut state)?;
    let recovered = Writer::recover(connection, state).map_err(|failure| failure.at(&path))?;
    let readers = Readers::open(&path)?;
    let shared = Arc::new(Shared::new(
        path,
        options,
        readers,
        recovered.recent_index,
        recovered.published,
    ));
    let writer = recovered.writer.start(Arc::clone(&shared), lock)?;
    Ok((shared, writer))
}

/// Makes the file that of a store in use, durably: before anything is answered, it has a new epoch if events
/// may be missing that another answer has shown.
fn begin(path: &Path, connection: &Connection, state: &mut StoreState) -> Result<(), StoreError> {
    begin_wal(path, connection, state).inspect_err(|_| {
        // The disk may have lost what is in the write-ahead log, and reports that only once. So it must
        // not be moved without another look at it, by the next open.
        connection::keep_wal(connection);
    })?;
    use_wal(path, connection)
}

fn begin_wal(
    path: &Path,
    connection: &Connection,
    state: &mut StoreState,
) -> Result<(), StoreError> {
    let before = state.clone();
    match move_wal(connection).map_err(Failure::from) {
        Ok(true) => {}
        Ok(false) => {
            tracing::warn!(
                "another program reads the store, so its write-ahead log stays as it is"
            );
            wal::cut_rest(path, connection, true)?;
            // A commit that waits for the disk synchronizes what a crash has left in it, too.
            state.syncs += 1;
        }
        // Later commits must not follow one that the disk has lost.
        Err(failure) if failure.is_of_sync() => return Err(failure.at(path)),
        Err(failure) => {
            // For example without room on the disk. The next commits synchronize what is in it.
            tracing::warn!(?failure, "the write-ahead log of the store stays as it is");
            wal::cut_rest(path, connection, true)?;
        }
    }
    if state.is_copy || state.is_unsynced {
        state.epoch = random_epoch();
        (state.is_copy, state.is_unsynced) = (false, false);
    }
    if *state == before {
        return Ok(());
    }
    state.write(connection).map_err(|failure| failure.at(path))
}

/// Moves the `-wal` file into the database, so that what a crash has left in it after the last commit never
/// follows a later one. Returns whether no other program prevented it.
pub(crate) fn move_wal(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
        row.get::<_, bool>(0).map(|is_busy| !is_busy)
    })
}

/// A new store and a copy have a rollback journal until here, so that a `-wal` file beside one shows that the
/// store was put in the place of another one.
fn use_wal(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let sqlite = |error| StoreError::sqlite(path, error);
    if connection::has_wal(connection).map_err(sqlite)? {
        return Ok(());
    }
    let changed = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0));
    let changed: String = changed.map_err(sqlite)?;
    if changed != "wal" {
        let what = "the write-ahead log of SQLite does not work in its directory; use a local disk";
        return Err(StoreError::because(StoreErrorKind::Io, path, what));
    }
    // Otherwise the rollback journal could come back after a crash, and undo the change.
    location::sync_directory(path).map_err(|error| StoreError::io(path, error))
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn a_file_system_without_a_write_ahead_log_is_no_damage() {
        // A database in memory has none either.
        let connection = Connection::open_in_memory().unwrap();
        let error = use_wal(Path::new("events.db"), &connection).unwrap_err();
        assert_eq!(error.kind(), &StoreErrorKind::Io);
        let source = error.source().unwrap().to_string();
        assert!(source.contains("use a local disk"), "{source}");
    }
}
