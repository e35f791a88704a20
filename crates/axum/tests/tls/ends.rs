//! How connections over TLS end: cleanly, cut, or by their clients.

use std::io;
use std::time::Duration;

use axum::Router;
use tidings_axum::{Drain, Event, HandlerError, RouterExt, Session};
use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use crate::app::{Client, Report, SLACK, SOON, Server, retry_time};
use crate::pipes::PipeServer;
use crate::trust::{Authority, connect};

async fn open(authority: &Authority, server: &Server, path: &str) -> Client<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(server.address).await.unwrap();
    let stream = connect(&authority.client(&[]), socket).await.unwrap();
    Client::over(stream, path).await
}

/// The rest of the text, and the error of a connection that ends without `close_notify`.
async fn read_end<IO>(client: Client<TlsStream<IO>>) -> (String, Option<io::ErrorKind>)
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let Client { mut stream, read } = client;
    let mut bytes = Vec::new();
    let end = timeout(SOON, stream.read_to_end(&mut bytes)).await.unwrap();
    let text = read + std::str::from_utf8(&bytes).unwrap();
    (text, end.err().map(|error| error.kind()))
}

#[tokio::test]
async fn a_drain_ends_a_stream_with_a_time_and_close_notify() {
    let authority = Authority::new("a");
    let drain = Drain::new();
    let mut server = Server::start(|serve| serve.tls(&authority.tls()).drain(&drain)).await;
    let mut quiet = open(&authority, &server, "/quiet").await;
    quiet.read_until("data: hello\n\n").await;
    let mut idle = open(&authority, &server, "/slow/0").await;
    idle.read_until("slow").await;
    let start = Instant::now();
    drain.start();
    let (text, error) = read_end(quiet).await;
    retry_time(&text);
    assert_eq!(error, None);
    assert_eq!(read_end(idle).await, (String::new(), None));
    server.end().await;
    assert!(start.elapsed() < SLACK);
}

#[tokio::test]
async fn a_cut_has_no_close_notify() {
    let authority = Authority::new("a");
    let app = Router::new().sse("/", async |session: Session| {
        session.send(Event::new("sent before")).await?;
        Err(HandlerError::new("on purpose"))
    });
    let server = PipeServer::start(app, |serve| serve.tls(&authority.tls()));
    let stream = connect(&authority.client(&[]), server.connect())
        .await
        .unwrap();
    let (text, error) = read_end(Client::over(stream, "/").await).await;
    assert!(text.contains("data: sent before\n\n"), "{text:?}");
    assert!(!text.ends_with("\r\n0\r\n\r\n"), "{text:?}");
    assert_eq!(error, Some(io::ErrorKind::UnexpectedEof));
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut() {
    let authority = Authority::new("a");
    let deadline = Duration::from_millis(500);
    let mut server =
        Server::start(|serve| serve.tls(&authority.tls()).write_deadline(deadline)).await;
    let mut live = open(&authority, &server, "/quiet").await;
    let stalled = open(&authority, &server, "/flood").await;
    server.expect_reports(&Report::Stalled, 1).await;
    server.expect_reports(&Report::Dropped, 1).await;
    live.read_until("data: hello").await;
    drop(stalled);
}

#[tokio::test]
async fn a_drain_cuts_a_client_that_stopped_reading_at_its_deadline() {
    let authority = Authority::new("a");
    let deadline = Duration::from_secs(1);
    let drain = Drain::new().deadline(deadline);
    let mut server = Server::start(|serve| serve.tls(&authority.tls()).drain(&drain)).await;
    let stalled = open(&authority, &server, "/flood").await;
    server.expect_reports(&Report::Stalled, 1).await;
    let start = Instant::now();
    drain.start();
    server.end().await;
    assert!((deadline..deadline + SLACK).contains(&start.elapsed()));
    drop(stalled);
}

#[tokio::test]
async fn a_lifetime_ends_streams_with_close_notify() {
    let authority = Authority::new("a");
    let lifetime = Duration::from_millis(300);
    let server = Server::start(|serve| serve.tls(&authority.tls()).max_lifetime(lifetime)).await;
    let mut quiet = open(&authority, &server, "/quiet").await;
    quiet.read_until("data: hello\n\n").await;
    let (text, error) = read_end(quiet).await;
    assert!(text.ends_with("0\r\n\r\n"), "{text:?}");
    assert_eq!(error, None);
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed() {
    let authority = Authority::new("a");
    let mut server = Server::start(|serve| serve.tls(&authority.tls())).await;
    // Without more to send, with a part of a next request, and with more than is kept.
    for more in [0, 1, 5000, 100_000] {
        for says_so in [true, false] {
            let mut client = open(&authority, &server, "/quiet").await;
            client.read_until("data: hello").await;
            client.stream.write_all(&vec![b'G'; more]).await.unwrap();
            client.stream.flush().await.unwrap();
            if says_so {
                client.stream.shutdown().await.unwrap();
            }
            drop(client);
            server.expect_reports(&Report::Dropped, 1).await;
        }
    }
}

#[tokio::test]
async fn a_keep_alive_connection_answers_again_and_an_upgrade_works() {
    let authority = Authority::new("a");
    let server = Server::start(|serve| serve.tls(&authority.tls()).http2(true)).await;
    let mut client = open(&authority, &server, "/slow/0").await;
    client.read_until("slow").await;
    client.request("/slow/0").await;
    client.read_until("slow").await;
    client.request("/echo").await;
    client.read_until("101 Switching Protocols").await;
    for word in ["once", "twice"] {
        client.stream.write_all(word.as_bytes()).await.unwrap();
        client.read_until(word).await;
    }
}

#[tokio::test]
async fn a_slow_client_receives_all_that_was_sent_before_a_failure() {
    let authority = Authority::new("a");
    let app = Router::new().sse("/", async |session: Session| {
        for _ in 0..3000 {
            session.send(Event::new("x".repeat(1000))).await?;
        }
        Err(HandlerError::new("on purpose"))
    });
    let server = PipeServer::start(app, |serve| serve.tls(&authority.tls()));
    let stream = connect(&authority.client(&[]), server.connect())
        .await
        .unwrap();
    let client = Client::over(stream, "/").await;
    // The pipe is full while the handler fails.
    tokio::task::yield_now().await;
    let (text, error) = read_end(client).await;
    assert_eq!(text.matches("x\n\n").count(), 3000);
    assert_eq!(error, Some(io::ErrorKind::UnexpectedEof));
}
