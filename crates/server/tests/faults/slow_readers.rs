//! Clients that do not read, or read very slowly.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidings_server::{Event, MAX_QUEUED_BYTES, SessionOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::sleep;

use crate::harness::{Received, pipe, within};

/// The capacity of the pipe to a client, which stands for the kernel's buffers.
const PIPE: usize = 4 * 1024;
/// The bytes that hyper buffers before it stops polling: its default for HTTP/1.1, and one frame more.
const GATHERED: usize = 8 * 1024 + 100 * 4 * 1024 + MAX_QUEUED_BYTES;

/// A client of an endless stream of numbered events of this size, and a count of the bytes sent.
async fn endless(event_bytes: usize) -> (DuplexStream, Arc<AtomicUsize>) {
    let produced = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&produced);
    let mut client = pipe(PIPE, SessionOptions::new(), move |session| {
        let counter = Arc::clone(&counter);
        async move {
            for n in 0.. {
                let event = Event::new("x".repeat(event_bytes)).id(n).encode();
                let bytes = event.len();
                session.send(event).await?;
                counter.fetch_add(bytes, Ordering::SeqCst);
            }
            Ok(())
        }
    });
    let request = b"GET /events HTTP/1.0\r\n\r\n";
    client.write_all(request).await.unwrap();
    // On paused time the sleep ends only when every task waits.
    sleep(Duration::from_secs(1)).await;
    (client, produced)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_stops_the_producer() {
    for event_bytes in [1, 1_000, 60_000] {
        let (_client, produced) = endless(event_bytes).await;
        let stopped_at = produced.load(Ordering::SeqCst);
        let bound = PIPE + GATHERED + MAX_QUEUED_BYTES;
        assert!(stopped_at >= MAX_QUEUED_BYTES - event_bytes, "{stopped_at}");
        assert!(stopped_at <= bound, "{stopped_at} of {event_bytes}");
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(produced.load(Ordering::SeqCst), stopped_at);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_a_byte_a_second_receives_whole_events_in_order() {
    let (mut client, produced) = endless(100).await;
    let mut read = Vec::new();
    let mut last = produced.load(Ordering::SeqCst);
    for _ in 0..20_000 {
        read.push(within("a byte", client.read_u8()).await.unwrap());
        sleep(Duration::from_secs(1)).await;
        let now = produced.load(Ordering::SeqCst);
        assert!(now - last <= 2 * MAX_QUEUED_BYTES, "{now} after {last}");
        last = now;
        let bound = read.len() + PIPE + GATHERED + MAX_QUEUED_BYTES;
        assert!(now <= bound, "{now} when {} are read", read.len());
    }
    // Then it reads fast, far more than all buffers hold.
    while read.len() < 4 * GATHERED {
        within("the rest", client.read_buf(&mut read))
            .await
            .unwrap();
    }
    let head = read.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
    let received = Received {
        bytes: read.split_off(head + 4),
        is_whole: false,
    };
    let events = received.events();
    assert!(events.len() > 10_000, "{}", events.len());
    for (n, event) in events.iter().enumerate() {
        assert_eq!(event.text().len(), 100);
        assert_eq!(event.id.as_ref().unwrap().as_str(), n.to_string());
    }
}
