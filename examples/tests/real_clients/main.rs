//! The example server, heard by clients that are not ours: a browser, curl and Python.

#![cfg(unix)]
#![expect(clippy::panic, reason = "how a test says what is wrong")]
#![expect(
    clippy::disallowed_methods,
    reason = "other people's programs run on the machine's clock"
)]

use std::env;
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use chromium::Chromium;
use heard::{Heard, Word, lines};
use page_server::PageServer;
use process::Process;

mod chromium;
mod heard;
mod page_server;
mod process;

/// What a test may take in all; a browser needs some seconds to start.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn chromium_hears_each_event_as_it_is_sent() {
    let server = Server::start();
    let page = PageServer::start(include_str!("hear.html"));
    let address = format!("{}/?{}", page.address(), server.events());
    let _browser = Chromium::open(&address);

    let heard = Heard::new("chromium", page.posted());
    heard.expect("open");
    heard.expect_events("message ");
    // An EventSource would now come back and hear them again.
}

#[test]
fn curl_hears_each_event_as_it_is_sent() {
    let server = Server::start();
    let mut curl = Command::new("curl");
    curl.args(["--no-buffer", "--silent", "--show-error", "--noproxy", "*"]);
    curl.arg(server.events());
    hears_each_event_and_ends(curl, "data: ", "apt-get install curl");
}

#[test]
fn httpx_sse_hears_each_event_as_it_is_sent() {
    let server = Server::start();
    let in_venv = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/venv/bin/python");
    let mut python = Command::new(env::var_os("TIDINGS_TEST_PYTHON").unwrap_or(in_venv.into()));
    python.args(["-c", include_str!("hear.py"), &server.events()]);
    hears_each_event_and_ends(python, "message ", "scripts/test needs");
}

/// For a client that prints each event's data after `prefix`. `remedy` gets the client where it is
/// missing.
fn hears_each_event_and_ends(mut client: Command, prefix: &str, remedy: &str) {
    let name = client.get_program().to_string_lossy().into_owned();
    let mut client = Process::start(client.stdout(Stdio::piped()), remedy);
    let heard = Heard::new(&name, lines(client.stdout(), prefix));
    heard.expect_events(prefix);
    heard.expect_end();
    client.expect_success();
}

/// The example, on a port of its own.
struct Server {
    address: String,
    _process: Process,
    /// Read on, or the server's next word fails.
    _said: Receiver<Word>,
}

impl Server {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
        command.env("PORT", "0").stdout(Stdio::piped());
        let mut process = Process::start(&mut command, "cargo build -p tidings-examples");
        let said = lines(process.stdout(), "");
        let (_, first) = said
            .recv_timeout(DEADLINE)
            .expect("the server says where it listens");
        let address = first
            .strip_prefix("listening on ")
            .unwrap_or_else(|| panic!("the server's first line is {first:?}"));
        Self {
            address: address.to_owned(),
            _process: process,
            _said: said,
        }
    }

    fn events(&self) -> String {
        format!("{}/events", self.address)
    }
}
