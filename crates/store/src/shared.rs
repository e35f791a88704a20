//! `Shared`: what the handles, the writer and the readers of a store share.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use tidings_hub::{Bounds, LogError, Place};
use tidings_proto::Epoch;
use tokio::sync::Notify;

use crate::StoreOptions;
use crate::queue::Queue;
use crate::read_cache::ReadCache;
use crate::readers::Readers;
use crate::recent_entries::RecentEntries;
use crate::recent_index::RecentIndex;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) path: PathBuf,
    pub(crate) options: StoreOptions,
    pub(crate) queue: Queue,
    pub(crate) readers: Readers,
    pub(crate) read_cache: ReadCache,
    /// The writer adds the rows of a commit before it [publishes](Published) the entries.
    pub(crate) recent_index: RwLock<RecentIndex>,
    /// Read by each connection of the operator, and written by the close of the store, which so waits for
    /// them.
    pub(crate) operated: RwLock<()>,
    published: Mutex<Published>,
    /// Notified after each change of what is published.
    pub(crate) changed: Notify,
}

/// What the store shows of its committed entries, without a look at the disk. Only the writer changes it.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) epoch: Epoch,
    pub(crate) floor: Place,
    pub(crate) last: Place,
    pub(crate) ends_since: u64,
    pub(crate) recent: RecentEntries,
    /// Why the store answers nothing any more: it was closed, or its writer has failed.
    pub(crate) failure: Option<LogError>,
}

impl Shared {
    pub(crate) fn new(
        path: PathBuf,
        options: StoreOptions,
        readers: Readers,
        recent_index: RecentIndex,
        published: Published,
    ) -> Self {
        Self {
            path,
            options,
            queue: Queue::default(),
            readers,
            read_cache: ReadCache::default(),
            recent_index: RwLock::new(recent_index),
            operated: RwLock::new(()),
            published: Mutex::new(published),
            changed: Notify::new(),
        }
    }

    pub(crate) fn published(&self) -> MutexGuard<'_, Published> {
        self.published
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is published, and wakes the tails.
    pub(crate) fn publish(&self, change: impl FnOnce(&mut Published)) {
        change(&mut self.published());
        self.changed.notify_waiters();
    }

    /// Why the store answers nothing any more, if it does not.
    pub(crate) fn failure(&self) -> Option<LogError> {
        self.published().failure.clone()
    }

    /// Waits for the connections of the operator. The store must have failed, so that no others follow.
    pub(crate) fn wait_for_operator(&self) {
        drop(self.operated.write());
    }

    /// From now on, every question fails with this error, unless one has set an earlier error.
    pub(crate) fn fail(&self, failure: LogError) {
        self.publish(|published| {
            published.failure.get_or_insert(failure);
        });
    }
}

impl Published {
    /// The bounds of the log.
    pub(crate) fn bounds(&self) -> Result<Bounds, LogError> {
        match &self.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(Bounds::new(
                self.epoch.clone(),
                self.floor,
                self.last,
                self.ends_since,
            )),
        }
    }
}
