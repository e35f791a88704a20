//! Which responses leave hyper. Each condition has a case that would be wrong without it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::ext::ReasonPhrase;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidings_hyper_server::RequestBody;
use tidings_server::{IoDeadline, SseRequest};
use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use crate::support::{
    Driven, GET, Script, Step, builder, drive, frame, mark, read_until_quiet, serve, stream, talk,
    text, without_dates,
};
use crate::wire::Wire;

/// Whether the response to this request leaves hyper, and the bytes that the client receives.
async fn ask(request: &[u8], answer: impl Fn() -> Response<Script>) -> (bool, String) {
    let driven = serve(&builder(), |_| answer(), async |io| talk(io, request).await).await;
    let (sent, _) = driven.client;
    (driven.has_streamed, text(&without_dates(&sent)))
}

async fn stays(request: &[u8], change: impl Fn(&mut Response<Script>)) -> String {
    let answer = || {
        let mut response = stream([Step::Yield, frame("abc")]);
        change(&mut response);
        response
    };
    let (has_streamed, sent) = ask(request, answer).await;
    assert!(!has_streamed, "{sent}");
    sent
}

fn add(name: &'static str, value: &'static str) -> impl Fn(&mut Response<Script>) {
    move |response| {
        response.headers_mut().append(name, value.parse().unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_leaves_hyper() {
    for request in [
        GET,
        b"GET / HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
    ] {
        let (has_streamed, _) = ask(request, || stream([Step::Yield, frame("abc")])).await;
        assert!(has_streamed, "{}", text(request));
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_no_open_stream_stays() {
    let unmarked = stays(GET, |response| response.extensions_mut().clear()).await;
    assert!(unmarked.ends_with("3\r\nabc\r\n0\r\n\r\n"));

    let created = stays(GET, |response| *response.status_mut() = StatusCode::CREATED).await;
    assert!(created.starts_with("HTTP/1.1 201 Created\r\n"));
    let partial = |response: &mut Response<_>| *response.status_mut() = StatusCode::NO_CONTENT;
    assert!(!stays(GET, partial).await.contains("abc"));

    let sized = stays(GET, add("content-length", "3")).await;
    assert!(sized.ends_with("\r\n\r\nabc") && !sized.contains("chunked"));
    let coded = stays(GET, add("transfer-encoding", "gzip")).await;
    assert!(coded.contains("transfer-encoding: gzip, chunked\r\n"));
    stays(GET, add("upgrade", "h2c")).await;
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n";
    let with_trailers = stays(request, |response| {
        add("trailer", "x-end")(response);
        *response.body_mut() = Script::new([Step::Yield, frame("abc"), Step::Trailers]);
    });
    assert!(with_trailers.await.ends_with("0\r\nx-end: 1\r\n\r\n"));

    let known = stays(GET, |response| response.body_mut().has_length = true).await;
    assert!(known.contains("content-length: 3\r\n"), "{known}");
    let empty = stays(GET, |response| {
        *response.body_mut() = Script::new([]);
        response.body_mut().knows_its_end = true;
    });
    assert!(empty.await.contains("content-length: 0\r\n"));

    let old = stays(GET, |response| *response.version_mut() = Version::HTTP_10).await;
    assert!(old.starts_with("HTTP/1.0 200 OK\r\n") && old.ends_with("\r\n\r\nabc"));
    let reason = stays(GET, |response| {
        let reason = ReasonPhrase::from_static(b"Fine");
        response.extensions_mut().insert(reason);
    });
    assert!(reason.await.starts_with("HTTP/1.1 200 Fine\r\n"));
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_head_or_a_connect_stays() {
    let head = stays(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n", |_| {}).await;
    assert!(
        head.ends_with("\r\n\r\n") && !head.contains("abc"),
        "{head}"
    );
    let connect = stays(b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n", |_| {}).await;
    assert!(!connect.contains("chunked"), "{connect}");
}

/// How the service reads the body of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    Nothing,
    OneFrame,
    ToItsEnd,
    /// It keeps the body, and reads it during the stream.
    Later,
}

/// Answers each request by a stream with its number.
async fn read_and_answer(reads: Reads, pieces: &[&[u8]]) -> Driven<(String, bool)> {
    let (mut near, far) = duplex(64 * 1024);
    let requests = Arc::new(AtomicUsize::new(0));
    let service = service_fn(|request: Request<RequestBody>| {
        let number = requests.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut body = request.into_body();
            match reads {
                Reads::Nothing => drop(body),
                Reads::OneFrame => drop(body.frame().await),
                Reads::ToItsEnd => drop(body.collect().await),
                Reads::Later => {
                    tokio::spawn(async move { body.collect().await });
                }
            }
            let number = frame(format!("stream {number}"));
            Ok::<_, Infallible>(stream([Step::Yield, number]))
        }
    });
    let connection = builder().serve_connection(TokioIo::new(far), service);
    drive(connection, async {
        for piece in pieces {
            if near.write_all(piece).await.is_err() {
                // The connection is closed.
                break;
            }
            tokio::task::yield_now().await;
        }
        let (sent, is_closed) = read_until_quiet(&mut near).await;
        (text(&sent), is_closed)
    })
    .await
}

const POST: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 40\r\n\r\n";
/// The body of a request. Read as a request, it would be answered.
const BODY: &[u8] = b"GET /smuggled HTTP/1.1\r\nhost: a\r\nxyz: 12";

#[tokio::test(start_paused = true)]
async fn a_stream_stays_unless_the_body_of_its_request_was_read_to_its_end() {
    assert_eq!(BODY.len(), 40);
    let (first, rest) = BODY.split_at(7);
    for pieces in [
        &[POST, BODY, b"\r\n\r\n"][..],
        &[POST, first, rest, b"\r\n\r\n"],
        &[&[POST, BODY, b"\r\n\r\n"].concat()],
    ] {
        for reads in [
            Reads::Nothing,
            Reads::OneFrame,
            Reads::Later,
            Reads::ToItsEnd,
        ] {
            let driven = read_and_answer(reads, pieces).await;
            let (sent, _) = driven.client;
            assert!(sent.contains("stream 0"), "{reads:?}: {sent}");
            assert!(!sent.contains("stream 1"), "{reads:?}: {sent}");
            let is_whole = reads == Reads::OneFrame && pieces.len() != 4;
            if !is_whole {
                assert_eq!(driven.has_streamed, reads == Reads::ToItsEnd, "{reads:?}");
            }
        }
    }
    // The end of the body is never sent.
    let driven = read_and_answer(Reads::OneFrame, &[POST, first]).await;
    assert!(driven.client.0.contains("stream 0") && !driven.has_streamed);
}

#[tokio::test(start_paused = true)]
async fn a_request_with_two_lengths_stays_and_its_connection_closes() {
    let two =
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n\
                0\r\n\r\n";
    let pieces = [&two[..], b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"];
    let driven = read_and_answer(Reads::ToItsEnd, &pieces).await;
    let (sent, is_closed) = driven.client;
    assert!(is_closed && !driven.has_streamed);
    assert!(sent.contains("connection: close\r\n"));
    assert!(!sent.contains("stream 1"), "{sent}");
}

const EXPECT: &[u8] =
    b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_client_that_expects_100_continue_receives_it_before_its_stream() {
    let (mut near, far) = duplex(64 * 1024);
    let service = service_fn(async |request: Request<RequestBody>| {
        let sent = request.into_body().collect().await.unwrap().to_bytes();
        Ok::<_, Infallible>(stream([Step::Yield, frame(sent)]))
    });
    let connection = builder().serve_connection(TokioIo::new(far), service);
    let driven = drive(connection, async {
        near.write_all(EXPECT).await.unwrap();
        let mut interim = [0; 25];
        near.read_exact(&mut interim).await.unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        near.write_all(b"body").await.unwrap();
        read_until_quiet(&mut near).await
    })
    .await;
    assert!(driven.has_streamed);
    let (sent, is_closed) = driven.client;
    let sent = text(&sent);
    assert!(
        !is_closed && sent.starts_with("HTTP/1.1 200 OK\r\n"),
        "{sent}"
    );
    assert!(sent.ends_with("4\r\nbody\r\n0\r\n\r\n"), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_stays_while_hyper_has_bytes_to_write() {
    let wire = Wire::default();
    let service = service_fn(async |request: Request<RequestBody>| {
        let sent = request.into_body().collect().await.unwrap().to_bytes();
        Ok::<_, Infallible>(stream([Step::Yield, frame(sent)]))
    });
    let connection = builder().serve_connection(wire.clone(), service);
    // The client does not wait for the 100, and does not read it yet.
    wire.accept(0);
    wire.send(&[EXPECT, b"body"].concat());
    let driven = drive(connection, async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(wire.received(), b"");
        wire.accept(usize::MAX);
        tokio::time::sleep(Duration::from_secs(1)).await;
        text(&wire.received())
    })
    .await;
    assert!(!driven.has_streamed);
    let sent = driven.client;
    let rest = sent.strip_prefix("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n");
    assert!(
        rest.is_some_and(|rest| rest.ends_with("4\r\nbody\r\n0\r\n\r\n")),
        "{sent}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_leaves_http_as_with_hyper() {
    let (mut near, far) = duplex(64 * 1024);
    let service = service_fn(async |mut request: Request<RequestBody>| {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut upgraded = TokioIo::new(upgrade.await.unwrap());
            let mut ping = [0; 4];
            upgraded.read_exact(&mut ping).await.unwrap();
            upgraded.write_all(b"pong").await.unwrap();
        });
        let mut response = mark(Response::new(Script::new([Step::Hang])));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        add("upgrade", "echo")(&mut response);
        add("connection", "upgrade")(&mut response);
        Ok::<_, Infallible>(response)
    });
    let connection = builder().serve_connection(TokioIo::new(far), service);
    let driven = drive(connection, async {
        let request =
            b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nping";
        near.write_all(request).await.unwrap();
        text(&read_until_quiet(&mut near).await.0)
    })
    .await;
    assert!(!driven.has_streamed && matches!(driven.ended, Some(Ok(()))));
    assert!(
        driven.client.starts_with("HTTP/1.1 101 "),
        "{}",
        driven.client
    );
    assert!(driven.client.ends_with("\r\n\r\npong"), "{}", driven.client);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_a_stream_that_stayed_is_noticed_by_its_deadline() {
    for reads_the_100 in [true, false] {
        let (mut near, far) = duplex(10);
        let io = IoDeadline::new(far);
        let outgoing = io.outgoing().clone();
        let (dropped, mut is_dropped) = tokio::sync::oneshot::channel::<()>();
        let dropped = Mutex::new(Some(dropped));
        let service = service_fn(async |mut request: Request<RequestBody>| {
            request.extensions_mut().insert(outgoing.clone());
            let (parts, body) = request.into_parts();
            drop(body.collect().await);
            outgoing.set_request_over(true);
            let dropped = dropped.lock().unwrap().take();
            let response = SseRequest::new(parts).open(async move |_session| {
                let _dropped = dropped;
                std::future::pending().await
            });
            Ok::<_, Infallible>(response)
        });
        let connection = builder().serve_connection(TokioIo::new(io), service);
        let driven = drive(connection, async {
            if reads_the_100 {
                near.write_all(EXPECT).await.unwrap();
                near.read_exact(&mut [0; 25]).await.unwrap();
                near.write_all(b"body").await.unwrap();
            } else {
                near.write_all(&[EXPECT, b"body"].concat()).await.unwrap();
            }
            // hyper reads no more after early bytes.
            near.write_all(b"GET").await.unwrap();
            read_until_quiet(&mut near).await;
            assert!(is_dropped.try_recv().is_err());
            drop(near);
            timeout(Duration::from_secs(1), is_dropped)
                .await
                .unwrap()
                .unwrap_err();
        })
        .await;
        assert_eq!(driven.has_streamed, reads_the_100);
    }
}
