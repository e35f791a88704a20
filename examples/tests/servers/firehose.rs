//! `firehose`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::client::Client;
use crate::server::Server;

const STALLED: usize = 100;
const MEGABYTES: usize = 64;

#[test]
fn a_stalled_client_slows_nobody_and_holds_little() {
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
        eprintln!("a stalled client holds {each} bytes of the server's");
        // The queue's 64 KiB share one batch; the rest is the connection's.
        assert!(each < 64 * 1024, "a stalled client holds {each} bytes");
    }
    drop(stalled);
}

#[test]
fn what_comes_is_whole_and_in_order() {
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

/// Opens a stream, and reads nothing but its first bytes.
fn stall(server: &Server) -> TcpStream {
    let mut connection = TcpStream::connect(server.address()).expect("the server accepts");
    connection
        .write_all(b"GET /events HTTP/1.1\r\nHost: test\r\n\r\n")
        .expect("the server reads");
    connection.read_exact(&mut [0; 12]).expect("a status");
    connection
}

/// The bytes that the server's process holds, where the system tells.
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
