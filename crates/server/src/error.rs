//! The errors of a session: of its sends, of its handler, and of its response body.

use std::error::Error as StdError;
use std::fmt;

use tidings_proto::EncodedEvents;

/// An event that was not sent, because the session is closed.
///
/// A handler ends with it by `?`. After a close that is no failure: nothing is traced, and the
/// response ends as it would have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendError {
    kind: SendErrorKind,
}

/// Why an event was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendErrorKind {
    /// The session is closed, or its client has disconnected.
    Closed,
}

impl SendError {
    pub(crate) const CLOSED: Self = Self {
        kind: SendErrorKind::Closed,
    };

    /// Why the event was not sent.
    #[must_use]
    pub fn kind(&self) -> SendErrorKind {
        self.kind
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            SendErrorKind::Closed => f.write_str("the session is closed"),
        }
    }
}

impl StdError for SendError {}

/// A value that was not sent: the session is closed, or the value cannot be written as JSON.
#[cfg(feature = "json")]
#[derive(Debug)]
pub struct SendJsonError(JsonFailure);

/// Why a value was not sent.
#[cfg(feature = "json")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendJsonErrorKind {
    /// The session is closed, or its client has disconnected.
    Closed,
    /// The value cannot be written as JSON, or its variant cannot name an event. `source()` is the
    /// error of `serde_json`.
    Json,
}

#[cfg(feature = "json")]
#[derive(Debug)]
enum JsonFailure {
    Send(SendError),
    Json(serde_json::Error),
}

#[cfg(feature = "json")]
impl SendJsonError {
    pub(crate) fn json(error: serde_json::Error) -> Self {
        Self(JsonFailure::Json(error))
    }

    /// Why the value was not sent.
    #[must_use]
    pub fn kind(&self) -> SendJsonErrorKind {
        match &self.0 {
            JsonFailure::Send(error) => match error.kind {
                SendErrorKind::Closed => SendJsonErrorKind::Closed,
            },
            JsonFailure::Json(_) => SendJsonErrorKind::Json,
        }
    }
}

#[cfg(feature = "json")]
impl From<SendError> for SendJsonError {
    fn from(error: SendError) -> Self {
        Self(JsonFailure::Send(error))
    }
}

#[cfg(feature = "json")]
impl fmt::Display for SendJsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            JsonFailure::Send(error) => error.fmt(f),
            JsonFailure::Json(_) => f.write_str("the value cannot be written as JSON"),
        }
    }
}

#[cfg(feature = "json")]
impl StdError for SendJsonError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0 {
            JsonFailure::Send(_) => None,
            JsonFailure::Json(error) => Some(error),
        }
    }
}

/// Events that were not queued: the queue is full, or the session is closed.
pub struct TrySendError {
    kind: TrySendErrorKind,
    events: EncodedEvents,
}

/// Why events were not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TrySendErrorKind {
    /// The queue of the session has no room for them now.
    Full,
    /// The session is closed, or its client has disconnected.
    Closed,
}

impl TrySendError {
    pub(crate) fn full(events: EncodedEvents) -> Self {
        let kind = TrySendErrorKind::Full;
        Self { kind, events }
    }

    pub(crate) fn closed(events: EncodedEvents) -> Self {
        let kind = TrySendErrorKind::Closed;
        Self { kind, events }
    }

    /// Why the events were not queued.
    #[must_use]
    pub fn kind(&self) -> TrySendErrorKind {
        self.kind
    }

    /// The events that were not queued.
    #[must_use]
    pub fn into_events(self) -> EncodedEvents {
        self.events
    }
}

// Shows no events.
impl fmt::Debug for TrySendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrySendError")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for TrySendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TrySendErrorKind::Full => f.write_str("the queue of the session is full"),
            TrySendErrorKind::Closed => SendError::CLOSED.fmt(f),
        }
    }
}

impl StdError for TrySendError {}

/// The error of a handler. `?` converts any error into it: each [`std::error::Error`], boxed errors,
/// `anyhow::Error`, and text.
///
/// When a handler returns it, the response is cut, so that the client sees that the stream is
/// incomplete, and the error is traced.
///
/// ```
/// use std::error::Error;
/// use tidings_server::HandlerError;
///
/// fn look_up(user: &str) -> Result<u32, Box<dyn Error + Send + Sync>> {
///     Ok(user.parse()?)
/// }
///
/// fn handle(user: &str) -> Result<u32, HandlerError> {
///     if user.is_empty() {
///         return Err("the user has no name".into());
///     }
///     Ok(look_up(user)?)
/// }
/// # assert_eq!(handle("7").unwrap(), 7);
/// # assert_eq!(handle("").unwrap_err().to_string(), "the user has no name");
/// ```
///
/// Like `anyhow::Error` it is not a `std::error::Error` itself, because `?` could not convert every
/// other error then. [`as_error`](Self::as_error) borrows the error inside.
pub struct HandlerError(Box<dyn StdError + Send + Sync>);

impl HandlerError {
    /// An error with this text, or made of this error.
    #[must_use]
    pub fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(error.into())
    }

    /// The error inside, as it was passed in.
    #[must_use]
    pub fn as_error(&self) -> &(dyn StdError + 'static) {
        self.0.as_ref()
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The error of a [`SessionBody`](crate::SessionBody): its handler failed, so the response is cut.
#[derive(Debug)]
pub struct BrokenSession(());

impl BrokenSession {
    pub(crate) const fn new() -> Self {
        Self(())
    }
}

impl fmt::Display for BrokenSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the handler of the session failed")
    }
}

impl StdError for BrokenSession {}

#[cfg(test)]
mod tests {
    use super::*;

    type Boxed = Box<dyn StdError + Send + Sync>;

    /// What `?` makes of an error.
    fn by_question_mark<E>(error: E) -> HandlerError
    where
        HandlerError: From<E>,
    {
        let fail = || -> Result<(), HandlerError> { Err(error)? };
        fail().unwrap_err()
    }

    #[test]
    fn every_error_becomes_a_handler_error_unwrapped() {
        let boxed: Boxed = Box::new(SendError::CLOSED);
        let with_context = anyhow::Error::new(SendError::CLOSED).context("while sending");
        for error in [
            by_question_mark(SendError::CLOSED),
            by_question_mark(boxed),
            by_question_mark(by_question_mark(SendError::CLOSED)),
        ] {
            assert!(error.as_error().is::<SendError>(), "{error:?} is wrapped");
        }
        let error = by_question_mark(with_context);
        assert_eq!(error.to_string(), "while sending");
        let source = error.as_error().source().unwrap();
        assert!(source.is::<SendError>(), "{source:?}");
    }

    #[test]
    fn text_becomes_a_handler_error() {
        for error in [
            by_question_mark("lost"),
            by_question_mark("lost".to_owned()),
            HandlerError::new("lost"),
        ] {
            assert_eq!(error.to_string(), "lost");
        }
    }

    #[test]
    fn an_error_says_why_nothing_was_sent() {
        assert_eq!(SendError::CLOSED.kind(), SendErrorKind::Closed);
        let events = tidings_proto::Event::new("a").encode();
        let full = TrySendError::full(events.clone());
        assert_eq!(full.kind(), TrySendErrorKind::Full);
        assert_eq!(full.to_string(), "the queue of the session is full");
        assert_eq!(full.into_events(), events);
        let closed = TrySendError::closed(events);
        assert_eq!(closed.kind(), TrySendErrorKind::Closed);
        assert_eq!(closed.to_string(), SendError::CLOSED.to_string());
    }

    #[cfg(feature = "json")]
    #[test]
    fn an_error_of_json_is_the_source_and_a_close_has_none() {
        let cause = serde_json::from_str::<u8>("x").unwrap_err();
        let error = SendJsonError::json(cause);
        assert_eq!(error.kind(), SendJsonErrorKind::Json);
        assert!(error.source().unwrap().is::<serde_json::Error>());
        let error = SendJsonError::from(SendError::CLOSED);
        assert_eq!(error.kind(), SendJsonErrorKind::Closed);
        assert!(error.source().is_none());
    }
}
