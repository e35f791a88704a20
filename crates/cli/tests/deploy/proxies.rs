//! nginx and Caddy in front of a server: streams, reconnections, limits and restarts pass through them.

use std::path::Path;

use crate::curl::{Stream, body_of, publish, request};
use crate::process::{LIMIT, tidings};
use crate::proxy::{Kind, Proxy};

const NEWS: &str = "/channels/news";

/// How a browser opens a stream.
const ACCEPT: [&str; 2] = ["--header", "Accept: text/event-stream"];

fn events_pass_one_by_one(kind: Kind) {
    let proxy = Proxy::start(kind);
    let _server = proxy.serve();
    let first = publish(&proxy, NEWS, "0");
    let mut stream = Stream::open(&proxy, &format!("{NEWS}?from=earliest"), &ACCEPT);
    assert_eq!(stream.next("id: "), first);
    // Each is received before the next one is published.
    for n in 1..4 {
        let id = publish(&proxy, NEWS, &n.to_string());
        assert_eq!(
            (stream.next("id: "), stream.next("data: ")),
            (id, n.to_string())
        );
    }
}

#[test]
fn nginx_passes_events_one_by_one() {
    events_pass_one_by_one(Kind::Nginx);
}

#[test]
fn caddy_passes_events_one_by_one() {
    events_pass_one_by_one(Kind::Caddy);
}

fn a_restart_loses_nothing(kind: Kind) {
    let proxy = Proxy::start(kind);
    let mut server = proxy.serve();
    let first = publish(&proxy, NEWS, "1");
    let mut stream = Stream::open(&proxy, &format!("{NEWS}?from=earliest"), &ACCEPT);
    assert_eq!(stream.next("id: "), first);
    server.signal("TERM");
    // The server tells each client when to come back, and the stream ends in order.
    let retry: u32 = stream.next("retry: ").parse().unwrap();
    assert!(retry >= 1000, "{retry}");
    assert!(stream.ends_well());
    assert!(server.wait(LIMIT).success());

    // Nobody is there. A browser would give up for ever on an error.
    let away = request(&proxy, NEWS, &ACCEPT);
    away.assert_status("200");
    assert!(away.has("content-type: text/event-stream"), "{away:?}");
    let retry = away
        .body
        .strip_prefix("retry: ")
        .and_then(|rest| rest.strip_suffix("\n\n"));
    assert!(
        (2000..=5000).contains(&retry.unwrap().parse::<u32>().unwrap()),
        "{away:?}"
    );
    for args in [&["--data-binary", "x"][..], &[]] {
        let refused = request(&proxy, NEWS, args);
        assert!(matches!(refused.status(), "502" | "503"), "{refused:?}");
    }

    let _server = proxy.serve();
    let second = publish(&proxy, NEWS, "2");
    let last = format!("Last-Event-ID: {first}");
    let mut stream = Stream::open(&proxy, NEWS, &["--header", &last]);
    assert_eq!(
        (stream.next("id: "), stream.next("data: ")),
        (second, "2".to_owned())
    );
}

#[test]
fn nginx_loses_nothing_over_a_restart_of_the_server() {
    a_restart_loses_nothing(Kind::Nginx);
}

#[test]
fn caddy_loses_nothing_over_a_restart_of_the_server() {
    a_restart_loses_nothing(Kind::Caddy);
}

fn the_limits_are_those_of_the_server(kind: Kind) {
    let proxy = Proxy::start(kind);
    let _server = proxy.serve();
    let largest = body_of(&proxy.dir().join("largest"), 1 << 20);
    let stored = request(&proxy, NEWS, &["--data-binary", &largest]);
    stored.assert_status("201");
    let larger = body_of(&proxy.dir().join("larger"), (1 << 20) + 1);
    request(&proxy, NEWS, &["--data-binary", &larger]).assert_status("413");
    // A head of 30 kB, and an ID that the server does not know: it reports that events may be missing.
    let last = format!("Last-Event-ID: {}", "a".repeat(30_000));
    let mut stream = Stream::open(&proxy, NEWS, &["--header", &last]);
    assert_eq!(stream.next("event: "), "gap");
    // A long URL.
    let channels: String = (0..60)
        .map(|n| format!("&channel=c{n}/{}", "x".repeat(200)))
        .collect();
    let mut stream = Stream::open(
        &proxy,
        &format!("/events?channel=news&last=1{channels}"),
        &[],
    );
    assert!(stream.next("id: ").ends_with(".news"));
}

#[test]
fn nginx_has_the_limits_of_the_server() {
    the_limits_are_those_of_the_server(Kind::Nginx);
}

#[test]
fn caddy_has_the_limits_of_the_server() {
    the_limits_are_those_of_the_server(Kind::Caddy);
}

fn nothing_is_compressed(kind: Kind) {
    let proxy = Proxy::start(kind);
    let mut server = proxy.serve();
    publish(&proxy, NEWS, &"x".repeat(5_000));
    let encodings = ["--header", "Accept-Encoding: gzip, deflate, br, zstd"];
    for path in ["/channels", "/channels/none?from=wrong", "/"] {
        let answer = request(&proxy, path, &encodings);
        assert!(
            !answer.head.contains("content-encoding"),
            "{path}: {answer:?}"
        );
    }
    let mut stream = Stream::open(&proxy, &format!("{NEWS}?from=earliest"), &encodings);
    assert_eq!(stream.next("data: ").len(), 5_000);
    server.signal("TERM");
    assert!(stream.ends_well());
    assert!(server.wait(LIMIT).success());
}

#[test]
fn nginx_compresses_nothing() {
    nothing_is_compressed(Kind::Nginx);
}

#[test]
fn caddy_compresses_nothing() {
    nothing_is_compressed(Kind::Caddy);
}

/// The output of the program with these arguments, in this folder.
fn output(dir: &Path, args: &[&str]) -> String {
    let output = tidings(args).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn each_client_has_a_token_of_its_own(kind: Kind) {
    let proxy = Proxy::start(kind);
    let dir = proxy.dir();
    let public = dir.join("tokens.jwk");
    let key = [
        "key",
        "issuer.jwk",
        "--algorithm",
        "ES256",
        "--public",
        "tokens.jwk",
    ];
    output(dir, &key);
    let _server = proxy.serve_with(&["--token-key", public.to_str().unwrap()]);
    let token = |rights: &[&str]| {
        let token = output(dir, &[&["token", "--key", "issuer.jwk"], rights].concat());
        format!("Authorization: Bearer {token}")
    };
    let reader = token(&["--subscribe", "news"]);
    let publisher = token(&["--publish", "news"]);
    let monitoring = token(&["--metrics"]);
    let as_holder = |token: &str, path: &str, args: &[&str]| {
        let args = [args, &["--header", token]].concat();
        request(&proxy, path, &args).status().to_owned()
    };
    let post = ["--data-binary", "hello"];
    assert_eq!(as_holder(&publisher, NEWS, &post), "201");
    assert_eq!(as_holder(&reader, NEWS, &post), "403");
    assert_eq!(as_holder(&publisher, "/metrics", &[]), "403");
    assert_eq!(as_holder(&monitoring, "/metrics", &[]), "200");
    request(&proxy, NEWS, &post).assert_status("401");
    let from = format!("{NEWS}?from=earliest");
    let mut stream = Stream::open(&proxy, &from, &["--header", &reader]);
    assert_eq!(stream.next("data: "), "hello");
    // The server knows that the page speaks TLS.
    let session = request(
        &proxy,
        "/session",
        &["--request", "POST", "--header", &reader],
    );
    session.assert_status("204");
    assert!(
        session.head.contains("set-cookie: __host-"),
        "{}",
        session.head
    );
}

#[test]
fn behind_nginx_each_client_has_a_token_of_its_own() {
    each_client_has_a_token_of_its_own(Kind::Nginx);
}

#[test]
fn behind_caddy_each_client_has_a_token_of_its_own() {
    each_client_has_a_token_of_its_own(Kind::Caddy);
}
