//! The files of the bench: a folder beside the program, which is on a disk and not in memory.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

use crate::harness::Result;

/// The folder of one sample, which is removed with its files.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Result<Self> {
        let folder = root()?.join(std::process::id().to_string());
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    pub fn file(&self) -> PathBuf {
        self.0.join("events.db")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A file that is left is removed with the root.
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A store that several samples use, and whether it is complete.
pub fn kept(name: &str) -> Result<(PathBuf, bool)> {
    let folder = root()?.join(name);
    let is_complete = folder.join("complete").exists();
    if !is_complete && folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok((folder.join("events.db"), is_complete))
}

/// Marks a kept store as complete.
pub fn complete(store: &Path) -> Result<()> {
    File::create(store.with_file_name("complete"))?;
    Ok(())
}

/// Removes all files of the bench.
pub fn clean() -> Result<()> {
    let root = root()?;
    if root.exists() {
        fs::remove_dir_all(root)?;
    }
    Ok(())
}

fn root() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.with_file_name("store-bench"))
}

/// The space that the files of a store take on the disk, in bytes.
pub fn disk_bytes(store: &Path) -> Result<u64> {
    let mut bytes = 0;
    for file in files(store)? {
        bytes += file.metadata()?.blocks() * 512;
    }
    Ok(bytes)
}

/// Drops a store's files from the memory of the operating system, so that the next reader needs the disk.
pub fn cool(store: &Path) -> Result<()> {
    for file in files(store)? {
        // Only a page that is on the disk can be dropped.
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// The database and its write-ahead log. The closing of such a descriptor would drop the locks that this
/// process has on the file, so no store of this process may be open.
fn files(store: &Path) -> Result<Vec<File>> {
    let mut name = store.as_os_str().to_owned();
    name.push("-wal");
    let mut files = Vec::new();
    for path in [store, Path::new(&name)] {
        if path.exists() {
            files.push(OpenOptions::new().read(true).write(true).open(path)?);
        }
    }
    Ok(files)
}
