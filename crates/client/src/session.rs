//! `Session`: the events of one request, over all of its connections.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use http::Uri;
use http::response::Parts;
use tidings_proto::{Event, EventId};

use crate::driver::Driver;
use crate::request::StreamOrResponse;
use crate::shown_id::ShownId;
use crate::{ConnectionState, Error};

/// An open session: the events of one request, over all of its connections.
///
/// Read events by [`try_next`](Self::try_next), or as a [`Stream`]. An `Err` comes once and is the
/// last item; after it, and after a regular end, every read returns `None`. A session spawns no task:
/// it connects, reads and waits only while you poll it, and dropping it closes the connection.
///
/// ```no_run
/// # async fn read(client: tidings_client::SseClient) -> Result<(), tidings_client::Error> {
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
    /// Boxed, so that a session is cheap to move.
    driver: Box<Driver>,
}

impl Session {
    /// Waits until a stream is open.
    pub(crate) async fn open(driver: Driver) -> Result<Self, Error> {
        let mut driver = Box::new(driver);
        poll_fn(|cx| driver.poll_opened(cx)).await?;
        Ok(Self { driver })
    }

    /// Waits until a stream is open, or another response is complete.
    pub(crate) async fn open_or_response(driver: Driver) -> Result<StreamOrResponse, Error> {
        let mut session = Self::open(driver).await?;
        Ok(match session.driver.take_accepted_response() {
            Some(response) => StreamOrResponse::Response(response),
            None => StreamOrResponse::Stream(session),
        })
    }

    /// Ends the session with this error, and adds where the session was.
    #[cfg(feature = "json")]
    pub(crate) fn fail(&mut self, error: Error) -> Error {
        self.driver.fail(error)
    }

    /// The next event; `None` once the session is over.
    ///
    /// # Errors
    /// The session failed, and is over. See [`ErrorKind`](crate::ErrorKind).
    ///
    /// # Cancel safety
    /// Dropping the future loses no event.
    #[doc(alias = "incoming")]
    #[doc(alias = "receive")]
    pub async fn try_next(&mut self) -> Result<Option<Event>, Error> {
        poll_fn(|cx| self.driver.poll_item(cx).map(Option::transpose)).await
    }

    /// The next item, in the form of [`Stream`]; `None` once the session is over.
    ///
    /// # Cancel safety
    /// Dropping the future loses no event.
    #[doc(alias = "ChannelResult")]
    #[doc(alias = "ChannelClosedException")]
    pub async fn next(&mut self) -> Option<Result<Event, Error>> {
        poll_fn(|cx| self.driver.poll_item(cx)).await
    }

    /// The head of the last response: status, headers, version. `None` before the first.
    #[doc(alias = "call")]
    #[must_use]
    pub fn response(&self) -> Option<&Parts> {
        self.driver.response.as_ref()
    }

    /// The URL of the last request. After redirects it differs from the URL that you asked for. The
    /// session reconnects to it once a stream was open there.
    #[must_use]
    pub fn url(&self) -> &Uri {
        self.driver.template.url()
    }

    /// The last event ID, as of the last event that you read. Store it to resume after a restart.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&EventId> {
        self.driver.state.last_event_id()
    }

    /// The state of the session, as of the last poll.
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        self.driver.connection_state()
    }

    /// Why the last connection or attempt failed. `None` after a regular end, and once another
    /// connection is open.
    #[must_use]
    pub fn last_error(&self) -> Option<&Error> {
        self.driver.error.as_ref()
    }

    /// Drops the connection, and connects again at the next poll, resuming after the last event that
    /// you read. For a client that learns that its network or its rights have changed.
    ///
    /// Events that were received and not read yet are delivered first. A wait or an attempt in
    /// progress ends too. The request is sent under every policy and method, and counts as an attempt
    /// of the outage; the policy decides on the attempts after it. Does nothing once the session is
    /// over.
    ///
    /// ```no_run
    /// # async fn network_changed() {}
    /// # async fn read(mut session: tidings_client::Session) -> Result<(), tidings_client::Error> {
    /// loop {
    ///     tokio::select! {
    ///         event = session.try_next() => match event? {
    ///             Some(event) => println!("{}", event.text()),
    ///             None => return Ok(()),
    ///         },
    ///         () = network_changed() => session.reconnect(),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn reconnect(&mut self) {
        self.driver.reconnect();
    }

    /// Closes the connection and ends the session. Events that you did not read are dropped.
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
            .field("last_event_id", &self.last_event_id().map(ShownId))
            .finish_non_exhaustive()
    }
}
