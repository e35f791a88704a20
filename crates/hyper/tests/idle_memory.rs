//! The memory of sessions that wait. The test has a process of its own, because it counts the bytes of
//! the whole process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::alloc::System;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use cap::Cap;
use tidings_client::{Session, SseClient};
use tidings_hyper::DirectTransport;
use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATED: Cap<System> = Cap::new(System, usize::MAX);

const SESSIONS: usize = 200;
const EVENTS: usize = 2_000;
const SOON: Duration = Duration::from_secs(10);

/// A session that has received a burst of events, and waits for the next. The server's end is returned
/// beside it.
async fn idle(client: &SseClient, listener: &TcpListener, burst: &str) -> (Session, TcpStream) {
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let serve = async {
        let (mut server, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(server.read_u8().await.unwrap());
        }
        server.write_all(burst.as_bytes()).await.unwrap();
        server
    };
    let read = async {
        let mut session = client.get(&url).open().await.unwrap();
        for _ in 0..EVENTS {
            session.try_next().await.unwrap().unwrap();
        }
        let is_pending = {
            let mut next = pin!(session.try_next());
            poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await
        };
        assert!(is_pending);
        session
    };
    timeout(SOON, async { tokio::join!(read, serve) })
        .await
        .unwrap()
}

#[tokio::test]
async fn a_session_that_waits_holds_no_buffer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = SseClient::over(DirectTransport::new().no_proxy());
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
    let chunk = "b\r\ndata: abc\n\n\r\n".repeat(EVENTS);
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}");
    let until_close = format!("{head}\r\n{}", "data: abc\n\n".repeat(EVENTS));
    for burst in [chunked, until_close] {
        // What is allocated once for all sessions does not count.
        drop(idle(&client, &listener, &burst).await);
        let before = ALLOCATED.allocated();
        let mut sessions = Vec::with_capacity(SESSIONS);
        for _ in 0..SESSIONS {
            sessions.push(idle(&client, &listener, &burst).await);
        }
        let each = (ALLOCATED.allocated() - before) / SESSIONS;
        println!("{each} bytes a session, with the server's socket");
        assert!(each <= 6 * 1024, "{each} bytes");
    }
}
