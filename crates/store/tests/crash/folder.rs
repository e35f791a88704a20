//! `Folder`: a directory of a test. It is removed when it is dropped.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, process};

use crate::disk::Files;

#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tidings-crash-{}-{number}", process::id());
        // strace shows paths as the program has passed them.
        let folder = env::temp_dir().canonicalize().unwrap().join(name);
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    /// A directory with these files.
    pub(crate) fn with(files: &Files) -> Self {
        let folder = Self::new();
        for (name, content) in files {
            fs::write(folder.0.join(name), content).unwrap();
        }
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The path of the store.
    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("events.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}
