//! `LiveConnection`: a connection to a store in use, for what its operator does.

use std::ops::Deref;
use std::sync::RwLockReadGuard;

use rusqlite::Connection;

use crate::shared::Shared;
use crate::{StoreError, StoreErrorKind, connection};

/// A connection that only reads. The store is not closed before it is.
pub(crate) struct LiveConnection<'a> {
    connection: Connection,
    /// Released after the connection was closed.
    _open: RwLockReadGuard<'a, ()>,
}

impl<'a> LiveConnection<'a> {
    /// Fails if the store was closed or has failed.
    pub(crate) fn open(shared: &'a Shared) -> Result<Self, StoreError> {
        let path = &shared.path;
        // Never waits: the store may be waiting for the caller.
        let Ok(open) = shared.operated.try_read() else {
            return Err(StoreError::new(StoreErrorKind::Closed, path));
        };
        // From here on, a close waits.
        if let Err(error) = shared.published().bounds() {
            return Err(StoreError::because(StoreErrorKind::Closed, path, error));
        }
        Ok(Self {
            connection: connection::open_reader(path)?,
            _open: open,
        })
    }
}

impl Deref for LiveConnection<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

#[cfg(test)]
mod tests {
    use tidings_hub::Log;
    use tidings_testkit::temp_dir::TempDir;

    use super::*;
    use crate::StoreLog;

    #[tokio::test]
    async fn a_close_waits_for_a_connection() {
        let dir = TempDir::in_memory();
        let path = dir.join("events.db");
        let log = StoreLog::open(&path).unwrap();
        let connection = LiveConnection::open(log.shared()).unwrap();
        let closing = {
            let log = log.clone();
            tokio::spawn(async move { log.close().await })
        };
        while log.bounds().await.is_ok() {
            tokio::task::yield_now().await;
        }
        let again = LiveConnection::open(log.shared()).err().unwrap();
        assert_eq!(again.kind(), &StoreErrorKind::Closed);
        // Far longer than a close that does not wait.
        for _ in 0..2_000 {
            let error = StoreLog::open(&path).unwrap_err();
            let holder = Some(std::process::id());
            assert_eq!(error.kind(), &StoreErrorKind::Locked { holder });
        }
        drop(connection);
        closing.await.unwrap().unwrap();
        drop(StoreLog::open(&path).unwrap());
    }
}
