//! Owns `Session`: a subscription's events, over all of its connections.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::response::Parts;
use http_body::Body;
use tidings_proto::{Action, Event, EventId, EventSourceState, Head};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::Error;
use crate::request::RequestTemplate;
use crate::transport::{ConnectError, Connecting, ResponseBody, Transport, TransportError};

/// An open session: the events of one subscription, over all of its connections.
///
/// Take events by [`try_next`](Self::try_next), or as a [`Stream`]. An `Err` comes once and is the
/// last item; then, and after an end, there is `None` for ever. There is no task: not polling it
/// stops reading, dropping it closes the connection.
///
/// ```no_run
/// # async fn hear(client: tidings_client::SseClient) -> Result<(), tidings_client::Error> {
/// let mut session = client.get("http://localhost:8080/events").open().await?;
/// while let Some(event) = session.try_next().await? {
///     println!("{}: {}", event.event_type(), event.text());
/// }
/// # Ok(())
/// # }
/// ```
#[doc(alias = "ClientSSESession")]
pub struct Session {
    state: EventSourceState,
    transport: Arc<dyn Transport>,
    template: RequestTemplate,
    connection: Connection,
    /// Of the wait for the next attempt.
    timer: Option<Pin<Box<Sleep>>>,
    /// The head of the last response.
    response: Option<Parts>,
    network_error: Option<TransportError>,
    is_over: bool,
}

enum Connection {
    Closed,
    Connecting(Connecting),
    Open(ResponseBody),
}

impl Session {
    pub(crate) fn new(
        state: EventSourceState,
        transport: Arc<dyn Transport>,
        template: RequestTemplate,
    ) -> Self {
        Self {
            state,
            transport,
            template,
            connection: Connection::Closed,
            timer: None,
            response: None,
            network_error: None,
            is_over: false,
        }
    }

    /// Waits for the first good head.
    pub(crate) async fn opened(&mut self) -> Result<(), Error> {
        poll_fn(|cx| {
            while !self.state.is_open() && !self.is_over {
                match self.state.poll_action() {
                    Some(action) => self.act(action)?,
                    None => ready!(self.poll_io(cx))?,
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// The next event; `None` once the session is over.
    ///
    /// # Errors
    /// The session failed; it is over. See [`ErrorKind`](crate::ErrorKind).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, no event is lost.
    #[doc(alias = "incoming")]
    pub async fn try_next(&mut self) -> Result<Option<Event>, Error> {
        self.next().await.transpose()
    }

    /// The next item, as a [`Stream`] gives it; `None` once the session is over.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, no event is lost.
    pub async fn next(&mut self) -> Option<Result<Event, Error>> {
        poll_fn(|cx| self.poll_item(cx)).await
    }

    /// The head of the last response: status, headers, version. `None` before any.
    #[doc(alias = "call")]
    #[must_use]
    pub fn response(&self) -> Option<&Parts> {
        self.response.as_ref()
    }

    /// The last event ID, as of the last event handed out.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&EventId> {
        self.state.last_event_id()
    }

    /// Closes the connection; nothing is heard after it.
    pub fn close(&mut self) {
        self.state.handle_close();
        self.end();
    }

    fn end(&mut self) {
        self.is_over = true;
        self.connection = Connection::Closed;
        self.timer = None;
    }

    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event, Error>>> {
        while !self.is_over {
            if let Some(event) = self.state.poll_event() {
                return Poll::Ready(Some(Ok(event)));
            }
            let step = match self.state.poll_action() {
                Some(action) => self.act(action),
                None => ready!(self.poll_io(cx)),
            };
            if let Err(error) = step {
                return Poll::Ready(Some(Err(error)));
            }
        }
        Poll::Ready(None)
    }

    fn act(&mut self, action: Action) -> Result<(), Error> {
        match action {
            Action::Connect { last_event_id } => {
                tracing::debug!(resumes = last_event_id.is_some(), "connecting");
                let request = self.template.request(last_event_id.as_ref());
                self.connection = Connection::Connecting(self.transport.connect(request));
                Ok(())
            }
            Action::Fail(failure) => {
                self.end();
                Err(Error::of(failure, self.network_error.take()))
            }
            _ => {
                self.end();
                Ok(())
            }
        }
    }

    /// Waits for whatever comes next, and tells the state machine.
    fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match &mut self.connection {
            Connection::Connecting(connecting) => match ready!(connecting.as_mut().poll(cx)) {
                Ok(response) => self.handle_response(response),
                Err(ConnectError::Network(error)) => self.handle_network_error(error),
                Err(ConnectError::InvalidRequest(error)) => {
                    self.close();
                    return Poll::Ready(Err(Error::invalid_request(error)));
                }
            },
            Connection::Open(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(chunk) = frame.into_data() {
                        self.state.handle_chunk(chunk);
                    }
                }
                Some(Err(error)) => self.handle_network_error(error),
                None => {
                    tracing::debug!("the stream has ended");
                    self.connection = Connection::Closed;
                    self.state.handle_end(now());
                }
            },
            Connection::Closed => ready!(self.poll_timer(cx)),
        }
        Poll::Ready(Ok(()))
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.state.poll_timeout() else {
            // Closed, with nothing to wait for and nothing to do: over.
            self.end();
            return Poll::Ready(());
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(until.into())));
        ready!(timer.as_mut().poll(cx));
        self.timer = None;
        self.state.handle_timeout(now());
        Poll::Ready(())
    }

    fn handle_response(&mut self, response: http::Response<ResponseBody>) {
        let (head, body) = response.into_parts();
        let header = |name| {
            let value = head.headers.get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()))
        };
        let (content_type, retry_after) = (header(CONTENT_TYPE), header(RETRY_AFTER));
        let what_matters = Head {
            status: head.status.as_u16(),
            content_type: content_type.as_deref(),
            retry_after: retry_after.as_deref(),
        };
        self.state.handle_response(what_matters, now(), wall_time());
        tracing::debug!(status = head.status.as_u16(), "the server answered");
        self.connection = if self.state.is_open() {
            Connection::Open(body)
        } else {
            Connection::Closed
        };
        self.response = Some(head);
    }

    fn handle_network_error(&mut self, error: TransportError) {
        tracing::debug!(%error, "the connection failed");
        self.connection = Connection::Closed;
        self.network_error = Some(error);
        self.state.handle_network_error(now());
    }
}

impl Stream for Session {
    type Item = Result<Event, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_item(cx)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("is_open", &self.state.is_open())
            .field("last_event_id", &self.last_event_id())
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[allow(
    clippy::disallowed_methods,
    reason = "tokio has no wall clock; a date in a Retry-After is held against it"
)]
fn wall_time() -> std::time::SystemTime {
    std::time::SystemTime::now()
}
