//! Servers over a store that are killed, or ended in order, and started again under publishers and readers.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tidings::Reconnect;
use tidings::proto::Position;
use tidings_testkit::temp_dir::TempDir;
use tidings_testkit::timeout::timeout;

use crate::process::{LIMIT, Server, tidings};
use crate::raw::{post, request};
use crate::stream::{client, open_request};

const PUBLISHERS: usize = 16;
const EVENTS_EACH: usize = 40;
const RESTARTS: usize = 3;

/// The last event, after which the readers leave.
const LAST: &str = "last";

/// Publishes a text under a key, and returns the ID if the server has confirmed it.
fn try_publish(address: SocketAddr, text: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    let length = text.len();
    let request = format!(
        "POST /channels/news HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Idempotency-Key: \"{text}\"\r\nContent-Length: {length}\r\n\r\n{text}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let is_confirmed = ["HTTP/1.1 200 ", "HTTP/1.1 201 "]
        .iter()
        .any(|line| head.starts_with(line));
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    is_confirmed.then(|| body["id"].as_str().unwrap().to_owned())
}

/// Publishes until each text is confirmed. Returns the texts and their IDs.
fn publish_all(
    address: SocketAddr,
    publisher: usize,
    confirmed: &AtomicUsize,
) -> Vec<(String, String)> {
    let mut published = Vec::new();
    for n in 0..EVENTS_EACH {
        let text = format!("{publisher}/{n}");
        let start = Instant::now();
        let id = loop {
            if let Some(id) = try_publish(address, &text) {
                break id;
            }
            assert!(start.elapsed() < LIMIT, "{text} is not confirmed");
            thread::sleep(Duration::from_millis(10));
        };
        confirmed.fetch_add(1, Ordering::SeqCst);
        published.push((text, id));
    }
    published
}

/// Reads everything up to the last event, over all reconnections: texts and IDs.
async fn read_all(url: String) -> Vec<(String, String)> {
    let reconnect = Reconnect::fixed(10_000, Duration::from_millis(20));
    let request = client()
        .reconnect(reconnect)
        .get(format!("{url}?from=earliest"));
    let mut session = open_request(request).await;
    let mut received = Vec::new();
    loop {
        let event = timeout(LIMIT, session.try_next()).await.unwrap().unwrap();
        let event = event.expect("a stream that does not end");
        assert_eq!(event.event_type(), "message", "{event:?}");
        if event.text() == LAST {
            return received;
        }
        received.push((event.text().to_owned(), event.id.unwrap().to_string()));
    }
}

/// Starts a server over the store in this directory, at this address.
fn start(directory: &TempDir, address: &str) -> Server {
    let store = directory.join("events.db");
    let mut command = tidings(&["serve", "--listen", address, "--drain", "5s", "--store"]);
    command.arg(store);
    Server::spawn(command)
}

/// Every confirmed event is received once, by readers of the whole time and by one afterwards, and the IDs
/// rise.
async fn check(stop: impl Fn(&mut Server)) {
    let directory = TempDir::new();
    let mut server = start(&directory, "127.0.0.1:0");
    let address = server.address();
    let confirmed = Arc::new(AtomicUsize::new(0));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let confirmed = Arc::clone(&confirmed);
            thread::spawn(move || publish_all(address, publisher, &confirmed))
        })
        .collect();
    let url = server.url("/channels/news");
    let readers: Vec<_> = (0..3)
        .map(|_| tokio::spawn(read_all(url.clone())))
        .collect();

    let total = PUBLISHERS * EVENTS_EACH;
    for restart in 1..=RESTARTS {
        wait_until(|| confirmed.load(Ordering::SeqCst) >= restart * total / (RESTARTS + 1)).await;
        stop(&mut server);
        server = start(&directory, &address.to_string());
    }
    let mut published = BTreeMap::new();
    for publisher in publishers {
        wait_until(|| publisher.is_finished()).await;
        published.extend(publisher.join().unwrap());
    }
    assert_eq!(published.len(), total);
    post(address, "/channels/news", LAST);

    let late = read_all(url).await;
    let mut last = None;
    for (text, id) in &late {
        let position: Position = id.parse().unwrap();
        assert!(last.is_none_or(|last| last < position), "{text}: {id}");
        last = Some(position);
    }
    assert_eq!(late.len(), total, "each event once");
    assert_eq!(late.iter().cloned().collect::<BTreeMap<_, _>>(), published);
    for reader in readers {
        assert_eq!(timeout(LIMIT, reader).await.unwrap().unwrap(), late);
    }
}

async fn wait_until(is_reached: impl Fn() -> bool) {
    let reached = async {
        while !is_reached() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, reached).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_confirmed_event_is_received_once_over_kills() {
    check(Server::kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_confirmed_event_is_received_once_over_restarts() {
    check(|server| {
        server.signal("TERM");
        assert!(server.wait(LIMIT).success());
    })
    .await;
}

#[test]
fn a_key_is_known_after_a_kill() {
    let directory = TempDir::new();
    let mut server = start(&directory, "127.0.0.1:0");
    let publish = |address| {
        let key = ["Idempotency-Key: \"order-17\""];
        request(address, "POST", "/channels/orders", &key, "17")
    };
    let first = publish(server.address());
    assert_eq!(first.status, 201, "{first:?}");
    server.kill();
    let server = start(&directory, "127.0.0.1:0");
    let repeat = publish(server.address());
    assert_eq!(repeat.status, 200, "{repeat:?}");
    assert_eq!(repeat.json(), first.json());
}
