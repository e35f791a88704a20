//! Limits of the connections of a server, in total and per key.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::app::{Client, SOON, Server};
use crate::pipes::{PipeServer, read_for};

const SECOND: Duration = Duration::from_secs(1);

fn server(max: usize) -> PipeServer {
    let app = Router::new().route("/", get(async || "text"));
    PipeServer::start(app, |serve| serve.max_connections(max))
}

async fn request(pipe: &mut DuplexStream) -> (String, bool) {
    pipe.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        .await
        .unwrap();
    read_for(pipe, SECOND / 2).await
}

#[tokio::test(start_paused = true)]
async fn a_connection_over_the_limit_is_answered_503_and_closed() {
    let server = server(2);
    let mut open = [server.connect(), server.connect()];
    for _ in 0..3 {
        let mut refused = server.connect();
        let (read, is_closed) = request(&mut refused).await;
        assert!(is_closed && read.starts_with("HTTP/1.1 503 "), "{read:?}");
        let (head, body) = read.split_once("\r\n\r\n").unwrap();
        let seconds = head.split_once("retry-after: ").unwrap().1;
        let seconds: u64 = seconds.split("\r\n").next().unwrap().parse().unwrap();
        assert!((5..=10).contains(&seconds), "{head}");
        let length = format!("content-length: {}", body.len());
        assert!(head.ends_with(&length), "{read:?}");
    }
    for pipe in &mut open {
        let (read, is_closed) = request(pipe).await;
        assert!(!is_closed && read.ends_with("text"), "{read:?}");
    }
    let [first, _second] = open;
    drop(first);
    sleep(SECOND).await;
    let mut next = server.connect();
    let (read, is_closed) = request(&mut next).await;
    assert!(!is_closed && read.ends_with("text"), "{read:?}");
}

#[tokio::test(start_paused = true)]
async fn refused_connections_take_bounded_room_and_time() {
    let server = server(1);
    let _open = server.connect();
    let start = Instant::now();
    let mut silent: Vec<_> = (0..200).map(|_| server.connect()).collect();
    let mut at_once = 0;
    for pipe in &mut silent {
        assert_eq!(pipe.read(&mut [0; 1]).await.unwrap_or(0), 0);
        assert!(start.elapsed() <= SECOND + SECOND / 10);
    }
    for _ in 0..200 {
        silent.push(server.connect());
    }
    sleep(SECOND / 10).await;
    for pipe in &mut silent[200..] {
        at_once += usize::from(pipe.write_all(b"x").await.is_err());
    }
    assert_eq!(at_once, 200 - 128);
    // A client that never stops sending is closed as well.
    let mut endless = silent.swap_remove(200);
    let start = Instant::now();
    while endless.write_all(&[b'x'; 1000]).await.is_ok() {
        assert!(start.elapsed() <= 2 * SECOND, "it is open");
        sleep(SECOND / 100).await;
    }
}

#[tokio::test]
async fn a_key_at_its_limit_leaves_other_keys_alone() {
    let server = Server::start(|serve| {
        serve.max_connections_per_key(1, |peer| peer.ip().is_ipv4().then(|| "v4".to_owned()))
    })
    .await;
    let mut first = server.connect("/quiet").await;
    first.read_until("data: hello").await;
    let refused = server.connect("/quiet").await.read_to_end().await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    drop(first);
    let start = Instant::now();
    loop {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let answer = Client::over(stream, "/slow/0")
            .await
            .read_until("\r\n")
            .await;
        if answer.starts_with("HTTP/1.1 200 ") {
            break;
        }
        assert!(start.elapsed() < SOON, "its place stays taken");
    }
}
