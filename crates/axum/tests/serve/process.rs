//! Whole processes: a server that is told to end, and clients that are stopped.
//!
//! The processes are this test's own program, told by the environment what to be.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use tidings_axum::{serve, shutdown_signal};
use tidings_server::Drain;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::app::{Client, SLACK, SOON, Told, app, told};

const ROLE: &str = "TIDINGS_TEST_ROLE";
const DEADLINE: Duration = Duration::from_secs(2);
const STOPPED: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_goes_on_time_whatever_became_of_its_clients() {
    let server = Process::start("server");
    let address: SocketAddr = server.says("listens on ").parse().unwrap();
    let stopped: Vec<Process> = (0..STOPPED)
        .map(|_| Process::start(&format!("client of {address}")))
        .collect();
    for client in &stopped {
        client.says("reads");
        client.signal("STOP");
    }
    for _ in &stopped {
        server.says("stalled");
    }
    let mut live = Vec::new();
    for path in ["/quiet", "/quiet", "/quiet", "/flood"] {
        let mut client = Client::connect(address, path).await;
        client.hear("data: ").await;
        live.push(tokio::spawn(async {
            let read = client.hear_out().await;
            (read, Instant::now())
        }));
    }

    let start = Instant::now();
    server.signal("TERM");
    let ended = tokio::task::spawn_blocking(move || server.ended());
    for client in live {
        let (read, at) = client.await.unwrap();
        assert!((1000..=5000).contains(&told(&read)));
        assert!(at - start < DEADLINE, "a live client is told at once");
    }
    ended.await.unwrap();
    let took = start.elapsed();
    assert!(took < DEADLINE + SLACK, "the server took {took:?}");
    assert!(took >= DEADLINE, "no client was stalled: {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_without_clients_goes_at_once_and_frees_its_port() {
    let server = Process::start("server");
    let address: SocketAddr = server.says("listens on ").parse().unwrap();
    let start = Instant::now();
    server.signal("TERM");
    server.ended();
    assert!(start.elapsed() < SLACK);
    TcpListener::bind(address).await.unwrap();
}

/// What a process of these tests does; nothing, if it is none.
#[test]
fn of_a_process() {
    let role = env::var(ROLE).unwrap_or_default();
    if role == "server" {
        run_server();
    } else if let Some(address) = role.strip_prefix("client of ") {
        run_client(address.parse().unwrap());
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn run_server() {
    let (app, mut tells) = app();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let signal = shutdown_signal();
    // From here on the test may ask for the end.
    say(&format!("listens on {}", listener.local_addr().unwrap()));
    let telling = tokio::spawn(async move {
        while let Some(told) = tells.recv().await {
            if told == Told::Stalled {
                say("stalled");
            }
        }
    });
    serve(listener, app)
        .drain(Drain::new().deadline(DEADLINE))
        .drain_on(signal)
        .await
        .unwrap();
    telling.abort();
}

/// Reads all that comes, until it is stopped.
fn run_client(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"GET /flood HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    let mut buffer = [0; 65_536];
    stream.read_exact(&mut buffer).unwrap();
    say("reads");
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
}

/// Says a line that no line of the test harness's is mixed with.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Killed when it is dropped, by its own id, stopped or not.
struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    fn start(role: &str) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "process::of_a_process", "--nocapture"])
            .env(ROLE, role)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = read_lines(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Waits until it says a line that begins so, and returns the rest of it.
    fn says(&self, begin: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(SOON);
            let line = line.unwrap_or_else(|_| panic!("it does not say {begin:?}"));
            if let Some(rest) = line.strip_prefix(begin) {
                return rest.to_owned();
            }
        }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    /// Waits until it has ended well.
    fn ended(mut self) {
        // What it says ends with it.
        let end = loop {
            if let Err(end) = self.lines.recv_timeout(SOON) {
                break end;
            }
        };
        assert_eq!(end, RecvTimeoutError::Disconnected, "it goes on");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn read_lines(out: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
