//! What is heard, and how it ends.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_core::Stream;
use http::StatusCode;
use tidings_client::{ErrorKind, Reconnect};
use tokio::time::timeout;

use crate::scripted::{Part, Server, hear, parts, status, stream};

#[tokio::test(start_paused = true)]
async fn a_stream_is_heard_to_its_end() {
    let server = Server::plays([stream(
        "data: a\n\nevent: b\nid: 1\ndata: c\n\ndata: unfinished",
    )]);
    let mut session = server.open(Reconnect::off()).await.unwrap();
    assert_eq!(session.response().unwrap().status, StatusCode::OK);
    assert_eq!(
        hear(&mut session).await,
        (vec!["a".into(), "c".into()], None)
    );
    assert_eq!(session.last_event_id().unwrap(), "1");
    assert_eq!(
        session.try_next().await.unwrap(),
        None,
        "and stays at its end"
    );
    assert_eq!(server.open_bodies.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_a_cut_is_an_error_once() {
    let server = Server::plays([parts(&[Part::Bytes(b"data: a\n\n"), Part::Cut])]);
    let mut session = server.open(Reconnect::off()).await.unwrap();
    assert_eq!(session.next().await.unwrap().unwrap().text(), "a");
    let error = session.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Network);
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "cut"
    );
    assert!(session.next().await.is_none());
    assert!(session.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_event_that_ends_a_stream_is_not_heard_and_an_end_before_it_is_an_error() {
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
    assert_eq!(hear(&mut session).await, (vec!["a".into()], None));
    assert_eq!(
        (session.try_next().await.unwrap(), server.requests()),
        (None, 1)
    );

    let server = Server::plays([stream("data: a\n\n")]);
    let mut session = open(&server, Reconnect::off()).await;
    assert_eq!(
        hear(&mut session).await,
        (vec!["a".into()], Some(ErrorKind::EndedEarly))
    );

    let server = Server::plays([stream("data: a\n\n"), stream("data: b\n\ndata: [DONE]\n\n")]);
    let mut session = open(&server, Reconnect::standard()).await;
    assert_eq!(
        hear(&mut session).await,
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
async fn a_wait_that_is_cancelled_loses_nothing() {
    let server = Server::plays([
        parts(&[
            Part::Bytes(b"data: a\n\ndata: b\n\nda"),
            Part::Stall,
            Part::Bytes(b"ta: c\n\n"),
        ]),
        status(204),
    ]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    let mut heard = String::new();
    while heard != "abc" {
        // The stalled part is pending without a waker: only the timeout goes on.
        if let Ok(event) = timeout(Duration::from_millis(1), session.try_next()).await {
            heard.push_str(event.unwrap().unwrap().text());
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
        "nothing is heard after close"
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
        hear(&mut session).await,
        (vec!["a".into()], Some(ErrorKind::EventTooLarge))
    );
    assert_eq!(server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn comment_and_retry_events_are_heard_when_asked_for() {
    const STREAM: &str = "id: 1\ndata: a\n\n: only\n\nretry: 5\n\n: with\ndata: b\n\n";
    let heard = async |show: bool| {
        let server = Server::plays([stream(STREAM)]);
        let client = server.client(Reconnect::off());
        let client = client.show_comment_events(show).show_retry_events(show);
        let mut session = client.get("http://test/").open().await.unwrap();
        let mut heard = Vec::new();
        while let Some(event) = session.try_next().await.unwrap() {
            heard.push((event.data, event.comments, event.retry.is_some()));
        }
        heard
    };
    let text = |text: &str| Some(text.to_owned());
    let (a, b) = ((text("a"), None, false), (text("b"), text("with"), false));
    assert_eq!(heard(false).await, [a.clone(), b.clone()]);
    assert_eq!(
        heard(true).await,
        [a, (None, text("only"), false), (None, None, true), b]
    );
}

#[tokio::test(start_paused = true)]
async fn comments_at_once_wait_for_no_empty_line() {
    let script = parts(&[
        Part::Bytes(b"id: 1\ndata: a\n:in\n\n:a\n: b\n"),
        Part::Stall,
    ]);
    for show in [false, true] {
        let server = Server::plays([script.clone()]);
        let client = server.client(Reconnect::off()).comments_at_once(true);
        let request = client.get("http://test/").show_comment_events(show);
        let mut session = request.open().await.unwrap();
        let mut heard = Vec::new();
        for _ in 0..4 {
            let next = timeout(Duration::from_secs(60), session.try_next());
            let event = next.await.unwrap().unwrap().unwrap();
            heard.push((event.data, event.comments));
        }
        let comment = |text: &str| (None, Some(text.to_owned()));
        let data = (Some("a".to_owned()), None);
        assert_eq!(heard, [comment("in"), data, comment("a"), comment("b")]);
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
