//! Whole processes: a server that receives SIGTERM, and clients that are stopped.
//!
//! Each process is this test program, with its role in an environment variable.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use tidings_axum::{Drain, serve, shutdown_signal};
use tidings_testkit::timeout::timeout;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::app::{Client, Report, SLACK, SOON, app, on_path, retry_time};

const ROLE: &str = "TIDINGS_TEST_ROLE";
const DEADLINE: Duration = Duration::from_secs(2);
const STOPPED: usize = 20;
/// Enough for the server itself and a few connections.
const MAX_FILES: usize = 24;
const STALL: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_ends_on_time_with_stopped_clients() {
    let server = Process::start("server");
    let address: SocketAddr = server.expect_line("listens on ").parse().unwrap();
    let stopped: Vec<Process> = (0..STOPPED)
        .map(|_| Process::start(&format!("client of {address}")))
        .collect();
    for client in &stopped {
        client.expect_line("reads");
        client.signal("STOP");
    }
    for _ in &stopped {
        server.expect_line("stalled");
    }
    let mut live = Vec::new();
    for path in ["/quiet", "/quiet", "/quiet", "/flood"] {
        let mut client = Client::connect(address, path).await;
        client.read_until("data: ").await;
        live.push(tokio::spawn(async {
            let read = client.read_to_end().await;
            (read, Instant::now())
        }));
    }

    let start = Instant::now();
    server.signal("TERM");
    let ended = tokio::task::spawn_blocking(move || server.expect_success());
    for client in live {
        let (read, at) = client.await.unwrap();
        assert!((1000..=5000).contains(&retry_time(&read)));
        assert!(
            at - start < DEADLINE,
            "a live client receives its retry time at once"
        );
    }
    ended.await.unwrap();
    let took = start.elapsed();
    assert!(took < DEADLINE + SLACK, "the server took {took:?}");
    assert!(took >= DEADLINE, "no client was stalled: {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_without_clients_ends_at_once_and_frees_its_port() {
    let server = Process::start("server");
    let address: SocketAddr = server.expect_line("listens on ").parse().unwrap();
    let start = Instant::now();
    server.signal("TERM");
    server.expect_success();
    assert!(start.elapsed() < SLACK);
    TcpListener::bind(address).await.unwrap();
}

#[tokio::test]
async fn a_server_without_free_file_descriptors_serves_its_clients_and_accepts_again() {
    let server = Process::start_limited("server", MAX_FILES);
    let address: SocketAddr = server.expect_line("listens on ").parse().unwrap();
    let mut first = Client::connect(address, "/slow/0").await;
    first.read_until("slow").await;
    let mut others = Vec::new();
    for _ in 0..MAX_FILES {
        // The kernel connects those that the server cannot accept.
        others.push(Client::connect(address, "/quiet").await);
    }
    let waiting = timeout(STALL, others[MAX_FILES - 1].read_until("data: hello"));
    waiting.await.unwrap_err();
    first.request("/slow/0").await;
    first.read_until("slow").await;
    drop(others);
    let mut late = Client::connect(address, "/quiet").await;
    late.read_until("data: hello").await;
}

/// Runs a child process in its role. Does nothing in the test process itself.
#[test]
fn child_process_main() {
    let role = env::var(ROLE).unwrap_or_default();
    if role == "server" {
        run_server();
    } else if let Some(address) = role.strip_prefix("client of ") {
        run_client(address.parse().unwrap());
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn run_server() {
    let (app, mut reports) = app();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let signal = shutdown_signal();
    // From here on the test may send SIGTERM.
    print_line(&format!("listens on {}", listener.local_addr().unwrap()));
    let reporting = tokio::spawn(async move {
        while let Some(report) = reports.recv().await {
            if report == Report::Stalled {
                print_line("stalled");
            }
        }
    });
    serve(listener, on_path(app))
        .drain(&Drain::new().deadline(DEADLINE))
        .drain_on(signal)
        .await
        .unwrap();
    reporting.abort();
}

/// Reads until the process is stopped.
fn run_client(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"GET /flood HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    let mut buffer = [0; 65_536];
    stream.read_exact(&mut buffer).unwrap();
    print_line("reads");
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
}

/// Prints a line that is not mixed with the output of the test harness.
fn print_line(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// A child process. Killed when it is dropped, by its own id, stopped or not.
struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    fn start(role: &str) -> Self {
        Self::start_command(Command::new(env::current_exe().unwrap()), role)
    }

    /// Starts one that can open at most `max_files` file descriptors.
    fn start_limited(role: &str, max_files: usize) -> Self {
        let mut shell = Command::new("sh");
        shell
            .args([
                "-c",
                &format!("ulimit -n {max_files} && exec \"$0\" \"$@\""),
            ])
            .arg(env::current_exe().unwrap());
        Self::start_command(shell, role)
    }

    fn start_command(mut command: Command, role: &str) -> Self {
        let mut child = command
            .args(["--exact", "process::child_process_main", "--nocapture"])
            .env(ROLE, role)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = read_lines(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Waits for a line that begins with `begin`, and returns the rest of it.
    fn expect_line(&self, begin: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(SOON);
            let line =
                line.unwrap_or_else(|_| panic!("there is no line that begins with {begin:?}"));
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

    /// Waits until it has ended with status 0.
    fn expect_success(mut self) {
        // Its output ends with it.
        let end = loop {
            if let Err(end) = self.lines.recv_timeout(SOON) {
                break end;
            }
        };
        assert_eq!(end, RecvTimeoutError::Disconnected, "it still runs");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
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
