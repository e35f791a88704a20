//! `Folder`: a directory of a test. It is removed when it is dropped.

use std::fs;
use std::path::{Path, PathBuf};

use tidings_testkit::temp_dir::TempDir;

use crate::disk::Files;

#[derive(Debug)]
pub(crate) struct Folder {
    /// Without symbolic links: strace shows paths as the program has passed them.
    path: PathBuf,
    _dir: TempDir,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new();
        let path = dir.canonicalize().unwrap();
        Self { path, _dir: dir }
    }

    /// A directory with these files.
    pub(crate) fn with(files: &Files) -> Self {
        let folder = Self::new();
        for (name, content) in files {
            fs::write(folder.path.join(name), content).unwrap();
        }
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the store.
    pub(crate) fn store(&self) -> PathBuf {
        self.path.join("events.db")
    }
}
