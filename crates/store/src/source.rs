//! `Source`: a store from which an operator reads, alone or beside the process that uses it.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::lock::StoreLock;
use crate::store_file::{self, StoreFile};
use crate::{StoreError, StoreErrorKind, connection, location};

/// A store that is read as it is at one moment.
#[derive(Debug)]
pub(crate) struct Source {
    // The connection is closed before the lock is released.
    connection: Connection,
    /// The resolved path.
    pub(crate) path: PathBuf,
    /// `None` if another process, or another part of this one, uses the store meanwhile.
    _lock: Option<StoreLock>,
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
        let take = || -> Result<(Connection, Option<StoreLock>), StoreError> {
            let lock = StoreLock::take(&path)?;
            Ok((alone(&path)?, Some(lock)))
        };
        let (connection, lock) = match take() {
            Err(error) if matches!(error.kind(), StoreErrorKind::Locked { .. }) => {
                match StoreFile::connect_beside(&path) {
                    Ok(connection) => (connection, None),
                    // A process that is killed in between leaves a file that only a writer can open.
                    Err(error) => take().map_err(|_| error)?,
                }
            }
            taken => taken?,
        };
        Ok(Self {
            connection,
            path,
            _lock: lock,
        })
    }
}

impl Deref for Source {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}
