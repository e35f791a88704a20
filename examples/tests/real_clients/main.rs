//! The example server, heard by clients that are not ours: a browser, curl and Python.

#![cfg(unix)]
#![expect(clippy::panic, reason = "how a test says what is wrong")]
#![expect(
    clippy::disallowed_methods,
    reason = "other people's programs run on the machine's clock"
)]

use std::env;
use std::process::{Command, Stdio};
use std::time::Duration;

use chromium::Chromium;
use heard::{Heard, lines};
use page_server::PageServer;
use process::Process;
use server::Server;

mod chromium;
mod heard;
mod page_server;
mod process;
mod server;

/// What a test may take in all; a browser needs some seconds to start.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn chromium_hears_each_event_as_it_is_sent() {
    let server = server();
    let page = PageServer::start(include_str!("hear.html"));
    let address = format!("{}/?{}", page.address(), events(&server));
    let _browser = Chromium::open(&address);

    let heard = Heard::new("chromium", page.posted());
    heard.expect("open");
    heard.expect_events("message ");
    // An EventSource would now come back and hear them again.
    server.end("TERM");
}

#[test]
fn curl_hears_each_event_as_it_is_sent() {
    let server = server();
    let mut curl = Command::new("curl");
    curl.args(["--no-buffer", "--silent", "--show-error", "--noproxy", "*"]);
    curl.arg(events(&server));
    hears_each_event_and_ends(curl, "data: ", "apt-get install curl");
}

#[test]
fn httpx_sse_hears_each_event_as_it_is_sent() {
    let server = server();
    let in_venv = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/venv/bin/python");
    let mut python = Command::new(env::var_os("TIDINGS_TEST_PYTHON").unwrap_or(in_venv.into()));
    python.args(["-c", include_str!("hear.py"), &events(&server)]);
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

/// Its six events.
fn server() -> Server {
    Server::start(env!("CARGO_BIN_EXE_server"), 0)
}

fn events(server: &Server) -> String {
    format!("http://{}/events", server.address())
}
