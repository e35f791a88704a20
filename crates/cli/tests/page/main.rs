//! The page of `tidings serve` in Chromium. Each test is a scenario of `browser.mjs`, with its own server.

#![cfg(unix)]
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests of other processes, which share no clock"
)]

#[allow(dead_code, reason = "shared with the tests without a browser")]
#[path = "../support/process.rs"]
mod process;

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use process::{Server, tidings};
use tidings_testkit::temp_dir::TempDir;

/// How long a scenario may be silent.
const LIMIT: Duration = Duration::from_secs(240);

/// Only one test with a browser runs at a time: browsers are heavy, and the tests have time limits.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn the_modules_decode_streams_and_format_json() {
    run_module("modules.mjs");
}

#[test]
fn the_form_for_a_token_keeps_none() {
    run_module("session.mjs");
}

/// Runs a test without a browser.
fn run_module(name: &str) {
    let mut command = Command::new("node");
    command.arg(file(name));
    let status = command.status().expect("node, by scripts/test needs");
    assert!(status.success(), "{status}");
}

#[test]
fn an_event_that_is_published_is_seen() {
    run("publish_and_see", &[]);
}

#[test]
fn an_event_is_published_once_and_its_answer_stays_in_its_channel() {
    run("publish_once", &[]);
}

#[test]
fn nothing_is_lost_or_doubled_over_a_kill_of_the_server() {
    run("restart", &["--store", &store("restart")]);
}

#[test]
fn a_server_that_lost_its_log_is_shown_as_a_gap() {
    run("lost_log", &[]);
}

#[test]
fn removed_events_are_shown_as_a_gap() {
    run("trimmed_log", &["--store", &store("trimmed_log")]);
}

#[test]
fn the_end_of_a_channel_and_a_refusal_are_shown() {
    run("states", &[]);
}

#[test]
fn a_token_opens_the_page_and_no_script_can_read_it() {
    let dir = TempDir::new();
    let key = dir.join("key.jwk");
    let key = key.to_str().unwrap();
    output(&["key", key]);
    let rights = ["--subscribe", "news", "--publish", "news"];
    let token = output(&[&["token", "--key", key], &rights[..]].concat());
    run_with("token", &["--token-key", key], &token);
}

#[test]
fn the_code_of_the_docs_receives_each_event_once_by_tickets_until_the_channel_ends() {
    let dir = TempDir::new();
    let key = dir.join("key.jwk");
    let key = key.to_str().unwrap();
    output(&["key", key]);
    let rights = ["--subscribe", "news/*", "--publish", "news/*"];
    let token = output(&[&["token", "--key", key], &rights[..]].concat());
    let store = store("tickets");
    run_with(
        "tickets_of_the_docs",
        &["--token-key", key, "--store", &store],
        &token,
    );
}

/// The output of the program with these arguments.
fn output(args: &[&str]) -> String {
    let output = tidings(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn hostile_text_is_only_text() {
    run("hostile_text", &[]);
}

#[test]
fn a_channel_is_found_among_many() {
    run("many_channels", &[]);
}

#[test]
fn ten_thousand_events_take_bounded_memory() {
    run("ten_thousand_events", &[]);
}

#[test]
fn axe_finds_nothing_in_either_theme_and_on_a_phone() {
    run("accessible", &[]);
}

/// With `TIDINGS_SCREENSHOTS=docs/images` it also takes the pictures of the documentation.
#[test]
fn the_demo_fills_channels() {
    run("demo", &["--demo"]);
}

/// The file of a new store.
fn store(name: &str) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("page-{name}"));
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).unwrap();
    folder.join("events.db").to_str().unwrap().to_owned()
}

/// The path of a file beside this one.
fn file(name: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page");
    Path::new(folder).join(name)
}

/// Runs a scenario with a server that has these arguments.
fn run(scenario: &str, args: &[&str]) {
    run_with(scenario, args, "");
}

/// The same, for a scenario that needs an input.
fn run_with(scenario: &str, args: &[&str], input: &str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut server = Server::start(args);
    let address = server.address().to_string();
    let mut browser = Browser::start(scenario, server.listening(), input);
    while let Some(request) = browser.next() {
        let mut words = request.split(' ');
        match words.next() {
            Some("kill") => server.kill(),
            Some("start") => {
                let mut command = tidings(&["serve", "--listen", &address]);
                server = Server::spawn({
                    command.args(args).args(words);
                    command
                });
            }
            _ => panic!("{scenario} printed {request:?}"),
        }
        browser.answer();
    }
    browser.expect_success();
}

/// A scenario in node, which is killed when it is dropped. Its browser ends with it.
struct Browser {
    node: Child,
    requests: Receiver<String>,
}

impl Browser {
    fn start(scenario: &str, url: &str, input: &str) -> Self {
        let packages = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/node");
        let mut command = Command::new("node");
        command
            .current_dir(env::var_os("TIDINGS_TEST_NODE").unwrap_or(packages.into()))
            .arg(file("browser.mjs"))
            .args([scenario, url, input])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut node = command
            .spawn()
            .expect("node and its packages, by scripts/test needs");
        let lines = BufReader::new(node.stdout.take().unwrap()).lines();
        let (sender, requests) = mpsc::channel();
        thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Self { node, requests }
    }

    /// What it asks of the server. `None` once it has ended.
    fn next(&self) -> Option<String> {
        match self.requests.recv_timeout(LIMIT) {
            Ok(request) => Some(request),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("it does not end"),
        }
    }

    fn answer(&mut self) {
        let stdin = self.node.stdin.as_mut().unwrap();
        stdin.write_all(b"done\n").unwrap();
    }

    fn expect_success(mut self) {
        let status = self.node.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.node.kill().ok();
        self.node.wait().ok();
    }
}
