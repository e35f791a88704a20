//! The heap memory of an idle subscriber of a hub, without that of its connection. In a process of its own,
//! because it counts all allocations.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::alloc::System;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cap::Cap;
use http::{Request, Response};
use http_body::Body;
use tidings::hub::{Event, Hub};
use tidings::server::{Drain, Heartbeat, Session, SessionBody, SessionOptions, SseRequest};
use tidings_testkit::timeout::timeout;
use tokio::task::coop::unconstrained;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const SUBSCRIBERS: usize = 4_000;

/// The most heap bytes of an idle subscriber of `SseRequest::forward`.
const MOST_BYTES: usize = 1_150;

/// A request as a browser sends it.
fn request(options: &SessionOptions) -> SseRequest {
    let request = Request::get("/events/news")
        .header("host", "localhost:8000")
        .header("accept", "text/event-stream")
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("accept-language", "en-GB,en;q=0.9,de;q=0.8")
        .header("cache-control", "no-cache")
        .header("cookie", "c".repeat(100))
        .header("user-agent", "b".repeat(100));
    SseRequest::new(request.body(()).unwrap().into_parts().0).options(options.clone())
}

fn options() -> SessionOptions {
    SessionOptions::new()
        .drain(&Drain::new())
        .heartbeat(Heartbeat::default())
}

/// Polls the body until it waits. Returns the number of frames.
fn run(body: &mut SessionBody) -> usize {
    let mut cx = Context::from_waker(Waker::noop());
    let mut frames = 0;
    // The head, the work, and a turn to write after each frame.
    for _ in 0..5 {
        if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(&mut cx) {
            assert!(frame.unwrap().unwrap().is_data());
            frames += 1;
        }
    }
    frames
}

struct Cost {
    /// Heap bytes of an idle subscriber.
    idle: usize,
    /// Heap bytes that are allocated to deliver an event to all subscribers.
    of_an_event: usize,
}

async fn cost(subscribe: impl AsyncFn(&Hub) -> Response<SessionBody>) -> Cost {
    let hub = Hub::in_memory();
    hub.publish("news", Event::new("first")).await.unwrap();
    let mut bodies = Vec::with_capacity(SUBSCRIBERS);
    let before = ALLOCATOR.allocated();
    for _ in 0..SUBSCRIBERS {
        let mut body = subscribe(&hub).await.into_body();
        assert_eq!(run(&mut body), 1, "a checkpoint");
        bodies.push(body);
    }
    let idle = (ALLOCATOR.allocated() - before) / SUBSCRIBERS;
    hub.publish("news", Event::new("second")).await.unwrap();
    let before = ALLOCATOR.total_allocated();
    let frames: usize = bodies.iter_mut().map(run).sum();
    assert_eq!(frames, SUBSCRIBERS);
    Cost {
        idle,
        of_an_event: ALLOCATOR.total_allocated() - before,
    }
}

async fn compare() {
    let options = options();
    let forward = cost(async |hub| {
        let request = request(&options);
        request.forward(hub.subscribe("news")).await
    });
    let forward = forward.await;
    let handler = cost(async |hub| {
        let news = hub.subscribe("news");
        request(&options).open(|session: Session| session.forward(news))
    });
    let handler = handler.await;
    eprintln!("idle: {} B, in a handler {} B", forward.idle, handler.idle);
    assert!(forward.idle <= MOST_BYTES, "{} bytes", forward.idle);
    // All subscribers share the slice of the tape that they read.
    for of_an_event in [forward.of_an_event, handler.of_an_event] {
        assert!(of_an_event < SUBSCRIBERS, "{of_an_event} bytes");
    }
}

#[test]
fn an_idle_subscriber_is_small_and_an_event_allocates_nothing_for_it() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    // Without tokio's budget of a task, because one task polls all bodies here.
    let compared = async { timeout(Duration::from_secs(60), unconstrained(compare())).await };
    runtime.block_on(compared).unwrap();
}
