//! Owns `Session`: the handler's handle on one open connection.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use tidings_proto::{EventId, Heartbeat};
use tokio::time::Instant;

use crate::head::Head;
use crate::shared::Shared;
use crate::{HandlerError, Sender};

/// One open session: what a handler sends to one client, by the methods of [`Sender`].
///
/// It ends when the handler returns, or with [`close`](Sender::close); neither sends a last event.
/// When the client goes, the handler is dropped where it waits.
#[doc(alias = "ServerSSESession")]
#[derive(Debug)]
pub struct Session {
    // Apart, as an async function holds what it is given twice.
    head: Arc<Head>,
    sender: Sender,
}

impl Session {
    pub(crate) fn new(head: Arc<Head>, shared: Arc<Shared>) -> Self {
        Self {
            head,
            sender: Sender(shared),
        }
    }

    /// A handle that sends from another task, or from several.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Runs a future beside the handler, for as long as the session lasts: it is dropped where it
    /// waits when the handler returns, or the client goes. If it fails or panics, so does the
    /// session, as if the handler had.
    ///
    /// It is no task: the connection polls it, as it polls the handler.
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
    ///     session.spawn(async move {
    ///         sender.send(Event::new("beside")).await?;
    ///         Ok(())
    ///     });
    ///     tokio::task::yield_now().await;
    ///     Ok(())
    /// });
    /// # let sent = response.into_body().collect().await.unwrap().to_bytes();
    /// # assert_eq!(sent, "data: beside\n\n");
    /// # }
    /// ```
    #[doc(alias = "launch")]
    pub fn spawn(&self, future: impl Future<Output = Result<(), HandlerError>> + Send + 'static) {
        self.sender.0.spawn(Box::pin(future));
    }

    /// Starts a heartbeat; it runs until the session ends, or another takes its place.
    ///
    /// A client that reads nothing is sent none on top of a full queue.
    #[doc(alias = "keep_alive")]
    pub fn heartbeat(&self, heartbeat: Heartbeat) {
        let now = Instant::now().into_std();
        self.sender.0.start_heartbeat(heartbeat, now);
    }

    /// The head of the request that opened the session, without its extensions: whoever wants one of
    /// those takes it before, from [`SseRequest::parts`](crate::SseRequest::parts) or by an extractor.
    #[doc(alias = "call")]
    #[must_use]
    pub fn request(&self) -> &Parts {
        self.head.request()
    }

    /// The `Last-Event-ID` that the client sent: where it wants to go on. See
    /// [`SseRequest::last_event_id`](crate::SseRequest::last_event_id).
    #[must_use]
    pub fn last_event_id(&self) -> Option<&EventId> {
        self.head.last_event_id.as_ref()
    }

    /// How long the session may still last, if a
    /// [`max_lifetime`](crate::SessionOptions::max_lifetime) is set: so that a handler can end at a
    /// good place before it is ended anywhere.
    #[must_use]
    pub fn remaining_lifetime(&self) -> Option<Duration> {
        let ends_at = self.head.ends_at?;
        Some(ends_at.saturating_duration_since(Instant::now()))
    }
}

impl Deref for Session {
    type Target = Sender;

    fn deref(&self) -> &Sender {
        &self.sender
    }
}
