//! `Subscription`: a subscription before it is read, with its settings.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use tidings_proto::{EncodedEvents, Event, EventId, Feed, FeedError, FeedOpened};

use crate::id_form::IdForm;
use crate::resume::StartPoint;
use crate::subscribe_error::SubscribeFailure;
use crate::subscriber::Subscriber;
use crate::{ChannelEvents, Grant, Hub, Pattern, SlowReader, SubscribeError, SubscriptionStream};

/// The maximum of [`Subscription::last`].
const MAX_LAST: usize = 1_000;

/// A subscription to channels of a hub: forward it to a client, or read it in the same process.
///
/// * On a server, `request.forward(subscription)` sends it to the client. A subscription is a
///   [`Feed`], so the server resumes it after the last event ID that the client has sent.
/// * In the same process, [`resume_after`](Self::resume_after) makes it a stream. You pass the last
///   event ID yourself, so a place that drops it is visible in the code.
///
/// A subscription costs little: it is a position in the hub's events, and the hub keeps the events
/// for all subscribers together. Nothing happens until it is polled. Drop it to unsubscribe.
///
/// ```
/// use axum::response::Response;
/// use tidings_axum::SseRequest;
/// use tidings_hub::Hub;
///
/// async fn news(hub: Hub, request: SseRequest) -> Response {
///     request.forward(hub.subscribe("news").earliest()).await
/// }
/// # drop(news);
/// ```
///
/// It is not a `Stream` itself. A client of the following handler would lose events at every
/// reconnection, and it does not compile:
///
/// ```compile_fail
/// use axum::response::Response;
/// use tidings_axum::SseRequest;
/// use tidings_hub::Hub;
///
/// async fn news(hub: Hub, request: SseRequest) -> Response {
///     request.stream(hub.subscribe("news").earliest())
/// }
/// # drop(news);
/// ```
///
/// # Cancel safety
/// [`poll_events`](Feed::poll_events) loses nothing if it is not polled again.
#[must_use = "a subscription delivers nothing unless it is polled"]
pub struct Subscription(Subscriber);

impl Subscription {
    pub(crate) fn new(hub: Hub, patterns: Result<Vec<Pattern>, SubscribeError>) -> Self {
        let max = hub.shared().settings.max_channels;
        let patterns = patterns.and_then(|mut patterns| {
            patterns.sort_unstable();
            patterns.dedup();
            let count = patterns.len();
            if count == 0 || count > max {
                return Err(SubscribeFailure::ChannelCount { count, max }.into());
            }
            Ok(patterns.into())
        });
        Self(Subscriber::new(hub, patterns))
    }

    /// Starts with the first event that is published after the call of `subscribe`: for a client
    /// without a last event ID, and after a gap.
    ///
    /// If the hub has not reached its log by then, the stream starts where the hub reaches it: with the
    /// first event that this hub publishes, but not with earlier events of other nodes. Only a log that
    /// takes time to respond causes this, and only when a hub has just been made.
    ///
    /// If no start is set, a client without a last event ID starts there too, but a client whose next event
    /// the log has removed continues with the oldest event that is left.
    pub fn latest(mut self) -> Self {
        self.0.settings.start = Some(StartPoint::Latest);
        self
    }

    /// Starts with the oldest event of its channels that the log holds: for a client without a last event
    /// ID, and after a gap.
    ///
    /// If the log has removed events of the channels, the subscriber first receives a gap. A channel that
    /// the log has [forgotten](crate::Retention::remembered_channels) counts as new, and causes none.
    pub fn earliest(mut self) -> Self {
        self.0.settings.start = Some(StartPoint::Earliest);
        self
    }

    /// Starts with the newest `events` events of all its channels together: for a client without a last event
    /// ID, and after a gap. Minimum: 1. Maximum: 1,000. Any other number counts as the nearest of these.
    ///
    /// If the log holds fewer, the subscriber receives those, and no gap.
    ///
    /// ```
    /// use tidings_hub::{Event, Hub};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let hub = Hub::in_memory();
    /// for text in ["one", "two", "three"] {
    ///     hub.publish("chat", Event::new(text)).await?;
    /// }
    /// let mut chat = hub.subscribe("chat").last(2).resume_after(None);
    /// let events = chat.next().await.unwrap()?.to_events();
    /// assert_eq!(events[0].text(), "two");
    /// # Ok(())
    /// # }
    /// ```
    pub fn last(mut self, events: usize) -> Self {
        self.0.settings.start = Some(StartPoint::Last(events.clamp(1, MAX_LAST)));
        self
    }

    /// Starts with the first event that the log stored at or after this time: for a client without a last
    /// event ID, and after a gap.
    ///
    /// If the log has removed events of the channels that it stored at or after `time`, the subscriber first
    /// receives a gap. The time of an event is that of the log's clock. A time in the future selects new
    /// events only. A time before 1970 counts as 1970.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use tidings_hub::Hub;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let hub = Hub::in_memory();
    /// let hour = Duration::from_secs(3600);
    /// let news = hub.subscribe("news").from_time(SystemTime::now() - hour);
    /// # drop(news);
    /// # }
    /// ```
    pub fn from_time(mut self, time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        let nanos = since.unwrap_or_default().as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        self.0.settings.start = Some(StartPoint::Time(nanos));
        self
    }

    /// Starts with a snapshot: for a client without a last event ID, and after a gap.
    ///
    /// The hub first takes the current position, then calls `make` for events that describe the
    /// current state, and then delivers the events after that position. So change your state first
    /// and publish the change second: a client may then receive a change twice, in the snapshot and
    /// after it, but never misses one.
    ///
    /// The events of the snapshot lose their IDs; the last one gets the ID of the position. If
    /// `make` fails, a server asks the client to come back later, or breaks the stream if it has begun.
    ///
    /// The snapshots that subscribers have not taken yet take at most 64 MiB of memory, over the whole
    /// hub. Beyond that, a new one waits for up to 2 s until there is room. Then the hub drops the rest of
    /// the oldest ones, and their streams end; their clients receive another snapshot when they
    /// reconnect. A single larger snapshot is delivered all the same. The hub makes 16 snapshots at once.
    /// A subscriber waits at most 2 s for its turn, even if those are never finished.
    pub fn snapshot<F, Fut, I, E>(mut self, make: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<I, E>> + Send + 'static,
        I: IntoIterator<Item = Event>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.0.settings.start = Some(StartPoint::Snapshot(Arc::new(move || {
            let made = make();
            Box::pin(async move {
                let made = made.await;
                let events = made.map_err(|error| Arc::from(error.into()));
                let events = events.map_err(SubscribeFailure::Snapshot)?;
                Ok(events.into_iter().collect())
            })
        })));
        self
    }

    /// Sets the policy for a subscriber that does not keep up. Default: [`SlowReader::skip_to_gap`].
    pub fn slow_reader(mut self, slow_reader: SlowReader) -> Self {
        self.0.settings.slow_reader = slow_reader;
        self
    }

    /// Sets how far the subscriber may be behind before it counts as slow, in entries of the log.
    /// Default: as far as the log goes back; at least 1.
    ///
    /// The entries of all channels count, from the first one it has not received to the newest.
    /// When the limit is exceeded, [`slow_reader`](Self::slow_reader) applies. The limit also holds
    /// at the start: a client that resumes from further behind, or starts with
    /// [`earliest`](Self::earliest), is slow at once. With [`SlowReader::disconnect`], the limit
    /// holds only after the subscriber has caught up.
    pub fn max_lag(mut self, entries: u64) -> Self {
        self.0.settings.max_lag = entries.max(1);
        self
    }

    /// Restricts the subscription to the channels of a grant, for as long as the grant is valid.
    /// Default: no restriction.
    ///
    /// If the grant does not cover every channel of the subscription, it fails with
    /// [`SubscribeErrorKind::Forbidden`](crate::SubscribeErrorKind::Forbidden), and a server
    /// answers 403.
    pub fn grant(mut self, grant: &Grant) -> Self {
        self.0.settings.grant = Some(Box::new(grant.clone()));
        self
    }

    /// Names the channel of each event in its ID: `<position>.<channel>`, such as
    /// `k3Zq9sT0aB2c.42.x_7A.rooms/7`. Default: an ID is the position alone.
    ///
    /// A client of several channels can then tell their events apart, with any `EventSource`, and publishers
    /// change neither the name nor the data of an event. A client resumes with such an ID as with the
    /// position alone, also if the subscription no longer names channels, or names them only now. In Rust,
    /// [`Position::channel_in`](crate::Position::channel_in) returns the channel; in a browser, it follows
    /// the third dot:
    ///
    /// ```js
    /// source.onmessage = event => {
    ///     const channel = event.lastEventId.split(".").slice(3).join(".");
    /// };
    /// ```
    ///
    /// The IDs of gaps, checkpoints and snapshots name no channel. A browser gives an event without an ID the
    /// ID before it, so the hub's last event, `closed`, may seem to belong to a channel.
    ///
    /// While such a subscriber reads, the hub encodes each event of its channels a second time. It drops
    /// these copies afterwards, and serves a later subscriber from the log. In the same process,
    /// [`events_after`](Self::events_after) returns the channel beside the event.
    ///
    /// ```
    /// use tidings_hub::{Event, Hub, Position};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let hub = Hub::in_memory();
    /// let mut rooms = hub.subscribe_all(["rooms/*"]).name_channels().resume_after(None);
    /// let position = hub.publish("rooms/7", Event::new("hello")).await?;
    ///
    /// let event = &rooms.next().await.unwrap()?.to_events()[0];
    /// let id = event.id.as_ref().unwrap();
    /// assert_eq!(*id, format!("{position}.rooms/7").as_str());
    /// assert_eq!(Position::channel_in(id), Some("rooms/7"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn name_channels(mut self) -> Self {
        self.0.settings.id_form = IdForm::Named;
        self
    }

    /// The stream of the events after this ID, for a subscriber in the same process.
    ///
    /// Pass the ID of the last event that you have processed, or `None` if there is none yet.
    /// Without an ID, the stream starts with the first event that is published after the call of
    /// `subscribe`, unless you have configured another start. The empty ID counts as none.
    ///
    /// ```
    /// use tidings_hub::{Event, EventId, Hub};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let hub = Hub::in_memory();
    /// let position = hub.publish("news", Event::new("first")).await?;
    /// hub.publish("news", Event::new("second")).await?;
    ///
    /// let last = EventId::from(&position);
    /// let mut news = hub.subscribe("news").resume_after(Some(&last));
    /// let events = news.next().await.unwrap()?.to_events();
    /// assert_eq!(events[0].text(), "second");
    /// # Ok(())
    /// # }
    /// ```
    pub fn resume_after(mut self, last_event_id: Option<&EventId>) -> SubscriptionStream {
        self.0.resume(last_event_id.map(EventId::as_str));
        SubscriptionStream(self.0)
    }

    /// The stream of the events after this ID, each with its channel, for a subscriber in the same process.
    ///
    /// It starts as [`resume_after`](Self::resume_after) does, and yields one event at a time. The ID of an
    /// event is its position, whether or not [`name_channels`](Self::name_channels) is set.
    ///
    /// ```
    /// use tidings_hub::{Event, Hub};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let hub = Hub::in_memory();
    /// let mut events = hub.subscribe_all(["news", "rooms/*"]).events_after(None);
    /// let position = hub.publish("rooms/7", Event::new("hello")).await?;
    ///
    /// let next = events.next().await.unwrap()?;
    /// assert_eq!(next.channel.unwrap(), "rooms/7");
    /// assert_eq!(next.event, Event::new("hello").id(&position));
    /// # Ok(())
    /// # }
    /// ```
    pub fn events_after(self, last_event_id: Option<&EventId>) -> ChannelEvents {
        let Self(mut subscriber) = self.name_channels();
        subscriber.resume(last_event_id.map(EventId::as_str));
        ChannelEvents::new(subscriber)
    }
}

impl Feed for Subscription {
    fn resume(&mut self, last_event_id: Option<&str>) {
        self.0.resume(last_event_id);
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<FeedOpened, FeedError>> {
        self.0.poll_open(cx).map_err(FeedError::from)
    }

    fn poll_events(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<EncodedEvents, FeedError>>> {
        self.0.poll_events(cx).map_err(FeedError::from)
    }

    fn checkpoint(&mut self) -> Option<EventId> {
        self.0.checkpoint()
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write("Subscription", f)
    }
}
