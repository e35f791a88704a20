//! `Failure`: why something inside the store failed, before the path is known.

use std::path::Path;

use rusqlite::ffi;
use tidings_hub::LogError;

use crate::StoreError;

pub(crate) type Outcome<T> = Result<T, Failure>;

#[derive(Debug)]
pub(crate) enum Failure {
    /// SQLite failed.
    Sqlite(rusqlite::Error),
    /// What is stored contradicts itself.
    Damaged(String),
    /// The log has this answer to the question.
    Log(LogError),
}

impl Failure {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }

    /// Whether there is no room on the disk.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Sqlite(error) => is_full(error),
            Self::Damaged(_) | Self::Log(_) => false,
        }
    }

    /// Whether the disk failed to store what it had accepted before. It may report that only once.
    pub(crate) fn is_of_sync(&self) -> bool {
        let codes = [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_DIR_FSYNC];
        match self {
            Self::Sqlite(error) => extended_code(error).is_some_and(|code| codes.contains(&code)),
            Self::Damaged(_) | Self::Log(_) => false,
        }
    }

    /// The error of the store at this path. An answer of the log is none, so it cannot occur here.
    pub(crate) fn at(self, path: &Path) -> StoreError {
        match self {
            Self::Sqlite(error) => StoreError::sqlite(path, error),
            Self::Damaged(what) => StoreError::damaged(path, what),
            Self::Log(error) => {
                unreachable!("an answer of the log is no failure of the store: {error}")
            }
        }
    }

    /// The error of a question to the log.
    pub(crate) fn answer(self, path: &Path) -> LogError {
        match self {
            Self::Log(error) => error,
            Self::Sqlite(_) | Self::Damaged(_) => self.at(path).into(),
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// Whether SQLite found no room, for its own files or for the `-shm` file.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    let codes = [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_SHMSIZE];
    extended_code(error).is_some_and(|code| codes.contains(&code))
}

fn extended_code(error: &rusqlite::Error) -> Option<i32> {
    Some(error.sqlite_error()?.extended_code)
}
