//! How much memory a server takes for clients over TLS, and for streams that are not read. The test has a
//! process of its own, because it counts the bytes of the whole process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "serve/app.rs"]
#[allow(dead_code, reason = "shared with the tests of `serve`")]
mod app;
#[path = "tls/frames.rs"]
#[allow(dead_code, reason = "shared with the tests of TLS")]
mod frames;
#[path = "tls/trust.rs"]
#[allow(dead_code, reason = "shared with the tests of TLS")]
mod trust;

use std::alloc::System;
use std::time::Duration;

use cap::Cap;
use tidings_axum::Drain;
use tidings_testkit::timeout::timeout;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::app::{Client, Report, SOON, Server};
use crate::frames::Attacker;
use crate::trust::{Authority, connect};

/// Streams leave hyper, as they do on a server.
const LEAVES_HYPER: bool = true;

#[global_allocator]
static ALLOCATED: Cap<System> = Cap::new(System, usize::MAX);

const CLIENTS: usize = 500;

/// The memory of each client that `open` leaves open, the client's own included.
async fn bytes_for_each<C>(drain: &Drain, mut open: impl AsyncFnMut() -> C) -> usize {
    // The first ones make what all share.
    let mut first = Vec::new();
    for _ in 0..10 {
        first.push(open().await);
    }
    let mut clients = Vec::with_capacity(CLIENTS);
    let before = ALLOCATED.allocated();
    for _ in 0..CLIENTS {
        clients.push(open().await);
    }
    let accepted = async {
        while drain.open_connections() < CLIENTS + first.len() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, accepted).await.unwrap();
    (ALLOCATED.allocated() - before) / CLIENTS
}

async fn half_way(authority: &Authority) -> usize {
    let drain = Drain::new();
    let server = Server::start(|serve| serve.tls(&authority.tls()).drain(&drain)).await;
    // A hello of 256 bytes, of which one is missing.
    let hello = [&[22, 3, 1, 1, 0, 1, 0, 0, 252][..], &[0; 251]].concat();
    bytes_for_each(&drain, async || {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&hello).await.unwrap();
        stream
    })
    .await
}

async fn quiet_sessions(authority: Option<&Authority>) -> usize {
    let drain = Drain::new();
    let server = Server::start(|serve| {
        let serve = serve.drain(&drain);
        match authority {
            Some(authority) => serve.tls(&authority.tls()),
            None => serve,
        }
    })
    .await;
    let client = authority.map(|authority| authority.client(&[]));
    bytes_for_each(&drain, async || {
        let socket = TcpStream::connect(server.address).await.unwrap();
        let Some(client) = &client else {
            let mut open = Client::over(socket, "/quiet").await;
            open.read_until("data: hello").await;
            return open.stream;
        };
        let stream = connect(client, socket).await.unwrap();
        let mut open = Client::over(stream, "/quiet").await;
        open.read_until("data: hello").await;
        // Only the socket, so that the client's side of TLS does not count.
        open.stream.into_inner().0
    })
    .await
}

/// The memory of a connection whose client opens as many streams as it may, with huge windows, and reads
/// nothing.
async fn unread_streams(authority: &Authority) -> usize {
    let deadline = Duration::from_secs(5);
    let mut server = Server::start(|serve| {
        let serve = serve.write_deadline(deadline).http2(true);
        serve.tls(&authority.tls())
    })
    .await;
    let mut attacker = Attacker::connect(server.address, Some(authority)).await;
    let before = ALLOCATED.allocated();
    attacker.open_windows().await;
    for number in 0..200 {
        attacker.get(2 * number + 1, "/flood").await;
    }
    server.expect_reports(&Report::Stalled, 200).await;
    let used = ALLOCATED.allocated() - before;
    server.expect_reports(&Report::Dropped, 200).await;
    used
}

#[tokio::test]
async fn clients_over_tls_take_bounded_memory() {
    let authority = Authority::new("a");
    let half_way = half_way(&authority).await;
    let plain = quiet_sessions(None).await;
    let over_tls = quiet_sessions(Some(&authority)).await;
    let unread = unread_streams(&authority).await;
    println!("half-way {half_way}, plain {plain}, over TLS {over_tls}, unread streams {unread}");
    assert!(half_way < 16 * 1024, "{half_way}");
    assert!(over_tls < plain + 16 * 1024, "{plain} {over_tls}");
    assert!(unread < 40 << 20, "{unread}");
}
