//! A server that is drained: who is told, who may finish, who is cut, and when.

use std::collections::BTreeSet;
use std::time::Duration;

use tidings_server::Drain;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::app::{Client, SLACK, Server, Told, told};

const DEADLINE: Duration = Duration::from_secs(2);

async fn start(drain: &Drain) -> Server {
    Server::start(|serve| serve.drain(drain.clone())).await
}

fn drain() -> Drain {
    Drain::new().deadline(DEADLINE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_end_on_time_some_of_them_stalled_and_all_others_are_told() {
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
        client.hear("data: hello").await;
        live.spawn(client.hear_out());
    }
    server.tells(&Told::Stalled, 50).await;
    assert_eq!(drain.open_sessions(), 1000);
    let start = Instant::now();
    drain.start();
    let told: Vec<u64> = live
        .join_all()
        .await
        .iter()
        .map(|read| told(read))
        .collect();
    assert!(
        start.elapsed() < DEADLINE,
        "the live end before the stalled"
    );
    server.end().await;
    let took = start.elapsed();
    assert!(took >= DEADLINE && took < DEADLINE + SLACK, "{took:?}");
    assert_eq!((drain.open_sessions(), drain.open_connections()), (0, 0));
    server.tells(&Told::Gone, 1000).await;
    assert!(told.iter().all(|told| (100..=60_000).contains(told)));
    let different: BTreeSet<_> = told.iter().collect();
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
    idle.hear("slow").await;
    let mut silent = Client::connect(server.address, "/slow/0").await;
    silent.hear("slow").await;
    // Half of a request is none.
    silent.stream.write_all(b"GET /qui").await.unwrap();
    let fresh = TcpStream::connect(server.address).await.unwrap();
    let start = Instant::now();
    drain.start();
    server.end().await;
    assert!(start.elapsed() < SLACK);
    assert_eq!(idle.hear_out().await, "");
    assert_eq!(silent.hear_out().await, "");
    drop(fresh);
}

#[tokio::test]
async fn an_ordinary_request_may_finish_until_the_deadline_and_then_is_cut() {
    let drain = drain();
    let mut server = start(&drain).await;
    let finishes = server.connect("/slow/1000").await;
    let is_cut = server.connect("/slow/60000").await;
    server.tells(&Told::Slow, 2).await;
    let start = Instant::now();
    drain.start();
    let answer = finishes.hear_out().await;
    assert!(answer.ends_with("slow"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(is_cut.hear_out().await, "");
    server.end().await;
    let took = start.elapsed();
    assert!(took >= DEADLINE && took < DEADLINE + SLACK, "{took:?}");
    server.tells(&Told::Gone, 2).await;
}

#[tokio::test]
async fn a_connection_that_left_http_is_counted_and_cut_at_the_deadline() {
    let drain = drain();
    let mut server = start(&drain).await;
    let mut client = server.connect("/echo").await;
    client.hear("101 Switching Protocols").await;
    let start = Instant::now();
    drain.start();
    client.stream.write_all(b"still there").await.unwrap();
    client.hear("still there").await;
    assert_eq!((drain.open_sessions(), drain.open_connections()), (0, 1));
    assert_eq!(client.hear_out().await, "");
    server.end().await;
    let took = start.elapsed();
    assert!(took >= DEADLINE && took < DEADLINE + SLACK, "{took:?}");
    assert_eq!(drain.open_connections(), 0);
}

#[tokio::test]
async fn a_server_waits_for_a_connection_that_left_http_and_goes_with_it() {
    let drain = Drain::new().deadline(Duration::from_secs(60));
    let mut server = start(&drain).await;
    let mut client = server.connect("/echo").await;
    client.hear("101 Switching Protocols").await;
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
    server.tells(&Told::Stalled, 1).await;
    let mut live = server.connect("/quiet").await;
    live.hear("data: hello").await;
    drain.start();
    told(&live.hear_out().await);
    TcpStream::connect(server.address).await.unwrap_err();
    let _another = TcpListener::bind(server.address).await.unwrap();
    assert!(!server.ended.is_finished());
    drop(stalled);
    server.end().await;
}

#[tokio::test]
async fn a_signal_starts_a_drain_and_so_does_whoever_holds_it() {
    let (signal, comes) = tokio::sync::oneshot::channel::<()>();
    let mut server = Server::start(|serve| {
        serve.drain_on(async {
            comes.await.unwrap();
        })
    })
    .await;
    let mut live = server.connect("/quiet").await;
    live.hear("data: hello").await;
    signal.send(()).unwrap();
    told(&live.hear_out().await);
    server.end().await;

    let drain = drain();
    let mut server =
        Server::start(|serve| serve.drain(drain.clone()).drain_on(std::future::pending())).await;
    drain.start();
    server.end().await;
    // One that is served when all is over already.
    let mut server = Server::start(|serve| serve.drain(drain)).await;
    server.end().await;
}

#[tokio::test]
async fn a_request_that_comes_while_the_server_drains_opens_no_lasting_stream() {
    let drain = drain();
    let mut server = start(&drain).await;
    let mut client = server.connect("/slow/500").await;
    server.tells(&Told::Slow, 1).await;
    // It waits for its turn on the connection.
    client.ask("/quiet").await;
    let start = Instant::now();
    drain.start();
    let read = client.hear_out().await;
    assert!(read.contains("slow") && !read.contains("hello"), "{read}");
    server.end().await;
    assert!(start.elapsed() < DEADLINE);
}
