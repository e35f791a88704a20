//! `answers`: one task receives from the model, and every reader receives the whole answer.
//! `real_clients` opens its page in a browser.

use std::net::TcpListener;
use std::process::Command;
use std::thread;

use serde_json::json;

use crate::client::Client;
use crate::server::Server;
use crate::store::Store;
use crate::upstream::{Asked, Upstream};

const PROGRAM: &str = env!("CARGO_BIN_EXE_answers");

fn start(upstream: &str) -> Server {
    let mut command = Command::new(PROGRAM);
    command.env("UPSTREAM", upstream);
    Server::start_command(command, 0)
}

/// A server that keeps its answers in this store.
fn start_over(store: &Store, upstream: &Upstream) -> Server {
    let mut command = store.command(PROGRAM);
    command.env("UPSTREAM", upstream.url());
    Server::start_command(command, 0)
}

/// Asks, and returns the path of the answer.
fn ask(server: &Server, prompt: &str) -> String {
    let body = json!({ "prompt": prompt }).to_string();
    let asked = Client::send(server.address(), "POST /answers", "", body.as_bytes());
    assert_eq!(asked.status(), 201);
    asked.header("location").expect("a location").to_owned()
}

/// Asks, and starts the answer of the model.
fn begin(upstream: &Upstream, server: &Server) -> (String, Asked) {
    let answer = ask(server, "Why?");
    (answer, upstream.asked().open())
}

fn resume(server: &Server, answer: &str, id: &str) -> Client {
    let header = format!("Last-Event-ID: {id}\r\n");
    Client::send(server.address(), &format!("GET {answer}"), &header, b"")
}

/// The next token and its ID. The last words are an `Err`.
fn next(client: &mut Client) -> Option<(Result<String, String>, String)> {
    let block = client.event()?;
    let (mut name, mut data, mut id) = (None, None, None);
    for line in block.lines() {
        match line.split_once(": ").expect("a field with a value") {
            ("event", value) => name = Some(value),
            ("data", value) => data = Some(value),
            ("id", value) => id = Some(value.to_owned()),
            _ => panic!("unexpected in {block:?}"),
        }
    }
    let (data, id) = (data.expect("data"), id.expect("an id"));
    let token = match name {
        None => Ok(serde_json::from_str(data).expect("JSON")),
        Some("failed") => Err(data.to_owned()),
        Some(_) => panic!("unexpected name in {block:?}"),
    };
    Some((token, id))
}

fn expect_token(client: &mut Client, token: &str) -> String {
    let (next, id) = next(client).expect("a token before the end");
    assert_eq!(next.as_deref(), Ok(token));
    id
}

/// Receives the last words, which end the answer for all later requests too. Returns them.
fn expect_failed(server: &Server, answer: &str, client: &mut Client) -> String {
    let (token, id) = next(client).expect("last words");
    let why = token.expect_err("last words");
    assert!((1..120).contains(&why.len()), "a short text: {why}");
    expect_ended(server, answer, client, &id);
    why
}

fn expect_ended(server: &Server, answer: &str, client: &mut Client, last: &str) {
    assert_eq!(client.event(), None, "an event after the end");
    assert_eq!(resume(server, answer, last).status(), 204);
    let by_query = format!("{answer}?last_event_id={last}");
    assert_eq!(Client::get(server.address(), &by_query).status(), 204);
}

/// Tokens that every reader must receive unchanged.
const TOKENS: [&str; 9] = [
    "Because",
    " ",
    "\r\n",
    "\n\n",
    " \u{1f600}",
    "<b>\"&",
    "data: x\n\n",
    "",
    "\u{0}\u{feff}.",
];

#[test]
fn each_reader_receives_an_answer_from_its_first_token_or_resumes() {
    let upstream = Upstream::start();
    let server = start(&upstream.url());
    let answer = ask(&server, "Why \"so\"?\n");
    let mut early = Client::get(server.address(), &answer);
    assert_eq!(early.header("content-type"), Some("text/event-stream"));
    let asked = upstream.asked();
    assert_eq!(asked.question["stream"], true);
    let messages = json!([{ "role": "user", "content": "Why \"so\"?\n" }]);
    assert_eq!(asked.question["messages"], messages);
    let mut asked = asked.open();
    // Chunks without a token, as models send them.
    asked.data(r#"{"choices":[{"delta":{"role":"assistant"}}]}"#);
    asked.data(r#"{"choices":[]}"#);
    asked.data(r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#);
    let mut ids = Vec::new();
    for token in TOKENS {
        asked.token(token);
        ids.push(expect_token(&mut early, token));
        let mut late = Client::get(server.address(), &answer);
        for received in &TOKENS[..ids.len()] {
            expect_token(&mut late, received);
        }
    }
    // Resumed in the middle, as after a cut.
    let mut resumed: Vec<_> = (ids.iter().enumerate())
        .map(|(n, id)| (n + 1, resume(&server, &answer, id)))
        .collect();
    asked.token("The end.");
    asked.done();
    let last = expect_token(&mut early, "The end.");
    expect_ended(&server, &answer, &mut early, &last);
    for (received, client) in &mut resumed {
        for token in TOKENS[*received..].iter().chain(&["The end."]) {
            expect_token(client, token);
        }
        assert_eq!(client.event(), None);
    }
    let mut too_late = Client::get(server.address(), &answer);
    for token in TOKENS.iter().chain(&["The end."]) {
        expect_token(&mut too_late, token);
    }
    assert_eq!(too_late.event(), None);
    let mut lost = resume(&server, &answer, "nonsense");
    let gap = lost.event().expect("a gap");
    assert!(gap.starts_with("event: gap\n"), "{gap}");
    expect_token(&mut lost, TOKENS[0]);
}

#[test]
fn an_answer_needs_no_reader() {
    let upstream = Upstream::start();
    let server = start(&upstream.url());
    let (answer, mut asked) = begin(&upstream, &server);
    let mut leaves = Client::get(server.address(), &answer);
    asked.token("a");
    expect_token(&mut leaves, "a");
    drop(leaves);
    for _ in 0..1_000 {
        asked.token("b");
    }
    asked.done();
    let mut reader = Client::get(server.address(), &answer);
    let mut last = expect_token(&mut reader, "a");
    for _ in 0..1_000 {
        last = expect_token(&mut reader, "b");
    }
    expect_ended(&server, &answer, &mut reader, &last);
}

#[test]
fn answers_are_independent() {
    let upstream = Upstream::start();
    let server = start(&upstream.url());
    let (first, mut first_asked) = begin(&upstream, &server);
    let (second, mut second_asked) = begin(&upstream, &server);
    assert_ne!(first, second);
    let mut readers = [&first, &second].map(|answer| Client::get(server.address(), answer));
    second_asked.token("2");
    first_asked.token("1");
    let id = expect_token(&mut readers[0], "1");
    expect_token(&mut readers[1], "2");
    first_asked.done();
    expect_ended(&server, &first, &mut readers[0], &id);
    second_asked.token("3");
    expect_token(&mut readers[1], "3");
}

#[test]
fn an_answer_without_tokens_ends_at_once() {
    let upstream = Upstream::start();
    let server = start(&upstream.url());
    let (answer, asked) = begin(&upstream, &server);
    let mut reader = Client::get(server.address(), &answer);
    asked.done();
    assert_eq!(reader.event(), None);
    assert_eq!(Client::get(server.address(), &answer).status(), 204);
}

#[test]
fn an_answer_that_the_model_does_not_finish_has_failed() {
    let upstream = Upstream::start();
    let server = start(&upstream.url());
    let check = |what: &str, end: fn(Asked), tokens: &[&str]| {
        let answer = ask(&server, what);
        let mut reader = Client::get(server.address(), &answer);
        end(upstream.asked());
        for token in tokens {
            expect_token(&mut reader, token);
        }
        let why = expect_failed(&server, &answer, &mut reader);
        eprintln!("{what}: {why}");
        // A later reader receives the same.
        let mut late = Client::get(server.address(), &answer);
        for token in tokens {
            expect_token(&mut late, token);
        }
        assert_eq!(expect_failed(&server, &answer, &mut late), why);
        assert!(!upstream.is_asked(), "{what}: a question is asked once");
    };
    let cut = |asked: Asked| {
        let mut asked = asked.open();
        asked.token("a");
        asked.token("b");
    };
    check("cut in the middle", cut, &["a", "b"]);
    let early = |asked: Asked| {
        let mut asked = asked.open();
        asked.token("a");
        asked.end();
    };
    check("ended without [DONE]", early, &["a"]);
    check("cut before the head", drop, &[]);
    check("cut after the head", |asked| drop(asked.open()), &[]);
    let garbage = |asked: Asked| {
        let mut asked = asked.open();
        asked.token("a");
        asked.data("{");
        asked.done();
    };
    check("no JSON", garbage, &["a"]);
    let refuse = |mut asked: Asked| {
        asked.write("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: 0\r\n\r\n");
    };
    check("refused", refuse, &[]);
    let nothing = |mut asked: Asked| asked.write("HTTP/1.1 204 No Content\r\n\r\n");
    check("no content", nothing, &[]);
    let html = |mut asked: Asked| {
        asked.write("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n");
    };
    check("no event stream", html, &[]);
}

#[test]
fn a_model_that_cannot_be_reached_is_a_failed_answer() {
    // A port without a listener.
    let closed = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", closed.local_addr().expect("an address"));
    drop(closed);
    for url in [&*url, "not a URL"] {
        let server = start(url);
        let answer = ask(&server, "Why?");
        let mut reader = Client::get(server.address(), &answer);
        expect_failed(&server, &answer, &mut reader);
    }
}

#[test]
fn a_stopped_answer_reports_it_and_disconnects_from_the_model() {
    let upstream = Upstream::start();
    let server = start(&upstream.url());
    let (answer, mut asked) = begin(&upstream, &server);
    let mut reader = Client::get(server.address(), &answer);
    asked.token("a");
    expect_token(&mut reader, "a");
    assert_eq!(delete(&server, &answer), 204);
    assert_eq!(expect_failed(&server, &answer, &mut reader), "stopped");
    asked.expect_disconnect();
    assert_eq!(delete(&server, &answer), 204, "a second time");
    let mut late = Client::get(server.address(), &answer);
    expect_token(&mut late, "a");
    assert_eq!(expect_failed(&server, &answer, &mut late), "stopped");
}

#[test]
fn stopping_a_finished_answer_changes_nothing() {
    let upstream = Upstream::start();
    let server = start(&upstream.url());
    let (answer, mut asked) = begin(&upstream, &server);
    asked.token("a");
    asked.done();
    let mut reader = Client::get(server.address(), &answer);
    let last = expect_token(&mut reader, "a");
    expect_ended(&server, &answer, &mut reader, &last);
    assert_eq!(delete(&server, &answer), 204);
    let mut late = Client::get(server.address(), &answer);
    expect_token(&mut late, "a");
    assert_eq!(late.event(), None);
}

fn delete(server: &Server, answer: &str) -> u16 {
    Client::send(server.address(), &format!("DELETE {answer}"), "", b"").status()
}

#[test]
fn an_unknown_answer_is_a_404_and_an_invalid_question_a_400() {
    let upstream = Upstream::start();
    let server = start(&upstream.url());
    let (answer, _asked) = begin(&upstream, &server);
    for unknown in [
        "/answers/x",
        "/answers/*",
        "/answers/%2a",
        "/answers/0000000000000000",
        "/answers/a%2Fb",
    ] {
        assert_eq!(
            Client::get(server.address(), unknown).status(),
            404,
            "{unknown}"
        );
        assert_eq!(delete(&server, unknown), 404, "{unknown}");
    }
    let upper = answer.to_uppercase().replace("ANSWERS", "answers") + "x";
    assert_eq!(Client::get(server.address(), &upper).status(), 404);
    let bodies: [&[u8]; 9] = [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\"Why?\"",
        b"{}",
        br#"{"prompt": 1}"#,
        br#"["Why?"]"#,
        b"{\"prompt\": \"\xff\"}",
    ];
    for body in bodies {
        for headers in ["", "Content-Type: application/json\r\n"] {
            let asked = Client::send(server.address(), "POST /answers", headers, body);
            assert_eq!(asked.status(), 400, "{}", String::from_utf8_lossy(body));
        }
    }
    assert!(!upstream.is_asked());
    assert_eq!(Client::get(server.address(), "/answers").status(), 405);
}

#[test]
fn the_oldest_of_too_many_answers_is_stopped_and_forgotten() {
    let upstream = Upstream::start();
    let server = start(&upstream.url());
    let (oldest, _asked) = begin(&upstream, &server);
    let mut reader = Client::get(server.address(), &oldest);
    let second = ask(&server, "2");
    for n in 3..=101 {
        ask(&server, &n.to_string());
    }
    let (token, _) = next(&mut reader).expect("last words");
    assert_eq!(token, Err("stopped".to_owned()));
    assert_eq!(reader.event(), None);
    assert_eq!(Client::get(server.address(), &oldest).status(), 404);
    assert_eq!(Client::get(server.address(), &second).status(), 200);
}

#[test]
fn answers_send_their_last_words_when_the_server_ends() {
    let upstream = Upstream::start();
    let server = start(&upstream.url());
    let (answer, mut asked) = begin(&upstream, &server);
    asked.token("a");
    let readers: Vec<_> = (0..20)
        .map(|_| {
            let mut reader = Client::get(server.address(), &answer);
            expect_token(&mut reader, "a");
            thread::spawn(move || {
                let (token, _) = next(&mut reader).expect("last words");
                assert_eq!(token, Err("stopped".to_owned()));
                assert_eq!(reader.event(), None);
            })
        })
        .collect();
    let took = server.end("TERM");
    eprintln!("it took {took:?}");
    for reader in readers {
        reader.join().expect("a clean end after the last words");
    }
    asked.expect_disconnect();
}

#[test]
fn an_answer_in_a_store_ends_with_its_last_words_after_a_kill() {
    let (store, upstream) = (Store::new(), Upstream::start());
    let server = start_over(&store, &upstream);
    let (finished, mut asked) = begin(&upstream, &server);
    let mut reader = Client::get(server.address(), &finished);
    asked.token("whole");
    let whole = expect_token(&mut reader, "whole");
    asked.done();
    expect_ended(&server, &finished, &mut reader, &whole);
    let (unfinished, mut asked) = begin(&upstream, &server);
    let mut reader = Client::get(server.address(), &unfinished);
    asked.token("a");
    asked.token("b");
    let first = expect_token(&mut reader, "a");
    let second = expect_token(&mut reader, "b");
    // The end of a `Server` is a SIGKILL.
    drop(server);
    for _ in 0..2 {
        let server = start_over(&store, &upstream);
        let mut resumed = resume(&server, &unfinished, &second);
        let why = expect_failed(&server, &unfinished, &mut resumed);
        assert_eq!(why, "interrupted");
        let mut resumed = resume(&server, &unfinished, &first);
        expect_token(&mut resumed, "b");
        assert_eq!(expect_failed(&server, &unfinished, &mut resumed), why);
        let mut late = Client::get(server.address(), &unfinished);
        expect_token(&mut late, "a");
        expect_token(&mut late, "b");
        assert_eq!(expect_failed(&server, &unfinished, &mut late), why);
        let mut late = Client::get(server.address(), &finished);
        let last = expect_token(&mut late, "whole");
        expect_ended(&server, &finished, &mut late, &last);
        assert_eq!(delete(&server, &unfinished), 204);
        assert_eq!(Client::get(server.address(), "/answers/x").status(), 404);
        drop(server);
    }
    assert!(!upstream.is_asked(), "a question is asked once");
}

#[test]
fn a_server_over_a_store_that_ends_in_order_leaves_no_answer_open() {
    let (store, upstream) = (Store::new(), Upstream::start());
    let server = start_over(&store, &upstream);
    let (answer, mut asked) = begin(&upstream, &server);
    let mut reader = Client::get(server.address(), &answer);
    asked.token("a");
    let id = expect_token(&mut reader, "a");
    server.end("TERM");
    let server = start_over(&store, &upstream);
    let mut resumed = resume(&server, &answer, &id);
    assert_eq!(expect_failed(&server, &answer, &mut resumed), "stopped");
    // The next question has an answer of its own.
    let (next, mut asked) = begin(&upstream, &server);
    let mut reader = Client::get(server.address(), &next);
    asked.token("b");
    expect_token(&mut reader, "b");
    asked.done();
    assert_eq!(reader.event(), None);
}

#[test]
fn without_a_model_a_fake_one_answers() {
    let mut command = Command::new(PROGRAM);
    command.env_remove("UPSTREAM");
    let server = Server::start_command(command, 0);
    let answer = ask(&server, "Who are you?");
    let mut reader = Client::get(server.address(), &answer);
    let mut text = String::new();
    let mut last = String::new();
    while let Some((token, id)) = next(&mut reader) {
        text += &token.expect("a token");
        last = id;
    }
    assert!(text.starts_with("I am a fake model, "), "{text}");
    assert_eq!(resume(&server, &answer, &last).status(), 204);
}

#[test]
fn the_page_is_html() {
    let server = start("http://127.0.0.1:9/");
    let page = Client::get(server.address(), "/");
    let html = Some("text/html; charset=utf-8");
    assert_eq!(page.header("content-type"), html);
    assert_eq!(page.body(), include_str!("../../answers.html"));
}
