//! The connections of a store to SQLite, and their settings.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::{StoreError, StoreErrorKind};

/// The oldest version of SQLite that a store accepts. In an older one, a checkpoint at the wrong moment can
/// lose a commit.
pub(crate) const OLDEST_SQLITE: &str = "3.51.3";
const OLDEST_SQLITE_NUMBER: i32 = 3_051_003;

/// How long a connection waits for the lock of another program, for example of the `sqlite3` shell.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(5);

/// The most statements that a connection keeps prepared.
const STATEMENTS: usize = 128;

/// After a checkpoint, SQLite keeps this much of a larger `-wal` file for the next commits.
const MAX_IDLE_WAL: i64 = 64 << 20;

/// The most memory for pages of each connection, in KiB. SQLite takes a negative number for KiB, and takes
/// memory when pages are read.
const WRITER_CACHE: i64 = -16 * 1024;
/// Each commit empties it, so it serves one question, or a few.
const READER_CACHE: i64 = -2 * 1024;

/// Whether a commit waits until it is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Synchronous {
    /// Each commit waits. The setting of a new connection.
    Full,
    /// Only a checkpoint waits.
    Normal,
}

/// Fails if the version of SQLite is too old.
pub(crate) fn require_sqlite(path: &Path) -> Result<(), StoreError> {
    if rusqlite::version_number() >= OLDEST_SQLITE_NUMBER {
        return Ok(());
    }
    let found = rusqlite::version().to_owned();
    Err(StoreError::new(StoreErrorKind::OldSqlite { found }, path))
}

/// A connection that writes: of the writer, or of the checkpointer. Its commits are [`Synchronous::Full`].
pub(crate) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    open(path, flags, WRITER_CACHE).map_err(|error| StoreError::sqlite(path, error))
}

/// A connection that only reads.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    open(path, flags, READER_CACHE).map_err(|error| StoreError::sqlite(path, error))
}

/// A connection to a new database, which is created.
pub(crate) fn create(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    open(path, flags, WRITER_CACHE)
}

/// Sets whether the commits of this connection wait for the disk.
pub(crate) fn set_synchronous(
    connection: &Connection,
    synchronous: Synchronous,
) -> rusqlite::Result<()> {
    let value = match synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", value)
}

fn open(path: &Path, flags: OpenFlags, cache: i64) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(MAX_WAIT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Otherwise each new value of a `LIMIT` has its statement compiled again.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    set_synchronous(&connection, Synchronous::Full)?;
    // The `fsync` of macOS leaves what was written in the cache of the drive. Nothing changes on other
    // systems.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    connection.pragma_update(None, "cache_size", cache)?;
    // The checkpointer does it.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", MAX_IDLE_WAL)?;
    // A failed read of mapped memory would kill the process.
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // A damaged file must not run anything, and must be noticed.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// Whether the database has a write-ahead log. A new store and a copy have a rollback journal until they are
/// opened.
pub(crate) fn has_wal(connection: &Connection) -> rusqlite::Result<bool> {
    connection.pragma_query_value(None, "journal_mode", |row| {
        row.get::<_, String>(0).map(|mode| mode == "wal")
    })
}

/// Keeps the write-ahead log when the connection is closed. The next open moves all of it.
pub(crate) fn keep_wal(connection: &Connection) {
    let kept = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    if let Err(error) = kept {
        tracing::warn!(%error, "the write-ahead log of a store may be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_empties_the_cache_of_the_drive_when_it_synchronizes() {
        let connection = create(Path::new(":memory:")).unwrap();
        for name in ["fullfsync", "checkpoint_fullfsync"] {
            let value = connection.pragma_query_value(None, name, |row| row.get::<_, bool>(0));
            assert!(value.unwrap(), "{name}");
        }
    }
}
