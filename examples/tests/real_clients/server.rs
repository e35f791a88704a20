//! An example server on its own port.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::Process;

/// How long it may take until it prints its address.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// How long it may take to end, and how much longer on a busy machine.
const END_DEADLINE: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_secs(1);

pub(crate) struct Server {
    address: SocketAddr,
    pub(crate) process: Process,
    /// The lines that it prints. They end with the process.
    lines: Receiver<String>,
}

impl Server {
    /// On this port; 0 is any free port.
    pub(crate) fn start(program: &str, port: u16) -> Self {
        Self::start_command(Command::new(program), port)
    }

    /// With a command that has other settings already.
    pub(crate) fn start_command(mut command: Command, port: u16) -> Self {
        command.env("PORT", port.to_string()).stdout(Stdio::piped());
        let mut process = Process::start(&mut command, "cargo build -p tidings-examples");
        let output = BufReader::new(process.stdout());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                sender.send(line).ok();
            }
        });
        let first = lines.recv_timeout(START_DEADLINE);
        let first = first.expect("the server prints its address");
        let address = first.strip_prefix("listening on http://");
        let address = address.unwrap_or_else(|| panic!("the server's first line is {first:?}"));
        Self {
            address: address.parse().expect("an address"),
            process,
            lines,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends this signal. The server must end with status 0 in time, whatever its clients do. Returns how
    /// long it took.
    pub(crate) fn end(mut self, signal: &str) -> Duration {
        let start = Instant::now();
        self.process.signal(signal);
        let end = self.lines.recv_timeout(END_DEADLINE + SLACK);
        let took = start.elapsed();
        let over = Err(RecvTimeoutError::Disconnected);
        assert_eq!(end, over, "{took:?} after its {signal}");
        self.process.expect_success();
        took
    }
}
