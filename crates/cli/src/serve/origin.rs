//! Which hosts and origins the server answers.
//!
//! A page of any site can send requests to a server on the reader's own machine. Its own name, resolved to
//! this machine, reveals it by `Host`; a request across origins reveals it by `Origin`.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    RETRY_AFTER, VARY, WWW_AUTHENTICATE,
};
use axum::http::{Method, StatusCode, Uri, Version};
use axum::response::{IntoResponse, Response};
use tower_http::cors::CorsLayer;

use super::Args;
use super::listen::Listen;
use super::problem::Problem;

/// How long a browser may remember the answer to a preflight.
const PREFLIGHT_AGE: Duration = Duration::from_secs(600);

/// Lets pages of the listed origins use the routes.
pub(super) fn share(routes: Router, allowed: &Allowed) -> Router {
    if allowed.origins.is_empty() {
        routes
    } else {
        routes.layer(cors(&allowed.origins))
    }
}

/// Answers preflights, and lets pages of these origins read the answers.
fn cors(origins: &HashSet<String>) -> CorsLayer {
    let headers = [
        "last-event-id",
        "idempotency-key",
        "event-name",
        "event-retry",
    ];
    let headers = headers.map(HeaderName::from_static).into_iter();
    let origins = origins.iter().map(|origin| {
        HeaderValue::from_str(origin).unwrap_or_else(|_| unreachable!("an origin is ASCII"))
    });
    CorsLayer::new()
        .allow_origin(origins.collect::<Vec<_>>())
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(
            headers
                .chain([AUTHORIZATION, CONTENT_TYPE, CACHE_CONTROL])
                .collect::<Vec<_>>(),
        )
        .expose_headers([RETRY_AFTER, WWW_AUTHENTICATE])
        .allow_credentials(true)
        .allow_private_network(true)
        .max_age(PREFLIGHT_AGE)
}

/// The answer to a foreign request.
#[derive(Debug)]
pub(super) struct Refusal(Problem);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        // A cache must not answer one origin with what another has received.
        ([(VARY, "origin")], self.0).into_response()
    }
}

/// The hosts and origins that the server answers.
#[derive(Debug)]
pub(super) struct Allowed {
    /// Beside `localhost`, in lower case.
    names: HashSet<String>,
    /// The bound address; `None` for a Unix socket.
    address: Option<IpAddr>,
    origins: HashSet<String>,
}

impl Allowed {
    pub(super) fn new(args: &Args) -> Self {
        let names = args.host.iter().map(|HostName(name)| name.clone());
        let origins = args.cors_origin.iter().map(|origin| origin.0.clone());
        Self {
            names: names.collect(),
            address: match &args.listen {
                Listen::Tcp(address) => Some(address.ip().to_canonical()),
                Listen::Unix(_) => None,
            },
            origins: origins.collect(),
        }
    }

    /// Refuses a request for another host or from another origin.
    pub(super) fn check(&self, request: &Request) -> Result<(), Refusal> {
        let checked = self.check_head(request.version(), request.uri(), request.headers());
        checked.map_err(Refusal)
    }

    fn check_head(
        &self,
        version: Version,
        target: &Uri,
        headers: &HeaderMap,
    ) -> Result<(), Problem> {
        let host = self.check_host(version, target, headers)?;
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) if is_of_other_site(target, headers) => {}
            (None, _) => return Ok(()),
            (Some(origin), None) if self.is_ours(origin, &host) => return Ok(()),
            _ => {}
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "foreign-origin",
            "pages of this origin may not use the server; allow them with --cors-origin",
        ))
    }

    /// The host that the request is for.
    fn check_host(
        &self,
        version: Version,
        target: &Uri,
        headers: &HeaderMap,
    ) -> Result<Authority, Problem> {
        let invalid = |detail| Problem::new(StatusCode::BAD_REQUEST, "invalid-host", detail);
        let mut hosts = headers.get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().ok(),
            // `:authority` takes its place.
            (None, _) if version == Version::HTTP_2 && target.authority().is_some() => {
                target.authority().map(AsRef::as_ref)
            }
            (None, _) => return Err(invalid("the request has no Host header")),
            _ => return Err(invalid("the request has several Host headers")),
        };
        let foreign = || {
            Problem::new(
                StatusCode::FORBIDDEN,
                "foreign-host",
                "the server has another name; add a name by which clients reach it with --host",
            )
        };
        let host = host.and_then(Authority::parse);
        let host = host
            .filter(|host| self.is_known(host))
            .ok_or_else(foreign)?;
        // The target of a proxy's request takes precedence over the header.
        let Some(target) = target.authority() else {
            return Ok(host);
        };
        let target = Authority::parse(target.as_str());
        target
            .filter(|host| self.is_known(host))
            .ok_or_else(foreign)
    }

    fn is_known(&self, host: &Authority) -> bool {
        match &host.host {
            Host::Name(name) => name == "localhost" || self.names.contains(name),
            // A page cannot make an address lead to another machine, so any address is ours where we
            // listen on all of them.
            Host::Address(address) => {
                self.names.contains(&address.to_string())
                    || self
                        .address
                        .is_some_and(|bound| bound == *address || bound.is_unspecified())
            }
        }
    }

    /// Whether this is the origin of our own page, or a listed one.
    fn is_ours(&self, origin: &HeaderValue, host: &Authority) -> bool {
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        if self.origins.contains(origin) {
            return true;
        }
        let Some((scheme, authority)) = origin.split_once("://") else {
            return false;
        };
        let default_port = match scheme {
            "http" => 80,
            // Of this server, or of a proxy that speaks TLS.
            "https" => 443,
            _ => return false,
        };
        let Some(authority) = Authority::parse(authority) else {
            return false;
        };
        authority.host == host.host
            && authority.port.unwrap_or(default_port) == host.port.unwrap_or(default_port)
    }
}

/// Whether a page of another site has made the request, such as by an image: a browser sends no `Origin`
/// then, and the page cannot read the answer, but would open a stream. A link may lead to our page.
fn is_of_other_site(target: &Uri, headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    let is_other = site.is_some_and(|site| site == "cross-site" || site == "same-site");
    is_other && target.path() != "/"
}

/// A host, and a port if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Authority {
    host: Host,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    /// In lower case, without a dot at its end.
    Name(String),
    Address(IpAddr),
}

impl Authority {
    fn parse(text: &str) -> Option<Self> {
        // The colons in an IPv6 address are within its brackets.
        let end = text.rfind(']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match text[end..].find(':') {
            Some(colon) => (&text[..end + colon], &text[end + colon + 1..]),
            None => (text, ""),
        };
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = match port {
            "" => None,
            port if is_number => Some(port.parse().ok()?),
            _ => return None,
        };
        Host::parse(host).map(|host| Self { host, port })
    }
}

impl Host {
    fn parse(text: &str) -> Option<Self> {
        if let Some(address) = text.strip_prefix('[') {
            let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Address(IpAddr::V6(address).to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if let Ok(address @ IpAddr::V4(_)) = name.parse() {
            return Some(Self::Address(address));
        }
        let is_valid =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let is_name = !name.is_empty() && name.bytes().all(is_valid);
        is_name.then(|| Self::Name(name.to_ascii_lowercase()))
    }
}

/// A `--host`: a name or an address, without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostName(String);

impl HostName {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // An address without its brackets.
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(address.to_canonical().to_string()));
        }
        match Host::parse(text) {
            Some(Host::Name(name)) => Ok(Self(name)),
            Some(Host::Address(address)) => Ok(Self(address.to_string())),
            None => Err(
                "expected a name without a scheme, a port or a path, such as events.example".into(),
            ),
        }
    }
}

/// A `--cors-origin`, exactly as a browser sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CorsOrigin(String);

impl std::str::FromStr for CorsOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if matches!(text, "*" | "null") {
            return Err("any page could use the server; list each origin".into());
        }
        let expected = "expected SCHEME://NAME or SCHEME://NAME:PORT, such as https://shop.example";
        let (scheme, authority) = text.split_once("://").ok_or(expected)?;
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !is_scheme {
            return Err(expected.into());
        }
        if authority.contains(['/', '?', '#']) {
            return Err(format!("an origin has no path; {expected}"));
        }
        let parsed = Authority::parse(authority).ok_or(expected)?;
        let scheme = scheme.to_ascii_lowercase();
        let authority = authority.to_ascii_lowercase();
        let default_port = match &*scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        // A browser leaves it out.
        let authority = match authority.rsplit_once(':') {
            Some((host, _)) if parsed.port.is_some() && parsed.port == default_port => host,
            _ => &authority,
        };
        Ok(Self(format!("{scheme}://{authority}")))
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    fn allowed(address: Option<&str>) -> Allowed {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Allowed {
            names: texts(&["events.example", "10.0.0.9"]),
            address: address.map(|address| address.parse().unwrap()),
            origins: texts(&["https://shop.example"]),
        }
    }

    fn code(allowed: &Allowed, target: &str, headers: &[(HeaderName, &str)]) -> &'static str {
        let headers = headers.iter().map(|(name, value)| {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            (name.clone(), value)
        });
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value)| {
            map.append(name, value);
        });
        let checked = allowed.check_head(Version::HTTP_11, &target.parse().unwrap(), &map);
        checked.map_or_else(|problem| problem.code, |()| "ok")
    }

    #[test]
    fn a_host_is_the_bound_address_or_a_name_of_ours() {
        let v4 = allowed(Some("127.0.0.1"));
        for (host, expected) in [
            ("127.0.0.1", "ok"),
            ("127.0.0.1:8080", "ok"),
            ("127.0.0.1:1", "ok"),
            ("127.0.0.1:", "ok"),
            ("127.0.0.1.", "ok"),
            ("[::ffff:127.0.0.1]:80", "ok"),
            ("localhost", "ok"),
            ("LOCALHOST:8080", "ok"),
            ("localhost.:8080", "ok"),
            ("Events.Example.", "ok"),
            ("10.0.0.9:80", "ok"),
            ("", "foreign-host"),
            (":8080", "foreign-host"),
            ("localhost..", "foreign-host"),
            ("localhost.evil.example", "foreign-host"),
            ("evil.example", "foreign-host"),
            ("evil.example:8080", "foreign-host"),
            ("localhost:80:80", "foreign-host"),
            ("localhost:+80", "foreign-host"),
            ("localhost:99999", "foreign-host"),
            ("localhost, evil.example", "foreign-host"),
            ("evil.example@localhost", "foreign-host"),
            ("localhost@evil.example", "foreign-host"),
            ("localhost/", "foreign-host"),
            ("localhost#", "foreign-host"),
            ("http://localhost", "foreign-host"),
            ("127.1", "foreign-host"),
            ("0x7f000001", "foreign-host"),
            ("127.0.0.2", "foreign-host"),
            ("::1", "foreign-host"),
            ("[::1]", "foreign-host"),
            ("[::1", "foreign-host"),
            ("[localhost]", "foreign-host"),
            ("lo\u{e4}calhost", "foreign-host"),
        ] {
            assert_eq!(code(&v4, "/", &[(HOST, host)]), expected, "{host}");
        }
        let v6 = allowed(Some("::1"));
        for (host, expected) in [
            ("[::1]", "ok"),
            ("[0:0:0:0:0:0:0:1]:8080", "ok"),
            ("[::1%25lo]", "foreign-host"),
            ("[::1]x", "foreign-host"),
            ("127.0.0.1", "foreign-host"),
        ] {
            assert_eq!(code(&v6, "/", &[(HOST, host)]), expected, "{host}");
        }
    }

    #[test]
    fn all_addresses_are_ours_if_we_listen_on_all_and_none_over_a_unix_socket() {
        let all = allowed(Some("0.0.0.0"));
        assert_eq!(code(&all, "/", &[(HOST, "192.168.1.5:8080")]), "ok");
        assert_eq!(code(&all, "/", &[(HOST, "[fe80::1]:8080")]), "ok");
        assert_eq!(code(&all, "/", &[(HOST, "evil.example")]), "foreign-host");
        let none = allowed(None);
        assert_eq!(code(&none, "/", &[(HOST, "localhost")]), "ok");
        assert_eq!(code(&none, "/", &[(HOST, "127.0.0.1")]), "foreign-host");
    }

    #[test]
    fn a_request_has_one_host_and_its_target_is_checked_too() {
        let allowed = allowed(Some("127.0.0.1"));
        let (ours, foreign) = ((HOST, "localhost"), (HOST, "evil.example"));
        for (target, headers, expected) in [
            ("/", &[][..], "invalid-host"),
            ("/", &[ours.clone(), ours.clone()], "invalid-host"),
            ("/", &[ours.clone(), foreign.clone()], "invalid-host"),
            ("http://localhost/", &[], "invalid-host"),
            ("http://localhost:1/", slice::from_ref(&ours), "ok"),
            (
                "http://evil.example/",
                slice::from_ref(&ours),
                "foreign-host",
            ),
            ("http://localhost/", &[foreign], "foreign-host"),
        ] {
            assert_eq!(
                code(&allowed, target, headers),
                expected,
                "{target} {headers:?}"
            );
        }
    }

    #[test]
    fn over_http_2_the_target_names_the_host() {
        let allowed = allowed(Some("127.0.0.1"));
        let none = HeaderMap::new();
        for (target, expected) in [
            ("https://localhost:8443/", "ok"),
            ("https://evil.example/", "foreign-host"),
            ("/", "invalid-host"),
        ] {
            let checked = allowed.check_head(Version::HTTP_2, &target.parse().unwrap(), &none);
            assert_eq!(
                checked.map_or_else(|problem| problem.code, |()| "ok"),
                expected
            );
        }
    }

    #[test]
    fn an_origin_is_our_own_or_a_listed_one() {
        let allowed = allowed(Some("127.0.0.1"));
        let foreign = "foreign-origin";
        for (host, origin, expected) in [
            ("localhost:8080", "http://localhost:8080", "ok"),
            ("localhost:8080", "https://localhost:8080", "ok"),
            ("LocalHost.:8080", "http://localhost:8080", "ok"),
            ("localhost", "http://localhost", "ok"),
            ("localhost", "https://localhost", "ok"),
            ("localhost:80", "http://localhost", "ok"),
            ("localhost:443", "https://localhost", "ok"),
            ("localhost", "https://shop.example", "ok"),
            ("localhost:8080", "http://localhost:3000", foreign),
            ("localhost:8080", "http://127.0.0.1:8080", foreign),
            ("localhost:8080", "http://localhost", foreign),
            ("localhost:443", "http://localhost", foreign),
            ("localhost", "http://shop.example", foreign),
            ("localhost", "https://shop.example:8443", foreign),
            ("localhost", "https://shop.example.evil.example", foreign),
            ("localhost", "https://SHOP.example", foreign),
            ("localhost", "null", foreign),
            ("localhost", "", foreign),
            ("localhost", "file://", foreign),
            ("localhost", "ftp://localhost", foreign),
            ("localhost", "http://localhost/", foreign),
            ("localhost", "http://localhost http://localhost", foreign),
        ] {
            let headers = [(HOST, host), (ORIGIN, origin)];
            assert_eq!(code(&allowed, "/", &headers), expected, "{host} {origin}");
        }
        let twice = [
            (HOST, "localhost"),
            (ORIGIN, "http://localhost"),
            (ORIGIN, "http://localhost"),
        ];
        assert_eq!(code(&allowed, "/", &twice), foreign);
    }

    #[test]
    fn a_listed_origin_is_what_a_browser_sends() {
        for (text, expected) in [
            ("https://shop.example", Some("https://shop.example")),
            (
                "HTTPS://Shop.Example:8443",
                Some("https://shop.example:8443"),
            ),
            ("https://shop.example:443", Some("https://shop.example")),
            ("http://[::1]:80", Some("http://[::1]")),
            ("http://localhost:443", Some("http://localhost:443")),
            ("app://main", Some("app://main")),
            ("https://shop.example/", None),
            ("https://*.example", None),
            ("shop.example", None),
            ("*", None),
            ("null", None),
            ("", None),
        ] {
            let origin = text.parse::<CorsOrigin>().ok();
            let origin = origin.as_ref().map(|origin| &*origin.0);
            assert_eq!(origin, expected, "{text}");
        }
    }
}
