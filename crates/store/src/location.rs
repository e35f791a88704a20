//! The files of a store: their names, and what is done to them as a whole.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::{StoreError, StoreErrorKind};

/// The most symbolic links to files that do not exist yet, one after the other.
const MAX_LINKS: u32 = 40;

/// The path of a store without symbolic links, so that all paths of one file have one lock. The file need not
/// exist, its directory must.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, StoreError> {
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::canonicalize(&target) {
            Ok(resolved) => return Ok(resolved),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io(path, error));
            }
            Err(_) => {}
        }
        let (directory, name) = split(&target)?;
        let directory = fs::canonicalize(directory)
            .map_err(|error| StoreError::because(StoreErrorKind::NoDirectory, path, error))?;
        let resolved = directory.join(name);
        let Ok(next) = fs::read_link(&resolved) else {
            return Ok(resolved);
        };
        target = directory.join(next);
    }
    let error = io::Error::other("there are too many symbolic links");
    Err(StoreError::because(StoreErrorKind::Io, path, error))
}

/// The directory and the name of a file.
fn split(path: &Path) -> Result<(&Path, &std::ffi::OsStr), StoreError> {
    let Some(name) = path.file_name() else {
        return Err(StoreError::not_a_store(path, "it has no file name"));
    };
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    Ok((directory.unwrap_or(Path::new(".")), name))
}

/// The path with this text after its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// The length of a file; 0 if there is none.
pub(crate) fn length(path: &Path) -> io::Result<u64> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Removes a database that was not finished, with all files of SQLite beside it.
pub(crate) fn remove(database: &Path) -> io::Result<()> {
    for suffix in ["", "-journal", "-wal", "-shm"] {
        match fs::remove_file(beside(database, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Gives a finished database its name, durably. No connection may have it open.
pub(crate) fn put_in_place(finished: &Path, path: &Path) -> io::Result<()> {
    File::options().write(true).open(finished)?.sync_all()?;
    fs::rename(finished, path)?;
    sync_directory(path)
}

/// Makes the names of the files in the directory of this path durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    // Windows has no such call for directories, and makes names durable itself.
    if cfg!(windows) {
        return Ok(());
    }
    File::open(directory)?.sync_all()
}
