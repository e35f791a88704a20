//! What a server uses: its metrics, its memory and its open files.

use std::fs;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::process::{LIMIT, Server};
use crate::raw::get;

/// The value of a metric without labels; 0 if the server has not recorded it yet.
pub(crate) fn metric(server: &Server, name: &str) -> u64 {
    let text = get(server.address(), "/metrics").body;
    let values = text.lines().filter_map(|line| line.split_once(' '));
    let value = values
        .filter(|(known, _)| *known == name)
        .map(|(_, value)| value);
    value
        .map(|value| value.parse::<u64>().unwrap())
        .next()
        .unwrap_or(0)
}

/// Waits until the server has this number of sessions.
pub(crate) async fn await_sessions(server: &Server, count: u64) {
    await_value(count, || metric(server, "tidings_server_sessions")).await;
}

/// Waits until the server has this number of connections besides the one that asks.
pub(crate) async fn await_connections(server: &Server, count: u64) {
    await_value(count + 1, || metric(server, "tidings_serve_connections")).await;
}

/// Waits until the server has at most this number of open files.
pub(crate) async fn await_open_files(server: &Server, most: usize) {
    let start = Instant::now();
    while open_files(server) > most {
        assert!(start.elapsed() < LIMIT, "{} open files", open_files(server));
        sleep(Duration::from_millis(20)).await;
    }
}

async fn await_value(expected: u64, mut value: impl FnMut() -> u64) {
    let start = Instant::now();
    loop {
        let current = value();
        if current == expected {
            return;
        }
        assert!(start.elapsed() < LIMIT, "{current} instead of {expected}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// The number of files that the server has open.
pub(crate) fn open_files(server: &Server) -> usize {
    let folder = format!("/proc/{}/fd", server.pid());
    fs::read_dir(folder).unwrap().count()
}

/// The memory of the server, in bytes, without the pages of mapped files, such as its program.
pub(crate) fn memory(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().unwrap() * 1024
}
