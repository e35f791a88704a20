//! Any cuts at any time, over one node and over two.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tidings::Event;
use tidings::hub::{Hub, MemoryLog};
use tidings_testkit::property;
use tokio::runtime::Builder;
use tokio::time::sleep;

use crate::app::{App, Fate, id_and_text, within_an_hour};
use crate::line::Cut;

const CHANNELS: [&str; 3] = ["news", "prices/a", "prices/b"];

#[derive(Debug)]
struct Schedule {
    nodes: usize,
    fates: Vec<Fate>,
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
    let fate = (0..300_usize, any::<bool>(), prop::bool::weighted(0.2));
    let fate = fate.prop_map(|(after, is_clean, loses_id)| Fate {
        cut: Cut { after, is_clean },
        loses_id,
    });
    // The longest is longer than the heartbeat's period, so that checkpoints are cut too.
    let pause = prop_oneof![5 => Just(0), 5 => 1..2_000_u64, 1 => 2_000..40_000_u64];
    let publication = (pause, 0..2_usize, 0..CHANNELS.len(), 0..5_usize);
    let publication = publication.prop_map(|(pause, node, channel, lines)| Publication {
        pause: Duration::from_millis(pause),
        node,
        channel,
        lines,
    });
    (1..=2_usize, vec(fate, 0..16), vec(publication, 0..40)).prop_map(
        |(nodes, fates, publications)| Schedule {
            nodes,
            fates,
            publications,
        },
    )
}

#[test]
fn every_event_is_heard_once_and_in_order_wherever_it_is_cut_and_whoever_serves_it() {
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
    // Who is cut before it has heard anything has no id to come back with, and whose id is lost on the
    // way is sent all that it has heard again.
    let app = App::new(nodes.clone(), |hub| hub.subscribe_all(CHANNELS).earliest());
    app.expect(schedule.fates);
    let publishing = publish(&nodes, &schedule.publications);
    let (published, heard) = tokio::join!(publishing, hear(&app));
    assert_eq!(heard, published);
    assert_eq!(app.gaps(), []);
}

/// Publishes all, and then ends the channels.
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

async fn hear(app: &App) -> Vec<(String, String)> {
    let mut session = app.request().open().await.unwrap();
    let mut heard = Vec::new();
    while let Some(event) = session.try_next().await.unwrap() {
        heard.push(id_and_text(&event));
    }
    heard
}
