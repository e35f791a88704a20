//! A store for a server, in a folder of its own.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, id};
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) struct Store {
    folder: PathBuf,
}

impl Store {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tidings-servers-{}-{number}", id()));
        fs::create_dir(&folder).expect("a new folder");
        Self { folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join("events.db")
    }

    /// The command of a server that keeps its events here.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("STORE", self.path());
        command
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).ok();
    }
}
