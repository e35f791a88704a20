//! `Session::reconnect`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tidings_client::{ConnectionState, ErrorKind, Reconnect, ReconnectionContext};
use tidings_testkit::timeout::timeout;
use tokio::time::Instant;

use crate::scripted::{Part, Script, Server, parts, read_all, status, stream};

/// A stream that sends this text and stays open.
fn open_stream(text: &'static str) -> Script {
    parts(&[Part::Bytes(text.as_bytes()), Part::Stall])
}

#[tokio::test(start_paused = true)]
async fn an_open_session_resumes_over_a_new_connection_under_any_policy() {
    for reconnect in [Reconnect::off(), Reconnect::standard()] {
        let server = Server::plays([
            open_stream("id: 1\ndata: a\n\nid: 2\ndata: b\n\ndata: cut"),
            open_stream("data: c\n\n"),
        ]);
        let mut session = server.open(reconnect).await.unwrap();
        assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
        session.reconnect();
        assert_eq!(server.open_bodies.load(Ordering::SeqCst), 0);
        // The event that was received is delivered, and is the one to resume after.
        for text in ["b", "c"] {
            assert_eq!(session.try_next().await.unwrap().unwrap().text(), text);
        }
        assert_eq!(server.header("last-event-id")[1], ["2"]);
        assert_eq!(server.waits(), [Duration::ZERO]);
        assert_eq!(session.state(), ConnectionState::Open);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_once() {
    let server = Server::plays([parts(&[Part::Cut]), open_stream("data: a\n\n")]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    let soon = Duration::from_millis(1);
    timeout(soon, session.try_next()).await.unwrap_err();
    assert!(matches!(session.state(), ConnectionState::Waiting { .. }));
    session.reconnect();
    let before = Instant::now();
    assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert!(session.last_error().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_in_progress_is_replaced() {
    let server = Server::plays([stream(""), Script::Hang, open_stream("data: a\n\n")]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    let later = Duration::from_secs(10);
    timeout(later, session.try_next()).await.unwrap_err();
    assert_eq!(session.state(), ConnectionState::Connecting { attempt: 1 });
    session.reconnect();
    assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
    assert_eq!(server.requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn several_calls_connect_once() {
    let server = Server::plays([open_stream("data: a\n\n"), open_stream("data: b\n\n")]);
    let mut session = server.open(Reconnect::off()).await.unwrap();
    session.try_next().await.unwrap();
    session.reconnect();
    session.reconnect();
    assert_eq!(session.try_next().await.unwrap().unwrap().text(), "b");
    assert_eq!(server.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_closed_or_failed_session_stays_over() {
    let server = Server::plays([open_stream("data: a\n\n"), status(204), parts(&[Part::Cut])]);
    let mut closed = server.open(Reconnect::standard()).await.unwrap();
    closed.close();
    let ended = server.open(Reconnect::standard()).await.unwrap();
    let mut failed = server.open(Reconnect::off()).await.unwrap();
    failed.try_next().await.unwrap_err();
    for mut session in [closed, ended, failed] {
        session.reconnect();
        assert_eq!(session.state(), ConnectionState::Closed);
        assert_eq!(session.try_next().await.unwrap(), None);
    }
    assert_eq!(server.requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_policy_decides_what_follows_a_failure() {
    let server = Server::plays([open_stream(""), Script::Refuse]);
    let mut session = server.open(Reconnect::off()).await.unwrap();
    session.reconnect();
    assert_eq!(
        read_all(&mut session).await,
        (vec![], Some(ErrorKind::Connect))
    );

    let server = Server::plays([open_stream(""), Script::Refuse, open_stream("data: a\n\n")]);
    // The attempt that was asked for is one of the two.
    let mut session = server
        .open(Reconnect::fixed(2, Duration::ZERO))
        .await
        .unwrap();
    session.reconnect();
    assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_sent_once_is_sent_again_when_asked() {
    let server = Server::plays([open_stream(""), stream("data: a\n\n")]);
    let client = server.client(Reconnect::standard());
    let mut session = client
        .post("http://test/")
        .body("prompt")
        .open()
        .await
        .unwrap();
    session.reconnect();
    assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));
    let requests = server.requests.lock().unwrap();
    assert!(
        requests
            .iter()
            .all(|(request, _)| request.body() == "prompt")
    );
}

/// Never decides.
struct Undecided;

impl tidings_client::ReconnectionStrategy for Undecided {
    async fn delay(&self, _: ReconnectionContext<'_>) -> Option<Duration> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_decision_in_progress_is_dropped() {
    let server = Server::plays([stream(""), open_stream("data: a\n\n")]);
    let client = server
        .client(Reconnect::off())
        .reconnection_strategy(Undecided);
    let mut session = client.get("http://test/").open().await.unwrap();
    let soon = Duration::from_millis(1);
    timeout(soon, session.try_next()).await.unwrap_err();
    assert_eq!(session.state(), ConnectionState::Lost { attempt: 1 });
    session.reconnect();
    assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
}

#[tokio::test(start_paused = true)]
async fn an_event_over_the_limit_that_was_received_before_still_fails_the_session() {
    let server = Server::plays([open_stream("data: a\n\ndata: 0123456789\n\n")]);
    let client = server.client(Reconnect::standard()).max_event_bytes(10);
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
    session.reconnect();
    let failed = (vec![], Some(ErrorKind::EventTooLarge));
    assert_eq!(read_all(&mut session).await, failed);
    assert_eq!(server.requests(), 1);
}
