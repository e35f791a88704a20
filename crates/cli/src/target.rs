//! `Target`: the server that `publish` and `listen` reach, and what its errors mean to a person.

use std::error::Error;
use std::net::IpAddr;

use serde::Deserialize;
use tidings::client::http::Uri;
use tidings::client::{self, IntoUrl, SseClient};
use tidings::hyper::DirectTransport;

use crate::cacert::CaCertificates;
use crate::credential::CredentialArgs;
use crate::direct::{self, Direct};

/// The most characters of a refusal that is no problem document.
const MAX_REFUSAL: usize = 200;

/// The variables that may name a proxy for `http`.
const PROXIES: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];

/// The flags that name a server.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// The URL, such as `http://127.0.0.1:8080/channels/news`.
    #[arg(value_parser = parse_url)]
    pub(crate) url: Uri,

    /// Connects to this Unix socket. The URL then names only the path, as in `http://localhost/channels/news`.
    #[cfg(unix)]
    #[arg(long, value_name = "PATH")]
    unix_socket: Option<std::path::PathBuf>,

    /// Also trusts the certificates in this PEM file, for `https` URLs: of an own authority, or a
    /// self-signed one of the server.
    #[arg(long, value_name = "FILE")]
    #[cfg_attr(unix, arg(conflicts_with = "unix_socket"))]
    cacert: Option<CaCertificates>,

    #[command(flatten)]
    pub(crate) credential: CredentialArgs,
}

impl Target {
    /// A client that reaches the server, without settings.
    pub(crate) fn client(&self) -> SseClient {
        SseClient::over(self.transport())
    }

    /// A transport that opens a connection for each request.
    pub(crate) fn transport(&self) -> Direct {
        Direct::new(self.direct_transport())
    }

    fn direct_transport(&self) -> DirectTransport {
        #[cfg(unix)]
        if let Some(path) = self.unix_socket.clone() {
            return DirectTransport::over(move |_| tokio::net::UnixStream::connect(path.clone()));
        }
        let mut transport = DirectTransport::new();
        if let Some(certificates) = &self.cacert {
            transport = certificates.trusted_by(transport);
        }
        if is_loopback(&self.url) {
            // A proxy would reach itself.
            transport.no_proxy()
        } else {
            transport
        }
    }

    /// Whether a connection can be used for several requests: it leads to the server, and not to a proxy that
    /// forwards requests.
    pub(crate) fn keeps_connections(&self) -> bool {
        self.url.scheme_str() == Some("https") || self.is_plain_tcp()
    }

    /// Whether the client reaches the server over TCP alone: without TLS, a proxy or a Unix socket.
    pub(crate) fn is_plain_tcp(&self) -> bool {
        #[cfg(unix)]
        if self.unix_socket.is_some() {
            return false;
        }
        let names_proxy = |name| std::env::var_os(name).is_some();
        let is_direct = is_loopback(&self.url) || !PROXIES.into_iter().any(names_proxy);
        self.url.scheme_str() == Some("http") && is_direct
    }
}

fn parse_url(text: &str) -> Result<Uri, String> {
    let expected = "expected a URL such as http://127.0.0.1:8080/channels/news";
    let url = escape(text).into_url().map_err(|_| expected)?;
    match (url.scheme_str(), url.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(url),
        _ => Err(expected.into()),
    }
}

/// The URL with its spaces and its letters beyond ASCII percent-encoded.
fn escape(url: &str) -> String {
    url.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_graphic() {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
        escaped
    })
}

fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

/// A problem document (RFC 9457), as far as a person needs it.
#[derive(Deserialize)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
}

/// The error, its causes, and what the server gave as the reason, on one line.
pub(crate) fn describe(error: &client::Error) -> String {
    let explained = error.source().and_then(direct::explain);
    let mut text = explained.unwrap_or_else(|| crate::chain(error));
    if let Some(reason) = error
        .response()
        .and_then(|response| reason(response.body()))
    {
        text.push_str(": ");
        text.push_str(&reason);
    }
    text
}

fn reason(body: &str) -> Option<String> {
    match serde_json::from_str(body) {
        Ok(Problem { title, detail }) => detail.or(title),
        Err(_) => {
            let line = body.trim().lines().next()?;
            Some(line.chars().take(MAX_REFUSAL).collect())
        }
    }
}

/// The error as one of the program.
pub(crate) fn failure(error: &client::Error) -> Box<dyn Error> {
    describe(error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_scheme_and_a_host() {
        for text in [
            "news",
            "localhost:8080/channels/news",
            "127.0.0.1:8080",
            "ftp://localhost/",
            "/channels/news",
            "http://",
            "",
        ] {
            assert!(parse_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn letters_and_spaces_are_percent_encoded() {
        let url = parse_url("http://localhost/channels/größe a%2Fb").unwrap();
        assert_eq!(url, "http://localhost/channels/gr%C3%B6%C3%9Fe%20a%2Fb");
    }

    #[test]
    fn the_own_machine_is_reached_without_a_proxy() {
        for (url, expected) in [
            ("http://localhost:8080/", true),
            ("http://127.0.0.1/", true),
            ("http://[::1]:8080/", true),
            ("http://shop.example/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(is_loopback(&parse_url(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn the_reason_is_that_of_the_problem_document_or_the_first_line() {
        for (body, expected) in [
            (
                r#"{"status":409,"title":"Conflict","code":"channel-ended","detail":"it has ended"}"#,
                Some("it has ended"),
            ),
            (r#"{"title":"Conflict"}"#, Some("Conflict")),
            ("no such route\nat all", Some("no such route")),
            ("", None),
        ] {
            assert_eq!(reason(body).as_deref(), expected, "{body}");
        }
    }
}
