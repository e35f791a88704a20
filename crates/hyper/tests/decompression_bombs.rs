//! Bodies that decode to far more than their size: the memory that the transport uses for them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]
#![cfg(feature = "compression")]

use std::alloc::System;
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Duration;

use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZstdEncoder};
use cap::Cap;
use tidings_client::{ErrorKind, SseClient};
use tidings_hyper::DirectTransport;
use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const MIB: usize = 1024 * 1024;
const BOMB: usize = 64 * MIB;
const LIMIT: usize = MIB;

/// The unfinished event, counted twice because its buffer grows, and the codec's window: the brotli
/// encoder asks for 4 MiB. The window of zstd does not use this allocator.
const MAX_HELD: usize = 8 * MIB;

const SOON: Duration = Duration::from_secs(60);

async fn write_bomb(encoder: &mut (impl AsyncWrite + Unpin)) {
    encoder.write_all(b"data: ").await.unwrap();
    let zeros = [0; 64 * 1024];
    for _ in 0..BOMB / zeros.len() {
        encoder.write_all(&zeros).await.unwrap();
    }
    encoder.shutdown().await.unwrap();
}

async fn bomb(codec: &str) -> Vec<u8> {
    match codec {
        "gzip, gzip" => {
            let mut encoder = GzipEncoder::new(Vec::new());
            let inner = Box::pin(bomb("gzip")).await;
            encoder.write_all(&inner).await.unwrap();
            encoder.shutdown().await.unwrap();
            encoder.into_inner()
        }
        "gzip" => {
            let mut encoder = GzipEncoder::new(Vec::new());
            write_bomb(&mut encoder).await;
            encoder.into_inner()
        }
        "br" => {
            let level = async_compression::Level::Fastest;
            let mut encoder = BrotliEncoder::with_quality(Vec::new(), level);
            write_bomb(&mut encoder).await;
            encoder.into_inner()
        }
        _ => {
            let mut encoder = ZstdEncoder::new(Vec::new());
            write_bomb(&mut encoder).await;
            encoder.into_inner()
        }
    }
}

/// Reads the bomb until the event is refused.
async fn read_bomb(codec: &str, bomb: &[u8]) {
    let (client, mut server) = duplex(64 * 1024);
    let client = Mutex::new(Some(client));
    let transport = DirectTransport::over(move |_| {
        let client = client.lock().unwrap().take().unwrap();
        async { Ok(client) }
    });
    let serve = async {
        let mut request = [0; 1024];
        assert_ne!(server.read(&mut request).await.unwrap(), 0);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: ";
        let head = format!("{head}{codec}\r\n\r\n");
        server.write_all(head.as_bytes()).await.unwrap();
        // The client closes before all of it is written.
        server.write_all(bomb).await.ok();
    };
    let read = async {
        let client = SseClient::over(transport).max_event_bytes(LIMIT);
        let mut session = client.get("http://a.test/").open().await.unwrap();
        let error = session.try_next().await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::EventTooLarge, "{codec}");
    };
    timeout(SOON, async { tokio::join!(read, serve) })
        .await
        .unwrap();
}

#[tokio::test]
async fn an_event_that_decodes_to_far_over_the_limit_is_never_held() {
    for codec in ["gzip", "br", "zstd", "gzip, gzip"] {
        let bomb = bomb(codec).await;
        assert!(bomb.len() < BOMB / 500, "{codec}: {}", bomb.len());
        // The allocator's peak never falls. An unused ballast raises the ground to the peak, so
        // that each byte above it is seen.
        let to_peak = ALLOCATOR.max_allocated() - ALLOCATOR.allocated();
        let ballast = black_box(vec![0_u8; to_peak]);
        let ground = ALLOCATOR.allocated();
        read_bomb(codec, &bomb).await;
        let held = ALLOCATOR.max_allocated().saturating_sub(ground);
        drop(ballast);
        println!("{codec}: {} bytes, held {held}", bomb.len());
        assert!(held < MAX_HELD, "{codec}: {held}");
    }
}
