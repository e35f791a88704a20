//! Owns `Feed`: what a session can forward.

use std::error::Error as StdError;
use std::fmt;
use std::task::{Context, Poll};

use crate::{EncodedEvents, EventId};

/// What a server's session can forward: events that are encoded already, from where a client left
/// off.
///
/// Both sides of it are strangers to each other: who orders and remembers the events implements it,
/// who writes them to a client drives it, in this order: [`resume`](Self::resume) once,
/// [`poll_open`](Self::poll_open) until it is ready, [`poll_events`](Self::poll_events) until the
/// end. A feed that is not opened opens itself at the first `poll_events`.
pub trait Feed: Send {
    /// Says where the client left off: its `Last-Event-ID`, whatever it holds; `None` if it comes for
    /// the first time.
    fn resume(&mut self, last_event_id: Option<&str>);

    /// Looks, before the head of the response is sent, whether there is anything to hear.
    ///
    /// # Errors
    /// A [`FeedError`], which is answered in place of a stream.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<Opened, FeedError>>;

    /// The next events; `None` once the feed has ended, and after an error.
    ///
    /// # Errors
    /// A [`FeedError`], which breaks the stream, so that the client comes back.
    fn poll_events(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<EncodedEvents, FeedError>>>;

    /// The id to resume from for who has heard all that was handed out, if it is another one than
    /// that of the last event; `None` if there is nothing new to say.
    ///
    /// It is sent by itself when a session opens and with its heartbeats, so that a client that has heard
    /// nothing has an id all the same, and a quiet one replays nothing twice.
    fn checkpoint(&mut self) -> Option<EventId>;
}

/// What [`Feed::poll_open`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(
    clippy::exhaustive_enums,
    reason = "there is a stream or there is none"
)]
pub enum Opened {
    /// Events, now or later.
    Stream,
    /// It has ended, and everything was heard: 204, upon which an `EventSource` comes back no more.
    Over,
}

/// Why there is no stream, or no more of it.
#[derive(Debug)]
pub struct FeedError {
    kind: FeedErrorKind,
    source: Box<dyn StdError + Send + Sync>,
}

/// Who has to change what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a server answers each kind with its own status"
)]
pub enum FeedErrorKind {
    /// What was asked for cannot be: 400.
    Invalid,
    /// The client may not hear it: 403.
    Forbidden,
    /// Not now: 503.
    Unavailable,
}

impl FeedError {
    /// An error of this kind for this reason.
    #[must_use]
    pub fn new(kind: FeedErrorKind, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind,
            source: source.into(),
        }
    }

    /// Who has to change what.
    #[must_use]
    pub fn kind(&self) -> FeedErrorKind {
        self.kind
    }
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            FeedErrorKind::Invalid => "there can be no such feed",
            FeedErrorKind::Forbidden => "the feed is forbidden",
            FeedErrorKind::Unavailable => "the feed is not available",
        })
    }
}

impl StdError for FeedError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}
