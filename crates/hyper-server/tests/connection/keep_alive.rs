//! The read side of a connection during a stream, and the connection after it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::time::Duration;

use futures_util::task::noop_waker;
use http::{Request, Response, Version};
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidings_hyper_server::{Builder, Connection, RequestBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::{Instant, sleep};

use crate::support::{
    BOTH, Ends, GET, Script, Step, Writer, builder, by, drive, frame, is_streaming, mark,
    read_until_quiet, serve, stream, talk, text,
};
use crate::wire::{Call, Wire};

/// The bodies of the answers to these bytes, each the path of its request, and whether the connection ends.
async fn paths(writer: Writer, builder: &Builder, request: &[u8]) -> (Vec<String>, bool) {
    let answer = |parts: &http::request::Parts| {
        let path = frame(parts.uri.path());
        by(writer, stream([Step::Yield, path, Step::Yield]))
    };
    let driven = serve(builder, answer, async |io| talk(io, request).await).await;
    let (sent, is_closed) = driven.client;
    assert_eq!(driven.has_streamed, writer == Writer::Ours);
    let sent = text(&sent);
    let lines = sent.lines().filter(|line| line.starts_with('/'));
    (lines.map(str::to_owned).collect(), is_closed)
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").into_bytes()
}

#[tokio::test(start_paused = true)]
async fn a_connection_serves_its_next_requests_in_order() {
    let requests: Vec<u8> = (0..100).flat_map(|n| get(&format!("/{n}"))).collect();
    for writer in BOTH {
        let (paths, is_closed) = paths(writer, &builder(), &requests).await;
        let expected: Vec<String> = (0..100).map(|n| format!("/{n}")).collect();
        assert_eq!((paths, is_closed), (expected, false), "{writer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn streams_and_other_responses_alternate() {
    let requests: Vec<u8> = (0..20).flat_map(|n| get(&format!("/{n}"))).collect();
    let answer = |parts: &http::request::Parts| {
        let path = parts.uri.path();
        let is_stream = path.ends_with(['1', '4', '5']);
        let writer = if is_stream {
            Writer::Ours
        } else {
            Writer::Hyper
        };
        by(writer, stream([frame(path)]))
    };
    let driven = serve(&builder(), answer, async |io| talk(io, &requests).await).await;
    let sent = text(&driven.client.0);
    let paths: Vec<&str> = sent.lines().filter(|line| line.starts_with('/')).collect();
    let expected: Vec<String> = (0..20).map(|n| format!("/{n}")).collect();
    assert_eq!(paths, expected);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_keeps_no_connection() {
    let close = b"GET /1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let old = b"GET /1 HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
    for writer in BOTH {
        for first in [&close[..], old] {
            let requests = [first, &get("/2")].concat();
            let seen = paths(writer, &builder(), &requests).await;
            assert_eq!(seen, (vec!["/1".to_owned()], true), "{writer:?}");
        }
        let requests = [get("/1"), get("/2")].concat();
        let seen = paths(writer, &builder().keep_alive(false), &requests).await;
        assert_eq!(seen, (vec!["/1".to_owned()], true), "{writer:?}");
    }
}

/// Answers a GET with a stream that lasts until its `Ends` says so, and other requests with their bodies.
async fn stream_or_echo(
    request: Request<RequestBody>,
    on_stream: impl FnOnce(Arc<Ends>),
) -> Result<Response<Script>, Infallible> {
    if request.method() == "GET" {
        let body = Script::new([frame("first"), Step::Hang]);
        on_stream(Arc::clone(&body.ends));
        return Ok(mark(Response::new(body)));
    }
    let sent = request.into_body().collect().await.unwrap().to_bytes();
    let mut response = Response::new(Script::new([frame(sent)]));
    response.body_mut().has_length = true;
    Ok(response)
}

/// Serves a stream that ends after a minute, and then the body of each request.
async fn echo_after_a_stream(pieces: &[Vec<u8>]) -> (String, bool) {
    let (mut near, far) = duplex(256 * 1024);
    let service = service_fn(|request| {
        stream_or_echo(request, |ends| {
            tokio::spawn(async move {
                sleep(Duration::from_secs(60)).await;
                ends.end();
            });
        })
    });
    let connection = builder().serve_connection(TokioIo::new(far), service);
    let driven = drive(connection, async {
        near.write_all(GET).await.unwrap();
        let mut first = [0; 1];
        near.read_exact(&mut first).await.unwrap();
        for piece in pieces {
            near.write_all(piece).await.unwrap();
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_secs(60)).await;
        read_until_quiet(&mut near).await
    })
    .await;
    assert!(driven.has_streamed);
    (text(&driven.client.0), driven.client.1)
}

fn post(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test(start_paused = true)]
async fn what_a_client_sends_during_a_stream_is_its_next_request() {
    let body: Vec<u8> = (b'a'..=b'z').cycle().take(20_000).collect();
    let request = post(&body);
    for cuts in [
        vec![],
        vec![1],
        vec![5, 40, 1000],
        vec![8 * 1024 - 1],
        vec![8 * 1024],
    ] {
        // The first 8 KiB are sent during the stream, and the rest after it.
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(request[from..cut].to_vec());
            from = cut;
        }
        let (near, late) = request[from..].split_at((8 * 1024_usize).saturating_sub(from));
        let (mut io, far) = duplex(256 * 1024);
        let ends = Arc::new(Mutex::new(None));
        let keep = |stream| *ends.lock().unwrap() = Some(stream);
        let service = service_fn(|request| stream_or_echo(request, keep));
        let connection = builder().serve_connection(TokioIo::new(far), service);
        let driven = drive(connection, async {
            io.write_all(GET).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            for piece in pieces.iter().map(Vec::as_slice).chain([near]) {
                io.write_all(piece).await.unwrap();
                sleep(Duration::from_millis(1)).await;
            }
            ends.lock()
                .unwrap()
                .take()
                .expect("the stream is open")
                .end();
            sleep(Duration::from_millis(1)).await;
            io.write_all(late).await.unwrap();
            read_until_quiet(&mut io).await
        })
        .await;
        let (sent, is_closed) = driven.client;
        assert!(driven.has_streamed && !is_closed);
        assert!(sent.ends_with(&body), "{}", text(&sent));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_too_much_during_a_stream_keeps_its_stream_and_not_its_connection() {
    let smuggled = post(b"smuggled");
    let flood = vec![b'x'; 100_000];
    for pieces in [
        vec![vec![b'\n'; 8 * 1024 + 1], smuggled.clone()],
        vec![smuggled.clone(), flood.clone(), smuggled.clone()],
        vec![[flood, smuggled].concat()],
    ] {
        let (sent, is_closed) = echo_after_a_stream(&pieces).await;
        assert!(sent.ends_with("5\r\nfirst\r\n0\r\n\r\n"), "{sent}");
        assert!(is_closed);
    }
    let (sent, is_closed) = echo_after_a_stream(&[vec![b'\n'; 8 * 1024 - 100], post(b"hi")]).await;
    assert!(sent.ends_with("\r\n\r\nhi") && !is_closed, "{sent}");
}

#[tokio::test(start_paused = true)]
async fn early_bytes_do_not_add_up_over_the_streams_of_a_connection() {
    let (mut near, far) = duplex(256 * 1024);
    let ends = Arc::new(Mutex::new(None));
    let keep = |stream| *ends.lock().unwrap() = Some(stream);
    let service = service_fn(|request| stream_or_echo(request, keep));
    let connection = builder().serve_connection(TokioIo::new(far), service);
    let driven = drive(connection, async {
        // Requests of less than the limit for each stream, and many more than one stream answers.
        let requests = GET.repeat(8 * 1024 / GET.len());
        near.write_all(GET).await.unwrap();
        let mut streams = 0;
        loop {
            sleep(Duration::from_secs(1)).await;
            let Some(stream) = ends.lock().unwrap().take() else {
                return (streams, read_until_quiet(&mut near).await.1);
            };
            streams += 1;
            assert!(streams < 100, "the bytes of all streams are kept");
            near.write_all(&requests).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            stream.end();
        }
    })
    .await;
    // hyper holds the rest of the first 8 KiB beside the second 8 KiB, and there is no room for a third.
    assert!(
        matches!(driven.client, (2..=3, true)),
        "{:?}",
        driven.client
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_noticed_at_once() {
    for writer in BOTH {
        for early in [&b""[..], b"GET"] {
            // hyper reads no more after early bytes. `IoDeadline` does it there.
            if writer == Writer::Hyper && !early.is_empty() {
                continue;
            }
            let wire = Wire::default();
            let script = Script::new([frame("1"), Step::Hang]);
            let is_dropped = Arc::clone(&script.is_dropped);
            let script = Mutex::new(Some(script));
            let service = service_fn(async |_: Request<RequestBody>| {
                let script = script.lock().unwrap().take().unwrap();
                Ok::<_, Infallible>(by(writer, mark(Response::new(script))))
            });
            let connection = builder().serve_connection(wire.clone(), service);
            wire.send(GET);
            let driven = drive(connection, async {
                sleep(Duration::from_secs(1)).await;
                assert!(!is_dropped.load(Ordering::SeqCst));
                wire.send(early);
                sleep(Duration::from_secs(1)).await;
                let left = Instant::now();
                wire.leave();
                while !is_dropped.load(Ordering::SeqCst) {
                    tokio::task::yield_now().await;
                }
                assert_eq!(left, Instant::now());
                sleep(Duration::from_secs(1)).await;
            })
            .await;
            assert!(matches!(driven.ended, Some(Err(_))), "{writer:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_for_the_next_head_begins_after_the_stream() {
    for writer in BOTH {
        let (mut near, far) = duplex(64 * 1024);
        let service = service_fn(async |_: Request<RequestBody>| {
            let script = Script::new([frame("1"), Step::Hang]);
            let ends = Arc::clone(&script.ends);
            tokio::spawn(async move {
                sleep(Duration::from_secs(100)).await;
                ends.end();
            });
            Ok::<_, Infallible>(by(writer, mark(Response::new(script))))
        });
        let builder = builder().header_read_timeout(Duration::from_secs(5));
        let connection = builder.serve_connection(TokioIo::new(far), service);
        let start = Instant::now();
        let driven = drive(connection, async {
            near.write_all(GET).await.unwrap();
            let mut all = Vec::new();
            near.read_to_end(&mut all).await.unwrap();
            start.elapsed().as_secs()
        })
        .await;
        assert_eq!(driven.client, 105, "{writer:?}");
    }
}

/// When a server begins to shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shutdown {
    BeforeTheResponse,
    DuringTheStream,
    AfterTheStream,
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_closes_the_connection_after_its_stream() {
    for writer in BOTH {
        for shutdown in [
            Shutdown::BeforeTheResponse,
            Shutdown::DuringTheStream,
            Shutdown::AfterTheStream,
        ] {
            let wire = Wire::default();
            let release = Arc::new(tokio::sync::Notify::new());
            let ends = Arc::new(Mutex::new(None));
            let service = service_fn(|_: Request<RequestBody>| {
                let (release, ends) = (Arc::clone(&release), Arc::clone(&ends));
                async move {
                    release.notified().await;
                    let script = Script::new([frame("1"), Step::Hang]);
                    *ends.lock().unwrap() = Some(Arc::clone(&script.ends));
                    Ok::<_, Infallible>(by(writer, mark(Response::new(script))))
                }
            });
            let mut connection = builder().serve_connection(wire.clone(), service);
            let waker = noop_waker();
            let mut cx = Context::from_waker(&waker);
            let mut poll =
                |connection: &mut Connection<Wire, _, Script>| Pin::new(connection).poll(&mut cx);
            wire.send(GET);
            assert!(poll(&mut connection).is_pending());
            if shutdown == Shutdown::BeforeTheResponse {
                connection.graceful_shutdown();
            }
            release.notify_one();
            assert!(poll(&mut connection).is_pending());
            assert!(poll(&mut connection).is_pending());
            assert_eq!(is_streaming(&connection), writer == Writer::Ours);
            let says_close = text(&wire.received()).contains("\r\nconnection: close\r\n");
            assert_eq!(says_close, shutdown == Shutdown::BeforeTheResponse);
            if shutdown == Shutdown::DuringTheStream {
                connection.graceful_shutdown();
            }
            ends.lock().unwrap().take().unwrap().end();
            let mut ended = poll(&mut connection);
            if shutdown == Shutdown::AfterTheStream {
                assert!(ended.is_pending());
                connection.graceful_shutdown();
                ended = poll(&mut connection);
            }
            assert!(text(&wire.received()).ends_with("0\r\n\r\n"));
            assert!(ended.is_ready(), "{writer:?}, {shutdown:?}");
            assert_eq!(wire.calls().pop(), Some(Call::Shutdown));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_of_another_version_in_front_of_a_stream_changes_nothing() {
    let requests = [get("/1"), b"GET /2 HTTP/1.0\r\n\r\n".to_vec()].concat();
    let answer = |parts: &http::request::Parts| {
        let version = parts.version == Version::HTTP_10;
        stream([frame(if version { "/old" } else { "/new" })])
    };
    let driven = serve(&builder(), answer, async |io| talk(io, &requests).await).await;
    let (sent, is_closed) = driven.client;
    let sent = text(&sent);
    assert!(
        sent.contains("4\r\n/new\r\n0\r\n\r\nHTTP/1.0 200 OK\r\n"),
        "{sent}"
    );
    assert!(sent.ends_with("\r\n\r\n/old") && is_closed, "{sent}");
}
