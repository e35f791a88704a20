//! A drain: clients receive a retry time, requests may finish, and the rest is cut on time.

use std::collections::BTreeSet;
use std::time::Duration;

use tidings_axum::Drain;
use tidings_testkit::timeout::timeout;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::app::{Client, Report, SLACK, Server, expect_refused, retry_time};

const DEADLINE: Duration = Duration::from_secs(2);

async fn start(drain: &Drain) -> Server {
    Server::start(|serve| serve.drain(drain)).await
}

fn drain() -> Drain {
    Drain::new().deadline(DEADLINE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_end_on_time_and_all_but_the_stalled_receive_a_retry_time() {
    let range = Duration::from_millis(100)..=Duration::from_secs(60);
    let drain = drain().retry(range);
    let mut server = start(&drain).await;
    let mut stalled = Vec::new();
    for _ in 0..50 {
        stalled.push(server.connect("/flood").await);
    }
    let mut live = JoinSet::new();
    for _ in 0..950 {
        let mut client = server.connect("/quiet").await;
        client.read_until("data: hello").await;
        live.spawn(client.read_to_end());
    }
    server.expect_reports(&Report::Stalled, 50).await;
    assert_eq!(drain.open_sessions(), 1000);
    let start = Instant::now();
    drain.start();
    let times: Vec<u64> = live
        .join_all()
        .await
        .iter()
        .map(|read| retry_time(read))
        .collect();
    assert!(
        start.elapsed() < DEADLINE,
        "the live clients end before the stalled ones"
    );
    server.end().await;
    let took = start.elapsed();
    assert!(took >= DEADLINE && took < DEADLINE + SLACK, "{took:?}");
    assert_eq!((drain.open_sessions(), drain.open_connections()), (0, 0));
    server.expect_reports(&Report::Dropped, 1000).await;
    assert!(times.iter().all(|time| (100..=60_000).contains(time)));
    let different: BTreeSet<_> = times.iter().collect();
    assert!(
        different.len() > 900,
        "only {} different times",
        different.len()
    );
    drop(stalled);
}

#[tokio::test]
async fn connections_without_a_request_are_closed_at_once() {
    let drain = drain();
    let mut server = start(&drain).await;
    let mut idle = server.connect("/slow/0").await;
    idle.read_until("slow").await;
    let mut silent = Client::connect(server.address, "/slow/0").await;
    silent.read_until("slow").await;
    // Half of a request is not a request.
    silent.stream.write_all(b"GET /qui").await.unwrap();
    let fresh = TcpStream::connect(server.address).await.unwrap();
    let start = Instant::now();
    drain.start();
    server.end().await;
    assert!(start.elapsed() < SLACK);
    assert_eq!(idle.read_to_end().await, "");
    assert_eq!(silent.read_to_end().await, "");
    drop(fresh);
}

#[tokio::test]
async fn an_ordinary_request_may_finish_until_the_deadline() {
    let drain = drain();
    let mut server = start(&drain).await;
    let finishes = server.connect("/slow/1000").await;
    let is_cut = server.connect("/slow/60000").await;
    server.expect_reports(&Report::Started, 2).await;
    let start = Instant::now();
    drain.start();
    let answer = finishes.read_to_end().await;
    assert!(answer.ends_with("slow"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(is_cut.read_to_end().await, "");
    server.end().await;
    let took = start.elapsed();
    assert!(took >= DEADLINE && took < DEADLINE + SLACK, "{took:?}");
    server.expect_reports(&Report::Dropped, 2).await;
}

#[tokio::test]
async fn an_upgraded_connection_is_counted_and_cut_at_the_deadline() {
    let drain = drain();
    let mut server = start(&drain).await;
    let mut client = server.connect("/echo").await;
    client.read_until("101 Switching Protocols").await;
    let start = Instant::now();
    drain.start();
    client.stream.write_all(b"still there").await.unwrap();
    client.read_until("still there").await;
    assert_eq!((drain.open_sessions(), drain.open_connections()), (0, 1));
    assert_eq!(client.read_to_end().await, "");
    server.end().await;
    let took = start.elapsed();
    assert!(took >= DEADLINE && took < DEADLINE + SLACK, "{took:?}");
    assert_eq!(drain.open_connections(), 0);
}

#[tokio::test]
async fn a_server_ends_with_its_last_upgraded_connection() {
    let drain = Drain::new().deadline(Duration::from_secs(60));
    let mut server = start(&drain).await;
    let mut client = server.connect("/echo").await;
    client.read_until("101 Switching Protocols").await;
    drain.start();
    timeout(SLACK / 3, &mut server.ended).await.unwrap_err();
    drop(client);
    timeout(SLACK, server.end()).await.unwrap();
}

#[tokio::test]
async fn new_clients_are_refused_at_once_and_the_port_is_free() {
    let drain = drain();
    let mut server = start(&drain).await;
    let stalled = server.connect("/flood").await;
    server.expect_reports(&Report::Stalled, 1).await;
    let mut live = server.connect("/quiet").await;
    live.read_until("data: hello").await;
    drain.start();
    retry_time(&live.read_to_end().await);
    expect_refused(async || TcpStream::connect(server.address).await).await;
    let _another = TcpListener::bind(server.address).await.unwrap();
    assert!(!server.ended.is_finished());
    drop(stalled);
    server.end().await;
}

#[tokio::test]
async fn a_drain_starts_by_its_signal_or_by_a_handle() {
    let (signal, signalled) = tokio::sync::oneshot::channel::<()>();
    let mut server = Server::start(|serve| {
        serve.drain_on(async {
            signalled.await.unwrap();
        })
    })
    .await;
    let mut live = server.connect("/quiet").await;
    live.read_until("data: hello").await;
    signal.send(()).unwrap();
    retry_time(&live.read_to_end().await);
    server.end().await;

    let drain = drain();
    let mut server =
        Server::start(|serve| serve.drain(&drain).drain_on(std::future::pending())).await;
    drain.start();
    server.end().await;
    // A server whose drain has started before it.
    let mut server = Server::start(|serve| serve.drain(&drain)).await;
    server.end().await;
}

#[tokio::test]
async fn a_request_during_a_drain_opens_no_lasting_stream() {
    let drain = drain();
    let mut server = start(&drain).await;
    let mut client = server.connect("/slow/500").await;
    server.expect_reports(&Report::Started, 1).await;
    // It waits until the connection is free.
    client.request("/quiet").await;
    let start = Instant::now();
    drain.start();
    let read = client.read_to_end().await;
    assert!(read.contains("slow") && !read.contains("hello"), "{read}");
    server.end().await;
    assert!(start.elapsed() < DEADLINE);
}
