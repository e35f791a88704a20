//! `firehose`: stalled clients, and complete events.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::client::Client;
use crate::server::Server;

const STALLED: usize = 100;
const MEGABYTES: usize = 64;

#[test]
fn a_stalled_client_delays_no_other_and_holds_little_memory() {
    let server = Server::start(env!("CARGO_BIN_EXE_firehose"), 0);
    let mut client = Client::get(server.address(), "/events");
    read_megabytes(&mut client, 1);
    let before = memory(&server);
    let stalled: Vec<TcpStream> = (0..STALLED).map(|_| stall(&server)).collect();
    for mut client in [client, Client::get(server.address(), "/events")] {
        read_megabytes(&mut client, MEGABYTES);
    }
    if let (Some(before), Some(after)) = (before, memory(&server)) {
        let each = after.saturating_sub(before) / STALLED;
        eprintln!("a stalled client holds {each} bytes");
        // The queue's 64 KiB share one batch; the rest belongs to the connection.
        assert!(each < 64 * 1024, "a stalled client holds {each} bytes");
    }
    drop(stalled);
}

#[test]
fn events_are_complete_and_in_order() {
    let server = Server::start(env!("CARGO_BIN_EXE_firehose"), 0);
    let mut client = Client::get(server.address(), "/events");
    for n in (0..256).cycle().take(10_000) {
        let drop = client.block().expect("a drop");
        assert!(
            drop.starts_with(&format!("data: drop {n} ~")),
            "{n}: {drop}"
        );
    }
}

/// Opens a stream, and reads only its first bytes.
fn stall(server: &Server) -> TcpStream {
    let mut connection = TcpStream::connect(server.address()).expect("the server accepts");
    connection
        .write_all(b"GET /events HTTP/1.1\r\nHost: test\r\n\r\n")
        .expect("the server reads");
    connection.read_exact(&mut [0; 12]).expect("a status");
    connection
}

/// The resident memory of the server's process, if the system reports it.
fn memory(server: &Server) -> Option<usize> {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process.id())).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<usize>().ok()? * 1024)
}

fn read_megabytes(client: &mut Client, megabytes: usize) {
    let mut read = 0;
    while read < megabytes << 20 {
        read += client.chunk().len();
    }
}
