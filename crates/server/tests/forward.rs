//! A forwarded feed: how it opens, which events its client receives, and when it is polled.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::VecDeque;
use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tidings_server::{
    Drain, EncodedEvents, Event, EventId, Feed, FeedError, FeedErrorKind, FeedOpened, HandlerError,
    Heartbeat, Limits, MAX_QUEUED_BYTES, Session, SessionBody, SessionOptions, SseRequest,
};
use tidings_testkit::connection::{Connection, Polled};
use tidings_testkit::timeout::timeout;
use tokio::time::advance;

const SECOND: Duration = Duration::from_secs(1);

/// A feed that a test controls through a clone.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The last event IDs that it was given.
    resumed: Vec<Option<String>>,
    /// The outcome of its opening. Until it is set, the feed is not open.
    opened: Option<Result<FeedOpened, FeedErrorKind>>,
    /// Its next results. While there is none, the feed waits.
    batches: VecDeque<Option<Result<EncodedEvents, FeedErrorKind>>>,
    /// A batch that it repeats when it has no other result.
    endless: Option<EncodedEvents>,
    checkpoint: Option<EventId>,
    open_polls: usize,
    event_polls: usize,
    checkpoint_calls: usize,
    waker: Option<Waker>,
}

impl Script {
    fn open() -> Self {
        let script = Self::default();
        script.change(|state| state.opened = Some(Ok(FeedOpened::Stream)));
        script
    }

    fn opening_with(outcome: Result<FeedOpened, FeedErrorKind>) -> Self {
        let script = Self::default();
        script.change(|state| state.opened = Some(outcome));
        script
    }

    /// A feed that repeats this batch without end.
    fn endless(events: EncodedEvents) -> Self {
        let script = Self::open();
        script.change(|state| state.endless = Some(events));
        script
    }

    fn sends(&self, events: impl Into<EncodedEvents>) {
        let events = events.into();
        self.change(|state| state.batches.push_back(Some(Ok(events))));
    }

    fn ends(&self) {
        self.change(|state| state.batches.push_back(None));
    }

    fn fails(&self, kind: FeedErrorKind) {
        self.change(|state| state.batches.push_back(Some(Err(kind))));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Whether only the test holds it.
    fn is_dropped(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Whether no method of it was called.
    fn is_unused(&self) -> bool {
        let state = self.state();
        state.resumed.is_empty() && state.open_polls + state.event_polls == 0
    }
}

fn error(kind: FeedErrorKind) -> FeedError {
    FeedError::new(kind, "by the script")
}

impl Feed for Script {
    fn resume(&mut self, last_event_id: Option<&str>) {
        let last_event_id = last_event_id.map(str::to_owned);
        self.state().resumed.push(last_event_id);
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<FeedOpened, FeedError>> {
        let mut state = self.state();
        state.open_polls += 1;
        match state.opened {
            Some(outcome) => Poll::Ready(outcome.map_err(error)),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn poll_events(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<EncodedEvents, FeedError>>> {
        let mut state = self.state();
        state.event_polls += 1;
        if let Some(batch) = state.batches.pop_front() {
            return Poll::Ready(batch.map(|batch| batch.map_err(error)));
        }
        if let Some(events) = &state.endless {
            return Poll::Ready(Some(Ok(events.clone())));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn checkpoint(&mut self) -> Option<EventId> {
        let mut state = self.state();
        state.checkpoint_calls += 1;
        state.checkpoint.take()
    }
}

/// The session of this response, on which the head has been written.
fn connect(response: Response<SessionBody>) -> Connection<SessionBody> {
    assert_eq!(response.status(), 200);
    Connection::after_head(response.into_body())
}

async fn forward(script: &Script) -> Connection<SessionBody> {
    connect(request("/").forward(script.clone()).await)
}

/// Forwards with a heartbeat after each second of quiet.
async fn forward_with_heartbeat(script: &Script) -> Connection<SessionBody> {
    let options = SessionOptions::new().heartbeat(Heartbeat::every(SECOND));
    connect(request("/").options(options).forward(script.clone()).await)
}

/// Opens a session with this handler.
fn open<F>(handler: impl FnOnce(Session) -> F) -> Connection<SessionBody>
where
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    connect(request("/").open(handler))
}

fn request(uri: &str) -> SseRequest {
    SseRequest::new(Request::get(uri).body(()).unwrap().into_parts().0)
}

/// An event of this many bytes on the wire.
fn slice(bytes: usize) -> EncodedEvents {
    let text = "x".repeat(bytes - "data: \n\n".len());
    let slice = Event::new(text).encode();
    assert_eq!(slice.len(), bytes);
    slice
}

async fn forwarded(request: SseRequest, script: &Script) -> Response<SessionBody> {
    timeout(10 * SECOND, request.forward(script.clone()))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_feed_resumes_after_the_last_event_id() {
    async fn check(header: Option<&str>, uri: &str, expected: Option<&str>) {
        let mut builder = Request::get(uri);
        if let Some(id) = header {
            builder = builder.header("last-event-id", id);
        }
        let (parts, ()) = builder.body(()).unwrap().into_parts();
        let script = Script::open();
        let response = forwarded(SseRequest::new(parts.clone()), &script).await;
        assert_eq!(response.status(), 200);
        let feed = script.clone();
        let response =
            SseRequest::new(parts).open(async move |session: Session| session.forward(feed).await);
        connect(response).run();
        let expected = expected.map(str::to_owned);
        assert_eq!(script.state().resumed, [expected.clone(), expected]);
    }
    check(None, "/", None).await;
    check(Some("a.7.x"), "/", Some("a.7.x")).await;
    check(None, "/?last_event_id=a.8.x", Some("a.8.x")).await;
    check(Some("a.9.x"), "/?last_event_id=a.8.x", Some("a.9.x")).await;
}

#[tokio::test]
async fn a_feed_that_is_over_is_a_204_and_no_session() {
    let limits = Limits::new().max_sessions(1);
    let options = SessionOptions::new().limits(&limits).retry(SECOND);
    let script = Script::opening_with(Ok(FeedOpened::Over));
    let response = forwarded(request("/").options(options), &script).await;
    assert_eq!(response.status(), 204);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(!response.headers().contains_key("content-type"));
    assert!(response.body().is_end_stream());
    assert_eq!(limits.sessions(), 0);
    assert_eq!(script.state().event_polls, 0);
    assert!(script.is_dropped());
}

#[tokio::test]
async fn each_unavailable_feed_has_a_retry_after_of_its_own() {
    async fn check(options: SessionOptions, from: u64, to: u64) {
        let mut times = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let script = Script::opening_with(Err(FeedErrorKind::Unavailable));
            let response = forwarded(request("/").options(options.clone()), &script).await;
            let time = response.headers()["retry-after"].to_str().unwrap();
            times.insert(time.parse::<u64>().unwrap());
        }
        assert!(times.iter().all(|time| (from..=to).contains(time)));
        assert!(times.len() > 1, "{times:?}");
    }
    check(SessionOptions::new(), 5, 10).await;
    let limits = Limits::new().retry_after(30 * SECOND);
    check(SessionOptions::new().limits(&limits), 30, 60).await;
}

#[tokio::test]
async fn a_head_request_is_answered_without_the_feed() {
    let script = Script::opening_with(Err(FeedErrorKind::Invalid));
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::HEAD;
    let response = forwarded(SseRequest::new(parts), &script).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert!(script.is_unused() && script.is_dropped());
}

#[tokio::test]
async fn a_request_is_refused_before_its_feed_is_used() {
    let limits = Limits::new().max_sessions(1);
    let options = SessionOptions::new().limits(&limits);
    let first = forwarded(request("/").options(options.clone()), &Script::open()).await;
    assert_eq!((first.status().as_u16(), limits.sessions()), (200, 1));
    let script = Script::open();
    let response = forwarded(request("/").options(options.clone()), &script).await;
    assert_eq!(response.status(), 429);
    assert!(response.headers().contains_key("retry-after"));
    assert!(script.is_unused() && script.is_dropped());
}

/// A server that drains asks a feed only whether it is over.
#[tokio::test]
async fn in_a_drain_a_feed_neither_counts_nor_replaces_a_session() {
    let limits = Limits::new()
        .max_sessions_per_key(1, |_| Some("user".to_owned()))
        .replace_oldest(true);
    let drain = Drain::new();
    let options = SessionOptions::new().limits(&limits).drain(&drain);
    let answer = request("/").options(options.clone().may_finish(true));
    let mut answer = connect(forwarded(answer, &Script::open()).await);
    assert_eq!(answer.run(), [Polled::frame("retry: 3000\n\n")]);
    drain.start();
    let response = forwarded(request("/").options(options), &Script::open()).await;
    assert_eq!(response.status(), 503);
    assert_eq!(answer.run(), [], "it may finish");
    assert_eq!(limits.sessions(), 1);
}

#[tokio::test]
async fn an_opening_feed_counts_as_a_session() {
    let limits = Limits::new().max_sessions(1);
    let options = SessionOptions::new().limits(&limits);
    let script = Script::default();
    let mut opening = Box::pin(request("/").options(options).forward(script.clone()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(opening.as_mut().poll(&mut cx).is_pending());
    assert_eq!(limits.sessions(), 1);
    drop(opening);
    assert_eq!(limits.sessions(), 0, "its client has disconnected");
    assert!(script.is_dropped());
}

#[tokio::test]
async fn a_feed_may_open_later() {
    let drain = Drain::new();
    let script = Script::default();
    let options = SessionOptions::new().drain(&drain);
    let opening = tokio::spawn(request("/").options(options).forward(script.clone()));
    tokio::task::yield_now().await;
    script.sends(Event::new("a"));
    script.change(|state| state.opened = Some(Ok(FeedOpened::Stream)));
    let response = timeout(10 * SECOND, opening).await.unwrap().unwrap();
    let mut connection = connect(response);
    assert_eq!(connection.run(), [Polled::frame("data: a\n\n")]);
    drain.start();
    let results = connection.run();
    assert!(
        matches!(&results[..], [Polled::Frame(retry), Polled::End] if retry.starts_with(b"retry: "))
    );
}

#[tokio::test]
async fn events_are_forwarded_at_once_and_not_copied() {
    let script = Script::open();
    let mut connection = forward(&script).await;
    assert_eq!(connection.run(), []);
    for bytes in [20, 1_000, 16_384, 65_536, 1_000_000] {
        let slice = slice(bytes);
        script.sends(slice.clone());
        let results = connection.run();
        let [Polled::Frame(sent)] = &results[..] else {
            panic!("{} results", results.len())
        };
        assert_eq!(sent.as_ptr(), slice.bytes().as_ptr());
        assert_eq!(sent.len(), bytes);
    }
    assert_eq!(script.state().open_polls, 1, "it is opened once");
}

#[tokio::test]
async fn the_end_of_a_feed_ends_the_response() {
    let script = Script::open();
    script.sends(Event::new("a"));
    script.ends();
    let mut connection = forward(&script).await;
    assert_eq!(
        connection.run(),
        [Polled::frame("data: a\n\n"), Polled::End]
    );
    assert!(script.is_dropped());
}

#[tokio::test]
async fn an_error_of_a_feed_cuts_the_response_after_its_events() {
    let script = Script::open();
    script.sends(Event::new("a"));
    script.fails(FeedErrorKind::Unavailable);
    let mut connection = forward(&script).await;
    assert_eq!(
        connection.run(),
        [Polled::frame("data: a\n\n"), Polled::Cut]
    );
    assert!(script.is_dropped());
}

#[tokio::test(start_paused = true)]
async fn a_new_checkpoint_is_sent_with_the_heartbeat() {
    let script = Script::open();
    script.change(|state| state.checkpoint = Some(6.into()));
    let mut connection = forward_with_heartbeat(&script).await;
    assert_eq!(connection.run(), [Polled::frame("id: 6\n\n")]);
    script.change(|state| state.checkpoint = Some(7.into()));
    assert_eq!(connection.run(), [], "a checkpoint alone sends nothing");
    advance(SECOND).await;
    assert_eq!(
        connection.run(),
        [Polled::frame(": heartbeat\n\nid: 7\n\n")]
    );
    advance(SECOND).await;
    assert_eq!(
        connection.run(),
        [Polled::frame(": heartbeat\n\n")],
        "it was sent before"
    );
    assert_eq!(
        script.state().checkpoint_calls,
        3,
        "at first, and once a heartbeat"
    );
    script.sends(Event::new("a").id(8));
    assert_eq!(connection.run(), [Polled::frame("id: 8\ndata: a\n\n")]);
    script.change(|state| state.checkpoint = Some(9.into()));
    assert_eq!(connection.run(), [], "the event had an ID");
    assert_eq!(script.state().checkpoint_calls, 3);
}

/// A feed whose replay waits for its log is pending, and has no checkpoint yet.
#[tokio::test(start_paused = true)]
async fn the_opening_checkpoint_waits_for_a_replay_that_is_pending() {
    let script = Script::open();
    let mut connection = forward(&script).await;
    for _ in 0..3 {
        assert_eq!(connection.run(), []);
        script.change(|_| {});
    }
    script.change(|state| state.checkpoint = Some(7.into()));
    assert_eq!(connection.run(), [Polled::frame("id: 7\n\n")]);
    script.change(|state| state.checkpoint = Some(8.into()));
    assert_eq!(connection.run(), [], "there is one opening");
}

#[tokio::test(start_paused = true)]
async fn the_checkpoint_of_a_heartbeat_waits_for_a_replay_that_is_pending() {
    let script = Script::open();
    script.change(|state| state.checkpoint = Some(6.into()));
    let mut connection = forward_with_heartbeat(&script).await;
    assert_eq!(connection.run(), [Polled::frame("id: 6\n\n")]);
    advance(SECOND).await;
    assert_eq!(connection.run(), [Polled::frame(": heartbeat\n\n")]);
    script.change(|state| state.checkpoint = Some(7.into()));
    assert_eq!(connection.run(), [Polled::frame("id: 7\n\n")]);
    script.change(|state| state.checkpoint = Some(8.into()));
    assert_eq!(connection.run(), [], "one checkpoint a heartbeat");
}

#[tokio::test(start_paused = true)]
async fn an_event_with_an_id_replaces_a_checkpoint_that_is_due_and_one_without_does_not() {
    let script = Script::open();
    let mut connection = forward(&script).await;
    assert_eq!(connection.run(), []);
    script.sends(Event::new("a"));
    assert_eq!(connection.run(), [Polled::frame("data: a\n\n")]);
    script.change(|state| state.checkpoint = Some(7.into()));
    assert_eq!(connection.run(), [Polled::frame("id: 7\n\n")]);

    let script = Script::open();
    let mut connection = forward(&script).await;
    assert_eq!(connection.run(), []);
    script.sends(Event::new("a").id(8));
    assert_eq!(connection.run(), [Polled::frame("id: 8\ndata: a\n\n")]);
    let calls = script.state().checkpoint_calls;
    for id in 9..20 {
        script.change(|state| state.checkpoint = Some(id.into()));
        assert_eq!(connection.run(), []);
    }
    assert_eq!(script.state().checkpoint_calls, calls);
}

#[tokio::test(start_paused = true)]
async fn a_forwarded_feed_has_a_heartbeat_unless_it_is_switched_off() {
    async fn check(options: SessionOptions, expected: &[Polled]) {
        let script = Script::open();
        let response = request("/").options(options).forward(script.clone()).await;
        let mut connection = connect(response);
        assert_eq!(connection.run(), []);
        advance(15 * SECOND - Duration::from_millis(1)).await;
        assert_eq!(connection.run(), []);
        script.change(|state| state.checkpoint = None);
        advance(Duration::from_millis(1)).await;
        assert_eq!(connection.run(), expected);
    }
    let beat = [Polled::frame(": heartbeat\n\n")];
    check(SessionOptions::new(), &beat).await;
    check(SessionOptions::new().heartbeat(Heartbeat::off()), &[]).await;
    let own = Heartbeat::default().event(Event::new("beat"));
    let expected = [Polled::frame("data: beat\n\n")];
    check(SessionOptions::new().heartbeat(own), &expected).await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_has_no_heartbeat_unless_it_is_set() {
    async fn check(options: SessionOptions, beats: bool) {
        let script = Script::open();
        let feed = script.clone();
        let response = request("/")
            .options(options)
            .open(async move |session: Session| session.forward(feed).await);
        let mut connection = connect(response);
        connection.run();
        advance(15 * SECOND).await;
        assert_eq!(connection.run().len(), usize::from(beats));
    }
    check(SessionOptions::new(), false).await;
    check(SessionOptions::new().heartbeat(Heartbeat::off()), false).await;
    check(SessionOptions::new().heartbeat(Heartbeat::default()), true).await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_switch_the_heartbeat_of_its_route_off() {
    let options = SessionOptions::new().heartbeat(Heartbeat::every(SECOND));
    let response = request("/").options(options).open(async |session| {
        session.heartbeat(Heartbeat::off());
        pending().await
    });
    let mut connection = connect(response);
    assert_eq!(connection.run(), []);
    advance(60 * SECOND).await;
    assert_eq!(connection.run(), []);
}

#[tokio::test(start_paused = true)]
async fn an_empty_heartbeat_still_sends_a_checkpoint() {
    let script = Script::open();
    let beat = Heartbeat::every(SECOND).with(Event::default).always(true);
    let options = SessionOptions::new().heartbeat(beat);
    let response = request("/").options(options).forward(script.clone()).await;
    let mut connection = connect(response);
    connection.run();
    script.change(|state| state.checkpoint = Some(7.into()));
    advance(SECOND).await;
    assert_eq!(connection.run(), [Polled::frame("id: 7\n\n")]);
}

#[tokio::test(start_paused = true)]
async fn without_a_heartbeat_only_the_first_checkpoint_is_sent() {
    let script = Script::open();
    script.change(|state| state.checkpoint = Some(7.into()));
    let options = SessionOptions::new().heartbeat(Heartbeat::off());
    let response = request("/").options(options).forward(script.clone()).await;
    let mut connection = connect(response);
    assert_eq!(connection.run(), [Polled::frame("id: 7\n\n")]);
    script.change(|state| state.checkpoint = Some(8.into()));
    for _ in 0..3 {
        assert_eq!(connection.run(), []);
        advance(3600 * SECOND).await;
    }
    assert_eq!(script.state().checkpoint_calls, 1);
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_is_taken_after_the_events_of_the_same_turn() {
    let script = Script::open();
    let mut connection = forward_with_heartbeat(&script).await;
    connection.run();
    advance(SECOND).await;
    script.sends(Event::new("a").id(8));
    script.sends(Event::new("b").id(9));
    script.change(|state| state.checkpoint = Some(10.into()));
    let expected = ": heartbeat\n\nid: 8\ndata: a\n\nid: 9\ndata: b\n\nid: 10\n\n";
    assert_eq!(connection.run(), [Polled::frame(expected)]);
}

#[tokio::test(start_paused = true)]
async fn no_checkpoint_is_taken_while_the_queue_is_full() {
    let script = Script::open();
    script.change(|state| state.checkpoint = Some(7.into()));
    let feed = script.clone();
    let mut connection = open(async move |session| {
        session.heartbeat(Heartbeat::every(SECOND));
        session.send(slice(MAX_QUEUED_BYTES - 20_000)).await?;
        session.send(slice(20_000)).await?;
        session.forward(feed).await
    });
    assert!(matches!(connection.poll(), Polled::Frame(_)));
    advance(3 * SECOND).await;
    // The client does not read, and the timer goes off.
    assert_eq!(connection.poll(), Polled::Pending);
    assert_eq!(script.state().checkpoint_calls, 0);
    let results = connection.run();
    assert!(matches!(&results[..], [Polled::Frame(sent), ..] if sent.len() == 20_000));
    assert_eq!(script.state().checkpoint_calls, 1);
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_feed() {
    async fn check(bytes: usize, expected: usize) {
        let script = Script::endless(slice(bytes));
        let mut connection = forward(&script).await;
        // The returned frame takes no room any more.
        assert!(matches!(connection.poll(), Polled::Frame(_)));
        assert_eq!(script.state().event_polls, expected, "{bytes}");
    }
    let half = MAX_QUEUED_BYTES / 2;
    check(64, half / 64 + 1).await;
    check(1_000, half / 1_000 + 1).await;
    check(half - 100, 2).await;
    check(half + 100, 1).await;
    check(MAX_QUEUED_BYTES, 1).await;
    check(10 * MAX_QUEUED_BYTES, 1).await;
}

#[tokio::test]
async fn a_client_that_reads_again_receives_the_rest_in_order() {
    let sizes = [
        30_000, 30_000, 5_000, 65_536, 200_000, 10, 16_384, 40_000, 40_000,
    ];
    let script = Script::open();
    sizes.iter().for_each(|&bytes| script.sends(slice(bytes)));
    script.ends();
    let mut connection = forward(&script).await;
    let mut received = Vec::new();
    let mut most_ahead = 0;
    loop {
        match connection.poll() {
            Polled::Pending => {}
            Polled::Frame(bytes) => received.extend_from_slice(&bytes),
            end => {
                assert_eq!(end, Polled::End);
                break;
            }
        }
        let polls = script.state().event_polls.min(sizes.len());
        let taken: usize = sizes[..polls].iter().sum();
        let ahead = taken - received.len();
        let last = sizes[..polls].last().copied().unwrap_or(0);
        most_ahead = most_ahead.max(ahead - last.min(ahead));
    }
    let sent: Vec<u8> = sizes
        .iter()
        .flat_map(|&bytes| slice(bytes).into_bytes())
        .collect();
    assert!(
        received == sent,
        "{} of {} bytes",
        received.len(),
        sent.len()
    );
    assert!(
        most_ahead <= MAX_QUEUED_BYTES / 2,
        "{most_ahead} bytes beside the last batch"
    );
}

#[tokio::test]
async fn a_batch_larger_than_the_free_room_waits_and_leaves_in_order() {
    let script = Script::open();
    script.sends(slice(60_000));
    let feed = script.clone();
    let mut connection = open(async move |session| {
        session.send(slice(20_000)).await?;
        session.forward(feed).await
    });
    let results = connection.run();
    let lengths: Vec<usize> = results
        .iter()
        .map(|result| match result {
            Polled::Frame(bytes) => bytes.len(),
            end => panic!("{end:?}"),
        })
        .collect();
    assert_eq!(lengths, [20_000, 60_000]);
}

#[tokio::test]
async fn endless_sends_do_not_starve_a_feed() {
    let script = Script::endless(slice(1_000));
    let feed = script.clone();
    let mut connection = open(async move |session| {
        for _ in 0..3 {
            let sender = session.sender();
            session.spawn(async move {
                let noise = Event::comment("n".repeat(50_000)).encode();
                loop {
                    sender.send(noise.clone()).await?;
                }
            });
        }
        session.forward(feed).await
    });
    for _ in 0..10_000 {
        // tokio's cooperative budget limits how often the waiting sends continue in one task.
        tokio::task::yield_now().await;
        assert!(!matches!(connection.poll(), Polled::Cut));
    }
    let polls = script.state().event_polls;
    assert!(polls > 500, "{polls}");
}

#[tokio::test]
async fn endless_empty_batches_do_not_block_the_connection() {
    let script = Script::endless(EncodedEvents::default());
    let mut connection = forward(&script).await;
    for _ in 0..10 {
        assert_eq!(connection.poll(), Polled::Pending);
    }
    assert_eq!(script.state().event_polls, 10);
    script.sends(Event::new("a"));
    assert_eq!(connection.poll(), Polled::frame("data: a\n\n"));
}

#[tokio::test]
async fn a_client_that_disconnects_drops_the_feed() {
    let script = Script::open();
    let mut connection = forward(&script).await;
    connection.run();
    assert!(!script.is_dropped());
    drop(connection);
    assert!(script.is_dropped());
    let waker = script.state().waker.take();
    assert!(waker.is_some());
    waker.into_iter().for_each(Waker::wake);
}

#[tokio::test]
async fn a_client_that_disconnects_drops_a_feed_that_waits_for_room() {
    let script = Script::endless(slice(60_000));
    let mut connection = forward(&script).await;
    assert!(matches!(connection.poll(), Polled::Frame(_)));
    drop(connection);
    assert!(script.is_dropped());
}

/// Bytes whose drop panics.
struct PanicsWhenDropped(Bytes);

impl AsRef<[u8]> for PanicsWhenDropped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

#[tokio::test]
async fn a_panic_in_the_drop_of_events_that_wait_for_room_does_not_reach_the_connection() {
    let script = Script::open();
    script.sends(slice(20_000));
    let bytes = Bytes::from_owner(PanicsWhenDropped(slice(60_000).into_bytes()));
    script.sends(EncodedEvents::from_parts(bytes, None, 1));
    let mut connection = forward(&script).await;
    assert!(matches!(connection.poll(), Polled::Frame(sent) if sent.len() == 20_000));
    drop(connection);
    assert!(script.is_dropped());
}

#[tokio::test]
async fn a_feed_is_not_polled_after_the_session_was_closed() {
    let script = Script::open();
    let feed = script.clone();
    let (hand_over, sender) = std::sync::mpsc::channel();
    let mut connection = open(async move |session| {
        hand_over.send(session.sender())?;
        session.forward(feed).await
    });
    assert_eq!(connection.run(), []);
    let polls = script.state().event_polls;
    sender.recv().unwrap().close();
    script.sends(Event::new("too late"));
    assert_eq!(connection.run(), [Polled::End]);
    assert_eq!(script.state().event_polls, polls);
}

#[tokio::test(start_paused = true)]
async fn the_options_apply_to_a_forwarded_session() {
    let script = Script::open();
    script.sends(Event::new("a").id(1));
    let options = SessionOptions::new()
        .retry(SECOND)
        .heartbeat(Heartbeat::every(4 * SECOND))
        .max_lifetime(10 * SECOND);
    let response = request("/").options(options).forward(script.clone()).await;
    let mut connection = connect(response);
    assert_eq!(
        connection.run(),
        [Polled::frame("retry: 1000\n\nid: 1\ndata: a\n\n")]
    );
    advance(4 * SECOND).await;
    assert_eq!(connection.run(), [Polled::frame(": heartbeat\n\n")]);
    advance(6 * SECOND).await;
    assert_eq!(connection.run().last(), Some(&Polled::End));
}

#[cfg(feature = "compression")]
#[tokio::test]
async fn a_forwarded_session_may_be_compressed() {
    use std::io::Read;

    use http_body_util::BodyExt;

    let get = |method| {
        let request = Request::builder()
            .method(method)
            .header("accept-encoding", "gzip");
        let options = SessionOptions::new().compression(true);
        SseRequest::new(request.body(()).unwrap().into_parts().0).options(options)
    };
    let script = Script::open();
    script.sends(slice(10_000));
    script.ends();
    let head = forwarded(get("HEAD"), &script).await;
    let response = forwarded(get("GET"), &script).await;
    assert_eq!(head.headers(), response.headers());
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let sent = response.into_body().collect().await.unwrap().to_bytes();
    let mut received = Vec::new();
    flate2::read::GzDecoder::new(&sent[..])
        .read_to_end(&mut received)
        .unwrap();
    assert!(received == slice(10_000).into_bytes());

    let over = forwarded(get("GET"), &Script::opening_with(Ok(FeedOpened::Over))).await;
    assert!(!over.headers().contains_key("content-encoding"));
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_send_before_and_after_it_forwards() {
    let script = Script::open();
    script.sends(Event::new("news").id(1));
    let feed = script.clone();
    let mut connection = open(async move |session| {
        session.heartbeat(Heartbeat::every(SECOND));
        session.send(Event::new("hello")).await?;
        session.forward(feed).await?;
        session.send(Event::new("bye")).await?;
        Ok(())
    });
    assert_eq!(
        connection.run(),
        [Polled::frame("data: hello\n\nid: 1\ndata: news\n\n")]
    );
    script.change(|state| state.checkpoint = Some(2.into()));
    advance(SECOND).await;
    assert_eq!(
        connection.run(),
        [Polled::frame(": heartbeat\n\nid: 2\n\n")]
    );
    script.ends();
    assert_eq!(
        connection.run(),
        [Polled::frame("data: bye\n\n"), Polled::End]
    );
}

#[tokio::test]
async fn in_a_handler_a_feed_that_is_over_completes_and_one_that_fails_cuts() {
    for (outcome, expected) in [
        (
            Ok(FeedOpened::Over),
            vec![Polled::frame("data: nothing more\n\n"), Polled::End],
        ),
        (Err(FeedErrorKind::Forbidden), vec![Polled::Cut]),
    ] {
        let script = Script::opening_with(outcome);
        let feed = script.clone();
        let mut connection = open(async move |session| {
            session.forward(feed).await?;
            session.send(Event::new("nothing more")).await?;
            Ok(())
        });
        assert_eq!(connection.run(), expected);
        assert_eq!(script.state().event_polls, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_feed_spawned_beside_the_handler_sends_checkpoints_with_its_heartbeats() {
    let script = Script::open();
    let feed = script.clone();
    let mut connection = open(async move |session| {
        session.heartbeat(Heartbeat::every(SECOND));
        session.spawn(session.forward(feed));
        pending().await
    });
    script.sends(Event::new("a").id(1));
    assert_eq!(connection.run(), [Polled::frame("id: 1\ndata: a\n\n")]);
    for id in 2..5 {
        script.change(|state| state.checkpoint = Some(id.into()));
        connection.run();
        advance(SECOND).await;
        let expected = format!(": heartbeat\n\nid: {id}\n\n");
        assert_eq!(connection.run(), [Polled::Frame(expected.into())]);
    }
    drop(connection);
    assert!(script.is_dropped());
}

#[tokio::test(start_paused = true)]
async fn a_feed_may_be_forwarded_from_another_task_and_ends_with_the_session() {
    let script = Script::open();
    let (hand_over, session) = std::sync::mpsc::channel();
    let mut connection = open(async move |session| {
        session.heartbeat(Heartbeat::every(SECOND));
        hand_over.send(session)?;
        pending().await
    });
    assert_eq!(connection.run(), []);
    let session = session.recv().unwrap();
    let forwarding = tokio::spawn(session.forward(script.clone()));
    drop(session);
    script.sends(Event::new("a").id(1));
    tokio::task::yield_now().await;
    assert_eq!(connection.run(), [Polled::frame("id: 1\ndata: a\n\n")]);
    script.change(|state| state.checkpoint = Some(2.into()));
    advance(SECOND).await;
    let mut results = connection.run();
    tokio::task::yield_now().await;
    results.extend(connection.run());
    assert_eq!(
        results,
        [Polled::frame(": heartbeat\n\n"), Polled::frame("id: 2\n\n")]
    );
    drop(connection);
    let ended = timeout(10 * SECOND, forwarding).await.unwrap().unwrap();
    assert_eq!(ended.unwrap_err().to_string(), "the session is closed");
    assert!(script.is_dropped());
}

/// A feed that starts a drain while it is polled, as another thread may at the same time.
struct Draining {
    script: Script,
    drain: Drain,
}

impl Feed for Draining {
    fn resume(&mut self, last_event_id: Option<&str>) {
        self.script.resume(last_event_id);
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<FeedOpened, FeedError>> {
        self.script.poll_open(cx)
    }

    fn poll_events(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<EncodedEvents, FeedError>>> {
        let events = self.script.poll_events(cx);
        if events.is_pending() {
            self.drain.start();
        }
        events
    }

    fn checkpoint(&mut self) -> Option<EventId> {
        self.script.checkpoint()
    }
}

#[tokio::test]
async fn a_drain_that_starts_while_the_feed_is_polled_ends_the_session() {
    for sends in [false, true] {
        let script = Script::open();
        if sends {
            script.sends(Event::new("a"));
        }
        let drain = Drain::new().retry(SECOND..=SECOND);
        let feed = Draining {
            script: script.clone(),
            drain: drain.clone(),
        };
        let options = SessionOptions::new().drain(&drain);
        let response = request("/").options(options).forward(feed).await;
        let (bytes, last) = connect(response).read();
        let expected = if sends {
            "data: a\n\nretry: 1000\n\n"
        } else {
            "retry: 1000\n\n"
        };
        assert_eq!((&*bytes, last), (expected.as_bytes(), Polled::End));
        assert!(script.is_dropped());
    }
}

/// The IDs of a stream, in their order.
fn ids(received: &[u8]) -> Vec<u64> {
    let lines = std::str::from_utf8(received).unwrap().lines();
    lines
        .filter_map(|line| line.strip_prefix("id: ")?.parse().ok())
        .collect()
}

/// With a random feed, and a client that reads at random, IDs never go back and no event is lost.
#[tokio::test(start_paused = true)]
async fn ids_never_go_back_in_random_runs() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let script = Script::open();
        let mut connection = forward_with_heartbeat(&script).await;
        let (mut position, mut sent, mut received) = (0_u64, 0, Vec::new());
        for _ in 0..200 {
            position += 1;
            match random.u8(..10) {
                0..3 => {
                    let text = "x".repeat(random.usize(..30_000));
                    sent += 1;
                    let event = Event::new(text).id(position);
                    // The event has a later position than the checkpoint.
                    script.change(|state| state.checkpoint = None);
                    script.sends(event);
                }
                3..5 => script.change(|state| state.checkpoint = Some(position.into())),
                5..7 => advance(random.u32(..3) * SECOND / 2).await,
                _ => {
                    if let Polled::Frame(bytes) = connection.poll() {
                        received.extend_from_slice(&bytes);
                    }
                }
            }
        }
        script.ends();
        for result in connection.run() {
            match result {
                Polled::Frame(bytes) => received.extend_from_slice(&bytes),
                end => assert_eq!(end, Polled::End),
            }
        }
        let ids = ids(&received);
        assert!(ids.is_sorted(), "seed {seed}: {ids:?}");
        let text = String::from_utf8(received).unwrap();
        assert_eq!(text.matches("data:").count(), sent, "seed {seed}");
    }
}

#[tokio::test]
async fn the_future_of_a_forward_is_send() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let response = is_send(request("/").forward(Script::opening_with(Ok(FeedOpened::Over))));
    assert_eq!(pin!(response).await.status(), 204);
}
