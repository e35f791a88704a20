//! The `before_connect` hook, which may change each attempt.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidings_client::{ErrorKind, Reconnect, SseClient};
use tokio::time::sleep;

use crate::scripted::{Part, Script, Server, parts, read_all, status, stream};

/// Sets a new token for each attempt, after a second.
fn with_tokens(client: SseClient) -> SseClient {
    let tokens = Arc::new(AtomicU32::new(0));
    client.before_connect_with(tokens, async |tokens, mut attempt| {
        sleep(Duration::from_secs(1)).await;
        let token = tokens.fetch_add(1, Ordering::Relaxed);
        attempt.set_bearer(format!("token{token}"))?;
        Ok(attempt)
    })
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_a_fresh_token() {
    let server = Server::plays([Script::Refuse, stream("data: a\n\n"), status(204)]);
    let client = with_tokens(server.client(Reconnect::standard()));
    let request = client.get("http://test/").bearer("stale");
    let mut session = request.open().await.unwrap();
    assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));
    let sent = [["Bearer token0"], ["Bearer token1"], ["Bearer token2"]];
    assert_eq!(server.header("authorization"), sent);
    assert_eq!(server.waits(), [Duration::from_secs(4); 2]);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_token_goes_to_the_named_origin_only() {
    let server = Server::plays([
        Script::Redirect(307, "http://other.test/"),
        stream("data: a\n\n"),
        status(204),
    ]);
    let client = with_tokens(server.client(Reconnect::standard()));
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));
    let urls = ["http://test/", "http://other.test/", "http://other.test/"];
    assert_eq!(server.urls(), urls);
    let sent: [&[&str]; 3] = [&["Bearer token0"], &[], &[]];
    assert_eq!(server.header("authorization"), sent);
}

#[tokio::test(start_paused = true)]
async fn a_hook_may_set_another_url_and_credentials_go_there() {
    let server = Server::plays([
        Script::Redirect(307, "http://a.test/far"),
        stream("data: a\n\n"),
        status(204),
    ]);
    let client = server.client(Reconnect::standard());
    let client = client.before_connect(async |mut attempt| {
        assert_eq!(attempt.url(), "http://test/");
        let url = format!("http://a.test/?ticket={}", attempt.number());
        attempt.set_url(url)?;
        attempt.set_bearer("secret")?;
        Ok(attempt)
    });
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));
    let urls = [
        "http://a.test/?ticket=0",
        "http://a.test/far",
        "http://a.test/?ticket=1",
    ];
    assert_eq!(server.urls(), urls);
    assert_eq!(server.header("authorization"), [["Bearer secret"]; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_header_of_a_hook_that_cannot_be_sent_ends_the_session() {
    for (name, value) in [
        ("last-event-id", "mine"),
        ("content-length", "7"),
        ("transfer-encoding", "chunked"),
    ] {
        let server = Server::plays([stream("id: 1\ndata: a\n\n")]);
        let client = server.client(Reconnect::persistent());
        let client =
            client.before_connect_with((name, value), async |(name, value), mut attempt| {
                if attempt.number() > 0 {
                    attempt.headers_mut().insert(name, value.parse()?);
                }
                Ok(attempt)
            });
        let mut session = client.get("http://test/").open().await.unwrap();
        let (texts, error) = read_all(&mut session).await;
        assert_eq!(texts, ["a"], "{name}");
        assert_eq!(error, Some(ErrorKind::InvalidRequest), "{name}");
        assert_eq!(server.requests(), 1, "{name}");
    }
}

/// A hook that fails, except for the attempts in this list.
fn failing_except(client: SseClient, succeed: &'static [u32]) -> SseClient {
    client.before_connect(async |attempt| match succeed.contains(&attempt.number()) {
        true => Ok(attempt),
        false => Err("no token".into()),
    })
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_an_error_of_the_hook_is_the_error() {
    let server = Server::plays([]);
    for reconnect in [Reconnect::off(), Reconnect::fixed(3, Duration::ZERO)] {
        let client = failing_except(server.client(reconnect), &[]);
        let error = client.get("http://test/").open().await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::BeforeConnect);
        assert!(error.is_retryable());
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "no token");
    }
    assert_eq!(server.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_hook_is_a_failed_attempt() {
    let server = Server::plays([stream("data: a\n\n"), stream("data: b\n\n"), status(204)]);
    let second = Duration::from_secs(1);
    let client = failing_except(server.client(Reconnect::fixed(3, second)), &[0, 2]);
    let mut session = client.get("http://test/").open().await.unwrap();
    let (texts, error) = read_all(&mut session).await;
    // The second outage is as the first: one attempt fails in the hook, and one reaches the server.
    assert_eq!((texts.concat().as_str(), error), ("ab", None));
    assert_eq!(server.waits(), [2 * second; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_always_fails_uses_up_the_attempts() {
    let server = Server::plays([stream("data: a\n\n")]);
    let client = failing_except(server.client(Reconnect::fixed(2, Duration::ZERO)), &[0]);
    let mut session = client.get("http://test/").open().await.unwrap();
    let read = (vec!["a".into()], Some(ErrorKind::BeforeConnect));
    assert_eq!(read_all(&mut session).await, read);
    assert_eq!(
        (session.try_next().await.unwrap(), server.requests()),
        (None, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn under_standard_a_hook_may_fail_for_ever_with_longer_waits() {
    let server = Server::plays([]);
    let calls = Arc::new(AtomicU32::new(0));
    let client = server.client(Reconnect::standard());
    let client = client.before_connect_with(Arc::clone(&calls), async |calls, attempt| {
        assert_eq!(calls.fetch_add(1, Ordering::Relaxed), attempt.number());
        let last = attempt.last_error().map(|error| error.kind().clone());
        let expected = (attempt.number() > 0).then_some(ErrorKind::BeforeConnect);
        assert_eq!(last, expected);
        Err("no token".into())
    });
    let hour = Duration::from_secs(60 * 60);
    let opening = client.get("http://test/").open();
    tidings_testkit::timeout::timeout(hour, opening)
        .await
        .unwrap_err();
    // Between 3 and 30 s each.
    let calls = calls.load(Ordering::Relaxed);
    assert!((120..=1200).contains(&calls), "{calls}");
}

#[tokio::test(start_paused = true)]
async fn a_hook_knows_why_the_last_connection_failed() {
    let server = Server::plays([
        Script::Refuse,
        stream("data: a\n\n"),
        parts(&[Part::Cut]),
        Script::Busy("1"),
        status(204),
    ]);
    let reconnect = Reconnect::standard().retry_refusals(true);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let client = server.client(reconnect);
    let client = client.before_connect_with(Arc::clone(&seen), async |seen, attempt| {
        let error = attempt.last_error().map(|error| error.kind().clone());
        seen.lock().unwrap().push(error);
        Ok(attempt)
    });
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));
    let busy = ErrorKind::Status(http::StatusCode::SERVICE_UNAVAILABLE);
    let expected = [
        None,
        Some(ErrorKind::Connect),
        None,
        Some(ErrorKind::Interrupted),
        Some(busy),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn no_timeout_runs_while_the_hook_does() {
    let server = Server::plays([stream("data: a\n\n")]);
    let client = with_tokens(server.client(Reconnect::off()))
        .response_timeout(Duration::from_millis(100))
        .idle_timeout(Duration::from_millis(100));
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));
}

#[tokio::test(start_paused = true)]
async fn another_url_gets_the_original_method_and_body() {
    let server = Server::plays([
        Script::Redirect(303, "/stream/1"),
        stream("data: a\n\n"),
        status(204),
    ]);
    let client = server.client(Reconnect::standard());
    let client = client.before_connect(async |mut attempt| {
        let url = format!("http://test/chat?ticket={}", attempt.number());
        attempt.set_url(url)?;
        Ok(attempt)
    });
    let request = client.post("http://test/chat").body("prompt");
    let request = request.header("content-type", "text/plain");
    let mut session = request.may_be_repeated(true).open().await.unwrap();
    assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));
    let requests = server.requests.lock().unwrap();
    let seen: Vec<String> = requests
        .iter()
        .map(|(request, _)| {
            format!(
                "{} {} {:?}",
                request.method(),
                request.uri(),
                request.body()
            )
        })
        .collect();
    let expected = [
        "POST http://test/chat?ticket=0 b\"prompt\"",
        "GET http://test/stream/1 b\"\"",
        "POST http://test/chat?ticket=1 b\"prompt\"",
    ];
    assert_eq!(seen, expected);
    let types = requests
        .iter()
        .map(|(request, _)| request.headers().contains_key("content-type"));
    assert_eq!(types.collect::<Vec<_>>(), [true, false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_wait_does_not_start_the_hook_again() {
    let server = Server::plays([stream(""), stream("data: a\n\n")]);
    let client = with_tokens(server.client(Reconnect::fixed(1, Duration::ZERO)));
    let mut session = client.get("http://test/").open().await.unwrap();
    let mut cancelled = 0;
    // The hook takes a second.
    while tidings_testkit::timeout::timeout(Duration::from_millis(300), session.try_next())
        .await
        .is_err()
    {
        cancelled += 1;
    }
    assert_eq!(cancelled, 3);
    let sent = [["Bearer token0"], ["Bearer token1"]];
    assert_eq!(server.header("authorization"), sent);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_session_drops_the_hook() {
    let server = Server::plays([]);
    let held = Arc::new(());
    let client = server.client(Reconnect::off());
    let client = client.before_connect_with(Arc::clone(&held), async |held, attempt| {
        std::future::pending::<()>().await;
        drop(held);
        Ok(attempt)
    });
    let owners = Arc::strong_count(&held);
    let opening = client.get("http://test/").open();
    let soon = Duration::from_millis(1);
    tidings_testkit::timeout::timeout(soon, opening)
        .await
        .unwrap_err();
    assert_eq!(Arc::strong_count(&held), owners);
}
