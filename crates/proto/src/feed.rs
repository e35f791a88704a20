//! `Feed`, a source of encoded events that a session can forward.

use std::error::Error as StdError;
use std::fmt;
use std::task::{Context, Poll};

use crate::{EncodedEvents, EventId};

/// A source of encoded events that a server's session can forward. It resumes after the last event that
/// the client received.
///
/// A hub implements it, and a server drives it; neither depends on the other. The server calls
/// [`resume`](Self::resume) once, then [`poll_open`](Self::poll_open) until it is ready, then
/// [`poll_events`](Self::poll_events) until the end. Without `poll_open`, the first `poll_events` must
/// open the feed.
pub trait Feed: Send {
    /// Sets the ID to resume after: the client's `Last-Event-ID`, unchecked. `None` if the client sent
    /// none.
    fn resume(&mut self, last_event_id: Option<&str>);

    /// Decides, before the response head is sent, whether there is a stream.
    ///
    /// # Errors
    /// A [`FeedError`]. The server answers it with a status in place of a stream.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<FeedOpened, FeedError>>;

    /// The next events. `None` once the feed has ended, and after an error.
    ///
    /// # Errors
    /// A [`FeedError`]. The server cuts the stream, so that the client reconnects.
    fn poll_events(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<EncodedEvents, FeedError>>>;

    /// The ID to resume after, for a client that received all events so far. `None` if the last event or
    /// the last checkpoint has the same ID, or while the feed reads events that precede it.
    ///
    /// A session sends it alone, when it opens and with its heartbeats. So a client has an ID even before
    /// the first event, and a client that receives few events does not replay from an old one.
    fn checkpoint(&mut self) -> Option<EventId>;
}

/// The answer of [`Feed::poll_open`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a feed either has a stream or has none"
)]
pub enum FeedOpened {
    /// There are events, now or later.
    Stream,
    /// The feed has ended, and the client received all of it. The server answers 204, after which an
    /// `EventSource` does not reconnect.
    Over,
}

/// The error of a [`Feed`]: there is no stream, or it must be cut.
#[derive(Debug)]
pub struct FeedError {
    kind: FeedErrorKind,
    source: Box<dyn StdError + Send + Sync>,
}

/// The kind of a [`FeedError`]. It decides the status of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a server answers each kind with its own status"
)]
pub enum FeedErrorKind {
    /// The request is wrong, and must change: 400. The client receives the text of the error's source
    /// and of its sources, so that a person knows what to change.
    Invalid,
    /// The client may not read the feed: 403.
    Forbidden,
    /// The feed is not available now, and the client can try again later: 503, or for an `EventSource` a
    /// stream that is only a `retry:`.
    Unavailable,
}

impl FeedError {
    /// An error of this kind with this cause.
    #[must_use]
    pub fn new(kind: FeedErrorKind, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind,
            source: source.into(),
        }
    }

    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> FeedErrorKind {
        self.kind
    }
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            FeedErrorKind::Invalid => "the request for the feed is invalid",
            FeedErrorKind::Forbidden => "the client may not read the feed",
            FeedErrorKind::Unavailable => "the feed is not available now",
        })
    }
}

impl StdError for FeedError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}
