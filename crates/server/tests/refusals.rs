//! The answers to requests that get no stream: statuses, their texts, and to come back later.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use tidings_server::{
    Drain, EncodedEvents, Event, EventId, Feed, FeedError, FeedErrorKind, FeedOpened, Heartbeat,
    Limits, SessionBody, SessionOptions, SseRequest,
};
use tidings_testkit::connection::{Connection, Polled};
use tokio::time::{Instant, advance};

const SECOND: Duration = Duration::from_secs(1);

/// A feed whose outcome a test decides through a clone. It has one event.
#[derive(Clone, Default)]
struct Opening(Arc<Mutex<(Option<Outcome>, Option<Waker>)>>);

type Outcome = Result<FeedOpened, FeedErrorKind>;

impl Opening {
    fn with(outcome: Outcome) -> Self {
        let opening = Self::default();
        opening.set(outcome);
        opening
    }

    fn set(&self, outcome: Outcome) {
        let mut state = self.0.lock().unwrap();
        state.0 = Some(outcome);
        let waker = state.1.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    fn is_dropped(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl Feed for Opening {
    fn resume(&mut self, _: Option<&str>) {}

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<FeedOpened, FeedError>> {
        let mut state = self.0.lock().unwrap();
        let Some(outcome) = state.0 else {
            state.1 = Some(cx.waker().clone());
            return Poll::Pending;
        };
        Poll::Ready(outcome.map_err(|kind| FeedError::new(kind, Rule)))
    }

    fn poll_events(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<EncodedEvents, FeedError>>> {
        let mut state = self.0.lock().unwrap();
        Poll::Ready(match state.0.replace(Ok(FeedOpened::Over)) {
            Some(Ok(FeedOpened::Stream)) => Some(Ok(Event::new("a").encode())),
            _ => None,
        })
    }

    fn checkpoint(&mut self) -> Option<EventId> {
        None
    }
}

/// An error with a cause, and with a character that no text of a refusal may have.
#[derive(Debug)]
struct Rule;

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name\r\n is invalid")
    }
}

impl std::error::Error for Rule {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&Cause)
    }
}

#[derive(Debug)]
struct Cause;

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "it has {:900} bytes", 1)
    }
}

impl std::error::Error for Cause {}

/// A request of an `EventSource`.
fn event_source() -> SseRequest {
    request(Method::GET, "text/event-stream")
}

fn request(method: Method, accept: &str) -> SseRequest {
    let request = Request::builder().method(method).header("accept", accept);
    SseRequest::new(request.body(()).unwrap().into_parts().0)
}

/// Requests that take a status: no `EventSource` sends them.
fn other_requests() -> [SseRequest; 3] {
    [
        request(Method::GET, "*/*"),
        request(Method::POST, "application/json, text/event-stream"),
        SseRequest::new(Request::new(()).into_parts().0),
    ]
}

/// The text of a refusal with this status. It is plain text that no browser takes for HTML.
async fn text(response: Response<SessionBody>, status: u16) -> String {
    assert_eq!(response.status(), status);
    let headers = response.headers();
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    let may_retry = headers.contains_key("retry-after");
    assert_eq!(may_retry, matches!(status, 429 | 503), "{status}");
    let length = response.body().size_hint().exact();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(length, Some(text.len() as u64));
    String::from_utf8(text.into()).unwrap()
}

/// The reconnection time, in milliseconds, of an answer that is nothing else.
async fn retry(response: Response<SessionBody>) -> u64 {
    assert_eq!(response.status(), 200);
    let headers = response.headers();
    assert_eq!(headers["content-type"], "text/event-stream");
    assert_eq!(headers["cache-control"], "no-store, no-transform");
    assert!(!headers.contains_key("retry-after"));
    let sent = response.into_body().collect().await.unwrap().to_bytes();
    only_retry(&sent)
}

fn only_retry(sent: &[u8]) -> u64 {
    let sent = std::str::from_utf8(sent).unwrap();
    let time = sent.strip_prefix("retry: ").unwrap();
    time.strip_suffix("\n\n").unwrap().parse().unwrap()
}

fn drained() -> SessionOptions {
    let drain = Drain::new();
    drain.start();
    SessionOptions::new().drain(&drain)
}

#[tokio::test]
async fn an_error_of_a_feed_chooses_the_status_and_a_400_names_the_rule() {
    for (kind, status, start) in [
        (
            FeedErrorKind::Invalid,
            400,
            "the name\u{fffd}\u{fffd} is invalid: it has  ",
        ),
        (
            FeedErrorKind::Forbidden,
            403,
            "the client may not read the feed",
        ),
        (
            FeedErrorKind::Unavailable,
            503,
            "the feed is not available now",
        ),
    ] {
        for request in other_requests() {
            let feed = Opening::with(Err(kind));
            let text = text(request.forward(feed.clone()).await, status).await;
            assert!(text.starts_with(start), "{text}");
            assert!(text.chars().count() <= 300, "{text}");
            assert!(feed.is_dropped());
        }
    }
    for (kind, status) in [
        (FeedErrorKind::Invalid, 400),
        (FeedErrorKind::Forbidden, 403),
    ] {
        let response = event_source().forward(Opening::with(Err(kind))).await;
        text(response, status).await;
    }
}

#[tokio::test]
async fn an_event_source_of_an_unavailable_feed_is_asked_to_come_back_later() {
    async fn check(options: SessionOptions, from: u64, to: u64) {
        let mut times = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let feed = Opening::with(Err(FeedErrorKind::Unavailable));
            let request = event_source().options(options.clone());
            times.insert(retry(request.forward(feed).await).await);
        }
        assert!(
            times.iter().all(|time| (from..=to).contains(time)),
            "{times:?}"
        );
        assert!(times.len() > 50, "each client has a time of its own");
    }
    check(SessionOptions::new(), 5_000, 10_000).await;
    let limits = Limits::new().retry_after(30 * SECOND);
    check(SessionOptions::new().limits(&limits), 30_000, 60_000).await;
    assert_eq!(limits.sessions(), 0);
}

#[tokio::test]
async fn a_server_that_drains_asks_an_event_source_to_come_back_and_refuses_others() {
    let time = retry(event_source().options(drained()).open(async |_| Ok(()))).await;
    assert!((1_000..=5_000).contains(&time), "{time}");
    for request in other_requests() {
        let response = request.options(drained()).open(async |_| Ok(()));
        assert_eq!(text(response, 503).await, "the server is shutting down");
    }
}

#[tokio::test]
async fn a_head_request_gets_the_head_that_a_get_would_get() {
    for (accept, status) in [("text/event-stream", 200), ("*/*", 503)] {
        for over in [false, true] {
            let head = request(Method::HEAD, accept).options(drained());
            let response = if over {
                head.forward(Opening::with(Ok(FeedOpened::Over))).await
            } else {
                head.open(async |_| Ok(()))
            };
            assert_eq!(response.status(), status);
            if status == 200 {
                assert_eq!(response.headers()["content-type"], "text/event-stream");
                let sent = response.into_body().collect().await.unwrap().to_bytes();
                assert!(sent.is_empty());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_hide_that_a_feed_is_over_or_refuses() {
    let began = Instant::now();
    for (outcome, status) in [
        (Ok(FeedOpened::Over), 204),
        (Err(FeedErrorKind::Invalid), 400),
        (Err(FeedErrorKind::Forbidden), 403),
        (Ok(FeedOpened::Stream), 200),
        (Err(FeedErrorKind::Unavailable), 200),
    ] {
        let request = event_source().options(drained());
        let response = request.forward(Opening::with(outcome)).await;
        assert_eq!(response.status(), status);
        if status == 200 {
            retry(response).await;
        }
        let post = request_post().options(drained());
        let response = post.forward(Opening::with(outcome)).await;
        let expected = if status == 200 { 503 } else { status };
        assert_eq!(response.status(), expected);
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
}

fn request_post() -> SseRequest {
    request(Method::POST, "text/event-stream")
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_250_ms_for_a_feed() {
    for starts_before in [true, false] {
        let drain = Drain::new();
        let options = SessionOptions::new().drain(&drain);
        if starts_before {
            drain.start();
        }
        let feed = Opening::default();
        let answers = [event_source(), request_post()].map(|request| {
            let answer = request.options(options.clone()).forward(feed.clone());
            tokio::spawn(answer)
        });
        tokio::task::yield_now().await;
        drain.start();
        let began = Instant::now();
        let [later, refused] = answers;
        retry(later.await.unwrap()).await;
        assert_eq!(
            text(refused.await.unwrap(), 503).await,
            "the server is shutting down"
        );
        assert_eq!(began.elapsed(), Duration::from_millis(250));
        assert!(feed.is_dropped());
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_starts_while_the_feed_opens_is_a_503() {
    for in_extensions in [false, true] {
        let drain = Drain::new();
        let (mut parts, ()) = Request::new(()).into_parts();
        let mut options = SessionOptions::new();
        if in_extensions {
            parts.extensions.insert(drain.clone());
        } else {
            options = options.drain(&drain);
        }
        let feed = Opening::default();
        let opening = SseRequest::new(parts)
            .options(options)
            .forward(feed.clone());
        let opening = tokio::spawn(opening);
        tokio::task::yield_now().await;
        drain.start();
        text(opening.await.unwrap(), 503).await;
        assert!(feed.is_dropped());
    }
}

/// A held client: its head has left, and its feed is not open.
async fn held(feed: &Opening, options: SessionOptions) -> Connection<SessionBody> {
    let began = Instant::now();
    let options = options.heartbeat(Heartbeat::every(4 * SECOND));
    let response = event_source().options(options).forward(feed.clone()).await;
    assert_eq!(began.elapsed(), 4 * SECOND);
    assert_eq!(response.status(), 200);
    let mut connection = Connection::after_head(response.into_body());
    assert_eq!(connection.run(), []);
    advance(4 * SECOND).await;
    assert_eq!(connection.run(), [Polled::frame(": heartbeat\n\n")]);
    connection
}

#[tokio::test(start_paused = true)]
async fn an_event_source_is_held_with_heartbeats_until_its_feed_opens() {
    let feed = Opening::default();
    let mut connection = held(&feed, SessionOptions::new()).await;
    feed.set(Ok(FeedOpened::Stream));
    assert_eq!(
        connection.run(),
        [Polled::frame("data: a\n\n"), Polled::End]
    );
}

#[tokio::test(start_paused = true)]
async fn a_held_event_source_whose_feed_has_no_stream_is_asked_to_come_back() {
    for outcome in [
        Ok(FeedOpened::Over),
        Err(FeedErrorKind::Invalid),
        Err(FeedErrorKind::Forbidden),
        Err(FeedErrorKind::Unavailable),
    ] {
        let feed = Opening::default();
        let limits = Limits::new();
        let mut connection = held(&feed, SessionOptions::new().limits(&limits)).await;
        assert_eq!(limits.sessions(), 1);
        feed.set(outcome);
        let results = connection.run();
        let [Polled::Frame(last), Polled::End] = &results[..] else {
            panic!("{results:?}")
        };
        let time = only_retry(last);
        assert!((5_000..=10_000).contains(&time), "{time}");
        drop(connection);
        assert!(feed.is_dropped() && limits.sessions() == 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_a_held_event_source() {
    let drain = Drain::new();
    let feed = Opening::default();
    let mut connection = held(&feed, SessionOptions::new().drain(&drain)).await;
    drain.start();
    let results = connection.run();
    let [Polled::Frame(last), Polled::End] = &results[..] else {
        panic!("{results:?}")
    };
    assert!((1_000..=5_000).contains(&only_retry(last)));
}

#[tokio::test(start_paused = true)]
async fn other_requests_wait_for_the_outcome_of_the_feed() {
    let no_heartbeat = event_source().options(SessionOptions::new().heartbeat(Heartbeat::off()));
    for request in other_requests().into_iter().chain([no_heartbeat]) {
        let feed = Opening::default();
        let answer = tokio::spawn(request.forward(feed.clone()));
        tokio::task::yield_now().await;
        advance(3600 * SECOND).await;
        tokio::task::yield_now().await;
        assert!(!answer.is_finished());
        feed.set(Ok(FeedOpened::Over));
        assert_eq!(answer.await.unwrap().status(), 204);
    }
}

#[tokio::test]
async fn a_limit_is_a_429_unless_the_route_asks_to_come_back_later() {
    let one = || Limits::new().max_sessions(1);
    for limits in [one(), one().come_back_later(true)] {
        let options = SessionOptions::new().limits(&limits);
        let _first = event_source()
            .options(options.clone())
            .open(async |_| Ok(()));
        let by_key = Limits::new().max_sessions_per_key(0, |_| Some("a".to_owned()));
        for request in other_requests() {
            let response = request.options(options.clone()).open(async |_| Ok(()));
            assert_eq!(text(response, 429).await, "too many streams are open");
        }
        let of_key = request_post().options(SessionOptions::new().limits(&by_key));
        let of_key = text(of_key.open(async |_| Ok(())), 429).await;
        assert_eq!(of_key, "too many streams of this client are open");
    }
    let options = SessionOptions::new().limits(&Limits::new().max_sessions(0));
    text(event_source().options(options).open(async |_| Ok(())), 429).await;
    let limits = Limits::new().max_sessions(0).come_back_later(true);
    let options = SessionOptions::new().limits(&limits);
    let time = retry(event_source().options(options).open(async |_| Ok(()))).await;
    assert!((5_000..=10_000).contains(&time), "{time}");
}

/// A session keeps a copy of the head.
#[tokio::test]
async fn a_head_over_32_kib_is_a_431_on_any_server() {
    fn with(name: &str, value: &[u8]) -> SseRequest {
        let request = Request::get("/path").header(name, value);
        SseRequest::new(request.body(()).unwrap().into_parts().0)
    }
    const MAX: usize = 32 * 1024;
    let head = "GET\n\n\n/path\nx:".len();
    let fits = with("x", &vec![b'a'; MAX - head]).open(async |_| Ok(()));
    assert_eq!(fits.status(), 200);
    let expected = "the head of the request is larger than 32 KiB";
    let response = with("x", &vec![b'a'; MAX - head + 1]).open(async |_| Ok(()));
    assert_eq!(text(response, 431).await, expected);
    let feed = Opening::with(Ok(FeedOpened::Stream));
    let response = with("x", &vec![b'a'; 400_000]).forward(feed).await;
    assert_eq!(text(response, 431).await, expected);
    // Bytes that are not UTF-8 grow when they are replaced.
    let response = with("last-event-id", &vec![0xff; 20_000]).open(async |_| Ok(()));
    assert_eq!(text(response, 431).await, expected);
}
