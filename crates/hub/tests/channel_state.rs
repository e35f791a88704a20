//! The reports of a hub about its channels: `Channel::state` and `Hub::channels`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::future::{pending, poll_fn};
use std::time::Duration;

use tidings_hub::{
    ChannelName, ChannelState, ChannelStatus, Event, EventId, Feed, Hub, Log, LogError,
    LogErrorKind, LogFuture, MemoryLog, Position, Retention, StoredChannel, Subscription,
};
use tidings_testkit::interpose::{Interpose, Interposed};
use tidings_testkit::scanning_log::ScanningLog;
use tidings_testkit::timeout::timeout;
use tokio::time::{Instant, sleep};

async fn publish(hub: &Hub, channel: &str) -> Position {
    hub.publish(channel, Event::new("x")).await.unwrap()
}

async fn end(hub: &Hub, channel: &str) {
    hub.channel(channel).unwrap().end().await.unwrap();
}

async fn opened(mut subscription: Subscription) -> Subscription {
    poll_fn(|cx| subscription.poll_open(cx)).await.unwrap();
    subscription
}

async fn state(hub: &Hub, channel: &str) -> ChannelState {
    let state = hub.channel(channel).unwrap().state().await.unwrap();
    assert_eq!(state.name.as_str(), channel);
    state
}

/// The status of the channel, and the position of its newest event.
async fn status(hub: &Hub, channel: &str) -> (ChannelStatus, Option<Position>) {
    let state = state(hub, channel).await;
    (state.status, state.newest)
}

/// The names of the next channels, as `channels` returns them.
async fn page(hub: &Hub, after: Option<&str>, limit: usize) -> Vec<String> {
    let after = after.map(|name| ChannelName::new(name).unwrap());
    let page = hub.channels(after.as_ref(), limit).await.unwrap();
    let names = page.iter().map(|state| state.name.to_string());
    names.collect()
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_unknown_then_open_then_ended() {
    let hub = Hub::in_memory();
    assert_eq!(status(&hub, "a").await, (ChannelStatus::Unknown, None));
    let first = publish(&hub, "a").await;
    assert_eq!(status(&hub, "a").await, (ChannelStatus::Open, Some(first)));
    let newest = publish(&hub, "a").await;
    publish(&hub, "b").await;
    let open = (ChannelStatus::Open, Some(newest.clone()));
    assert_eq!(status(&hub, "a").await, open);
    end(&hub, "a").await;
    let ended = (ChannelStatus::Ended, Some(newest.clone()));
    assert_eq!(status(&hub, "a").await, ended);
    // A client that has received the newest event has received everything.
    let mut stream = hub
        .subscribe("a")
        .resume_after(Some(&EventId::from(&newest)));
    assert!(stream.next().await.is_none());
    // A channel may end without an event.
    end(&hub, "c").await;
    assert_eq!(status(&hub, "c").await, (ChannelStatus::Ended, None));
}

#[tokio::test(start_paused = true)]
async fn a_removed_channel_is_unknown_and_an_ended_one_is_ended_until_it_is_forgotten() {
    let retention = Retention::in_memory().remembered_channels(2);
    let log = MemoryLog::new(retention);
    let unable = ScanningLog::new(retention);
    let hubs = [Hub::over(log.clone()), Hub::over(unable.clone())];
    for hub in &hubs {
        publish(hub, "open").await;
        for channel in ["over/1", "over/2", "over/3"] {
            publish(hub, channel).await;
            end(hub, channel).await;
        }
        publish(hub, "other").await;
    }
    log.trim(8);
    unable.trim(8);
    let [hub, of_unable] = &hubs;
    for (channel, expected) in [
        ("open", ChannelStatus::Unknown),
        ("over/1", ChannelStatus::Unknown),
        ("over/2", ChannelStatus::Ended),
        ("over/3", ChannelStatus::Ended),
        ("none", ChannelStatus::Unknown),
    ] {
        for hub in [hub, &Hub::over(log.clone())] {
            assert_eq!(status(hub, channel).await, (expected, None), "{channel}");
        }
        let unknown = (ChannelStatus::Unknown, None);
        assert_eq!(status(of_unable, channel).await, unknown, "{channel}");
    }
    assert_eq!(page(hub, None, 9).await, ["other", "over/2", "over/3"]);
    assert_eq!(page(of_unable, None, 9).await, ["other"]);
    // The end is not removed as long as it is the newest entry.
    end(hub, "other").await;
    log.trim(u64::MAX);
    assert_eq!(status(hub, "other").await, (ChannelStatus::Ended, None));
}

#[tokio::test(start_paused = true)]
async fn the_state_of_a_channel_has_the_epoch_of_the_log() {
    let log = MemoryLog::default();
    let hub = Hub::over(log.clone());
    let before = publish(&hub, "a").await;
    let epoch = log.renew_epoch(&before.epoch).await.unwrap();
    let newest = status(&hub, "a").await.1.unwrap();
    assert_eq!(newest, Position { epoch, ..before });
}

#[tokio::test(start_paused = true)]
async fn only_subscribers_of_exactly_the_channel_on_this_hub_are_counted() {
    let log = MemoryLog::default();
    let [hub, other] = [Hub::over(log.clone()), Hub::over(log)];
    let first = opened(hub.subscribe("a/b")).await;
    let second = opened(hub.subscribe_all(["a/b", "c"])).await;
    let pattern = opened(hub.subscribe_all(["a/*"])).await;
    let elsewhere = opened(other.subscribe("a/b")).await;
    let unpolled = hub.subscribe("a/b");
    assert_eq!(state(&hub, "a/b").await.subscribers, 2);
    assert_eq!(state(&other, "a/b").await.subscribers, 1);
    publish(&hub, "a/b").await;
    publish(&hub, "c").await;
    let counts = async || {
        let page = hub.channels(None, 9).await.unwrap();
        page.iter()
            .map(|state| state.subscribers)
            .collect::<Vec<_>>()
    };
    assert_eq!(counts().await, [2, 1]);
    drop(second);
    assert_eq!(counts().await, [1, 0]);
    drop((first, pattern, elsewhere, unpolled));
    assert_eq!(counts().await, [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_names_of_all_channels_are_read_in_pages() {
    let hub = Hub::in_memory();
    let mut names: Vec<String> = (0..30).map(|n| format!("n/{n}")).collect();
    names.extend(["B", "a", "a-", "a/b", "a.b", "~"].map(str::to_owned));
    for name in &names {
        publish(&hub, name).await;
    }
    end(&hub, "a").await;
    names.sort_unstable();
    for limit in [0, 1, 2, 7, 35, 36, 37, usize::MAX] {
        let mut read: Vec<String> = Vec::new();
        loop {
            let next = page(&hub, read.last().map(String::as_str), limit).await;
            assert!(next.len() <= limit.max(1));
            if next.is_empty() {
                break;
            }
            read.extend(next);
            assert!(read.len() <= names.len(), "{limit}: {read:?}");
        }
        assert_eq!(read, names, "{limit}");
    }
    assert_eq!(page(&hub, Some("a-"), 2).await, ["a.b", "a/b"]);
    // Between two names, before all of them, and after them.
    assert_eq!(page(&hub, Some("a.a"), 1).await, ["a.b"]);
    assert_eq!(page(&hub, Some("-"), 1).await, ["B"]);
    assert!(page(&hub, Some("~a"), 1).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_page_of_channels_has_at_most_a_thousand() {
    let hub = Hub::in_memory();
    for n in 0..1_010 {
        publish(&hub, &format!("n/{n}")).await;
    }
    assert_eq!(page(&hub, None, usize::MAX).await.len(), 1_000);
    assert_eq!(page(&hub, None, 1_001).await.len(), 1_000);
    assert_eq!(page(&hub, None, 999).await.len(), 999);
}

/// How a log answers about its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Silent,
    /// After a second.
    Slow,
    Lost,
    Panics,
}

struct FaultyLog {
    inner: MemoryLog,
    fault: Fault,
}

impl FaultyLog {
    fn answer<'a, T: Send + 'a>(&self, answer: LogFuture<'a, T>) -> LogFuture<'a, T> {
        match self.fault {
            Fault::Silent => Box::pin(pending()),
            Fault::Slow => Box::pin(async {
                sleep(Duration::from_secs(1)).await;
                answer.await
            }),
            Fault::Lost => Box::pin(async { Err(LogError::lost("the disk is gone")) }),
            Fault::Panics => panic!("the log has a bug"),
        }
    }
}

impl Interpose for FaultyLog {
    fn inner(&self) -> &dyn Log {
        &self.inner
    }

    fn channel<'a>(&'a self, name: &'a ChannelName) -> LogFuture<'a, Option<StoredChannel>> {
        self.answer(self.inner.channel(name))
    }

    fn channels<'a>(
        &'a self,
        after: Option<&'a ChannelName>,
        limit: usize,
    ) -> LogFuture<'a, Vec<StoredChannel>> {
        self.answer(self.inner.channels(after, limit))
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_does_not_answer_or_fails_is_an_error_within_the_limit() {
    let limit = Duration::from_secs(3);
    for (fault, expected, takes) in [
        (Fault::Silent, Some(LogErrorKind::Silent), limit),
        (Fault::Slow, None, Duration::from_secs(1)),
        (Fault::Lost, Some(LogErrorKind::Lost), Duration::ZERO),
        (Fault::Panics, Some(LogErrorKind::Lost), Duration::ZERO),
    ] {
        let inner = MemoryLog::default();
        let log = Interposed(FaultyLog { inner, fault });
        let hub = Hub::builder().log_timeout(limit).over(log);
        publish(&hub, "a").await;
        let channel = hub.channel("a").unwrap();
        let start = Instant::now();
        let state = timeout(10 * limit, channel.state()).await.unwrap();
        assert_eq!(state.err().map(|error| error.kind()), expected, "{fault:?}");
        assert_eq!(start.elapsed().as_secs(), takes.as_secs(), "{fault:?}");
        let page = timeout(10 * limit, hub.channels(None, 1)).await.unwrap();
        assert_eq!(page.err().map(|error| error.kind()), expected, "{fault:?}");
        assert_eq!(start.elapsed().as_secs(), 2 * takes.as_secs(), "{fault:?}");
    }
}
