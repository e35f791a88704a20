//! Lost events, and the gaps that report them.

use std::time::Duration;

use tidings::client::Session;
use tidings::hub::{Hub, MemoryLog};
use tidings::proto::{Gap, GapReason, Position};
use tidings::{Event, EventId};
use tidings_testkit::timeout::timeout;

use crate::app::{App, within_an_hour};
use crate::cut_body::Cut;

/// Subscribes to one channel of a log that also has events of another.
fn app(hub: &Hub) -> App {
    App::new(vec![hub.clone()], |hub| hub.subscribe_all(["news"]))
}

/// Publishes `n` as the `n`th event of the log, every third to another channel. Returns the sequence numbers
/// that the client must receive.
async fn publish(hub: &Hub, seqs: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut expected = Vec::new();
    for seq in seqs {
        let channel = if seq % 3 == 0 { "other" } else { "news" };
        let event = Event::new(seq.to_string());
        assert_eq!(hub.publish(channel, event).await.unwrap().seq, seq);
        expected.extend((channel == "news").then_some(seq));
    }
    expected
}

/// Receives until nothing arrives for a minute.
async fn receive(session: &mut Session) -> Vec<u64> {
    let mut received = Vec::new();
    while let Ok(event) = timeout(Duration::from_secs(60), session.try_next()).await {
        received.push(event.unwrap().unwrap().text().parse().unwrap());
    }
    received
}

async fn open(app: &App) -> Session {
    within_an_hour(app.request().open()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn trimmed_events_are_reported_in_one_gap_and_no_others_are_missing() {
    // In the gap, and in the first events after it.
    for after in 0..260 {
        let is_clean = after % 2 == 0;
        let log = MemoryLog::default();
        let hub = Hub::over(log.clone());
        let app = app(&hub);
        app.expect_failures([Cut::NEVER, Cut { after, is_clean }]);
        let mut session = open(&app).await;
        let mut expected = publish(&hub, 1..=5).await;
        let mut received = receive(&mut session).await;
        assert_eq!(received, expected);

        app.disconnect();
        expected.extend(publish(&hub, 6..=20).await);
        log.trim(11);
        received.extend(receive(&mut session).await);

        let gaps = app.gaps();
        let [gap] = &gaps[..] else {
            panic!("cut after {after}: {gaps:?}")
        };
        let seq = |id: &str| id.parse::<Position>().unwrap().seq;
        let (requested, resumed) = (gap.requested.as_deref().unwrap(), &gap.resumed);
        let (from, to) = (seq(requested), seq(resumed));
        assert_eq!((gap.reason, from, to), (GapReason::Trimmed, 5, 10));
        let missed = from + 1..=to;
        let least = expected.iter().filter(|seq| missed.contains(seq)).count() as u64;
        let most = to - from;
        assert!((least..=most).contains(&gap.missed.unwrap()), "{gap:?}");
        expected.retain(|seq| !missed.contains(seq));
        assert_eq!(received, expected, "cut after {after}");
        assert_eq!(app.requests().len(), 3, "cut after {after}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_missed_no_event_of_its_own_receives_no_gap() {
    let log = MemoryLog::default();
    let hub = Hub::over(log.clone());
    let app = app(&hub);
    let mut session = open(&app).await;
    let mut expected = publish(&hub, 1..=5).await;
    let mut received = receive(&mut session).await;
    app.disconnect();
    for n in 0..20 {
        hub.publish("other", Event::new(n.to_string()))
            .await
            .unwrap();
    }
    log.trim(20);
    expected.extend(publish(&hub, 26..=29).await);
    received.extend(receive(&mut session).await);
    assert_eq!(received, expected);
    assert_eq!(app.gaps(), []);
    assert_eq!(app.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_log_is_reported_and_its_new_events_are_received() {
    let hub = Hub::in_memory();
    let app = app(&hub);
    let mut session = open(&app).await;
    publish(&hub, 1..=5).await;
    receive(&mut session).await;
    let requested = session.last_event_id().unwrap().to_string();

    let other = Hub::in_memory();
    publish(&other, 1..=2).await;
    app.replace(&other);
    app.disconnect();
    assert!(receive(&mut session).await.is_empty());
    let resumed = session.last_event_id().unwrap().to_string();
    // At sequence numbers that the client knows, but of another log.
    let expected = publish(&other, 3..=8).await;
    assert_eq!(receive(&mut session).await, expected);

    let reason = GapReason::Epoch;
    assert_ne!(requested, resumed);
    assert_eq!(app.gaps(), [gap(&resumed, reason)]);
    assert_eq!(resumed.parse::<Position>().unwrap().seq, 2);
    assert_eq!(app.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_not_a_position_is_reported() {
    let hub = Hub::in_memory();
    publish(&hub, 1..=5).await;
    expect_gap(&hub, "17".into(), GapReason::UnknownId).await;
}

#[tokio::test(start_paused = true)]
async fn an_id_past_the_end_is_reported_and_the_next_event_is_received() {
    let hub = Hub::in_memory();
    let mut position = hub.publish("news", Event::new("1")).await.unwrap();
    publish(&hub, 2..=5).await;
    position.seq = 100;
    expect_gap(&hub, position.to_string(), GapReason::Future).await;
}

/// A client with this ID connects to a hub of five events: it receives a gap, then the sixth event.
async fn expect_gap(hub: &Hub, requested: String, reason: GapReason) {
    let app = app(hub);
    let id = EventId::new(&requested).unwrap();
    let request = app.request().last_event_id(id);
    let mut session = within_an_hour(request.open()).await.unwrap();
    assert!(receive(&mut session).await.is_empty());
    let resumed = session.last_event_id().unwrap().to_string();
    assert_eq!(resumed.parse::<Position>().unwrap().seq, 5);
    let expected = publish(hub, 6..=8).await;
    assert_eq!(receive(&mut session).await, expected);
    assert_eq!(app.requests(), [Some(requested)]);
    assert_eq!(app.gaps(), [gap(&resumed, reason)]);
}

fn gap(resumed: &str, reason: GapReason) -> Gap {
    Gap {
        requested: None,
        resumed: resumed.into(),
        reason,
        missed: None,
    }
}
