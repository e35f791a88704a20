//! The headers of a request: the session's, the client's, and those made of the URL and cookies.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tidings_client::{Reconnect, SseClient};
use tidings_reqwest::{RequestBuilderExt as _, transport};

use crate::server::{Server, http, next, soon};

#[tokio::test]
async fn no_header_of_the_session_is_sent_twice() {
    let mut defaults = HeaderMap::new();
    for name in ["accept", "cache-control", "last-event-id", "authorization"] {
        defaults.append(name, HeaderValue::from_static("default"));
        defaults.append(name, HeaderValue::from_static("another"));
    }
    let http = http().default_headers(defaults).build().unwrap();
    let mut server = Server::start().await;
    let request = SseClient::over(transport(http)).get(server.url("/"));
    let open = request.bearer("token").last_event_id(7).open();
    let (session, ()) = tokio::join!(soon(open), async {
        let exchange = server.next().await;
        for (name, value) in [
            ("accept", "text/event-stream"),
            ("authorization", "Bearer token"),
            ("cache-control", "no-cache"),
            ("last-event-id", "7"),
        ] {
            assert_eq!(exchange.header(name), [value], "{name}");
        }
        exchange.stream(&[]);
    });
    session.unwrap();
}

#[tokio::test]
async fn a_user_in_the_url_is_sent_as_authorization_and_a_header_replaces_it() {
    let client = SseClient::over(transport(http().build().unwrap()));
    let mut server = Server::start().await;
    let url = server.url("/").replace("http://", "http://user:secret@");
    for (request, sent) in [
        (client.get(&url), "Basic dXNlcjpzZWNyZXQ="),
        (client.get(&url).bearer("token"), "Bearer token"),
    ] {
        let (session, ()) = tokio::join!(soon(request.open()), async {
            let exchange = server.next().await;
            assert_eq!(exchange.header("authorization"), [sent]);
            exchange.stream(&[]);
        });
        // The session shows the URL that it was given, without the user.
        assert_eq!(session.unwrap().url(), server.url("/").as_str());
    }
}

#[tokio::test]
async fn cookies_of_the_client_are_sent_on_reconnection() {
    let http = http().cookie_store(true).build().unwrap();
    let client = SseClient::over(transport(http));
    let client = client.reconnect(Reconnect::fixed(1, Duration::ZERO));
    let mut server = Server::start().await;
    let open = client.get(server.url("/")).open();
    let (session, stream) = tokio::join!(soon(open), async {
        let exchange = server.next().await;
        assert!(exchange.header("cookie").is_empty());
        exchange.stream(&[("set-cookie", "a=b")])
    });
    let mut session = session.unwrap();
    stream.send("data: a\n\n").await;
    assert_eq!(next(&mut session).await, Ok(Some("a".to_owned())));
    stream.cut().await;
    let (event, ()) = tokio::join!(next(&mut session), async {
        let exchange = server.next().await;
        assert_eq!(exchange.header("cookie"), ["a=b"]);
        exchange.answer(204, &[]);
    });
    assert_eq!(event, Ok(None));
}

#[tokio::test]
async fn our_client_names_its_agent_unless_the_caller_does() {
    let ours = concat!("tidings/", env!("CARGO_PKG_VERSION"));
    let client = tidings_reqwest::client();
    let named = client.clone().user_agent("news/1.0");
    let mut server = Server::start().await;
    let url = server.url("/");
    for (request, sent) in [
        (client.get(&url), ours),
        (
            client.get(&url).header("user-agent", "news/2.0"),
            "news/2.0",
        ),
        (named.get(&url), "news/1.0"),
    ] {
        let (session, ()) = tokio::join!(soon(request.open()), async {
            let exchange = server.next().await;
            assert_eq!(exchange.header("user-agent"), [sent]);
            exchange.stream(&[]);
        });
        session.unwrap();
    }
}

#[tokio::test]
async fn a_request_of_reqwest_keeps_its_accept() {
    let both = "application/json, text/event-stream";
    let mut server = Server::start().await;
    let request = http().build().unwrap().post(server.url("/"));
    let request = request.header("accept", both).sse();
    let (session, ()) = tokio::join!(soon(request.open()), async {
        let exchange = server.next().await;
        assert_eq!(exchange.header("accept"), [both]);
        assert_eq!(exchange.header("content-length"), ["0"]);
        exchange.stream(&[]);
    });
    session.unwrap();
}
