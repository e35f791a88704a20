//! The backup of a store, also while it is in use.

use std::path::{Path, PathBuf};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql};
use tidings_hub::Place;
use tidings_proto::Position;

use crate::failure::Outcome;
use crate::live::LiveConnection;
use crate::lock::StoreLock;
use crate::source::Source;
use crate::{StoreError, StoreLog, connection, header, location, store_file};

/// What a backup contains.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackedUp {
    /// The file, without symbolic links.
    pub path: PathBuf,
    /// Its size, in bytes.
    pub bytes: u64,
    /// The position of the newest entry in it.
    pub newest: Position,
}

impl StoreLog {
    /// Writes a backup of the store into a new file, while the store is in use. It contains everything that
    /// was appended before the call, and is on the disk when the function returns.
    ///
    /// To restore it, stop the program, move the store and its `-wal` file away, and copy the backup to the
    /// place of the store. A store that is opened from a backup takes a new epoch, because events may have
    /// followed; each client that resumes then receives a `gap` event. Do not copy the files of a store that
    /// is in use in any other way.
    ///
    /// The backup is built in `to` with `.unfinished` after its name, so `to` is always complete. It has no
    /// free space, and needs no other file; the empty lock beside it, `.lock`, may be removed with it. Until
    /// the function returns, the `-wal` file of the store grows with each append, and [`close`](Self::close)
    /// waits.
    ///
    /// ```no_run
    /// # async fn example(log: tidings_store::StoreLog) -> Result<(), Box<dyn std::error::Error>> {
    /// let backup = tokio::task::spawn_blocking(move || log.backup("backup/events.db")).await??;
    /// println!("{} bytes up to {}", backup.bytes, backup.newest);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Blocking
    /// It reads and writes the whole store; in an asynchronous program, call it within `spawn_blocking`.
    ///
    /// # Errors
    /// [`StoreErrorKind`](crate::StoreErrorKind) lists all kinds; the path of the error is that of the file
    /// that failed. [`Exists`](crate::StoreErrorKind::Exists) if there is a file already, and
    /// [`Locked`](crate::StoreErrorKind::Locked) if another backup or an import writes it.
    pub fn backup(&self, to: impl AsRef<Path>) -> Result<BackedUp, StoreError> {
        let from = LiveConnection::open(self.shared())?;
        back_up(&from, self.path(), to.as_ref())
    }
}

/// Writes a backup of the store in this file into a new file, also while another process uses or opens the
/// store. [`StoreLog::backup`] describes the backup.
///
/// Until it returns, the `-wal` file of a store in use grows with each append, and this process cannot open
/// the store. Nobody can open a store meanwhile that was never opened since it was imported or restored.
///
/// # Blocking
/// It reads and writes the whole store; in an asynchronous program, call it within `spawn_blocking`.
///
/// # Errors
/// Those of [`StoreLog::backup`].
pub fn backup(path: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<BackedUp, StoreError> {
    let source = Source::open(path.as_ref())?;
    back_up(&source, &source.path, to.as_ref())
}

fn back_up(from: &Connection, source: &Path, to: &Path) -> Result<BackedUp, StoreError> {
    let path = location::resolve(to)?;
    store_file::require_none(&path)?;
    let _lock = StoreLock::take(&path)?;
    // Another backup may have completed it in between.
    store_file::require_none(&path)?;
    let unfinished = store_file::unfinished(&path)?;
    let written = write(from, source, &unfinished, path);
    if written.is_err() {
        // It is removed before the next attempt too.
        location::remove(&unfinished).unwrap_or_default();
    }
    written
}

fn write(
    from: &Connection,
    source: &Path,
    unfinished: &Path,
    path: PathBuf,
) -> Result<BackedUp, StoreError> {
    from.execute("VACUUM INTO ?1", [SqlPath(unfinished)])
        .map_err(|error| StoreError::sqlite(&path, error))?;
    let copy = connection::open_writer(unfinished)?;
    // If the copy is damaged, so is the store.
    let newest = mark(&copy).map_err(|failure| failure.at(source))?;
    copy.close()
        .map_err(|(_, error)| StoreError::sqlite(&path, error))?;
    let io = |error| StoreError::io(&path, error);
    location::put_in_place(unfinished, &path).map_err(io)?;
    let bytes = header::size(&path).map_err(io)?;
    Ok(BackedUp {
        path,
        bytes,
        newest,
    })
}

/// Marks a copy as one, and returns its newest position.
fn mark(copy: &Connection) -> Outcome<Position> {
    let mut state = store_file::check_content(copy)?;
    state.is_copy = true;
    state.write(copy)?;
    let place = store_file::newest_entry(copy)?.map_or(Place::start(), |row| Place {
        seq: row.seq,
        check: row.check,
    });
    Ok(place.in_epoch(&state.epoch))
}

/// A path for SQLite. On Unix it may be any bytes.
struct SqlPath<'a>(&'a Path);

impl ToSql for SqlPath<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        #[cfg(unix)]
        let bytes = {
            use std::os::unix::ffi::OsStrExt;
            self.0.as_os_str().as_bytes()
        };
        #[cfg(not(unix))]
        let bytes = match self.0.to_str() {
            Some(text) => text.as_bytes(),
            None => return Err(rusqlite::Error::InvalidPath(self.0.to_owned())),
        };
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(bytes)))
    }
}
