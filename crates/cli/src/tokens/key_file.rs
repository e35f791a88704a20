//! The file of a key set: how it is read, and how a new one is written.

use std::fs::{File, OpenOptions};
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

/// Writes a new file, which only its owner reads if it holds a secret. It replaces no file.
///
/// # Errors
/// With the path of the file.
pub(super) fn create(path: &Path, text: &str, is_secret: bool) -> Result<(), String> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if is_secret {
        use std::os::unix::fs::OpenOptionsExt;

        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = is_secret;
    let written = options.open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| {
        let shown = path.display();
        match error.kind() {
            io::ErrorKind::AlreadyExists => {
                format!("{shown} exists already; choose another file, or move it away")
            }
            _ => format!("{shown}: {error}"),
        }
    })
}
