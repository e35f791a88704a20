//! How the server starts, answers its supervisor, and ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use tidings_testkit::temp_dir::TempDir;

use crate::process::{LIMIT, Server};
use crate::raw::{connect, get, post, read};

/// Extra time that a busy machine may need.
const SLACK: Duration = Duration::from_secs(5);

/// A subscriber that has received the head of its stream.
pub(crate) fn subscribe(address: SocketAddr, target: &str) -> BufReader<TcpStream> {
    let mut stream = connect(address);
    let head = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 200 OK\r\n");
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).unwrap();
    }
    stream
}

/// Sends the head of a publication and a part of its data, `he` of `hello`. Returns once the server has read
/// the head: it permits the data only then.
pub(crate) fn begin_publication(stream: &mut (impl Read + Write)) {
    let head = "POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\
                Expect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut permission = *b"HTTP/1.1 100 Continue\r\n\r\n";
    stream.read_exact(&mut permission).unwrap();
    assert_eq!(&permission, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"he").unwrap();
}

/// Waits until the server has this number of sessions.
pub(crate) fn await_sessions(server: &Server, count: usize) {
    await_metric(server, &format!("tidings_server_sessions {count}"));
}

/// Waits until the metrics have this line.
fn await_metric(server: &Server, line: &str) {
    let expected = format!("\n{line}\n");
    let start = Instant::now();
    loop {
        let metrics = get(server.address(), "/metrics").body;
        if metrics.contains(&expected) {
            return;
        }
        assert!(start.elapsed() < LIMIT, "{metrics}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_supervisor_learns_the_state_and_the_metrics() {
    let server = Server::start(&[]);
    let address = server.address();
    assert_eq!(get(address, "/healthz").body, "ok\n");
    assert_eq!(get(address, "/readyz").status, 200);
    let reader = subscribe(address, "/channels/a");
    assert_eq!(post(address, "/channels/a", "x").status, 201);
    await_sessions(&server, 1);
    // The hub records an event after its publisher has the answer.
    await_metric(&server, "tidings_hub_entries_total 1");
    let metrics = get(address, "/metrics");
    let kind = metrics.header("content-type").unwrap();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    for line in [
        "# TYPE tidings_hub_entries_total counter",
        "tidings_hub_entries_total 1",
        "tidings_hub_subscriptions 1",
        "tidings_server_sessions_opened_total 1",
        "# TYPE tidings_serve_connections gauge",
        "tidings_serve_requests_total{status=\"2xx\"} ",
    ] {
        let has = metrics.body.lines().any(|known| known.starts_with(line));
        assert!(has, "{line}: {}", metrics.body);
    }
    drop(reader);
    await_sessions(&server, 0);
}

#[test]
fn the_log_has_a_json_object_a_line_and_no_secrets() {
    let mut server = Server::start(&["--log-level", "debug"]);
    get(server.address(), "/missing%1B[2J?token=secret");
    server.signal("TERM");
    assert!(server.wait(LIMIT).success());
    server.await_log("has ended");
    let log = server.log();
    assert!(!log.contains("secret"), "{log}");
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let request = lines.iter().find(|line| line["path"] == "/missing%1B[2J");
    let request = request.unwrap_or_else(|| panic!("{log}"));
    assert_eq!(
        (&request["status"], &request["method"]),
        (&404.into(), &"GET".into())
    );
    assert_eq!(request["level"], "DEBUG");
}

#[test]
fn a_drain_tells_readers_when_to_return_and_answers_publishers() {
    let mut server = Server::start(&["--drain", "30s"]);
    let address = server.address();
    let mut reader = subscribe(address, "/channels/a");
    let mut publisher = connect(address);
    begin_publication(&mut publisher);
    await_sessions(&server, 1);
    let start = Instant::now();
    server.signal("TERM");
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(text.contains("retry: "), "{text}");
    assert!(text.ends_with("\r\n0\r\n\r\n"), "it was cut: {text}");
    while TcpStream::connect(address).is_ok() {
        assert!(start.elapsed() < SLACK, "the listener is open");
        thread::sleep(Duration::from_millis(10));
    }
    publisher.write_all(b"llo").unwrap();
    assert_eq!(read(&mut BufReader::new(publisher)).status, 201);
    assert_eq!(server.wait(LIMIT).code(), Some(0));
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "it waited for nothing"
    );
}

#[test]
fn it_ends_on_time_with_twenty_stalled_readers() {
    let folder = TempDir::new();
    let store = folder.join("events.db");
    let drain = Duration::from_secs(2);
    let mut server = Server::start(&["--drain", "2s", "--store", store.to_str().unwrap()]);
    let address = server.address();
    let stalled: Vec<_> = (0..20).map(|_| subscribe(address, "/channels/a")).collect();
    await_sessions(&server, 20);
    // More than the buffers of a connection hold.
    for _ in 0..16 {
        assert_eq!(
            post(address, "/channels/a", "x".repeat(1 << 19)).status,
            201
        );
    }
    let start = Instant::now();
    server.signal("TERM");
    assert_eq!(server.wait(LIMIT).code(), Some(0));
    let took = start.elapsed();
    assert!(took >= drain, "no reader was stalled: {took:?}");
    assert!(took < drain + SLACK, "{took:?}");
    drop(stalled);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = Server::start(&["--drain", "10min", "--log-level", "info"]);
    let address = server.address();
    let mut publisher = connect(address);
    begin_publication(&mut publisher);
    server.signal("INT");
    // It listens for the second signal before it logs this.
    server.await_log("a second signal");
    let start = Instant::now();
    server.signal("TERM");
    assert_eq!(server.wait(LIMIT).code(), Some(1));
    assert!(start.elapsed() < SLACK);
}

#[test]
fn a_store_continues_after_a_drain_and_after_a_kill() {
    let folder = TempDir::new();
    let store = folder.join("events.db");
    let flags = ["--store", store.to_str().unwrap()];
    let mut ids = Vec::new();
    for round in 0..3 {
        let mut server = Server::start(&flags);
        let answer = post(server.address(), "/channels/a", "x");
        assert_eq!(answer.status, 201, "{answer:?}");
        ids.push(answer.json()["id"].as_str().unwrap().to_owned());
        if round == 0 {
            server.signal("TERM");
            assert!(server.wait(LIMIT).success());
        } else {
            server.kill();
        }
    }
    // The epoch, the number and a check.
    let parts: Vec<Vec<_>> = ids.iter().map(|id| id.split('.').collect()).collect();
    for (number, parts) in (1..).zip(&parts) {
        assert_eq!(Some(parts[0]), ids[0].split('.').next(), "{ids:?}");
        assert_eq!(parts[1], number.to_string(), "{ids:?}");
    }
}

#[test]
fn a_hangup_ends_no_server_that_has_nothing_to_reload() {
    let server = Server::start(&[]);
    server.signal("HUP");
    server.await_log("there is nothing to reload");
    assert_eq!(get(server.address(), "/healthz").status, 200);
}
