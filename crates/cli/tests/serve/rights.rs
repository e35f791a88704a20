//! The rights of a token, and their limits.

use std::io::{BufReader, Write};

use serde_json::json;

use crate::guarded::{Guarded, now, signed, token};
use crate::raw::{connect, get, read, request};
use crate::stream::{assert_end, next};

#[test]
fn a_pattern_allows_the_channels_below_it_and_no_others() {
    let guarded = Guarded::start(&[]);
    let token = token(&["a/*"], &["a/*"]);
    for (target, status) in [
        ("/channels/a/b", 201),
        ("/channels/a%2Fb", 201),
        ("/channels/a/b/c", 201),
        ("/channels/a", 403),
        ("/channels/ab", 403),
        ("/channels/ab/c", 403),
        ("/channels/A/x", 403),
        ("/channels/b/a/x", 403),
        ("/channels/a.%2Fb", 403),
        ("/channels/a/../b", 400),
        ("/channels/a%2F..%2Fb", 400),
        ("/channels/a/./b", 400),
        ("/channels/a//b", 400),
        ("/channels/a%252Fb", 400),
        ("/channels/a/*", 400),
        ("/channels//a/b", 400),
    ] {
        let answer = guarded.send("POST", target, &token, "x");
        assert_eq!(answer.status, status, "{target} {answer:?}");
        let json = "Accept: application/json";
        let bearer = format!("Authorization: Bearer {token}");
        let answer = request(
            guarded.server.address(),
            "GET",
            target,
            &[json, &bearer],
            "",
        );
        let expected = if status == 201 { 200 } else { status };
        assert_eq!(answer.status, expected, "{target} {answer:?}");
    }
    for (query, status) in [
        ("channel=a", 403),
        ("channel=ab/*", 403),
        ("channel=a/b&channel=a", 403),
        ("channel=a/b&channel=b", 403),
        ("channel=a%2F*&channel=A%2F*", 403),
        ("channel=*", 400),
        ("channel=a/../*", 400),
        ("", 400),
    ] {
        let target = format!("/events?{query}");
        let answer = guarded.send("GET", &target, &token, "");
        assert_eq!(answer.status, status, "{query} {answer:?}");
    }
    let answer = guarded.send("POST", "/channels/b", &token, "x");
    answer.assert_problem(403, "insufficient-scope");
    let challenge = answer.header("www-authenticate");
    assert_eq!(challenge, Some("Bearer error=\"insufficient_scope\""));
    let detail = answer.json()["detail"].to_string();
    assert!(
        detail.contains("publish to b") && detail.contains("`publish`"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_star_alone_allows_every_channel_and_only_its_right() {
    let guarded = Guarded::start(&[]);
    let (reader, writer) = (token(&["*"], &[]), token(&[], &["*", "a/*"]));
    let mut one = guarded.open("/channels/a", &reader).await;
    let mut several = guarded.open("/events?channel=a&channel=b/*", &reader).await;
    for name in ["a", "b/c"] {
        let target = format!("/channels/{name}");
        assert_eq!(guarded.send("POST", &target, &writer, name).status, 201);
        assert_eq!(next(&mut several).await.text(), name);
        let refused = guarded.send("POST", &target, &reader, "x");
        refused.assert_problem(403, "insufficient-scope");
        let refused = guarded.send("GET", &target, &writer, "");
        refused.assert_problem(403, "insufficient-scope");
    }
    assert_eq!(next(&mut one).await.text(), "a");
    for (token, expected) in [(&reader, 2), (&writer, 0)] {
        let listed = guarded.send("GET", "/channels", token, "").json();
        assert_eq!(listed["channels"].as_array().unwrap().len(), expected);
        let metrics = guarded.send("GET", "/metrics", token, "");
        metrics.assert_problem(403, "insufficient-scope");
    }
    let made = guarded.send("POST", "/tickets?channel=b/*", &reader, "");
    let ticket = made.json()["ticket"].as_str().unwrap().to_owned();
    let other = get(
        guarded.server.address(),
        &format!("/channels/a?ticket={ticket}"),
    );
    other.assert_problem(403, "insufficient-scope");
    // It is a claim, and no pattern.
    for target in ["/events?channel=*", "/tickets?channel=*"] {
        let method = if target.starts_with("/e") {
            "GET"
        } else {
            "POST"
        };
        let answer = guarded.send(method, target, &reader, "");
        answer.assert_problem(400, "invalid-name");
    }
}

#[tokio::test]
async fn to_subscribe_and_to_publish_are_two_rights() {
    let guarded = Guarded::start(&[]);
    let (reader, writer) = (token(&["a", "b/*"], &[]), token(&[], &["a", "b/*"]));
    for method in ["POST", "DELETE"] {
        guarded
            .send(method, "/channels/a", &reader, "x")
            .assert_problem(403, "insufficient-scope");
    }
    guarded
        .send("GET", "/channels/a", &writer, "")
        .assert_problem(403, "insufficient-scope");
    let mut one = guarded.open("/channels/a", &reader).await;
    let mut several = guarded.open("/events?channel=a&channel=b/*", &reader).await;
    assert_eq!(
        guarded.send("POST", "/channels/a", &writer, "hello").status,
        201
    );
    assert_eq!(next(&mut one).await.text(), "hello");
    assert_eq!(next(&mut several).await.text(), "hello");
    assert_eq!(
        guarded.send("DELETE", "/channels/a", &writer, "").status,
        200
    );
    assert_end(&mut one).await;
}

#[test]
fn a_refused_body_is_not_read() {
    let guarded = Guarded::start(&[]);
    let refused = token(&["a"], &["b"]);
    for (line, status) in [
        (String::new(), 401),
        (format!("Authorization: Bearer {refused}\r\n"), 403),
    ] {
        let mut stream = connect(guarded.server.address());
        let head = format!(
            "POST /channels/a HTTP/1.1\r\nHost: localhost\r\n{line}Content-Length: 1000\r\n\r\nx"
        );
        stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(read(&mut BufReader::new(stream)).status, status);
    }
}

#[test]
fn nothing_of_a_batch_is_stored_if_one_line_is_not_allowed() {
    let guarded = Guarded::start(&[]);
    let token = token(&["a", "b", "c"], &["a", "b"]);
    let send = |lines: &[&str]| {
        let bearer = format!("Authorization: Bearer {token}");
        let kind = "Content-Type: application/x-ndjson";
        let body = lines.join("\n");
        request(
            guarded.server.address(),
            "POST",
            "/channels",
            &[&bearer, kind],
            body,
        )
    };
    let [a, b, c] = ["a", "b", "c"].map(|name| format!(r#"{{"channel":"{name}","data":"x"}}"#));
    let refused = send(&[&a, "", &b, &c, &a]);
    refused.assert_problem(403, "insufficient-scope");
    let detail = refused.json()["detail"].to_string();
    assert!(
        detail.contains("event 3 of the batch") && detail.contains("publish to c"),
        "{detail}"
    );
    let escaped = c.replace("\"c\"", "\"\\u0063\"");
    send(&[&a, &escaped]).assert_problem(403, "insufficient-scope");
    let listed = guarded.send("GET", "/channels", &token, "").json();
    assert_eq!(listed["channels"], json!([]));
    let answer = send(&[&a, "nonsense", r#"{"channel":"c//d","data":1}"#, &b]);
    assert_eq!(answer.status, 200);
    let stored = answer.body.lines().filter(|line| line.contains("\"id\""));
    assert_eq!(stored.count(), 2, "{answer:?}");
}

#[test]
fn only_channels_of_the_token_are_listed_in_whole_pages() {
    let guarded = Guarded::start(&[]);
    let writer = token(&[], &["a", "b", "x/*", "y/*"]);
    for name in ["a", "b", "x/1", "x/2", "x/3", "y/1", "y/2"] {
        let answer = guarded.send("POST", &format!("/channels/{name}"), &writer, "x");
        assert_eq!(answer.status, 201);
    }
    let reader = token(&["b", "y/*", "x/2"], &[]);
    let mut names = Vec::new();
    let mut after = String::new();
    loop {
        let page = guarded
            .send("GET", &format!("/channels?limit=2{after}"), &reader, "")
            .json();
        let channels = page["channels"].as_array().unwrap();
        names.extend(
            channels
                .iter()
                .map(|channel| channel["name"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        assert_eq!(channels.len(), 2);
        after = format!("&after={next}");
    }
    assert_eq!(names, ["b", "x/2", "y/1", "y/2"]);
    let nothing = guarded.send("GET", "/channels", &writer, "").json();
    assert_eq!(nothing, json!({"channels": [], "next": null}));
}

#[test]
fn the_metrics_need_a_claim_of_their_own() {
    let guarded = Guarded::start(&[]);
    let refused = guarded.send("GET", "/metrics", &token(&["a"], &["a"]), "");
    refused.assert_problem(403, "insufficient-scope");
    for (metrics, status) in [(false, 403), (true, 200)] {
        let token = signed("b", &json!({"exp": now() + 60, "metrics": metrics}));
        assert_eq!(guarded.send("GET", "/metrics", &token, "").status, status);
    }
}
