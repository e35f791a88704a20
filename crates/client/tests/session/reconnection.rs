//! When a session connects again, and what it resumes after.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use http::StatusCode;
use tidings_client::{ErrorKind, Reconnect, SseClient};

use crate::scripted::{Script, Server, hear, status, stream};

#[tokio::test(start_paused = true)]
async fn it_resumes_after_the_last_event_heard() {
    let server = Server::plays([
        stream("id: 1\ndata: a\n\nid: 2\ndata: unfinished\n"),
        stream("data: b\n\n"),
        stream("id: größe…\ndata: c\n\n"),
        stream("id:\ndata: d\n\n"),
        stream("data: e\n\n"),
        status(204),
    ]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    let (texts, error) = hear(&mut session).await;
    assert_eq!((texts.join(""), error), ("abcde".into(), None));
    let sent: [&[&str]; 6] = [&[], &["1"], &["1"], &["größe…"], &[], &[]];
    assert_eq!(server.header("last-event-id"), sent);
    assert_eq!(server.waits(), [Duration::from_secs(3); 5]);
}

#[tokio::test(start_paused = true)]
async fn it_resumes_after_the_id_it_was_given() {
    let server = Server::plays([Script::Refuse, stream("data: a\n\n")]);
    let client = server.client(Reconnect::standard());
    let mut session = client
        .get("http://test/")
        .last_event_id(7)
        .open()
        .await
        .unwrap();
    assert_eq!(session.try_next().await.unwrap().unwrap().id.unwrap(), "7");
    assert_eq!(server.header("last-event-id"), [["7"], ["7"]]);
}

#[tokio::test(start_paused = true)]
async fn the_server_names_the_reconnection_time() {
    let server = Server::plays([
        stream("retry: 1500\n"),
        stream("retry: 0\ndata: a\n\n"),
        stream("retry: -5\n\n"),
        status(204),
    ]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    assert_eq!(hear(&mut session).await.0, ["a"]);
    assert_eq!(server.waits(), [1500, 200, 200].map(Duration::from_millis));
}

#[tokio::test(start_paused = true)]
async fn under_fixed_attempts_count_per_outage() {
    let server = Server::plays([
        stream("data: a\n\n"),
        Script::Refuse,
        stream("data: b\n\n"),
        Script::Refuse,
        Script::Refuse,
    ]);
    let reconnect = Reconnect::fixed(2, Duration::from_secs(1));
    let mut session = server.open(reconnect).await.unwrap();
    let (texts, error) = hear(&mut session).await;
    assert_eq!(
        (texts.join(""), error),
        ("ab".into(), Some(ErrorKind::Network))
    );
    assert_eq!(server.waits(), [Duration::from_secs(1); 4]);
}

#[tokio::test(start_paused = true)]
async fn two_numbers_alone_are_a_policy() {
    let lossy = || {
        Server::plays([
            stream("data: a\n\n"),
            Script::Refuse,
            stream("data: b\n\n"),
            Script::Refuse,
            Script::Refuse,
        ])
    };
    let server = lossy();
    let client = SseClient::over(server.clone())
        .max_reconnection_attempts(2)
        .reconnection_time(Duration::from_secs(2));
    let mut session = client.get("http://test/").open().await.unwrap();
    let heard = (vec!["a".into(), "b".into()], Some(ErrorKind::Network));
    assert_eq!(hear(&mut session).await, heard);
    assert_eq!(server.waits(), [Duration::from_secs(2); 4]);

    let server = lossy();
    let client = SseClient::over(server.clone()).max_reconnection_attempts(2);
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(hear(&mut session).await, heard);
    assert_eq!(server.waits(), [Duration::from_secs(3); 4]);

    // Without a number of attempts there is none.
    let server = lossy();
    let client = SseClient::over(server.clone()).reconnection_time(Duration::ZERO);
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(hear(&mut session).await, (vec!["a".into()], None));
    assert_eq!(server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_id_set_by_hand_gives_way_to_what_is_heard() {
    let server = Server::plays([
        stream("data: a\n\n"),
        stream("id: 8\ndata: b\n\n"),
        status(204),
    ]);
    let request = server.client(Reconnect::standard()).get("http://test/");
    let request = request.header("Last-Event-ID", "7");
    let mut session = request.open().await.unwrap();
    assert_eq!(hear(&mut session).await.0, ["a", "b"]);
    assert_eq!(server.header("last-event-id"), [["7"], ["7"], ["8"]]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_id_is_never_a_header() {
    let server = Server::plays([
        stream("data: a\n\n"),
        stream("id: 1\ndata: b\n\n"),
        stream("id\ndata: c\n\n"),
        status(204),
    ]);
    let request = server.client(Reconnect::standard()).get("http://test/");
    let request = request.header("Last-Event-ID", "");
    let mut session = request.open().await.unwrap();
    assert_eq!(hear(&mut session).await.0, ["a", "b", "c"]);
    let sent: [&[&str]; 4] = [&[], &[], &["1"], &[]];
    assert_eq!(server.header("last-event-id"), sent);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_never_repeated() {
    for (script, kind, message) in [
        (
            status(404),
            ErrorKind::Status(StatusCode::NOT_FOUND),
            "expected status 200, but the server answered 404 Not Found",
        ),
        (
            status(302),
            ErrorKind::Status(StatusCode::FOUND),
            "expected status 200, but the server answered 302 Found",
        ),
        (
            Script::Answer {
                status: 200,
                content_type: Some("text/plain"),
                body: Vec::new(),
            },
            ErrorKind::ContentType(Some("text/plain".into())),
            "expected text/event-stream, but the server sent \"text/plain\"",
        ),
        (
            Script::Answer {
                status: 200,
                content_type: None,
                body: Vec::new(),
            },
            ErrorKind::ContentType(None),
            "expected text/event-stream, but the server named no content type",
        ),
        (
            Script::Unsendable,
            ErrorKind::InvalidRequest,
            "the request cannot be made",
        ),
    ] {
        let server = Server::plays([script]);
        let error = server.open(Reconnect::standard()).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (&kind, message));
        assert_eq!(server.requests(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_busy_is_asked_when_it_says() {
    let server = Server::plays([Script::Busy("2"), Script::Busy("2"), stream("data: a\n\n")]);
    let reconnect = Reconnect::standard().reconnection_time(Duration::from_millis(100));
    let mut session = server.open(reconnect.retry_refusals(true)).await.unwrap();
    assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
    assert_eq!(server.waits(), [Duration::from_secs(2); 2]);
}

#[tokio::test(start_paused = true)]
async fn failed_attempts_lengthen_the_wait_and_a_seed_repeats_it() {
    let waits = async |seed| {
        let server = Server::plays([
            stream(""),
            Script::Refuse,
            Script::Refuse,
            Script::Refuse,
            stream(""),
            status(204),
        ]);
        let client = server.client(Reconnect::standard()).jitter_seed(seed);
        let mut session = client.get("http://test/").open().await.unwrap();
        assert_eq!(hear(&mut session).await, (vec![], None));
        server.waits()
    };
    let first = waits(1).await;
    let second = waits(1).await;
    assert_eq!(first, second);
    assert_ne!(first, waits(2).await);
    let seconds = |seconds| Duration::from_secs(seconds);
    // From the end on: at once, then up to twice, four and eight times as long, and at once again.
    for (wait, longest) in first.iter().zip([3, 6, 12, 24, 3].map(seconds)) {
        assert!((seconds(3)..=longest).contains(wait), "{first:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_connection_must_succeed_unless_the_policy_covers_it() {
    let server = Server::plays([Script::Refuse]);
    let reconnect = Reconnect::fixed(5, Duration::ZERO);
    let error = server.open(reconnect).await.unwrap_err();
    assert_eq!((error.kind(), server.requests()), (&ErrorKind::Network, 1));

    let server = Server::plays([Script::Refuse, Script::Refuse, stream("data: a\n\n")]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
}

#[tokio::test(start_paused = true)]
async fn attempts_that_fail_at_once_leave_others_their_turn() {
    let server = Server::plays(vec![Script::Refuse; 1000]);
    let reconnect = Reconnect::fixed(u32::MAX, Duration::ZERO).retry_first_connection(true);
    let mut opening = pin!(server.open(reconnect));
    let polled = poll_fn(|cx| Poll::Ready(opening.as_mut().poll(cx).is_pending()));
    assert!(polled.await);
    assert!(server.requests() <= 32, "{} in one poll", server.requests());
}
