//! Streams of HTTP/2 connections that their clients do not read, over pipes and on paused time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tidings_server::{
    Event, HandlerError, Heartbeat, IoDeadline, Limits, Session, SessionOptions, SseRequest,
    StreamBody, StreamDeadline,
};
use tidings_testkit::traces::TraceText;
use tokio::io::duplex;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Clone)]
struct Streams(StreamDeadline);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        tokio::spawn(self.0.run(stream));
    }
}

/// The handlers that live.
#[derive(Clone, Default)]
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    fn enter(&self) -> Self {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.clone()
    }
}

/// What a handler of the server holds until it is dropped.
struct Held(Alive);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Server {
    requests: SendRequest<Empty<Bytes>>,
    limits: Limits,
    alive: Alive,
}

/// A client with this window for each stream, and a server whose handler depends on the path.
async fn connect(window: u32, options: SessionOptions) -> Server {
    let (near, far) = duplex(1 << 16);
    let limits = Limits::new();
    let options = options.limits(&limits);
    let alive = Alive::default();
    let service = {
        let alive = alive.clone();
        service_fn(move |request: Request<Incoming>| {
            let (parts, _) = request.into_parts();
            let held = Held(alive.enter());
            let path = parts.uri.path().to_owned();
            let response = SseRequest::new(parts)
                .options(options.clone())
                .open(async move |session| handle(&path, held, session).await);
            async { Ok::<_, Infallible>(response.map(StreamBody::new)) }
        })
    };
    let connection = http2::Builder::new(Streams(StreamDeadline::new()))
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(IoDeadline::new(far)), service);
    tokio::spawn(connection);
    let client = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .initial_connection_window_size(1 << 24)
        .handshake(TokioIo::new(near));
    let (requests, connection) = client.await.unwrap();
    tokio::spawn(connection);
    Server {
        requests,
        limits,
        alive,
    }
}

async fn handle(path: &str, _held: Held, session: Session) -> Result<(), HandlerError> {
    match path {
        "/one" => session.send(Event::new("hello")).await?,
        "/large" => session.send(Event::new("x".repeat(1_000_000))).await?,
        "/returns" => return Ok(session.send(Event::new("x".repeat(1000))).await?),
        "/flood" => loop {
            session.send(Event::new("x".repeat(1000))).await?;
        },
        _ => {}
    }
    std::future::pending().await
}

impl Server {
    async fn get(&mut self, path: &str) -> Incoming {
        let request = Request::get(format!("http://test{path}")).body(Empty::new());
        let response: Response<Incoming> =
            self.requests.send_request(request.unwrap()).await.unwrap();
        response.into_body()
    }

    fn open(&self) -> (usize, usize) {
        (self.limits.sessions(), self.alive.count())
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_window_stays_shut_is_reset_at_the_deadline() {
    for path in ["/one", "/large", "/flood"] {
        for window in [0, 10] {
            let mut server = connect(window, SessionOptions::new()).await;
            let mut bodies = Vec::new();
            for _ in 0..50 {
                bodies.push(server.get(path).await);
            }
            let mut quiet = server.get("/quiet").await;
            sleep(DEADLINE - SECOND).await;
            assert_eq!(server.open(), (51, 51), "{path} {window}");
            sleep(2 * SECOND).await;
            assert_eq!(server.open(), (1, 1), "{path} {window}");
            for mut body in bodies {
                // The bytes that fitted its window, and the reset.
                let error = loop {
                    if let Err(error) = body.frame().await.unwrap() {
                        break error;
                    }
                };
                assert!(format!("{error:?}").contains("CANCEL"), "{error:?}");
            }
            // The connection lives, with the quiet stream.
            sleep(100 * DEADLINE).await;
            assert_eq!(server.open(), (1, 1), "{path} {window}");
            drop(server.get("/quiet").await);
            assert!(quiet.frame().now_or_never().is_none());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lifetime_ends_an_unread_stream() {
    let options = || {
        SessionOptions::new()
            .max_lifetime(SECOND)
            .heartbeat(Heartbeat::every(SECOND / 10))
    };
    let mut server = connect(0, options()).await;
    let unread = [server.get("/quiet").await, server.get("/flood").await];
    sleep(DEADLINE + 2 * SECOND).await;
    assert_eq!(server.open(), (0, 0));
    drop(unread);
    // Nothing waits for the client, so the lifetime needs no deadline.
    let mut server = connect(0, SessionOptions::new().max_lifetime(SECOND)).await;
    let unread = server.get("/quiet").await;
    sleep(2 * SECOND).await;
    assert_eq!(server.open(), (0, 0));
    drop(unread);
}

#[tokio::test(start_paused = true)]
async fn a_lifetime_ends_a_stream_that_is_read_byte_by_byte() {
    let mut server = connect(8, SessionOptions::new().max_lifetime(100 * SECOND)).await;
    let start = Instant::now();
    let mut body = server.get("/flood").await;
    while let Some(Ok(_)) = body.frame().await {
        sleep(20 * SECOND).await;
        assert!(start.elapsed() < 1000 * SECOND);
    }
    assert!(start.elapsed() >= 80 * SECOND, "{:?}", start.elapsed());
    assert!(start.elapsed() <= 160 * SECOND, "{:?}", start.elapsed());
    assert_eq!(server.open(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_and_a_slow_one_live() {
    let mut server = connect(1000, SessionOptions::new()).await;
    let mut quiet = server.get("/one").await;
    let first = quiet.frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "data: hello\n\n");
    // A large event whose client takes 1000 bytes every 20 s: one frame, for hours.
    let mut slow = server.get("/large").await;
    for _ in 0..1000 {
        slow.frame().await.unwrap().unwrap();
        sleep(20 * SECOND).await;
        assert_eq!(server.open(), (2, 2));
    }
    assert!(quiet.frame().now_or_never().is_none());
    drop((quiet, slow));
    sleep(SECOND).await;
    assert_eq!(server.open(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_has_returned_holds_nothing_while_its_last_bytes_wait() {
    let mut server = connect(10, SessionOptions::new()).await;
    let start = Instant::now();
    let mut body = server.get("/returns").await;
    sleep(SECOND).await;
    assert_eq!(server.open(), (0, 0));
    // Its last bytes would wait in the connection for ever.
    let error = loop {
        if let Err(error) = body.frame().await.unwrap() {
            break error;
        }
        sleep(DEADLINE + SECOND).await;
    };
    assert!(format!("{error:?}").contains("CANCEL"), "{error:?}");
    assert!(start.elapsed() < 3 * DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_read_ends_cleanly_after_its_last_byte() {
    let mut server = connect(10, SessionOptions::new()).await;
    let body = server.get("/returns").await;
    let sent = body.collect().await.unwrap().to_bytes();
    assert_eq!(sent.len(), "data: \n\n".len() + 1000);
}

#[tokio::test(start_paused = true)]
async fn without_a_deadline_a_body_only_passes_its_frames_on() {
    let body = http_body_util::Full::new(Bytes::from_static(b"whole"));
    let body = StreamBody::new(body);
    assert_eq!(hyper::body::Body::size_hint(&body).exact(), Some(5));
    assert_eq!(body.collect().await.unwrap().to_bytes(), "whole");
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_stream_is_traced_and_ends_only_that_stream() {
    let traces = TraceText::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(traces.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (near, far) = duplex(1 << 16);
    let service = service_fn(async |request: Request<Incoming>| {
        assert!(request.uri().path() == "/fine", "on purpose");
        Ok::<_, Infallible>(Response::new(StreamBody::new(Empty::<Bytes>::new())))
    });
    let connection = http2::Builder::new(Streams(StreamDeadline::new()))
        .serve_connection(TokioIo::new(far), service);
    tokio::spawn(connection);
    let client = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near));
    let (mut requests, connection) = client.await.unwrap();
    tokio::spawn(connection);
    for (path, is_fine) in [("/panics", false), ("/fine", true)] {
        let request = Request::get(format!("http://test{path}")).body(Empty::<Bytes>::new());
        let response = requests.send_request(request.unwrap()).await;
        assert_eq!(response.is_ok(), is_fine, "{path}");
    }
    let traced = traces.text();
    assert!(
        traced.contains("ERROR") && traced.contains("on purpose"),
        "{traced}"
    );
}
