//! `Listen`: where the server listens.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use tokio::net::TcpListener;

#[cfg(unix)]
pub(super) use unix_socket::SocketFile;

/// An address, or the path of a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Listen {
    /// Whether only this machine reaches it.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => return Err("expected the path of the socket after unix:".into()),
            Some(_) if cfg!(not(unix)) => return Err("this platform has no Unix sockets".into()),
            Some(path) => return Ok(Self::Unix(path.into())),
            None => {}
        }
        let address = text.parse().map_err(
            |_| "expected ADDRESS:PORT, such as 127.0.0.1:8080 or [::1]:8080, or unix:PATH",
        )?;
        Ok(Self::Tcp(address))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Listens on this address.
pub(super) async fn listen_on(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "another program listens there; stop it, or choose another port with --listen, such as 0 for a free one"
            }
            io::ErrorKind::AddrNotAvailable => "this machine does not have the address",
            io::ErrorKind::PermissionDenied => {
                "this process may not use the port; choose one from 1024 on"
            }
            _ => return format!("cannot listen on {address}: {error}"),
        };
        format!("cannot listen on {address}: {advice}")
    })
}

/// What the server prints when it listens: its address, and how to publish and to listen.
pub(super) fn greeting(listen: &Listen) -> String {
    let (listening, curl) = match listen {
        Listen::Tcp(address) => {
            let reachable = SocketAddr::new(reachable(address.ip()), address.port());
            (format!("http://{address}"), format!("http://{reachable}"))
        }
        Listen::Unix(path) => (
            listen.to_string(),
            format!(
                "--unix-socket {} http://localhost",
                quoted(&path.display().to_string())
            ),
        ),
    };
    format!(
        "listening on {listening}\n\
         publish: curl -d 'hello' {curl}/channels/news\n\
         listen:  curl -N {curl}/channels/news\n"
    )
}

/// An address by which this machine reaches a server on this one.
fn reachable(bound: IpAddr) -> IpAddr {
    match bound {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        bound => bound,
    }
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@:".contains(&byte);
    if path.bytes().all(is_plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

/// The mode of a Unix socket, such as `0660`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SocketMode(pub(super) u32);

impl FromStr for SocketMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let mode = u32::from_str_radix(text, 8)
            .ok()
            .filter(|mode| *mode <= 0o777);
        mode.map(Self)
            .ok_or("expected an octal number, such as 0600 or 0660")
    }
}

#[cfg(unix)]
mod unix_socket {
    use std::fs::{self, Permissions};
    use std::io;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
    use std::path::{Path, PathBuf};

    use tokio::net::{UnixListener, UnixSocket, UnixStream};

    use super::SocketMode;

    /// How many clients may wait until the server accepts them.
    const BACKLOG: u32 = 1024;

    /// The device and the number of a file, and when it was made.
    type Identity = (u64, u64, i64, i64);

    /// The file of a Unix socket. Dropping this removes the file, unless it is another server's by now.
    #[derive(Debug)]
    pub(crate) struct SocketFile {
        path: PathBuf,
        identity: Identity,
    }

    impl SocketFile {
        /// Listens on the socket at this path. Replaces a socket that a dead server has left.
        pub(crate) async fn listen(
            path: &Path,
            mode: SocketMode,
        ) -> Result<(Self, UnixListener), String> {
            let shown = path.display();
            match bind(path, mode) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    remove_stale(path).await?;
                    bind(path, mode)
                }
                bound => bound,
            }
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    format!("cannot listen on unix:{shown}: its directory does not exist")
                }
                io::ErrorKind::PermissionDenied => {
                    format!(
                        "cannot listen on unix:{shown}: this process may not write to its directory"
                    )
                }
                _ => format!("cannot listen on unix:{shown}: {error}"),
            })
        }
    }

    impl Drop for SocketFile {
        fn drop(&mut self) {
            let is_ours =
                fs::symlink_metadata(&self.path).is_ok_and(|file| identity(&file) == self.identity);
            if is_ours && let Err(error) = fs::remove_file(&self.path) {
                tracing::warn!(%error, path = %self.path.display(), "the socket is not removed");
            }
        }
    }

    fn bind(path: &Path, mode: SocketMode) -> io::Result<(SocketFile, UnixListener)> {
        let socket = UnixSocket::new_stream()?;
        socket.bind(path)?;
        let file = SocketFile {
            path: path.to_owned(),
            identity: identity(&fs::symlink_metadata(path)?),
        };
        // Before it listens: until then nobody can connect.
        fs::set_permissions(path, Permissions::from_mode(mode.0))?;
        Ok((file, socket.listen(BACKLOG)?))
    }

    /// A file that is another one by now may have the same number, but not the same time.
    fn identity(file: &fs::Metadata) -> Identity {
        (file.dev(), file.ino(), file.mtime(), file.mtime_nsec())
    }

    /// Removes a socket on which no process listens.
    async fn remove_stale(path: &Path) -> Result<(), String> {
        let cannot = |why: &str| format!("cannot listen on unix:{}: {why}", path.display());
        let file = fs::symlink_metadata(path).map_err(|error| cannot(&error.to_string()))?;
        if !file.file_type().is_socket() {
            return Err(cannot(
                "the file is no socket; choose another path, or remove it",
            ));
        }
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(|error| cannot(&error.to_string()))
            }
            Ok(_) => Err(cannot(
                "another program listens there; stop it, or choose another path",
            )),
            Err(error) => Err(cannot(&format!(
                "the socket exists, and does not answer: {error}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_to_listen_is_an_address_or_a_path() {
        for (text, expected) in [
            ("127.0.0.1:0", Some(true)),
            ("127.9.9.9:80", Some(true)),
            ("[::1]:8080", Some(true)),
            ("[::ffff:127.0.0.1]:8080", Some(true)),
            ("unix:events.sock", Some(true)),
            ("0.0.0.0:8080", Some(false)),
            ("[::]:8080", Some(false)),
            ("10.0.0.1:8080", Some(false)),
            ("unix:", None),
            ("localhost:8080", None),
            ("127.0.0.1", None),
            ("8080", None),
            ("", None),
        ] {
            let listen = text.parse::<Listen>().ok();
            assert_eq!(listen.map(|listen| listen.is_local()), expected, "{text}");
        }
    }

    #[test]
    fn the_greeting_has_commands_that_a_shell_takes() {
        let all = greeting(&"0.0.0.0:80".parse().unwrap());
        assert!(all.starts_with("listening on http://0.0.0.0:80\n"), "{all}");
        assert!(
            all.contains("curl -d 'hello' http://127.0.0.1:80/channels/news\n"),
            "{all}"
        );
        let unix = greeting(&"unix:/tmp/it's".parse().unwrap());
        let curl = r"curl -N --unix-socket '/tmp/it'\''s' http://localhost/channels/news";
        assert!(unix.contains(curl), "{unix}");
    }
}
