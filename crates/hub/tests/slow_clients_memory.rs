//! The memory of slow subscribers. In a process of its own, because it counts all allocations.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::alloc::System;
use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use cap::Cap;
use tidings_hub::{
    ChannelName, Draft, Event, Feed, Gap, Hub, Log, MemoryLog, SlowReader, Subscription,
};
use tidings_testkit::timeout::timeout;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Runs a test on paused time while no other test runs.
fn alone(test: impl Future<Output = ()>) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(test);
}

const CLIENTS: usize = 40;
const EVENTS: usize = 70_000;

async fn next(subscription: &mut Subscription) -> Vec<Event> {
    let events = poll_fn(|cx| subscription.poll_events(cx)).await;
    events.unwrap().unwrap().to_events()
}

#[test]
fn a_slow_subscriber_holds_numbers_and_one_block_of_events() {
    alone(async {
        let log = MemoryLog::default();
        let prices = ChannelName::new("prices").unwrap();
        for n in 0..EVENTS {
            let event = Event::new(format!("{n} {}", "x".repeat(200)));
            let draft = Draft::event(prices.clone(), event.encode().into_bytes());
            log.append(draft).await.unwrap();
        }
        let hub = Hub::builder().tape_bytes(0).over(log);
        hub.publish("last", Event::new("x")).await.unwrap();
        let before = ALLOCATOR.allocated();
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            // Each event has a key of its own, so nearly all are kept: 15 MB.
            let latest = SlowReader::latest_by(|event| Some(event.text().into()));
            let prices = hub.subscribe("prices").earliest().max_lag(10);
            let mut client = prices.slow_reader(latest);
            let gap = Gap::from_event(&next(&mut client).await[0]).unwrap();
            assert_eq!(gap.missed, Some((EVENTS - 65_536) as u64));
            assert!(next(&mut client).await[0].text().starts_with("4464 "));
            clients.push(client);
        }
        let bytes = (ALLOCATOR.allocated() - before) / CLIENTS;
        eprintln!("{bytes} bytes a client");
        assert!(bytes < 160 * 1024, "{bytes} bytes a client");
        let mut received = 256;
        while received < 65_536 {
            received += next(&mut clients[0]).await.len();
        }
        assert_eq!(received, 65_536);
    });
}

#[test]
fn snapshots_that_wait_for_slow_subscribers_stay_within_their_limit() {
    alone(async {
        const LIMIT: usize = 64 << 20;
        let hub = Hub::in_memory();
        let before = ALLOCATOR.allocated();
        let snapshot = || async {
            let events = (0..40).map(|n| Event::new(format!("{n} {}", "x".repeat(50_000))));
            Ok::<_, Infallible>(events.collect::<Vec<_>>())
        };
        let mut clients = Vec::new();
        for _ in 0..100 {
            let mut client = hub.subscribe("state").snapshot(snapshot);
            assert!(next(&mut client).await[0].text().starts_with("0 "));
            clients.push(client);
            let bytes = ALLOCATOR.allocated() - before;
            assert!(bytes < LIMIT + (4 << 20), "{bytes} bytes");
        }
        // The streams of the oldest have ended. The others deliver all, and then the new event.
        hub.publish("state", Event::new("new")).await.unwrap();
        let mut whole = 0;
        for client in &mut clients {
            let mut texts = Vec::new();
            while texts.last().is_none_or(|text| text != "new") {
                let Some(events) = poll_fn(|cx| client.poll_events(cx)).await else {
                    break;
                };
                texts.extend(events.unwrap().to_events().iter().map(|event| {
                    let text = event.text();
                    text.split_once(' ').map_or(text, |(n, _)| n).to_owned()
                }));
            }
            match texts.last() {
                Some(last) => {
                    let first: usize = texts[0].parse().unwrap();
                    let rest = (first..40).map(|n| n.to_string());
                    assert_eq!((first, last.as_str()), (2, "new"));
                    assert!(texts.iter().cloned().eq(rest.chain(["new".to_owned()])));
                    whole += 1;
                }
                None => assert_eq!(whole, 0, "the oldest are dropped first"),
            }
        }
        assert!((30..40).contains(&whole), "{whole}");
        drop(clients);
        let left = ALLOCATOR.allocated() - before;
        assert!(left < 1 << 20, "{left} bytes are left");
    });
}

#[test]
fn snapshots_that_are_never_made_do_not_stop_others() {
    alone(async {
        let hub = Hub::in_memory();
        let begun = Arc::new(AtomicUsize::new(0));
        let mut waiting = Vec::new();
        for _ in 0..40 {
            let begun = Arc::clone(&begun);
            let client = hub.subscribe("state").snapshot(move || {
                begun.fetch_add(1, Ordering::SeqCst);
                pending::<Result<[Event; 1], Infallible>>()
            });
            waiting.push(tokio::spawn(async move {
                let mut client = client.resume_after(None);
                client.next().await.is_some()
            }));
        }
        tokio::task::yield_now().await;
        assert_eq!(begun.load(Ordering::SeqCst), 16);
        let made = hub
            .subscribe("state")
            .snapshot(|| async { Ok::<_, Infallible>([Event::new("1")]) });
        let events = made.resume_after(None).next().await.unwrap().unwrap();
        assert_eq!(events.to_events()[0].text(), "1");
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
    });
}

/// A subscriber that is polled no more, such as one whose client does not read, may have a turn.
#[test]
fn snapshots_of_subscribers_that_are_not_polled_do_not_stop_others() {
    alone(async {
        let hub = Hub::in_memory();
        let snapshot = || async {
            tokio::task::yield_now().await;
            Ok::<_, Infallible>([Event::new("1")])
        };
        let mut stuck = Vec::new();
        for _ in 0..40 {
            let mut client = hub.subscribe("state").snapshot(snapshot);
            let mut cx = Context::from_waker(Waker::noop());
            assert!(client.poll_events(&mut cx).is_pending());
            stuck.push(client);
        }
        let mut client = hub.subscribe("state").snapshot(snapshot);
        let events = timeout(Duration::from_millis(2_001), next(&mut client));
        assert_eq!(events.await.unwrap()[0].text(), "1");
    });
}
