//! Streams over HTTP/1.1: read, resumed and dropped.

use std::time::Duration;

use http::Version;
use tidings_client::{ErrorKind, Reconnect, SseClient};
use tidings_reqwest::transport;

use crate::server::{Server, http, next, soon, values};

fn client() -> SseClient {
    SseClient::over(transport(http().build().unwrap()))
}

#[tokio::test]
async fn events_are_delivered_as_they_are_sent() {
    for client in [client(), tidings_reqwest::client()] {
        let mut server = Server::start().await;
        let open = client.get(server.url("/events?a=b#fragment")).open();
        let (session, stream) = tokio::join!(soon(open), async {
            let exchange = server.next().await;
            assert_eq!(exchange.request.method(), "GET");
            assert_eq!(exchange.request.uri(), "/events?a=b");
            exchange.stream(&[("x-a", "1"), ("x-a", "2")])
        });
        let mut session = session.unwrap();
        let head = session.response().unwrap();
        assert_eq!(
            (head.status.as_u16(), head.version),
            (200, Version::HTTP_11)
        );
        assert_eq!(values(&head.headers, "x-a"), ["1", "2"]);
        for n in 0..3 {
            stream.send(format!("data: {n}\n\n")).await;
            assert_eq!(next(&mut session).await, Ok(Some(n.to_string())));
        }
        drop(stream);
        assert_eq!(next(&mut session).await, Ok(None));
    }
}

#[tokio::test]
async fn a_post_is_read_until_its_last_event() {
    let mut server = Server::start().await;
    let request = client().post(server.url("/")).body("prompt");
    let open = request.until(|event| event.text() == "[DONE]").open();
    let (session, stream) = tokio::join!(soon(open), async {
        let exchange = server.next().await;
        assert_eq!(exchange.request.method(), "POST");
        assert_eq!(exchange.request.body(), "prompt");
        exchange.stream(&[])
    });
    let mut session = session.unwrap();
    stream.send("data: a\n\ndata: [DONE]\n\n").await;
    assert_eq!(next(&mut session).await, Ok(Some("a".to_owned())));
    assert_eq!(next(&mut session).await, Ok(None));
    stream.closed().await;
}

#[tokio::test]
async fn a_cut_stream_is_resumed_after_its_last_event() {
    let mut server = Server::start().await;
    let client = client().reconnect(Reconnect::fixed(1, Duration::ZERO));
    let (mut session, stream) = server.stream(client.get(server.url("/"))).await;
    stream.send("id: 7\ndata: a\n\n").await;
    assert_eq!(next(&mut session).await, Ok(Some("a".to_owned())));
    stream.cut().await;
    let (event, _stream) = tokio::join!(next(&mut session), async {
        let exchange = server.next().await;
        assert_eq!(exchange.header("last-event-id"), ["7"]);
        let stream = exchange.stream(&[]);
        stream.send("data: b\n\n").await;
        stream
    });
    assert_eq!(event, Ok(Some("b".to_owned())));
}

#[tokio::test]
async fn without_a_policy_a_cut_stream_is_an_error() {
    let mut server = Server::start().await;
    let (mut session, stream) = server.stream(client().get(server.url("/"))).await;
    stream.cut().await;
    assert_eq!(next(&mut session).await, Err(ErrorKind::Interrupted));
    assert_eq!(next(&mut session).await, Ok(None));
}

#[tokio::test]
async fn a_dropped_session_closes_its_stream() {
    let mut server = Server::start().await;
    let (session, stream) = server.stream(client().get(server.url("/"))).await;
    drop(session);
    stream.closed().await;
}

#[tokio::test]
async fn a_request_dropped_before_its_answer_is_cancelled() {
    let mut server = Server::start().await;
    let request = client().get(server.url("/"));
    let exchange = tokio::select! {
        session = request.open() => panic!("{session:?}"),
        exchange = server.next() => exchange,
    };
    exchange.cancelled().await;
}
