//! Which responses a session reads as a stream.

use std::error::Error as _;

use tidings_client::{ErrorKind, Reconnect, SseClient};

use crate::scripted::{Script, Server, read_all};

const STREAM: (&str, &str) = ("content-type", "text/event-stream");
const BODY: &str = "data: a\n\n";

/// The texts of the stream, or the kind of the error, under a policy that retries refusals.
async fn outcome(client: SseClient, method: &str) -> Result<Vec<String>, ErrorKind> {
    let request = client.request(method.parse().unwrap(), "http://test/");
    let mut session = request.open().await.map_err(|error| error.kind().clone())?;
    match read_all(&mut session).await {
        (texts, None) => Ok(texts),
        (_, Some(kind)) => Err(kind),
    }
}

fn client(script: Script) -> SseClient {
    Server::plays([script]).client(Reconnect::off())
}

#[tokio::test(start_paused = true)]
async fn another_success_opens_a_stream_unless_it_answers_a_get() {
    for status in [201, 202, 203, 206] {
        let script = || Script::Head(status, &[STREAM], BODY);
        for method in ["POST", "PUT", "PATCH", "QUERY"] {
            let texts = Ok(vec!["a".to_owned()]);
            assert_eq!(outcome(client(script()), method).await, texts, "{status}");
        }
        let kind = ErrorKind::Status(status.try_into().unwrap());
        assert_eq!(outcome(client(script()), "GET").await, Err(kind));
    }
    let no_content = client(Script::Head(204, &[STREAM], ""));
    assert_eq!(outcome(no_content, "POST").await, Ok(Vec::new()));
    let kind = ErrorKind::Status(205.try_into().unwrap());
    let reset = client(Script::Head(205, &[STREAM], ""));
    assert_eq!(outcome(reset, "POST").await, Err(kind));
    let html = client(Script::Head(201, &[("content-type", "text/html")], ""));
    let kind = ErrorKind::ContentType(Some("text/html".to_owned()));
    assert_eq!(outcome(html, "POST").await, Err(kind));
}

#[tokio::test(start_paused = true)]
async fn several_content_types_are_one_list() {
    const JSON: (&str, &str) = ("content-type", "application/json");
    let stream_last = client(Script::Head(200, &[JSON, STREAM], BODY));
    assert_eq!(outcome(stream_last, "GET").await, Ok(vec!["a".to_owned()]));
    let stream_first = client(Script::Head(200, &[STREAM, JSON], BODY));
    let both = "text/event-stream, application/json".to_owned();
    let kind = ErrorKind::ContentType(Some(both));
    assert_eq!(outcome(stream_first, "GET").await, Err(kind));
}

#[tokio::test(start_paused = true)]
async fn further_media_types_are_read_on_request() {
    let plain = || {
        client(Script::Head(
            200,
            &[("content-type", "text/plain;a=b")],
            BODY,
        ))
    };
    let untyped = || client(Script::Head(200, &[], BODY));
    let texts = Ok(vec!["a".to_owned()]);
    let refused = Err(ErrorKind::ContentType(Some("text/plain;a=b".to_owned())));
    assert_eq!(outcome(plain(), "GET").await, refused);
    let other = plain().read_media_type("application/json");
    assert_eq!(outcome(other, "GET").await, refused);
    let same = plain().read_media_type("application/json");
    let same = same.read_media_type("TEXT/plain");
    assert_eq!(outcome(same, "GET").await, texts);
    let named = untyped().read_media_type("text/plain");
    let refused = Err(ErrorKind::ContentType(None));
    assert_eq!(outcome(named, "GET").await, refused);
    for client in [plain(), untyped()] {
        assert_eq!(
            outcome(client.read_any_media_type(true), "GET").await,
            texts
        );
    }
    // A request may differ from its client.
    let request = untyped().read_any_media_type(true).get("http://test/");
    let error = request.read_any_media_type(false).open().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::ContentType(None));
    // The request asks for the same as before.
    let server = Server::plays([Script::Head(200, &[STREAM], BODY)]);
    let client = server
        .client(Reconnect::off())
        .read_media_type("text/plain");
    outcome(client, "GET").await.unwrap();
    assert_eq!(server.header("accept"), [["text/event-stream"]]);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_media_type_is_an_invalid_request() {
    for client in [
        client(Script::Refuse).read_media_type("text"),
        client(Script::Refuse)
            .read_media_type("a b")
            .read_any_media_type(true),
    ] {
        let error = client.get("http://test/").open().await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidRequest);
        assert!(error.source().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_coding_that_is_not_decoded_is_an_error_and_not_requested_again() {
    let server = Server::plays([Script::Head(
        200,
        &[STREAM, ("content-encoding", "br")],
        "xy",
    )]);
    let error = server.open(Reconnect::persistent()).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::ContentEncoding("br"));
    assert!(!error.is_retryable());
    let message =
        "test:80 sent a stream in the content coding br, which the transport does not decode";
    assert_eq!(error.to_string(), message);
    let response = error.response().unwrap();
    assert_eq!(
        (response.status().as_u16(), response.body().as_str()),
        (200, "xy")
    );
}

#[tokio::test(start_paused = true)]
async fn a_coding_that_the_caller_accepts_is_left_to_the_transport() {
    let script = Script::Head(200, &[STREAM, ("content-encoding", "br")], BODY);
    let own = client(script).header("accept-encoding", "br");
    assert_eq!(outcome(own, "GET").await, Ok(vec!["a".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn the_body_of_a_refusal_is_readable_in_any_coding() {
    for coding in ["none", "br", "x-unknown"] {
        let headers: &'static [_] = Box::leak(Box::new([("content-encoding", coding)]));
        let server = Server::plays([Script::Head(404, headers, "no such stream")]);
        let error = server.open(Reconnect::persistent()).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Status(404.try_into().unwrap()));
        assert_eq!(
            error.response().unwrap().body(),
            "no such stream",
            "{coding}"
        );
    }
}
