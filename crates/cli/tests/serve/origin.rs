//! Requests for other hosts, and from pages of other origins.

use crate::guarded::{Guarded, token};
use crate::process::Server;
use crate::raw::{Answer, request, send};

fn with_host(server: &Server, target: &str, lines: &str) -> Answer {
    let head = format!("GET {target} HTTP/1.1\r\nConnection: close\r\n{lines}\r\n");
    send(server.address(), head.as_bytes())
}

#[test]
fn a_foreign_host_is_refused_however_it_is_named() {
    let server = Server::start(&["--host", "Events.Example"]);
    for (target, lines) in [
        ("/healthz", "Host: evil.example\r\n"),
        ("/healthz", "Host: localhost.evil.example\r\n"),
        ("/healthz", "Host: 127.0.0.2\r\n"),
        ("/healthz", "Host: [::1]\r\n"),
        ("/missing", "Host: evil.example\r\n"),
        ("http://evil.example/healthz", "Host: localhost\r\n"),
        ("http://localhost/healthz", "Host: evil.example\r\n"),
    ] {
        let answer = with_host(&server, target, lines);
        answer.assert_problem(403, "foreign-host");
    }
    for lines in ["", "Host: localhost\r\nHost: localhost\r\n"] {
        with_host(&server, "/healthz", lines).assert_problem(400, "invalid-host");
    }
    let old = send(server.address(), b"GET /healthz HTTP/1.0\r\n\r\n");
    old.assert_problem(400, "invalid-host");
    for (target, host) in [
        ("/healthz", "127.0.0.1"),
        ("/healthz", "LOCALHOST.:1"),
        ("/healthz", "events.example"),
        ("http://events.example/healthz", "localhost"),
    ] {
        let answer = with_host(&server, target, &format!("Host: {host}\r\n"));
        assert_eq!(
            (answer.status, &*answer.body),
            (200, "ok\n"),
            "{target} {host}"
        );
    }
}

#[test]
fn a_foreign_page_cannot_open_a_stream_by_an_image() {
    let server = Server::start(&[]);
    let head = |site: &str| format!("Host: localhost\r\nSec-Fetch-Site: {site}\r\n");
    for site in ["cross-site", "same-site"] {
        let refused = with_host(&server, "/channels/a", &head(site));
        refused.assert_problem(403, "foreign-origin");
        assert_eq!(with_host(&server, "/", &head(site)).status, 200);
    }
    for site in ["same-origin", "none"] {
        assert_eq!(with_host(&server, "/channels", &head(site)).status, 200);
    }
}

#[test]
fn a_page_of_a_foreign_origin_cannot_use_the_server() {
    let server = Server::start(&["--cors-origin", "https://shop.example"]);
    let address = server.address();
    for origin in [
        "https://evil.example",
        "http://shop.example",
        "http://localhost:1",
        "null",
    ] {
        let line = format!("Origin: {origin}");
        let answer = request(address, "POST", "/channels/a", &[&line], "x");
        answer.assert_problem(403, "foreign-origin");
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert_eq!(answer.header("vary"), Some("origin"));
    }
    let own = format!("Origin: http://{address}");
    let answer = request(address, "POST", "/channels/a", &[&own], "x");
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[test]
fn a_page_of_a_listed_origin_may_use_the_server() {
    let server = Server::start(&[
        "--cors-origin",
        "https://shop.example,http://localhost:3000",
    ]);
    let address = server.address();
    for origin in ["https://shop.example", "http://localhost:3000"] {
        let line = format!("Origin: {origin}");
        let preflight = [
            &*line,
            "Access-Control-Request-Method: DELETE",
            "Access-Control-Request-Headers: last-event-id, idempotency-key, content-type",
        ];
        let answer = request(address, "OPTIONS", "/channels/a", &preflight, "");
        assert!((200..300).contains(&answer.status), "{answer:?}");
        let allowed = |name| answer.header(name).unwrap_or_default().to_lowercase();
        assert_eq!(allowed("access-control-allow-origin"), origin);
        for method in ["get", "post", "delete"] {
            assert!(
                allowed("access-control-allow-methods").contains(method),
                "{answer:?}"
            );
        }
        for header in [
            "last-event-id",
            "content-type",
            "idempotency-key",
            "event-name",
            "event-retry",
            "cache-control",
        ] {
            assert!(
                allowed("access-control-allow-headers").contains(header),
                "{answer:?}"
            );
        }
        for (method, target, status) in [("POST", "/channels/a", 201), ("GET", "/missing", 404)] {
            let answer = request(address, method, target, &[&line], "x");
            assert_eq!(answer.status, status, "{answer:?}");
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
            let vary = answer.header("vary").unwrap_or_default();
            assert!(vary.contains("origin"), "{answer:?}");
        }
    }
    let foreign = [
        "Origin: https://evil.example",
        "Access-Control-Request-Method: POST",
    ];
    let answer = request(address, "OPTIONS", "/channels/a", &foreign, "");
    answer.assert_problem(403, "foreign-origin");
}

/// An operator lists an origin so that its pages act for the user. Only the exact origin is listed, and the
/// browser sends the cookie to pages of the same site only.
#[test]
fn only_a_listed_origin_acts_with_the_cookie() {
    let guarded = Guarded::start(&["--cors-origin", "https://shop.example"]);
    let address = guarded.server.address();
    let cookie = format!("Cookie: __Host-tidings-token={}", token(&[], &["a"]));
    let publish = |origin: &str| {
        let origin = format!("Origin: {origin}");
        request(address, "POST", "/channels/a", &[&cookie, &origin], "x")
    };
    let answer = publish("https://shop.example");
    assert_eq!(answer.status, 201, "{answer:?}");
    let allowed = answer.header("access-control-allow-credentials");
    assert_eq!(allowed, Some("true"));
    for origin in [
        "https://shop.example:8443",
        "https://a.shop.example",
        "https://shop.example.evil.example",
    ] {
        publish(origin).assert_problem(403, "foreign-origin");
    }
}
