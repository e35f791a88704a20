//! Event IDs that name their channels, over HTTP.

use std::time::Duration;

use tidings::Event;
use tidings::client::{Session, SseClient};
use tidings::hub::Hub;
use tidings::hyper::DirectTransport;
use tidings_testkit::timeout::timeout;
use tokio::net::TcpListener;

use crate::app::{App, Failure, id_and_text};
use crate::cut_body::Cut;

const CHANNELS: [&str; 3] = ["news", "rooms/7", "rooms/8/messages"];

/// Publishes to the channels in turn. Returns the IDs that name them, and the texts.
async fn publish(hub: &Hub, numbers: std::ops::Range<usize>) -> Vec<(String, String)> {
    let mut published = Vec::new();
    for n in numbers {
        let (channel, text) = (CHANNELS[n % CHANNELS.len()], n.to_string());
        let position = hub.publish(channel, Event::new(text.clone())).await;
        published.push((format!("{}.{channel}", position.unwrap()), text));
    }
    published
}

async fn receive(session: &mut Session, count: usize) -> Vec<(String, String)> {
    let mut received = Vec::new();
    while received.len() < count {
        let event = timeout(Duration::from_secs(30), session.try_next()).await;
        received.push(id_and_text(&event.unwrap().unwrap().unwrap()));
    }
    received
}

#[tokio::test]
async fn a_client_of_named_channels_that_is_cut_receives_each_event_once() {
    let hub = Hub::in_memory();
    let app = App::new(vec![hub.clone()], |hub| {
        let subscription = hub.subscribe_all(["news", "rooms/*"]);
        subscription.name_channels().earliest()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = app.router();
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

    // Without its last event ID, the client is sent everything again.
    let failures = [(200, true, false), (300, false, true), (400, true, true)];
    app.expect_failures(failures.map(|(after, is_clean, loses_id)| Failure {
        cut: Cut { after, is_clean },
        loses_id,
    }));
    let stored = publish(&hub, 0..20).await;
    let client = SseClient::over(DirectTransport::new().no_proxy());
    let client = client.reconnection_time(Duration::from_millis(10));
    let opened = timeout(Duration::from_secs(30), app.request_of(client, &url).open());
    let mut session = opened.await.unwrap().unwrap();
    assert_eq!(receive(&mut session, 20).await, stored);

    app.disconnect();
    let live = publish(&hub, 20..40).await;
    assert_eq!(receive(&mut session, 20).await, live);
    let requests = app.requests();
    assert_eq!(requests.len(), 5);
    assert_eq!(requests[4].as_ref(), Some(&stored[19].0));
    assert_eq!(app.gaps(), []);
    server.abort();
}
