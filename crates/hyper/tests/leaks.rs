//! Dropped sessions leak no socket, task or byte. The test has a process of its own, because it
//! counts those of the whole process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::alloc::System;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use cap::Cap;
use tidings_client::{Reconnect, SseClient};
use tidings_hyper::DirectTransport;
use tidings_testkit::server::{Script, ScriptedServer, Step};
use tidings_testkit::timeout::timeout;
use tokio::runtime::Handle;

#[global_allocator]
static ALLOCATED: Cap<System> = Cap::new(System, usize::MAX);

const CYCLES: usize = 10_000;
const SOON: Duration = Duration::from_secs(10);

/// Polls a future at most this many times, and lets other tasks run in between.
async fn polled<F: Future>(times: usize, future: F) {
    let mut future = pin!(future);
    for _ in 0..times {
        let is_ready = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
        if is_ready {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Opens a session and drops it: while it connects, in its head, in its body, with unread bytes, or
/// while it waits to reconnect.
async fn cycle(client: &SseClient, url: &str, way: usize) {
    let opening = client.get(url).open();
    if way < 4 {
        return polled(way, opening).await;
    }
    let mut session = timeout(SOON, opening).await.unwrap().unwrap();
    let first = timeout(SOON, session.try_next()).await.unwrap();
    assert_eq!(first.unwrap().unwrap().text(), "a");
    match way {
        4 => session.close(),
        5 => polled(3, session.try_next()).await,
        _ => drop(session),
    }
}

fn sockets() -> usize {
    // On systems without this folder, sockets are not counted.
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[tokio::test]
async fn ten_thousand_dropped_sessions_leak_nothing() {
    let server = ScriptedServer::directed(|connection| match connection % 3 {
        0 => Script::answer([
            Step::head(),
            Step::send("data: a\n\ndata: b\n\n"),
            Step::Stall,
        ]),
        1 => Script::answer([
            Step::chunked_head(),
            Step::chunk("data: a\n\n"),
            Step::Reset,
        ]),
        _ => Script::stream("data: a\n\n"),
    });
    let listening = server.listen().await.unwrap();
    let url = format!("http://{}/", listening.address);
    let transport = DirectTransport::new().no_proxy();
    let client = SseClient::over(transport)
        .reconnect(Reconnect::standard())
        .idle_timeout(SOON);

    let counts = || {
        let tasks = Handle::current().metrics().num_alive_tasks();
        (sockets(), tasks, ALLOCATED.allocated())
    };
    let mut before = counts();
    for n in 0..CYCLES {
        cycle(&client, &url, n % 7).await;
        if n % 500 == 499 {
            server.all_closed().await;
            server.clear_requests();
        }
        // By now everything that is allocated once exists, such as tokio's own tables.
        if n == CYCLES / 10 - 1 {
            before = counts();
        }
    }
    server.all_closed().await;
    let after = counts();
    assert_eq!(
        (after.0, after.1),
        (before.0, before.1),
        "sockets and tasks"
    );
    let bytes = after.2.saturating_sub(before.2);
    assert!(bytes < 16 * 1024, "{bytes} bytes more than before");
}
