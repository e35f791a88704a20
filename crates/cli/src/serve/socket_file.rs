//! `SocketFile`: the file of the server's Unix socket, which one server at a time makes or removes.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixSocket, UnixStream};

use super::listen::SocketMode;
use super::socket_lock::SocketLock;

/// How many clients may wait until the server accepts them.
const BACKLOG: u32 = 1024;

const NO_SOCKET: &str = "the file is no socket; choose another path, or remove it";

/// The device and the number of a file, and when it was made.
type Identity = (u64, u64, i64, i64);

/// The file of a Unix socket.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

impl SocketFile {
    /// Listens on the socket at this path. Replaces a socket that a dead server has left.
    pub(super) async fn listen(
        path: &Path,
        mode: SocketMode,
    ) -> Result<(Self, UnixListener), String> {
        // Otherwise two servers could find the same dead socket, and the slower one would remove the socket
        // of the faster one.
        let lock = SocketLock::take(path).await;
        let lock = lock.map_err(|error| refused(path, error))?;
        let bound = match bind(path, mode) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                remove_stale(path).await?;
                bind(path, mode)
            }
            bound => bound,
        };
        let listening = bound.map_err(|error| cannot(path, error))?;
        lock.warn();
        Ok(listening)
    }

    /// Removes the file, unless it is another server's by now.
    pub(super) async fn remove(self) {
        let path = &self.path;
        let removed = match SocketLock::take(path).await {
            Ok(_lock) if self.is_current() => fs::remove_file(path),
            Ok(_) => return,
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::warn!(%error, path = %path.display(), "the socket is not removed");
        }
    }

    fn is_current(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|file| identity(&file) == self.identity)
    }
}

fn bind(path: &Path, mode: SocketMode) -> io::Result<(SocketFile, UnixListener)> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let listening = (|| {
        // Before it listens: until then nobody can connect.
        fs::set_permissions(path, Permissions::from_mode(mode.0))?;
        let identity = identity(&fs::symlink_metadata(path)?);
        Ok((identity, socket.listen(BACKLOG)?))
    })();
    match listening {
        Ok((identity, listener)) => {
            let path = path.to_owned();
            Ok((SocketFile { path, identity }, listener))
        }
        Err(error) => {
            fs::remove_file(path).ok();
            Err(error)
        }
    }
}

/// A file that is another one by now may have the same number, but not the same time.
fn identity(file: &fs::Metadata) -> Identity {
    (file.dev(), file.ino(), file.mtime(), file.mtime_nsec())
}

/// Checks whether the server could listen at this path, if no other program listens there.
///
/// # Errors
/// The reason why not, with the path.
pub(super) fn check(path: &Path) -> Result<(), String> {
    if SocketAddr::from_pathname(path).is_err() {
        return Err(refused(path, too_long()));
    }
    match fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => Err(refused(path, NO_SOCKET)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot(path, error)),
        _ => Ok(()),
    }
}

/// The length that the system's type for the address of a Unix socket allows.
fn too_long() -> String {
    let most = (1..4_096)
        .take_while(|bytes| SocketAddr::from_pathname("x".repeat(*bytes)).is_ok())
        .last();
    let most = most.unwrap_or_default();
    format!("the path of a Unix socket has at most {most} bytes; choose a shorter one")
}

/// Removes a socket on which no process listens.
async fn remove_stale(path: &Path) -> Result<(), String> {
    let file = fs::symlink_metadata(path).map_err(|error| cannot(path, error))?;
    if !file.file_type().is_socket() {
        return Err(refused(path, NO_SOCKET));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| cannot(path, error))
        }
        Ok(_) => {
            let why = "another program listens there; stop it, or choose another path";
            Err(refused(path, why))
        }
        Err(error) => {
            let why = format!("the socket exists, and does not answer: {error}");
            Err(refused(path, why))
        }
    }
}

fn refused(path: &Path, why: impl std::fmt::Display) -> String {
    format!("cannot listen on unix:{}: {why}", path.display())
}

fn cannot(path: &Path, error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::InvalidInput => refused(path, too_long()),
        io::ErrorKind::NotFound => refused(path, "its directory does not exist"),
        io::ErrorKind::PermissionDenied => {
            refused(path, "this process may not write to its directory")
        }
        _ => refused(path, error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use futures_util::future::join_all;
    use tidings_testkit::temp_dir::TempDir;
    use tidings_testkit::timeout::timeout;
    use tokio::sync::Barrier;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);
    const STARTS: usize = 8;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn one_of_several_servers_replaces_a_dead_socket() {
        let folder = TempDir::new();
        let path = Arc::new(folder.join("events.sock"));
        for round in 0..200 {
            drop(UnixListener::bind(&*path).unwrap());
            let together = Arc::new(Barrier::new(STARTS));
            let starts = (0..STARTS).map(|_| {
                let (path, together) = (Arc::clone(&path), Arc::clone(&together));
                tokio::spawn(async move {
                    together.wait().await;
                    SocketFile::listen(&path, SocketMode(0o600)).await
                })
            });
            let ends = timeout(LIMIT, join_all(starts)).await.unwrap();
            let (listening, refused): (Vec<_>, Vec<_>) = ends
                .into_iter()
                .map(Result::unwrap)
                .partition(Result::is_ok);
            assert_eq!(listening.len(), 1, "{round}: {refused:?}");
            for refused in refused {
                let why = refused.unwrap_err();
                assert!(why.contains("another program listens there"), "{why}");
            }
            let connected = timeout(LIMIT, UnixStream::connect(&*path)).await;
            connected.unwrap().unwrap();
            for listening in listening {
                let (file, listener) = listening.unwrap();
                drop(listener);
                file.remove().await;
            }
            assert!(!path.exists());
        }
    }

    #[tokio::test]
    async fn a_server_that_ends_keeps_the_socket_of_its_successor() {
        let folder = TempDir::new();
        let path = folder.join("events.sock");
        let listen = || SocketFile::listen(&path, SocketMode(0o600));
        let (old, listener) = listen().await.unwrap();
        drop(listener);
        let (new, _listener) = listen().await.unwrap();
        old.remove().await;
        UnixStream::connect(&path).await.unwrap();
        new.remove().await;
        assert!(!path.exists());
    }
}
