//! `StoreOptions`: the settings of a store, and how it is opened.

use std::path::Path;

use tidings_hub::Retention;

use crate::{Durability, StoreError, StoreLog};

/// The settings of a [`StoreLog`].
///
/// ```no_run
/// use std::time::Duration;
///
/// use tidings_hub::{Hub, Retention};
/// use tidings_store::{Durability, StoreLog};
///
/// # fn main() -> Result<(), tidings_store::StoreError> {
/// let day = Duration::from_secs(24 * 3600);
/// let log = StoreLog::options()
///     .retention(Retention::durable().max_age(Some(day)))
///     .durability(Durability::Interval(Duration::from_millis(100)))
///     .open("events.db")?;
/// let hub = Hub::over(log);
/// # drop(hub);
/// # Ok(())
/// # }
/// ```
#[must_use]
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    pub(crate) retention: Retention,
    pub(crate) durability: Durability,
    pub(crate) index_batch: usize,
    pub(crate) checkpoint_pages: u32,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            retention: Retention::durable(),
            durability: Durability::default(),
            index_batch: 32_768,
            checkpoint_pages: 4_000,
        }
    }
}

impl StoreOptions {
    /// Sets how many events the store keeps, and for how long. Default: [`Retention::durable`], 1 GiB and
    /// 7 days.
    ///
    /// The store removes old entries in the background of its appends. A retention that is much smaller than
    /// what the file holds takes effect step by step.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Sets when an acknowledged event is safe on the disk. Default: [`Durability::EveryCommit`].
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets how many entries the index by channel on the disk may be behind. Default: 32,768; at least 1.
    ///
    /// The index of newer entries is in memory, about 100 bytes an entry, at most three times this number;
    /// while a damaged page keeps it from being written, at most 32 times, and then appends are refused. A
    /// larger number writes fewer bytes an event, and makes each open slower. A channel without entries may
    /// be [forgotten](Retention::remembered_channels) as many entries later. A small log is at most an eighth
    /// of its entries behind.
    pub fn index_batch(mut self, entries: usize) -> Self {
        self.index_batch = entries.max(1);
        self
    }

    /// Sets how many pages of 4 KiB the write-ahead log gets before they are moved into the database file.
    /// Default: 4,000, which are 16 MiB; at least 1.
    ///
    /// The write-ahead log is the file with `-wal` at its end. At six times this number, publishers wait
    /// until it is moved. It grows beyond that only while a backup, a check, an export or another program
    /// reads the store for long.
    pub fn checkpoint_pages(mut self, pages: u32) -> Self {
        self.checkpoint_pages = pages.max(1);
        self
    }

    /// Opens the store in this file, or creates it.
    ///
    /// It blocks: usually for milliseconds, and for up to some seconds after a crash.
    ///
    /// # Errors
    /// [`StoreErrorKind`](crate::StoreErrorKind) lists all kinds.
    pub fn open(self, path: impl AsRef<Path>) -> Result<StoreLog, StoreError> {
        StoreLog::open_with(path.as_ref(), self)
    }
}
