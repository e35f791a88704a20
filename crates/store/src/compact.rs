//! The compaction of a store: its file without free pages.

use std::path::Path;

use rusqlite::Connection;

use crate::store_file::StoreFile;
use crate::{StoreError, StoreErrorKind, header};

/// What a compaction has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compacted {
    /// The size of the file before, in bytes.
    pub before: u64,
    /// The size of the file after, in bytes.
    pub after: u64,
}

/// Rewrites the store in this file, which nobody may use meanwhile, without the free space that removed
/// entries have left.
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

/// Moves all of the `-wal` file into the database. A program that reads the store for long prevents that, and
/// then a compaction would only make the `-wal` file as large as the store.
fn move_wal(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let is_blocked = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    if is_blocked.map_err(|error| StoreError::sqlite(path, error))? {
        let what = "another program reads the store; repeat this when it has ended";
        return Err(StoreError::because(StoreErrorKind::Io, path, what));
    }
    Ok(())
}
