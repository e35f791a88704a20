//! `StoreLock`: the lock that keeps other processes out of a store.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::process;

use crate::location;
use crate::reading::Reading;
use crate::{StoreError, StoreErrorKind};

/// The most bytes of a lock file that are read. A process number has at most 10 digits.
const MAX_BYTES: u64 = 32;

/// The lock of a store, until it is dropped.
///
/// It is the lock of a file beside the store, because SQLite loses its own locks when the process closes any
/// descriptor of the database. The file stays when the lock is released: if it were removed, two processes
/// could hold the locks of two files with one name. The system releases the lock of a process that was
/// killed.
#[derive(Debug)]
pub(crate) struct StoreLock {
    file: File,
}

impl StoreLock {
    /// Locks the store at this resolved path. It does not wait. Fails if another process has the lock, or if
    /// this process reads the store without it.
    pub(crate) fn take(path: &Path) -> Result<Self, StoreError> {
        refuse_own_reader(path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let opened = options.open(location::beside(path, ".lock"));
        let mut file = opened.map_err(|error| StoreError::io(path, error))?;
        match file.try_lock() {
            Ok(()) => {
                let mut lock = Self { file };
                // A reader of this process may have given the lock up in between.
                refuse_own_reader(path)?;
                // The number only helps to find the process, so a full disk is no reason to stop.
                write_holder(&mut lock.file, process::id()).unwrap_or_default();
                Ok(lock)
            }
            Err(TryLockError::WouldBlock) => {
                let holder = read_holder(&mut file);
                Err(StoreError::new(StoreErrorKind::Locked { holder }, path))
            }
            Err(TryLockError::Error(error)) => Err(StoreError::io(path, error)),
        }
    }
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        // A process that reads the file afterwards must not take the number for that of a holder.
        self.file.set_len(0).unwrap_or_default();
        // A program that this process starts has a copy of the descriptor for a moment, and with it the lock.
        self.file.unlock().unwrap_or_default();
    }
}

/// Fails if this process reads the store without its lock.
fn refuse_own_reader(path: &Path) -> Result<(), StoreError> {
    if Reading::is_active(path) {
        let holder = Some(process::id());
        return Err(StoreError::new(StoreErrorKind::Locked { holder }, path));
    }
    Ok(())
}

fn write_holder(file: &mut File, holder: u32) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{holder}")
}

fn read_holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::Directory;

    #[test]
    fn a_released_lock_is_free_although_a_new_process_has_a_copy() {
        let directory = Directory::new();
        let path = directory.path().join("events.db");
        let lock = StoreLock::take(&path).unwrap();
        // A process that is started has the same until it runs its program.
        let copy = lock.file.try_clone().unwrap();
        let error = StoreLock::take(&path).unwrap_err();
        let holder = Some(process::id());
        assert_eq!(error.kind(), &StoreErrorKind::Locked { holder });
        drop(lock);
        drop(StoreLock::take(&path).unwrap());
        drop(copy);
    }
}
