//! Sessions that newer sessions of their key replace.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, StatusCode};
use tidings_server::{
    EncodedEvents, Event, EventId, Feed, FeedError, FeedOpened, Limits, SessionBody,
    SessionOptions, SseRequest,
};
use tidings_testkit::connection::{Connection, Polled};

fn one_a_user() -> Limits {
    let limits = Limits::new().max_sessions_per_key(1, |request| {
        let user = request.headers.get("x-user")?;
        Some(user.to_str().ok()?.to_owned())
    });
    limits.replace_oldest(true)
}

fn request(user: &str, options: &SessionOptions) -> SseRequest {
    let request = Request::get("/").header("x-user", user).body(()).unwrap();
    SseRequest::new(request.into_parts().0).options(options.clone())
}

/// A quiet session, and whether its handler is alive.
fn open(user: &str, options: &SessionOptions) -> (Connection<SessionBody>, Weak<()>) {
    let (response, handler) = respond(user, options);
    assert_eq!(response.status(), StatusCode::OK);
    (Connection::after_head(response.into_body()), handler)
}

fn respond(user: &str, options: &SessionOptions) -> (http::Response<SessionBody>, Weak<()>) {
    let alive = Arc::new(());
    let handler = Arc::downgrade(&alive);
    let response = request(user, options).open(async move |session| {
        let _alive = alive;
        session.send(Event::new("hello")).await?;
        pending().await
    });
    (response, handler)
}

/// The milliseconds of a frame that is one `retry:` field.
fn retry_of(polled: Polled) -> u64 {
    let Polled::Frame(frame) = polled else {
        panic!("{polled:?}");
    };
    let text = std::str::from_utf8(&frame).unwrap();
    let retry = text
        .strip_prefix("retry: ")
        .and_then(|text| text.strip_suffix("\n\n"));
    retry.unwrap_or_else(|| panic!("{text:?}")).parse().unwrap()
}

const FIRST: &str = "retry: 3000\n\ndata: hello\n\n";

#[tokio::test]
async fn a_replaced_session_sends_a_long_retry_and_ends_cleanly() {
    let limits = one_a_user();
    let options = SessionOptions::new().limits(&limits);
    let (mut old, old_handler) = open("a", &options);
    assert_eq!(old.poll(), Polled::frame(FIRST));
    let (mut other, _) = open("b", &options);
    let (mut new, _) = open("a", &options);
    assert_eq!(limits.sessions(), 2);
    old.poll();
    let retry = retry_of(old.poll());
    assert!((3_600_000..=7_200_000).contains(&retry), "{retry}");
    old.poll();
    assert_eq!(old.poll(), Polled::End);
    drop(old);
    assert!(old_handler.upgrade().is_none());
    assert_eq!(limits.sessions(), 2, "it had left the count before");
    assert_eq!(other.poll(), Polled::frame(FIRST));
    assert_eq!(new.poll(), Polled::frame(FIRST));
    drop((other, new));
    assert_eq!(limits.sessions(), 0);
}

#[tokio::test]
async fn a_body_that_is_never_polled_again_gives_its_place_away() {
    let limits = one_a_user();
    let options = SessionOptions::new().limits(&limits);
    let mut dead = Vec::new();
    for _ in 0..100 {
        dead.push(open("a", &options));
        assert_eq!(limits.sessions(), 1);
    }
    let (newest, _) = dead.pop().unwrap();
    drop(dead);
    assert_eq!(limits.sessions(), 1);
    drop(newest);
    assert_eq!(limits.sessions(), 0);
}

#[tokio::test]
async fn without_the_option_the_newest_is_refused() {
    let limits = one_a_user().replace_oldest(false);
    let options = SessionOptions::new().limits(&limits);
    let (mut old, _) = open("a", &options);
    assert_eq!(old.poll(), Polled::frame("data: hello\n\n"));
    let (refused, _) = respond("a", &options);
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_retry_of_the_route_is_sent_in_place_of_the_usual_one() {
    let options = SessionOptions::new().limits(&one_a_user());
    let (mut session, _) = open("a", &options.retry(Duration::from_secs(7)));
    assert_eq!(
        session.poll(),
        Polled::frame("retry: 7000\n\ndata: hello\n\n")
    );
}

#[tokio::test]
async fn a_replaced_answer_is_cut() {
    let options = SessionOptions::new().limits(&one_a_user()).may_finish(true);
    let (mut old, handler) = open("a", &options);
    assert_eq!(old.poll(), Polled::frame(FIRST));
    let _new = open("a", &options);
    old.poll();
    assert_eq!(old.poll(), Polled::Cut);
    drop(old);
    assert!(handler.upgrade().is_none());
}

/// A feed that opens when it is told to.
struct Opening(tokio::sync::oneshot::Receiver<()>);

impl Feed for Opening {
    fn resume(&mut self, _: Option<&str>) {}

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<FeedOpened, FeedError>> {
        pin!(&mut self.0).poll(cx).map(|_| Ok(FeedOpened::Stream))
    }

    fn poll_events(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<EncodedEvents, FeedError>>> {
        Poll::Pending
    }

    fn checkpoint(&mut self) -> Option<EventId> {
        None
    }
}

#[tokio::test]
async fn a_forwarded_feed_is_replaced_before_and_after_it_has_opened() {
    let limits = one_a_user();
    let options = SessionOptions::new().limits(&limits);
    let (opens, opening) = tokio::sync::oneshot::channel();
    let mut opening = Box::pin(request("a", &options).forward(Opening(opening)));
    assert!(futures_util::FutureExt::now_or_never(&mut opening).is_none());
    assert_eq!(limits.sessions(), 1);
    let (already, opened) = tokio::sync::oneshot::channel();
    already.send(()).unwrap();
    let open_feed = request("a", &options).forward(Opening(opened)).await;
    assert_eq!(limits.sessions(), 1);
    opens.send(()).unwrap();
    let late = opening.await;
    assert_eq!(limits.sessions(), 1);
    let _newest = open("a", &options);
    for replaced in [late, open_feed] {
        let mut body = Connection::after_head(replaced.into_body());
        let Polled::Frame(frame) = body.poll() else {
            panic!("no frame");
        };
        let text = std::str::from_utf8(&frame).unwrap();
        let last = text.strip_prefix("retry: 3000\n\n").unwrap();
        retry_of(Polled::frame(last.to_owned()));
        body.poll();
        assert_eq!(body.poll(), Polled::End);
    }
    assert_eq!(limits.sessions(), 1);
}
