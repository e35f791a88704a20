//! `SubscriptionStream`: the events of a subscription, for a subscriber in the same process.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use tidings_proto::EncodedEvents;

use crate::SubscribeError;
use crate::subscriber::Subscriber;

/// The events of a subscription, for a subscriber in the same process;
/// [`Subscription::resume_after`](crate::Subscription::resume_after) returns it.
///
/// An item is a `Result<EncodedEvents, SubscribeError>`: one or several events, encoded, which
/// [`EncodedEvents::to_events`] returns as a `Vec<Event>`. A gap is an event named `gap`, and
/// [`Gap::from_event`](crate::Gap::from_event) reads it. The stream ends when all its channels have
/// ended, when the hub is drained, when its grant has lapsed, when
/// [`SlowReader`](crate::SlowReader) disconnects it, when newer
/// [snapshots](crate::Subscription::snapshot) needed the room of its own, and after an error.
///
/// ```
/// use tidings_hub::{Event, Hub};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::in_memory();
/// let channel = hub.channel("news")?;
/// let mut news = channel.subscribe().resume_after(None);
/// channel.publish(Event::new("hello")).await?;
/// channel.end().await?;
///
/// while let Some(events) = news.next().await {
///     for event in events?.to_events() {
///         println!("{}", event.text());
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a stream delivers nothing unless it is polled"]
pub struct SubscriptionStream(pub(crate) Subscriber);

impl SubscriptionStream {
    /// Waits for the next events. Returns `None` after the end, and after an error.
    ///
    /// # Errors
    /// A [`SubscribeError`]: before the first events, of any kind; later, of the kinds `Log`,
    /// `NoRuntime` and `Snapshot`.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, no event is lost.
    pub async fn next(&mut self) -> Option<Result<EncodedEvents, SubscribeError>> {
        std::future::poll_fn(|cx| self.0.poll_events(cx)).await
    }
}

impl Stream for SubscriptionStream {
    type Item = Result<EncodedEvents, SubscribeError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_events(cx)
    }
}

impl fmt::Debug for SubscriptionStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write("SubscriptionStream", f)
    }
}
