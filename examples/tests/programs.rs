//! The examples that end by themselves: each prints the expected lines.

#![cfg(unix)]
#![expect(clippy::panic, reason = "a test fails by a panic")]
#![expect(
    clippy::disallowed_methods,
    reason = "the programs run on the machine's clock"
)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use process::Process;
use server::Server;

#[path = "real_clients/process.rs"]
mod process;
#[path = "real_clients/server.rs"]
mod server;

/// How long an example may take until its next line.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn client_receives_the_events_of_server() {
    let server = Server::start(env!("CARGO_BIN_EXE_server"), 0);
    let mut client = Command::new(env!("CARGO_BIN_EXE_client"));
    let mut client = Program::start(client.arg(format!("http://{}/events", server.address())));
    for n in 0..2 {
        assert_eq!(client.line(), Some(format!("message: this is SSE #{n}")));
    }
    drop(client);
    server.end("TERM");
}

#[test]
fn typed_receives_each_variant_and_keeps_an_unknown_event() {
    check(
        env!("CARGO_BIN_EXE_typed"),
        &[
            "customer 0 is Jet Brains",
            "product 0 costs [100, 200]",
            "the event \"weather\" could not be decoded: rain",
            "from the beginning",
        ],
    );
}

#[test]
fn answer_prints_the_whole_answer() {
    check(env!("CARGO_BIN_EXE_answer"), &["Good day, Ada."]);
}

#[test]
fn tokens_renews_its_token_after_a_401_and_resumes() {
    check(
        env!("CARGO_BIN_EXE_tokens"),
        &[
            "this is SSE #0, by Bearer token1",
            "this is SSE #1, by Bearer token1",
            "renewed: token2",
            "this is SSE #2, by Bearer token2",
            "this is SSE #3, by Bearer token2",
            "renewed: token3",
            "this is SSE #4, by Bearer token3",
            "this is SSE #5, by Bearer token3",
            "renewed: token4",
        ],
    );
}

#[test]
fn blocking_stops_while_it_waits_for_an_event() {
    check(
        env!("CARGO_BIN_EXE_blocking"),
        &[
            "this is SSE #0",
            "this is SSE #1",
            "this is SSE #2",
            "stopped",
        ],
    );
}

#[test]
fn lazy_connects_when_it_is_polled() {
    check(
        env!("CARGO_BIN_EXE_lazy"),
        &["0 connections", "100, 1 connection", "200, 1 connection"],
    );
}

/// The program prints these lines and ends with status 0.
fn check(path: &str, expected: &[&str]) {
    let mut program = Program::start(&mut Command::new(path));
    for line in expected {
        assert_eq!(program.line().as_deref(), Some(*line), "{path}");
    }
    assert_eq!(program.line(), None, "{path}");
    program.process.expect_success();
}

struct Program {
    process: Process,
    lines: Receiver<String>,
}

impl Program {
    fn start(command: &mut Command) -> Self {
        let command = command.stdout(Stdio::piped());
        let mut process = Process::start(command, "cargo build -p tidings-examples");
        let output = BufReader::new(process.stdout());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                sender.send(line).ok();
            }
        });
        Self { process, lines }
    }

    /// The next line. `None` at the end.
    fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line within {DEADLINE:?}"),
        }
    }
}
