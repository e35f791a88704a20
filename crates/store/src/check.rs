//! The check of a store: whether it contains what was written.

mod entries;
mod examination;
mod index;
mod problems;

use std::fmt;
use std::path::Path;

use rusqlite::Connection;

use crate::live::LiveConnection;
use crate::source::Source;
use crate::{StoreError, StoreErrorKind, StoreLog};
use examination::Examination;
use problems::Problems;

/// What the check of a store has found.
///
/// `Display` writes it as a few lines of text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// The size of the database, in bytes, without its `-wal` file.
    pub bytes: u64,
    /// The number of the newest entry that was removed; 0 if there is none.
    pub floor: u64,
    /// The number of the newest entry; 0 if there is none.
    pub last: u64,
    /// How many entries were read: events and ends.
    pub entries: u64,
    /// The number of channels that have entries, or that the store remembers.
    pub channels: u64,
    /// How many of them have ended.
    pub ended: u64,
    /// What is wrong, in the order in which it was found; at most 100 of each kind.
    pub problems: Vec<String>,
    /// How many more problems there are.
    pub more_problems: u64,
}

impl CheckReport {
    /// Whether there is no problem.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty() && self.more_problems == 0
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            bytes,
            floor,
            last,
            entries,
            channels,
            ended,
            ..
        } = self;
        writeln!(
            f,
            "{entries} entries, {floor} removed, {last} in all; {channels} channels, {ended} of them ended; \
             {bytes} bytes"
        )?;
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        match (self.is_sound(), self.more_problems) {
            (true, _) => f.write_str("no problem was found"),
            (_, 0) => write!(
                f,
                "the store is damaged; restore a backup, or salvage the intact events and import them"
            ),
            (_, more) => write!(
                f,
                "and {more} more problems; the store is damaged; restore a backup, or salvage the intact events and import them"
            ),
        }
    }
}

/// Checks the store in this file: every page, every sum, the numbers of the entries, and that the index by
/// channel has exactly the entries.
///
/// A problem is no error: it is in the report. The check changes nothing, except that SQLite recovers the
/// file after a crash. It takes about 150 bytes of memory for each channel.
///
/// The check reads what the store contains at its start, also if another process uses or opens the store.
/// Until it returns, the `-wal` file of the store grows with each append, and this process cannot open the
/// store. Nobody can open a store meanwhile that was never opened since it was imported or restored.
///
/// # Blocking
/// It reads the whole file; in an asynchronous program, call it within `spawn_blocking`.
///
/// # Errors
/// [`StoreErrorKind`] lists all kinds. [`NotAStore`](StoreErrorKind::NotAStore) and
/// [`NewerFormat`](StoreErrorKind::NewerFormat) if there is nothing that can be checked.
pub fn check(path: impl AsRef<Path>) -> Result<CheckReport, StoreError> {
    match Source::open_unchecked(path.as_ref()) {
        Ok(source) => Ok(examine(&source)),
        Err(error) => damage(error),
    }
}

/// The report of a file that is so damaged that SQLite cannot open it.
fn damage(error: StoreError) -> Result<CheckReport, StoreError> {
    match error.kind() {
        StoreErrorKind::Damaged { what } => Ok(CheckReport {
            problems: vec![what.clone()],
            ..CheckReport::default()
        }),
        _ => Err(error),
    }
}

impl StoreLog {
    /// Checks what the store contains now, while it is in use; see [`check`](crate::check()).
    ///
    /// Until it returns, the `-wal` file of the store grows with each append.
    ///
    /// # Blocking
    /// It reads the whole file; in an asynchronous program, call it within `spawn_blocking`.
    ///
    /// # Errors
    /// [`StoreErrorKind`] lists all kinds.
    pub fn check(&self) -> Result<CheckReport, StoreError> {
        LiveConnection::open(self.shared()).map(|connection| examine(&connection))
    }
}

fn examine(connection: &Connection) -> CheckReport {
    let mut problems = Problems::default();
    let mut report = CheckReport::default();
    // All of it is one state of the log.
    match connection.unchecked_transaction() {
        Ok(snapshot) => Examination::run(&snapshot, &mut report, &mut problems),
        Err(error) => problems.add("it cannot be read", error),
    }
    (report.problems, report.more_problems) = problems.into_parts();
    report
}
