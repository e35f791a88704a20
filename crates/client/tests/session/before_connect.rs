//! The hook that may change each attempt.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tidings_client::{ErrorKind, Reconnect, SseClient};
use tokio::time::sleep;

use crate::scripted::{Script, Server, hear, status, stream};

/// A new token for each attempt, after a second.
fn with_tokens(client: SseClient) -> SseClient {
    let tokens = Arc::new(AtomicU32::new(0));
    client.before_connect(move |mut attempt| {
        let tokens = Arc::clone(&tokens);
        async move {
            sleep(Duration::from_secs(1)).await;
            let token = tokens.fetch_add(1, Ordering::Relaxed);
            attempt.set_bearer(format!("token{token}"))?;
            Ok(attempt)
        }
    })
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_a_fresh_token() {
    let server = Server::plays([Script::Refuse, stream("data: a\n\n"), status(204)]);
    let client = with_tokens(server.client(Reconnect::standard()));
    let request = client.get("http://test/").bearer("stale");
    let mut session = request.open().await.unwrap();
    assert_eq!(hear(&mut session).await, (vec!["a".into()], None));
    let sent = [["Bearer token0"], ["Bearer token1"], ["Bearer token2"]];
    assert_eq!(server.header("authorization"), sent);
    assert_eq!(server.waits(), [Duration::from_secs(4); 2]);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_token_stays_where_the_caller_named() {
    let server = Server::plays([
        Script::Redirect(307, "http://other.test/"),
        stream("data: a\n\n"),
        status(204),
    ]);
    let client = with_tokens(server.client(Reconnect::standard()));
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(hear(&mut session).await, (vec!["a".into()], None));
    let urls = ["http://test/", "http://other.test/", "http://other.test/"];
    assert_eq!(server.urls(), urls);
    let sent: [&[&str]; 3] = [&["Bearer token0"], &[], &[]];
    assert_eq!(server.header("authorization"), sent);
}

#[tokio::test(start_paused = true)]
async fn it_may_name_another_url_and_credentials_go_there() {
    let server = Server::plays([
        Script::Redirect(307, "http://a.test/far"),
        stream("data: a\n\n"),
        status(204),
    ]);
    let client = server.client(Reconnect::standard());
    let client = client.before_connect(|mut attempt| async move {
        assert_eq!(attempt.url(), "http://test/");
        let url = format!("http://a.test/?ticket={}", attempt.number());
        attempt.set_url(url)?;
        attempt.set_bearer("secret")?;
        Ok(attempt)
    });
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(hear(&mut session).await, (vec!["a".into()], None));
    let urls = [
        "http://a.test/?ticket=0",
        "http://a.test/far",
        "http://a.test/?ticket=1",
    ];
    assert_eq!(server.urls(), urls);
    assert_eq!(server.header("authorization"), [["Bearer secret"]; 3]);
}

#[tokio::test(start_paused = true)]
async fn what_the_session_sends_is_not_the_hooks() {
    let server = Server::plays([stream("id: 1\ndata: a\n\n"), status(204)]);
    let client = server.client(Reconnect::standard());
    let client = client.before_connect(|mut attempt| async move {
        for name in ["accept", "cache-control", "last-event-id"] {
            let headers = attempt.headers_mut();
            headers.append(name, "mine".parse()?);
        }
        Ok(attempt)
    });
    let mut session = client.get("http://test/").open().await.unwrap();
    hear(&mut session).await;
    assert_eq!(server.header("accept"), [["text/event-stream"]; 2]);
    assert_eq!(server.header("cache-control"), [["no-cache"]; 2]);
    let ids: [&[&str]; 2] = [&[], &["1"]];
    assert_eq!(server.header("last-event-id"), ids);
}

#[tokio::test(start_paused = true)]
async fn its_error_ends_the_session() {
    let server = Server::plays([]);
    let client = server.client(Reconnect::standard());
    let client = client.before_connect(|_| async { Err("no token".into()) });
    let error = client.get("http://test/").open().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::BeforeConnect);
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "no token");
}

#[tokio::test(start_paused = true)]
async fn no_timeout_counts_while_it_runs() {
    let server = Server::plays([stream("data: a\n\n")]);
    let client = with_tokens(server.client(Reconnect::off()))
        .response_timeout(Duration::from_millis(100))
        .idle_timeout(Duration::from_millis(100));
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(hear(&mut session).await, (vec!["a".into()], None));
}

#[tokio::test(start_paused = true)]
async fn another_url_is_asked_as_the_first_was() {
    let server = Server::plays([
        Script::Redirect(303, "/stream/1"),
        stream("data: a\n\n"),
        status(204),
    ]);
    let client = server.client(Reconnect::standard());
    let client = client.before_connect(|mut attempt| async move {
        let url = format!("http://test/chat?ticket={}", attempt.number());
        attempt.set_url(url)?;
        Ok(attempt)
    });
    let request = client.post("http://test/chat").body("prompt");
    let request = request.header("content-type", "text/plain");
    let mut session = request.may_be_repeated().open().await.unwrap();
    assert_eq!(hear(&mut session).await, (vec!["a".into()], None));
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
