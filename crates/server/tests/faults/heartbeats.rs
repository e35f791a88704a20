//! Heartbeats beside other sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidings_server::{Event, Heartbeat, SessionOptions};
use tidings_testkit::connection::Polled;
use tokio::time::{Instant, advance, sleep};

use crate::harness::{get, open, pipe, receive, receive_all, within};

const MILLISECOND: Duration = Duration::from_millis(1);

fn is_heartbeat(event: &Event) -> bool {
    *event == Event::comment("heartbeat")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_of_a_millisecond_splits_and_delays_no_event() {
    const EVENTS: usize = 20_000;
    let options = SessionOptions::new().heartbeat(Heartbeat::every(MILLISECOND).always(true));
    let received = receive_all(options, async |session| {
        for n in 0..EVENTS {
            let text = format!("{n}\n{}", "y".repeat(n % 700));
            session.send(Event::new(text)).await?;
        }
        // So that there is a heartbeat even if the sends were fast.
        sleep(20 * MILLISECOND).await;
        Ok(())
    });
    let received = received.await;
    assert!(received.is_whole);
    let (beats, events): (Vec<_>, Vec<_>) = received.events().into_iter().partition(is_heartbeat);
    assert!(!beats.is_empty());
    assert_eq!(events.len(), EVENTS);
    for (n, event) in events.iter().enumerate() {
        let expected = format!("{n}\n{}", "y".repeat(n % 700));
        assert!(event.text() == expected, "event {n}");
    }
}

/// The number of heartbeats before, between and after the events of a handler. It sends 100 events, one
/// every 5 ms, and is quiet for 100 ms before and after.
async fn beats_beside_events(heartbeat: Heartbeat) -> [usize; 3] {
    let options = SessionOptions::new().heartbeat(heartbeat);
    let client = pipe(1024, options, async |session| {
        sleep(100 * MILLISECOND).await;
        for n in 0..100 {
            session.send(Event::new(n.to_string())).await?;
            sleep(5 * MILLISECOND).await;
        }
        sleep(95 * MILLISECOND).await;
        Ok(())
    });
    let received = receive(get(client).await).await;
    assert!(received.is_whole);
    let mut beats = [0; 3];
    let mut next = 0;
    for event in received.events() {
        if is_heartbeat(&event) {
            let part = match next {
                0 => 0,
                100 => 2,
                _ => 1,
            };
            beats[part] += 1;
        } else {
            assert_eq!(event.text(), next.to_string());
            next += 1;
        }
    }
    assert_eq!(next, 100);
    beats
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_is_sent_after_quiet_or_always_at_its_period() {
    // A timer goes off up to a millisecond late.
    let quiet = beats_beside_events(Heartbeat::every(10 * MILLISECOND)).await;
    assert!((8..=10).contains(&quiet[0]), "{quiet:?}");
    assert_eq!(quiet[1], 0, "{quiet:?}");
    assert!((8..=10).contains(&quiet[2]), "{quiet:?}");
    let always = beats_beside_events(Heartbeat::every(10 * MILLISECOND).always(true)).await;
    assert!((9..=10).contains(&always[0]), "{always:?}");
    // 500 ms, and up to 100 ms more, because each sleep in between may be late.
    assert!((48..=61).contains(&always[1]), "{always:?}");
    assert!((8..=11).contains(&always[2]), "{always:?}");
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_replaced_a_thousand_times_is_one_heartbeat() {
    let mut connection = open(SessionOptions::new(), async |session| {
        for _ in 0..1000 {
            session.heartbeat(Heartbeat::every(MILLISECOND).event(Event::new("old")));
            session.heartbeat(Heartbeat::every(100 * MILLISECOND).event(Event::new("new")));
        }
        std::future::pending().await
    });
    assert_eq!(connection.read(), (Vec::new(), Polled::Pending));
    let wakes = connection.wakes();
    let mut received = Vec::new();
    let start = Instant::now();
    while start.elapsed() < 1000 * MILLISECOND {
        advance(MILLISECOND).await;
        if connection.is_woken() {
            received.extend(connection.read().0);
        }
    }
    let received = String::from_utf8(received).unwrap();
    assert_eq!(received, "data: new\n\n".repeat(received.len() / 11));
    assert!((9..=10).contains(&(received.len() / 11)), "{received:?}");
    // Each heartbeat wakes the body, and so does the connection's turn after it.
    assert!(connection.wakes() - wakes <= 3 * 10, "one timer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_slower_than_its_period_does_not_starve_the_handler() {
    let beats = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&beats);
    let slow = Heartbeat::every(MILLISECOND).always(true).with(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        let start = Instant::now();
        while start.elapsed() < 5 * MILLISECOND {
            std::hint::spin_loop();
        }
        Event::comment("slow")
    });
    // Keeps the timers of the runtime running while the provider blocks a worker.
    let clock = tokio::spawn(async {
        loop {
            sleep(MILLISECOND).await;
        }
    });
    let options = SessionOptions::new().heartbeat(slow);
    let received = receive_all(options, async |session| {
        for n in 0..20 {
            session.send(Event::new(n.to_string())).await?;
            sleep(MILLISECOND).await;
        }
        Ok(())
    });
    let received = within("the handler", received).await;
    clock.abort();
    assert!(received.is_whole);
    let events = received.events();
    let texts: Vec<_> = events.iter().filter(|event| event.data.is_some()).collect();
    assert_eq!(texts.len(), 20);
    let beats = beats.load(Ordering::SeqCst);
    assert!((1..=200).contains(&beats), "{beats} beats for 20 events");
}
