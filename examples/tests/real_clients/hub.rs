//! The examples of the hub: over cuts, reloads and restarts of whoever listens, all is heard, and once.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::chromium::Chromium;
use crate::cutter::Cutter;
use crate::heard::{Heard, lines};
use crate::page_server::PageServer;
use crate::process::Process;
use crate::server::Server;
use crate::upstream::Upstream;
use crate::{GET_CURL, curl, page_of};

#[test]
fn chromium_shows_an_answer_whole_over_cuts_and_a_reload() {
    let (upstream, server) = answers();
    let cutter = Cutter::start(server.address(), 3_000);
    let page = answers_page(&server, cutter.address());
    let _browser = Chromium::open(&format!("{}/?", page.address()));

    let heard = Heard::new("chromium", page.posted());
    heard.expect("opens ");
    let mut asked = upstream.asked().open();
    let tricky = ["<b>", "&amp;", "\r\n", "\"\u{1f600}\n\n", ""];
    let token = |n: usize| format!(" {n}{}", tricky[n % tricky.len()]);
    let first: String = (0..20).map(token).collect();
    let whole: String = first + "[half]" + &(20..120).map(token).collect::<String>();
    (0..20).for_each(|n| asked.token(&token(n)));
    asked.token("[half]");
    shown_in_order(&heard, &whole, |word| word == "loads it again");
    // While nobody listens.
    (20..40).for_each(|n| asked.token(&token(n)));
    let word = shown_in_order(&heard, &whole, |word| word.starts_with("opens "));
    assert!(
        word.len() > "opens #".len(),
        "it has forgotten what it shows"
    );
    (40..120).for_each(|n| asked.token(&token(n)));
    asked.done();
    let end = json!([whole, "That is all.", 2]).to_string();
    shown_in_order(&heard, &whole, |word| word == end);
    assert!(cutter.cuts() > 2, "it was cut {} times", cutter.cuts());
    assert!(!upstream.is_asked(), "it was asked twice");
}

/// The example, and the model that it asks.
fn answers() -> (Upstream, Server) {
    let upstream = Upstream::start();
    let mut command = Command::new(env!("CARGO_BIN_EXE_answers"));
    command.env("UPSTREAM", upstream.url());
    let server = Server::start_command(command, 0);
    (upstream, server)
}

/// Its page, which hears what comes from this address.
fn answers_page(server: &Server, heard_from: SocketAddr) -> PageServer {
    let heard_from = format!("http://{heard_from}");
    let watcher = include_str!("watch_answers.html").replace("HEARD_FROM", &heard_from);
    page_of(server, &watcher, include_str!("../../answers.html"))
}

/// What `answers`' page shows until such a word comes is always the beginning of this. Says the word.
fn shown_in_order(heard: &Heard, whole: &str, is_end: impl Fn(&str) -> bool) -> String {
    loop {
        let word = heard.expect_any();
        if is_end(&word) {
            return word;
        }
        let (shown, _, _): (String, String, u32) = serde_json::from_str(&word).expect("JSON");
        assert!(whole.starts_with(&shown), "{shown:?} is not of {whole:?}");
    }
}

#[test]
fn chromium_shows_why_an_answer_is_not_whole() {
    let (upstream, server) = answers();
    let page = answers_page(&server, server.address());
    let _browser = Chromium::open(&format!("{}/?", page.address()));

    let heard = Heard::new("chromium", page.posted());
    heard.expect("opens ");
    let mut asked = upstream.asked().open();
    asked.token("Beca");
    drop(asked);
    let url = upstream.url();
    let host = url.split('/').nth(2).expect("a URL has a host");
    let why = format!("That is not all: the stream from {host} was interrupted.");
    let end = json!(["Beca", why, 2]).to_string();
    // It is shown before the 204 comes, and not changed by that.
    let is_end = |word: &str| word == end || word.replace(",1]", ",2]") == end;
    shown_in_order(&heard, "Beca", is_end);
}

#[test]
fn two_chromiums_chat_and_one_that_is_loaded_again_shows_the_same() {
    let server = Server::start(env!("CARGO_BIN_EXE_chat"), 0);
    let open = |name: &str| {
        let watcher = include_str!("watch_chat.html").replace("NAME", name);
        page_of(&server, &watcher, include_str!("../../chat.html"))
    };
    let (ada, bob) = (open("Ada"), open("Bob"));
    let browser = Chromium::open(&format!("{}/?", ada.address()));
    let _other = browser.beside(&format!("{}/?", bob.address()));
    let of_ada = Heard::new("Ada's chromium", ada.posted());
    let of_bob = Heard::new("Bob's chromium", bob.posted());

    of_ada.expect("opens");
    of_bob.expect("opens");
    let mut said = chat_shows(&of_ada, 2);
    assert_eq!(chat_shows(&of_bob, 2), said);
    let line =
        |name: &str| format!("{name}: <b>{name}</b> <img src=x onerror=\"tell('it runs')\">");
    let mut expected = [line("Ada"), line("Bob")];
    if said[0] != expected[0] {
        expected.reverse();
    }
    assert_eq!(said, expected);

    curl_says(&server, "Ada, load it again");
    said.push("curl: Ada, load it again".to_owned());
    assert_eq!(chat_shows(&of_bob, 3), said);
    while of_ada.expect_any() != "opens" {}
    curl_says(&server, "Welcome back");
    said.push("curl: Welcome back".to_owned());
    assert_eq!(chat_shows(&of_ada, 4), said);
    assert_eq!(chat_shows(&of_bob, 4), said);
    server.end("TERM");
}

/// The lines that `chat`'s page shows once it shows so many, and two are there.
fn chat_shows(heard: &Heard, lines: usize) -> Vec<String> {
    loop {
        let word = heard.expect_any();
        let (shown, said): (Vec<String>, String) =
            serde_json::from_str(&word).unwrap_or_else(|_| panic!("the page says {word:?}"));
        assert!(shown.len() <= lines, "{shown:?}");
        if shown.len() == lines && said == "2 here" {
            return shown;
        }
    }
}

fn curl_says(server: &Server, text: &str) {
    let room = format!("http://{}/rooms/lobby", server.address());
    let message = json!({ "who": "curl", "text": text }).to_string();
    assert_eq!(curl_status(&["--data", &message, &room]), "204");
}

#[test]
fn curl_is_told_by_its_status_how_an_answer_stands() {
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
    let asked = curl.output().expect(GET_CURL);
    let asked = String::from_utf8(asked.stdout).expect("text");
    let answer = asked.strip_prefix("201 ").expect("a place");
    let answer = format!("http://{}{answer}", server.address());
    let mut model = upstream.asked().open();
    model.token("Because");
    model.token(".");
    model.done();

    let mut curl = self::curl();
    let mut curl = Process::start(curl.arg(&answer).stdout(Stdio::piped()), GET_CURL);
    let heard = Heard::new("curl", lines(curl.stdout(), ""));
    let mut id = String::new();
    for token in ["Because", "."] {
        id = heard.expect_any();
        heard.expect(&format!("data: \"{token}\""));
        heard.expect("");
    }
    heard.expect_end();
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

/// The status of what curl is told to ask for, and nothing else that comes.
fn curl_status(arguments: &[&str]) -> String {
    let mut curl = curl();
    curl.args(["--max-time", "30", "--write-out", "%{http_code}"]);
    curl.args(["--output", "/dev/null"]).args(arguments);
    let status = curl.output().expect(GET_CURL).stdout;
    String::from_utf8(status).expect("text")
}

#[test]
fn curl_that_is_ended_in_the_middle_and_resumes_hears_each_number_once() {
    let server = Server::start(env!("CARGO_BIN_EXE_replay"), 0);
    let mut feed = format!("http://{}/feed", server.address());
    let mut next = None;
    for turn in 1..=8 {
        let mut curl = curl();
        let mut curl = Process::start(curl.arg(&feed).stdout(Stdio::piped()), GET_CURL);
        let heard = Heard::new("curl", lines(curl.stdout(), ""));
        let mut id = String::new();
        for _ in 0..turn * 3 {
            id = heard.expect_any();
            let mut data = heard.expect_any();
            if data.is_empty() {
                // A checkpoint: the id of who has heard nothing yet.
                id = heard.expect_any();
                data = heard.expect_any();
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
            heard.expect("");
        }
        let id = id.strip_prefix("id: ").expect("an id");
        feed = format!("http://{}/feed?last_event_id={id}", server.address());
    }
}
