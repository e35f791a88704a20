//! The content of a request, and settings of its own.

use std::time::Duration;

use http::HeaderName;
use tidings_client::{BufferPolicy, Comments, ErrorKind, Reconnect, RequestBuilder, SseClient};
use tidings_proto::headers;

use crate::scripted::{Part, Script, Server, parts, read_all, status, stream};

#[tokio::test(start_paused = true)]
async fn the_headers_of_the_standard_are_sent_once() {
    let server = Server::plays([stream("")]);
    let request = server.client(Reconnect::off()).get("http://test/events");
    let request = request
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
async fn a_header_of_the_standard_is_sent_as_the_caller_sets_it() {
    const BOTH: &str = "application/json, text/event-stream";
    let server = Server::plays([stream(""), stream(""), stream(""), stream("")]);
    let client = server.client(Reconnect::off());
    let request = client.get("http://test/").header("accept", BOTH);
    let request = request.header("cache-control", "no-store");
    request.open().await.unwrap();
    let defaults = client.clone().header("accept", BOTH);
    let defaults = defaults.header("cache-control", "no-store");
    defaults.get("http://test/").open().await.unwrap();
    let hook = client.before_connect(async |mut attempt| {
        let headers = attempt.headers_mut();
        headers.insert("accept", BOTH.parse()?);
        headers.insert("cache-control", "no-store".parse()?);
        Ok(attempt)
    });
    hook.get("http://test/").open().await.unwrap();
    hook.get("http://test/").open_or_response().await.unwrap();
    assert_eq!(server.header("accept"), [[BOTH]; 4]);
    assert_eq!(server.header("cache-control"), [["no-store"]; 4]);
}

#[tokio::test(start_paused = true)]
async fn a_header_that_cannot_be_sent_is_an_error() {
    let server = Server::plays([]);
    let client = server.client(Reconnect::persistent());
    let post = || client.post("http://test/").body("12345");
    for (request, reason) in [
        (post().header("content-length", "4"), "Content-Length"),
        (post().header("content-length", ""), "Content-Length"),
        (
            post().header("transfer-encoding", "chunked"),
            "Transfer-Encoding",
        ),
        (post().header("a\tb", "c"), "header name"),
        (post().header("x-mine", "a\u{1}b"), "header value"),
        (post().bearer("a\nb"), "header value"),
        (post().last_event_id("a\0b"), "NUL"),
        (
            client.clone().header("x-mine", "\n").get("http://test/"),
            "header value",
        ),
        (
            client.clone().bearer("\n").get("http://test/"),
            "header value",
        ),
        (
            client.clone().user_agent("\u{7f}").get("http://test/"),
            "header value",
        ),
        (
            client
                .clone()
                .header("last-event-id", "1")
                .get("http://test/"),
            "Last-Event-ID",
        ),
        (
            client
                .clone()
                .header("content-length", "1")
                .get("http://test/"),
            "Content-Length",
        ),
    ] {
        let error = request.open().await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidRequest, "{reason}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains(reason), "{reason}: {source}");
    }
    assert_eq!(server.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_usually_has_a_body_says_when_it_has_none() {
    let server = Server::plays(std::iter::repeat_n(stream(""), 8));
    let client = server.client(Reconnect::off());
    for method in ["POST", "PUT", "PATCH", "GET", "DELETE", "QUERY"] {
        let request = client.request(method.parse().unwrap(), "http://test/");
        request.open().await.unwrap();
    }
    client.post("http://test/").body("a").open().await.unwrap();
    let own = client.post("http://test/").header("content-length", "0");
    own.open().await.unwrap();
    let zero: &[&str] = &["0"];
    let sent = [zero, zero, zero, &[], &[], &[], &[], zero];
    assert_eq!(server.header("content-length"), sent);
}

#[tokio::test(start_paused = true)]
async fn a_post_that_becomes_a_get_has_no_length() {
    let server = Server::plays([
        Script::Redirect(303, "/a"),
        stream(""),
        Script::Redirect(307, "/a"),
        stream(""),
    ]);
    let client = server.client(Reconnect::off());
    for _ in 0..2 {
        client.post("http://test/").open().await.unwrap();
    }
    let sent: [&[&str]; 4] = [&["0"], &[], &["0"], &["0"]];
    assert_eq!(server.header("content-length"), sent);
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
    assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));

    let server = Server::plays([stream("data: a\n\n"), status(204)]);
    let client = server.client(Reconnect::standard());
    let request = client
        .post("http://test/")
        .body("prompt")
        .may_be_repeated(true);
    assert_eq!(
        read_all(&mut request.open().await.unwrap()).await,
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
async fn a_request_has_a_url_a_query_headers_and_a_body() {
    let server = Server::plays([stream(": c\n\n")]);
    let client = server.client(Reconnect::standard());
    let request = client
        .post(("test", 8080, "/events"))
        .query("symbols", "AAPL,GOOGL")
        .query("q", "a b&c")
        .header("content-type", "application/json")
        .body("[1,2]")
        .max_reconnection_attempts(0)
        .comments(Comments::Shown);
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
async fn settings_of_a_request_replace_those_of_its_client() {
    const STREAM: &str = "data: a\n\n: only\n\nretry: 5\n\ndata: cut";
    let lossy = || Server::plays([parts(&[Part::Bytes(STREAM.as_bytes()), Part::Cut])]);
    let reads = async |request: RequestBuilder| {
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
            .comments(Comments::Shown)
            .show_retry_events(true)
            .buffer_policy(BufferPolicy::LastLines(2))
    };

    let request = client(&lossy()).get("http://test/");
    assert_eq!(reads(request).await, (3, Some("retry: 5\n\n".into())));
    let request = client(&lossy()).get("http://test/");
    let request = request
        .comments(Comments::Attached)
        .show_retry_events(false)
        .buffer_policy(BufferPolicy::Off);
    assert_eq!(reads(request).await, (1, None));

    let server = Server::plays([stream("data: a\n\n"), status(204)]);
    let client = SseClient::over(server.clone()).max_reconnection_attempts(1);
    let request = client.reconnection_time(Duration::from_secs(9));
    let request = request
        .get("http://test/")
        .reconnection_time(Duration::from_secs(2));
    read_all(&mut request.open().await.unwrap()).await;
    assert_eq!(server.waits(), [Duration::from_secs(2)]);
}

#[test]
fn the_constants_name_the_headers_of_http() {
    for (ours, theirs) in [
        (headers::ACCEPT, http::header::ACCEPT),
        (headers::CACHE_CONTROL, http::header::CACHE_CONTROL),
        (headers::CONTENT_TYPE, http::header::CONTENT_TYPE),
        (headers::LAST_EVENT_ID, "Last-Event-ID".parse().unwrap()),
    ] {
        assert_eq!(HeaderName::from_static(ours), theirs);
    }
    assert_eq!(headers::EVENT_STREAM, "text/event-stream");
}

#[tokio::test(start_paused = true)]
async fn an_invalid_request_fails_when_it_is_opened() {
    let server = Server::plays([]);
    let client = server.client(Reconnect::standard());
    for request in [
        client.get("http://a b/"),
        client.get("http://us3r:pa55@%41/"),
        client.get("http://test/").header("a b", "c"),
        client.get("http://test/").bearer("two\nlines"),
    ] {
        let error = request.open().await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidRequest);
        assert!(std::error::Error::source(&error).is_some());
    }
    assert_eq!(server.requests(), 0);
}
