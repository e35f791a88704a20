//! `retry_unauthorized`: a 401 runs the hook and the request again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::StatusCode;
use tidings_client::{ErrorKind, Reconnect, SseClient};

use crate::scripted::{Part, Script, Server, parts, read_all, status, stream};

const UNAUTHORIZED: ErrorKind = ErrorKind::Status(StatusCode::UNAUTHORIZED);

/// A hook that renews its token only if the last one was refused, and counts its calls.
fn with_tokens(client: SseClient) -> (SseClient, Arc<AtomicU32>) {
    let calls = Arc::new(AtomicU32::new(0));
    let client = client.before_connect_with(
        (Arc::clone(&calls), Arc::new(AtomicU32::new(0))),
        async |(calls, token), mut attempt| {
            calls.fetch_add(1, Ordering::Relaxed);
            let error = attempt.last_error().map(|error| error.kind());
            if error == Some(&UNAUTHORIZED) {
                token.fetch_add(1, Ordering::Relaxed);
            }
            attempt.set_bearer(format!("token{}", token.load(Ordering::Relaxed)))?;
            Ok(attempt)
        },
    );
    (client, calls)
}

#[tokio::test(start_paused = true)]
async fn a_401_runs_the_hook_again_at_once_under_any_policy() {
    for reconnect in [Reconnect::off(), Reconnect::standard()] {
        let server = Server::plays([status(401), stream("data: a\n\n"), status(204)]);
        let (client, _) = with_tokens(server.client(reconnect));
        let request = client.post("http://test/").retry_unauthorized(1);
        let mut session = request.open().await.unwrap();
        assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
        let sent = [["Bearer token0"], ["Bearer token1"]];
        assert_eq!(server.header("authorization"), sent);
        assert_eq!(server.waits(), [Duration::ZERO]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_401_in_a_row_is_retried_at_most_n_times() {
    for times in [0, 1, 3] {
        let server = Server::plays(vec![status(401); 1 + times as usize]);
        let (client, calls) = with_tokens(server.client(Reconnect::persistent()));
        let request = client.get("http://test/").retry_unauthorized(times);
        let error = request.open().await.unwrap_err();
        assert_eq!(error.kind(), &UNAUTHORIZED);
        assert_eq!(error.response().unwrap().status(), 401);
        assert_eq!(calls.load(Ordering::Relaxed), 1 + times);
        assert_eq!(server.requests(), 1 + times as usize);
        // Only the first retry is immediate.
        let waits = server.waits();
        assert!(waits.iter().take(1).all(Duration::is_zero), "{waits:?}");
        let second = Duration::from_secs(1);
        assert!(
            waits.iter().skip(1).all(|wait| *wait >= 3 * second),
            "{waits:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_and_an_attempt_of_the_policy_end_a_row() {
    let server = Server::plays([status(401), Script::Refuse, status(401), status(401)]);
    let (client, _) = with_tokens(server.client(Reconnect::standard()));
    let request = client.get("http://test/").retry_unauthorized(1);
    assert_eq!(request.open().await.unwrap_err().kind(), &UNAUTHORIZED);

    let server = Server::plays([
        status(401),
        stream("data: a\n\n"),
        status(401),
        parts(&[Part::Bytes(b"data: b\n\n"), Part::Cut]),
        status(204),
    ]);
    let (client, _) = with_tokens(server.client(Reconnect::standard()));
    let request = client.get("http://test/").retry_unauthorized(1);
    let mut session = request.open().await.unwrap();
    let read = (vec!["a".into(), "b".into()], None);
    assert_eq!(read_all(&mut session).await, read);
    let second = Duration::from_secs(1);
    assert_eq!(server.waits(), [0, 3, 0, 3].map(|n| n * second));
}

#[tokio::test(start_paused = true)]
async fn without_a_hook_a_401_is_not_retried() {
    let server = Server::plays([status(401)]);
    let client = server.client(Reconnect::standard()).retry_unauthorized(5);
    let error = client.get("http://test/").open().await.unwrap_err();
    assert_eq!(error.kind(), &UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn a_401_after_a_redirect_begins_at_the_named_url_again() {
    let server = Server::plays([
        Script::Redirect(307, "/b"),
        status(401),
        Script::Redirect(307, "/c"),
        stream("data: a\n\n"),
    ]);
    let (client, _) = with_tokens(server.client(Reconnect::off()));
    let request = client.get("http://test/a").retry_unauthorized(1);
    let mut session = request.last_event_id(7).open().await.unwrap();
    assert_eq!(read_all(&mut session).await.0, ["a"]);
    let urls = ["/a", "/b", "/a", "/c"].map(|path| format!("http://test{path}"));
    assert_eq!(server.urls(), urls);
    assert_eq!(server.header("last-event-id"), [["7"]; 4]);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_after_a_401_is_a_failed_attempt() {
    let server = Server::plays([status(401)]);
    let client = server.client(Reconnect::off()).retry_unauthorized(9);
    let client = client.before_connect(async |attempt| match attempt.last_error() {
        None => Ok(attempt),
        Some(_) => Err("logged out".into()),
    });
    let error = client.get("http://test/").open().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::BeforeConnect);
    assert_eq!(server.requests(), 1);
}
