//! Ten thousand subscribers at one time.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::join_all;
use tidings_testkit::timeout::timeout;
use tokio::sync::Semaphore;

use crate::process::{LIMIT, Server};
use crate::publisher::Publisher;
use crate::scenario::run;
use crate::subscriber::{Event, Subscriber};
use crate::watch::{await_connections, await_open_files, await_sessions, open_files};

const SUBSCRIBERS: usize = 10_000;
const EVENTS: u64 = 20;

/// How many connections are opened at one time: fewer than the kernel lets wait for the server.
const OPENED_AT_ONCE: usize = 200;

/// Opens so many subscriptions of a channel.
pub(crate) async fn gather(
    server: SocketAddr,
    target: &'static str,
    count: usize,
) -> Vec<Subscriber> {
    let turns = Arc::new(Semaphore::new(OPENED_AT_ONCE));
    let opened = (0..count).map(|number| {
        let turns = Arc::clone(&turns);
        tokio::spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            Subscriber::open(server, target, None, number)
                .await
                .unwrap()
        })
    });
    let opened = timeout(2 * LIMIT, join_all(opened)).await.unwrap();
    opened.into_iter().map(Result::unwrap).collect()
}

/// Reads so many events.
async fn read(mut subscriber: Subscriber, count: u64) -> (Subscriber, Vec<Event>) {
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(subscriber.next().await.unwrap());
    }
    (subscriber, events)
}

#[test]
fn ten_thousand_subscribers_receive_each_event_once_and_in_order() {
    run(SUBSCRIBERS as u64, async {
        let server = Server::start(&[]);
        await_sessions(&server, 0).await;
        let files = open_files(&server);
        let crowd = gather(server.address(), "/channels/a", SUBSCRIBERS).await;
        await_sessions(&server, SUBSCRIBERS as u64).await;

        let readers = crowd.into_iter().map(|one| tokio::spawn(read(one, EVENTS)));
        let readers: Vec<_> = readers.collect();
        let mut publisher = Publisher::connect(server.address(), "/channels/a").await;
        let mut published = Vec::new();
        for number in 0..EVENTS {
            published.push(publisher.publish(number).await);
        }
        let received = timeout(2 * LIMIT, join_all(readers)).await.unwrap();
        let mut crowd = Vec::new();
        for one in received {
            let (subscriber, events) = one.unwrap();
            assert_eq!(events, published);
            crowd.push(subscriber);
        }

        // What follows is received, too: nobody was disconnected, and no event came twice.
        published = vec![publisher.publish(EVENTS).await];
        let last = crowd.into_iter().map(|one| tokio::spawn(read(one, 1)));
        let last = timeout(2 * LIMIT, join_all(last)).await.unwrap();
        assert!(last.iter().all(|one| one.as_ref().unwrap().1 == published));

        drop((last, publisher));
        await_sessions(&server, 0).await;
        await_connections(&server, 0).await;
        await_open_files(&server, files).await;
    });
}
