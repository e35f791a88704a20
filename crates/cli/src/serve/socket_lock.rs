//! `SocketLock`: the lock that one server at a time holds while it makes or removes its Unix socket.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::process::geteuid;
use tokio::time::{Instant, sleep};

/// How long a server waits for the lock, and how often it tries. A server holds it for milliseconds.
const TIME: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

/// The lock, until it is dropped or the process ends.
///
/// It is the lock of a file beside the socket, `.lock`, which only the user of the server can open: the
/// directory itself, such as `/tmp`, could be locked by every user. The file stays: if it were removed, two
/// servers could hold the locks of two files with one name.
#[derive(Debug)]
pub(super) enum SocketLock {
    Held(#[expect(dead_code, reason = "held")] File),
    /// The file system has no such lock, or another user has made the file. Then two servers that start at
    /// the same moment on the socket of a dead one could both take it, which is no reason to start none.
    Unavailable(io::Error),
}

impl SocketLock {
    /// Waits for the lock of this socket.
    ///
    /// # Errors
    /// Another process of this user holds the lock for long.
    pub(super) async fn take(socket: &Path) -> io::Result<Self> {
        let file = match open(socket) {
            Ok(file) => file,
            Err(error) => return Ok(Self::Unavailable(error)),
        };
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self::Held(file)),
                Err(TryLockError::Error(error)) => return Ok(Self::Unavailable(error)),
                Err(TryLockError::WouldBlock) if start.elapsed() >= TIME => {
                    let text = "another program has locked the file `.lock` beside it";
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
                }
                Err(TryLockError::WouldBlock) => sleep(PAUSE).await,
            }
        }
    }

    /// Logs that there is no lock.
    pub(super) fn warn(&self) {
        if let Self::Unavailable(error) = self {
            tracing::warn!(%error, "the socket has no lock; start one server at a time on it");
        }
    }
}

/// Opens the file of the lock, or makes it. It follows no link, and waits for no FIFO.
fn open(socket: &Path) -> io::Result<File> {
    let mut path = OsString::from(socket);
    path.push(".lock");
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    // For writing too: over NFS, only a file that is open for writing can be locked.
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).custom_flags(flags.bits().cast_signed());
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() && metadata.uid() == geteuid().as_raw() {
        return Ok(file);
    }
    Err(io::Error::other(
        "the file `.lock` beside it is not one of this user",
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tidings_testkit::temp_dir::TempDir;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_if_another_process_of_its_user_keeps_the_lock() {
        let folder = TempDir::new();
        let socket = folder.join("events.sock");
        let lock = SocketLock::take(&socket).await.unwrap();
        assert!(matches!(lock, SocketLock::Held(_)));
        let refused = SocketLock::take(&socket).await.unwrap_err();
        assert!(refused.to_string().contains("has locked"), "{refused}");
        drop(lock);
        let lock = SocketLock::take(&socket).await.unwrap();
        assert!(matches!(lock, SocketLock::Held(_)));
        let mode = fs::metadata(folder.join("events.sock.lock")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_of_the_directory_is_of_no_interest() {
        let folder = TempDir::new();
        let directory = File::open(folder.join("")).unwrap();
        directory.lock().unwrap();
        let lock = SocketLock::take(&folder.join("events.sock")).await.unwrap();
        assert!(matches!(lock, SocketLock::Held(_)));
    }

    #[tokio::test]
    async fn what_is_no_file_of_its_user_is_not_locked_and_not_changed() {
        let folder = TempDir::new();
        let [link, directory, missing] =
            ["link", "directory", "missing/a"].map(|name| folder.join(name));
        let victim = folder.join("victim");
        fs::write(&victim, "text").unwrap();
        symlink(&victim, folder.join("link.lock")).unwrap();
        fs::create_dir(folder.join("directory.lock")).unwrap();
        for socket in [link, directory, missing] {
            let lock = SocketLock::take(&socket).await.unwrap();
            assert!(matches!(lock, SocketLock::Unavailable(_)), "{socket:?}");
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "text");
    }
}
