//! A server whose standard error is a full pipe that nobody reads.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write, pipe};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::lifecycle::begin_publication;
use crate::process::{LIMIT, tidings};
use crate::raw::{connect, get, post, read};

/// Extra time that a busy machine may need. Each wait for a reader of the log would last for ever.
const SLACK: Duration = Duration::from_secs(20);

/// More lines than the pipe holds.
const FILLING: usize = 1_000;

/// More lines than the pipe and the server's memory hold.
const LINES: usize = 13_000;

/// A server that logs each request, and its standard error.
struct Unread {
    child: Child,
    address: SocketAddr,
    log: PipeReader,
}

impl Unread {
    fn start(flags: &[&str]) -> Self {
        let (log, stderr) = pipe().unwrap();
        let mut command = tidings(&["serve", "--listen", "127.0.0.1:0", "--log-level", "debug"]);
        command.args(flags).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on http://");
        let address = address.unwrap().parse().unwrap();
        Self {
            child,
            address,
            log,
        }
    }

    /// Has the server log more than the pipe holds.
    fn fill_pipe(&self) {
        self.request(FILLING);
    }

    /// Makes so many requests on one connection, and reads the answers.
    fn request(&self, count: usize) {
        let mut stream = connect(self.address);
        let mut answers = BufReader::new(stream.try_clone().unwrap());
        let head = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        let sends = thread::spawn(move || {
            for _ in 0..count {
                stream.write_all(head.as_bytes()).unwrap();
            }
        });
        for _ in 0..count {
            assert_eq!(read(&mut answers).status, 200);
        }
        sends.join().unwrap();
    }

    fn lost_lines(&self) -> u64 {
        let metrics = get(self.address, "/metrics").body;
        let name = "tidings_serve_log_lines_lost_total ";
        let lost = metrics.lines().find_map(|line| line.strip_prefix(name));
        lost.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
    }

    fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        let status = kill
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    fn wait(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < limit, "the server has not ended");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the server no longer accepts connections.
    fn await_drain(&self) {
        let start = Instant::now();
        while TcpStream::connect(self.address).is_ok() {
            assert!(start.elapsed() < LIMIT, "the listener is open");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn requests_are_answered_and_lost_lines_are_counted() {
    let mut server = Unread::start(&[]);
    assert_eq!(server.lost_lines(), 0);
    server.request(LINES);
    assert_eq!(post(server.address, "/channels/a", "x").status, 201);
    let lost = server.lost_lines();
    assert!(lost > 0);
    // The log tells the loss once it is read again.
    let mut log = BufReader::new(server.log.try_clone().unwrap());
    let (line_sender, lines) = mpsc::channel();
    let reads = thread::spawn(move || {
        let mut line = String::new();
        while log.read_line(&mut line).unwrap() > 0 {
            let json: serde_json::Value = serde_json::from_str(&line).unwrap();
            line_sender.send(json).ok();
            line.clear();
        }
    });
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < LIMIT, "no loss is told");
        let line = lines.recv_timeout(LIMIT).unwrap();
        if line["message"].as_str().unwrap().contains("are lost") {
            assert_eq!(line["level"], "WARN");
            assert!(line["lines"].as_u64().unwrap() > 0, "{line}");
            break;
        }
    }
    server.signal("TERM");
    assert_eq!(server.wait(LIMIT).code(), Some(0));
    // What follows is written to the end.
    let last = std::iter::from_fn(|| lines.recv_timeout(LIMIT).ok()).find(|line| {
        let text = line["message"].as_str().unwrap();
        text.contains("the server has ended")
    });
    assert!(last.is_some());
    drop(lines);
    reads.join().unwrap();
}

#[test]
fn the_first_signal_ends_it_in_time() {
    let mut server = Unread::start(&["--drain", "1s"]);
    server.fill_pipe();
    server.signal("TERM");
    assert_eq!(server.wait(SLACK).code(), Some(0));
    // Nothing was read until here.
    let mut text = String::new();
    server.log.read_to_string(&mut text).unwrap();
    assert!(text.lines().count() < FILLING, "the pipe was not full");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = Unread::start(&["--drain", "10min"]);
    server.fill_pipe();
    let mut publisher = connect(server.address);
    begin_publication(&mut publisher);
    server.signal("TERM");
    server.await_drain();
    server.signal("INT");
    assert_eq!(server.wait(SLACK).code(), Some(1));
}

#[test]
fn an_error_at_the_end_does_not_wait_for_a_reader() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (log, stderr) = pipe().unwrap();
    fill(stderr.try_clone().unwrap());
    let mut command = tidings(&["serve", "--listen", &address.to_string()]);
    command.stdout(Stdio::null()).stderr(stderr);
    let child = command.spawn().unwrap();
    let mut server = Unread {
        child,
        address,
        log,
    };
    assert_eq!(server.wait(SLACK).code(), Some(1));
}

/// Writes into a pipe until it takes no more.
fn fill(mut pipe: PipeWriter) {
    let (sender, written) = mpsc::channel();
    thread::spawn(move || {
        // Fails when the test has ended, and with it the reader.
        while pipe.write_all(b"x").is_ok() {
            sender.send(()).ok();
        }
    });
    while written.recv_timeout(Duration::from_secs(1)).is_ok() {}
}

#[test]
fn a_server_with_a_full_log_ends_as_it_should() {
    // Its standard output is closed.
    let mut server = Unread::start(&[]);
    server.request(LINES);
    assert!(server.lost_lines() > 0);
    server.signal("TERM");
    assert!(server.wait(SLACK).success());
}
