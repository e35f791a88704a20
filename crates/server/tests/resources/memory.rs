//! The memory of a client that does not read, and of one large event.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidings_server::{Event, MAX_QUEUED_BYTES, SessionOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::{ALLOCATED, alone, at_rest, serve};

const CLIENTS: usize = 8;
/// The bytes that hyper buffers before it stops polling a body: 8 KiB and 100 pages of 4 KiB.
const HYPERS_BUFFER: usize = 8 * 1024 + 100 * 4 * 1024;

struct Cost {
    /// Heap bytes per connection, beyond those of an idle one.
    heap: usize,
    /// Bytes of events sent before the handler had to wait.
    produced: usize,
}

async fn cost_of_a_stalled_client(event_bytes: usize) -> Cost {
    let go = Arc::new(Semaphore::new(0));
    let produced = Arc::new(AtomicUsize::new(0));
    let (gate, counter) = (Arc::clone(&go), Arc::clone(&produced));
    let address = serve(SessionOptions::new(), move |session| {
        let (gate, counter) = (Arc::clone(&gate), Arc::clone(&counter));
        async move {
            session.comment("idle").await?;
            drop(gate.acquire().await?);
            loop {
                let event = Event::new("x".repeat(event_bytes)).encode();
                let bytes = event.len();
                session.send(event).await?;
                counter.fetch_add(bytes, Ordering::SeqCst);
            }
        }
    });
    let address = address.await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = b"GET /events HTTP/1.1\r\nhost: test\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut head = Vec::with_capacity(1024);
        while !head.ends_with(b": idle\n\n\r\n") {
            client.read_buf(&mut head).await.unwrap();
        }
        clients.push(client);
    }
    let idle = ALLOCATED.allocated();
    go.add_permits(CLIENTS);
    let produced = at_rest(|| produced.load(Ordering::SeqCst)).await;
    Cost {
        heap: ALLOCATED.allocated().saturating_sub(idle) / CLIENTS,
        produced: produced / CLIENTS,
    }
}

#[test]
fn a_client_that_does_not_read_costs_its_queue_and_the_buffer_of_hyper() {
    for event_bytes in [10, 1_000, 60_000] {
        alone(async {
            let Cost { heap, produced } = cost_of_a_stalled_client(event_bytes).await;
            eprintln!("events of {event_bytes} B: {heap} B of heap, {produced} B produced");
            // And one frame, or one event that waits to be sent.
            let bound = MAX_QUEUED_BYTES + HYPERS_BUFFER + MAX_QUEUED_BYTES;
            assert!(heap <= bound, "{heap} for {event_bytes}");
            assert!(heap + event_bytes >= MAX_QUEUED_BYTES, "{heap}");
        });
    }
}

#[test]
fn an_event_of_ten_megabytes_is_in_memory_once() {
    const LARGE: usize = 10_000_000;
    alone(async {
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&sent);
        let address = serve(SessionOptions::new(), move |session| {
            let counter = Arc::clone(&counter);
            async move {
                loop {
                    let event = Event::new("x".repeat(LARGE)).encode();
                    session.send(event).await?;
                    counter.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        let mut client = TcpStream::connect(address.await).await.unwrap();
        let idle = ALLOCATED.allocated();
        let request = b"GET /events HTTP/1.1\r\nhost: test\r\n\r\n";
        client.write_all(request).await.unwrap();
        let sent = at_rest(|| sent.load(Ordering::SeqCst)).await;
        let heap = ALLOCATED.allocated() - idle;
        eprintln!("{sent} events of 10 MB were sent, and {heap} B are held");
        // One in hyper, one in the queue, and one that waits.
        assert!(
            sent <= 3 && heap <= 3 * LARGE + 2 * HYPERS_BUFFER,
            "{sent}, {heap}"
        );
    });
}
