//! What survives a restart of the store and its hub.

use std::time::Duration;

use tidings_hub::{ChannelStatus, Event, Feed, FeedOpened, Hub, PublishErrorKind};
use tidings_store::{Durability, StoreLog};

use super::{Home, open, publish, resumed, texts, within};

const DURABILITIES: [Durability; 3] = [
    Durability::EveryCommit,
    Durability::Interval(Duration::from_millis(5)),
    Durability::Buffered,
];

#[tokio::test]
async fn events_ids_ends_and_keys_survive_a_restart() {
    for durability in DURABILITIES {
        let home = Home::with(StoreLog::options().durability(durability));
        let log = home.open();
        let hub = Hub::over(log.clone());
        let first = publish(&hub, "a", "1").await;
        publish(&hub, "b", "other").await;
        let keyed = within(hub.publish("a", Event::new("2")).key("key"));
        let keyed = keyed.await.unwrap();
        publish(&hub, "ended", "last words").await;
        let end = within(hub.channel("ended").unwrap().end()).await.unwrap();
        within(hub.drain()).await;
        drop(hub);
        log.close().await.unwrap();

        let log = home.open();
        let hub = Hub::over(log.clone());
        let mut stream = resumed(&hub, "a", &first).await;
        let next = publish(&hub, "a", "3").await;
        assert_eq!((next.epoch.clone(), next.seq), (first.epoch.clone(), 6));
        assert_eq!(texts(&mut stream, "3").await, ["2", "3"], "{durability:?}");
        let repeat = within(hub.publish("a", Event::new("again")).key("key"));
        assert_eq!(repeat.await.unwrap(), keyed);

        let mut over = hub.subscribe("ended");
        over.resume(Some(&end.to_string()));
        assert_eq!(open(&mut over).await, FeedOpened::Over);
        let refused = within(hub.publish("ended", Event::new("late"))).await;
        assert_eq!(refused.unwrap_err().kind(), PublishErrorKind::Ended);
        let state = within(hub.channel("ended").unwrap().state()).await.unwrap();
        assert_eq!(state.status, ChannelStatus::Ended);
        let channels = within(hub.channels(None, 10)).await.unwrap();
        let names: Vec<_> = channels.iter().map(|state| state.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "ended"]);
    }
}

#[tokio::test]
async fn ids_that_name_their_channel_survive_a_restart() {
    let home = Home::new();
    let hub = Hub::over(home.open());
    let mut stream = hub.subscribe_all(["rooms/*"]).events_after(None);
    publish(&hub, "rooms/1", "1").await;
    publish(&hub, "rooms/2", "2").await;
    let first = within(stream.next()).await.unwrap().unwrap();
    let id = first.event.id.clone().unwrap();
    assert_eq!(first.channel.unwrap().as_str(), "rooms/1");
    drop((stream, hub));

    let hub = Hub::over(reopened(&home).await);
    let mut stream = hub.subscribe_all(["rooms/*"]).events_after(Some(&id));
    let next = within(stream.next()).await.unwrap().unwrap();
    assert_eq!(next.channel.unwrap().as_str(), "rooms/2");
    assert_eq!(next.event.text(), "2");
}

/// The task of a hub that was dropped ends soon, and drops the store.
async fn reopened(home: &Home) -> StoreLog {
    let opened = async {
        loop {
            match home.options.open(home.path()) {
                Ok(log) => return log,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    within(opened).await
}

#[tokio::test]
async fn a_store_of_every_commit_keeps_its_epoch_over_a_kill() {
    let home = Home::new();
    let hub = Hub::over(home.open());
    let first = publish(&hub, "a", "1").await;
    let second = within(hub.publish("a", Event::new("2")).key("key"));
    let second = second.await.unwrap();
    let home = home.killed();
    drop(hub);

    let hub = Hub::over(home.open());
    let mut stream = resumed(&hub, "a", &first).await;
    let repeat = within(hub.publish("a", Event::new("2")).key("key"));
    assert_eq!(repeat.await.unwrap(), second);
    let third = publish(&hub, "a", "3").await;
    assert_eq!((third.seq, &third.epoch), (3, &first.epoch));
    assert_eq!(texts(&mut stream, "3").await, ["2", "3"]);
}

#[tokio::test]
async fn a_store_that_is_not_synchronized_tells_a_gap_after_a_kill() {
    for durability in &DURABILITIES[1..] {
        let home = Home::with(StoreLog::options().durability(*durability));
        let hub = Hub::over(home.open());
        let first = publish(&hub, "a", "1").await;
        let second = within(hub.publish("a", Event::new("2")).key("key"));
        let second = second.await.unwrap();
        within(hub.channel("ended").unwrap().end()).await.unwrap();
        let home = home.killed();
        drop(hub);

        let hub = Hub::over(home.open());
        let mut stream = resumed(&hub, "a", &first).await;
        // Nothing is lost, because only the process was killed.
        let repeat = within(hub.publish("a", Event::new("2")).key("key"));
        let repeat = repeat.await.unwrap();
        assert_eq!((repeat.seq, repeat.check), (second.seq, second.check));
        assert_eq!(texts(&mut stream, "gap: Epoch").await, ["gap: Epoch"]);
        let third = publish(&hub, "a", "3").await;
        assert_eq!(third.seq, 4, "{durability:?}");
        assert_ne!(third.epoch, first.epoch);
        assert_eq!(texts(&mut stream, "3").await, ["3"]);
        let refused = within(hub.publish("ended", Event::new("late"))).await;
        assert_eq!(refused.unwrap_err().kind(), PublishErrorKind::Ended);

        // The epoch changes once, not at each open.
        drop((stream, hub));
        let log = reopened(&home).await;
        let bounds = tidings_hub::Log::bounds(&log).await.unwrap();
        assert_eq!(bounds.epoch, third.epoch);
    }
}

#[tokio::test]
async fn a_kill_between_two_opens_changes_the_epoch_only_where_something_may_be_lost() {
    // Closed in order, then opened with another durability and killed.
    let home = Home::with(StoreLog::options().durability(Durability::Buffered));
    let log = home.open();
    let hub = Hub::over(log.clone());
    let first = publish(&hub, "a", "1").await;
    drop(hub);
    log.close().await.unwrap();
    let home = Home {
        options: StoreLog::options(),
        dir: home.dir,
    };
    let hub = Hub::over(home.open());
    let second = publish(&hub, "a", "2").await;
    assert_eq!(second.epoch, first.epoch);
    let home = home.killed();
    drop(hub);
    let hub = Hub::over(home.open());
    assert_eq!(publish(&hub, "a", "3").await.epoch, first.epoch);
}
