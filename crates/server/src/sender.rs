//! Owns `Sender`: what sends into a session, from any task.

use std::sync::Arc;

use tidings_proto::{EncodedEvents, Event};

use crate::shared::Shared;
use crate::{Error, Reason, TrySendError};

/// What sends into a session, from any task; a [`Session`](crate::Session) is one too.
///
/// Clones send into the same session. Each send is whole: what others send comes before or after
/// it. All of them share the session's one queue, 64 KiB
/// ([`MAX_QUEUED_BYTES`](tidings_proto::MAX_QUEUED_BYTES)), and those who wait for room in it get it in
/// the order in which they began to wait. Who began and is then polled no more keeps its place and the
/// room it was given until its future is dropped: let it run in a task, or drop it.
///
/// It keeps no session open: when the handler returns the session ends, whoever still sends.
///
/// ```
/// # use http_body_util::BodyExt;
/// # use tidings_server::SseRequest;
/// use tidings_proto::Event;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let (parts, ()) = http::Request::new(()).into_parts();
/// let response = SseRequest::new(parts).open(async |session| {
///     let sender = session.sender();
///     let job = tokio::spawn(async move { sender.send(Event::new("from another task")).await });
///     Ok(job.await??)
/// });
/// # let sent = response.into_body().collect().await.unwrap().to_bytes();
/// # assert_eq!(sent, "data: from another task\n\n");
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Sender(pub(crate) Arc<Shared>);

impl Sender {
    /// Sends an event, or several encoded ones.
    ///
    /// Returns at once while at most 64 KiB
    /// ([`MAX_QUEUED_BYTES`](tidings_proto::MAX_QUEUED_BYTES)) are queued, and else waits for the
    /// client to read, after whoever waited before; a larger event goes alone. What is queued leaves
    /// whenever the handler next waits for anything; a handler that computes for long between sends
    /// calls [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`Error::Closed`] once the session is over.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, nothing was sent.
    // Not an async function, which would hold the event and its bytes, each twice.
    pub fn send<E: Into<EncodedEvents>>(
        &self,
        event: E,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<'_, E> {
        self.0.send(event.into())
    }

    /// Queues an event, or several encoded ones, if there is room for them now.
    ///
    /// For what is better left out than waited for, such as a position that the next one replaces.
    ///
    /// # Errors
    /// [`TrySendError::Full`] if a [`send`](Self::send) would wait, [`TrySendError::Closed`] once the
    /// session is over; both return the events.
    pub fn try_send(&self, event: impl Into<EncodedEvents>) -> Result<(), TrySendError> {
        self.0.try_send(event.into())
    }

    /// Sends a comment, which clients skip.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    pub async fn comment(&self, text: impl Into<String>) -> Result<(), Error> {
        self.send(Event::comment(text)).await
    }

    /// Sends an event whose data is this value as JSON.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`Error::Json`] if the value cannot be written.
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    #[cfg(feature = "json")]
    #[doc(alias = "serialize")]
    #[doc(alias = "ServerSSESessionWithSerialization")]
    pub async fn send_json<T: serde::Serialize + ?Sized>(&self, value: &T) -> Result<(), Error> {
        let event = Event::from_json(value).map_err(Error::Json);
        self.send(event?).await
    }

    /// Sends a value of a protocol that is a serde enum: the variant is the event's name, what it
    /// holds the data, as JSON. See [`Event::from_typed`](tidings_proto::Event::from_typed), which
    /// also makes an event that gets an id, or is of another format.
    ///
    /// ```
    /// # use http_body_util::BodyExt;
    /// # use tidings_server::SseRequest;
    /// #[derive(serde::Serialize)]
    /// #[serde(rename_all = "snake_case")]
    /// enum Shop {
    ///     Price { cents: u32 },
    ///     Resync,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let (parts, ()) = http::Request::new(()).into_parts();
    /// let response = SseRequest::new(parts).open(async |session| {
    ///     session.send_typed(&Shop::Resync).await?;
    ///     session.send_typed(&Shop::Price { cents: 5 }).await?;
    ///     Ok(())
    /// });
    /// # let sent = response.into_body().collect().await.unwrap().to_bytes();
    /// assert_eq!(sent, "event: resync\ndata:\n\nevent: price\ndata: {\"cents\":5}\n\n");
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`Error::Json`] if the value cannot be written, or the variant
    /// cannot name an event.
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    #[cfg(feature = "json")]
    #[doc(alias = "serialize")]
    pub async fn send_typed<T: serde::Serialize + ?Sized>(&self, value: &T) -> Result<(), Error> {
        let event = Event::from_typed(value).map_err(Error::Json);
        self.send(event?).await
    }

    /// Waits until all that was sent before has been handed to the connection, and the connection
    /// has had a turn to write it.
    ///
    /// # Errors
    /// [`Error::Closed`] if the client is gone, and with it what was not written yet.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, everything still leaves.
    pub async fn flush(&self) -> Result<(), Error> {
        self.0.flush().await
    }

    /// Ends the session: what was sent still leaves, then the response ends, and the handler is
    /// dropped where it waits. No last event is sent.
    pub fn close(&self) {
        self.0.end(Reason::Closed);
    }

    /// Waits until the session is over: it was closed, its handler has returned or failed, its
    /// lifetime has passed, the server drains, or the client is gone.
    ///
    /// A client that is gone is noticed when its connection is read or written, which may take
    /// until the next event or heartbeat.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn closed(&self) {
        self.0.closed().await;
    }

    /// Whether the session is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}
