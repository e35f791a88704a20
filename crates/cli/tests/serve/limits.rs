//! What one client, and all clients together, can use.

use std::io::{BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::lifecycle::{await_sessions, subscribe};
use crate::process::{LIMIT, Server};
use crate::raw::{Answer, connect, get, post, read, request};

/// The answer to a GET over a connection that may be refused.
fn attempt(server: &Server, target: &str) -> Answer {
    let address = server.address();
    let mut stream = connect(address);
    let head = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    read(&mut BufReader::new(stream))
}

#[track_caller]
fn assert_retry_after(answer: &Answer) {
    let seconds = answer.header("retry-after").map(str::parse::<u64>);
    assert!(matches!(seconds, Some(Ok(5..=10))), "{answer:?}");
}

#[test]
fn subscribers_leave_room_for_publishers() {
    let server = Server::start(&["--max-connections", "5", "--kept-for-publishers", "3"]);
    let address = server.address();
    let readers = [(); 2].map(|()| subscribe(address, "/channels/a"));
    let refused = get(address, "/channels/a");
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_retry_after(&refused);
    assert_eq!(post(address, "/channels/a", "x").status, 201);
    // An `EventSource` would give up after a refusal.
    let accept = ["Accept: text/event-stream"];
    let later = request(address, "GET", "/channels/a", &accept, "");
    assert_eq!(later.status, 200, "{later:?}");
    assert!(later.body.starts_with("retry: "), "{later:?}");
    drop(readers);
    await_sessions(&server, 0);
    subscribe(address, "/channels/a");
}

#[test]
fn refused_subscribers_that_stay_connected_take_no_room_of_publishers() {
    let server = Server::start(&["--max-connections", "5", "--kept-for-publishers", "3"]);
    let address = server.address();
    let readers = [(); 2].map(|()| subscribe(address, "/channels/a"));
    let mut refused = Vec::new();
    for round in 0..10 {
        for accept in ["*/*", "text/event-stream"] {
            let mut stream = BufReader::new(connect(address));
            let head =
                format!("GET /channels/a HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n");
            stream.get_mut().write_all(head.as_bytes()).unwrap();
            let answer = read(&mut stream);
            assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
            // The server has closed it when this is over.
            assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0, "{round}");
            refused.push(stream);
        }
        assert_eq!(post(address, "/channels/a", "x").status, 201);
    }
    drop(readers);
}

#[test]
fn a_connection_over_the_limit_is_answered_and_closed() {
    for flags in [
        &["--max-connections", "3", "--kept-for-publishers", "1"][..],
        &["--max-connections-per-address", "3"],
    ] {
        let server = Server::start(flags);
        let address = server.address();
        let mut open: Vec<_> = (0..3).map(|_| connect(address)).collect();
        let refused = attempt(&server, "/healthz");
        refused.assert_problem(503, "too-many-connections");
        assert_retry_after(&refused);
        assert_eq!(refused.header("connection"), Some("close"));
        // One that sends nothing is closed, too.
        assert_eq!(connect(address).read(&mut [0; 1]).unwrap_or(0), 0);
        // The open ones work.
        let head = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let mut first = open.remove(0);
        first.write_all(head.as_bytes()).unwrap();
        assert_eq!(read(&mut BufReader::new(first)).status, 200);
        let start = Instant::now();
        while attempt(&server, "/healthz").status != 200 {
            assert!(start.elapsed() < LIMIT, "its place stays taken");
        }
    }
}

#[test]
fn the_newest_session_of_an_address_may_replace_the_oldest() {
    let flags = ["--max-connections-per-address", "4", "--replace-oldest"];
    let server = Server::start(&flags);
    let address = server.address();
    let [mut first, _second, _third] = [(); 3].map(|()| subscribe(address, "/channels/a"));
    let _fourth = subscribe(address, "/channels/a");
    let mut text = String::new();
    first.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("\r\n0\r\n\r\n"), "{text}");
    await_sessions(&server, 3);
}

#[test]
fn bodies_that_stop_take_limited_room() {
    let server = Server::start(&["--max-body", "100KiB", "--max-bodies", "200KiB"]);
    let address = server.address();
    let stopped: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = connect(address);
            let head = format!(
                "POST /channels/a HTTP/1.1\r\nHost: {address}\r\nContent-Length: 100000\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&[b'x'; 90_000]).unwrap();
            stream
        })
        .collect();
    let start = Instant::now();
    loop {
        let answer = post(address, "/channels/a", "y".repeat(90_000));
        if answer.status == 503 {
            answer.assert_problem(503, "unavailable");
            break;
        }
        assert!(start.elapsed() < LIMIT, "each body finds room");
    }
    drop(stopped);
    while post(address, "/channels/a", "y".repeat(90_000)).status != 201 {
        assert!(start.elapsed() < 2 * LIMIT, "the room stays taken");
    }
}

#[test]
fn a_head_is_limited_in_size_and_time() {
    let server = Server::start(&["--max-head", "2KiB", "--request-time", "1s"]);
    let address = server.address();
    let fits = format!("X: {}", "x".repeat(1500));
    assert_eq!(
        request(address, "GET", "/healthz", &[&fits], "").status,
        200
    );
    let large = format!("X: {}", "x".repeat(2500));
    assert_eq!(
        request(address, "GET", "/healthz", &[&large], "").status,
        431
    );
    let start = Instant::now();
    let mut half = connect(address);
    half.write_all(b"GET /healthz HTTP/1.1\r\nHost: ").unwrap();
    let mut end = Vec::new();
    half.read_to_end(&mut end).ok();
    assert!(start.elapsed() >= Duration::from_millis(900));
    assert_eq!(get(address, "/healthz").status, 200);
}

#[test]
fn a_stalled_reader_is_cut() {
    let server = Server::start(&["--write-deadline", "1s"]);
    let address = server.address();
    let stalled = subscribe(address, "/channels/a");
    await_sessions(&server, 1);
    for _ in 0..24 {
        assert_eq!(
            post(address, "/channels/a", "x".repeat(1 << 19)).status,
            201
        );
    }
    await_sessions(&server, 0);
    drop(stalled);
}

#[test]
fn a_connection_has_a_lifetime() {
    let server = Server::start(&["--max-lifetime", "2s"]);
    let mut reader = subscribe(server.address(), "/channels/a");
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("0\r\n\r\n"), "{text}");
}

#[test]
fn the_limit_of_open_files_is_raised_for_the_connections() {
    let mut shell = Command::new("sh");
    let limited = "ulimit -Sn 64 && exec \"$0\" serve --listen 127.0.0.1:0";
    shell
        .args(["-c", limited, env!("CARGO_BIN_EXE_tidings")])
        .stdin(Stdio::null());
    let server = Server::spawn(shell);
    let address = server.address();
    let readers: Vec<_> = (0..100)
        .map(|_| subscribe(address, "/channels/a"))
        .collect();
    assert_eq!(post(address, "/channels/a", "x").status, 201);
    drop(readers);
}

#[test]
fn a_limit_of_open_files_that_cannot_be_raised_limits_the_connections() {
    let mut shell = Command::new("sh");
    let limited = "ulimit -n 80 && exec \"$0\" serve --listen 127.0.0.1:0";
    shell
        .args(["-c", limited, env!("CARGO_BIN_EXE_tidings")])
        .stdin(Stdio::null());
    let server = Server::spawn(shell);
    let address = server.address();
    let readers: Vec<_> = (0..20).map(|_| subscribe(address, "/channels/a")).collect();
    assert_eq!(get(address, "/channels/a").status, 429);
    let open: Vec<_> = (0..20).map(|_| connect(address)).collect();
    attempt(&server, "/healthz").assert_problem(503, "too-many-connections");
    server.await_log("ulimit -n");
    drop((readers, open));
}
