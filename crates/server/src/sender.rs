//! `Sender`: a handle that sends into a session from any task.

use std::fmt;
use std::sync::Arc;

use tidings_proto::{EncodedEvents, Event};

#[cfg(feature = "json")]
use crate::SendJsonError;
use crate::ending::Ending;
use crate::shared::Shared;
use crate::{Reason, SendError, TrySendError};

/// A handle that sends into a session from any task. A [`Session`](crate::Session) dereferences to
/// one.
///
/// Clones send into the same session. Each send is whole: the events of other sends come before it or
/// after it. All sends share the one queue of the session, 64 KiB
/// ([`MAX_QUEUED_BYTES`](crate::MAX_QUEUED_BYTES)). Sends that wait for room get it in the order in
/// which they began to wait. A send that began to wait and is not polled any more keeps its place and
/// its room until its future is dropped, so run it in a task or drop it.
///
/// A sender does not keep its session open: when the handler returns, the session ends.
///
/// ```
/// # use http_body_util::BodyExt;
/// # use tidings_server::SseRequest;
/// use tidings_server::Event;
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
#[derive(Clone)]
pub struct Sender(pub(crate) Arc<Shared>);

impl Sender {
    /// Sends an event, or several encoded ones.
    ///
    /// Returns at once while the queue has room: 64 KiB
    /// ([`MAX_QUEUED_BYTES`](crate::MAX_QUEUED_BYTES)). Otherwise it waits until the client has read
    /// enough, and the sends that began to wait earlier have their room. An event larger than the queue
    /// waits until the queue is empty.
    ///
    /// An event without data reaches no `EventSource`, even if it has a name: the standard discards it,
    /// except for its ID and its `retry:`. Empty data is data: `Event::new("")`.
    ///
    /// Queued events leave whenever the handler waits for anything. A handler that computes for a long
    /// time between sends calls [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`SendError`] if the session is closed.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, nothing was sent.
    // Not an async function, whose future would hold the event and its bytes, each twice.
    pub fn send<E: Into<EncodedEvents>>(
        &self,
        event: E,
    ) -> impl Future<Output = Result<(), SendError>> + Send + use<'_, E> {
        self.0.send(event.into())
    }

    /// Queues an event, or several encoded ones, if there is room for them now.
    ///
    /// For events that are better dropped than late, such as a position that the next one replaces.
    ///
    /// # Errors
    /// [`TrySendError`] if [`send`](Self::send) would wait, or if the session is closed. It returns the
    /// events.
    pub fn try_send(&self, event: impl Into<EncodedEvents>) -> Result<(), TrySendError> {
        self.0.try_send(event.into())
    }

    /// Sends a comment, which clients ignore.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    pub async fn comment(&self, text: impl Into<String>) -> Result<(), SendError> {
        self.send(Event::comment(text)).await
    }

    /// Sends an event whose data is this value as JSON.
    ///
    /// # Errors
    /// [`SendJsonError`] if the value cannot be written as JSON, or if the session is closed.
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    #[cfg(feature = "json")]
    #[doc(alias = "serialize")]
    #[doc(alias = "ServerSSESessionWithSerialization")]
    pub async fn send_json<T: serde::Serialize + ?Sized>(
        &self,
        value: &T,
    ) -> Result<(), SendJsonError> {
        let event = Event::from_json(value).map_err(SendJsonError::json);
        Ok(self.send(event?).await?)
    }

    /// Sends a value of a serde enum as a typed event: the variant is the event's name, and the
    /// content of the variant is the data, as JSON.
    ///
    /// To give the event an ID, or to write the data in another format, make it with
    /// [`Event::from_typed`](crate::Event::from_typed) and [`send`](Self::send) it.
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
    /// [`SendJsonError`] if the value cannot be written as JSON, if its variant cannot name an event,
    /// or if the session is closed.
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    #[cfg(feature = "json")]
    #[doc(alias = "serialize")]
    pub async fn send_typed<T: serde::Serialize + ?Sized>(
        &self,
        value: &T,
    ) -> Result<(), SendJsonError> {
        let event = Event::from_typed(value).map_err(SendJsonError::json);
        Ok(self.send(event?).await?)
    }

    /// Waits until everything sent so far was handed to the connection, and the connection has had a
    /// turn to write it.
    ///
    /// # Errors
    /// [`SendError`] if the client disconnected before everything was written.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, everything that was sent still leaves.
    pub async fn flush(&self) -> Result<(), SendError> {
        self.0.flush().await
    }

    /// Closes the session: queued events still leave, then the response ends, and the handler is
    /// dropped where it waits. No last event is sent.
    pub fn close(&self) {
        self.0.end(Ending::clean(Reason::Closed));
    }

    /// Waits until the session is closed: by [`close`](Self::close), because its handler has returned
    /// or failed, because its lifetime has passed, because the server drains, or because the client
    /// has disconnected.
    ///
    /// The server notices a disconnected client when it reads or writes the connection. That may take
    /// until the next event or heartbeat.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn closed(&self) {
        self.0.closed().await;
    }

    /// Whether the session is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

// Shows no queued events.
impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
