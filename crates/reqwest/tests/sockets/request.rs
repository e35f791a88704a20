//! `RequestBuilder::sse`.

use http::{HeaderValue, Version};
use tidings_client::ErrorKind;
use tidings_reqwest::RequestBuilderExt as _;

use crate::server::{Server, http, next, refused, soon};

#[tokio::test]
async fn a_request_of_reqwest_keeps_its_parts() {
    let http = http().user_agent("mine").build().unwrap();
    let mut server = Server::start().await;
    let request = http
        .post(server.url("/a?b#c"))
        .json(&serde_json::json!({"stream": true}));
    let request = request.bearer_auth("token").header("accept", "*/*");
    let request = request
        .header("x-a", "1")
        .header("x-a", "2")
        .header("x-b", "3");
    let request = request.header("cookie", "a=b").header("cookie", "c=d");
    let open = request.sse().until(|event| event.text() == "[DONE]").open();
    let (session, stream) = tokio::join!(soon(open), async {
        let exchange = server.next().await;
        assert_eq!(exchange.request.method(), "POST");
        assert_eq!(exchange.request.uri(), "/a?b");
        assert_eq!(exchange.request.body(), r#"{"stream":true}"#);
        for (name, value) in [
            ("accept", "*/*"),
            ("authorization", "Bearer token"),
            ("cache-control", "no-cache"),
            ("content-type", "application/json"),
            ("cookie", "a=b; c=d"),
            ("user-agent", "mine"),
            ("x-a", "1, 2"),
            ("x-b", "3"),
        ] {
            assert_eq!(exchange.header(name), [value], "{name}");
        }
        exchange.stream(&[])
    });
    let mut session = session.unwrap();
    stream.send("data: a\n\ndata: [DONE]\n\n").await;
    assert_eq!(next(&mut session).await, Ok(Some("a".to_owned())));
    assert_eq!(next(&mut session).await, Ok(None));
}

#[tokio::test]
async fn the_version_of_a_request_is_kept() {
    let http = http().build().unwrap();
    let mut server = Server::start().await;
    for version in [Version::HTTP_10, Version::HTTP_11] {
        let request = http.get(server.url("/")).version(version);
        let (session, ()) = tokio::join!(soon(request.sse().open()), async {
            let exchange = server.next().await;
            assert_eq!(exchange.request.version(), version);
            exchange.answer(204, &[]);
        });
        session.unwrap();
    }
}

#[tokio::test]
async fn a_sensitive_header_stays_at_its_origin() {
    let (mut a, mut b) = (Server::start().await, Server::start().await);
    let http = http()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let mut secret = HeaderValue::from_static("secret");
    secret.set_sensitive(true);
    let request = http
        .get(a.url("/"))
        .header("x-key", &secret)
        .header("x-key", "more");
    let (session, ()) = tokio::join!(soon(request.sse().open()), async {
        let exchange = a.next().await;
        assert_eq!(exchange.header("x-key"), ["secret, more"]);
        exchange.redirect(307, &b.origin);
        let exchange = b.next().await;
        assert!(exchange.header("x-key").is_empty());
        exchange.answer(204, &[]);
    });
    session.unwrap();
}

#[tokio::test]
async fn an_error_of_reqwests_builder_is_reported_by_open() {
    let http = http().build().unwrap();
    let streamed = reqwest::Body::wrap(reqwest::Body::from("a"));
    for (request, cause) in [
        (http.get("http://"), "empty host"),
        (http.get("/events"), "relative URL without a base"),
        (
            http.get("http://localhost").header("a", "\n"),
            "failed to parse header value",
        ),
        (
            http.post("http://localhost").body(streamed),
            "the body is a stream, which can be sent only once: pass it as bytes",
        ),
    ] {
        let error = refused(request.sse()).await;
        assert_eq!(error.kind(), &ErrorKind::InvalidRequest, "{cause}");
        let last = std::iter::successors(Some(&error as &dyn std::error::Error), |error| {
            (*error).source()
        })
        .last();
        assert_eq!(last.unwrap().to_string(), cause);
    }
}
