//! When a session reconnects, and which event it resumes after.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use http::StatusCode;
use tidings_client::{Comments, ErrorKind, EventId, Reconnect, SseClient};

use crate::scripted::{Script, Server, read_all, status, stream};

#[tokio::test(start_paused = true)]
async fn a_session_resumes_after_the_last_event_read() {
    let server = Server::plays([
        stream("id: 1\ndata: a\n\nid: 2\ndata: unfinished\n"),
        stream("data: b\n\n"),
        stream("id: größe…\ndata: c\n\n"),
        stream("id:\ndata: d\n\n"),
        stream("data: e\n\n"),
        status(204),
    ]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    let (texts, error) = read_all(&mut session).await;
    assert_eq!((texts.join(""), error), ("abcde".into(), None));
    let sent: [&[&str]; 6] = [&[], &["1"], &["1"], &["größe…"], &[], &[]];
    assert_eq!(server.header("last-event-id"), sent);
    assert_eq!(server.waits(), [Duration::from_secs(3); 5]);
}

#[tokio::test(start_paused = true)]
async fn a_session_resumes_after_the_id_of_its_request() {
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
async fn an_id_is_sent_as_it_was_received() {
    let longest = "7".repeat(8 * 1024);
    for id in ["a\tb", " a", "a  ", "größe…", longest.as_str()] {
        let server = Server::plays([
            stream(format!("id: {id}\ndata: a\n\n").leak()),
            Script::Redirect(307, "/next"),
            status(204),
        ]);
        let mut session = server.open(Reconnect::standard()).await.unwrap();
        assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));
        let sent: [&[&str]; 3] = [&[], &[id], &[id]];
        assert_eq!(server.header("last-event-id"), sent);
    }
}

#[tokio::test(start_paused = true)]
async fn the_server_names_the_reconnection_time() {
    let server = Server::plays([
        stream("retry: 1500\n"),
        stream("retry: 0\ndata: a\n\n"),
        stream("retry: -5\ndata: b\n\n"),
        status(204),
    ]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    assert_eq!(read_all(&mut session).await.0, ["a", "b"]);
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
    let (texts, error) = read_all(&mut session).await;
    assert_eq!(
        (texts.join(""), error),
        ("ab".into(), Some(ErrorKind::Connect))
    );
    assert_eq!(server.waits(), [Duration::from_secs(1); 4]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_sends_no_event_exhausts_the_attempts() {
    for body in ["", "retry: 1000\n\n", "<!doctype html>\n<html>\n</html>\n"] {
        let server = Server::plays(vec![stream(body); 6]);
        let reconnect = Reconnect::fixed(5, Duration::from_secs(1));
        let mut session = server.open(reconnect).await.unwrap();
        let error = session.try_next().await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::OutOfAttempts);
        let message = "test:80 ended the stream, and the policy allows no further attempt";
        assert_eq!(error.to_string(), message);
        assert!(error.is_retryable());
        assert_eq!(server.waits(), [Duration::from_secs(1); 5]);
        assert_eq!(read_all(&mut session).await, (vec![], None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_may_ask_the_client_to_come_back_later() {
    let server = Server::plays([
        stream("retry: 5000\n\n"),
        stream("retry: 40000\n\n"),
        stream("data: a\n\n"),
    ]);
    let mut session = server.open(Reconnect::persistent()).await.unwrap();
    assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
    assert_eq!(server.waits(), [5, 40].map(Duration::from_secs));

    // Under the default policy a clean end is the end.
    let server = Server::plays([stream("retry: 5000\n\n")]);
    let mut session = server.open(Reconnect::off()).await.unwrap();
    assert_eq!(read_all(&mut session).await, (vec![], None));
}

#[tokio::test(start_paused = true)]
async fn a_comment_ends_an_outage() {
    let server = Server::plays([
        stream(""),
        stream(":\n"),
        stream(""),
        stream("id: 1\n\n"),
        status(204),
    ]);
    let reconnect = Reconnect::fixed(2, Duration::from_secs(1));
    let client = server.client(reconnect).comments(Comments::Skipped);
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(read_all(&mut session).await, (vec![], None));
    assert_eq!(server.requests(), 5);
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
    let read = (vec!["a".into(), "b".into()], Some(ErrorKind::Connect));
    assert_eq!(read_all(&mut session).await, read);
    assert_eq!(server.waits(), [Duration::from_secs(2); 4]);

    let server = lossy();
    let client = SseClient::over(server.clone()).max_reconnection_attempts(2);
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(read_all(&mut session).await, read);
    assert_eq!(server.waits(), [Duration::from_secs(3); 4]);

    // Without a number of attempts, the default policy allows none.
    let server = lossy();
    let client = SseClient::over(server.clone()).reconnection_time(Duration::ZERO);
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));
    assert_eq!(server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_received_id_replaces_one_set_by_hand() {
    let server = Server::plays([
        stream("data: a\n\n"),
        stream("id: 8\ndata: b\n\n"),
        status(204),
    ]);
    let request = server.client(Reconnect::standard()).get("http://test/");
    let request = request.header("Last-Event-ID", "7");
    let mut session = request.open().await.unwrap();
    assert_eq!(read_all(&mut session).await.0, ["a", "b"]);
    assert_eq!(server.header("last-event-id"), [["7"], ["7"], ["8"]]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_id_is_never_sent() {
    let server = Server::plays([
        stream("data: a\n\n"),
        stream("id: 1\ndata: b\n\n"),
        stream("id\ndata: c\n\n"),
        status(204),
    ]);
    let request = server.client(Reconnect::standard()).get("http://test/");
    let request = request.header("Last-Event-ID", "");
    let mut session = request.open().await.unwrap();
    assert_eq!(read_all(&mut session).await.0, ["a", "b", "c"]);
    let sent: [&[&str]; 4] = [&[], &[], &["1"], &[]];
    assert_eq!(server.header("last-event-id"), sent);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_never_repeated() {
    for (script, kind, message) in [
        (
            status(404),
            ErrorKind::Status(StatusCode::NOT_FOUND),
            "expected status 200, but test:80 answered 404 Not Found",
        ),
        (
            status(302),
            ErrorKind::Status(StatusCode::FOUND),
            "expected status 200, but test:80 answered 302 Found",
        ),
        (
            Script::Answer {
                status: 200,
                content_type: Some("text/plain"),
                body: Vec::new(),
            },
            ErrorKind::ContentType(Some("text/plain".into())),
            "expected text/event-stream, but test:80 sent \"text/plain\"; \
             read_media_type reads other types",
        ),
        (
            Script::Answer {
                status: 200,
                content_type: None,
                body: Vec::new(),
            },
            ErrorKind::ContentType(None),
            "expected text/event-stream, but test:80 named no content type; \
             read_any_media_type and open_or_response accept such a response",
        ),
        (
            Script::Unsendable,
            ErrorKind::InvalidRequest,
            "the request cannot be sent: its URL, a header or a setting is invalid",
        ),
    ] {
        let server = Server::plays([script]);
        let error = server.open(Reconnect::standard()).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (&kind, message));
        assert_eq!(server.requests(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_is_obeyed() {
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
            stream(":\n"),
            status(204),
        ]);
        let client = server.client(Reconnect::standard()).jitter_seed(seed);
        let mut session = client.get("http://test/").open().await.unwrap();
        assert_eq!(read_all(&mut session).await, (vec![], None));
        server.waits()
    };
    let first = waits(1).await;
    let second = waits(1).await;
    assert_eq!(first, second);
    assert_ne!(first, waits(2).await);
    let seconds = |seconds| Duration::from_secs(seconds);
    // After the end 3 s, then up to twice, four and eight times that, and after the next end 3 s.
    for (wait, longest) in first.iter().zip([3, 6, 12, 24, 3].map(seconds)) {
        assert!((seconds(3)..=longest).contains(wait), "{first:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_connection_must_succeed_unless_the_policy_covers_it() {
    let server = Server::plays([Script::Refuse]);
    let reconnect = Reconnect::fixed(5, Duration::ZERO);
    let error = server.open(reconnect).await.unwrap_err();
    assert_eq!((error.kind(), server.requests()), (&ErrorKind::Connect, 1));

    let server = Server::plays([Script::Refuse, Script::Refuse, stream("data: a\n\n")]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
}

#[tokio::test(start_paused = true)]
async fn attempts_that_fail_at_once_yield_to_other_work() {
    let server = Server::plays(vec![Script::Refuse; 1000]);
    let reconnect = Reconnect::fixed(u32::MAX, Duration::ZERO).retry_first_connection(true);
    let mut opening = pin!(server.open(reconnect));
    let polled = poll_fn(|cx| Poll::Ready(opening.as_mut().poll(cx).is_pending()));
    assert!(polled.await);
    assert!(server.requests() <= 32, "{} in one poll", server.requests());
}

#[tokio::test(start_paused = true)]
async fn a_last_event_id_may_be_text_a_number_or_an_id() {
    let id = EventId::from_static("d");
    let server = Server::plays(vec![stream(""); 5]);
    let client = server.client(Reconnect::off());
    let request = || client.get("http://test/");
    request().last_event_id("a").open().await.unwrap();
    let text = String::from("b");
    request().last_event_id(text).open().await.unwrap();
    request().last_event_id(3_u64).open().await.unwrap();
    request().last_event_id(&id).open().await.unwrap();
    request().last_event_id(id).open().await.unwrap();
    let sent = [["a"], ["b"], ["3"], ["d"], ["d"]];
    assert_eq!(server.header("last-event-id"), sent);

    let invalid = client.get("http://test/").last_event_id("two\nlines");
    let error = invalid.open().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::InvalidRequest);
    assert_eq!(server.requests(), 5);
}

#[tokio::test(start_paused = true)]
async fn numbers_edit_the_policy_whichever_comes_first() {
    let second = Duration::from_secs(1);
    let policy = Reconnect::fixed(1, 9 * second);
    let edits: [fn(SseClient, Reconnect) -> SseClient; 2] = [
        |client, policy| {
            let client = client.max_reconnection_attempts(2);
            let client = client.reconnection_time(Duration::from_secs(1));
            client.reconnect(policy)
        },
        |client, policy| {
            let client = client.reconnect(policy).max_reconnection_attempts(2);
            client.reconnection_time(Duration::from_secs(1))
        },
    ];
    for edit in edits {
        let server = Server::plays([stream(""), Script::Refuse, Script::Refuse]);
        let client = edit(SseClient::over(server.clone()), policy.clone());
        let mut session = client.get("http://test/").open().await.unwrap();
        let failed = (vec![], Some(ErrorKind::Connect));
        assert_eq!(read_all(&mut session).await, failed);
        assert_eq!(server.waits(), [second; 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_of_a_request_replaces_the_numbers_of_its_client() {
    let second = Duration::from_secs(1);
    let server = Server::plays([stream(""), Script::Refuse]);
    let client = server.client(Reconnect::off());
    let client = client
        .max_reconnection_attempts(9)
        .reconnection_time(9 * second);
    let request = client
        .get("http://test/")
        .reconnect(Reconnect::fixed(1, second));
    let mut session = request.open().await.unwrap();
    let failed = (vec![], Some(ErrorKind::Connect));
    assert_eq!(read_all(&mut session).await, failed);
    assert_eq!(server.waits(), [second]);
}
