//! `Hub` and `HubBuilder`: channels of events, and their settings.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tidings_proto::Event;

use crate::continuity::begin_life;
use crate::presence::Presences;
use crate::publish::{Publish, draft};
use crate::shared::{HubSettings, Shared};
use crate::subscribe_error::SubscribeFailure;
use crate::timed_log::{HubRuntime, TimedLog};
use crate::{
    Channel, ChannelName, ChannelState, IntoPatterns, InvalidChannelName, Log, LogError, MemoryLog,
    Pattern, Presence, PublishError, Retention, StoredChannel, Subscription, meters,
};

/// The maximum number of channels that [`Hub::channels`] returns at once.
const MAX_CHANNELS_AT_ONCE: usize = 1_000;

/// Channels of events: publish to a channel, and every subscriber of the channel receives the event.
///
/// Each subscriber receives every event once and in order, starting after the last one it has
/// received, or a `gap` event that reports the loss.
///
/// Clones are the same hub, and are cheap. A hub needs a tokio runtime: its only task runs in the
/// first runtime in which you use the hub, for as long as a handle or a subscription exists. Keep
/// that runtime running; if it is alive but not driven, such as a current-thread runtime outside
/// `block_on`, publishers and subscribers wait. When that runtime is dropped, the task moves to the
/// next runtime in which you use the hub.
///
/// ```
/// use tidings_hub::{Event, Hub};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::in_memory();
/// let mut news = hub.subscribe("news").resume_after(None);
/// let position = hub.publish("news", Event::new("hello")).await?;
///
/// let events = news.next().await.unwrap()?.to_events();
/// assert_eq!(events[0].text(), "hello");
/// assert_eq!(events[0].id, Some((&position).into()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Hub(Arc<Handle>);

#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.stop.notify_one();
    }
}

impl Hub {
    /// A hub that keeps its events in memory: up to 256 MiB, until the process ends.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::builder().in_memory(Retention::in_memory())
    }

    /// A hub that keeps its events in this log.
    #[must_use]
    pub fn over(log: impl Log) -> Self {
        Self::builder().over(log)
    }

    /// A builder with all settings.
    pub fn builder() -> HubBuilder {
        HubBuilder::default()
    }

    /// Publishes an event to a channel. The future is ready when the event is stored and every
    /// subscriber of the channel can read it; it returns the position of the event.
    ///
    /// The position becomes the ID of the event and replaces an ID that you have set. Publishing
    /// never waits for a subscriber, however slow.
    ///
    /// If you await each call before the next one, the events are stored in that order. Futures
    /// that run concurrently are stored in the order of their first polls, once the hub has reached
    /// its log.
    ///
    /// # Errors
    /// [`PublishErrorKind`](crate::PublishErrorKind) lists all kinds. Most report that the event
    /// cannot be published, for example because it has no data or the channel has ended. After
    /// `Unconfirmed` or `Log`, the event may have been published or not.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, the event may be published or not. To repeat it
    /// safely, set a [key](Publish::key).
    pub fn publish(&self, channel: impl AsRef<str>, event: Event) -> Publish {
        let name = ChannelName::new(channel).map_err(PublishError::from);
        let draft = name.and_then(|name| draft(self.shared(), name, event));
        Publish::new(self.clone(), draft)
    }

    /// Subscribes to one channel.
    ///
    /// Without a last event ID, a subscriber receives only new events, unless you configure the
    /// [`Subscription`] otherwise. New means published after this call: an event that this hub
    /// publishes between this call and the first poll is delivered.
    ///
    /// The name may come from a client. A name that is not valid, including a pattern such as
    /// `rooms/*`, fails when the subscription opens, and a server answers 400.
    pub fn subscribe(&self, channel: impl AsRef<str>) -> Subscription {
        let pattern = ChannelName::new(channel).map(|name| vec![name.into()]);
        let pattern = pattern.map_err(|error| SubscribeFailure::ChannelName(error).into());
        Subscription::new(self.clone(), pattern)
    }

    /// Subscribes to several channels at once, and with [`name/*`](Pattern) to all channels below a name.
    ///
    /// The events of all these channels arrive in one order, and one ID resumes them all. Maximum:
    /// 64 channels and patterns, unless [set otherwise](HubBuilder::max_channels).
    ///
    /// A text from a client may be a pattern that selects more than you expect. Restrict it with a
    /// [`Grant`](Subscription::grant), or use [`subscribe`](Self::subscribe), which accepts no
    /// patterns.
    ///
    /// A list of one: `subscribe_all(["rooms/*"])`.
    pub fn subscribe_all(&self, patterns: impl IntoPatterns) -> Subscription {
        let patterns = patterns.into_patterns();
        let patterns = patterns.map_err(|error| SubscribeFailure::Pattern(error).into());
        Subscription::new(self.clone(), patterns)
    }

    /// A handle of the channel of this name.
    ///
    /// # Errors
    /// [`InvalidChannelName`] if the name is not valid.
    pub fn channel(&self, name: impl AsRef<str>) -> Result<Channel, InvalidChannelName> {
        let name = ChannelName::new(name)?;
        Ok(Channel::new(self.clone(), name))
    }

    /// The channels of which the log holds an entry or remembers the end, in the order of the bytes of their
    /// names: at most `limit` of them, and at most 1,000, after the name `after` or from the first name.
    ///
    /// It asks the log, so it may know entries that subscribers of this hub have not received yet. A `limit`
    /// of 0 counts as 1. A channel that is made while you read pages may be left out.
    ///
    /// An empty page ends the list. For the next page, pass the last name of this one:
    ///
    /// ```
    /// use tidings_hub::{Event, Hub};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let hub = Hub::in_memory();
    /// for name in ["b", "a", "c"] {
    ///     hub.publish(name, Event::new("hello")).await?;
    /// }
    /// let page = hub.channels(None, 2).await?;
    /// assert_eq!([&page[0].name, &page[1].name], ["a", "b"]);
    /// let next = hub.channels(Some(&page[1].name), 2).await?;
    /// assert_eq!(next[0].name, "c");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A [`LogError`] if the log fails, or does not respond within the
    /// [`log_timeout`](HubBuilder::log_timeout).
    ///
    /// # Cancel safety
    /// It changes nothing, so the future can be dropped at any time.
    pub async fn channels(
        &self,
        after: Option<&ChannelName>,
        limit: usize,
    ) -> Result<Vec<ChannelState>, LogError> {
        let log = &self.shared().log;
        let limit = limit.clamp(1, MAX_CHANNELS_AT_ONCE);
        let mut stored = log.channels(after, limit).await?;
        stored.truncate(limit);
        // Otherwise a caller would read the same pages again and again.
        let names = after
            .into_iter()
            .chain(stored.iter().map(|channel| &channel.name));
        if !names.is_sorted_by(|a, b| a < b) {
            return Err(LogError::lost(
                "the log returned channels that are not in order",
            ));
        }
        let state = |channel: StoredChannel| {
            let subscribers = self.subscriber_count(&Pattern::from(channel.name.clone()));
            ChannelState::of(channel, subscribers)
        };
        Ok(stored.into_iter().map(state).collect())
    }

    /// How many subscriptions to exactly this pattern are open on this hub.
    #[must_use]
    pub fn subscriber_count(&self, pattern: &Pattern) -> usize {
        self.shared().presences.count(pattern)
    }

    /// Shuts the hub down in order: it accepts no more events, waits until all events that were being
    /// published are stored, and then ends each subscription once it has delivered every event.
    ///
    /// From the start of the drain, a subscription opens only if the log holds an event for it, and ends
    /// after the last one. If all its channels have ended and it has received everything, it is
    /// [over](tidings_proto::FeedOpened::Over). Otherwise it fails with
    /// [`SubscribeErrorKind::Draining`](crate::SubscribeErrorKind::Draining).
    ///
    /// It also waits for the last words of dropped [producers](crate::Producer). A producer that is
    /// dropped later still publishes its last words, but subscribers that this drain has ended do
    /// not receive them; end your producers first. It does not wait for subscribers; the drain of
    /// the server does.
    ///
    /// A publication that you have polled is waited for, also if you neither await nor drop it. If the
    /// log has not stored it yet, only polls of yours continue it: the drain waits for it, as for a log that
    /// does not respond, for at most the [`log_timeout`](HubBuilder::log_timeout), and then logs a warning.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, the hub accepts no more events, and open
    /// subscriptions stay open.
    pub async fn drain(&self) {
        self.shared().drain().await;
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }
}

/// The settings of a [`Hub`].
///
/// ```
/// use tidings_hub::{Hub, Retention};
///
/// let hub = Hub::builder()
///     .tape_bytes(16 << 20)
///     .on_presence(|presence| println!("{}: {}", presence.pattern, presence.count))
///     .in_memory(Retention::in_memory());
/// # drop(hub);
/// ```
#[must_use]
#[derive(Debug)]
pub struct HubBuilder {
    settings: HubSettings,
    presences: Presences,
}

impl Default for HubBuilder {
    fn default() -> Self {
        Self {
            settings: HubSettings {
                tape_bytes: 64 << 20,
                max_event_bytes: 1 << 20,
                max_channels: 64,
                log_timeout: Duration::from_secs(10),
            },
            presences: Presences::default(),
        }
    }
}

impl HubBuilder {
    /// Sets how much memory the hub uses to cache encoded events for subscribers, in bytes over all
    /// channels. Default: 64 MiB.
    ///
    /// At the limit the oldest events leave the cache; they are read from the log. The limit counts
    /// allocated memory, with the index of the events and the record of each channel. It leaves out
    /// the newest batch and, for each channel with a subscriber, less than 1 KiB. Events that a slow
    /// client has not received yet count in its session's queue, and may keep up to 8 times their
    /// size in memory, at most 64 KiB for each queued frame.
    pub fn tape_bytes(mut self, bytes: usize) -> Self {
        self.settings.tape_bytes = bytes;
        self
    }

    /// Sets the maximum size of an event, in bytes as it is sent without its ID. Default: 1 MiB; at
    /// most 1 GiB.
    ///
    /// Publishing a larger one fails with
    /// [`PublishErrorKind::TooLarge`](crate::PublishErrorKind::TooLarge). The log may have a
    /// smaller maximum.
    pub fn max_event_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_event_bytes = bytes.min(1 << 30);
        self
    }

    /// Sets the maximum number of channels and patterns of one subscription. Default: 64.
    ///
    /// A subscription to more fails with
    /// [`SubscribeErrorKind::ChannelCount`](crate::SubscribeErrorKind::ChannelCount).
    pub fn max_channels(mut self, count: usize) -> Self {
        self.settings.max_channels = count;
        self
    }

    /// Sets how long publishers, subscribers and [drains](Hub::drain) wait for a log that does not respond.
    /// Default: 10 s; at least 10 ms, at most 1 day.
    ///
    /// After that, a publication fails: with
    /// [`PublishErrorKind::Unconfirmed`](crate::PublishErrorKind::Unconfirmed) if the event may have been
    /// stored, otherwise with [`PublishErrorKind::Log`](crate::PublishErrorKind::Log). A subscription
    /// fails with [`SubscribeErrorKind::Log`](crate::SubscribeErrorKind::Log).
    ///
    /// The hub repeats a question whose answer may be lost after 1 s, and again after twice that time. So a
    /// short failure of the log delays events for about as long as it lasts, and at least 1 s.
    pub fn log_timeout(mut self, timeout: Duration) -> Self {
        let (least, most) = (Duration::from_millis(10), Duration::from_secs(24 * 3600));
        self.settings.log_timeout = timeout.clamp(least, most);
        self
    }

    /// Sets a closure that is called whenever a subscription has opened or closed. Default: none.
    ///
    /// It runs where the subscription is polled or dropped, so it must be quick and must not block. Two calls
    /// that happen at the same time may arrive in either order.
    pub fn on_presence(mut self, hook: impl Fn(&Presence) + Send + Sync + 'static) -> Self {
        self.presences = Presences::new(Some(Box::new(hook)));
        self
    }

    /// A hub that keeps its events in memory.
    pub fn in_memory(self, retention: Retention) -> Hub {
        self.over(MemoryLog::new(retention))
    }

    /// A hub that keeps its events in this log. For several hubs over one log, pass an `Arc` of it to each.
    pub fn over(self, log: impl Log) -> Hub {
        let runtime = HubRuntime::default();
        let log = TimedLog::new(
            Arc::new(log),
            self.settings.log_timeout,
            Arc::clone(&runtime),
        );
        // If the log answers at once, the hub knows its end now, so subscribers miss nothing from here on.
        let life = begin_life(&log).now_or_never().and_then(Result::ok);
        if life.is_some() {
            meters::life();
        }
        let life = life.map(Arc::new);
        let shared = Shared::new(log, runtime, self.settings, self.presences, life);
        let hub = Hub(Arc::new(Handle(Arc::new(shared))));
        // Without a runtime, the first use of the hub starts its task.
        hub.shared().start().ok();
        hub
    }
}
