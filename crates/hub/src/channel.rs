//! `Channel`: a handle of one channel of a hub.

use tidings_proto::{Event, Position};

use crate::publish::{Publish, draft};
use crate::{ChannelName, Hub, Pattern, Producer, PublishError, Subscription};

/// A handle of one channel of a hub.
///
/// It holds the hub and the name. You neither create nor delete channels: a channel without
/// subscribers and without stored events takes no memory.
///
/// ```
/// use tidings_hub::{Event, Hub};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let news = Hub::in_memory().channel("news")?;
/// let mut subscriber = news.subscribe().resume_after(None);
/// news.publish(Event::new("hello")).await?;
/// news.end().await?;
///
/// assert_eq!(subscriber.next().await.unwrap()?.to_events()[0].text(), "hello");
/// assert!(subscriber.next().await.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Channel {
    hub: Hub,
    name: ChannelName,
}

impl Channel {
    pub(crate) fn new(hub: Hub, name: ChannelName) -> Self {
        Self { hub, name }
    }

    /// The name of the channel.
    #[must_use]
    pub fn name(&self) -> &ChannelName {
        &self.name
    }

    /// Publishes an event to the channel; see [`Hub::publish`].
    ///
    /// # Errors
    /// As [`Hub::publish`].
    pub fn publish(&self, event: Event) -> Publish {
        let draft = draft(self.hub.shared(), self.name.clone(), event);
        Publish::new(self.hub.clone(), draft)
    }

    /// Subscribes to the channel; see [`Hub::subscribe`].
    pub fn subscribe(&self) -> Subscription {
        self.hub.subscribe(&self.name)
    }

    /// How many subscriptions to the channel are open on this hub. Subscriptions to a pattern that
    /// selects the channel are not counted.
    #[must_use]
    pub fn subscriber_count(&self) -> usize {
        self.hub.subscriber_count(&Pattern::from(self.name.clone()))
    }

    /// Ends the channel: each subscriber receives every event before the end, and then its stream ends.
    ///
    /// A client that reconnects after that, and has received every event, gets 204, and an
    /// `EventSource` then stops reconnecting.
    ///
    /// The end is the last entry of the channel in the log. When the log removes that entry, the
    /// name is free for a new channel. An event or a second end that the log stores before that has no
    /// effect, for ever.
    ///
    /// # Errors
    /// As [`Hub::publish`]; [`PublishErrorKind::Ended`](crate::PublishErrorKind::Ended) if the
    /// channel has ended before.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, the channel may have ended or not.
    pub async fn end(&self) -> Result<Position, PublishError> {
        self.hub.end(self.name.clone()).await
    }

    /// A guard for the task that fills the channel. It ends the channel when you
    /// [`finish`](Producer::finish) it; if it is dropped before that, it first publishes these last
    /// words.
    ///
    /// Use it for the answer of a language model, a job or a match. The task that produces the
    /// events does not depend on a client's connection, and a client that reconnects receives the
    /// rest.
    ///
    /// ```
    /// use tidings_hub::{Event, EventName, Hub};
    ///
    /// const FAILED: EventName = EventName::from_static("failed");
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let hub = Hub::in_memory();
    /// let last_words = Event::new("interrupted").event(FAILED);
    /// let producer = hub.channel("answers/42")?.producer(last_words)?;
    /// tokio::spawn(async move {
    ///     producer.publish(Event::new("Once ")).await?;
    ///     producer.publish(Event::new("upon a time.")).await?;
    ///     producer.finish().await
    /// })
    /// .await??;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Hub::publish`] if the last words could not be published.
    pub fn producer(&self, last_words: Event) -> Result<Producer, PublishError> {
        let words = draft(self.hub.shared(), self.name.clone(), last_words)?;
        Ok(Producer::new(self.hub.clone(), self.name.clone(), words))
    }
}
