//! Each server ends on time, whatever its clients do. To clients that read, it sends a time to reconnect,
//! or the rest of their answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use crate::client::Client;
use crate::server::Server;

const STALLED: usize = 20;

#[test]
fn server_drains() {
    check(env!("CARGO_BIN_EXE_server"), "TERM", "GET /events");
}

#[test]
fn axum_counter_drains() {
    check(env!("CARGO_BIN_EXE_axum_counter"), "TERM", "GET /events");
}

#[test]
fn hyper_bare_drains() {
    check(env!("CARGO_BIN_EXE_hyper_bare"), "TERM", "GET /events");
}

#[test]
fn firehose_drains() {
    check(env!("CARGO_BIN_EXE_firehose"), "TERM", "GET /events");
}

#[test]
fn llm_tokens_drains_and_finishes_its_answers() {
    let program = env!("CARGO_BIN_EXE_llm_tokens");
    let last = last_block(program, "TERM", "POST /v1/chat/completions");
    assert_eq!(last, "data: [DONE]");
}

#[test]
fn progress_drains() {
    let program = env!("CARGO_BIN_EXE_progress");
    check(program, "TERM", "GET /jobs/1");
}

#[test]
fn replay_drains() {
    check(env!("CARGO_BIN_EXE_replay"), "TERM", "GET /feed");
}

#[test]
fn chat_drains() {
    check(env!("CARGO_BIN_EXE_chat"), "TERM", "GET /rooms/lobby");
}

#[test]
fn ctrl_c_drains_too() {
    check(env!("CARGO_BIN_EXE_axum_counter"), "INT", "GET /events");
    check(env!("CARGO_BIN_EXE_hyper_bare"), "INT", "GET /events");
}

fn check(program: &str, signal: &str, request: &str) {
    let last = last_block(program, signal, request);
    let retry = last.strip_prefix("retry: ").and_then(|ms| ms.parse().ok());
    let is_in_range = retry.is_some_and(|ms: u32| (1000..=5000).contains(&ms));
    assert!(is_in_range, "the last event of {program} is {last:?}");
}

/// The last block that a client receives after the signal, if it reads.
fn last_block(program: &str, signal: &str, request: &str) -> String {
    let server = Server::start(program, 0);
    let address = server.address();
    let body: &[u8] = if request.starts_with("POST") {
        br#"{"model": "m", "messages": [{"role": "user", "content": "a"}], "stream": true}"#
    } else {
        b""
    };
    // A job for `progress`; a 404 on the other servers.
    Client::send(address, "POST /jobs", "", b"");
    let stalled: Vec<TcpStream> = (0..STALLED)
        .map(|_| stall(address, request, body))
        .collect();
    let incomplete = [raw(address, b""), raw(address, b"GET /eve")];
    let mut live = Client::send(address, request, "", body);
    live.block().expect("an event");
    let live = thread::spawn(move || {
        let mut last = None;
        while let Some(block) = live.block() {
            last = Some(block);
        }
        last
    });
    let took = server.end(signal);
    eprintln!("{program} took {took:?}");
    let last = live.join().expect("a clean end").expect("a last event");
    assert!(TcpStream::connect(address).is_err(), "the port is open");
    drop((stalled, incomplete));
    last
}

/// A client that reads only the status.
fn stall(address: SocketAddr, request: &str, body: &[u8]) -> TcpStream {
    let length = body.len();
    let head = format!("{request} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n");
    let mut connection = raw(address, &[head.as_bytes(), body].concat());
    let mut status = [0; 12];
    connection.read_exact(&mut status).expect("a status");
    assert_eq!(&status, b"HTTP/1.1 200");
    connection
}

fn raw(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut connection = TcpStream::connect(address).expect("the server accepts");
    connection.write_all(bytes).expect("the server reads");
    connection
}
