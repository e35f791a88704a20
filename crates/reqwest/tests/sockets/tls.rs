//! TLS handshakes.
#![cfg(feature = "rustls")]

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::server::soon;

#[tokio::test]
async fn a_dropped_handshake_closes_its_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let request =
        tidings_reqwest::client().get(format!("https://{}/", listener.local_addr().unwrap()));
    let greeted = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_ne!(stream.read(&mut [0; 1]).await.unwrap(), 0);
        stream
    };
    let mut stream = tokio::select! {
        session = request.open() => panic!("{session:?}"),
        stream = soon(greeted) => stream,
    };
    // Read the bytes that the client sent before; then the end must follow.
    soon(stream.read_to_end(&mut Vec::new())).await.ok();
}
