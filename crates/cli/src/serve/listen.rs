//! `Listen`: where the server listens.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio::net::TcpListener;

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

/// The certificate of a server that speaks HTTPS, and a name by which clients reach it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Https<'a> {
    pub(super) certificate: &'a Path,
    pub(super) name: Option<&'a str>,
}

impl Https<'_> {
    /// The host of a URL that this machine reaches, and that is likely in the certificate.
    fn host(&self, bound: IpAddr) -> String {
        let local = || "localhost".to_owned();
        match bound {
            IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST) => local(),
            bound => match self.name {
                Some(name) => name.to_owned(),
                None if bound.is_unspecified() => local(),
                None => SocketAddr::new(bound, 0)
                    .to_string()
                    .trim_end_matches(":0")
                    .to_owned(),
            },
        }
    }
}

/// What the server prints when it listens: its address, and how to publish and to listen.
pub(super) fn greeting(listen: &Listen, needs_token: bool, https: Option<Https<'_>>) -> String {
    let (listening, curl) = match (listen, https) {
        (Listen::Tcp(address), Some(https)) => {
            // curl then also trusts a certificate that it has issued itself.
            let certificate = quoted(&https.certificate.display().to_string());
            let (host, port) = (https.host(address.ip()), address.port());
            (
                format!("https://{address}"),
                format!("--cacert {certificate} https://{host}:{port}"),
            )
        }
        (Listen::Tcp(address), None) => {
            let reachable = SocketAddr::new(reachable(address.ip()), address.port());
            (format!("http://{address}"), format!("http://{reachable}"))
        }
        (Listen::Unix(path), _) => (
            listen.to_string(),
            format!(
                "--unix-socket {} http://localhost",
                quoted(&path.display().to_string())
            ),
        ),
    };
    let token = if needs_token {
        "-H \"Authorization: Bearer $TIDINGS_TOKEN\" "
    } else {
        ""
    };
    format!(
        "listening on {listening}\n\
         publish: curl -d 'hello' {token}{curl}/channels/news\n\
         listen:  curl -N {token}{curl}/channels/news\n"
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
pub(super) fn quoted(path: &str) -> String {
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
    fn the_greeting_of_https_names_a_host_of_the_certificate() {
        for (bound, name, expected) in [
            ("127.0.0.1:1", None, "localhost:1"),
            ("127.0.0.1:1", Some("events.example"), "localhost:1"),
            ("[::1]:1", None, "localhost:1"),
            ("0.0.0.0:1", None, "localhost:1"),
            ("0.0.0.0:1", Some("events.example"), "events.example:1"),
            ("10.0.0.7:1", None, "10.0.0.7:1"),
            ("[fe80::1]:1", None, "[fe80::1]:1"),
        ] {
            let https = Https {
                certificate: Path::new("my cert.pem"),
                name,
            };
            let printed = greeting(&bound.parse().unwrap(), false, Some(https));
            let curl = format!("curl -N --cacert 'my cert.pem' https://{expected}/channels/news\n");
            assert!(printed.starts_with(&format!("listening on https://{bound}\n")));
            assert!(printed.ends_with(&curl), "{printed}");
        }
    }

    #[test]
    fn the_greeting_has_commands_that_a_shell_takes() {
        let all = greeting(&"0.0.0.0:80".parse().unwrap(), false, None);
        assert!(all.starts_with("listening on http://0.0.0.0:80\n"), "{all}");
        assert!(
            all.contains("curl -d 'hello' http://127.0.0.1:80/channels/news\n"),
            "{all}"
        );
        let guarded = greeting(&"127.0.0.1:80".parse().unwrap(), true, None);
        let token = "-H \"Authorization: Bearer $TIDINGS_TOKEN\"";
        for command in ["curl -d 'hello'", "curl -N"] {
            let line = format!("{command} {token} http://127.0.0.1:80/channels/news\n");
            assert!(guarded.contains(&line), "{guarded}");
        }
        let unix = greeting(&"unix:/tmp/it's".parse().unwrap(), false, None);
        let curl = r"curl -N --unix-socket '/tmp/it'\''s' http://localhost/channels/news";
        assert!(unix.contains(curl), "{unix}");
    }
}
