//! Channels that end, and connections without events.

use std::time::Duration;

use tidings::Event;
use tidings::client::ConnectionState;
use tidings::hub::{Hub, MemoryLog};
use tidings::proto::GapReason;
use tidings_testkit::timeout::timeout;
use tokio::time::sleep;

use crate::app::{App, id_and_text, within_an_hour};
use crate::waiting_log::WaitingLog;

fn app(hub: &Hub) -> App {
    App::new(vec![hub.clone()], |hub| hub.subscribe_all(["news"]))
}

#[tokio::test(start_paused = true)]
async fn a_client_that_received_the_end_asks_once_more_and_closes() {
    let hub = Hub::in_memory();
    let app = app(&hub);
    within_an_hour(async {
        let mut session = app.request().open().await.unwrap();
        let mut last = String::new();
        for text in ["1", "2", "3"] {
            last = hub
                .publish("news", Event::new(text))
                .await
                .unwrap()
                .to_string();
        }
        hub.channel("news").unwrap().end().await.unwrap();
        for text in ["1", "2", "3"] {
            let event = session.try_next().await.unwrap().unwrap();
            assert_eq!(event.text(), text);
        }
        assert!(session.try_next().await.unwrap().is_none());
        assert!(session.last_error().is_none());
        assert_eq!(session.state(), ConnectionState::Closed);
        assert_eq!(session.response().unwrap().status, 204);
        assert_eq!(app.requests(), [None, Some(last)]);
        assert_eq!(app.gaps(), []);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_of_an_answer_that_was_removed_meanwhile_receives_a_gap_and_closes() {
    for is_restarted in [false, true] {
        let log = MemoryLog::default();
        let hub = Hub::over(log.clone());
        let app = app(&hub);
        within_an_hour(async {
            let mut session = app.request().open().await.unwrap();
            hub.publish("news", Event::new("1")).await.unwrap();
            let event = session.try_next().await.unwrap().unwrap();
            assert_eq!(event.text(), "1");
            app.disconnect();
            for text in ["2", "3"] {
                hub.publish("news", Event::new(text)).await.unwrap();
            }
            hub.channel("news").unwrap().end().await.unwrap();
            let other = hub.publish("other", Event::new("x")).await.unwrap();
            log.trim(other.seq);
            if is_restarted {
                app.replace(&Hub::over(log.clone()));
            }
            assert!(session.try_next().await.unwrap().is_none());
            assert_eq!(session.response().unwrap().status, 204);
            assert_eq!(session.state(), ConnectionState::Closed);
            let gaps = app.gaps();
            let [gap] = &gaps[..] else { panic!("{gaps:?}") };
            assert_eq!((gap.reason, gap.missed), (GapReason::Trimmed, Some(2)));
            // After the gap it asked once more.
            assert_eq!(app.requests().len(), 3);
            assert_eq!(app.requests()[2].as_ref(), Some(&gap.resumed));
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_received_nothing_for_long_resumes_from_the_newest_position() {
    let hub = Hub::in_memory();
    let app = app(&hub);
    let mut session = within_an_hour(app.request().open()).await.unwrap();
    hub.publish("news", Event::new("1")).await.unwrap();
    let first = within_an_hour(session.try_next()).await.unwrap().unwrap();
    assert_eq!(first.text(), "1");
    let mut newest = String::new();
    for n in 0..10 {
        let position = hub.publish("other", Event::new(n.to_string())).await;
        newest = position.unwrap().to_string();
    }
    assert_ne!(session.last_event_id().unwrap().as_str(), newest);
    let quiet = timeout(Duration::from_secs(40), session.try_next());
    assert!(quiet.await.is_err(), "a heartbeat is not an event");
    assert_eq!(session.last_event_id().unwrap().as_str(), newest);

    app.disconnect();
    let quiet = timeout(Duration::from_secs(40), session.try_next());
    assert!(quiet.await.is_err(), "an event was received twice");
    assert_eq!(app.requests(), [None, Some(newest)]);
    let position = hub.publish("news", Event::new("2")).await.unwrap();
    let second = within_an_hour(session.try_next()).await.unwrap().unwrap();
    assert_eq!(id_and_text(&second), (position.to_string(), "2".into()));
    assert_eq!(app.gaps(), []);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_cut_before_its_first_event_misses_none() {
    let hub = Hub::in_memory();
    let app = app(&hub);
    let mut session = within_an_hour(app.request().open()).await.unwrap();
    // Before the first heartbeat.
    let quiet = timeout(Duration::from_secs(1), session.try_next());
    assert!(quiet.await.is_err(), "a checkpoint is not an event");
    app.disconnect();
    let position = hub.publish("news", Event::new("1")).await.unwrap();
    let first = within_an_hour(session.try_next()).await.unwrap().unwrap();
    assert_eq!(id_and_text(&first), (position.to_string(), "1".into()));
    assert_eq!(app.requests().len(), 2);
    assert_eq!(app.gaps(), []);
}

#[tokio::test(start_paused = true)]
async fn a_client_of_a_busy_hub_that_is_cut_before_its_first_event_misses_none() {
    // While the subscription opens, events of another channel are published, so it begins with a replay.
    let hub = Hub::builder().over(WaitingLog::new(Duration::from_millis(2)));
    let busy = hub.clone();
    let busy = tokio::spawn(async move {
        loop {
            busy.publish("other", Event::new("x")).await.unwrap();
            sleep(Duration::from_millis(4)).await;
        }
    });
    for n in 0..20 {
        let channel = format!("news/{n}");
        let name = channel.clone();
        let app = App::new(vec![hub.clone()], move |hub| hub.subscribe(&name));
        let mut session = within_an_hour(app.request().open()).await.unwrap();
        // Before the first heartbeat.
        let quiet = timeout(Duration::from_millis(200), session.try_next());
        assert!(quiet.await.is_err(), "a checkpoint is not an event");
        app.disconnect();
        let position = hub.publish(channel, Event::new("1")).await.unwrap();
        let first = within_an_hour(session.try_next()).await.unwrap().unwrap();
        assert_eq!(id_and_text(&first), (position.to_string(), "1".into()));
        assert!(app.requests()[1].is_some(), "{:?}", app.requests());
        assert_eq!(app.gaps(), []);
    }
    busy.abort();
}
