//! Sessions on hyper's own connections, over real sockets: when their bytes leave.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidings_server::{Event, HandlerError, Session, SseRequest};
use tidings_testkit::http_server;
use tidings_testkit::timeout::timeout;
use tokio::sync::oneshot;

const SOON: Duration = Duration::from_secs(10);

/// Serves this handler over sockets.
async fn serve<H, F>(handler: H) -> SocketAddr
where
    H: Fn(Session) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    http_server::serve(move |request: Request<Incoming>| {
        SseRequest::new(request.into_parts().0).open(handler.clone())
    })
    .await
}

// Not a client of tokio: a handler that blocks a worker may also delay tokio's sockets.
fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

fn get(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address);
    stream
        .write_all(b"GET /events HTTP/1.1\r\nHost: test\r\n\r\n")
        .unwrap();
    stream
}

/// Reads until this text has arrived.
fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut read = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let so_far = String::from_utf8_lossy(&read).into_owned();
        if so_far.contains(text) {
            return so_far;
        }
        let length = stream
            .read(&mut buffer)
            .unwrap_or_else(|error| panic!("{text:?} did not arrive after {so_far:?}: {error}"));
        assert_ne!(length, 0, "the stream ended after {so_far:?}");
        read.extend_from_slice(&buffer[..length]);
    }
}

/// Blocks the thread until the test continues.
fn block_until(go: &Mutex<std::sync::mpsc::Receiver<()>>) {
    go.lock().unwrap().recv_timeout(SOON).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_head_is_read_while_the_handler_computes() {
    let (go_on, go) = std::sync::mpsc::channel();
    let go = Arc::new(Mutex::new(go));
    let address = serve(move |_: Session| {
        let go = go.clone();
        async move {
            block_until(&go);
            Ok(())
        }
    })
    .await;
    let head = read_until(&mut get(address), "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for header in [
        "content-type: text/event-stream\r\n",
        "cache-control: no-store, no-transform\r\n",
        "incremental: ?1\r\n",
        "x-accel-buffering: no\r\n",
    ] {
        assert_eq!(head.matches(header).count(), 1, "{head}");
    }
    go_on.send(()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_request_gets_the_head_of_a_get_and_runs_no_handler() {
    let address = serve(async |session: Session| {
        assert_eq!(session.request().method, "GET");
        session.send(Event::new("first")).await?;
        Ok(())
    })
    .await;
    let mut stream = TcpStream::connect(address).unwrap();
    let mut heads = ["HEAD", "GET"].map(|method| {
        let request = format!("{method} /events HTTP/1.1\r\nHost: test\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let end = if method == "GET" {
            "\r\n0\r\n\r\n"
        } else {
            "\r\n\r\n"
        };
        let answer = read_until(&mut stream, end);
        let head = answer.split("\r\n\r\n").next().unwrap().to_owned();
        head.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    heads.iter_mut().for_each(|head| {
        head.retain(|line| !line.starts_with("date:") && !line.starts_with("transfer-encoding:"));
        head.sort();
    });
    assert_eq!(heads[0], heads[1]);
}

/// hyper knows whether the connection stays open; the session does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_and_not_the_session_describes_the_connection() {
    let address = serve(async |_: Session| Ok(())).await;
    let connection = |version: &str, header: &str| {
        let mut stream = connect(address);
        let request = format!("GET /events HTTP/{version}\r\nHost: test\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let head = read_until(&mut stream, "\r\n\r\n");
        let mut lines = head.lines();
        lines.find_map(|line| line.strip_prefix("connection: ").map(str::to_owned))
    };
    assert_eq!(connection("1.1", ""), None);
    let close = Some("close".to_owned());
    assert_eq!(connection("1.1", "Connection: close\r\n"), close);
    assert_eq!(connection("1.0", ""), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_event_is_read_while_the_handler_computes() {
    let (go_on, go) = std::sync::mpsc::channel();
    let go = Arc::new(Mutex::new(go));
    let address = serve(move |session: Session| {
        let go = go.clone();
        async move {
            session.send(Event::new("first")).await?;
            session.flush().await?;
            block_until(&go);
            session.send(Event::new("second")).await?;
            Ok(())
        }
    })
    .await;
    let mut stream = get(address);
    read_until(&mut stream, "data: first\n\n");
    go_on.send(()).unwrap();
    read_until(&mut stream, "data: second\n\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_handler_sends_head_and_event_and_then_cuts() {
    let address = serve(async |session: Session| {
        session.send(Event::new("first")).await?;
        Err(HandlerError::new("on purpose"))
    })
    .await;
    let mut stream = get(address);
    let mut answer = Vec::new();
    // The cut is a close or a reset, without the last chunk.
    drop(stream.read_to_end(&mut answer));
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("data: first\n\n"), "{answer}");
    assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_disconnects_drops_its_handler() {
    let (running, is_dropped) = oneshot::channel::<()>();
    let running = Arc::new(Mutex::new(Some(running)));
    let address = serve(move |session: Session| {
        let running = running.lock().unwrap().take();
        async move {
            // Dropped with the handler where it waits.
            let _running = running;
            session.send(Event::new("first")).await?;
            std::future::pending().await
        }
    })
    .await;
    let mut stream = get(address);
    read_until(&mut stream, "data: first\n\n");
    drop(stream);
    timeout(SOON, is_dropped).await.unwrap().unwrap_err();
}

#[tokio::test]
async fn a_client_whose_window_was_shut_receives_the_events_sent_meanwhile() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let (sent, is_sent) = oneshot::channel();
    let sent = Mutex::new(Some(sent));
    let respond = move |request: Request<Incoming>| {
        let (parts, _) = request.into_parts();
        let sent = sent.lock().unwrap().take().unwrap();
        SseRequest::new(parts).open(async move |session| {
            // More than the client's window of 64 KiB, so the rest happens while the window is shut.
            session.send(Event::new("x".repeat(70_000))).await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
            session.send(Event::new("second")).await?;
            sent.send(()).unwrap();
            Ok(())
        })
    };
    tokio::spawn(http_server::serve_http2(far, respond));

    let client = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(65_535)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(near));
    let (mut client, connection) = client.await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://test/").body(Empty::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    // The window opens when the body is read, which happens only after the handler was woken.
    drop(timeout(Duration::from_millis(200), is_sent).await);
    let body = timeout(SOON, response.into_body().collect()).await;
    let body = body.expect("the stream hangs").unwrap().to_bytes();
    assert!(body.ends_with(b"data: second\n\n"));
}
