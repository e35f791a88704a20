//! Owns `Session`: the handler's handle on one open connection.

use std::future::poll_fn;
use std::sync::Arc;

use http::request::Parts;
use tidings_proto::{EncodedEvents, EventId, Heartbeat};
use tokio::time::Instant;

use crate::shared::Shared;
use crate::{Error, SseRequest};

/// One open session: what a handler sends to one client.
///
/// It ends when the handler returns, or with [`close`](Self::close); neither sends a last event.
/// When the client goes, the handler is dropped where it waits.
#[doc(alias = "ServerSSESession")]
#[derive(Debug)]
pub struct Session {
    request: SseRequest,
    shared: Arc<Shared>,
}

impl Session {
    pub(crate) fn new(request: SseRequest, shared: Arc<Shared>) -> Self {
        Self { request, shared }
    }

    /// Sends an event, or several encoded ones.
    ///
    /// Returns at once while at most 64 KiB
    /// ([`MAX_QUEUED_BYTES`](tidings_proto::MAX_QUEUED_BYTES)) are queued, and else waits for the
    /// client to read; a larger event goes alone. What is queued leaves whenever the handler next
    /// waits for anything; a handler that computes for long between sends calls
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`Error::Closed`] after [`close`](Self::close).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, nothing was sent.
    pub async fn send(&self, event: impl Into<EncodedEvents>) -> Result<(), Error> {
        let mut events = Some(event.into());
        let mut waiting = self.shared.waiting();
        poll_fn(|cx| waiting.poll_send(cx, &mut events)).await
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
    pub async fn send_json<T: serde::Serialize + ?Sized>(&self, value: &T) -> Result<(), Error> {
        let event = tidings_proto::Event::from_json(value).map_err(Error::Json);
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
        let event = tidings_proto::Event::from_typed(value).map_err(Error::Json);
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
        let mut mark = None;
        let mut waiting = self.shared.waiting();
        poll_fn(|cx| waiting.poll_flush(cx, &mut mark)).await
    }

    /// Starts a heartbeat; it runs until the session ends, or another takes its place.
    ///
    /// A client that reads nothing is sent none on top of a full queue.
    pub fn heartbeat(&self, heartbeat: Heartbeat) {
        self.shared
            .start_heartbeat(heartbeat, Instant::now().into_std());
    }

    /// The request that opened the session.
    #[doc(alias = "call")]
    #[must_use]
    pub fn request(&self) -> &Parts {
        self.request.parts()
    }

    /// The `Last-Event-ID` that the client sent: where it wants to go on. See
    /// [`SseRequest::last_event_id`].
    #[must_use]
    pub fn last_event_id(&self) -> Option<&EventId> {
        self.request.last_event_id()
    }

    /// Ends the session: what was sent still leaves, then the response ends, and the handler is
    /// dropped where it waits. No last event is sent.
    pub fn close(&self) {
        self.shared.end();
    }
}
