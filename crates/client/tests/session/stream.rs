//! The events of a session, and its end.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_core::Stream;
use http::StatusCode;
use tidings_client::{Comments, ErrorKind, Lifecycle, Reconnect};
use tidings_testkit::timeout::timeout;

use crate::scripted::{Part, Server, parts, read_all, status, stream};

#[tokio::test(start_paused = true)]
async fn a_stream_is_read_to_its_end() {
    let server = Server::plays([stream(
        "data: a\n\nevent: b\nid: 1\ndata: c\n\ndata: unfinished",
    )]);
    let mut session = server.open(Reconnect::off()).await.unwrap();
    assert_eq!(session.response().unwrap().status, StatusCode::OK);
    assert_eq!(
        read_all(&mut session).await,
        (vec!["a".into(), "c".into()], None)
    );
    assert_eq!(session.last_event_id().unwrap(), "1");
    assert_eq!(
        session.try_next().await.unwrap(),
        None,
        "it stays at its end"
    );
    assert_eq!(server.open_bodies.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_a_cut_is_an_error_once() {
    let server = Server::plays([parts(&[Part::Bytes(b"data: a\n\n"), Part::Cut])]);
    let mut session = server.open(Reconnect::off()).await.unwrap();
    assert_eq!(session.next().await.unwrap().unwrap().text(), "a");
    let error = session.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Interrupted);
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "cut"
    );
    assert!(session.next().await.is_none());
    assert!(session.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn until_drops_the_last_event_and_an_earlier_end_is_an_error() {
    let open = async |server: &Server, reconnect| {
        let request = server.client(reconnect).get("http://test/");
        request
            .until(|event| event.text() == "[DONE]")
            .open()
            .await
            .unwrap()
    };
    let server = Server::plays([stream("data: a\n\ndata: [DONE]\n\ndata: b\n\n")]);
    let mut session = open(&server, Reconnect::standard()).await;
    assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));
    assert_eq!(
        (session.try_next().await.unwrap(), server.requests()),
        (None, 1)
    );

    let server = Server::plays([stream("data: a\n\n")]);
    let mut session = open(&server, Reconnect::off()).await;
    assert_eq!(
        read_all(&mut session).await,
        (vec!["a".into()], Some(ErrorKind::Interrupted))
    );

    let server = Server::plays([stream("data: a\n\n"), stream("data: b\n\ndata: [DONE]\n\n")]);
    let mut session = open(&server, Reconnect::standard()).await;
    assert_eq!(
        read_all(&mut session).await,
        (vec!["a".into(), "b".into()], None)
    );
}

#[tokio::test(start_paused = true)]
async fn no_content_is_a_session_without_events() {
    let server = Server::plays([status(204)]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    assert_eq!(session.try_next().await.unwrap(), None);
    assert_eq!(server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_wait_loses_nothing() {
    let server = Server::plays([
        parts(&[
            Part::Bytes(b"data: a\n\ndata: b\n\nda"),
            Part::Pause,
            Part::Bytes(b"ta: c\n\n"),
        ]),
        status(204),
    ]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    let mut read = String::new();
    while read != "abc" {
        // The pause has no waker, so only the timeout ends the wait.
        if let Ok(event) = timeout(Duration::from_millis(1), session.try_next()).await {
            read.push_str(event.unwrap().unwrap().text());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn closing_and_dropping_close_the_connection() {
    let server = Server::plays([parts(&[
        Part::Bytes(b"data: a\n\ndata: b\n\n"),
        Part::Stall,
    ])]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    session.try_next().await.unwrap().unwrap();
    session.close();
    assert_eq!(server.open_bodies.load(Ordering::SeqCst), 0);
    assert_eq!(
        session.try_next().await.unwrap(),
        None,
        "no event is read after close"
    );

    let server = Server::plays([parts(&[Part::Stall])]);
    let session = server.open(Reconnect::standard()).await.unwrap();
    assert_eq!(server.open_bodies.load(Ordering::SeqCst), 1);
    drop(session);
    assert_eq!(server.open_bodies.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_over_the_limit_ends_the_session() {
    let server = Server::plays([stream("data: a\n\ndata: 0123456789\n\ndata: b\n\n")]);
    let client = server.client(Reconnect::standard()).max_event_bytes(10);
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(
        read_all(&mut session).await,
        (vec!["a".into()], Some(ErrorKind::EventTooLarge))
    );
    assert_eq!(server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn comment_and_retry_events_are_delivered_if_asked_for() {
    const STREAM: &str = "id: 1\ndata: a\n\n: only\n\nretry: 5\n\n: with\ndata: b\n\n";
    let read = async |comments, show: bool| {
        let server = Server::plays([stream(STREAM)]);
        let client = server.client(Reconnect::off());
        let client = client.comments(comments).show_retry_events(show);
        let mut session = client.get("http://test/").open().await.unwrap();
        let mut read = Vec::new();
        while let Some(event) = session.try_next().await.unwrap() {
            read.push((event.data, event.comments, event.retry.is_some()));
        }
        read
    };
    let text = |text: &str| Some(text.to_owned());
    let (a, b) = ((text("a"), None, false), (text("b"), text("with"), false));
    let hidden = read(Comments::Attached, false);
    assert_eq!(hidden.await, [a.clone(), b.clone()]);
    assert_eq!(
        read(Comments::Shown, true).await,
        [a, (None, text("only"), false), (None, None, true), b]
    );
}

#[tokio::test(start_paused = true)]
async fn immediate_comments_wait_for_no_empty_line() {
    let script = parts(&[
        Part::Bytes(b"id: 1\ndata: a\n:in\n\n:a\n: b\n"),
        Part::Stall,
    ]);
    let server = Server::plays([script]);
    let client = server
        .client(Reconnect::off())
        .comments(Comments::Immediate);
    let mut session = client.get("http://test/").open().await.unwrap();
    let mut read = Vec::new();
    for _ in 0..4 {
        let next = timeout(Duration::from_secs(60), session.try_next());
        let event = next.await.unwrap().unwrap().unwrap();
        read.push((event.data, event.comments));
    }
    let comment = |text: &str| (None, Some(text.to_owned()));
    let data = (Some("a".to_owned()), None);
    assert_eq!(read, [comment("in"), data, comment("a"), comment("b")]);
}

/// A request that ends with an event named `done`, inclusive.
async fn open_until_done(server: &Server, reconnect: Reconnect) -> tidings_client::Session {
    let request = server.client(reconnect).get("http://test/");
    let request = request.until_inclusive(|event| event.event_type() == "done");
    request.open().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn until_inclusive_delivers_the_last_event_and_closes_the_connection() {
    let server = Server::plays([parts(&[
        Part::Bytes(b"data: a\n\nid: 7\nevent: done\ndata: b\n\ndata: c\n\n"),
        Part::Stall,
    ])]);
    let mut session = open_until_done(&server, Reconnect::standard()).await;
    for text in ["a", "b"] {
        assert_eq!(session.try_next().await.unwrap().unwrap().text(), text);
    }
    assert_eq!(server.open_bodies.load(Ordering::SeqCst), 0);
    assert_eq!(session.try_next().await.unwrap(), None);
    assert_eq!(session.last_event_id().unwrap(), "7");
    assert_eq!(server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn until_inclusive_reports_a_stream_that_ends_or_breaks_before() {
    for script in [
        stream("data: a\n\nevent: done\ndata: unfinished"),
        parts(&[Part::Bytes(b"data: a\n\nevent: done\ndata: b\n"), Part::Cut]),
        // The last event without data is no event.
        stream("data: a\n\nevent: done\n\n"),
    ] {
        let server = Server::plays([script]);
        let mut session = open_until_done(&server, Reconnect::off()).await;
        let interrupted = (vec!["a".into()], Some(ErrorKind::Interrupted));
        assert_eq!(read_all(&mut session).await, interrupted);
    }
    let server = Server::plays([parts(&[Part::Cut]), stream("event: done\ndata: b\n\n")]);
    let mut session = open_until_done(&server, Reconnect::standard()).await;
    assert_eq!(read_all(&mut session).await, (vec!["b".into()], None));
}

#[tokio::test(start_paused = true)]
async fn an_early_end_and_a_cut_have_one_kind_and_their_own_source() {
    let sources = [
        (
            stream(""),
            "the server ended the stream before the event that `until` waits for",
        ),
        (parts(&[Part::Cut]), "cut"),
    ];
    for (script, source) in sources {
        let server = Server::plays([script]);
        let mut session = open_until_done(&server, Reconnect::off()).await;
        let error = session.try_next().await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Interrupted);
        assert_eq!(error.to_string(), "the stream from test:80 was interrupted");
        assert_eq!(
            std::error::Error::source(&error).unwrap().to_string(),
            source
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_a_stream_that_ends() {
    let server = Server::plays([parts(&[Part::Bytes(b"data: a\n\ndata: b\n\n"), Part::Cut])]);
    let mut session = server.open(Reconnect::off()).await.unwrap();
    let mut items = Vec::new();
    while let Some(item) = poll_fn(|cx| Pin::new(&mut session).poll_next(cx)).await {
        items.push(item.map_or_else(|_| "error".into(), |event| event.text().to_owned()));
    }
    assert_eq!(items, ["a", "b", "error"]);
    assert!(session.next().await.is_none());
}

#[test]
fn a_session_can_move_between_threads() {
    fn is_send<T: Send>(_: T) {}
    is_send(
        Server::default()
            .client(Reconnect::off())
            .get("http://test/")
            .open(),
    );
}

/// A stream whose large event has no ID of its own.
const WITHOUT_ID: &str = "data: xxxxxxxxxxxxxxxxxxxx\n\ndata: d\n\n";

/// A stream with a large event between two small ones.
const LARGE_EVENT: &str = "id: 1\ndata: a\n\ndata: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n\
                           id: 2\n\ndata: c\n\n";

#[tokio::test(start_paused = true)]
async fn an_event_over_the_limit_ends_the_session_with_its_size_and_the_id_before_it() {
    let server = Server::plays([stream(LARGE_EVENT)]);
    let client = server.client(Reconnect::standard()).max_event_bytes(20);
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
    let error = session.try_next().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::EventTooLarge);
    assert_eq!(error.last_event_id().unwrap(), "1");
    let source = std::error::Error::source(&error).unwrap();
    let source: &tidings_client::EventTooLarge = source.downcast_ref().unwrap();
    assert_eq!((source.limit(), source.size()), (20, 56));
    assert_eq!(source.last_event_id().unwrap(), "1");
}

#[tokio::test(start_paused = true)]
async fn a_large_event_is_skipped_if_asked_for_and_a_reconnection_resumes_after_it() {
    for dedupe in [false, true] {
        let server = Server::plays([stream(LARGE_EVENT), stream(WITHOUT_ID), status(204)]);
        let steps = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&steps);
        let client = server
            .client(Reconnect::standard())
            .max_event_bytes(20)
            .skip_large_events(true)
            .dedupe(dedupe)
            .on_lifecycle(move |step| {
                if let Lifecycle::Skipped { size, limit, id } = step {
                    let id = id.map(|id| id.as_str().to_owned());
                    noted.lock().unwrap().push((size, limit, id));
                }
            });
        let mut session = client.get("http://test/").open().await.unwrap();
        assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
        assert!(steps.lock().unwrap().is_empty());
        let event = session.try_next().await.unwrap().unwrap();
        assert_eq!((event.text(), event.id.as_deref()), ("c", Some("2")));
        let skipped = |size| (size, 20, Some("2".to_owned()));
        assert_eq!(*steps.lock().unwrap(), [skipped(61)]);
        assert_eq!(read_all(&mut session).await, (vec!["d".into()], None));
        assert_eq!(*steps.lock().unwrap(), [skipped(61), skipped(26)]);
        let sent: [&[&str]; 3] = [&[], &["2"], &["2"]];
        assert_eq!(server.header("last-event-id"), sent);
    }
}

#[tokio::test(start_paused = true)]
async fn with_dedupe_a_skipped_event_that_is_repeated_is_reported_once() {
    const LARGE: &str = "id: e.1.AAAA\ndata: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n\n\
                         id: e.2.BBBB\ndata: b\n\n";
    let server = Server::plays([stream(LARGE), stream(LARGE), status(204)]);
    let count = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&count);
    let client = server
        .client(Reconnect::standard())
        .max_event_bytes(20)
        .skip_large_events(true)
        .dedupe(true)
        .on_lifecycle(move |step| {
            *counted.lock().unwrap() += u32::from(matches!(step, Lifecycle::Skipped { .. }));
        });
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(read_all(&mut session).await.0, ["b"]);
    assert_eq!(*count.lock().unwrap(), 1);
}
