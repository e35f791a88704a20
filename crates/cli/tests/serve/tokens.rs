//! The token of a request: the reasons of refusals, and how the server starts with keys.

use std::fs;

use serde_json::{Value, json};
use tidings_testkit::temp_dir::TempDir;

use crate::guarded::{Guarded, key_set, now, signed, token};
use crate::process::{Server, serve_to_the_end, tidings};
use crate::raw::{get, request};

#[test]
fn without_a_token_only_the_page_and_the_health_are_answered() {
    let guarded = Guarded::start(&[]);
    let address = guarded.server.address();
    for target in ["/", "/page.js", "/page.css", "/healthz", "/readyz"] {
        assert_eq!(get(address, target).status, 200, "{target}");
    }
    for (method, target) in [
        ("GET", "/channels"),
        ("POST", "/channels"),
        ("GET", "/channels/a"),
        ("POST", "/channels/a"),
        ("DELETE", "/channels/a"),
        ("GET", "/events?channel=a"),
        ("GET", "/metrics"),
        ("POST", "/tickets?channel=a"),
        ("POST", "/session"),
        ("GET", "/session"),
        ("OPTIONS", "/channels/a"),
        ("GET", "/missing"),
        ("GET", "/healthz/"),
        ("GET", "//healthz"),
        ("GET", "/channels/../healthz"),
        ("GET", "/%68ealthz"),
    ] {
        let answer = request(address, method, target, &[], "");
        answer.assert_problem(401, "missing-token");
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Bearer"),
            "{target}"
        );
    }
    for line in [
        "Authorization: Basic YTpi",
        "Authorization: Bearer",
        "Authorization:",
    ] {
        let answer = request(address, "GET", "/channels", &[line], "");
        answer.assert_problem(401, "missing-token");
    }
    let lines = ["Authorization: Bearer a", "Authorization: Bearer b"];
    request(address, "GET", "/channels", &lines, "").assert_problem(400, "two-credentials");
}

#[test]
fn a_refusal_says_which_claim_failed() {
    let guarded = Guarded::start(&[]);
    let valid = signed("a", &json!({"exp": now() + 60}));
    let unsigned = valid.rsplit_once('.').unwrap().0.to_owned() + ".";
    let later = now() + 3_600;
    for (token, reason) in [
        (signed("a", &json!({"exp": now() - 1})), "`exp`"),
        (signed("a", &json!({"subscribe": ["a"]})), "no claim `exp`"),
        (signed("a", &json!({"exp": "soon"})), "`exp` is no time"),
        (signed("a", &json!({"exp": later, "nbf": later})), "`nbf`"),
        (
            signed("a", &json!({"exp": later, "publish": "a"})),
            "`publish`",
        ),
        (
            signed("a", &json!({"exp": later, "subscribe": ["a//b"]})),
            "`subscribe`",
        ),
        (
            signed("a", &json!({"exp": later, "metrics": 1})),
            "`metrics`",
        ),
        (signed("a", &json!({"exp": later, "aud": "shop"})), "`aud`"),
        (unsigned, "signature"),
        (valid.clone() + "x", "signature"),
        (valid.replacen('.', "..", 1), "no JWT"),
        ("x".repeat(8_193), "8192 bytes"),
    ] {
        let answer = guarded.send("GET", "/channels", &token, "");
        answer.assert_problem(401, "invalid-token");
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge, Some("Bearer error=\"invalid_token\""));
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains(reason), "{reason}: {detail}");
    }
    assert_eq!(guarded.send("GET", "/channels", &valid, "").status, 200);
}

#[test]
fn the_guard_of_hosts_and_origins_is_before_the_token() {
    let guarded = Guarded::start(&[]);
    let bearer = format!("Authorization: Bearer {}", token(&["a"], &["a"]));
    for lines in [
        &["Origin: https://evil.example"][..],
        &["Origin: https://evil.example", &bearer],
    ] {
        let answer = request(guarded.server.address(), "POST", "/channels/a", lines, "x");
        answer.assert_problem(403, "foreign-origin");
    }
}

#[test]
fn a_token_in_a_url_is_refused_except_by_the_health() {
    let guarded = Guarded::start(&[]);
    let address = guarded.server.address();
    let token = token(&["a"], &["a"]);
    for name in ["token", "access_token", "%74oken"] {
        for query in [format!("{name}={token}"), format!("x=1&{name}=")] {
            let refused = |method: &str, path: &str| {
                let target = format!("{path}?{query}");
                request(address, method, &target, &[], "").assert_problem(400, "token-in-url");
                let sent = guarded.send(method, &target, &token, "x");
                sent.assert_problem(400, "token-in-url");
            };
            for path in ["/channels/a", "/", "/page.js", "/missing", "/metrics"] {
                refused("GET", path);
            }
            refused("POST", "/channels/a");
            refused("DELETE", "/session");
            for path in ["/healthz", "/readyz"] {
                assert_eq!(get(address, &format!("{path}?{query}")).status, 200);
            }
        }
    }
}

#[test]
fn another_scheme_than_bearer_is_no_credential_of_this_server() {
    let guarded = Guarded::start(&[]);
    let address = guarded.server.address();
    let token = token(&["a"], &["a"]);
    let (cookie, bearer) = (
        format!("Cookie: tidings-token={token}"),
        format!("Authorization: Bearer {token}"),
    );
    // As a proxy sets it, or a browser that has signed in to one.
    for scheme in [
        "Authorization: Basic YTpi",
        "Authorization: basic",
        "Authorization: Digest username=\"a\"",
        "Authorization: \u{e4}",
        "Authorization:",
    ] {
        let send = |lines: &[&str]| request(address, "POST", "/channels/a", lines, "x");
        send(&[scheme]).assert_problem(401, "missing-token");
        assert_eq!(send(&[scheme, &cookie]).status, 201, "{scheme}");
        assert_eq!(send(&[scheme, &bearer]).status, 201, "{scheme}");
        assert_eq!(send(&[&bearer, scheme]).status, 201, "{scheme}");
        let session = request(address, "POST", "/session", &[scheme, &cookie], "");
        session.assert_problem(401, "missing-token");
        let made = guarded.send("POST", "/tickets?channel=a", &token, "");
        let ticket = made.json()["ticket"].as_str().unwrap().to_owned();
        let target = format!("/channels/a?from=nonsense&ticket={ticket}");
        let opened = request(address, "GET", &target, &[scheme], "");
        opened.assert_problem(400, "invalid-start");
    }
    // A header that was meant for this server hides nothing.
    for lines in [
        ["Authorization: Bearer", &*cookie],
        ["Authorization: bearer ", &cookie],
    ] {
        let answer = request(address, "GET", "/channels", &lines, "");
        answer.assert_problem(401, "missing-token");
    }
}

#[test]
fn an_audience_is_required_if_the_server_has_one() {
    let guarded = Guarded::start(&["--token-audience", "events"]);
    let claims = |aud: Value| json!({"exp": now() + 60, "aud": aud});
    for (aud, status) in [
        (json!("events"), 200),
        (json!(["shop", "events"]), 200),
        (json!("shop"), 401),
        (Value::Null, 401),
    ] {
        let answer = guarded.send("GET", "/channels", &signed("a", &claims(aud)), "");
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

#[test]
fn keys_allow_an_address_that_others_reach_and_must_be_valid() {
    let dir = TempDir::in_memory();
    let keys = dir.join("keys");
    let missing = dir.join("missing");
    fs::write(&keys, "nonsense").unwrap();
    for (file, reason) in [(&keys, "expected a JWK"), (&missing, "missing: ")] {
        let output = serve_to_the_end(&["--token-key", file.to_str().unwrap()]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(reason), "{error}");
        assert!(output.stdout.is_empty());
    }
    let output = serve_to_the_end(&["--token-audience", "x"]);
    assert_eq!(output.status.code(), Some(2));
    fs::write(&keys, key_set(&["a"])).unwrap();
    let mut command = tidings(&["serve", "--listen", "0.0.0.0:0", "--token-key"]);
    command.arg(&keys);
    let mut server = Server::spawn(command);
    server.await_log("tokens and events travel in clear text");
    let port = server.address().port();
    let answer = get(([127, 0, 0, 1], port).into(), "/channels");
    answer.assert_problem(401, "missing-token");
    assert!(
        server
            .next_line()
            .contains("Authorization: Bearer $TIDINGS_TOKEN")
    );
    assert!(
        server
            .next_line()
            .contains("Authorization: Bearer $TIDINGS_TOKEN")
    );
}

#[test]
fn only_plain_http_that_others_reach_is_warned_of() {
    let dir = TempDir::in_memory();
    let keys = dir.join("keys");
    fs::write(&keys, key_set(&["a"])).unwrap();
    let mut server = Server::start(&["--token-key", keys.to_str().unwrap()]);
    server.await_log("the server is ready");
    server.signal("TERM");
    server.wait(crate::process::LIMIT);
    let log = server.log();
    assert!(!log.contains("clear text"), "{log}");
}
