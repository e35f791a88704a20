//! Owns `Session`: a subscription's events, over all of its connections.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::response::Parts;
use http::{StatusCode, Uri};
use http_body::{Body, Frame};
use tidings_proto::{Action, Event, EventId, EventSourceState, Head};
use tokio::time::Instant;

use crate::Error;
use crate::settings::Timeouts;
use crate::template::RequestTemplate;
use crate::timer::Timer;
use crate::transport::{
    ConnectError, ConnectTimeout, Connecting, FinalUrl, ResponseBody, Transport, TransportError,
};

/// How many chunks without an event are read before others have their turn: a body that is always
/// ready would else keep its task for itself.
const STEPS_IN_A_ROW: usize = 32;

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
    until: Option<Until>,
    timeouts: Timeouts,
    connection: Connection,
    /// Of the wait for the next attempt, for the head, or for bytes.
    timer: Timer,
    /// The head of the last response.
    response: Option<Parts>,
    network_error: Option<TransportError>,
    is_over: bool,
}

/// Whether an event is the one that ends its stream.
pub(crate) type Until = Arc<dyn Fn(&Event) -> bool + Send + Sync>;

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
        until: Option<Until>,
        timeouts: Timeouts,
    ) -> Self {
        Self {
            state,
            transport,
            template,
            until,
            timeouts,
            connection: Connection::Closed,
            timer: Timer::default(),
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

    /// The URL that the last request went to, which after a redirect is not the one that was asked
    /// for: the next one goes there too.
    #[must_use]
    pub fn url(&self) -> &Uri {
        &self.template.url
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
        self.timer = Timer::default();
    }

    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event, Error>>> {
        for _ in 0..STEPS_IN_A_ROW {
            if self.is_over {
                return Poll::Ready(None);
            }
            if let Some(event) = self.state.poll_event() {
                if self.until.as_ref().is_some_and(|until| until(&event)) {
                    self.close();
                    return Poll::Ready(None);
                }
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
        // There is more, but others of the same task are to have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn act(&mut self, action: Action) -> Result<(), Error> {
        match action {
            Action::Connect { last_event_id } => {
                self.connect(last_event_id.as_ref());
                Ok(())
            }
            Action::Redirect {
                status,
                location,
                last_event_id,
            } => {
                let status = StatusCode::from_u16(status).unwrap_or_default();
                if let Err(error) = self.template.redirect(status, &location) {
                    self.close();
                    return Err(Error::invalid_redirect(error));
                }
                self.connect(last_event_id.as_ref());
                Ok(())
            }
            Action::Fail(failure) => {
                self.end();
                Err(Error::of(failure, self.network_error.take()))
            }
            // `Finish`, the only other one.
            _ => {
                self.end();
                if self.until.is_some() {
                    Err(Error::ended_early())
                } else {
                    Ok(())
                }
            }
        }
    }

    fn connect(&mut self, last_event_id: Option<&EventId>) {
        tracing::debug!(resumes = last_event_id.is_some(), "connecting");
        let mut request = self.template.request(last_event_id);
        if let Some(timeout) = self.timeouts.connect {
            request.extensions_mut().insert(ConnectTimeout(timeout));
        }
        self.connection = Connection::Connecting(self.transport.connect(request));
    }

    /// Waits for whatever comes next, and tells the state machine.
    fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let (came, timeout) = match &mut self.connection {
            Connection::Closed => return self.poll_reconnection(cx).map(Ok),
            Connection::Connecting(connecting) => (
                connecting.as_mut().poll(cx).map(Came::Response),
                self.timeouts.response,
            ),
            Connection::Open(body) => (
                Pin::new(body).poll_frame(cx).map(Came::Frame),
                self.timeouts.idle,
            ),
        };
        let Poll::Ready(came) = came else {
            return self.poll_timeout(cx, timeout).map(Ok);
        };
        self.timer.clear();
        match came {
            Came::Response(Ok(response)) => self.handle_response(response),
            Came::Frame(Some(Ok(frame))) => {
                if let Ok(chunk) = frame.into_data() {
                    self.state.handle_chunk(chunk);
                }
            }
            Came::Frame(None) => {
                tracing::debug!("the stream has ended");
                self.connection = Connection::Closed;
                self.state.handle_end(now());
            }
            Came::Response(Err(ConnectError::Network(error))) | Came::Frame(Some(Err(error))) => {
                self.handle_network_error(error);
            }
            Came::Response(Err(ConnectError::InvalidRequest(error))) => {
                self.close();
                return Poll::Ready(Err(if self.template.is_redirected() {
                    Error::invalid_redirect(error)
                } else {
                    Error::invalid_request(error)
                }));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Nothing came yet: a network error once that has been so for too long.
    fn poll_timeout(&mut self, cx: &mut Context<'_>, timeout: Option<Duration>) -> Poll<()> {
        let Some(timeout) = timeout else {
            return Poll::Pending;
        };
        ready!(self.timer.poll(cx, || after(timeout)));
        self.timer.clear();
        self.handle_network_error(TimedOut(timeout).into());
        Poll::Ready(())
    }

    /// Waits until the state machine wants to connect again.
    fn poll_reconnection(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.state.poll_timeout() else {
            // Closed, with nothing to wait for and nothing to do: over.
            self.end();
            return Poll::Ready(());
        };
        ready!(self.timer.poll(cx, || until.into()));
        self.timer.clear();
        self.state.handle_timeout(now());
        Poll::Ready(())
    }

    fn handle_response(&mut self, response: http::Response<ResponseBody>) {
        let (head, body) = response.into_parts();
        if let Some(FinalUrl(url)) = head.extensions.get() {
            self.template.follow(url.clone());
        }
        let header = |name| {
            let value = head.headers.get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()))
        };
        let content_type = header(CONTENT_TYPE);
        let (location, retry_after) = (header(LOCATION), header(RETRY_AFTER));
        let what_matters = Head::new(head.status.as_u16())
            .content_type(content_type.as_deref())
            .location(location.as_deref())
            .retry_after(retry_after.as_deref());
        self.state.handle_response(what_matters, now(), wall_time());
        tracing::debug!(status = head.status.as_u16(), "the server answered");
        // The one network error that a response can be.
        self.network_error = head
            .status
            .is_redirection()
            .then(|| "too many redirects".into());
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

/// What a connection brought.
enum Came {
    Response(Result<http::Response<ResponseBody>, ConnectError>),
    Frame(Option<Result<Frame<Bytes>, TransportError>>),
}

/// The server was silent for this long.
#[derive(Debug)]
struct TimedOut(Duration);

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server was silent for {:?}", self.0)
    }
}

impl std::error::Error for TimedOut {}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// The moment this far from now, or the last one that there is.
fn after(delay: Duration) -> Instant {
    const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    Instant::now() + delay.min(FOR_EVER)
}

#[allow(
    clippy::disallowed_methods,
    reason = "tokio has no wall clock; a date in a Retry-After is held against it"
)]
fn wall_time() -> std::time::SystemTime {
    std::time::SystemTime::now()
}
