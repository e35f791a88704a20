//! `StoreError`: why a store could not be opened or used.

use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io, process};

use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
use tidings_hub::LogError;

use crate::connection::OLDEST_SQLITE;

/// The error of a store.
#[derive(Debug, Clone)]
pub struct StoreError {
    kind: StoreErrorKind,
    path: PathBuf,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The kind of a [`StoreError`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Another process, or another [`StoreLog`](crate::StoreLog) of this one, has opened the store.
    Locked {
        /// The number of the process, if it could be read.
        holder: Option<u32>,
    },
    /// The file is not a store: a directory, an empty file, or a file of another program.
    NotAStore {
        /// What it is instead.
        what: String,
    },
    /// A newer version of tidings has written the store.
    NewerFormat {
        /// The format of the file.
        found: u32,
        /// The newest format that this version can read.
        known: u32,
    },
    /// The file is damaged.
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// A journal of SQLite beside the file, `-wal` or `-journal`, belongs to another file. SQLite would apply
    /// its changes to this one.
    ForeignJournal {
        /// The journal.
        journal: PathBuf,
    },
    /// There is no such file, for a function that does not create one.
    Missing,
    /// There is no such directory.
    NoDirectory,
    /// There is a file already, for a function that does not overwrite one.
    Exists,
    /// The disk or the file system is full. A quota that is used up may be [`Io`](Self::Io), because SQLite
    /// tells only a full disk apart.
    Full,
    /// The file or its directory may not be read or written by this process.
    NotPermitted,
    /// A line of an import is not valid.
    Line {
        /// The number of the line; the first is 1.
        number: u64,
    },
    /// The lines of an import cannot be read.
    Input,
    /// The lines of an export cannot be written.
    Output,
    /// The program was built with a version of SQLite that can damage a store.
    OldSqlite {
        /// The version.
        found: String,
    },
    /// Another program, for example the `sqlite3` shell, holds a lock of SQLite on the file.
    Busy,
    /// The store was closed.
    Closed,
    /// The operating system or the storage failed in another way.
    Io,
}

impl StoreError {
    pub(crate) fn new(kind: StoreErrorKind, path: &Path) -> Self {
        Self {
            kind,
            path: path.to_owned(),
            source: None,
        }
    }

    pub(crate) fn because(
        kind: StoreErrorKind,
        path: &Path,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            source: Some(Arc::from(source.into())),
            ..Self::new(kind, path)
        }
    }

    pub(crate) fn damaged(path: &Path, what: impl fmt::Display) -> Self {
        let what = what.to_string();
        Self::new(StoreErrorKind::Damaged { what }, path)
    }

    pub(crate) fn not_a_store(path: &Path, what: impl fmt::Display) -> Self {
        let what = what.to_string();
        Self::new(StoreErrorKind::NotAStore { what }, path)
    }

    /// The error of the operating system as an error of the store at this path.
    pub(crate) fn io(path: &Path, error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => StoreErrorKind::Missing,
            io::ErrorKind::AlreadyExists => StoreErrorKind::Exists,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                StoreErrorKind::NotPermitted
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreErrorKind::Full,
            _ => StoreErrorKind::Io,
        };
        Self::because(kind, path, error)
    }

    /// The error of SQLite as an error of the store at this path.
    pub(crate) fn sqlite(path: &Path, error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let kind = match error.sqlite_error_code() {
            Some(Code::DiskFull) => StoreErrorKind::Full,
            // The `-shm` file cannot grow.
            Some(_) if extended_code(&error) == Some(SQLITE_IOERR_SHMSIZE) => StoreErrorKind::Full,
            // A file that cannot be opened is no such reason: the process may have too many open.
            Some(Code::ReadOnly | Code::PermissionDenied) => StoreErrorKind::NotPermitted,
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => StoreErrorKind::Busy,
            Some(Code::NotADatabase | Code::DatabaseCorrupt) => damage(&error),
            Some(_) => StoreErrorKind::Io,
            None if is_of_content(&error) => damage(&error),
            None => StoreErrorKind::Io,
        };
        Self::because(kind, path, error)
    }

    /// What failed.
    #[must_use]
    pub fn kind(&self) -> &StoreErrorKind {
        &self.kind
    }

    /// The file of the store.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn extended_code(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().map(|error| error.extended_code)
}

fn damage(error: &rusqlite::Error) -> StoreErrorKind {
    let what = error.to_string();
    StoreErrorKind::Damaged { what }
}

/// Whether a value in the file is the reason: it is missing, or has another type than the store has written.
fn is_of_content(error: &rusqlite::Error) -> bool {
    use rusqlite::Error;
    matches!(
        error,
        Error::QueryReturnedNoRows
            | Error::InvalidColumnType(..)
            | Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::Utf8Error(..)
    )
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            StoreErrorKind::Locked { holder } => write_locked(f, &self.path, *holder),
            StoreErrorKind::NotAStore { what } => {
                write!(
                    f,
                    "{path} is not a store of tidings: {what}; choose another file"
                )
            }
            StoreErrorKind::NewerFormat { found, known } => write!(
                f,
                "the store {path} has format {found}, and this version reads formats up to {known}; use a newer \
                 version"
            ),
            StoreErrorKind::Damaged { what } => write!(
                f,
                "the store {path} is damaged ({what}); restore a backup, or salvage the intact events and import them"
            ),
            StoreErrorKind::ForeignJournal { journal } => write!(
                f,
                "{journal} belongs to another file than the store {path}; move it away if you restored a backup, \
                 otherwise put the store back that it belongs to",
                journal = journal.display()
            ),
            StoreErrorKind::Missing => write!(f, "there is no store {path}"),
            StoreErrorKind::NoDirectory => {
                write!(f, "there is no directory for the store {path}; create it")
            }
            StoreErrorKind::Exists => {
                write!(f, "the file {path} exists already; choose another name")
            }
            StoreErrorKind::Full => write!(
                f,
                "there is no room left on the disk of the store {path}; free some, or reduce the retention"
            ),
            StoreErrorKind::NotPermitted => write!(
                f,
                "this process may not read and write the store {path} and its directory; change their permissions"
            ),
            StoreErrorKind::Line { number } => {
                write!(f, "line {number} cannot be imported into the store {path}")
            }
            StoreErrorKind::Input => write!(
                f,
                "the lines that were to be imported into the store {path} cannot be read"
            ),
            StoreErrorKind::Output => {
                write!(f, "the lines of the store {path} cannot be written")
            }
            StoreErrorKind::OldSqlite { found } => write!(
                f,
                "this program has SQLite {found}, which can damage the store {path}; build it with {OLDEST_SQLITE} \
                 or newer"
            ),
            StoreErrorKind::Busy => write!(
                f,
                "another program holds a lock of SQLite on the store {path}; end its transaction, or the program"
            ),
            StoreErrorKind::Closed => write!(f, "the store {path} was closed"),
            StoreErrorKind::Io => write!(f, "the store {path} cannot be read or written"),
        }
    }
}

fn write_locked(f: &mut fmt::Formatter<'_>, path: &Path, holder: Option<u32>) -> fmt::Result {
    let path = path.display();
    let holder = match holder {
        Some(pid) if pid == process::id() => {
            return write!(
                f,
                "the store {path} is open in this process already; use a clone of its log"
            );
        }
        Some(pid) => format!("the process {pid}"),
        None => "another process".to_owned(),
    };
    write!(
        f,
        "the store {path} is in use by {holder}; stop it, or choose another file"
    )
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}

impl From<StoreError> for LogError {
    /// A question that the log could not answer.
    fn from(error: StoreError) -> Self {
        Self::lost(error)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi::{self, Error};

    use super::*;

    #[test]
    fn an_error_of_sqlite_has_the_kind_of_its_reason() {
        for (code, kind) in [
            (ffi::SQLITE_FULL, StoreErrorKind::Full),
            (SQLITE_IOERR_SHMSIZE, StoreErrorKind::Full),
            (ffi::SQLITE_BUSY, StoreErrorKind::Busy),
            (ffi::SQLITE_BUSY_RECOVERY, StoreErrorKind::Busy),
            (ffi::SQLITE_READONLY, StoreErrorKind::NotPermitted),
            (ffi::SQLITE_CANTOPEN, StoreErrorKind::Io),
            (ffi::SQLITE_IOERR_WRITE, StoreErrorKind::Io),
        ] {
            let error = rusqlite::Error::SqliteFailure(Error::new(code), None);
            assert_eq!(
                StoreError::sqlite(Path::new("a"), error).kind,
                kind,
                "{code}"
            );
        }
    }
}
