//! Connections over a limit, on a server that speaks HTTPS.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use crate::app::SOON;
use crate::pipes::{PipeServer, read_for};
use crate::trust::{Authority, connect, read_to_close};

const SECOND: Duration = Duration::from_secs(1);

fn start(authority: &Authority) -> PipeServer {
    let app = Router::new().route("/", get(async || "text"));
    PipeServer::start(app, |serve| {
        serve.tls(&authority.tls()).http2(true).max_connections(1)
    })
}

#[tokio::test]
async fn a_connection_over_the_limit_is_answered_within_tls() {
    let authority = Authority::new("a");
    let server = start(&authority);
    let _open = server.connect();
    for offered in [&["h2", "http/1.1"][..], &[]] {
        let client = authority.client(offered);
        let mut refused = connect(&client, server.connect()).await.unwrap();
        assert_ne!(refused.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
        refused.write_all(request).await.unwrap();
        let mut answer = String::new();
        // It ends with `close_notify`.
        let end = timeout(SOON, refused.read_to_string(&mut answer));
        end.await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("too-many-connections"), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_that_stops_in_its_handshake_is_closed_after_a_second() {
    let authority = Authority::new("a");
    let server = start(&authority);
    let _open = server.connect();
    for sent in [&b""[..], &[22], &[22, 3, 1, 1, 0, 1]] {
        let mut pipe = server.connect();
        let start = Instant::now();
        pipe.write_all(sent).await.unwrap();
        assert_eq!(
            read_to_close(&mut pipe).await,
            b"",
            "it was sent bytes without TLS"
        );
        assert!(start.elapsed() <= 2 * SECOND, "{:?}", start.elapsed());
    }
    // One that speaks no TLS.
    let mut pipe = server.connect();
    pipe.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let (answer, is_closed) = read_for(&mut pipe, 2 * SECOND).await;
    assert!(is_closed && answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_counts_from_its_handshake_to_its_end() {
    let authority = Authority::new("a");
    let server = start(&authority);
    let mut half_way = server.connect();
    half_way.write_all(&[22]).await.unwrap();
    let mut refused = server.connect();
    sleep(2 * SECOND).await;
    assert_eq!(read_to_close(&mut refused).await, b"");
    // Its place is free after the deadline of the handshake.
    sleep(30 * SECOND).await;
    let mut next = connect(&authority.client(&[]), server.connect())
        .await
        .unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    next.write_all(request).await.unwrap();
    let mut answer = String::new();
    let end = timeout(SOON, next.read_to_string(&mut answer));
    end.await.unwrap().unwrap();
    assert!(answer.ends_with("text"), "{answer}");
    drop(half_way);
}
