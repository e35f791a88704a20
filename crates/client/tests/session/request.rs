//! What a request says.

use std::time::Duration;

use http::HeaderName;
use tidings_client::{BufferPolicy, ErrorKind, Reconnect, RequestBuilder, SseClient};
use tidings_proto::headers;

use crate::scripted::{Part, Server, hear, parts, status, stream};

#[tokio::test(start_paused = true)]
async fn a_request_has_the_standards_headers_once() {
    let server = Server::plays([stream("")]);
    let request = server.client(Reconnect::off()).get("http://test/events");
    let request = request
        .header("accept", "text/html")
        .header("cache-control", "max-age=1")
        .header("Last-Event-ID", "by hand")
        .header("x-mine", "1")
        .bearer("secret");
    request.open().await.unwrap();
    assert_eq!(server.header("accept"), [["text/event-stream"]]);
    assert_eq!(server.header("cache-control"), [["no-cache"]]);
    assert_eq!(server.header("x-mine"), [["1"]]);
    assert_eq!(server.header("authorization"), [["Bearer secret"]]);
    assert_eq!(server.header("last-event-id"), [["by hand"]]);
}

#[tokio::test(start_paused = true)]
async fn a_post_is_sent_once_unless_it_may_be_repeated() {
    let server = Server::plays([stream("data: a\n\n")]);
    let client = server.client(Reconnect::standard());
    let mut session = client
        .post("http://test/")
        .body("prompt")
        .open()
        .await
        .unwrap();
    assert_eq!(hear(&mut session).await, (vec!["a".into()], None));

    let server = Server::plays([stream("data: a\n\n"), status(204)]);
    let client = server.client(Reconnect::standard());
    let request = client.post("http://test/").body("prompt").may_be_repeated();
    assert_eq!(
        hear(&mut request.open().await.unwrap()).await,
        (vec!["a".into()], None)
    );
    let requests = server.requests.lock().unwrap();
    assert!(
        requests
            .iter()
            .all(|(request, _)| request.body() == "prompt")
    );
    assert_eq!(requests.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_may_say_it_all() {
    let server = Server::plays([stream(": c\n\n")]);
    let client = server.client(Reconnect::standard());
    let request = client
        .post(("test", 8080, "/events"))
        .query("symbols", "AAPL,GOOGL")
        .query("q", "a b&c")
        .header("content-type", "application/json")
        .body("[1,2]")
        .max_reconnection_attempts(0)
        .show_comment_events(true);
    let mut session = request.open().await.unwrap();
    let event = session.try_next().await.unwrap().unwrap();
    assert_eq!(event.comments.as_deref(), Some("c"));
    assert_eq!(
        server.urls(),
        ["http://test:8080/events?symbols=AAPL%2CGOOGL&q=a%20b%26c"]
    );
    assert_eq!(server.header("content-type"), [["application/json"]]);
    assert_eq!(server.requests.lock().unwrap()[0].0.body(), "[1,2]");
}

#[cfg(feature = "json")]
#[tokio::test(start_paused = true)]
async fn a_body_may_be_json() {
    let server = Server::plays([stream("")]);
    let client = server.client(Reconnect::off());
    client
        .post("http://test/")
        .json(&[1, 2])
        .open()
        .await
        .unwrap();
    assert_eq!(server.header("content-type"), [["application/json"]]);
    assert_eq!(server.requests.lock().unwrap()[0].0.body(), "[1,2]");
}

#[tokio::test(start_paused = true)]
async fn what_a_request_says_wins_over_its_client() {
    const STREAM: &str = "data: a\n\n: only\n\nretry: 5\n\ndata: cut";
    let lossy = || Server::plays([parts(&[Part::Bytes(STREAM.as_bytes()), Part::Cut])]);
    let hears = async |request: RequestBuilder| {
        let mut session = request.open().await.unwrap();
        let mut events = 0;
        loop {
            match session.try_next().await {
                Ok(event) => events += usize::from(event.is_some()),
                Err(error) => return (events, error.buffer().map(str::to_owned)),
            }
        }
    };
    let client = |server: &Server| {
        SseClient::over(server.clone())
            .show_comment_events(true)
            .show_retry_events(true)
            .buffer_policy(BufferPolicy::LastLines(2))
    };

    let request = client(&lossy()).get("http://test/");
    assert_eq!(hears(request).await, (3, Some("retry: 5\n\n".into())));
    let request = client(&lossy()).get("http://test/");
    let request = request
        .show_comment_events(false)
        .show_retry_events(false)
        .buffer_policy(BufferPolicy::Off);
    assert_eq!(hears(request).await, (1, None));

    let server = Server::plays([stream("data: a\n\n"), status(204)]);
    let client = SseClient::over(server.clone()).max_reconnection_attempts(1);
    let request = client.reconnection_time(Duration::from_secs(9));
    let request = request
        .get("http://test/")
        .reconnection_time(Duration::from_secs(2));
    hear(&mut request.open().await.unwrap()).await;
    assert_eq!(server.waits(), [Duration::from_secs(2)]);
}

#[test]
fn the_constants_name_the_headers_of_http() {
    for (ours, theirs) in [
        (headers::ACCEPT, http::header::ACCEPT),
        (headers::CACHE_CONTROL, http::header::CACHE_CONTROL),
        (headers::CONNECTION, http::header::CONNECTION),
        (headers::CONTENT_TYPE, http::header::CONTENT_TYPE),
        (headers::LAST_EVENT_ID, "Last-Event-ID".parse().unwrap()),
    ] {
        assert_eq!(HeaderName::from_static(ours), theirs);
    }
    assert_eq!(headers::EVENT_STREAM, "text/event-stream");
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_request_is_told_when_it_is_opened() {
    let server = Server::plays([]);
    let client = server.client(Reconnect::standard());
    for request in [
        client.get("http://a b/"),
        client.get("http://test/").header("a b", "c"),
        client.get("http://test/").bearer("two\nlines"),
    ] {
        let error = request.open().await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidRequest);
        assert!(std::error::Error::source(&error).is_some());
    }
    assert_eq!(server.requests(), 0);
}
