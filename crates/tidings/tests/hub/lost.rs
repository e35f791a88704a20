//! What is lost, and told.

use std::time::Duration;

use tidings::client::Session;
use tidings::hub::{Hub, MemoryLog};
use tidings::proto::{Gap, GapReason, Position};
use tidings::{Event, EventId};
use tokio::time::timeout;

use crate::app::{App, within_an_hour};
use crate::line::Cut;

/// Over a channel, where others have events too.
fn app(hub: &Hub) -> App {
    App::new(vec![hub.clone()], |hub| hub.subscribe_all(["news"]))
}

/// Publishes `n` as the `n`th event of the log, every third to another channel; returns those that are
/// to be heard, by their places.
async fn publish(hub: &Hub, seqs: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut audible = Vec::new();
    for seq in seqs {
        let channel = if seq % 3 == 0 { "other" } else { "news" };
        let event = Event::new(seq.to_string());
        assert_eq!(hub.publish(channel, event).await.unwrap().seq, seq);
        audible.extend((channel == "news").then_some(seq));
    }
    audible
}

/// What comes until nothing comes for a minute.
async fn hear(session: &mut Session) -> Vec<u64> {
    let mut heard = Vec::new();
    while let Ok(event) = timeout(Duration::from_secs(60), session.try_next()).await {
        heard.push(event.unwrap().unwrap().text().parse().unwrap());
    }
    heard
}

async fn open(app: &App) -> Session {
    within_an_hour(app.request().open()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_was_trimmed_meanwhile_is_told_once_and_nothing_else_is_missing() {
    // Through the gap, and a few of the events behind it.
    for after in 0..260 {
        let is_clean = after % 2 == 0;
        let log = MemoryLog::default();
        let hub = Hub::over(log.clone());
        let app = app(&hub);
        app.expect([Cut::NEVER, Cut { after, is_clean }]);
        let mut session = open(&app).await;
        let mut audible = publish(&hub, 1..=5).await;
        let mut heard = hear(&mut session).await;
        assert_eq!(heard, audible);

        app.hang_up();
        audible.extend(publish(&hub, 6..=20).await);
        log.trim(11);
        heard.extend(hear(&mut session).await);

        let gaps = app.gaps();
        let [gap] = &gaps[..] else {
            panic!("cut after {after}: {gaps:?}")
        };
        let place = |id: &str| id.parse::<Position>().unwrap().seq;
        let (requested, resumed) = (gap.requested.as_deref().unwrap(), &gap.resumed);
        let (from, to) = (place(requested), place(resumed));
        assert_eq!((gap.reason, from, to), (GapReason::Trimmed, 5, 10));
        assert_eq!(gap.missed, Some(to - from));
        audible.retain(|seq| !(from + 1..=to).contains(seq));
        assert_eq!(heard, audible, "cut after {after}");
        assert_eq!(app.requests().len(), 3, "cut after {after}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_log_is_told_and_heard_from_then_on() {
    let hub = Hub::in_memory();
    let app = app(&hub);
    let mut session = open(&app).await;
    publish(&hub, 1..=5).await;
    hear(&mut session).await;
    let requested = session.last_event_id().unwrap().to_string();

    let other = Hub::in_memory();
    publish(&other, 1..=2).await;
    app.replace(&other);
    app.hang_up();
    assert!(hear(&mut session).await.is_empty());
    let resumed = session.last_event_id().unwrap().to_string();
    // At places that the client has heard, of another log.
    let audible = publish(&other, 3..=8).await;
    assert_eq!(hear(&mut session).await, audible);

    let reason = GapReason::Epoch;
    assert_eq!(app.gaps(), [gap(requested, &resumed, reason)]);
    assert_eq!(resumed.parse::<Position>().unwrap().seq, 2);
    assert_eq!(app.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_no_position_is_told() {
    let hub = Hub::in_memory();
    publish(&hub, 1..=5).await;
    tells_a_gap(&hub, "17".into(), GapReason::UnknownId).await;
}

#[tokio::test(start_paused = true)]
async fn an_id_past_the_end_is_told_and_what_stands_before_it_is_heard() {
    let hub = Hub::in_memory();
    let mut position = hub.publish("news", Event::new("1")).await.unwrap();
    publish(&hub, 2..=5).await;
    position.seq = 100;
    tells_a_gap(&hub, position.to_string(), GapReason::Future).await;
}

/// Who comes with this id to a hub of five events is told so, and hears the sixth.
async fn tells_a_gap(hub: &Hub, requested: String, reason: GapReason) {
    let app = app(hub);
    let id = EventId::new(&requested).unwrap();
    let request = app.request().last_event_id(id);
    let mut session = within_an_hour(request.open()).await.unwrap();
    assert!(hear(&mut session).await.is_empty());
    let resumed = session.last_event_id().unwrap().to_string();
    assert_eq!(resumed.parse::<Position>().unwrap().seq, 5);
    let audible = publish(hub, 6..=8).await;
    assert_eq!(hear(&mut session).await, audible);
    assert_eq!(app.requests(), [Some(requested.clone())]);
    assert_eq!(app.gaps(), [gap(requested, &resumed, reason)]);
}

fn gap(requested: String, resumed: &str, reason: GapReason) -> Gap {
    Gap {
        requested: Some(requested),
        resumed: resumed.into(),
        reason,
        missed: None,
    }
}
