//! An example server, on a port of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::Process;

/// What it may take to say where it listens.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// What it may take to end, as promised, and what a busy machine may add.
const END_DEADLINE: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_secs(1);

pub(crate) struct Server {
    address: SocketAddr,
    pub(crate) process: Process,
    /// Read on, or the server's next word fails. Its end is the process's.
    said: Receiver<String>,
}

impl Server {
    /// At any port that is free, or one that another has left.
    pub(crate) fn start(program: &str, port: u16) -> Self {
        Self::start_command(Command::new(program), port)
    }

    /// One of which more is set than the port.
    pub(crate) fn start_command(mut command: Command, port: u16) -> Self {
        command.env("PORT", port.to_string()).stdout(Stdio::piped());
        let mut process = Process::start(&mut command, "cargo build -p tidings-examples");
        let output = BufReader::new(process.stdout());
        let (told, said) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                told.send(line).ok();
            }
        });
        let first = said.recv_timeout(START_DEADLINE);
        let first = first.expect("the server says where it listens");
        let address = first.strip_prefix("listening on http://");
        let address = address.unwrap_or_else(|| panic!("the server's first line is {first:?}"));
        Self {
            address: address.parse().expect("an address"),
            process,
            said,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends well and on time when it is sent this signal, whatever its clients do. Says how long it
    /// took.
    pub(crate) fn end(mut self, signal: &str) -> Duration {
        let start = Instant::now();
        self.process.signal(signal);
        let end = self.said.recv_timeout(END_DEADLINE + SLACK);
        let took = start.elapsed();
        let over = Err(RecvTimeoutError::Disconnected);
        assert_eq!(end, over, "{took:?} after its {signal}");
        self.process.expect_success();
        took
    }
}
