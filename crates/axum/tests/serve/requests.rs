//! Clients that do not send their requests, and requests with large heads.

use std::time::Duration;

use axum::Router;
use axum::routing::post;
use tidings_axum::{Drain, Event, RouterExt, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::pipes::{PipeServer, read_for};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than any limit.
const LONG: Duration = Duration::from_secs(1000);

/// `/events` is a quiet stream, for a POST after its body; `/text` returns its body; `/unread` is a stream
/// that does not read the body of its request. The receiver counts the open sessions of `/events`.
fn app() -> (Router, watch::Receiver<usize>) {
    let (sessions, count) = watch::channel(0);
    struct Open(watch::Sender<usize>);
    impl Drop for Open {
        fn drop(&mut self) {
            self.0.send_modify(|open| *open -= 1);
        }
    }
    let stream = move |session: Session, body: String| {
        sessions.send_modify(|open| *open += 1);
        let open = Open(sessions.clone());
        async move {
            let _open = open;
            session.send(Event::new(body)).await?;
            std::future::pending().await
        }
    };
    let unread = async |session: Session| {
        session.send(Event::new("hello")).await?;
        std::future::pending().await
    };
    let events =
        tidings_axum::sse(async move |body: String, session: Session| stream(session, body).await);
    let app = Router::new()
        .route("/events", post(events.clone()).get(events))
        .route("/text", post(async |body: String| body))
        .sse("/unread", unread)
        .route("/unread", post(tidings_axum::sse(unread)));
    (app, count)
}

fn server() -> (PipeServer, watch::Receiver<usize>) {
    let (app, count) = app();
    (PipeServer::start(app, |serve| serve), count)
}

async fn connect(server: &PipeServer, request: &str) -> DuplexStream {
    let mut pipe = server.connect();
    pipe.write_all(request.as_bytes()).await.unwrap();
    pipe
}

fn post_to(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n")
}

const GET: &str = "GET /events HTTP/1.1\r\nhost: test\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_is_given_up_after_thirty_seconds() {
    let (server, count) = server();
    for path in ["/text", "/events"] {
        let chunked =
            format!("POST {path} HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n");
        let expecting = post_to(path, 10).replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n");
        let started = format!("{}123", post_to(path, 10));
        for request in [post_to(path, 10), started, chunked, expecting] {
            let start = Instant::now();
            let mut pipe = connect(&server, &request).await;
            let (read, is_closed) = read_for(&mut pipe, LONG).await;
            assert!(
                is_closed && read.contains("HTTP/1.1 400"),
                "{request:?}: {read:?}"
            );
            assert_eq!(start.elapsed().as_secs(), 30, "{request:?}");
            assert_eq!(*count.borrow(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_byte_of_a_body_restarts_the_time() {
    let (server, _) = server();
    let mut pipe = connect(&server, &post_to("/text", 10)).await;
    for byte in b"0123456789" {
        sleep(29 * SECOND).await;
        pipe.write_u8(*byte).await.unwrap();
    }
    let (read, _) = read_for(&mut pipe, SECOND).await;
    assert!(read.ends_with("0123456789"), "{read:?}");
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_request_was_read_lives_however_quiet() {
    let (server, count) = server();
    let sent = format!("{}0123456789", post_to("/events", 10));
    let mut pipes = Vec::new();
    for request in [GET, &sent, "GET /unread HTTP/1.1\r\nhost: test\r\n\r\n"] {
        pipes.push(connect(&server, request).await);
    }
    for pipe in &mut pipes {
        let (read, is_closed) = read_for(pipe, LONG).await;
        assert!(!is_closed && read.contains("HTTP/1.1 200"), "{read:?}");
    }
    assert_eq!(*count.borrow(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_reads_no_body_lives_without_one() {
    let (server, _) = server();
    let mut pipe = connect(&server, &post_to("/unread", 10)).await;
    let (read, is_closed) = read_for(&mut pipe, LONG).await;
    assert!(!is_closed && read.contains("data: hello"), "{read:?}");
}

#[tokio::test(start_paused = true)]
async fn a_head_has_thirty_seconds_in_all_and_so_has_the_next_one() {
    let (server, _) = server();
    for (sent_before, gap) in [("", 30), ("", 29), ("GET / HTTP/1.1\r\n", 29)] {
        let mut pipe = connect(&server, sent_before).await;
        let start = Instant::now();
        sleep(gap * SECOND - SECOND / 2).await;
        pipe.write_all(b"G").await.unwrap();
        let (_, is_closed) = read_for(&mut pipe, LONG).await;
        assert!(is_closed);
        assert_eq!(start.elapsed().as_secs(), 30, "{sent_before:?} {gap}");
    }
    // Between two requests.
    let mut pipe = connect(&server, &format!("{}ab", post_to("/text", 2))).await;
    let (read, is_closed) = read_for(&mut pipe, SECOND).await;
    assert!(!is_closed && read.ends_with("ab"));
    let start = Instant::now();
    assert_eq!(read_for(&mut pipe, LONG).await, (String::new(), true));
    assert!((28..=30).contains(&start.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_can_be_set_and_switched_off() {
    let (app, _) = app();
    let server = PipeServer::start(app.clone(), |serve| serve.read_deadline(5 * SECOND));
    for request in ["", &post_to("/text", 10)] {
        let start = Instant::now();
        let mut pipe = connect(&server, request).await;
        assert!(read_for(&mut pipe, LONG).await.1);
        assert_eq!(start.elapsed().as_secs(), 5);
    }
    let server = PipeServer::start(app, |serve| serve.read_deadline(Duration::MAX));
    for request in ["", &post_to("/text", 10)] {
        let mut pipe = connect(&server, request).await;
        assert!(!read_for(&mut pipe, LONG).await.1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_noticed_whatever_it_has_sent() {
    let drain = Drain::new();
    let (app, count) = app();
    let server = PipeServer::start(app, |serve| serve.drain(&drain));
    let chunked = "POST /unread HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n";
    for request in [
        GET.to_owned(),
        GET.repeat(2),
        GET.repeat(100),
        format!("{GET}{}", "x".repeat(50_000)),
        format!("{}0123456789{GET}", post_to("/events", 10)),
        format!("{}0123456789{GET}", post_to("/unread", 10)),
        post_to("/unread", 10),
        format!("{}01234", post_to("/unread", 10)),
        format!("{}{}", post_to("/unread", 100_000), "x".repeat(50_000)),
        chunked.to_owned(),
        format!("{chunked}3\r\nabc\r\n"),
    ] {
        let mut pipe = connect(&server, &request).await;
        let sent = &request[..request.len().min(200)];
        let (read, _) = read_for(&mut pipe, SECOND).await;
        assert!(read.contains("data:"), "{sent:?}: {read:?}");
        drop(pipe);
        sleep(SECOND).await;
        assert_eq!(drain.open_connections(), 0, "{sent:?}");
        assert_eq!((drain.open_sessions(), *count.borrow()), (0, 0), "{sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_arrive_before_a_response_do_not_cut_its_stream() {
    let ends = async |session: Session| {
        sleep(100 * SECOND).await;
        session.send(Event::new("last")).await?;
        Ok(())
    };
    let wait = async |request: axum::extract::Request, next: axum::middleware::Next| {
        let response = next.run(request).await;
        sleep(SECOND).await;
        response
    };
    let app = Router::new().sse("/ends", ends);
    let app = app.layer(axum::middleware::from_fn(wait));
    let server = PipeServer::start(app, |serve| serve);
    let request = "GET /ends HTTP/1.1\r\nhost: test\r\n\r\n";
    let mut pipe = connect(&server, &format!("{request}{}", "x".repeat(50_000))).await;
    let (read, is_closed) = read_for(&mut pipe, LONG).await;
    assert!(read.contains("data: last\n\n\r\n0\r\n\r\n"), "{read}");
    assert!(is_closed);
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_behind_a_stream_are_answered_after_it() {
    let ends = async |session: Session| {
        sleep(100 * SECOND).await;
        session.send(Event::new("last")).await?;
        Ok(())
    };
    let app = Router::new()
        .sse("/ends", ends)
        .route("/text", post(async |body: String| body));
    let server = PipeServer::start(app, |serve| serve);
    let mut pipe = connect(&server, "GET /ends HTTP/1.1\r\nhost: test\r\n\r\n").await;
    for n in 0..3 {
        sleep(SECOND).await;
        let text = n.to_string().repeat(1000);
        let request = format!("{}{text}", post_to("/text", 1000));
        pipe.write_all(request.as_bytes()).await.unwrap();
    }
    let (read, _) = read_for(&mut pipe, 200 * SECOND).await;
    for expected in [
        "data: last",
        &"0".repeat(1000),
        &"1".repeat(1000),
        &"2".repeat(1000),
    ] {
        assert!(read.contains(expected), "{read:?}");
    }
}

/// A request whose head has this many bytes, in headers of this many bytes each.
fn head_of(bytes: usize, each: usize) -> String {
    let mut head = "GET /unread HTTP/1.1\r\nhost: test\r\n".to_owned();
    while bytes - 2 - head.len() >= 2 * each {
        let name = format!("x-{}: ", head.len());
        let value = "v".repeat(each - name.len() - 2);
        head.push_str(&format!("{name}{value}\r\n"));
    }
    let rest = bytes - 2 - head.len();
    head.push_str(&format!("x: {}\r\n\r\n", "v".repeat(rest - 5)));
    assert_eq!(head.len(), bytes);
    head
}

#[tokio::test(start_paused = true)]
async fn a_head_of_32_kib_is_accepted_and_a_larger_one_answered_431() {
    let (server, _) = server();
    const KIB: usize = 1024;
    for (bytes, each, status) in [
        (31 * KIB, 30 * KIB, 200),
        (32 * KIB, 16 * KIB, 200),
        (31 * KIB, 100, 200),
        (31 * KIB, 80, 200),
        (33 * KIB, 32 * KIB, 431),
        (33 * KIB, 100, 431),
        (32 * KIB + 1, 1000, 431),
        (300 * KIB, 1000, 431),
    ] {
        let head = head_of(bytes, each);
        let mut pipe = server.connect();
        // The server may answer, and close, before it has read all of it.
        pipe.write_all(head.as_bytes()).await.ok();
        let (read, is_closed) = read_for(&mut pipe, SECOND).await;
        let expected = format!("HTTP/1.1 {status} ");
        assert!(read.starts_with(&expected), "{bytes} {each}: {read:?}");
        assert_eq!(is_closed, status == 431, "{bytes} {each}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_largest_head_can_be_set_within_bounds() {
    const KIB: usize = 1024;
    for (set, bytes, status) in [
        (2 * KIB, 2 * KIB, 200),
        (2 * KIB, 2 * KIB + 1, 431),
        (100 * KIB, 100 * KIB, 200),
        (0, KIB, 200),
        (0, KIB + 1, 431),
        (usize::MAX, 256 * KIB, 200),
        (usize::MAX, 256 * KIB + 1, 431),
    ] {
        // A session has a limit of its own.
        let app = Router::new().route("/unread", axum::routing::get(async || "text"));
        let server = PipeServer::start(app, |serve| serve.max_head_bytes(set));
        let mut pipe = server.connect();
        let head = head_of(bytes, bytes / 2);
        pipe.write_all(head.as_bytes()).await.ok();
        let (read, _) = read_for(&mut pipe, SECOND).await;
        let expected = format!("HTTP/1.1 {status} ");
        assert!(read.starts_with(&expected), "{set} {bytes}: {read:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_number_of_headers_can_be_set_up_to_512() {
    for (set, headers, status) in [
        (None, 512, 200),
        (None, 513, 431),
        (Some(100), 100, 200),
        (Some(100), 101, 431),
        (Some(0), 1, 200),
        (Some(0), 2, 431),
        (Some(usize::MAX), 512, 200),
        (Some(usize::MAX), 513, 431),
    ] {
        let app = Router::new().route("/text", axum::routing::get(async || "text"));
        let server = PipeServer::start(app, |serve| match set {
            Some(count) => serve.max_headers(count),
            None => serve,
        });
        let mut pipe = server.connect();
        // The host is one of them.
        let others = "x: y\r\n".repeat(headers - 1);
        let head = format!("GET /text HTTP/1.1\r\nhost: test\r\n{others}\r\n");
        pipe.write_all(head.as_bytes()).await.ok();
        let (read, is_closed) = read_for(&mut pipe, SECOND).await;
        let expected = format!("HTTP/1.1 {status} ");
        assert!(read.starts_with(&expected), "{set:?} {headers}: {read:?}");
        assert_eq!(is_closed, status == 431, "{set:?} {headers}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_with_its_lifetime_and_its_session_cleanly() {
    let (app, count) = app();
    let server = PipeServer::start(app, |serve| serve.max_lifetime(100 * SECOND));
    let start = Instant::now();
    let mut pipe = connect(&server, GET).await;
    let mut idle = server.connect();
    let (read, is_closed) = read_for(&mut pipe, LONG).await;
    assert!(is_closed && read.ends_with("\r\n0\r\n\r\n"), "{read:?}");
    assert!((80..=100).contains(&start.elapsed().as_secs()));
    assert_eq!(*count.borrow(), 0);
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert!(!server.ended.is_finished());
    // A client that does not read its session is cut one write deadline later.
    let start = Instant::now();
    let mut pipe = connect(&server, &post_to("/text", 1_000_000)).await;
    for _ in 0..20 {
        if pipe.write_all(&[b'x'; 100]).await.is_err() {
            break;
        }
        sleep(10 * SECOND).await;
    }
    assert!(
        (110..=140).contains(&start.elapsed().as_secs()),
        "{:?}",
        start.elapsed()
    );
}
