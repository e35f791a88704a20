//! Owns `Channel`: one channel of a hub.

use tidings_proto::{Event, Position};

use crate::publish::{Publish, draft};
use crate::{ChannelName, Error, Hub, Pattern, Producer, Subscription};

/// One channel of a hub.
///
/// It is a name and a handle: there is nothing to create and nothing to delete. A channel that nobody
/// reads and that has nothing left takes no memory.
#[derive(Debug, Clone)]
pub struct Channel {
    hub: Hub,
    name: ChannelName,
}

impl Channel {
    pub(crate) fn new(hub: Hub, name: ChannelName) -> Self {
        Self { hub, name }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ChannelName {
        &self.name
    }

    /// Publishes to it: see [`Hub::publish`].
    ///
    /// # Errors
    /// As [`Hub::publish`].
    pub fn publish(&self, event: Event) -> Publish {
        let draft = draft(self.hub.shared(), self.name.clone(), event);
        Publish::new(self.hub.clone(), draft)
    }

    /// Subscribes to it: see [`Hub::subscribe`].
    pub fn subscribe(&self) -> Subscription {
        self.hub.subscribe(&self.name)
    }

    /// How many subscribers it has on this hub; those to a pattern that means it are not counted.
    #[must_use]
    pub fn subscriber_count(&self) -> usize {
        self.hub.subscriber_count(&Pattern::from(self.name.clone()))
    }

    /// Ends it: whoever reads it hears all up to here, and then the end of the stream; who comes back
    /// after that, and has nothing left to hear, gets 204, upon which an `EventSource` comes back no
    /// more.
    ///
    /// The end is the channel's last entry in the log. When retention forgets that, the name is that of
    /// a new channel.
    ///
    /// # Errors
    /// [`Error::Ended`] if it has ended before, else as [`Hub::publish`].
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the channel may have ended or not.
    pub async fn end(&self) -> Result<Position, Error> {
        self.hub.end(self.name.clone()).await
    }

    /// A guard for the one task that fills the channel: it ends the channel when it is
    /// [finished](Producer::finish), and when it is dropped without that says these last words first.
    ///
    /// The answer of a language model, a job, a match: the task that makes it depends on no reader's
    /// connection, and a reader that comes back hears the rest.
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
    /// As [`Hub::publish`] for last words that it would refuse.
    pub fn producer(&self, last_words: Event) -> Result<Producer, Error> {
        let words = draft(self.hub.shared(), self.name.clone(), last_words)?;
        Ok(Producer::new(self.hub.clone(), self.name.clone(), words))
    }
}
