//! Random cuts at random times, over one node and over two.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tidings::Event;
use tidings::hub::{Hub, MemoryLog};
use tidings_testkit::property;
use tokio::runtime::Builder;
use tokio::time::sleep;

use crate::app::{App, Failure, id_and_text, within_an_hour};
use crate::cut_body::Cut;

const CHANNELS: [&str; 3] = ["news", "prices/a", "prices/b"];

#[derive(Debug)]
struct Schedule {
    nodes: usize,
    failures: Vec<Failure>,
    publications: Vec<Publication>,
}

#[derive(Debug)]
struct Publication {
    pause: Duration,
    node: usize,
    channel: usize,
    lines: usize,
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let failure = (0..300_usize, any::<bool>(), prop::bool::weighted(0.2));
    let failure = failure.prop_map(|(after, is_clean, loses_id)| Failure {
        cut: Cut { after, is_clean },
        loses_id,
    });
    // The longest pause exceeds the heartbeat's period, so that checkpoints are cut too.
    let pause = prop_oneof![5 => Just(0), 5 => 1..2_000_u64, 1 => 2_000..40_000_u64];
    let publication = (pause, 0..2_usize, 0..CHANNELS.len(), 0..5_usize);
    let publication = publication.prop_map(|(pause, node, channel, lines)| Publication {
        pause: Duration::from_millis(pause),
        node,
        channel,
        lines,
    });
    (1..=2_usize, vec(failure, 0..16), vec(publication, 0..40)).prop_map(
        |(nodes, failures, publications)| Schedule {
            nodes,
            failures,
            publications,
        },
    )
}

#[test]
fn every_event_is_received_once_and_in_order_over_any_cuts_and_nodes() {
    property::check(&schedules(), |schedule| {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(within_an_hour(run(schedule)));
    });
}

async fn run(schedule: Schedule) {
    let log = MemoryLog::default();
    let nodes = || Hub::over(log.clone());
    let nodes: Vec<_> = std::iter::repeat_with(nodes).take(schedule.nodes).collect();
    // `earliest`: a client that is cut before its first event has no ID to resume from, and one whose ID is
    // lost on the way receives all events again.
    let app = App::new(nodes.clone(), |hub| hub.subscribe_all(CHANNELS).earliest());
    app.expect_failures(schedule.failures);
    let publishing = publish(&nodes, &schedule.publications);
    let (published, received) = tokio::join!(publishing, receive(&app));
    assert_eq!(received, published);
    assert_eq!(app.gaps(), []);
}

/// Publishes all events, then ends the channels.
async fn publish(nodes: &[Hub], publications: &[Publication]) -> Vec<(String, String)> {
    let mut published = Vec::new();
    for (n, publication) in publications.iter().enumerate() {
        sleep(publication.pause).await;
        let text = format!("{n}{}", "\nanother line".repeat(publication.lines));
        let node = &nodes[publication.node % nodes.len()];
        let channel = CHANNELS[publication.channel];
        let position = node.publish(channel, Event::new(text.clone())).await;
        published.push((position.unwrap().to_string(), text));
    }
    for channel in CHANNELS {
        nodes[0].channel(channel).unwrap().end().await.unwrap();
    }
    published
}

async fn receive(app: &App) -> Vec<(String, String)> {
    let mut session = app.request().open().await.unwrap();
    let mut received = Vec::new();
    while let Some(event) = session.try_next().await.unwrap() {
        received.push(id_and_text(&event));
    }
    received
}
