//! Compressed streams.

use std::io::Write;

use axum::Router;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use tidings::client::SseClient;
use tidings::hyper::DirectTransport;
use tokio::net::TcpListener;

use crate::subject::receive;

async fn compressed(headers: HeaderMap) -> impl IntoResponse {
    let accepted = headers["accept-encoding"].to_str().unwrap();
    assert!(accepted.contains("gzip"), "{accepted}");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for n in 0..1000 {
        write!(encoder, "data: {n}\n\n").unwrap();
    }
    let head = [
        ("content-type", "text/event-stream"),
        ("content-encoding", "gzip"),
    ];
    (head, encoder.finish().unwrap())
}

#[tokio::test]
async fn a_compressed_stream_is_received_by_a_client_that_accepts_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let app = Router::new().route("/", get(compressed));
    let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let handed_in = |builder: reqwest::ClientBuilder| {
        let http = builder.no_proxy().build().unwrap();
        SseClient::over(tidings::reqwest::transport(http))
    };
    for (name, client) in [
        ("direct", SseClient::over(DirectTransport::new().no_proxy())),
        ("reqwest", handed_in(reqwest::Client::builder())),
        (
            "reqwest, HTTP/2",
            handed_in(reqwest::Client::builder().http2_prior_knowledge()),
        ),
    ] {
        let mut session = client.get(&url).open().await.unwrap();
        let (texts, error) = receive(name, &mut session).await;
        assert_eq!((texts.len(), error), (1000, None), "{name}");
        assert_eq!(texts[999], "999");
    }
    server.abort();
}
