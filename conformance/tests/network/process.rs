//! A program that ends with its test, and the lines that it prints.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use tidings_testkit::timeout::timeout;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::DEADLINE;

pub(crate) struct Process {
    child: Child,
    lines: UnboundedReceiver<String>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (sender, lines) = unbounded_channel();
        each_line(child.stdout.take().unwrap(), move |line| {
            sender.send(line).ok();
        });
        // Shown if the test fails.
        each_line(child.stderr.take().unwrap(), |line| eprintln!("{line}"));
        Self { child, lines }
    }

    /// The next line; `None` at the end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let line = timeout(DEADLINE, self.lines.recv()).await;
        line.expect("a line, or the end")
    }

    /// Waits for the end. Checks that no further line is printed.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        assert_eq!(self.line().await, None);
        self.child.wait().expect("our child process")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both do nothing to a process that has ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Calls `take` with each line until the output ends.
fn each_line(output: impl Read + Send + 'static, take: impl Fn(String) + Send + 'static) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            take(line.expect("a line of text"));
        }
    });
}
