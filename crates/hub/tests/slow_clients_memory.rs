//! The memory of slow subscribers. In a process of its own, because it counts all allocations.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::alloc::System;
use std::future::poll_fn;

use cap::Cap;
use tidings_hub::{
    ChannelName, Draft, Event, Feed, Gap, Hub, Log, MemoryLog, SlowReader, Subscription,
};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const CLIENTS: usize = 40;
const EVENTS: usize = 70_000;

async fn next(subscription: &mut Subscription) -> Vec<Event> {
    let events = poll_fn(|cx| subscription.poll_events(cx)).await;
    events.unwrap().unwrap().to_events()
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_holds_places_and_one_block_of_events() {
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
}
