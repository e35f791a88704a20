//! Owns `Hub` and what it is set to.

use std::sync::Arc;

use futures_util::FutureExt;
use tidings_proto::{Event, Position};

use crate::follow::begin_life;
use crate::presence::Presences;
use crate::publish::{Publish, draft, end_draft, publish};
use crate::shared::{HubSettings, Shared};
use crate::{
    Channel, ChannelName, Error, Log, MemoryLog, Pattern, Presence, Retention, Subscription, meters,
};

/// Channels, and whoever hears them.
///
/// Publish once, and every subscriber of the channel hears it, in order, from where it left off, or is
/// told what it lost. Clones are one hub, and cheap. It needs a tokio runtime: in the first one in which
/// it is used runs its only task, for as long as there is a clone or a subscription: one that is kept and
/// not driven, such as a current-thread runtime that only set things up, makes everybody wait. When that
/// runtime is dropped, the next one in which the hub is used takes over.
///
/// ```
/// use tidings_hub::{Event, Hub};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::in_memory();
/// let mut subscription = hub.subscribe("news");
/// let position = hub.publish("news", Event::new("hello")).await?;
///
/// let heard = subscription.next().await.unwrap()?.to_events();
/// assert_eq!(heard[0].text(), "hello");
/// assert_eq!(heard[0].id, Some((&position).into()));
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
    /// A hub that keeps its events in memory: 256 MiB and 1,000,000 of them, until the process ends.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::builder().in_memory(Retention::in_memory())
    }

    /// A hub over this log.
    #[must_use]
    pub fn over(log: impl Log) -> Self {
        Self::builder().over(log)
    }

    /// A hub that is set otherwise.
    pub fn builder() -> HubBuilder {
        HubBuilder::default()
    }

    /// Publishes an event to a channel; ready once it is kept, and to be heard by everybody who reads
    /// the channel.
    ///
    /// Its position is its id, in place of one that the event has. Publishing waits for no reader,
    /// however slow.
    ///
    /// Of several, each awaited before the next is begun, the order is kept; of futures that are polled
    /// together it is that of their first polls, once the log has been reached.
    ///
    /// # Errors
    /// * [`Error::Name`] for a channel that cannot be called so;
    /// * [`Error::NoData`], [`Error::ReservedEvent`] and [`Error::TooLarge`] (1 MiB unless
    ///   [set](HubBuilder::max_event_bytes)) for an event that cannot be published;
    /// * [`Error::Ended`] once the channel has ended;
    /// * [`Error::Draining`] once the hub is drained;
    /// * [`Error::Log`] and [`Error::Unconfirmed`] if the log fails;
    /// * [`Error::NoRuntime`] if there is no tokio runtime in which the hub could run its task.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the event may be published or not; under a
    /// [key](Publish::key) it is safe to repeat.
    pub fn publish(&self, channel: impl AsRef<str>, event: Event) -> Publish {
        let name = ChannelName::new(channel.as_ref()).map_err(Error::Name);
        let draft = name.and_then(|name| draft(self.shared(), name, event));
        Publish::new(self.clone(), draft)
    }

    /// Subscribes to a channel.
    ///
    /// Who comes without an id hears what is published from now on, unless the subscription says else.
    /// What cannot be the name of one channel, a pattern too, is told when the subscription is opened, as
    /// an error that a server answers with 400: so the name may be a client's.
    pub fn subscribe(&self, channel: impl AsRef<str>) -> Subscription {
        let name = ChannelName::new(channel.as_ref()).map_err(Error::Name);
        Subscription::new(self.clone(), name.map(|name| vec![name.into()]))
    }

    /// Subscribes to several channels at once, and with [`name/*`](Pattern) to all below a name: their
    /// events come in one order, and one id resumes them all. At most 64 of them, unless
    /// [set](HubBuilder::max_channels).
    ///
    /// Whoever may choose a text may choose one that ends in `/*`: what a client asks for is to be
    /// under a [`Grant`](Subscription::grant), or one of [`subscribe`](Self::subscribe).
    pub fn subscribe_all<P: AsRef<str>>(
        &self,
        patterns: impl IntoIterator<Item = P>,
    ) -> Subscription {
        let parsed = patterns.into_iter().map(|text| Pattern::new(text.as_ref()));
        let patterns = parsed.collect::<Result<Vec<_>, _>>().map_err(Error::Name);
        Subscription::new(self.clone(), patterns)
    }

    /// A channel of this name.
    ///
    /// # Errors
    /// [`Error::Name`] if a channel cannot be called so.
    pub fn channel(&self, name: impl AsRef<str>) -> Result<Channel, Error> {
        let name = ChannelName::new(name.as_ref())?;
        Ok(Channel::new(self.clone(), name))
    }

    /// How many subscriptions to this pattern are open on this hub.
    #[must_use]
    pub fn subscriber_count(&self, pattern: &Pattern) -> usize {
        self.shared().presences.count(pattern)
    }

    pub(crate) async fn end(&self, channel: ChannelName) -> Result<Position, Error> {
        publish(self.shared(), end_draft(channel)).await
    }

    /// Ends on purpose: takes no event any more, waits until what was begun is kept, the last words of
    /// dropped [producers](crate::Producer) among it, and has each subscription end once it has handed
    /// out everything.
    ///
    /// It waits for no reader: that is the server's drain. A producer that is there still says its last
    /// words when it is dropped, but nobody hears them who left by this: whoever fills channels ends first.
    /// It waits for as long as the log takes; who cannot puts a timeout around it.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the hub takes no event, and subscriptions stay open.
    pub async fn drain(&self) {
        self.shared().drain().await;
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }
}

/// What a [`Hub`] is set to.
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
            },
            presences: Presences::default(),
        }
    }
}

impl HubBuilder {
    /// How many bytes of encoded events are held ready for subscribers, over all channels: 64 MiB
    /// unless set. What is older is read from the log.
    pub fn tape_bytes(mut self, bytes: usize) -> Self {
        self.settings.tape_bytes = bytes;
        self
    }

    /// How long an event may be, in bytes on the wire without its id: 1 MiB unless set. A longer one is
    /// [`Error::TooLarge`]. The log may take less. At most 1 GiB.
    pub fn max_event_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_event_bytes = bytes.min(1 << 30);
        self
    }

    /// To how many channels and patterns one subscription may be: 64 unless set. One to more is
    /// [`Error::ChannelCount`].
    pub fn max_channels(mut self, count: usize) -> Self {
        self.settings.max_channels = count;
        self
    }

    /// Calls this whenever a subscriber has come or gone. It is called where that happens, and so is
    /// to be quick and to wait for nothing; two calls may overtake each other.
    pub fn on_presence(mut self, hook: impl Fn(&Presence) + Send + Sync + 'static) -> Self {
        self.presences = Presences::new(Some(Box::new(hook)));
        self
    }

    /// A hub that keeps its events in memory.
    pub fn in_memory(self, retention: Retention) -> Hub {
        self.over(MemoryLog::new(retention))
    }

    /// A hub over this log; a second one over the same takes an `Arc` of it.
    pub fn over(self, log: impl Log) -> Hub {
        let log: Arc<dyn Log> = Arc::new(log);
        // Of a log that needs not be waited for, all that follows is heard from here on.
        let life = begin_life(&*log).now_or_never().and_then(Result::ok);
        if life.is_some() {
            meters::life();
        }
        let shared = Shared::new(log, self.settings, self.presences, life.map(Arc::new));
        let hub = Hub(Arc::new(Handle(Arc::new(shared))));
        // Where there is no runtime yet, the first use starts it.
        hub.shared().start().ok();
        hub
    }
}
