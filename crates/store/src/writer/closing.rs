//! How the writer ends.

use tokio::sync::oneshot;

use super::Sync;
use super::thread::Thread;
use crate::{Durability, StoreError, StoreErrorKind};

/// The end of a writer whose store was closed.
pub(super) struct Close {
    pub(super) reply: oneshot::Sender<Result<(), StoreError>>,
    pub(super) result: Result<(), StoreError>,
}

impl Thread {
    /// Closes everything after the last commit.
    pub(super) fn close(mut self, Close { reply, result }: Close) {
        self.trims.clear();
        let path = &self.shared.path;
        self.shared
            .fail(StoreError::new(StoreErrorKind::Closed, path).into());
        self.release();
        // Nobody may wait any more.
        drop(reply.send(result));
    }

    /// Closes everything, and releases the lock after that.
    pub(super) fn release(self) {
        self.shared.readers.close();
        self.shared.wait_for_operator();
        let file = self.checkpointer.stop(&self.writer.connection);
        drop(self.writer);
        drop(file);
        drop(self.lock);
    }

    /// Writes that the store is closed in order.
    pub(super) fn last_commit(&mut self) -> Result<(), StoreError> {
        self.finish_sweep();
        if let Some(error) = self.checkpointer.failure() {
            return Err(error.clone());
        }
        if self.is_broken {
            self.reopen()?;
        }
        let (index, now) = (&self.shared.recent_index, self.writer.clock.now());
        let (settings, must_write) = (self.settings, self.durability() == Durability::Buffered);
        let must_write = must_write || self.sync_at.is_some();
        let last = self.writer.head.last();
        let committed = self
            .writer
            .commit(index, &settings, Sync::Full, now, |commit| {
                let state = &mut commit.staged.head.state;
                state.syncs += u64::from(must_write);
                state.is_unsynced = false;
                // So that the next open sees if the newest entries are missing.
                state.last = last;
                Ok(())
            });
        match committed {
            Ok(((), staged)) => {
                self.publish(staged);
                Ok(())
            }
            Err(broken) => Err(self.note_loss(broken.failure)),
        }
    }
}
