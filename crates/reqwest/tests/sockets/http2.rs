//! Streams over HTTP/2.

use http::Version;
use tidings_client::SseClient;
use tidings_reqwest::transport;

use crate::server::{Server, http, next};

#[tokio::test]
async fn streams_share_a_connection_and_end_separately() {
    let http = http().http2_prior_knowledge().build().unwrap();
    let client = SseClient::over(transport(http));
    let mut server = Server::start().await;
    let (mut a, to_a) = server.stream(client.get(server.url("/a"))).await;
    let (b, to_b) = server.stream(client.get(server.url("/b"))).await;
    assert_eq!(a.response().unwrap().version, Version::HTTP_2);
    to_b.send("data: b\n\n").await;
    drop(b);
    to_b.closed().await;
    let (mut c, to_c) = server.stream(client.get(server.url("/c"))).await;
    for n in 0..3 {
        to_a.send(format!("data: a{n}\n\n")).await;
        assert_eq!(next(&mut a).await, Ok(Some(format!("a{n}"))));
        to_c.send(format!("data: c{n}\n\n")).await;
        assert_eq!(next(&mut c).await, Ok(Some(format!("c{n}"))));
    }
    drop(to_a);
    assert_eq!(next(&mut a).await, Ok(None));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_request_dropped_before_its_answer_is_cancelled() {
    let http = http().http2_prior_knowledge().build().unwrap();
    let client = SseClient::over(transport(http));
    let mut server = Server::start().await;
    let exchange = tokio::select! {
        session = client.get(server.url("/")).open() => panic!("{session:?}"),
        exchange = server.next() => exchange,
    };
    exchange.cancelled().await;
}
