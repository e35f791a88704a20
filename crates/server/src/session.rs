//! `Session`: the handler's handle on one open event stream.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use tidings_proto::{EventId, Heartbeat};
use tokio::time::Instant;

use crate::session_info::SessionInfo;
use crate::shared::Shared;
use crate::{HandlerError, Sender};

/// One open event stream to one client. A handler sends with the methods of [`Sender`].
///
/// The session ends when the handler returns, or with [`close`](Sender::close); neither sends a last
/// event. When the client disconnects, the handler is dropped where it waits.
///
/// ```
/// use tidings_server::{Event, HandlerError, Session};
///
/// async fn greet(session: Session) -> Result<(), HandlerError> {
///     let last = session.last_event_id().map_or("none", |id| id.as_str());
///     session.send(Event::new(format!("resumed after {last}")).id(1)).await?;
///     Ok(())
/// }
/// ```
#[doc(alias = "ServerSSESession")]
pub struct Session {
    // Shared, because an async function holds its arguments twice.
    info: Arc<SessionInfo>,
    sender: Sender,
}

impl Session {
    pub(crate) fn new(info: Arc<SessionInfo>, shared: Arc<Shared>) -> Self {
        Self {
            info,
            sender: Sender(shared),
        }
    }

    /// A handle that sends into this session from another task.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Runs a future beside the handler until the session ends.
    ///
    /// The future is dropped where it waits when the handler returns, or when the client disconnects.
    /// If it fails or panics, the session fails, as if the handler had failed.
    ///
    /// It is not a task: the connection polls it, as it polls the handler.
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

    /// Starts a heartbeat. It runs until the session ends, or until another heartbeat replaces it.
    /// [`Heartbeat::off`] stops it.
    ///
    /// While the session's queue is full, heartbeats are skipped.
    #[doc(alias = "keep_alive")]
    pub fn heartbeat(&self, heartbeat: Heartbeat) {
        let now = Instant::now().into_std();
        self.sender.0.start_heartbeat(heartbeat, now);
    }

    /// The head of the request that opened the session, without its extensions.
    ///
    /// If you need an extension, take it before the session opens: from
    /// [`SseRequest::parts`](crate::SseRequest::parts), or with an extractor.
    #[doc(alias = "call")]
    #[must_use]
    pub fn request(&self) -> &Parts {
        self.info.request()
    }

    /// The last event ID that the client sent, after which it wants to resume. See
    /// [`SseRequest::last_event_id`](crate::SseRequest::last_event_id).
    #[must_use]
    pub fn last_event_id(&self) -> Option<&EventId> {
        self.info.last_event_id.as_ref()
    }

    /// How much longer the session may last, if a
    /// [`max_lifetime`](crate::SessionOptions::max_lifetime) is set. A handler can use it to end at a
    /// good place.
    #[must_use]
    pub fn remaining_lifetime(&self) -> Option<Duration> {
        let ends_at = self.info.ends_at?;
        Some(ends_at.saturating_duration_since(Instant::now()))
    }
}

impl Deref for Session {
    type Target = Sender;

    fn deref(&self) -> &Sender {
        &self.sender
    }
}

// Shows neither the request nor queued events: both may hold secrets.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
