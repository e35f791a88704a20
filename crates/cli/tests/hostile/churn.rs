//! A thousand connections a second that are opened and cut, in every state in which a connection can be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidings_testkit::timeout::timeout;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::process::{LIMIT, Server};
use crate::publisher::Publisher;
use crate::scenario::run;
use crate::subscriber::{Subscriber, connect, head};
use crate::watch::{
    await_connections, await_open_files, await_sessions, memory, metric, open_files,
};

/// How many connections are opened and cut in each round: five seconds of them.
const CUT: usize = 5_000;

/// The rounds after the first one, which shows how much memory the server takes.
const ROUNDS: usize = 2;

/// The connections of one tick.
const PER_TICK: usize = 20;
const TICK: Duration = Duration::from_millis(20);

/// The most connections that are open at one time.
const AT_ONCE: usize = 500;

/// How much more memory the server may use after the last round. The allocator keeps what many connections at
/// one time took, and how many there are depends on the machine. Sessions and files are counted exactly.
const GROWTH: u64 = 32 << 20;

/// Opens a connection, and cuts it in the way of its number.
async fn open_and_cut(server: SocketAddr, number: usize) {
    let stream = head(server, "/channels/busy", None);
    let body = format!(
        "POST /channels/cut HTTP/1.1\r\nHost: {server}\r\nContent-Length: 1000\r\n\r\nhalf of"
    );
    let (sent, is_reset) = match number % 9 {
        0 => ("", true),
        1 => ("", false),
        2 => (&stream[..stream.len() / 2], true),
        3 => (&stream[..stream.len() / 2], false),
        4 => (&*stream, true),
        5 => (&*stream, false),
        6 => (&*body, true),
        7 => (&*body, false),
        _ => return open_and_cut_a_stream(server, number).await,
    };
    let mut socket = connect(server, number).await.unwrap();
    socket.write_all(sent.as_bytes()).await.unwrap();
    if is_reset {
        socket.set_zero_linger().unwrap();
    }
}

/// Cuts a stream after its first event, while others are on their way.
async fn open_and_cut_a_stream(server: SocketAddr, number: usize) {
    let target = "/channels/busy?from=earliest";
    let opened = Subscriber::open(server, target, None, number).await;
    let mut subscriber = opened.unwrap();
    subscriber.next().await.unwrap();
    subscriber.into_socket().set_zero_linger().unwrap();
}

/// Opens and cuts so many connections, a thousand a second if the machine is fast enough.
async fn churn(server: SocketAddr, count: usize) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut cut = JoinSet::new();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0..count {
        if number % PER_TICK == 0 {
            ticks.tick().await;
        }
        let turn = Arc::clone(&turns).acquire_owned().await.unwrap();
        cut.spawn(async move {
            let _turn = turn;
            open_and_cut(server, number).await;
        });
        while let Some(ended) = cut.try_join_next() {
            ended.unwrap();
        }
    }
    while let Some(ended) = cut.join_next().await {
        ended.unwrap();
    }
}

#[test]
fn connections_that_are_cut_disturb_nobody_and_leave_nothing() {
    run(2 * AT_ONCE as u64, async {
        let server = Server::start(&[]);
        let address = server.address();
        await_sessions(&server, 0).await;
        let files = open_files(&server);
        let mut reader = Subscriber::open(address, "/channels/busy", None, 0)
            .await
            .unwrap();
        let publisher = Publisher::connect(address, "/channels/busy").await;
        let publishing = publisher.keep_publishing(0, Duration::from_millis(10));
        let reads = tokio::spawn(async move {
            let mut events = Vec::new();
            loop {
                let event = reader.next().await.unwrap();
                if event.number == u64::MAX {
                    return events;
                }
                events.push(event);
            }
        });

        let mut memories = Vec::new();
        for _ in 0..=ROUNDS {
            timeout(2 * LIMIT, churn(address, CUT)).await.unwrap();
            await_sessions(&server, 1).await;
            await_connections(&server, 2).await;
            memories.push(memory(&server));
        }
        let published = publishing.stop().await;
        await_connections(&server, 1).await;

        let mut last = Publisher::connect(address, "/channels/busy").await;
        last.publish(u64::MAX).await;
        drop(last);
        assert_eq!(timeout(LIMIT, reads).await.unwrap().unwrap(), published);
        assert_eq!(
            metric(&server, "tidings_hub_entries_total"),
            published.len() as u64 + 1
        );
        let count = published.len();
        eprintln!("{count} events meanwhile; memory after each round: {memories:?} bytes");
        assert!(memories[ROUNDS] < memories[0] + GROWTH, "{memories:?}");
        await_connections(&server, 0).await;
        await_open_files(&server, files).await;
    });
}
