//! A server that also speaks HTTP/2, over pipes and on paused time.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidings_axum::{
    Drain, Event, HandlerError, Limits, RouterExt, Serve, Session, SessionOptions, sse,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::pipes::{PipeServer, Pipes};

const SECOND: Duration = Duration::from_secs(1);

type RequestBody = BoxBody<Bytes, Infallible>;

struct Client {
    requests: SendRequest<RequestBody>,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Client {
    async fn connect(server: &PipeServer, window: u32) -> Self {
        let client = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(window)
            .initial_connection_window_size(1 << 24)
            .handshake(TokioIo::new(server.connect()));
        let (requests, connection) = client.await.unwrap();
        Self {
            requests,
            connection: tokio::spawn(connection),
        }
    }

    async fn send(&mut self, request: Request<RequestBody>) -> Response<Incoming> {
        self.requests.send_request(request).await.unwrap()
    }

    async fn get(&mut self, path: &str) -> Incoming {
        let request = Request::get(format!("http://test{path}"));
        let request = request.body(RequestBody::default()).unwrap();
        let response = self.send(request).await;
        assert_eq!(response.status(), 200);
        response.into_body()
    }
}

/// `/quiet` sends one event, `/flood` as many as the client reads, `/text` returns the body of a POST.
fn start(
    options: SessionOptions,
    set: impl FnOnce(Serve<Pipes>) -> Serve<Pipes>,
) -> (PipeServer, Limits) {
    let limits = Limits::new();
    let options = options.limits(&limits);
    let quiet = async |session: Session| {
        session.send(Event::new("hello")).await?;
        std::future::pending().await
    };
    let flood = async |session: Session| -> Result<(), HandlerError> {
        loop {
            session.send(Event::new("x".repeat(1000))).await?;
        }
    };
    let app = Router::new()
        .route(
            "/quiet",
            axum::routing::get(sse(quiet).options(options.clone())),
        )
        .route("/flood", axum::routing::get(sse(flood).options(options)))
        .sse("/empty", async |_: Session| std::future::pending().await)
        .route("/text", post(async |body: String| body));
    let server = PipeServer::start(app, |serve| set(serve.http2(true)));
    (server, limits)
}

#[tokio::test(start_paused = true)]
async fn streams_whose_windows_stay_shut_are_reset_and_free_their_permits() {
    let drain = Drain::new();
    let (server, limits) = start(SessionOptions::new(), |serve| serve.drain(&drain));
    let mut client = Client::connect(&server, 0).await;
    let mut unread = Vec::new();
    for _ in 0..100 {
        unread.push(client.get("/quiet").await);
        unread.push(client.get("/flood").await);
    }
    let mut live = Client::connect(&server, 1 << 16).await;
    let mut quiet = live.get("/quiet").await;
    quiet.frame().await.unwrap().unwrap();
    sleep(29 * SECOND).await;
    assert_eq!(limits.sessions(), 201);
    sleep(2 * SECOND).await;
    assert_eq!((limits.sessions(), drain.open_sessions()), (1, 1));
    sleep(1000 * SECOND).await;
    assert_eq!(limits.sessions(), 1, "a quiet stream lives");
    assert!(!server.ended.is_finished());
    drop(unread);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_streams_that_are_not_read() {
    let drain = Drain::new();
    let (server, limits) = start(SessionOptions::new(), |serve| serve.drain(&drain));
    let mut client = Client::connect(&server, 0).await;
    let unread = [client.get("/quiet").await, client.get("/flood").await];
    let start = Instant::now();
    drain.start();
    server.ended.await.unwrap().unwrap();
    assert!(start.elapsed() <= 11 * SECOND);
    sleep(SECOND).await;
    assert_eq!(limits.sessions(), 0);
    drop(unread);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_is_given_up_after_thirty_seconds() {
    let (server, _) = start(SessionOptions::new(), |serve| serve);
    let mut client = Client::connect(&server, 1 << 16).await;
    let begun = stream::iter([Ok(Frame::data(Bytes::from_static(b"12")))]);
    let begun = futures_util::StreamExt::chain(begun, stream::pending());
    let bodies = [
        BodyExt::boxed(StreamBody::new(stream::pending())),
        BodyExt::boxed(StreamBody::new(begun)),
    ];
    for body in bodies {
        let start = Instant::now();
        let request = Request::post("http://test/text").body(body).unwrap();
        assert_eq!(client.send(request).await.status(), 400);
        assert_eq!(start.elapsed().as_secs(), 30);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_streams_is_closed() {
    let (server, _) = start(SessionOptions::new(), |serve| serve);
    let mut client = Client::connect(&server, 1 << 16).await;
    let quiet = client.get("/quiet").await;
    sleep(1000 * SECOND).await;
    assert!(!client.connection.is_finished());
    drop(quiet);
    let start = Instant::now();
    client.connection.await.unwrap().unwrap();
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_a_part_of_its_preface_is_cut() {
    let (server, _) = start(SessionOptions::new(), |serve| serve);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let whole = [preface.as_slice(), &settings].concat();
    for sent in [0, 1, 2, 12, preface.len() - 1, preface.len(), whole.len()] {
        let mut pipe = server.connect();
        let start = Instant::now();
        pipe.write_all(&whole[..sent]).await.unwrap();
        let mut read = Vec::new();
        // It keeps answering nothing, not even a PING.
        pipe.read_to_end(&mut read).await.ok();
        assert_eq!(start.elapsed().as_secs(), 30, "{sent}");
    }
}

#[tokio::test(start_paused = true)]
async fn clients_of_http_1_are_recognised_however_their_bytes_arrive() {
    let (server, _) = start(SessionOptions::new(), |serve| serve);
    let request =
        b"POST /text HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc";
    for step in [1, 2, 1000] {
        let mut pipe = server.connect();
        for bytes in request.chunks(step) {
            pipe.write_all(bytes).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut read = String::new();
        pipe.read_to_string(&mut read).await.unwrap();
        assert!(
            read.starts_with("HTTP/1.1 200") && read.ends_with("abc"),
            "{read}"
        );
    }
    // A client that leaves within its version.
    let mut pipe = server.connect();
    pipe.write_all(b"PRI").await.unwrap();
    pipe.shutdown().await.unwrap();
    pipe.read_to_end(&mut Vec::new()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_head_of_32_kib_is_accepted_and_a_larger_one_answered_431() {
    const KIB: usize = 1024;
    let (server, _) = start(SessionOptions::new(), |serve| serve);
    for (bytes, each, status) in [
        (31 * KIB, 30 * KIB, 200),
        (31 * KIB, 1000, 200),
        (31 * KIB, 80, 200),
        (33 * KIB, 32 * KIB, 431),
        (33 * KIB, 80, 431),
        (100 * KIB, 1000, 431),
    ] {
        let mut client = Client::connect(&server, 1 << 16).await;
        let mut request = Request::get("http://test/empty");
        let mut sent = 0;
        while sent < bytes {
            let size = each.min(bytes - sent).max(20);
            let name = format!("x-{sent}");
            let value = "v".repeat(size - name.len() - 4);
            request = request.header(name, value);
            sent += size;
        }
        let request = request.body(RequestBody::default()).unwrap();
        let response = client.send(request).await;
        assert_eq!(response.status(), status, "{bytes} {each}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_with_its_lifetime_and_its_streams_cleanly() {
    let (server, limits) = start(SessionOptions::new(), |serve| {
        serve.max_lifetime(100 * SECOND)
    });
    let mut client = Client::connect(&server, 1 << 16).await;
    let start = Instant::now();
    let streams = [client.get("/quiet").await, client.get("/quiet").await];
    for stream in streams {
        stream.collect().await.expect("a clean end");
    }
    client.connection.await.unwrap().unwrap();
    assert!((80..=100).contains(&start.elapsed().as_secs()));
    assert_eq!(limits.sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_newest_stream_replaces_one_that_is_not_read() {
    let of_one = Limits::new().max_sessions_per_key(1, |_| Some("one".to_owned()));
    let limits = of_one.replace_oldest(true);
    let options = SessionOptions::new().limits(&limits);
    let quiet = async |session: Session| {
        session.send(Event::new("hello")).await?;
        std::future::pending().await
    };
    let app = Router::new().route("/", axum::routing::get(sse(quiet).options(options)));
    let server = PipeServer::start(app, |serve| serve.http2(true));
    let mut shut = Client::connect(&server, 0).await;
    let unread = shut.get("/").await;
    sleep(SECOND).await;
    let mut client = Client::connect(&server, 1 << 16).await;
    let mut second = client.get("/").await;
    let read = second.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(read, "retry: 3000\n\ndata: hello\n\n");
    let third = client.get("/").await;
    let last = second.collect().await.expect("a clean end").to_bytes();
    let last = std::str::from_utf8(&last).unwrap();
    let retry = last
        .strip_prefix("retry: ")
        .and_then(|last| last.strip_suffix("\n\n"));
    let retry: u64 = retry.unwrap_or_else(|| panic!("{last:?}")).parse().unwrap();
    assert!((3_600_000..=7_200_000).contains(&retry));
    assert_eq!(limits.sessions(), 1);
    drop((unread, third));
    sleep(SECOND).await;
    assert_eq!(limits.sessions(), 0);
}
