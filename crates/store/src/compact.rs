//! The compaction of a store: its file without free pages.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use crate::store_file::StoreFile;
use crate::{StoreError, StoreErrorKind, connection, header};

/// What a compaction has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compacted {
    /// The size of the file before, in bytes.
    pub before: u64,
    /// The size of the file after, in bytes.
    pub after: u64,
}

/// Rewrites the store in this file without the free space that removed entries have left.
///
/// Nobody may use the store meanwhile. If another program has it open, even for an [`export`](crate::export)
/// or a [`backup`](crate::backup) only, this fails at once and changes nothing. A program that opens it
/// during the compaction fails, after a wait of up to 5 s.
///
/// A store reuses that space by itself, so this is useful only if the store has become much smaller, for
/// example after a reduction of the retention. It needs as much free disk space as the file has, up to twice,
/// and once more for a temporary file. On Unix this file is in the directory that the environment names as
/// `SQLITE_TMPDIR` or
/// `TMPDIR`, otherwise in `/var/tmp`, `/usr/tmp` or `/tmp`; a file system in memory is no place for it. After
/// a crash, the store is the same as before, and the next open completes or undoes it.
///
/// # Blocking
/// It reads and writes the whole file; in an asynchronous program, call it within `spawn_blocking`.
///
/// # Errors
/// [`StoreErrorKind`](crate::StoreErrorKind) lists all kinds.
pub fn compact(path: impl AsRef<Path>) -> Result<Compacted, StoreError> {
    let file = StoreFile::open(path.as_ref())?;
    let StoreFile {
        connection, path, ..
    } = &file;
    let sqlite = |error| StoreError::sqlite(path, error);
    let size = || header::size(path).map_err(|error| StoreError::io(path, error));
    lock_alone(path, connection)?;
    move_wal(path, connection)?;
    let before = size()?;
    // `VACUUM` builds a copy of the store first, which may not fit into memory.
    connection
        .pragma_update(None, "temp_store", "FILE")
        .map_err(sqlite)?;
    connection.execute_batch("VACUUM").map_err(sqlite)?;
    move_wal(path, connection)?;
    let after = size()?;
    Ok(Compacted { before, after })
}

/// Locks the database until the connection is closed. Fails at once if another program has it open: with a
/// reader, even one that needs nothing of the `-wal` file, `VACUUM` would write the whole store into that
/// file, and nothing could move it into the database.
///
/// Nobody else can open the database meanwhile, so no reader can begin either.
fn lock_alone(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let sqlite = |error| StoreError::sqlite(path, error);
    // With a rollback journal, `VACUUM` itself fails beside a reader.
    if !connection::has_wal(connection).map_err(sqlite)? {
        return Ok(());
    }
    connection.busy_timeout(Duration::ZERO).map_err(sqlite)?;
    connection
        .pragma_update(None, "locking_mode", "EXCLUSIVE")
        .map_err(sqlite)?;
    // SQLite takes the lock at the beginning of a write.
    match connection.execute_batch("BEGIN IMMEDIATE; COMMIT") {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
            Err(is_read(path))
        }
        locked => locked.map_err(sqlite),
    }
}

fn is_read(path: &Path) -> StoreError {
    let what = "another program reads the store; repeat this when it has ended";
    StoreError::because(StoreErrorKind::Io, path, what)
}

/// Moves all of the `-wal` file into the database.
fn move_wal(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let is_blocked = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    if is_blocked.map_err(|error| StoreError::sqlite(path, error))? {
        return Err(is_read(path));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidings_testkit::temp_dir::TempDir;

    use super::*;
    use crate::StoreLog;

    #[tokio::test]
    async fn no_reader_begins_during_a_compaction() {
        let dir = TempDir::in_memory();
        let path = dir.join("events.db");
        StoreLog::open(&path).unwrap().close().await.unwrap();
        let file = StoreFile::open(&path).unwrap();
        lock_alone(&path, &file.connection).unwrap();
        let reader = connection::open_reader(&path).and_then(|reader| {
            let count = reader.query_row("SELECT count(*) FROM entries", [], |row| row.get(0));
            count.map_err(|error| StoreError::sqlite(&path, error))
        });
        let refused: StoreError = reader.map(|_: i64| ()).unwrap_err();
        assert_eq!(refused.kind(), &StoreErrorKind::Busy);
        drop(file);
        crate::export(&path, std::io::sink()).unwrap();
    }
}
