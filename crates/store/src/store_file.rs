//! `StoreFile`: the file of a store: locked, checked, and connected.

use std::path::{Path, PathBuf};
use std::{fs, io};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension};
use tidings_hub::random_epoch;

use crate::connection;
use crate::entry_row::EntryRow;
use crate::failure::{Failure, Outcome};
use crate::header::{self, Header};
use crate::location;
use crate::lock::StoreLock;
use crate::schema::{self, FORMAT};
use crate::state_row::StoreState;
use crate::{StoreError, StoreErrorKind, wal};

/// A crash leaves at most this many commits in the `-wal` file that SQLite ignores.
const MAX_TORN_COMMITS: u64 = 1;

/// The structure of the index is checked in a file up to this size, whenever it is opened.
const MAX_CHECKED_BYTES: u64 = 16 << 20;

/// The file of a store. Nothing has been changed in it yet, except that SQLite has recovered it after a
/// crash.
#[derive(Debug)]
pub(crate) struct StoreFile {
    // The connection is closed before the lock is released.
    pub(crate) connection: Connection,
    pub(crate) state: StoreState,
    /// The resolved path.
    pub(crate) path: PathBuf,
    pub(crate) lock: StoreLock,
}

impl StoreFile {
    /// Opens the store at this path.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        connection::require_sqlite(path)?;
        let path = location::resolve(path)?;
        require_file(&path)?;
        let lock = StoreLock::take(&path)?;
        Self::connect(path, lock)
    }

    /// Opens the store at this path, or creates it.
    pub(crate) fn open_or_create(path: &Path) -> Result<Self, StoreError> {
        connection::require_sqlite(path)?;
        let path = location::resolve(path)?;
        match require_file(&path) {
            Err(error) if *error.kind() != StoreErrorKind::Missing => return Err(error),
            _ => {}
        }
        let lock = StoreLock::take(&path)?;
        // Another process may have created it in between.
        match require_file(&path) {
            Ok(()) => {}
            Err(error) if *error.kind() == StoreErrorKind::Missing => create(&path)?,
            Err(error) => return Err(error),
        }
        Self::connect(path, lock)
    }

    fn connect(path: PathBuf, lock: StoreLock) -> Result<Self, StoreError> {
        let (connection, state) = Self::connect_checked(&path)?;
        Ok(Self {
            connection,
            state,
            path,
            lock,
        })
    }

    /// A connection to a sound store of this format. The caller holds the lock.
    pub(crate) fn connect_checked(path: &Path) -> Result<(Connection, StoreState), StoreError> {
        let connection = Self::connect_unchecked(path)?;
        let at = |failure: Failure| failure.at(path);
        let state = check_content(&connection).map_err(at)?;
        check_index_pages(&connection).map_err(at)?;
        Ok((connection, state))
    }

    /// A connection to a store of this format, whose content may be damaged. The caller holds the lock.
    pub(crate) fn connect_unchecked(path: &Path) -> Result<Connection, StoreError> {
        check_size(path, &Header::read(path)?)?;
        let wal = location::beside(path, "-wal");
        let ignored = wal::ignored_commits(&wal).map_err(|error| StoreError::io(path, error))?;
        let connection = connection::open_writer(path)?;
        if ignored > MAX_TORN_COMMITS {
            check_unsynced(path, &connection, ignored)?;
        }
        if connection.is_readonly("main").unwrap_or(true) {
            return Err(StoreError::new(StoreErrorKind::NotPermitted, path));
        }
        check_format(path, &connection)?;
        Ok(connection)
    }

    /// A connection that only reads, beside the process that holds the lock.
    pub(crate) fn connect_beside(path: &Path) -> Result<Connection, StoreError> {
        let connection = connection::open_reader(path)?;
        check_format(path, &connection)?;
        Ok(connection)
    }

    /// A connection that reads what it can of a store. The caller holds the lock.
    pub(crate) fn connect_damaged(path: &Path) -> Result<Connection, StoreError> {
        Header::read(path)?;
        let connection = connection::open_writer(path)?;
        let sqlite = |error| StoreError::sqlite(path, error);
        // The file stays as it is, with its `-wal` file.
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map_err(sqlite)?;
        // So SQLite opens a file that is cut off.
        connection
            .pragma_update(None, "writable_schema", true)
            .map_err(sqlite)?;
        connection
            .pragma_update(None, "query_only", true)
            .map_err(sqlite)?;
        connection
            .pragma_update(None, "cell_size_check", false)
            .map_err(sqlite)?;
        Ok(connection)
    }
}

pub(crate) fn require_file(path: &Path) -> Result<(), StoreError> {
    let metadata = fs::metadata(path).map_err(|error| StoreError::io(path, error))?;
    if metadata.is_dir() {
        return Err(StoreError::not_a_store(path, "it is a directory"));
    }
    if !metadata.is_file() {
        return Err(StoreError::not_a_store(path, "it is not a regular file"));
    }
    Ok(())
}

/// Fails if there is a file at this path, or a journal of one.
pub(crate) fn require_none(path: &Path) -> Result<(), StoreError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(StoreError::new(StoreErrorKind::Exists, path)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io(path, error)),
        Err(_) => {
            refuse_journal(path, "-wal")?;
            refuse_journal(path, "-journal")
        }
    }
}

/// Creates a store without entries. It has its name only when it is complete and on the disk.
fn create(path: &Path) -> Result<(), StoreError> {
    require_none(path)?;
    build(path, |_| Ok(()))
}

/// Creates a store at this path, and lets `fill` change it before it has its name. If that fails, nothing is
/// left. The caller holds the lock.
pub(crate) fn build(
    path: &Path,
    fill: impl FnOnce(&mut Connection) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let unfinished = unfinished(path)?;
    let built = try_build(&unfinished, path, fill);
    if built.is_err() {
        // It is removed before the next attempt too.
        location::remove(&unfinished).unwrap_or_default();
    }
    built
}

/// The name of the store at this path while it is built. What a crash has left there is removed. The caller
/// holds the lock.
pub(crate) fn unfinished(path: &Path) -> Result<PathBuf, StoreError> {
    // Unlike `.new`, it is not the name of a store of its own.
    let unfinished = location::beside(path, ".unfinished");
    location::remove(&unfinished).map_err(|error| StoreError::io(path, error))?;
    Ok(unfinished)
}

fn try_build(
    unfinished: &Path,
    path: &Path,
    fill: impl FnOnce(&mut Connection) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let io = |error| StoreError::io(path, error);
    let sqlite = |error| StoreError::sqlite(path, error);
    let mut connection = connection::create(unfinished).map_err(sqlite)?;
    let state = StoreState::new(random_epoch(), secret());
    schema::create(&mut connection, &state).map_err(|failure| failure.at(path))?;
    fill(&mut connection)?;
    connection.close().map_err(|(_, error)| sqlite(error))?;
    location::put_in_place(unfinished, path).map_err(io)
}

/// A random key.
fn secret() -> [u8; 16] {
    use std::hash::{BuildHasher, RandomState};
    // Seeded by the system's randomness.
    let random = RandomState::new();
    let number = |n: u8| random.hash_one(n).to_le_bytes();
    let [low, high] = [number(0), number(1)];
    std::array::from_fn(|at| if at < 8 { low[at] } else { high[at - 8] })
}

fn refuse_journal(path: &Path, suffix: &str) -> Result<(), StoreError> {
    let journal = location::beside(path, suffix);
    match location::length(&journal) {
        Ok(0) => Ok(()),
        Ok(_) => Err(StoreError::new(
            StoreErrorKind::ForeignJournal { journal },
            path,
        )),
        Err(error) => Err(StoreError::io(path, error)),
    }
}

/// Fails if the file is cut off, or if SQLite would apply the changes of another file to it.
fn check_size(path: &Path, header: &Header) -> Result<(), StoreError> {
    if header.has_no_wal() {
        refuse_journal(path, "-wal")?;
    }
    let io = |error| StoreError::io(path, error);
    if location::length(&location::beside(path, "-wal")).map_err(io)? > 0 {
        // Some of its pages may not have been moved into the file yet.
        return Ok(());
    }
    let (size, least) = (header::size(path).map_err(io)?, header.least_size());
    if size < least {
        let what = format!("it is cut off: it has {size} bytes of {least}");
        return Err(StoreError::damaged(path, what));
    }
    Ok(())
}

/// Fails if the store had a durability of every commit, so that a crash does not explain the commits that
/// SQLite ignores.
fn check_unsynced(path: &Path, connection: &Connection, ignored: u64) -> Result<(), StoreError> {
    let sqlite = |error| StoreError::sqlite(path, error);
    // Otherwise SQLite removes the file when the connection is closed.
    let keep_wal = |keep| {
        let changed = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep);
        changed.map(drop).map_err(sqlite)
    };
    keep_wal(true)?;
    if StoreState::read(connection).is_ok_and(|state| state.is_unsynced) {
        return keep_wal(false);
    }
    let what = format!("its `-wal` file has {ignored} commits after one that is damaged");
    Err(StoreError::damaged(path, what))
}

fn check_format(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let format = connection.pragma_query_value(None, "user_version", |row| row.get(0));
    let found: u32 = format.map_err(|error| StoreError::sqlite(path, error))?;
    let known = FORMAT;
    match found {
        0 => Err(StoreError::damaged(path, "it has no format")),
        _ if found > known => {
            let kind = StoreErrorKind::NewerFormat { found, known };
            Err(StoreError::new(kind, path))
        }
        _ => Ok(()),
    }
}

/// Fails if the structure of the index is damaged in a small file: a row of it could be left out without a
/// trace. The numbers of the entries show whether one of them is missing.
fn check_index_pages(connection: &Connection) -> Outcome<()> {
    let value = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let bytes = value("page_count")?.saturating_mul(value("page_size")?);
    if bytes.cast_unsigned() > MAX_CHECKED_BYTES {
        return Ok(());
    }
    for table in ["channels", "places", "gone"] {
        let sql = format!("PRAGMA quick_check({table})");
        let found: String = connection.query_row(&sql, [], |row| row.get(0))?;
        if found != "ok" {
            // Some of the texts have several lines.
            return Err(Failure::damaged(found.replace('\n', ": ")));
        }
    }
    Ok(())
}

/// Checks as much of the content as takes no time.
pub(crate) fn check_content(connection: &Connection) -> Outcome<StoreState> {
    schema::verify(connection)?;
    let state = StoreState::read(connection)?;
    let newest = newest_entry(connection)?;
    check_ends(&state, newest.as_ref())?;
    if state.floor.place.seq > state.swept {
        check_floor(connection, &state)?;
    }
    Ok(state)
}

pub(crate) fn newest_entry(connection: &Connection) -> Outcome<Option<EntryRow>> {
    let sql = format!(
        "SELECT {} FROM entries ORDER BY seq DESC LIMIT 1",
        EntryRow::COLUMNS
    );
    let mut select = connection.prepare(&sql)?;
    let newest = select.query_row([], |row| Ok(EntryRow::read(row)));
    newest.optional()?.transpose()
}

/// Fails if the state contradicts the newest entry.
fn check_ends(state: &StoreState, newest: Option<&EntryRow>) -> Outcome<()> {
    let floor = state.floor;
    let (last, time, total) = newest.map_or((0, 0, 0), |row| (row.seq, row.time, row.total));
    if last < state.last {
        let what = format!("it ends at entry {last}, and had {}", state.last);
        return Err(Failure::damaged(what));
    }
    let is_in_order = state.swept <= floor.place.seq
        && (floor.place.seq < last || last == 0)
        && state.indexed <= last
        && floor.time <= time
        && floor.total <= total
        && state.removed.seq <= floor.place.seq
        && state.removed.count <= state.removed.seq
        && state.forgotten_through <= floor.place.seq
        && state.ends_since <= floor.place.seq + 1;
    if is_in_order {
        Ok(())
    } else {
        Err(Failure::damaged("its numbers contradict each other"))
    }
}

/// Fails if the newest removed entry, which still exists, is not the one that the state names.
fn check_floor(connection: &Connection, state: &StoreState) -> Outcome<()> {
    let sql = format!("SELECT {} FROM entries WHERE seq = ?1", EntryRow::COLUMNS);
    let mut select = connection.prepare(&sql)?;
    let floor = state.floor;
    let row = select.query_row([floor.place.seq.cast_signed()], |row| {
        Ok(EntryRow::read(row))
    });
    let is_it = |row: EntryRow| {
        row.check == floor.place.check && row.time == floor.time && row.total == floor.total
    };
    if row.optional()?.transpose()?.is_some_and(is_it) {
        Ok(())
    } else {
        Err(Failure::damaged(
            "its oldest entry does not follow the removed ones",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_store_opens_again_and_is_locked_meanwhile() {
        let directory = std::env::temp_dir().join(random_epoch().as_str());
        fs::create_dir(&directory).unwrap();
        let path = directory.join("events.db");
        assert_eq!(
            StoreFile::open(&path).unwrap_err().kind(),
            &StoreErrorKind::Missing
        );
        let created = StoreFile::open_or_create(&path).unwrap();
        let holder = Some(std::process::id());
        assert_eq!(
            StoreFile::open(&path).unwrap_err().kind(),
            &StoreErrorKind::Locked { holder }
        );
        let state = created.state.clone();
        drop(created);
        assert_eq!(StoreFile::open(&path).unwrap().state, state);
        fs::remove_dir_all(&directory).unwrap();
    }
}
