//! `Server`: `tidings serve` as a process of its own, which is killed when it is dropped.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The most time for what takes milliseconds, on a machine that does much else.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The beginning of the first line that the server prints. Its address follows.
const LISTENING: &str = "listening on ";

/// A server, which has printed its address unless it was only begun.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    listening: String,
    printed: Receiver<String>,
    log: Arc<Mutex<String>>,
}

/// The command `tidings` with these arguments, and none of the caller's settings.
pub(crate) fn tidings(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_lowercase();
        if text.starts_with("tidings_") || text.ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs `tidings serve` with arguments with which it must end by itself.
#[allow(dead_code, reason = "for the tests of flags")]
pub(crate) fn serve_to_the_end(args: &[&str]) -> Output {
    let mut command = tidings(&["serve"]);
    command.args(args);
    run_to_the_end(command)
}

/// Runs a command that must end by itself.
#[allow(dead_code, reason = "for the tests of flags and of clients")]
pub(crate) fn run_to_the_end(mut command: Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Killed(command.spawn().unwrap());
    let (mut stdout, mut stderr) = (
        child.0.stdout.take().unwrap(),
        child.0.stderr.take().unwrap(),
    );
    let reads = thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let reads_errors = thread::spawn(move || {
        let mut bytes = Vec::new();
        stderr.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let status = wait(&mut child.0, LIMIT).expect("the program does not end");
    Output {
        status,
        stdout: reads.join().unwrap(),
        stderr: reads_errors.join().unwrap(),
    }
}

impl Server {
    /// Starts `tidings serve` on a free port of `127.0.0.1`, and waits for its address.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut command = tidings(&["serve", "--listen", "127.0.0.1:0"]);
        command.args(args);
        Self::spawn(command)
    }

    /// Starts this command, and waits for the address that it prints.
    pub(crate) fn spawn(command: Command) -> Self {
        let mut server = Self::begin(command);
        server.await_address();
        server
    }

    /// Starts this command.
    pub(crate) fn begin(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, printed) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // A test that has ended reads no more lines, but the server must not block.
                sender.send(line).ok();
            }
        });
        let log = Arc::new(Mutex::new(String::new()));
        let logged = Arc::clone(&log);
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut log = logged.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self {
            child,
            listening: String::new(),
            printed,
            log,
        }
    }

    /// Waits for the address that it prints.
    pub(crate) fn await_address(&mut self) {
        let first = self.next_line();
        let address = first.strip_prefix(LISTENING);
        self.listening = address.expect("an address").to_owned();
    }

    /// The next line of its standard output.
    pub(crate) fn next_line(&mut self) -> String {
        self.printed.recv_timeout(LIMIT).unwrap_or_else(|error| {
            let status = self.child.try_wait();
            panic!("{error}; {status:?}; {}", self.log());
        })
    }

    /// Where it listens, as it prints it: `http://127.0.0.1:40001`.
    pub(crate) fn listening(&self) -> &str {
        &self.listening
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        let (scheme, address) = self.listening.split_once("://").expect("a TCP address");
        assert!(["http", "https"].contains(&scheme), "{scheme}");
        address.parse().unwrap()
    }

    /// The URL of this path, which begins with `/`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.listening)
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to its standard error so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until its log has this text.
    pub(crate) fn await_log(&self, text: &str) {
        let start = Instant::now();
        while !self.log().contains(text) {
            assert!(start.elapsed() < LIMIT, "no {text:?} in {}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends it a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        let status = kill.args(["-s", name, &self.pid().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits until it has ended by itself or after a signal.
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let status = wait(&mut self.child, limit);
        status.unwrap_or_else(|| panic!("the server has not ended: {}", self.log()))
    }

    /// Kills it at once, by SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if thread::panicking() {
            eprintln!("the log of the server:\n{}", self.log());
        }
    }
}

/// A process that does not outlive this.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// How the process ends; `None` if it does not in this time.
fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if start.elapsed() > limit {
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
