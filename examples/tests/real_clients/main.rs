//! The example servers, heard by clients that are not ours: a browser, curl, node and Python.

#![cfg(unix)]
#![expect(clippy::panic, reason = "how a test says what is wrong")]
#![expect(
    clippy::disallowed_methods,
    reason = "other people's programs run on the machine's clock"
)]

use std::env;
use std::io::Read;
use std::iter;
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;

use chromium::Chromium;
use heard::{Heard, assert_apart, lines};
use page_server::PageServer;
use process::Process;
use server::Server;

mod chromium;
mod cutter;
mod heard;
mod hub;
mod page_server;
mod process;
mod server;
mod upstream;

/// What a test may take in all; a browser needs some seconds to start.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn chromium_hears_each_event_as_it_is_sent() {
    let server = server();
    let page = PageServer::start(include_str!("hear.html"));
    let address = format!("{}/?{}", page.address(), events(&server));
    let _browser = Chromium::open(&address);

    let heard = Heard::new("chromium", page.posted());
    heard.expect("open");
    heard.expect_events("message ");
    // An EventSource would now come back and hear them again.
    server.end("TERM");
}

#[test]
fn curl_hears_each_event_as_it_is_sent() {
    let server = server();
    let mut curl = curl();
    curl.arg(events(&server));
    hears_each_event_and_ends(curl, "data: ", GET_CURL);
}

#[test]
fn httpx_sse_hears_each_event_as_it_is_sent() {
    let server = server();
    let python = python(&[&events(&server)]);
    hears_each_event_and_ends(python, "message ", GET_OTHERS);
}

#[test]
fn npm_eventsource_hears_each_event_as_it_is_sent() {
    let server = server();
    let mut node = Process::start(&mut node(&events(&server)), GET_OTHERS);
    let heard = Heard::new("node", lines(node.stdout(), ""));
    heard.expect("open");
    heard.expect_events("message ");
    server.end("TERM");
}

#[test]
fn chromium_goes_on_behind_a_restart() {
    let server = counter(0);
    let page = PageServer::start(include_str!("hear.html"));
    let _browser = Chromium::open(&format!("{}/?{}", page.address(), events(&server)));
    goes_on_behind_a_restart(&Heard::new("chromium", page.posted()), server);
}

#[test]
fn npm_eventsource_goes_on_behind_a_restart() {
    let server = counter(0);
    let mut node = Process::start(&mut node(&events(&server)), GET_OTHERS);
    let heard = Heard::new("node", lines(node.stdout(), ""));
    goes_on_behind_a_restart(&heard, server);
}

/// A client of `axum_counter`, which is ended, and started again at the same port.
fn goes_on_behind_a_restart(heard: &Heard, server: Server) {
    let port = server.address().port();
    heard.expect("open");
    for n in 0..3 {
        heard.expect(&format!("message {n}"));
    }
    let mut next = 3;
    server.end("TERM");
    loop {
        let word = heard.expect_any();
        if word == "error, state 0" {
            break;
        }
        assert_eq!(word, format!("message {next}"));
        next += 1;
    }
    let _server = counter(port);
    loop {
        let word = heard.expect_any();
        if word == "open" {
            break;
        }
        // It may have come before the server did.
        assert_eq!(word, "error, state 0");
    }
    for n in next..next + 3 {
        heard.expect(&format!("message {n}"));
    }
}

#[test]
fn chromium_shows_progress_and_follows_it_when_it_is_loaded_again() {
    let server = Server::start(env!("CARGO_BIN_EXE_progress"), 0);
    let watcher = include_str!("watch_progress.html");
    let page = page_of(&server, watcher, include_str!("../../progress.html"));
    let _browser = Chromium::open(&format!("{}/?", page.address()));

    let heard = Heard::new("chromium", page.posted());
    heard.expect("opens ");
    let percent = shown_until(&heard, 0, "opens #1");
    assert!(
        (20..100).contains(&percent),
        "{percent} % when it is loaded again"
    );
    // At the end it does not come back: 2 is closed.
    shown_until(&heard, percent, "The answer is 42. 100 state 2");
}

/// The page of an example, behind the one that watches it.
fn page_of(server: &Server, watcher: &str, page: &str) -> PageServer {
    // What the page asks for, it asks of the example.
    let base = format!("<base href=\"http://{}/\">", server.address());
    PageServer::start(format!("{watcher}{base}{page}"))
}

/// What `progress`'s page shows until this word comes only grows. Says how far it came.
fn shown_until(heard: &Heard, mut percent: u32, end: &str) -> u32 {
    loop {
        let word = heard.expect_any();
        if word == end {
            return percent;
        }
        let Some((shown, _)) = word.split_once(" % ") else {
            // A browser that leaves a page closes its streams, and says so to the page.
            assert_eq!(word, format!("There is no such job. {percent} state 2"));
            continue;
        };
        let shown = shown.parse().expect("a percentage");
        assert_eq!(word, format!("{shown} % {shown} state 1"));
        assert!(shown >= percent, "{shown} % after {percent} %");
        percent = shown;
    }
}

#[test]
fn curl_hears_each_number_of_a_compressed_stream_as_it_is_sent() {
    let server = counter(0);
    let mut curl = curl();
    curl.args(["--compressed", "--include"])
        .arg(events(&server));
    let mut curl = Process::start(curl.stdout(Stdio::piped()), GET_CURL);
    let heard = Heard::new("curl", lines(curl.stdout(), ""));
    let head: Vec<String> = iter::repeat_with(|| heard.expect_any())
        .take_while(|line| !line.is_empty())
        .collect();
    let is_compressed = |line: &String| line.starts_with("content-encoding: ");
    assert!(head.iter().any(is_compressed), "{head:?}");
    let number = |n: u32| {
        heard.expect(&format!("id: {n}"));
        let at = heard.expect(&format!("data: {n}"));
        heard.expect("");
        at
    };
    // Half of the time that the example waits between two of them.
    assert_apart(
        &(0..10).map(number).collect::<Vec<_>>(),
        Duration::from_millis(100),
    );
}

#[test]
fn httpx_sse_hears_an_answer_out() {
    let server = Server::start(env!("CARGO_BIN_EXE_llm_tokens"), 0);
    let url = format!("http://{}/v1/chat/completions", server.address());
    let messages = r#"[{"role": "user", "content": "Who are you?"}]"#;
    let question = format!(r#"{{"model": "m", "messages": {messages}, "stream": true}}"#);
    let mut python = python(&[&url, &question]);
    let mut python = Process::start(python.stdout(Stdio::piped()), GET_OTHERS);
    let heard = Heard::new("python", lines(python.stdout(), ""));
    let chunks = iter::repeat_with(|| heard.expect_any())
        .take_while(|line| line != "message [DONE]")
        .inspect(|line| assert!(line.starts_with("message {"), "{line}"));
    assert!(chunks.count() > 10);
    heard.expect_end();
    python.expect_success();
}

#[test]
fn a_server_ends_on_time_though_its_curls_are_stopped() {
    let server = Server::start(env!("CARGO_BIN_EXE_firehose"), 0);
    let stopped: Vec<(Process, ChildStdout)> = (0..20)
        .map(|_| {
            let mut curl = curl();
            curl.arg(events(&server)).stdout(Stdio::piped());
            let mut curl = Process::start(&mut curl, GET_CURL);
            let mut output = curl.stdout();
            output.read_exact(&mut [0; 1024]).expect("events");
            curl.signal("STOP");
            (curl, output)
        })
        .collect();
    let took = server.end("TERM");
    eprintln!("with {} stopped clients it took {took:?}", stopped.len());
}

/// For a client that prints each event's data after `prefix`. `remedy` gets the client where it is
/// missing.
fn hears_each_event_and_ends(mut client: Command, prefix: &str, remedy: &str) {
    let name = client.get_program().to_string_lossy().into_owned();
    let mut client = Process::start(client.stdout(Stdio::piped()), remedy);
    let heard = Heard::new(&name, lines(client.stdout(), prefix));
    heard.expect_events(prefix);
    heard.expect_end();
    client.expect_success();
}

const GET_CURL: &str = "apt-get install curl";
const GET_OTHERS: &str = "scripts/test needs";

fn curl() -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--no-buffer", "--silent", "--show-error", "--noproxy", "*"]);
    curl
}

/// httpx-sse with an address, and what is posted there, if anything is.
fn python(arguments: &[&str]) -> Command {
    let in_venv = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/venv/bin/python");
    let mut python = Command::new(env::var_os("TIDINGS_TEST_PYTHON").unwrap_or(in_venv.into()));
    python.args(["-c", include_str!("hear.py")]).args(arguments);
    python
}

/// The EventSource of npm, in the folder that it is installed in.
fn node(url: &str) -> Command {
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/node");
    let mut node = Command::new("node");
    node.current_dir(env::var_os("TIDINGS_TEST_NODE").unwrap_or(installed.into()));
    node.args([
        "--input-type=module",
        "--eval",
        include_str!("node/hear.mjs"),
    ]);
    node.args(["--", url]).stdout(Stdio::piped());
    node
}

fn counter(port: u16) -> Server {
    Server::start(env!("CARGO_BIN_EXE_axum_counter"), port)
}

/// Its six events.
fn server() -> Server {
    Server::start(env!("CARGO_BIN_EXE_server"), 0)
}

fn events(server: &Server) -> String {
    format!("http://{}/events", server.address())
}
