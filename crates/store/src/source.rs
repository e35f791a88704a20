//! `Source`: a store from which an operator reads, alone or beside the process that uses it.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use crate::lock::StoreLock;
use crate::reading::Reading;
use crate::store_file::{self, StoreFile};
use crate::{StoreError, StoreErrorKind, connection, location, open};

/// A store that is read as it is at one moment. Another process can open it meanwhile.
#[derive(Debug)]
pub(crate) struct Source {
    // The connection is closed before the rest is released.
    connection: Connection,
    /// The resolved path.
    pub(crate) path: PathBuf,
    _hold: Hold,
}

/// What keeps this process, or all of them, from opening the store.
#[derive(Debug)]
enum Hold {
    /// With a rollback journal, nobody can write while another connection reads.
    Lock(#[expect(dead_code, reason = "held")] StoreLock),
    Reading(#[expect(dead_code, reason = "held")] Reading),
}

impl Source {
    /// Opens a store, which is checked unless it is in use.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let alone =
            |path: &Path| StoreFile::connect_checked(path).map(|(connection, _)| connection);
        Self::open_by(path, alone)
    }

    /// Opens a store whose content may be damaged.
    pub(crate) fn open_unchecked(path: &Path) -> Result<Self, StoreError> {
        Self::open_by(path, StoreFile::connect_unchecked)
    }

    fn open_by(
        path: &Path,
        alone: impl Fn(&Path) -> Result<Connection, StoreError>,
    ) -> Result<Self, StoreError> {
        connection::require_sqlite(path)?;
        let path = location::resolve(path)?;
        store_file::require_file(&path)?;
        let take = || -> Result<(Connection, Hold), StoreError> {
            let lock = StoreLock::take(&path)?;
            let connection = alone(&path)?;
            let hold = release(&path, &connection, lock);
            Ok((connection, hold))
        };
        let (connection, hold) = match take() {
            Err(error) if matches!(error.kind(), StoreErrorKind::Locked { .. }) => {
                let reading = Reading::begin(&path);
                match StoreFile::connect_beside(&path) {
                    Ok(connection) => (connection, Hold::Reading(reading)),
                    // A process that is killed in between leaves a file that only a writer can open.
                    Err(error) => {
                        drop(reading);
                        take().map_err(|_| error)?
                    }
                }
            }
            taken => taken?,
        };
        Ok(Self {
            connection,
            path,
            _hold: hold,
        })
    }
}

/// Releases the lock of a store, if another process can use the store beside this connection.
fn release(path: &Path, connection: &Connection, lock: StoreLock) -> Hold {
    if !connection::has_wal(connection).is_ok_and(|has_wal| has_wal) {
        return Hold::Lock(lock);
    }
    // Moves the `-wal` file into the database now. Later, this connection would keep a process that opens the
    // store waiting for that. It does not wait for another reader, which may block it in the same way: nobody
    // can open the store until the lock is released.
    let moved = connection
        .busy_timeout(Duration::ZERO)
        .and_then(|()| open::move_wal(connection));
    let restored = connection.busy_timeout(connection::MAX_WAIT);
    if restored.is_err() || !moved.is_ok_and(|is_moved| is_moved) {
        tracing::debug!("the write-ahead log of the store stays as it is");
    }
    // Without the lock, only SQLite's own rules would protect a `-wal` file that another process has written.
    connection::keep_wal(connection);
    let reading = Reading::begin(path);
    drop(lock);
    Hold::Reading(reading)
}

impl Deref for Source {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

#[cfg(test)]
mod tests {
    use std::process;

    use tidings_testkit::temp_dir::TempDir;

    use super::*;
    use crate::StoreLog;

    fn check_locked(path: &Path) {
        let error = StoreLog::open(path).unwrap_err();
        let holder = Some(process::id());
        assert_eq!(error.kind(), &StoreErrorKind::Locked { holder });
    }

    #[tokio::test]
    async fn this_process_opens_no_store_that_it_reads_and_another_one_may() {
        let dir = TempDir::in_memory();
        let path = dir.join("events.db");
        StoreLog::open(&path).unwrap().close().await.unwrap();
        let first = Source::open(&path).unwrap();
        let second = Source::open_unchecked(&path).unwrap();
        // As another process sees it.
        let lock = std::fs::File::open(dir.join("events.db.lock")).unwrap();
        lock.try_lock().unwrap();
        drop(lock);
        check_locked(&path);
        drop(first);
        check_locked(&path);
        drop(second);
        let log = StoreLog::open(&path).unwrap();
        let beside = Source::open(&path).unwrap();
        log.close().await.unwrap();
        check_locked(&path);
        drop(beside);
        StoreLog::open(&path).unwrap();
    }

    #[test]
    fn a_store_that_was_never_opened_stays_locked() {
        let dir = TempDir::in_memory();
        let path = dir.join("events.db");
        crate::import(&path, &b""[..]).unwrap();
        let source = Source::open(&path).unwrap();
        let lock = std::fs::File::open(dir.join("events.db.lock")).unwrap();
        assert!(lock.try_lock().is_err());
        drop(source);
        lock.try_lock().unwrap();
    }
}
