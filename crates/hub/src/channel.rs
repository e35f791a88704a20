//! `Channel`: a handle of one channel of a hub.

use tidings_proto::Event;

use crate::publish::{Publish, draft};
use crate::{
    ChannelName, ChannelState, Draft, Hub, LogError, Pattern, Producer, PublishError, Subscription,
};

/// A handle of one channel of a hub.
///
/// It holds the hub and the name. You neither create nor delete channels. A log in memory
/// [remembers](crate::Retention::remembered_channels) a limited number of channels without stored events,
/// each in about 250 bytes and its name.
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

    /// The state of the channel: whether it has ended, its newest event, and its subscribers.
    ///
    /// It asks the log, so it may know entries that subscribers of this hub have not received yet.
    ///
    /// ```
    /// use tidings_hub::{ChannelStatus, Event, Hub};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let answer = Hub::in_memory().channel("answers/42")?;
    /// assert_eq!(answer.state().await?.status, ChannelStatus::Unknown);
    ///
    /// let position = answer.publish(Event::new("Once upon a time.")).await?;
    /// answer.end().await?;
    /// let state = answer.state().await?;
    /// assert_eq!(state.status, ChannelStatus::Ended);
    /// assert_eq!(state.newest, Some(position));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A [`LogError`] if the log fails, or does not respond within the hub's
    /// [`log_timeout`](crate::HubBuilder::log_timeout).
    ///
    /// # Cancel safety
    /// It changes nothing, so the future can be dropped at any time.
    pub async fn state(&self) -> Result<ChannelState, LogError> {
        let stored = self.hub.shared().log.channel(&self.name).await?;
        let subscribers = self.subscriber_count();
        Ok(match stored {
            Some(stored) => ChannelState::of(stored, subscribers),
            None => ChannelState::unknown(self.name.clone(), subscribers),
        })
    }

    /// Ends the channel: each subscriber receives every event before the end, and then its stream ends.
    ///
    /// A client that reconnects after that, and has received every event, gets 204, and an
    /// `EventSource` then stops reconnecting.
    ///
    /// The end is the last entry of the channel in the log. The log refuses every later event, and remembers
    /// the end of 100,000 channels whose entries it has removed, unless
    /// [set otherwise](crate::Retention::remembered_channels). Then the name is free for a new channel.
    /// Logs that other crates provide may keep [less](crate::Abilities).
    ///
    /// The future returns the position of the end. A [key](Publish::key) makes the end safe to repeat: the
    /// repeat returns the position of the first end. An end and an event under the same key do not repeat
    /// each other.
    ///
    /// ```
    /// use tidings_hub::{Hub, PublishErrorKind};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let answer = Hub::in_memory().channel("answers/42")?;
    /// let end = answer.end().key("request-7").await?;
    /// assert_eq!(answer.end().key("request-7").await?, end);
    /// assert_eq!(answer.end().await.unwrap_err().kind(), PublishErrorKind::Ended);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Hub::publish`]; [`PublishErrorKind::Ended`](crate::PublishErrorKind::Ended) if the
    /// channel has ended before.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, the channel may have ended or not.
    pub fn end(&self) -> Publish {
        let draft = Draft::end(self.name.clone());
        Publish::new(self.hub.clone(), Ok(draft))
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
