//! A feed that is forwarded: how it is opened, what its client hears, and when it is asked.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::VecDeque;
use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tidings_proto::{
    EncodedEvents, Event, EventId, Feed, FeedError, FeedErrorKind, Heartbeat, MAX_QUEUED_BYTES,
    Opened,
};
use tidings_server::{
    Drain, HandlerError, Limits, Session, SessionBody, SessionOptions, SseRequest,
};
use tokio::time::{advance, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// A feed that says what the test wants it to, which holds a clone of it.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// What it was told of where the client left off.
    resumed: Vec<Option<String>>,
    /// What it finds; until this is set it still looks.
    opened: Option<Result<Opened, FeedErrorKind>>,
    /// What it says next; an empty list is a pause.
    says: VecDeque<Option<Result<EncodedEvents, FeedErrorKind>>>,
    /// What it says whenever it has nothing else to say.
    endless: Option<EncodedEvents>,
    checkpoint: Option<EventId>,
    asked_to_open: usize,
    asked_for_events: usize,
    asked_for_checkpoints: usize,
    waker: Option<Waker>,
}

impl Script {
    fn open() -> Self {
        let script = Self::default();
        script.change(|state| state.opened = Some(Ok(Opened::Stream)));
        script
    }

    fn found(found: Result<Opened, FeedErrorKind>) -> Self {
        let script = Self::default();
        script.change(|state| state.opened = Some(found));
        script
    }

    /// A feed that always has this to say.
    fn endless(events: EncodedEvents) -> Self {
        let script = Self::open();
        script.change(|state| state.endless = Some(events));
        script
    }

    fn says(&self, events: impl Into<EncodedEvents>) {
        let events = events.into();
        self.change(|state| state.says.push_back(Some(Ok(events))));
    }

    fn ends(&self) {
        self.change(|state| state.says.push_back(None));
    }

    fn fails(&self, kind: FeedErrorKind) {
        self.change(|state| state.says.push_back(Some(Err(kind))));
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

    /// Nobody but the test holds it.
    fn is_dropped(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Asked for nothing at all.
    fn is_untouched(&self) -> bool {
        let state = self.state();
        state.resumed.is_empty() && state.asked_to_open + state.asked_for_events == 0
    }
}

fn error(kind: FeedErrorKind) -> FeedError {
    FeedError::new(kind, "the script says so")
}

impl Feed for Script {
    fn resume(&mut self, last_event_id: Option<&str>) {
        let last_event_id = last_event_id.map(str::to_owned);
        self.state().resumed.push(last_event_id);
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<Opened, FeedError>> {
        let mut state = self.state();
        state.asked_to_open += 1;
        match state.opened {
            Some(found) => Poll::Ready(found.map_err(error)),
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
        state.asked_for_events += 1;
        if let Some(says) = state.says.pop_front() {
            return Poll::Ready(says.map(|says| says.map_err(error)));
        }
        if let Some(events) = &state.endless {
            return Poll::Ready(Some(Ok(events.clone())));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn checkpoint(&mut self) -> Option<EventId> {
        let mut state = self.state();
        state.asked_for_checkpoints += 1;
        state.checkpoint.take()
    }
}

/// A connection on which the head has been written: polls a body as an executor does.
struct Connection {
    body: SessionBody,
    wakes: Arc<Wakes>,
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Debug, PartialEq)]
enum Answer {
    Frame(Bytes),
    End,
    Break,
}

fn frame(text: &'static str) -> Answer {
    Answer::Frame(text.into())
}

impl Connection {
    fn on(response: Response<SessionBody>) -> Self {
        assert_eq!(response.status(), 200);
        let mut connection = Self {
            body: response.into_body(),
            wakes: Arc::default(),
        };
        assert!(connection.poll().is_pending());
        connection
    }

    async fn forward(script: &Script) -> Self {
        Self::on(request("/").forward(script.clone()).await)
    }

    /// With a heartbeat after each second of quiet.
    async fn forward_beating(script: &Script) -> Self {
        let options = SessionOptions::new().heartbeat(Heartbeat::every(SECOND));
        Self::on(request("/").options(options).forward(script.clone()).await)
    }

    /// A handler of one's own.
    fn handle<F>(handler: impl FnOnce(Session) -> F) -> Self
    where
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        Self::on(request("/").open(handler))
    }

    fn poll(&mut self) -> Poll<Answer> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        let frame = Pin::new(&mut self.body).poll_frame(&mut Context::from_waker(&waker));
        frame.map(|frame| match frame {
            None => Answer::End,
            Some(Err(_)) => Answer::Break,
            Some(Ok(frame)) => Answer::Frame(frame.into_data().unwrap()),
        })
    }

    /// Polls until it is pending and was not woken meanwhile.
    fn run(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        loop {
            let wakes = self.wakes.0.load(Ordering::SeqCst);
            match self.poll() {
                Poll::Pending if self.wakes.0.load(Ordering::SeqCst) == wakes => return answers,
                Poll::Pending => {}
                Poll::Ready(answer @ Answer::Frame(_)) => answers.push(answer),
                Poll::Ready(end) => {
                    answers.push(end);
                    return answers;
                }
            }
        }
    }
}

fn request(uri: &str) -> SseRequest {
    SseRequest::new(Request::get(uri).body(()).unwrap().into_parts().0)
}

/// Events of so many bytes on the wire.
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
async fn a_feed_resumes_where_the_client_left_off() {
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
        Connection::on(response).run();
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
    let script = Script::found(Ok(Opened::Over));
    let response = forwarded(request("/").options(options), &script).await;
    assert_eq!(response.status(), 204);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(!response.headers().contains_key("content-type"));
    assert!(response.body().is_end_stream());
    assert_eq!(limits.sessions(), 0);
    assert_eq!(script.state().asked_for_events, 0);
    assert!(script.is_dropped());
}

#[tokio::test]
async fn an_error_of_a_feed_is_answered_in_place_of_a_stream() {
    for (kind, status) in [
        (FeedErrorKind::Invalid, 400),
        (FeedErrorKind::Forbidden, 403),
        (FeedErrorKind::Unavailable, 503),
    ] {
        let script = Script::found(Err(kind));
        let response = forwarded(request("/"), &script).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["cache-control"], "no-store");
        let may_retry = response.headers().contains_key("retry-after");
        assert_eq!(may_retry, status == 503, "{status}");
        assert!(response.body().is_end_stream());
        assert!(script.is_dropped());
    }
}

#[tokio::test]
async fn who_comes_too_soon_is_told_a_time_of_its_own() {
    async fn check(options: SessionOptions, from: u64, to: u64) {
        let mut times = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let script = Script::found(Err(FeedErrorKind::Unavailable));
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
async fn a_head_is_answered_without_the_feed() {
    let script = Script::found(Err(FeedErrorKind::Invalid));
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::HEAD;
    let response = forwarded(SseRequest::new(parts), &script).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert!(script.is_untouched() && script.is_dropped());
}

#[tokio::test]
async fn who_is_refused_is_refused_before_the_feed_is_asked() {
    let limits = Limits::new().max_sessions(1);
    let drain = Drain::new();
    let options = SessionOptions::new().limits(&limits).drain(&drain);
    let first = forwarded(request("/").options(options.clone()), &Script::open()).await;
    assert_eq!((first.status().as_u16(), limits.sessions()), (200, 1));
    let script = Script::open();
    for status in [429, 503] {
        let response = forwarded(request("/").options(options.clone()), &script).await;
        assert_eq!(response.status(), status);
        assert!(response.headers().contains_key("retry-after"));
        assert!(script.is_untouched() && script.is_dropped());
        drain.start();
    }
}

#[tokio::test]
async fn who_looks_counts_as_a_session_until_it_is_answered() {
    let limits = Limits::new().max_sessions(1);
    let options = SessionOptions::new().limits(&limits);
    let script = Script::default();
    let mut looking = Box::pin(request("/").options(options).forward(script.clone()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(looking.as_mut().poll(&mut cx).is_pending());
    assert_eq!(limits.sessions(), 1);
    drop(looking);
    assert_eq!(limits.sessions(), 0, "its client has gone");
    assert!(script.is_dropped());
}

#[tokio::test]
async fn a_drain_that_starts_while_the_feed_looks_is_a_503() {
    for in_extensions in [false, true] {
        let drain = Drain::new();
        let (mut parts, ()) = Request::new(()).into_parts();
        let mut options = SessionOptions::new();
        if in_extensions {
            parts.extensions.insert(drain.clone());
        } else {
            options = options.drain(&drain);
        }
        let script = Script::default();
        let looking = SseRequest::new(parts)
            .options(options)
            .forward(script.clone());
        let looking = tokio::spawn(looking);
        tokio::task::yield_now().await;
        assert_eq!(script.state().asked_to_open, 1);
        drain.start();
        let response = timeout(10 * SECOND, looking).await.unwrap().unwrap();
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key("retry-after"));
        assert!(script.is_dropped());
    }
}

#[tokio::test]
async fn a_feed_may_take_its_time_to_look() {
    let drain = Drain::new();
    let script = Script::default();
    let options = SessionOptions::new().drain(&drain);
    let looking = tokio::spawn(request("/").options(options).forward(script.clone()));
    tokio::task::yield_now().await;
    script.says(Event::new("a"));
    script.change(|state| state.opened = Some(Ok(Opened::Stream)));
    let response = timeout(10 * SECOND, looking).await.unwrap().unwrap();
    let mut connection = Connection::on(response);
    assert_eq!(connection.run(), [frame("data: a\n\n")]);
    drain.start();
    let answers = connection.run();
    assert!(
        matches!(&answers[..], [Answer::Frame(retry), Answer::End] if retry.starts_with(b"retry: "))
    );
}

#[tokio::test]
async fn events_are_forwarded_uncopied_as_they_come() {
    let script = Script::open();
    let mut connection = Connection::forward(&script).await;
    assert_eq!(connection.run(), []);
    for bytes in [20, 1_000, 16_384, 65_536, 1_000_000] {
        let slice = slice(bytes);
        script.says(slice.clone());
        let answers = connection.run();
        let [Answer::Frame(sent)] = &answers[..] else {
            panic!("{} answers", answers.len())
        };
        assert_eq!(sent.as_ptr(), slice.bytes().as_ptr());
        assert_eq!(sent.len(), bytes);
    }
    assert_eq!(script.state().asked_to_open, 1, "it is opened once");
}

#[tokio::test]
async fn the_end_of_a_feed_ends_the_response() {
    let script = Script::open();
    script.says(Event::new("a"));
    script.ends();
    let mut connection = Connection::forward(&script).await;
    assert_eq!(connection.run(), [frame("data: a\n\n"), Answer::End]);
    assert!(script.is_dropped());
}

#[tokio::test]
async fn an_error_of_a_feed_breaks_the_response_behind_what_was_sent() {
    let script = Script::open();
    script.says(Event::new("a"));
    script.fails(FeedErrorKind::Unavailable);
    let mut connection = Connection::forward(&script).await;
    assert_eq!(connection.run(), [frame("data: a\n\n"), Answer::Break]);
    assert!(script.is_dropped());
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_goes_with_the_heartbeat_if_there_is_news() {
    let script = Script::open();
    let mut connection = Connection::forward_beating(&script).await;
    assert_eq!(connection.run(), []);
    script.change(|state| state.checkpoint = Some(7.into()));
    assert_eq!(connection.run(), [], "news alone wakes nobody's client");
    advance(SECOND).await;
    assert_eq!(connection.run(), [frame(": heartbeat\n\nid: 7\n\n")]);
    advance(SECOND).await;
    assert_eq!(connection.run(), [frame(": heartbeat\n\n")], "it was said");
    assert_eq!(
        script.state().asked_for_checkpoints,
        3,
        "at first, and once a beat"
    );
    script.says(Event::new("a").id(8));
    assert_eq!(connection.run(), [frame("id: 8\ndata: a\n\n")]);
    assert_eq!(script.state().asked_for_checkpoints, 3);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_sends_nothing_still_takes_a_checkpoint_along() {
    let script = Script::open();
    let beat = Heartbeat::every(SECOND).with(Event::default).always(true);
    let options = SessionOptions::new().heartbeat(beat);
    let response = request("/").options(options).forward(script.clone()).await;
    let mut connection = Connection::on(response);
    connection.run();
    script.change(|state| state.checkpoint = Some(7.into()));
    advance(SECOND).await;
    assert_eq!(connection.run(), [frame("id: 7\n\n")]);
}

#[tokio::test(start_paused = true)]
async fn a_session_without_a_heartbeat_sends_a_checkpoint_at_first_and_none_later() {
    let script = Script::open();
    script.change(|state| state.checkpoint = Some(7.into()));
    let mut connection = Connection::forward(&script).await;
    assert_eq!(connection.run(), [frame("id: 7\n\n")]);
    script.change(|state| state.checkpoint = Some(8.into()));
    for _ in 0..3 {
        assert_eq!(connection.run(), []);
        advance(3600 * SECOND).await;
    }
    assert_eq!(script.state().asked_for_checkpoints, 1);
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_is_asked_for_behind_the_events_of_the_same_turn() {
    let script = Script::open();
    let mut connection = Connection::forward_beating(&script).await;
    connection.run();
    advance(SECOND).await;
    script.says(Event::new("a").id(8));
    script.says(Event::new("b").id(9));
    script.change(|state| state.checkpoint = Some(10.into()));
    let expected = ": heartbeat\n\nid: 8\ndata: a\n\nid: 9\ndata: b\n\nid: 10\n\n";
    assert_eq!(connection.run(), [frame(expected)]);
}

#[tokio::test(start_paused = true)]
async fn no_checkpoint_is_asked_for_while_there_is_no_room() {
    let script = Script::open();
    script.change(|state| state.checkpoint = Some(7.into()));
    let feed = script.clone();
    let mut connection = Connection::handle(async move |session| {
        session.heartbeat(Heartbeat::every(SECOND));
        session.send(slice(MAX_QUEUED_BYTES - 20_000)).await?;
        session.send(slice(20_000)).await?;
        session.forward(feed).await
    });
    assert!(matches!(connection.poll(), Poll::Ready(Answer::Frame(_))));
    advance(3 * SECOND).await;
    // The client does not read, and still the timer goes off.
    connection.poll().is_pending().then_some(()).unwrap();
    assert_eq!(script.state().asked_for_checkpoints, 0);
    let answers = connection.run();
    assert!(matches!(&answers[..], [Answer::Frame(sent), ..] if sent.len() == 20_000));
    assert_eq!(script.state().asked_for_checkpoints, 1);
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_feed() {
    async fn check(bytes: usize, expected: usize) {
        let script = Script::endless(slice(bytes));
        let mut connection = Connection::forward(&script).await;
        // Nothing of the frame that it was handed counts any more.
        assert!(matches!(connection.poll(), Poll::Ready(Answer::Frame(_))));
        assert_eq!(script.state().asked_for_events, expected, "{bytes}");
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
async fn a_client_that_reads_again_hears_on_in_order() {
    let sizes = [
        30_000, 30_000, 5_000, 65_536, 200_000, 10, 16_384, 40_000, 40_000,
    ];
    let script = Script::open();
    sizes.iter().for_each(|&bytes| script.says(slice(bytes)));
    script.ends();
    let mut connection = Connection::forward(&script).await;
    let mut heard = Vec::new();
    let mut most_ahead = 0;
    loop {
        match connection.poll() {
            Poll::Pending => {}
            Poll::Ready(Answer::Frame(bytes)) => heard.extend_from_slice(&bytes),
            Poll::Ready(end) => {
                assert_eq!(end, Answer::End);
                break;
            }
        }
        let asked = script.state().asked_for_events.min(sizes.len());
        let said: usize = sizes[..asked].iter().sum();
        let ahead = said - heard.len();
        most_ahead = most_ahead.max(ahead - sizes[..asked].last().copied().unwrap_or(0).min(ahead));
    }
    let sent: Vec<u8> = sizes
        .iter()
        .flat_map(|&bytes| slice(bytes).into_bytes())
        .collect();
    assert!(heard == sent, "{} of {} bytes", heard.len(), sent.len());
    assert!(
        most_ahead <= MAX_QUEUED_BYTES / 2,
        "besides the last slice {most_ahead}"
    );
}

#[tokio::test]
async fn what_is_larger_than_the_room_waits_and_leaves_in_its_turn() {
    let script = Script::open();
    script.says(slice(60_000));
    let feed = script.clone();
    let mut connection = Connection::handle(async move |session| {
        session.send(slice(20_000)).await?;
        session.forward(feed).await
    });
    let answers = connection.run();
    let lengths: Vec<usize> = answers
        .iter()
        .map(|answer| match answer {
            Answer::Frame(bytes) => bytes.len(),
            end => panic!("{end:?}"),
        })
        .collect();
    assert_eq!(lengths, [20_000, 60_000]);
}

#[tokio::test]
async fn others_who_send_all_the_time_do_not_keep_a_feed_out() {
    let script = Script::endless(slice(1_000));
    let feed = script.clone();
    let mut connection = Connection::handle(async move |session| {
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
        // Who waits for room is let on as often as tokio lets a task go on.
        tokio::task::yield_now().await;
        assert!(!matches!(connection.poll(), Poll::Ready(Answer::Break)));
    }
    let asked = script.state().asked_for_events;
    assert!(asked > 500, "{asked}");
}

#[tokio::test]
async fn a_feed_that_says_nothing_for_ever_holds_nothing_up() {
    let script = Script::endless(EncodedEvents::default());
    let mut connection = Connection::forward(&script).await;
    for _ in 0..10 {
        assert!(connection.poll().is_pending());
    }
    assert_eq!(script.state().asked_for_events, 10);
    script.says(Event::new("a"));
    assert_eq!(connection.poll(), Poll::Ready(frame("data: a\n\n")));
}

#[tokio::test]
async fn a_client_that_goes_drops_the_feed() {
    let script = Script::open();
    let mut connection = Connection::forward(&script).await;
    connection.run();
    assert!(!script.is_dropped());
    drop(connection);
    assert!(script.is_dropped());
    let waker = script.state().waker.take();
    assert!(waker.is_some());
    waker.into_iter().for_each(Waker::wake);
}

#[tokio::test]
async fn a_client_that_goes_drops_the_feed_that_waits_for_room() {
    let script = Script::endless(slice(60_000));
    let mut connection = Connection::forward(&script).await;
    assert!(matches!(connection.poll(), Poll::Ready(Answer::Frame(_))));
    drop(connection);
    assert!(script.is_dropped());
}

#[tokio::test]
async fn a_feed_is_not_asked_after_the_session_was_closed() {
    let script = Script::open();
    let feed = script.clone();
    let (hand_over, sender) = std::sync::mpsc::channel();
    let mut connection = Connection::handle(async move |session| {
        hand_over.send(session.sender())?;
        session.forward(feed).await
    });
    assert_eq!(connection.run(), []);
    let asked = script.state().asked_for_events;
    sender.recv().unwrap().close();
    script.says(Event::new("too late"));
    assert_eq!(connection.run(), [Answer::End]);
    assert_eq!(script.state().asked_for_events, asked);
}

#[tokio::test(start_paused = true)]
async fn a_route_sets_what_a_forwarded_session_is_like() {
    let script = Script::open();
    script.says(Event::new("a").id(1));
    let options = SessionOptions::new()
        .retry(SECOND)
        .heartbeat(Heartbeat::every(4 * SECOND))
        .max_lifetime(10 * SECOND);
    let response = request("/").options(options).forward(script.clone()).await;
    let mut connection = Connection::on(response);
    assert_eq!(
        connection.run(),
        [frame("retry: 1000\n\nid: 1\ndata: a\n\n")]
    );
    advance(4 * SECOND).await;
    assert_eq!(connection.run(), [frame(": heartbeat\n\n")]);
    advance(6 * SECOND).await;
    assert_eq!(connection.run().last(), Some(&Answer::End));
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
    script.says(slice(10_000));
    script.ends();
    let head = forwarded(get("HEAD"), &script).await;
    let response = forwarded(get("GET"), &script).await;
    assert_eq!(head.headers(), response.headers());
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let sent = response.into_body().collect().await.unwrap().to_bytes();
    let mut heard = Vec::new();
    flate2::read::GzDecoder::new(&sent[..])
        .read_to_end(&mut heard)
        .unwrap();
    assert!(heard == slice(10_000).into_bytes());

    let over = forwarded(get("GET"), &Script::found(Ok(Opened::Over))).await;
    assert!(!over.headers().contains_key("content-encoding"));
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_send_before_and_after_it_forwards() {
    let script = Script::open();
    script.says(Event::new("news").id(1));
    let feed = script.clone();
    let mut connection = Connection::handle(async move |session| {
        session.heartbeat(Heartbeat::every(SECOND));
        session.send(Event::new("hello")).await?;
        session.forward(feed).await?;
        session.send(Event::new("bye")).await?;
        Ok(())
    });
    assert_eq!(
        connection.run(),
        [frame("data: hello\n\nid: 1\ndata: news\n\n")]
    );
    script.change(|state| state.checkpoint = Some(2.into()));
    advance(SECOND).await;
    assert_eq!(connection.run(), [frame(": heartbeat\n\nid: 2\n\n")]);
    script.ends();
    assert_eq!(connection.run(), [frame("data: bye\n\n"), Answer::End]);
}

#[tokio::test]
async fn in_a_handler_a_feed_that_is_over_ends_at_once_and_one_that_fails_breaks() {
    for (found, expected) in [
        (
            Ok(Opened::Over),
            vec![frame("data: nothing more\n\n"), Answer::End],
        ),
        (Err(FeedErrorKind::Forbidden), vec![Answer::Break]),
    ] {
        let script = Script::found(found);
        let feed = script.clone();
        let mut connection = Connection::handle(async move |session| {
            session.forward(feed).await?;
            session.send(Event::new("nothing more")).await?;
            Ok(())
        });
        assert_eq!(connection.run(), expected);
        assert_eq!(script.state().asked_for_events, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_is_forwarded_beside_the_handler_hears_its_heartbeats_too() {
    let script = Script::open();
    let feed = script.clone();
    let mut connection = Connection::handle(async move |session| {
        session.heartbeat(Heartbeat::every(SECOND));
        session.spawn(session.forward(feed));
        pending().await
    });
    script.says(Event::new("a").id(1));
    assert_eq!(connection.run(), [frame("id: 1\ndata: a\n\n")]);
    for id in 2..5 {
        script.change(|state| state.checkpoint = Some(id.into()));
        connection.run();
        advance(SECOND).await;
        let expected = format!(": heartbeat\n\nid: {id}\n\n");
        assert_eq!(connection.run(), [Answer::Frame(expected.into())]);
    }
    drop(connection);
    assert!(script.is_dropped());
}

#[tokio::test(start_paused = true)]
async fn a_feed_may_be_forwarded_from_another_task_and_ends_with_the_session() {
    let script = Script::open();
    let (hand_over, session) = std::sync::mpsc::channel();
    let mut connection = Connection::handle(async move |session| {
        session.heartbeat(Heartbeat::every(SECOND));
        hand_over.send(session)?;
        pending().await
    });
    assert_eq!(connection.run(), []);
    let session = session.recv().unwrap();
    let forwarding = tokio::spawn(session.forward(script.clone()));
    drop(session);
    script.says(Event::new("a").id(1));
    tokio::task::yield_now().await;
    assert_eq!(connection.run(), [frame("id: 1\ndata: a\n\n")]);
    script.change(|state| state.checkpoint = Some(2.into()));
    advance(SECOND).await;
    let mut heard = connection.run();
    tokio::task::yield_now().await;
    heard.extend(connection.run());
    assert_eq!(heard, [frame(": heartbeat\n\n"), frame("id: 2\n\n")]);
    drop(connection);
    let ended = timeout(10 * SECOND, forwarding).await.unwrap().unwrap();
    assert_eq!(ended.unwrap_err().to_string(), "the session is closed");
    assert!(script.is_dropped());
}

/// The ids of a stream, in their order.
fn ids(heard: &[u8]) -> Vec<u64> {
    let lines = std::str::from_utf8(heard).unwrap().lines();
    lines
        .filter_map(|line| line.strip_prefix("id: ")?.parse().ok())
        .collect()
}

/// A feed at random, and a client that reads at random: ids never go back and no event is lost.
#[tokio::test(start_paused = true)]
async fn ids_never_go_back_whatever_comes_when() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let script = Script::open();
        let mut connection = Connection::forward_beating(&script).await;
        let (mut position, mut said, mut heard) = (0_u64, 0, Vec::new());
        for _ in 0..200 {
            position += 1;
            match random.u8(..10) {
                0..3 => {
                    let text = "x".repeat(random.usize(..30_000));
                    said += 1;
                    let event = Event::new(text).id(position);
                    // What is handed out is further than what was to be said alone.
                    script.change(|state| state.checkpoint = None);
                    script.says(event);
                }
                3..5 => script.change(|state| state.checkpoint = Some(position.into())),
                5..7 => advance(random.u32(..3) * SECOND / 2).await,
                _ => {
                    if let Poll::Ready(Answer::Frame(bytes)) = connection.poll() {
                        heard.extend_from_slice(&bytes);
                    }
                }
            }
        }
        script.ends();
        for answer in connection.run() {
            match answer {
                Answer::Frame(bytes) => heard.extend_from_slice(&bytes),
                end => assert_eq!(end, Answer::End),
            }
        }
        let ids = ids(&heard);
        assert!(ids.is_sorted(), "seed {seed}: {ids:?}");
        let text = String::from_utf8(heard).unwrap();
        assert_eq!(text.matches("data:").count(), said, "seed {seed}");
    }
}

#[tokio::test]
async fn what_it_makes_can_be_sent_to_another_task() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let response = is_send(request("/").forward(Script::found(Ok(Opened::Over))));
    assert_eq!(pin!(response).await.status(), 204);
}
