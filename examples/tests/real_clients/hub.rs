//! The examples of the hub: over cuts, reloads and restarts, a client receives each event once.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::chromium::Chromium;
use crate::cutter::Cutter;
use crate::output::{Output, lines};
use crate::page_server::PageServer;
use crate::process::Process;
use crate::server::Server;
use crate::upstream::Upstream;
use crate::{INSTALL_CURL, curl, page_of};

#[test]
fn chromium_shows_an_answer_whole_over_cuts_and_a_reload() {
    let (upstream, server) = answers();
    let cutter = Cutter::start(server.address(), 3_000);
    let page = answers_page(&server, cutter.address());
    let _browser = Chromium::open(&format!("{}/?", page.address()));

    let output = Output::new("chromium", page.posted());
    output.expect("opens ");
    let mut asked = upstream.asked().open();
    let tricky = ["<b>", "&amp;", "\r\n", "\"\u{1f600}\n\n", ""];
    let token = |n: usize| format!(" {n}{}", tricky[n % tricky.len()]);
    let first: String = (0..20).map(token).collect();
    let whole: String = first + "[half]" + &(20..120).map(token).collect::<String>();
    (0..20).for_each(|n| asked.token(&token(n)));
    asked.token("[half]");
    shown_in_order(&output, &whole, |line| line == "reloads");
    // While there is no reader.
    (20..40).for_each(|n| asked.token(&token(n)));
    let line = shown_in_order(&output, &whole, |line| line.starts_with("opens "));
    assert!(line.len() > "opens #".len(), "the page lost its answer");
    (40..120).for_each(|n| asked.token(&token(n)));
    asked.done();
    let end = json!([whole, "Complete.", 2]).to_string();
    shown_in_order(&output, &whole, |line| line == end);
    assert!(cutter.cuts() > 2, "cut only {} times", cutter.cuts());
    assert!(!upstream.is_asked(), "the question was asked twice");
}

/// The example, and its model.
fn answers() -> (Upstream, Server) {
    let upstream = Upstream::start();
    let mut command = Command::new(env!("CARGO_BIN_EXE_answers"));
    command.env("UPSTREAM", upstream.url());
    let server = Server::start_command(command, 0);
    (upstream, server)
}

/// Its page, which receives its streams from this address.
fn answers_page(server: &Server, stream_origin: SocketAddr) -> PageServer {
    let stream_origin = format!("http://{stream_origin}");
    let watcher = include_str!("watch_answers.html").replace("STREAM_ORIGIN", &stream_origin);
    page_of(server, &watcher, include_str!("../../answers.html"))
}

/// Until a line that `is_end` accepts, the page always shows a beginning of `whole`. Returns that line.
fn shown_in_order(output: &Output, whole: &str, is_end: impl Fn(&str) -> bool) -> String {
    loop {
        let line = output.expect_any();
        if is_end(&line) {
            return line;
        }
        let (shown, _, _): (String, String, u32) = serde_json::from_str(&line).expect("JSON");
        assert!(
            whole.starts_with(&shown),
            "{shown:?} is not a beginning of {whole:?}"
        );
    }
}

#[test]
fn chromium_shows_why_an_answer_is_incomplete() {
    let (upstream, server) = answers();
    let page = answers_page(&server, server.address());
    let _browser = Chromium::open(&format!("{}/?", page.address()));

    let output = Output::new("chromium", page.posted());
    output.expect("opens ");
    let mut asked = upstream.asked().open();
    asked.token("Beca");
    drop(asked);
    let url = upstream.url();
    let host = url.split('/').nth(2).expect("a URL has a host");
    let why = format!("Incomplete: the stream from {host} was interrupted.");
    let end = json!(["Beca", why, 2]).to_string();
    // It is shown before the 204 arrives, and stays afterwards.
    let is_end = |line: &str| line == end || line.replace(",1]", ",2]") == end;
    shown_in_order(&output, "Beca", is_end);
}

#[test]
fn two_chromiums_chat_and_one_shows_the_same_after_a_reload() {
    let server = Server::start(env!("CARGO_BIN_EXE_chat"), 0);
    let open = |name: &str| {
        let watcher = include_str!("watch_chat.html").replace("NAME", name);
        page_of(&server, &watcher, include_str!("../../chat.html"))
    };
    let (ada, bob) = (open("Ada"), open("Bob"));
    let browser = Chromium::open(&format!("{}/?", ada.address()));
    let _other = browser.beside(&format!("{}/?", bob.address()));
    let output_of_ada = Output::new("Ada's chromium", ada.posted());
    let output_of_bob = Output::new("Bob's chromium", bob.posted());

    output_of_ada.expect("opens");
    output_of_bob.expect("opens");
    let mut shown = chat_shows(&output_of_ada, 2);
    assert_eq!(chat_shows(&output_of_bob, 2), shown);
    let line =
        |name: &str| format!("{name}: <b>{name}</b> <img src=x onerror=\"report('it runs')\">");
    let mut expected = [line("Ada"), line("Bob")];
    if shown[0] != expected[0] {
        expected.reverse();
    }
    assert_eq!(shown, expected);

    post_by_curl(&server, "Ada, reload");
    shown.push("curl: Ada, reload".to_owned());
    assert_eq!(chat_shows(&output_of_bob, 3), shown);
    while output_of_ada.expect_any() != "opens" {}
    post_by_curl(&server, "Welcome back");
    shown.push("curl: Welcome back".to_owned());
    assert_eq!(chat_shows(&output_of_ada, 4), shown);
    assert_eq!(chat_shows(&output_of_bob, 4), shown);
    server.end("TERM");
}

/// Waits until the page of `chat` shows so many lines and two members. Returns the lines.
fn chat_shows(output: &Output, lines: usize) -> Vec<String> {
    loop {
        let line = output.expect_any();
        let (shown, members): (Vec<String>, String) =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("the page reports {line:?}"));
        assert!(shown.len() <= lines, "{shown:?}");
        if shown.len() == lines && members == "2 here" {
            return shown;
        }
    }
}

fn post_by_curl(server: &Server, text: &str) {
    let room = format!("http://{}/rooms/lobby", server.address());
    let message = json!({ "who": "curl", "text": text }).to_string();
    assert_eq!(curl_status(&["--data", &message, &room]), "204");
}

#[test]
fn curl_receives_the_state_of_an_answer_as_a_status() {
    let (upstream, server) = answers();
    let answers = format!("http://{}/answers", server.address());
    assert_eq!(curl_status(&["--data", "{", &answers]), "400");
    assert_eq!(curl_status(&[&format!("{answers}/x")]), "404");
    assert_eq!(
        curl_status(&["-X", "DELETE", &format!("{answers}/x")]),
        "404"
    );

    let mut curl = curl();
    curl.args(["--write-out", "%{http_code} %header{location}"]);
    curl.args(["--data", r#"{"prompt": "Why?"}"#, &answers]);
    let asked = curl.output().expect(INSTALL_CURL);
    let asked = String::from_utf8(asked.stdout).expect("text");
    let answer = asked.strip_prefix("201 ").expect("a location");
    let answer = format!("http://{}{answer}", server.address());
    let mut model = upstream.asked().open();
    model.token("Because");
    model.token(".");
    model.done();

    let mut curl = self::curl();
    let mut curl = Process::start(curl.arg(&answer).stdout(Stdio::piped()), INSTALL_CURL);
    let output = Output::new("curl", lines(curl.stdout(), ""));
    let mut id = String::new();
    for token in ["Because", "."] {
        id = output.expect_any();
        output.expect(&format!("data: \"{token}\""));
        output.expect("");
    }
    output.expect_end();
    curl.expect_success();
    let id = id.strip_prefix("id: ").expect("an id");
    let header = format!("Last-Event-ID: {id}");
    assert_eq!(curl_status(&["--header", &header, &answer]), "204");
    assert_eq!(
        curl_status(&[&format!("{answer}?last_event_id={id}")]),
        "204"
    );
    assert_eq!(curl_status(&["-X", "DELETE", &answer]), "204");
}

/// The status of a request by curl.
fn curl_status(arguments: &[&str]) -> String {
    let mut curl = curl();
    curl.args(["--max-time", "30", "--write-out", "%{http_code}"]);
    curl.args(["--output", "/dev/null"]).args(arguments);
    let status = curl.output().expect(INSTALL_CURL).stdout;
    String::from_utf8(status).expect("text")
}

#[test]
fn curl_that_is_ended_and_resumes_receives_each_number_once() {
    let server = Server::start(env!("CARGO_BIN_EXE_replay"), 0);
    let mut feed = format!("http://{}/feed", server.address());
    let mut next = None;
    for turn in 1..=8 {
        let mut curl = curl();
        let mut curl = Process::start(curl.arg(&feed).stdout(Stdio::piped()), INSTALL_CURL);
        let output = Output::new("curl", lines(curl.stdout(), ""));
        let mut id = String::new();
        for _ in 0..turn * 3 {
            id = output.expect_any();
            let mut data = output.expect_any();
            if data.is_empty() {
                // A checkpoint: the ID to resume from before the first event.
                id = output.expect_any();
                data = output.expect_any();
            }
            let number = data
                .strip_prefix("data: {\"n\":")
                .and_then(|n| n.strip_suffix('}'));
            let number: u64 = number.and_then(|n| n.parse().ok()).expect("a number");
            assert!(
                next.is_none_or(|next| number == next),
                "{number}, not {next:?}"
            );
            next = Some(number + 1);
            output.expect("");
        }
        let id = id.strip_prefix("id: ").expect("an id");
        feed = format!("http://{}/feed?last_event_id={id}", server.address());
    }
}
