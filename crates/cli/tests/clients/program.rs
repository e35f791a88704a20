//! The program as a process of its own, which ends within a bounded time.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tidings_testkit::timeout::timeout;
use tokio::time::sleep;

/// Far longer than any run.
const LIMIT: Duration = Duration::from_secs(120);

/// What a run has left.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `tidings` with these arguments and this input.
pub(crate) async fn run(arguments: &[&str], input: &str) -> Outcome {
    let mut running = Running::start(arguments, input);
    let stdout = read(running.0.stdout.take().unwrap());
    running.finish(stdout).await
}

/// As `run`, but nobody reads its output.
pub(crate) async fn run_unread(arguments: &[&str], input: &str) -> Outcome {
    let mut running = Running::start(arguments, input);
    drop(running.0.stdout.take());
    running.finish(thread::spawn(String::new)).await
}

fn read(mut output: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        text
    })
}

/// A process that is killed if it still runs when it is dropped.
struct Running(Child);

impl Running {
    fn start(arguments: &[&str], input: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // No proxy listens there: a client that uses one for its own machine fails.
        for variable in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env(variable, "http://127.0.0.1:1");
        }
        let mut child = command.spawn().unwrap();
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_owned());
        // A program that ends early does not read it.
        thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap_or_default());
        Self(child)
    }

    async fn finish(mut self, stdout: JoinHandle<String>) -> Outcome {
        let stderr = read(self.0.stderr.take().unwrap());
        let ends = async {
            loop {
                match self.0.try_wait().unwrap() {
                    Some(status) => return status,
                    None => sleep(Duration::from_millis(5)).await,
                }
            }
        };
        let status = timeout(LIMIT, ends)
            .await
            .expect("the program does not end");
        Outcome {
            code: status.code(),
            stdout: stdout.join().unwrap(),
            stderr: stderr.join().unwrap(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}
