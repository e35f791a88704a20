//! The end of tokens and keys while streams are open, and the log, which shows none of them.

use std::fs;
use std::io::{BufReader, Write};
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tidings_testkit::temp_dir::TempDir;
use tidings_testkit::timeout::timeout;

use crate::guarded::{
    Guarded, SECRETS, base64url, key_set, now, signed, signed_as, token, unnamed_key,
};
use crate::process::{LIMIT, Server};
use crate::raw::{connect, get, read, request};
use crate::stream::{assert_end, client, next, open_request};

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let guarded = Guarded::start(&[]);
    // On a busy machine, a token can expire before its stream opens.
    for seconds in [3, 10, 40] {
        let token = signed("a", &json!({"exp": now() + seconds, "subscribe": ["a"]}));
        let request = client()
            .get(guarded.server.url("/channels/a"))
            .bearer(&token);
        let Ok(mut session) = timeout(LIMIT, request.open()).await.unwrap() else {
            continue;
        };
        let closed = next(&mut session).await;
        assert_eq!(
            (closed.event_type(), closed.text()),
            ("closed", r#"{"reason":"expired"}"#)
        );
        assert_end(&mut session).await;
        let answer = guarded.send("GET", "/channels/a", &token, "");
        answer.assert_problem(401, "invalid-token");
        assert!(
            answer.json()["detail"]
                .as_str()
                .unwrap()
                .contains("expired")
        );
        return;
    }
    panic!("no stream could be opened");
}

#[tokio::test]
async fn a_key_that_is_gone_ends_its_streams_and_no_others() {
    let guarded = Guarded::start(&[]);
    let claims = json!({"exp": now() + 3_600, "subscribe": ["c"], "publish": ["c"]});
    let (of_a, of_b) = (signed("a", &claims), signed("b", &claims));
    let mut a = guarded.open("/channels/c", &of_a).await;
    let mut second = guarded.open("/events?channel=c", &of_a).await;
    let mut b = guarded.open("/channels/c", &of_b).await;
    for broken in ["", "nonsense", r#"{"keys":[]}"#, r#"{"kty":"RSA"}"#] {
        guarded.reload(broken).await;
    }
    guarded.logged("stay as they were", 4).await;
    assert_eq!(guarded.send("POST", "/channels/c", &of_a, "1").status, 201);
    for session in [&mut a, &mut second, &mut b] {
        assert_eq!(next(session).await.text(), "1");
    }
    guarded.reload(&key_set(&["b"])).await;
    guarded.logged("keys of tokens are replaced", 1).await;
    for session in [&mut a, &mut second] {
        let closed = next(session).await;
        assert_eq!(
            (closed.event_type(), closed.text()),
            ("closed", r#"{"reason":"revoked"}"#)
        );
        assert_end(session).await;
    }
    guarded
        .send("POST", "/channels/c", &of_a, "2")
        .assert_problem(401, "invalid-token");
    assert_eq!(guarded.send("POST", "/channels/c", &of_b, "2").status, 201);
    assert_eq!(next(&mut b).await.text(), "2");
    guarded.reload(&key_set(&["a", "b"])).await;
    guarded.logged("keys of tokens are replaced", 2).await;
    assert_eq!(guarded.send("POST", "/channels/c", &of_a, "3").status, 201);
    assert_eq!(next(&mut b).await.text(), "3");
}

#[tokio::test]
async fn the_tokens_of_a_key_without_a_kid_go_on_beside_a_new_key() {
    let guarded = Guarded::start(&[]);
    let (old, new) = (unnamed_key("a"), unnamed_key("b"));
    guarded.reload(&old.to_string()).await;
    guarded.logged("keys of tokens are replaced", 1).await;
    let claims = json!({"exp": now() + 3_600, "subscribe": ["c"], "publish": ["c"]});
    // The only key without a `kid` has the tokens of every `kid`.
    let (unnamed, foreign) = (
        signed_as(None, "a", &claims),
        signed_as(Some("x"), "a", &claims),
    );
    let mut streams = Vec::new();
    for token in [&unnamed, &foreign] {
        streams.push(guarded.open("/channels/c", token).await);
    }
    let made = guarded.send("POST", "/tickets?channel=c", &unnamed, "");
    let ticket = made.json()["ticket"].as_str().unwrap().to_owned();
    let mut named = new.clone();
    named["kid"] = json!("b");
    for keys in [json!([named, old]), json!([old, named])] {
        guarded.reload(&json!({ "keys": keys }).to_string()).await;
    }
    guarded.logged("keys of tokens are replaced", 3).await;
    let of_new = signed("b", &claims);
    for (text, token) in [("1", &unnamed), ("2", &foreign), ("3", &of_new)] {
        assert_eq!(guarded.send("POST", "/channels/c", token, text).status, 201);
        for stream in &mut streams {
            assert_eq!(next(stream).await.text(), text);
        }
    }
    let target = format!("/channels/c?from=nonsense&ticket={ticket}");
    get(guarded.server.address(), &target).assert_problem(400, "invalid-start");
    // Nothing of one key is accepted by the other.
    for forged in [
        signed_as(None, "b", &claims),
        signed_as(Some("b"), "a", &claims),
    ] {
        guarded
            .send("POST", "/channels/c", &forged, "x")
            .assert_problem(401, "invalid-token");
    }
    guarded
        .reload(&json!({"keys": [old, new]}).to_string())
        .await;
    guarded.logged("at most one key of a set", 1).await;
    guarded.reload(&json!({"keys": [named]}).to_string()).await;
    for stream in &mut streams {
        assert_eq!(next(stream).await.text(), r#"{"reason":"revoked"}"#);
        assert_end(stream).await;
    }
    assert_eq!(
        guarded.send("POST", "/channels/c", &of_new, "x").status,
        201
    );
    let refused = guarded.send("POST", "/channels/c", &unnamed, "x");
    refused.assert_problem(401, "invalid-token");
}

#[tokio::test]
async fn a_body_that_arrives_after_its_key_is_gone_changes_nothing() {
    let guarded = Guarded::start(&[]);
    let address = guarded.server.address();
    let token = token(&["a"], &["a"]);
    assert_eq!(guarded.send("POST", "/channels/a", &token, "x").status, 201);
    let line = r#"{"channel":"a","data":"late"}"#;
    let started: Vec<_> = [
        ("POST", "/channels/a", "late"),
        ("DELETE", "/channels/a", "late"),
        ("POST", "/channels", line),
    ]
    .into_iter()
    .map(|(method, target, body)| {
        let mut stream = connect(address);
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\nContent-Type: application/x-ndjson\r\n\
             Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // The server asks for the body after it has checked the head.
        let mut reader = BufReader::new(stream);
        assert_eq!(read(&mut reader).status, 100);
        (reader, body)
    })
    .collect();
    guarded.reload(&key_set(&["b"])).await;
    guarded.logged("the keys of tokens are replaced", 1).await;
    for (mut reader, body) in started {
        reader.get_mut().write_all(body.as_bytes()).unwrap();
        read(&mut reader).assert_problem(401, "invalid-token");
    }
    let bearer = signed("b", &json!({"exp": now() + 60, "subscribe": ["a"]}));
    let mut session = guarded.open("/channels/a?from=earliest", &bearer).await;
    assert_eq!(next(&mut session).await.text(), "x");
    let answer = guarded
        .send("GET", "/channels?limit=10", &bearer, "")
        .json();
    assert_eq!(answer["channels"][0]["status"], "open", "{answer}");
}

#[tokio::test]
async fn no_log_contains_a_token_a_ticket_or_a_key() {
    let mut guarded = Guarded::start(&["--log-level", "debug"]);
    let token = token(&["a"], &["a"]);
    let session = guarded.open("/channels/a", &token).await;
    assert_eq!(guarded.send("POST", "/channels/a", &token, "x").status, 201);
    let broken = token.clone() + "x";
    guarded
        .send("POST", "/channels/a", &broken, "x")
        .assert_problem(401, "invalid-token");
    let cookie = format!("Cookie: tidings-token={token}");
    request(
        guarded.server.address(),
        "POST",
        "/channels/a",
        &[&cookie],
        "x",
    );
    guarded.send("GET", &format!("/channels/a?token={token}"), &token, "");
    let ticket = guarded
        .send("POST", "/tickets?channel=a", &token, "")
        .json();
    let ticket = ticket["ticket"].as_str().unwrap().to_owned();
    let stream = format!("/channels/a?ticket={ticket}");
    let by_ticket = open_request(client().get(guarded.server.url(&stream))).await;
    get(guarded.server.address(), &stream).assert_problem(401, "invalid-token");
    guarded
        .reload(&key_set(&["b"]).replace("\"oct\"", "\"odd\""))
        .await;
    guarded.logged("stay as they were", 1).await;
    drop((session, by_ticket));
    guarded.server.signal("TERM");
    guarded.server.wait(LIMIT);
    let log = guarded.server.log();
    assert!(log.contains("a request"), "{log}");
    let mut hidden = vec![
        token.rsplit('.').next().unwrap(),
        ticket.rsplit('.').next().unwrap(),
    ];
    hidden.extend(token.split('.').skip(1));
    hidden.push(&ticket[..40]);
    let secrets = SECRETS.map(|(_, secret)| base64url(secret));
    hidden.extend(secrets.iter().map(String::as_str));
    for text in hidden {
        assert!(!log.contains(text), "{text}: {log}");
    }
}

#[test]
fn a_secret_that_everyone_reads_is_logged() {
    let dir = TempDir::in_memory();
    let keys = dir.join("keys");
    fs::write(&keys, key_set(&["a"])).unwrap();
    for (mode, is_logged) in [(0o644, true), (0o600, false)] {
        fs::set_permissions(&keys, fs::Permissions::from_mode(mode)).unwrap();
        let server = Server::start(&["--token-key", keys.to_str().unwrap()]);
        // The log is complete once it has another line.
        get(server.address(), "/healthz");
        let mut server = server;
        server.signal("TERM");
        server.wait(LIMIT);
        assert_eq!(
            server.log().contains("chmod 600"),
            is_logged,
            "{}",
            server.log()
        );
    }
}
