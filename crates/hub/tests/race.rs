//! Races on several threads: publishers append while subscribers join, read several tapes and leave. No
//! event is lost, none follows a newer one, no subscriber waits for ever, and each publisher gets the
//! position of its own event.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tidings_hub::{
    Event, Hub, Log, MemoryLog, Pattern, PublishErrorKind, Retention, Scope, Subscription,
    SubscriptionStream,
};
use tidings_proto::{EncodedEvents, Feed, Position};
use tidings_testkit::property;
use tidings_testkit::timeout::timeout;
use tokio::task::JoinSet;

const CHANNELS: [&str; 8] = ["a", "a/b", "a/b/c", "a/b/d", "e/f", "e/g", "h", "i"];
/// The channels and patterns of each subscriber.
const SUBSCRIBED: [&[&str]; 10] = [
    &["a", "h"],
    &["a/*", "a/b"],
    &["a/b/*", "e/f", "i"],
    &["a", "a/b", "a/b/c", "a/b/d"],
    &["a/*", "a/b/*", "a/b/c", "e/*", "h"],
    &["a", "a/b", "a/b/c", "a/b/d", "e/f", "e/g"],
    &["a", "a/*", "a/b", "a/b/*", "e/*", "e/g", "h"],
    &CHANNELS,
    &["a/*"],
    &["h"],
];
const DELIVERED: u64 = 2_000_000;
const PATIENCE: Duration = Duration::from_secs(120);

/// The IDs and the texts of encoded events.
fn events(frame: &EncodedEvents) -> impl Iterator<Item = (&str, &str)> {
    let text = std::str::from_utf8(frame.bytes()).unwrap();
    text.split_terminator("\n\n").map(|event| {
        let (id, data) = event.split_once('\n').unwrap();
        (&id["id: ".len()..], &data["data: ".len()..])
    })
}

async fn opened(mut subscription: Subscription) -> SubscriptionStream {
    std::future::poll_fn(|cx| subscription.poll_open(cx))
        .await
        .unwrap();
    subscription.resume_after(None)
}

/// Receives `each` events of each channel, and checks their order.
async fn receive_all(
    mut subscription: SubscriptionStream,
    patterns: &[&str],
    each: u64,
    received: &AtomicU64,
) {
    let patterns: Vec<_> = patterns.iter().map(|p| Pattern::new(p).unwrap()).collect();
    let is_meant = |name: &&&str| {
        let name = name.parse().unwrap();
        patterns.iter().any(|pattern| pattern.matches(&name))
    };
    let mut next: HashMap<&str, u64> = CHANNELS.iter().filter(is_meant).map(|c| (*c, 0)).collect();
    let (mut last, mut left) = (0, next.len() as u64 * each);
    while left > 0 {
        let frame = subscription.next().await.unwrap().unwrap();
        for (id, text) in events(&frame) {
            let seq = id.split('.').nth(1).unwrap().parse().unwrap();
            assert!(last < seq, "{seq} came after {last}");
            let (channel, n) = text.split_once(' ').unwrap();
            let expected = next.get_mut(channel).unwrap();
            assert_eq!(
                n.parse::<u64>().unwrap(),
                *expected,
                "of {channel} at {seq}"
            );
            (last, *expected) = (seq, *expected + 1);
        }
        left -= frame.count() as u64;
        received.fetch_add(frame.count() as u64, Ordering::Relaxed);
        if last % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Subscribes, receives some events, checks that they are consecutive, and leaves, again and again.
async fn join_and_leave(hub: Hub, patterns: &'static [&'static str], seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    loop {
        let mut subscription = opened(hub.subscribe_all(patterns)).await;
        let mut next: HashMap<String, u64> = HashMap::new();
        let mut last = 0;
        for _ in 0..random.u32(..20) {
            let frame = subscription.next().await.unwrap().unwrap();
            for (id, text) in events(&frame) {
                let seq = id.split('.').nth(1).unwrap().parse().unwrap();
                assert!(last < seq, "{seq} came after {last}");
                last = seq;
                let (channel, n) = text.split_once(' ').unwrap();
                let n = n.parse::<u64>().unwrap();
                let before = next.insert(channel.to_owned(), n + 1);
                assert_eq!(before.unwrap_or(n), n, "of {channel} at {seq}");
            }
        }
        drop(subscription);
        tokio::task::yield_now().await;
    }
}

async fn publish_all(hub: Hub, channel: &'static str, each: u64) {
    // Several at once, so that the tail delivers batches.
    let mut n = 0;
    while n < each {
        let burst = (n % 13 + 1).min(each - n);
        let published: FuturesUnordered<_> = (n..n + burst)
            .map(|n| hub.publish(channel, Event::new(format!("{channel} {n}"))))
            .collect();
        published
            .for_each(|kept| {
                kept.unwrap();
                std::future::ready(())
            })
            .await;
        n += burst;
    }
}

async fn race(tape_bytes: usize, delivered: u64) {
    let hub = Hub::builder()
        .tape_bytes(tape_bytes)
        .in_memory(Retention::in_memory());
    let sums = SUBSCRIBED.map(|patterns| {
        let patterns: Vec<_> = patterns.iter().map(|p| Pattern::new(p).unwrap()).collect();
        let is_meant = |name: &&&str| {
            let name = name.parse().unwrap();
            patterns.iter().any(|pattern| pattern.matches(&name))
        };
        CHANNELS.iter().filter(is_meant).count() as u64
    });
    let each = delivered.div_ceil(sums.iter().sum());
    let received = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for patterns in SUBSCRIBED {
        let subscription = opened(hub.subscribe_all(patterns)).await;
        let received = Arc::clone(&received);
        tasks.spawn(async move { receive_all(subscription, patterns, each, &received).await });
    }
    for channel in CHANNELS {
        tasks.spawn(publish_all(hub.clone(), channel, each));
    }
    let mut others = JoinSet::new();
    let seed = property::seed();
    for (patterns, n) in SUBSCRIBED.into_iter().zip(0..) {
        others.spawn(join_and_leave(hub.clone(), patterns, seed.wrapping_add(n)));
    }
    let all = async { while tasks.join_next().await.transpose().unwrap().is_some() {} };
    timeout(PATIENCE, all)
        .await
        .expect("no task waits for ever");
    assert!(received.load(Ordering::Relaxed) >= delivered);
    // All of them still run, as none has failed.
    assert!(others.try_join_next().is_none());
    others.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_tapes_are_read_in_ascending_order_while_they_are_written() {
    race(64 << 20, DELIVERED * 3 / 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn events_that_left_the_tapes_are_read_from_the_log_in_the_same_order() {
    race(10_000, DELIVERED / 4).await;
}

/// Each round waits until all subscribers have received it, so that no later event can wake a
/// subscriber that was not woken.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_waiting_subscriber_is_woken() {
    const ROUNDS: u64 = 30_000;
    let hub = Hub::in_memory();
    let (received, mut counts) = tokio::sync::mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for patterns in [&["a"][..], &["a", "b"], &["a/*", "a", "b", "c"]] {
        let mut subscription = opened(hub.subscribe_all(patterns)).await;
        let received = received.clone();
        tasks.spawn(async move {
            while let Some(frame) = subscription.next().await {
                received.send(frame.unwrap().count()).unwrap();
            }
        });
    }
    for round in 0..ROUNDS {
        let burst = round % 3 + 1;
        let mut left = usize::try_from(3 * burst).unwrap();
        for n in 0..burst {
            hub.publish("a", Event::new("x")).await.unwrap();
            // As long as a reader takes to read and to begin to wait.
            for _ in 0..(round * 7 + n * 31) % 500 {
                std::hint::spin_loop();
            }
        }
        while left > 0 {
            let count = timeout(PATIENCE, counts.recv()).await;
            left -= count.expect("all are woken").unwrap();
        }
    }
    drop(hub);
    tasks.abort_all();
}

/// The entry for which a subscriber waits while it joins.
#[derive(Debug, Clone, Copy)]
enum Awaited {
    /// The only event of a pattern that no other subscriber reads.
    Event,
    /// The end of a channel.
    End,
}

/// Many subscribers join, each while the only entry that concerns it is written. A subscriber that this
/// entry does not wake waits for ever, because no other entry wakes it.
async fn join_during_a_write(awaited: Awaited) {
    let joins = property::steps(20_000_u64);
    let seed = property::seed();
    let hub = Hub::in_memory();
    let mut writers = JoinSet::new();
    let mut readers = JoinSet::new();
    for n in 0..joins {
        let spins = fastrand::Rng::with_seed(seed.wrapping_add(n)).u32(..2_000);
        let mut stream = match awaited {
            Awaited::Event => hub.subscribe_all([format!("c{n}/*")]),
            Awaited::End => hub.subscribe(format!("c{n}")),
        }
        .resume_after(None);
        let hub = hub.clone();
        writers.spawn(async move {
            match awaited {
                Awaited::Event => hub.publish(format!("c{n}/x"), Event::new("x")).await,
                Awaited::End => hub.channel(format!("c{n}")).unwrap().end().await,
            }
        });
        // A task is polled only when it is woken.
        readers.spawn(async move {
            (0..spins).for_each(|_| std::hint::spin_loop());
            match awaited {
                Awaited::Event => assert_eq!(stream.next().await.unwrap().unwrap().count(), 1),
                Awaited::End => assert!(stream.next().await.is_none()),
            }
        });
        while writers.len() > 8 {
            writers.join_next().await.unwrap().unwrap().unwrap();
        }
        while let Some(read) = readers.try_join_next() {
            read.unwrap();
        }
    }
    while let Some(written) = writers.join_next().await {
        written.unwrap().unwrap();
    }
    let all = async { while readers.join_next().await.transpose().unwrap().is_some() {} };
    let outcome = timeout(Duration::from_secs(10), all).await;
    assert!(
        outcome.is_ok(),
        "{} of {joins} wait for ever",
        readers.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_first_reader_of_a_pattern_is_woken_by_an_event_that_is_written_while_it_joins() {
    join_during_a_write(Awaited::Event).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_that_joins_while_its_channel_ends_is_woken() {
    join_during_a_write(Awaited::End).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_of_many_concurrent_publishers_gets_the_position_of_its_own_event() {
    const TASKS: u64 = 8;
    const EACH: u64 = 1_250;
    let hub = Hub::in_memory();
    let mut subscription = opened(hub.subscribe("a")).await;
    let mut publishers = JoinSet::new();
    for task in 0..TASKS {
        let hub = hub.clone();
        publishers.spawn(async move {
            let publish = |n| {
                let text = format!("{task} {n}");
                let published = hub.publish("a", Event::new(text.clone()));
                async move { (published.await.unwrap(), text) }
            };
            let published: FuturesUnordered<_> = (0..EACH).map(publish).collect();
            published.collect::<Vec<_>>().await
        });
    }
    let mut published_at: HashMap<String, String> = HashMap::new();
    while let Some(published) = publishers.join_next().await {
        for (position, text) in published.unwrap() {
            let before = published_at.insert(position.to_string(), text);
            assert_eq!(before, None, "two events at {position}");
        }
    }
    let mut left = TASKS * EACH;
    while left > 0 {
        let frame = timeout(PATIENCE, subscription.next()).await.unwrap();
        let frame = frame.unwrap().unwrap();
        for (id, text) in events(&frame) {
            assert_eq!(published_at.remove(id).as_deref(), Some(text), "at {id}");
        }
        left -= frame.count() as u64;
    }
    assert!(published_at.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_publisher_whose_log_changes_gets_its_own_position_or_unconfirmed() {
    let log = MemoryLog::default();
    let hub = Hub::over(log.clone());
    let is_done = Arc::new(AtomicU64::new(0));
    let mut publishers = JoinSet::new();
    for task in 0..4_u64 {
        let (hub, is_done) = (hub.clone(), Arc::clone(&is_done));
        publishers.spawn(async move {
            let mut confirmed = Vec::new();
            for n in 0..2_000_u64 {
                let text = format!("{task} {n}");
                match timeout(PATIENCE, hub.publish("a", Event::new(text.clone())))
                    .await
                    .unwrap()
                {
                    Ok(position) => confirmed.push((position, text)),
                    Err(error) if error.kind() == PublishErrorKind::Unconfirmed => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
            is_done.fetch_add(1, Ordering::Relaxed);
            confirmed
        });
    }
    let mut epochs = vec![log.bounds().await.unwrap().epoch];
    while is_done.load(Ordering::Relaxed) < 4 {
        let bounds = log.bounds().await.unwrap();
        epochs.push(log.renew_epoch(&bounds.epoch).await.unwrap());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let newest = log.bounds().await.unwrap().newest();
    let entries = log
        .read(0, usize::MAX, Scope::all(&newest))
        .await
        .unwrap()
        .entries;
    let confirmed = publishers.join_all().await.concat();
    assert!(!confirmed.is_empty());
    for (position, text) in confirmed {
        let entry = &entries[usize::try_from(position.seq).unwrap() - 1];
        let expected: Position = Position {
            check: entry.check(),
            ..position.clone()
        };
        assert_eq!(entry.body, format!("data: {text}\n\n"));
        assert_eq!(position, expected);
        assert!(epochs.contains(&position.epoch));
    }
}
