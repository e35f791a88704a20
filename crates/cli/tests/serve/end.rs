//! `DELETE /channels/{name}`.

use std::net::SocketAddr;

use tidings_testkit::temp_dir::TempDir;

use crate::process::Server;
use crate::raw::{Answer, get, post, request};
use crate::stream::{assert_end, next, open, texts};

#[tokio::test]
async fn an_end_follows_its_last_words() {
    let server = Server::start(&[]);
    let address = server.address();
    let mut session = open(&server, "/channels/a").await;
    post(address, "/channels/a", "x");
    let end = request(address, "DELETE", "/channels/a?event=done", &[], "bye");
    assert_eq!(end.status, 200, "{end:?}");
    assert_eq!(texts(&mut session, 1).await, ["x"]);
    let words = next(&mut session).await;
    assert_eq!((words.text(), words.event_type()), ("bye", "done"));
    assert_end(&mut session).await;
    let id = end.json()["id"].as_str().unwrap().to_owned();
    let seq = |id: &str| -> u64 { id.split('.').nth(1).unwrap().parse().unwrap() };
    assert_eq!(seq(&id), seq(&words.id.unwrap()) + 1);
    let again = request(address, "DELETE", "/channels/a", &[], "bye");
    again.assert_problem(409, "channel-ended");
}

#[test]
fn a_channel_that_is_not_known_does_not_end() {
    let server = Server::start(&[]);
    let address = server.address();
    let end = request(address, "DELETE", "/channels/a", &[], "bye");
    end.assert_problem(404, "unknown-channel");
    let list = get(address, "/channels");
    assert_eq!(list.json()["channels"].as_array().unwrap().len(), 0);
}

#[test]
fn wrong_last_words_leave_the_channel_open() {
    let server = Server::start(&[]);
    let address = server.address();
    post(address, "/channels/a", "x");
    let delete = |target, body: &[u8]| request(address, "DELETE", target, &[], body);
    delete("/channels/a", b"\xff").assert_problem(400, "invalid-body");
    delete("/channels/a?event=gap", b"x").assert_problem(400, "reserved-name");
    delete("/channels/a//b", b"").assert_problem(400, "invalid-name");
    assert_eq!(post(address, "/channels/a", "y").status, 201);
}

/// Ends the channel `a` under this key.
fn end_under(key: &str, address: SocketAddr, words: &str) -> Answer {
    let key = format!("Idempotency-Key: {key}");
    request(address, "DELETE", "/channels/a", &[&key], words)
}

#[tokio::test]
async fn a_repeat_under_the_same_key_gets_the_first_answer() {
    for words in ["", "bye"] {
        let server = Server::start(&[]);
        let address = server.address();
        post(address, "/channels/a", "x");
        let first = end_under("k", address, words);
        assert_eq!(first.status, 200, "{first:?}");
        for _ in 0..2 {
            let repeat = end_under("k", address, words);
            assert_eq!((repeat.status, &repeat.body), (200, &first.body));
        }
        end_under("other", address, words).assert_problem(409, "channel-ended");
        let without = request(address, "DELETE", "/channels/a", &[], words);
        without.assert_problem(409, "channel-ended");
        let mut session = open(&server, "/channels/a?from=earliest").await;
        assert_eq!(texts(&mut session, 1).await, ["x"]);
        if !words.is_empty() {
            assert_eq!(texts(&mut session, 1).await, [words]);
        }
        assert_end(&mut session).await;
    }
}

#[test]
fn a_repeat_gets_the_first_answer_also_after_a_kill() {
    let folder = TempDir::new();
    let store = folder.join("events.db");
    let flags = ["--store", store.to_str().unwrap()];
    let mut server = Server::start(&flags);
    post(server.address(), "/channels/a", "x");
    let first = end_under("k", server.address(), "bye");
    assert_eq!(first.status, 200, "{first:?}");
    server.kill();
    let server = Server::start(&flags);
    let repeat = end_under("k", server.address(), "bye");
    assert_eq!((repeat.status, &repeat.body), (200, &first.body));
    end_under("other", server.address(), "bye").assert_problem(409, "channel-ended");
}

#[test]
fn an_end_whose_key_an_event_has_is_no_repeat() {
    let server = Server::start(&[]);
    let address = server.address();
    let key = &["Idempotency-Key: k"];
    assert_eq!(
        request(address, "POST", "/channels/a", key, "x").status,
        201
    );
    assert_eq!(end_under("k", address, "").status, 200);
    post(address, "/channels/a", "y").assert_problem(409, "channel-ended");
    end_under("", address, "").assert_problem(400, "invalid-key");
}

#[test]
fn concurrent_repeats_end_a_channel_once() {
    let server = Server::start(&[]);
    let address = server.address();
    post(address, "/channels/a", "x");
    let ends: Vec<_> = (0..8)
        .map(|_| std::thread::spawn(move || end_under("k", address, "bye")))
        .collect();
    let answers: Vec<_> = ends.into_iter().map(|end| end.join().unwrap()).collect();
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (200, &answers[0].body));
    }
}
