//! `TempDir`: a directory of a test, which is removed with its files.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, fs, process};

/// A new directory of a test. It is removed with its files when it is dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// A directory on the disk.
    ///
    /// # Panics
    /// If it cannot be created.
    #[must_use]
    pub fn new() -> Self {
        Self::within(&env::temp_dir())
    }

    /// A directory in memory if the system has a place for that, otherwise on the disk. Use it for a test
    /// that is about answers, not about the disk after a crash.
    ///
    /// # Panics
    /// If it cannot be created.
    #[must_use]
    pub fn in_memory() -> Self {
        let shared_memory = Path::new("/dev/shm");
        if shared_memory.is_dir() {
            Self::within(shared_memory)
        } else {
            Self::new()
        }
    }

    /// Copies these files of another directory into this one, as they are now and in this order.
    ///
    /// Another process does it: if this one closed a file that it has locked, it would lose the lock.
    ///
    /// # Panics
    /// If one of them cannot be copied.
    #[allow(clippy::panic, reason = "a failed test is a panic")]
    pub fn copy_from(&self, directory: &Path, names: &[&str]) {
        for name in names {
            let from = directory.join(name);
            let copied = Command::new("cp").arg(&from).arg(&self.0).status();
            match copied {
                Ok(status) if status.success() => {}
                failed => panic!("{}: {failed:?}", from.display()),
            }
        }
    }

    #[allow(clippy::panic, reason = "a failed test is a panic")]
    fn within(parent: &Path) -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let random = fastrand::u32(..);
        let name = format!("tidings-test-{}-{number}-{random:08x}", process::id());
        let path = parent.join(name);
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }
}

impl Default for TempDir {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for TempDir {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A process that was killed leaves its directory too, so this is best effort.
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}
