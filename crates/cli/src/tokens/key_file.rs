//! The file of a key set: how it is read, and how a new one is written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use super::key_set::KeySet;

/// The largest key file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A key set from a file.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) keys: KeySet,
    /// For the operator.
    pub(crate) warning: Option<String>,
}

/// Reads the keys of a file: a JWK, a JWK set, or a PEM.
///
/// # Errors
/// Names the file and its fault, and never shows its text.
pub(crate) fn load(path: &Path) -> Result<Loaded, String> {
    let shown = path.display();
    let (text, everyone_reads) = read(path).map_err(|error| format!("{shown}: {error}"))?;
    let keys = KeySet::parse(&text).map_err(|error| format!("{shown}: {error}"))?;
    let is_exposed = everyone_reads && keys.can_sign();
    let warning = is_exposed.then(|| {
        format!(
            "every user of this machine can read {shown}, and make tokens with it; allow only yours: chmod 600 {shown}"
        )
    });
    Ok(Loaded { keys, warning })
}

/// The text of the file, and whether every user may read it.
fn read(path: &Path) -> io::Result<(String, bool)> {
    let file = File::open(path)?;
    let everyone_reads = everyone_reads(&file)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let message = format!("a key file has at most {MAX_FILE_BYTES} bytes");
        return Err(io::Error::other(message));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| io::Error::other("expected a JWK, a JWK set, or a PEM of a key"))?;
    Ok((text, everyone_reads))
}

#[cfg(unix)]
fn everyone_reads(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;

    Ok(file.metadata()?.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn everyone_reads(_: &File) -> io::Result<bool> {
    Ok(false)
}

/// A file to be made.
#[derive(Debug)]
pub(super) struct NewFile<'a> {
    pub(super) path: &'a Path,
    pub(super) text: String,
    /// Only its owner may read it.
    pub(super) is_secret: bool,
}

/// Writes these new files, all or none. They replace no file.
///
/// # Errors
/// With the path of the file that could not be made.
pub(super) fn create_all(files: &[NewFile<'_>]) -> Result<(), String> {
    for (at, file) in files.iter().enumerate() {
        file.create().inspect_err(|_| {
            for made in &files[..at] {
                made.remove();
            }
        })?;
    }
    Ok(())
}

impl NewFile<'_> {
    fn create(&self) -> Result<(), String> {
        let named = |error: io::Error| format!("{}: {error}", self.path.display());
        let mut file = self.open().map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                let shown = self.path.display();
                format!("{shown} exists already; choose another file, or move it away")
            }
            _ => named(error),
        })?;
        let written = file.write_all(self.text.as_bytes());
        written.and_then(|()| file.sync_all()).map_err(|error| {
            self.remove();
            named(error)
        })
    }

    fn open(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        if self.is_secret {
            use std::os::unix::fs::OpenOptionsExt;

            options.mode(0o600);
        }
        options.open(self.path)
    }

    /// Removes what was made, if that is possible.
    fn remove(&self) {
        fs::remove_file(self.path).ok();
    }
}
