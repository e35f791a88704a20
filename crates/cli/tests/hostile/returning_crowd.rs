//! Five thousand subscribers that are cut at once, and that all come back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tidings_testkit::timeout::timeout;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::crowd::gather;
use crate::process::{LIMIT, Server};
use crate::publisher::Publisher;
use crate::scenario::run;
use crate::subscriber::{Event, Subscriber};
use crate::watch::{await_open_files, await_sessions, metric, open_files};

const SUBSCRIBERS: usize = 5_000;

/// The number of the last event, after which each subscriber leaves.
const LAST: u64 = u64::MAX;

/// Reads until the last event. Once in between, it is cut by a reset, and comes back with its last ID.
async fn read_over_a_cut(
    server: SocketAddr,
    number: usize,
    mut subscriber: Subscriber,
    mut is_cut: watch::Receiver<bool>,
    begun: Arc<AtomicUsize>,
) -> Vec<Event> {
    // A subscriber that is cut before its first event may have no ID, and then resumes nothing.
    let mut events = vec![subscriber.next().await.unwrap()];
    begun.fetch_add(1, Ordering::SeqCst);
    loop {
        tokio::select! {
            event = subscriber.next() => events.push(event.unwrap()),
            _ = is_cut.wait_for(|is_cut| *is_cut) => break,
        }
    }
    let last_id = subscriber.last_id().map(str::to_owned);
    let socket = subscriber.into_socket();
    socket.set_zero_linger().unwrap();
    drop(socket);
    let target = "/channels/a";
    let mut subscriber = Subscriber::open(server, target, last_id, number)
        .await
        .unwrap();
    loop {
        let event = subscriber.next().await.unwrap();
        if event.number == LAST {
            return events;
        }
        events.push(event);
    }
}

async fn wait_until(is_reached: impl Fn() -> bool) {
    let reached = async {
        while !is_reached() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(2 * LIMIT, reached).await.expect("in time");
}

#[test]
fn five_thousand_subscribers_that_are_cut_at_once_all_resume() {
    run(SUBSCRIBERS as u64, async {
        let server = Server::start(&[]);
        let address = server.address();
        await_sessions(&server, 0).await;
        let files = open_files(&server);
        let crowd = gather(address, "/channels/a", SUBSCRIBERS).await;
        let (cut, is_cut) = watch::channel(false);
        let begun = Arc::new(AtomicUsize::new(0));
        let readers: Vec<_> = crowd
            .into_iter()
            .enumerate()
            .map(|(number, one)| {
                let reads =
                    read_over_a_cut(address, number, one, is_cut.clone(), Arc::clone(&begun));
                tokio::spawn(reads)
            })
            .collect();

        // Each of its events must be answered with 201.
        let publisher = Publisher::connect(address, "/channels/a").await;
        let publishing = publisher.keep_publishing(0, Duration::from_millis(50));
        wait_until(|| begun.load(Ordering::SeqCst) == SUBSCRIBERS).await;
        cut.send(true).unwrap();
        let opened = || metric(&server, "tidings_server_sessions_opened_total");
        wait_until(|| opened() == 2 * SUBSCRIBERS as u64).await;
        let published = publishing.stop().await;
        Publisher::connect(address, "/channels/a")
            .await
            .publish(LAST)
            .await;

        let received = timeout(2 * LIMIT, join_all(readers)).await.unwrap();
        for events in received {
            assert_eq!(events.unwrap(), published);
        }
        eprintln!("{} events over the cut", published.len());
        await_sessions(&server, 0).await;
        await_open_files(&server, files).await;
    });
}
