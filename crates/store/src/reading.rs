//! `Reading`: the stores that this process reads without their lock.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The resolved paths of all of them.
static PATHS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Keeps this process from taking the lock of a store, until it is dropped.
///
/// A process that opens a store reads the beginning of its file without SQLite. When it closes that
/// descriptor, the system releases all locks that SQLite holds for this process, also those of a connection
/// that reads the same store. Another process can then take that connection for closed.
#[derive(Debug)]
pub(crate) struct Reading(PathBuf);

impl Reading {
    pub(crate) fn begin(path: &Path) -> Self {
        paths().push(path.to_owned());
        Self(path.to_owned())
    }

    /// Whether this process reads the store at this resolved path.
    pub(crate) fn is_active(path: &Path) -> bool {
        paths().iter().any(|read| read == path)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut paths = paths();
        if let Some(at) = paths.iter().position(|read| *read == self.0) {
            paths.swap_remove(at);
        }
    }
}

fn paths() -> MutexGuard<'static, Vec<PathBuf>> {
    PATHS.lock().unwrap_or_else(PoisonError::into_inner)
}
