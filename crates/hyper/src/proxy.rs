//! The proxies of the direct transport: which one a request goes through, and the environment's settings.

use std::env;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;

use crate::request::Origin;

/// A URL that the matcher accepts as a proxy, and that [`Proxies::route`] refuses.
const UNUSABLE: &str = "socks4://unusable";

/// Which requests go through which proxy.
#[derive(Clone)]
pub(crate) struct Proxies(Arc<Matcher>);

/// How a server is reached.
pub(crate) enum Route {
    Direct,
    /// The proxy receives the request, in the absolute form.
    Forward {
        proxy: Origin,
        authorization: Option<HeaderValue>,
    },
    /// The proxy receives a CONNECT and opens a connection to the server.
    Tunnel {
        proxy: Origin,
        authorization: Option<HeaderValue>,
    },
    Socks {
        proxy: Origin,
        user: Option<(String, String)>,
    },
}

impl Proxies {
    pub(crate) fn none() -> Self {
        Self(Arc::new(Matcher::builder().build()))
    }

    pub(crate) fn all(url: &str) -> Result<Self, InvalidProxy> {
        if !is_usable(url) {
            return Err(InvalidProxy(()));
        }
        Ok(Self(Arc::new(Matcher::builder().all(url).build())))
    }

    pub(crate) fn from_environment() -> Self {
        // Bytes that are not UTF-8 are replaced by a character that no URL contains: the value is
        // then refused, not ignored.
        Self::from_variables(|name| Some(env::var_os(name)?.to_string_lossy().into_owned()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: [&str; 2]| {
            let values = names.into_iter().filter_map(&variable);
            values.into_iter().find(|value| !value.trim().is_empty())
        };
        // An unusable proxy must not be ignored: requests would then go out without a proxy.
        let proxy = |names| match first(names) {
            Some(url) if is_usable(&url) => url,
            Some(_) => UNUSABLE.to_owned(),
            None => String::new(),
        };
        // In a CGI program `HTTP_PROXY` is the `Proxy` header of the request: a stranger sets it.
        let is_cgi = variable("REQUEST_METHOD").is_some();
        let http = [
            "http_proxy",
            if is_cgi { "http_proxy" } else { "HTTP_PROXY" },
        ];
        let matcher = Matcher::builder()
            .http(proxy(http))
            .https(proxy(["https_proxy", "HTTPS_PROXY"]))
            .all(proxy(["all_proxy", "ALL_PROXY"]))
            .no(first(["no_proxy", "NO_PROXY"]).unwrap_or_default());
        Self(Arc::new(matcher.build()))
    }

    pub(crate) fn route(&self, server: &Origin) -> Result<Route, InvalidProxy> {
        let Some(found) = self.0.intercept(server.url()) else {
            return Ok(Route::Direct);
        };
        let proxy = Origin::of(found.uri()).ok_or(InvalidProxy(()))?;
        let authorization = found.basic_auth().cloned();
        match (proxy.scheme(), server.scheme()) {
            (Some("http"), Some("http")) => Ok(Route::Forward {
                proxy,
                authorization,
            }),
            (Some("http"), _) => Ok(Route::Tunnel {
                proxy,
                authorization,
            }),
            (Some("socks5" | "socks5h"), _) => Ok(Route::Socks {
                proxy,
                user: found
                    .raw_auth()
                    .map(|(name, password)| (name.to_owned(), password.to_owned())),
            }),
            _ => Err(InvalidProxy(())),
        }
    }
}

/// Whether this URL names a proxy that the transport supports.
fn is_usable(url: &str) -> bool {
    let proxies = Proxies(Arc::new(Matcher::builder().all(url).build()));
    let server = Origin::of(&Uri::from_static("http://localhost"));
    let route = server.map(|server| proxies.route(&server));
    !matches!(route, None | Some(Ok(Route::Direct) | Err(_)))
}

/// The error for a URL that names no proxy that the transport supports.
#[derive(Debug)]
pub struct InvalidProxy(());

impl fmt::Display for InvalidProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the proxy cannot be used: its URL must begin with http://, socks5:// or socks5h:// \
             and name a host; check the proxy setting and the environment",
        )
    }
}

impl StdError for InvalidProxy {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], url: &str, expected: &str) {
        let proxies = Proxies::from_variables(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        let route = proxies.route(&Origin::of(&url.parse().unwrap()).unwrap());
        let text = |value: Option<HeaderValue>| {
            value.map_or(String::new(), |value| {
                assert!(value.is_sensitive());
                format!(" {}", value.to_str().unwrap())
            })
        };
        let found = match route {
            Ok(Route::Direct) => "direct".to_owned(),
            Ok(Route::Forward {
                proxy,
                authorization,
            }) => {
                format!("forward {}{}", proxy.url(), text(authorization))
            }
            Ok(Route::Tunnel {
                proxy,
                authorization,
            }) => {
                format!("tunnel {}{}", proxy.url(), text(authorization))
            }
            Ok(Route::Socks { proxy, user }) => format!("socks {} {user:?}", proxy.url()),
            Err(_) => "invalid".to_owned(),
        };
        assert_eq!(found, expected, "{variables:?} {url}");
    }

    #[test]
    fn the_scheme_of_the_url_chooses_the_variable() {
        let all = [
            ("HTTP_PROXY", "http://a:1"),
            ("HTTPS_PROXY", "http://b:2"),
            ("ALL_PROXY", "http://c:3"),
        ];
        check(&all, "http://x/", "forward http://a:1/");
        check(&all, "https://x/", "tunnel http://b:2/");
        check(&all[2..], "http://x/", "forward http://c:3/");
        check(&all[2..], "https://x/", "tunnel http://c:3/");
        check(&all[..1], "https://x/", "direct");
        check(&[], "http://x/", "direct");
        check(&[("HTTP_PROXY", " ")], "http://x/", "direct");
    }

    #[test]
    fn a_variable_in_lower_case_takes_precedence() {
        let both = [("HTTP_PROXY", "http://a"), ("http_proxy", "http://b")];
        check(&both, "http://x/", "forward http://b:80/");
    }

    #[test]
    fn a_cgi_program_ignores_the_proxy_header_of_a_request() {
        let cgi = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "http://evil")];
        check(&cgi, "http://x/", "direct");
        let cgi = [("REQUEST_METHOD", "GET"), ("http_proxy", "http://a")];
        check(&cgi, "http://x/", "forward http://a:80/");
    }

    #[test]
    fn hosts_in_no_proxy_are_reached_directly() {
        let check = |url: &str, expected: &str| {
            let no = " a.test, .b.test,192.168.0.0/16,::1";
            check(
                &[("ALL_PROXY", "http://p:1"), ("NO_PROXY", no)],
                url,
                expected,
            );
        };
        let direct = "direct";
        for url in [
            "http://a.test/",
            "https://x.A.test:8080/",
            "http://x.b.test/",
            "http://192.168.3.4/",
            "http://[::1]:80/",
        ] {
            check(url, direct);
        }
        check("http://xa.test/", "forward http://p:1/");
        check("http://192.169.0.1/", "forward http://p:1/");
    }

    #[test]
    fn a_name_and_a_password_go_to_the_proxy_only() {
        let check = |proxy, expected| check(&[("ALL_PROXY", proxy)], "https://x/", expected);
        check(
            "http://user:p%40ss@a:1",
            "tunnel http://a:1/ Basic dXNlcjpwQHNz",
        );
        check("user@a:1", "tunnel http://a:1/ Basic dXNlcjo=");
        check(
            "socks5h://user:secret@a",
            "socks socks5h://a:1080/ Some((\"user\", \"secret\"))",
        );
        check("socks5://a:9", "socks socks5://a:9/ None");
    }

    #[test]
    fn an_unusable_proxy_is_refused_and_not_ignored() {
        for url in [
            "https://a",
            "socks4://a",
            "ftp://a",
            "http://",
            "http://a:99999",
            "a b",
        ] {
            check(&[("ALL_PROXY", url)], "http://x/", "invalid");
            check(
                &[("ALL_PROXY", url), ("NO_PROXY", "x")],
                "http://x/",
                "direct",
            );
            assert!(Proxies::all(url).is_err(), "{url}");
        }
    }
}
