//! Owns `Session`: a subscription's events, over all of its connections.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use http::Uri;
use http::response::Parts;
use tidings_proto::{Event, EventId};

use crate::driver::Driver;
use crate::{ConnectionState, Error};

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
#[doc(alias = "DefaultClientSSESession")]
#[doc(alias = "SSESession")]
pub struct Session {
    /// Behind a pointer, so that a session is cheap to move.
    driver: Box<Driver>,
}

impl Session {
    /// Waits for the first good head.
    pub(crate) async fn open(driver: Driver) -> Result<Self, Error> {
        let mut driver = Box::new(driver);
        poll_fn(|cx| driver.poll_opened(cx)).await?;
        Ok(Self { driver })
    }

    /// Ends the session with this error, which is then told and where it was.
    #[cfg(feature = "json")]
    pub(crate) fn fail(&mut self, error: Error) -> Error {
        self.driver.fail(error)
    }

    /// The next event; `None` once the session is over.
    ///
    /// # Errors
    /// The session failed; it is over. See [`ErrorKind`](crate::ErrorKind).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, no event is lost.
    #[doc(alias = "incoming")]
    #[doc(alias = "receive")]
    pub async fn try_next(&mut self) -> Result<Option<Event>, Error> {
        poll_fn(|cx| self.driver.poll_item(cx).map(Option::transpose)).await
    }

    /// The next item, as a [`Stream`] gives it; `None` once the session is over.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, no event is lost.
    #[doc(alias = "ChannelResult")]
    #[doc(alias = "ChannelClosedException")]
    pub async fn next(&mut self) -> Option<Result<Event, Error>> {
        poll_fn(|cx| self.driver.poll_item(cx)).await
    }

    /// The head of the last response: status, headers, version. `None` before any.
    #[doc(alias = "call")]
    #[must_use]
    pub fn response(&self) -> Option<&Parts> {
        self.driver.response.as_ref()
    }

    /// The URL that the last request went to, which after a redirect is not the one that was asked
    /// for: the next one goes there too, once the stream was open.
    #[must_use]
    pub fn url(&self) -> &Uri {
        self.driver.template.url()
    }

    /// The last event ID, as of the last event handed out.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&EventId> {
        self.driver.state.last_event_id()
    }

    /// What the session is doing. As nothing happens unless it is polled, this is as of the last
    /// poll.
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        self.driver.state()
    }

    /// Why the last connection was lost; `None` if it came to its end as it should, or another is
    /// open since.
    #[must_use]
    pub fn last_error(&self) -> Option<&Error> {
        self.driver.error.as_ref()
    }

    /// Closes the connection; nothing is heard after it.
    pub fn close(&mut self) {
        self.driver.close();
    }
}

impl Stream for Session {
    type Item = Result<Event, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().driver.poll_item(cx)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("state", &self.state())
            .field("last_event_id", &self.last_event_id())
            .finish_non_exhaustive()
    }
}
