//! The example servers with real clients: a browser, curl, node and Python.

#![cfg(unix)]
#![expect(clippy::panic, reason = "a test fails by a panic")]
#![expect(
    clippy::disallowed_methods,
    reason = "the clients run on the machine's clock"
)]

use std::env;
use std::io::Read;
use std::iter;
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;

use chromium::Chromium;
use output::{Output, assert_apart, lines};
use page_server::PageServer;
use process::Process;
use server::Server;

mod chromium;
mod cutter;
mod hub;
mod output;
mod page_server;
mod process;
mod server;
mod upstream;

/// How long a test may take. A browser needs some seconds to start.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn chromium_receives_each_event_as_it_is_sent() {
    let server = server();
    let page = PageServer::start(include_str!("report_events.html"));
    let address = format!("{}/?{}", page.address(), events(&server));
    let _browser = Chromium::open(&address);

    let output = Output::new("chromium", page.posted());
    output.expect("open");
    output.expect_events("message ");
    // Otherwise the EventSource reconnects and receives them again.
    server.end("TERM");
}

#[test]
fn curl_receives_each_event_as_it_is_sent() {
    let server = server();
    let mut curl = curl();
    curl.arg(events(&server));
    receives_each_event_and_ends(curl, "data: ", INSTALL_CURL);
}

#[test]
fn httpx_sse_receives_each_event_as_it_is_sent() {
    let server = server();
    let python = python(&[&events(&server)]);
    receives_each_event_and_ends(python, "message ", INSTALL_OTHERS);
}

#[test]
fn npm_eventsource_receives_each_event_as_it_is_sent() {
    let server = server();
    let mut node = Process::start(&mut node(&events(&server)), INSTALL_OTHERS);
    let output = Output::new("node", lines(node.stdout(), ""));
    output.expect("open");
    output.expect_events("message ");
    server.end("TERM");
}

#[test]
fn chromium_resumes_after_a_restart() {
    let server = counter(0);
    let page = PageServer::start(include_str!("report_events.html"));
    let _browser = Chromium::open(&format!("{}/?{}", page.address(), events(&server)));
    resumes_after_a_restart(&Output::new("chromium", page.posted()), server);
}

#[test]
fn npm_eventsource_resumes_after_a_restart() {
    let server = counter(0);
    let mut node = Process::start(&mut node(&events(&server)), INSTALL_OTHERS);
    let output = Output::new("node", lines(node.stdout(), ""));
    resumes_after_a_restart(&output, server);
}

/// A client of `axum_counter`, which ends and starts again on the same port.
fn resumes_after_a_restart(output: &Output, server: Server) {
    let port = server.address().port();
    output.expect("open");
    for n in 0..3 {
        output.expect(&format!("message {n}"));
    }
    let mut next = 3;
    server.end("TERM");
    loop {
        let line = output.expect_any();
        if line == "error, state 0" {
            break;
        }
        assert_eq!(line, format!("message {next}"));
        next += 1;
    }
    let _server = counter(port);
    loop {
        let line = output.expect_any();
        if line == "open" {
            break;
        }
        // An attempt before the server was up.
        assert_eq!(line, "error, state 0");
    }
    for n in next..next + 3 {
        output.expect(&format!("message {n}"));
    }
}

#[test]
fn chromium_shows_progress_also_after_a_reload() {
    let server = Server::start(env!("CARGO_BIN_EXE_progress"), 0);
    let watcher = include_str!("watch_progress.html");
    let page = page_of(&server, watcher, include_str!("../../progress.html"));
    let _browser = Chromium::open(&format!("{}/?", page.address()));

    let output = Output::new("chromium", page.posted());
    output.expect("opens ");
    let percent = shown_until(&output, 0, "opens #1");
    assert!((20..100).contains(&percent), "{percent} % after the reload");
    // At the end it does not reconnect: state 2 is closed.
    shown_until(&output, percent, "The answer is 42. 100 state 2");
}

#[test]
fn chromium_resumes_with_a_fresh_ticket() {
    let server = Server::start(env!("CARGO_BIN_EXE_tickets"), 0);
    let watcher = include_str!("watch_tickets.html");
    let page = page_of(&server, watcher, include_str!("../../tickets.html"));
    let _browser = Chromium::open(&format!("{}/?", page.address()));

    let output = Output::new("chromium", page.posted());
    // Each connection sends five numbers, and its ticket is valid once.
    for n in 0..12 {
        output.expect(&n.to_string());
    }
}

/// The page of an example, after a script that reports the content of the page.
fn page_of(server: &Server, watcher: &str, page: &str) -> PageServer {
    // The page sends its requests to the example.
    let base = format!("<base href=\"http://{}/\">", server.address());
    PageServer::start(format!("{watcher}{base}{page}"))
}

/// Until the line `end`, the progress that the page shows only grows. Returns the last percentage.
fn shown_until(output: &Output, mut percent: u32, end: &str) -> u32 {
    loop {
        let line = output.expect_any();
        if line == end {
            return percent;
        }
        let Some((shown, _)) = line.split_once(" % ") else {
            // A browser that leaves a page closes its streams, which is an error event in the page.
            assert_eq!(line, format!("There is no such job. {percent} state 2"));
            continue;
        };
        let shown = shown.parse().expect("a percentage");
        assert_eq!(line, format!("{shown} % {shown} state 1"));
        assert!(shown >= percent, "{shown} % after {percent} %");
        percent = shown;
    }
}

#[test]
fn curl_receives_each_number_of_a_compressed_stream_as_it_is_sent() {
    let server = counter(0);
    let mut curl = curl();
    curl.args(["--compressed", "--include"])
        .arg(events(&server));
    let mut curl = Process::start(curl.stdout(Stdio::piped()), INSTALL_CURL);
    let output = Output::new("curl", lines(curl.stdout(), ""));
    let head: Vec<String> = iter::repeat_with(|| output.expect_any())
        .take_while(|line| !line.is_empty())
        .collect();
    let is_compressed = |line: &String| line.starts_with("content-encoding: ");
    assert!(head.iter().any(is_compressed), "{head:?}");
    let number = |n: u32| {
        output.expect(&format!("id: {n}"));
        let at = output.expect(&format!("data: {n}"));
        output.expect("");
        at
    };
    // The example waits 200 ms between two numbers.
    assert_apart(
        &(0..10).map(number).collect::<Vec<_>>(),
        Duration::from_millis(100),
    );
}

#[test]
fn httpx_sse_receives_a_whole_answer() {
    let server = Server::start(env!("CARGO_BIN_EXE_llm_tokens"), 0);
    let url = format!("http://{}/v1/chat/completions", server.address());
    let messages = r#"[{"role": "user", "content": "Who are you?"}]"#;
    let question = format!(r#"{{"model": "m", "messages": {messages}, "stream": true}}"#);
    let mut python = python(&[&url, &question]);
    let mut python = Process::start(python.stdout(Stdio::piped()), INSTALL_OTHERS);
    let output = Output::new("python", lines(python.stdout(), ""));
    let chunks = iter::repeat_with(|| output.expect_any())
        .take_while(|line| line != "message [DONE]")
        .inspect(|line| assert!(line.starts_with("message {"), "{line}"));
    assert!(chunks.count() > 10);
    output.expect_end();
    python.expect_success();
}

#[test]
fn a_server_ends_on_time_with_stopped_curls() {
    let server = Server::start(env!("CARGO_BIN_EXE_firehose"), 0);
    let stopped: Vec<(Process, ChildStdout)> = (0..20)
        .map(|_| {
            let mut curl = curl();
            curl.arg(events(&server)).stdout(Stdio::piped());
            let mut curl = Process::start(&mut curl, INSTALL_CURL);
            let mut output = curl.stdout();
            output.read_exact(&mut [0; 1024]).expect("events");
            curl.signal("STOP");
            (curl, output)
        })
        .collect();
    let took = server.end("TERM");
    eprintln!("with {} stopped clients it took {took:?}", stopped.len());
}

/// For a client that prints each event's data after `prefix`. `remedy` is the command that installs it.
fn receives_each_event_and_ends(mut client: Command, prefix: &str, remedy: &str) {
    let name = client.get_program().to_string_lossy().into_owned();
    let mut client = Process::start(client.stdout(Stdio::piped()), remedy);
    let output = Output::new(&name, lines(client.stdout(), prefix));
    output.expect_events(prefix);
    output.expect_end();
    client.expect_success();
}

const INSTALL_CURL: &str = "apt-get install curl";
const INSTALL_OTHERS: &str = "scripts/test needs";

fn curl() -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--no-buffer", "--silent", "--show-error", "--noproxy", "*"]);
    curl
}

/// httpx-sse with a URL, and with a body if it posts one.
fn python(arguments: &[&str]) -> Command {
    let in_venv = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/venv/bin/python");
    let mut python = Command::new(env::var_os("TIDINGS_TEST_PYTHON").unwrap_or(in_venv.into()));
    python
        .args(["-c", include_str!("print_events.py")])
        .args(arguments);
    python
}

/// The EventSource of npm, in the folder where it is installed.
fn node(url: &str) -> Command {
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/node");
    let mut node = Command::new("node");
    node.current_dir(env::var_os("TIDINGS_TEST_NODE").unwrap_or(installed.into()));
    node.args([
        "--input-type=module",
        "--eval",
        include_str!("node/print_events.mjs"),
    ]);
    node.args(["--", url]).stdout(Stdio::piped());
    node
}

fn counter(port: u16) -> Server {
    Server::start(env!("CARGO_BIN_EXE_axum_counter"), port)
}

/// The server of six events.
fn server() -> Server {
    Server::start(env!("CARGO_BIN_EXE_server"), 0)
}

fn events(server: &Server) -> String {
    format!("http://{}/events", server.address())
}
