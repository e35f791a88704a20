//! `ChannelEvents`: the events of a subscription with their channels, for a subscriber in the same process.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec;

use futures_core::Stream;
use tidings_proto::{Event, EventId, Position};

use crate::id_form::plain_id;
use crate::subscriber::Subscriber;
use crate::{ChannelName, SubscribeError};

/// An event of a subscription, with its channel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelEvent {
    /// The channel. `None` for the events that the hub itself sends, `gap` and `closed`, and for those of a
    /// [snapshot](crate::Subscription::snapshot).
    pub channel: Option<ChannelName>,
    /// The event. Its ID is its position, without the channel.
    pub event: Event,
}

impl ChannelEvent {
    /// An event as its subscription has delivered it, with an ID that names its channel.
    fn new(event: Event) -> Self {
        let named = event.id.as_ref().map(EventId::as_str);
        let channel = named.and_then(Position::channel_in);
        Self {
            channel: channel.and_then(|name| ChannelName::new(name).ok()),
            event: Event {
                id: event.id.as_ref().map(plain_id),
                ..event
            },
        }
    }
}

/// The events of a subscription with their channels, one at a time, for a subscriber in the same process;
/// [`Subscription::events_after`](crate::Subscription::events_after) returns it.
///
/// An item is a `Result<ChannelEvent, SubscribeError>`. A gap is an event named `gap`, and
/// [`Gap::from_event`](crate::Gap::from_event) reads it. The stream ends as a
/// [`SubscriptionStream`](crate::SubscriptionStream) does.
///
/// ```
/// use tidings_hub::{Event, Gap, Hub};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::in_memory();
/// let mut events = hub.subscribe_all(["news", "rooms/*"]).events_after(None);
/// hub.publish("news", Event::new("open")).await?;
/// hub.publish("rooms/7", Event::new("hello")).await?;
/// # let mut received = Vec::new();
/// # hub.drain().await;
///
/// while let Some(next) = events.next().await {
///     let next = next?;
///     match (&next.channel, Gap::from_event(&next.event)) {
///         (Some(channel), _) => println!("{channel}: {}", next.event.text()),
///         (None, Some(gap)) => eprintln!("events are missing: {gap:?}"),
///         (None, None) => eprintln!("{}", next.event.event_type()),
///     }
///     # received.push(next.channel.unwrap());
/// }
/// # assert_eq!(received, ["news", "rooms/7"]);
/// # Ok(())
/// # }
/// ```
#[must_use = "a stream delivers nothing unless it is polled"]
pub struct ChannelEvents {
    subscriber: Subscriber,
    /// The next events.
    taken: vec::IntoIter<Event>,
}

impl ChannelEvents {
    /// The events of a subscriber whose IDs name their channels.
    pub(crate) fn new(subscriber: Subscriber) -> Self {
        Self {
            subscriber,
            taken: Vec::new().into_iter(),
        }
    }

    /// Waits for the next event. Returns `None` after the end, and after an error.
    ///
    /// # Errors
    /// As [`SubscriptionStream::next`](crate::SubscriptionStream::next).
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, no event is lost.
    pub async fn next(&mut self) -> Option<Result<ChannelEvent, SubscribeError>> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<ChannelEvent, SubscribeError>>> {
        // Events that were taken before a grant has lapsed are not delivered after that.
        if !self.taken.as_slice().is_empty()
            && let Some(closed) = self.subscriber.poll_lapse(cx)
        {
            self.taken = closed.to_events().into_iter();
        }
        loop {
            if let Some(event) = self.taken.next() {
                return Poll::Ready(Some(Ok(ChannelEvent::new(event))));
            }
            match ready!(self.subscriber.poll_events(cx)) {
                Some(Ok(events)) => self.taken = events.to_events().into_iter(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Stream for ChannelEvents {
    type Item = Result<ChannelEvent, SubscribeError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_event(cx)
    }
}

impl fmt::Debug for ChannelEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.subscriber.write("ChannelEvents", f)
    }
}
