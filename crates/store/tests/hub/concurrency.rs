//! Many clients, publishers and hubs over one store at once.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tidings_hub::{Event, EventId, Hub, Log, LogErrorKind, Retention, Scope};
use tidings_store::{StoreErrorKind, StoreLog};
use tokio::task::JoinSet;

use super::{Home, publish, resumed, texts, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_clients_resume_at_once() {
    const CHANNELS: usize = 50;
    const EVENTS: usize = 40;
    let home = Home::new();
    let log = home.open();
    let hub = Hub::over(log.clone());
    let mut begun = Vec::new();
    let mut publishes = Vec::new();
    for n in 0..EVENTS {
        for channel in 0..CHANNELS {
            let event = Event::new(format!("{n} {}", "x".repeat(n * 20)));
            publishes.push(hub.publish(format!("c/{channel}"), event));
        }
    }
    let published = within(join_all(publishes)).await;
    for (n, position) in published.into_iter().enumerate() {
        if n < CHANNELS {
            begun.push(position.unwrap());
        }
    }
    drop(hub);
    log.close().await.unwrap();

    // A new process: nothing is in memory.
    let hub = Hub::over(home.open());
    let mut clients = JoinSet::new();
    for n in 0..1_000 {
        let channel = n % CHANNELS;
        let (hub, after) = (hub.clone(), begun[channel].clone());
        clients.spawn(async move {
            let mut stream = resumed(&hub, &format!("c/{channel}"), &after).await;
            let last = format!("{} {}", EVENTS - 1, "x".repeat((EVENTS - 1) * 20));
            let received = texts(&mut stream, &last).await;
            let numbers = received.iter().map(|text| text.split(' ').next().unwrap());
            assert!(
                numbers.eq((1..EVENTS).map(|n| n.to_string())),
                "{received:?}"
            );
        });
    }
    within(clients.join_all()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn publishers_and_clients_of_two_hubs_over_one_store_agree() {
    let home = Home::new();
    let log = Arc::new(home.open());
    let hubs = [Hub::over(Arc::clone(&log)), Hub::over(Arc::clone(&log))];
    let mut clients = JoinSet::new();
    for hub in &hubs {
        for _ in 0..5 {
            let mut stream = hub.subscribe_all(["c/*"]).events_after(None);
            // Subscribed before the first event is published.
            assert!(stream.next().now_or_never().is_none());
            clients.spawn(async move {
                let mut received = Vec::new();
                while received.len() < 2_000 {
                    let next = within(stream.next()).await.unwrap().unwrap();
                    assert!(next.channel.is_some(), "a gap: {next:?}");
                    let text = next.event.text().to_owned();
                    received.push((next.event.id.unwrap(), text));
                }
                received
            });
        }
    }
    // Both hubs know the log now.
    let mut publishers = JoinSet::new();
    for publisher in 0..8 {
        let hub = hubs[publisher % 2].clone();
        publishers.spawn(async move {
            for n in 0..250 {
                publish(&hub, &format!("c/{publisher}"), &n.to_string()).await;
            }
        });
    }
    within(publishers.join_all()).await;
    let received = within(clients.join_all()).await;
    for other in &received[1..] {
        assert_eq!(*other, received[0]);
    }
    let ids: HashSet<_> = received[0].iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(ids.len(), 2_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hub_that_is_dropped_between_publishes_loses_none_that_was_acknowledged() {
    let home = Home::new();
    let mut acknowledged = Vec::new();
    for round in 0..8 {
        let log = home.open();
        // A publisher whose event was stored, but not delivered before the close, waits so long.
        let hub = Hub::builder().log_timeout(Duration::from_secs(1));
        let hub = hub.over(log.clone());
        let mut publishers = JoinSet::new();
        for publisher in 0..10 {
            let hub = hub.clone();
            publishers.spawn(async move {
                let mut done = Vec::new();
                for n in 0..1_000 {
                    let text = format!("{round} {publisher} {n}");
                    match hub.publish("a", Event::new(&*text)).await {
                        Ok(position) => done.push((position.seq, text)),
                        Err(_) => break,
                    }
                }
                done
            });
        }
        drop(hub);
        let first = round * 37 % 400;
        while log.bounds().await.unwrap().last.seq < acknowledged.len() as u64 + first {
            tokio::task::yield_now().await;
        }
        // The publishers that still wait fail, and the others stop.
        log.close().await.unwrap();
        let done = within(publishers.join_all()).await;
        acknowledged.extend(done.into_iter().flatten());
        check_held(&home, &acknowledged).await;
    }
}

/// Checks that the store holds each of these events under its number.
async fn check_held(home: &Home, events: &[(u64, String)]) {
    let log = home.open();
    let newest = log.bounds().await.unwrap().newest();
    let mut held = Vec::new();
    while (held.len() as u64) < newest.seq {
        let page = log.read(held.len() as u64, 1_000, Scope::all(&newest));
        held.extend(page.await.unwrap().entries);
    }
    for (seq, text) in events {
        let entry = &held[usize::try_from(seq - 1).unwrap()];
        assert_eq!(entry.seq, *seq);
        assert_eq!(entry.body, format!("data: {text}\n\n"));
    }
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_is_closed_under_its_clients_fails_them_and_loses_nothing() {
    let home = Home::new();
    let log = home.open();
    let hub = Hub::over(log.clone());
    let first = publish(&hub, "a", "0").await;
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        let mut stream = resumed(&hub, "a", &first).await;
        clients.spawn(async move {
            let mut count = 0;
            while let Some(Ok(events)) = stream.next().await {
                count += events.to_events().len();
            }
            count
        });
    }
    let mut publishers = JoinSet::new();
    for publisher in 0..10 {
        let hub = hub.clone();
        publishers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let text = format!("{publisher} {}", done.len());
                match hub.publish("a", Event::new(&*text)).await {
                    Ok(position) => done.push((position.seq, text)),
                    Err(error) => return (done, error),
                }
            }
        });
    }
    while log.bounds().await.unwrap().last.seq < 500 {
        tokio::task::yield_now().await;
    }
    log.close().await.unwrap();
    let mut acknowledged = Vec::new();
    for (done, error) in within(publishers.join_all()).await {
        acknowledged.extend(done);
        let text = format!("{error:?}");
        assert!(!text.contains("panicked"), "{text}");
    }
    let error = log.bounds().await.unwrap_err();
    assert_eq!(error.kind(), LogErrorKind::Lost);
    let again = log.close().await.unwrap_err();
    assert_eq!(*again.kind(), StoreErrorKind::Closed);
    clients.abort_all();
    check_held(&home, &acknowledged).await;
    // The hub over the closed store fails, and does no harm to the store that is open now.
    let log = home.open();
    let published = within(hub.publish("a", Event::new("to the closed store"))).await;
    published.unwrap_err();
    let newest = publish(&Hub::over(log.clone()), "a", "new").await;
    assert_eq!(newest.seq, log.bounds().await.unwrap().last.seq);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_follow_while_the_retention_removes_what_they_have_received() {
    let retention = Retention::durable().max_events(Some(100));
    let home = Home::with(StoreLog::options().retention(retention).index_batch(10));
    let log = home.open();
    let hub = Hub::over(log.clone());
    let mut last = None;
    for round in 0..10 {
        let mut stream = match &last {
            Some(id) => hub.subscribe("quiet").resume_after(Some(id)),
            None => hub.subscribe("quiet").resume_after(None),
        };
        let quiet = publish(&hub, "quiet", &format!("q{round}")).await;
        assert_eq!(
            texts(&mut stream, &format!("q{round}")).await,
            [format!("q{round}")],
            "a quiet channel loses nothing by the events of a busy one"
        );
        last = Some(EventId::from(&quiet));
        // Fewer than the log keeps: the hub must receive each of them to confirm it.
        for _ in 0..3 {
            let busy = (0..50).map(|n| hub.publish("busy", Event::new(n.to_string())));
            for published in within(join_all(busy)).await {
                published.unwrap();
            }
        }
    }
    let bounds = log.bounds().await.unwrap();
    assert_eq!(bounds.last.seq - bounds.floor.seq, 100);
}
