//! Compressed streams, flushed after each event.

use std::io::Write;

use tidings_client::SseClient;
use tidings_reqwest::transport;

use crate::server::{Server, http, next, soon};

/// Sends events through this encoder and flushes each; `take` removes the encoded bytes.
async fn check<W: Write>(encoding: &str, mut encoder: W, take: impl Fn(&mut W) -> Vec<u8>) {
    let client = SseClient::over(transport(http().build().unwrap()));
    let mut server = Server::start().await;
    let open = client.get(server.url("/")).open();
    let (session, stream) = tokio::join!(soon(open), async {
        let exchange = server.next().await;
        let [accepted] = exchange.header("accept-encoding")[..] else {
            panic!("{:?}", exchange.request);
        };
        assert!(accepted.contains(encoding), "{accepted}");
        exchange.stream(&[("content-encoding", encoding)])
    });
    let mut session = session.unwrap();
    for n in 0..3 {
        write!(encoder, "data: {n}\n\n").unwrap();
        encoder.flush().unwrap();
        stream.send(take(&mut encoder)).await;
        assert_eq!(
            next(&mut session).await,
            Ok(Some(n.to_string())),
            "{encoding}"
        );
    }
}

#[tokio::test]
async fn events_in_gzip_are_delivered_as_they_are_flushed() {
    let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    check("gzip", encoder, |encoder| std::mem::take(encoder.get_mut())).await;
}

#[tokio::test]
async fn events_in_brotli_are_delivered_as_they_are_flushed() {
    let encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
    check("br", encoder, |encoder| std::mem::take(encoder.get_mut())).await;
}

#[tokio::test]
async fn events_in_zstd_are_delivered_as_they_are_flushed() {
    let encoder = zstd::stream::write::Encoder::new(Vec::new(), 0).unwrap();
    check("zstd", encoder, |encoder| std::mem::take(encoder.get_mut())).await;
}
