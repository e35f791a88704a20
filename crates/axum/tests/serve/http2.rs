//! A server that also speaks HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidings_axum::Drain;
use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::app::{Report, SLACK, SOON, Server, retry_time};

struct Client {
    requests: SendRequest<Empty<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Client {
    async fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let client = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(65_535)
            .handshake(TokioIo::new(stream));
        let (requests, connection) = client.await.unwrap();
        Self {
            requests,
            connection: tokio::spawn(connection),
        }
    }

    async fn get(&mut self, path: &str) -> Incoming {
        let request = Request::get(format!("http://test{path}"));
        let request = request.body(Empty::new()).unwrap();
        self.requests
            .send_request(request)
            .await
            .unwrap()
            .into_body()
    }
}

async fn read_frame(body: &mut Incoming) -> String {
    let frame = timeout(SOON, body.frame()).await.unwrap().unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn a_drain_sends_goaway_and_ends_each_stream() {
    let drain = Drain::new();
    let mut server = Server::start(|serve| serve.drain(&drain).http2(true)).await;
    let mut client = Client::connect(&server).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = client.get("/quiet").await;
        assert_eq!(read_frame(&mut stream).await, "data: hello\n\n");
        streams.push(stream);
    }
    assert_eq!((drain.open_sessions(), drain.open_connections()), (20, 1));
    let start = Instant::now();
    drain.start();
    for stream in streams {
        let last = timeout(SOON, stream.collect()).await.unwrap();
        let last = last.expect("a clean end").to_bytes();
        let last = String::from_utf8(last.to_vec()).unwrap();
        retry_time(&format!("{last}\r\n0\r\n\r\n"));
    }
    // After GOAWAY the client sends no more, and the connection is closed.
    timeout(SOON, client.connection)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(!client.requests.is_ready());
    server.end().await;
    assert!(start.elapsed() < SLACK);
}

#[tokio::test]
async fn an_unread_stream_delays_no_other_and_is_cut_at_the_deadline() {
    let deadline = Duration::from_secs(1);
    let drain = Drain::new().deadline(deadline);
    let mut server = Server::start(|serve| serve.drain(&drain).http2(true)).await;
    let mut client = Client::connect(&server).await;
    let unread = client.get("/flood").await;
    server.expect_reports(&Report::Stalled, 1).await;
    let mut quiet = client.get("/quiet").await;
    assert_eq!(read_frame(&mut quiet).await, "data: hello\n\n");
    let slow = tokio::spawn({
        let mut requests = client.requests.clone();
        let request = Request::get("http://test/slow/60000");
        let request = request.body(Empty::new()).unwrap();
        async move { requests.send_request(request).await }
    });
    server.expect_reports(&Report::Started, 1).await;
    let start = Instant::now();
    drain.start();
    retry_time(&format!("{}\r\n0\r\n\r\n", read_frame(&mut quiet).await));
    server.end().await;
    let took = start.elapsed();
    assert!(took >= deadline && took < deadline + SLACK, "{took:?}");
    // Each stream is a task of its own: none outlives the server.
    server.expect_reports(&Report::Dropped, 3).await;
    assert!(slow.await.unwrap().is_err());
    drop(unread);
}

/// The first bytes of a client that requests this path.
fn request_for(path: &str) -> Vec<u8> {
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    // GET, http, and the path and the authority as literals.
    let mut fields = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    fields.extend_from_slice(path.as_bytes());
    fields.extend_from_slice(b"\x01\x04test");
    let length = u8::try_from(fields.len()).unwrap();
    let headers = [0, 0, length, 1, 0b101, 0, 0, 0, 1];
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(),
        &settings,
        &headers,
        &fields,
    ]
    .concat()
}

#[tokio::test]
async fn a_client_that_stops_before_its_socket_is_full_is_cut() {
    let deadline = Duration::from_millis(300);
    let mut server = Server::start(|serve| serve.write_deadline(deadline).http2(true)).await;
    for path in ["/quiet", "/flood"] {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        // Its window is 64 KiB, which fits into the socket's buffer, so no write waits.
        client.write_all(&request_for(path)).await.unwrap();
        server.expect_reports(&Report::Dropped, 1).await;
    }
}

#[tokio::test]
async fn a_deadline_of_duration_max_never_passes() {
    let server = Server::start(|serve| serve.write_deadline(Duration::MAX).http2(true)).await;
    let mut client = Client::connect(&server).await;
    assert_eq!(
        read_frame(&mut client.get("/quiet").await).await,
        "data: hello\n\n"
    );
}

#[tokio::test]
async fn http_1_clients_are_served_and_drained() {
    let drain = Drain::new().deadline(Duration::from_secs(1));
    let mut server = Server::start(|serve| serve.drain(&drain).http2(true)).await;
    let mut client = server.connect("/quiet").await;
    client.read_until("data: hello").await;
    let mut upgraded = server.connect("/echo").await;
    upgraded.read_until("101 Switching Protocols").await;
    let fresh = TcpStream::connect(server.address).await.unwrap();
    let start = Instant::now();
    drain.start();
    retry_time(&client.read_to_end().await);
    drop(upgraded);
    server.end().await;
    assert!(start.elapsed() < SLACK);
    drop(fresh);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_no_request_is_cut() {
    let server = Server::start(|serve| serve.http2(true)).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let start = Instant::now();
    assert_eq!(silent.read(&mut [0; 10]).await.unwrap_or(0), 0);
    assert_eq!(start.elapsed().as_secs(), 30);
}
