//! Owns what can go wrong in a session: `Error` and `TrySendError` for who sends, `HandlerError` for who
//! handles.

use std::error::Error as StdError;
use std::fmt;

use tidings_proto::EncodedEvents;

/// Why something could not be sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The session is over: it was closed, or the client is gone.
    Closed,
    /// The value could not be written as JSON.
    #[cfg(feature = "json")]
    Json(serde_json::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the session is closed"),
            #[cfg(feature = "json")]
            Self::Json(_) => f.write_str("the value could not be written as JSON"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Closed => None,
            #[cfg(feature = "json")]
            Self::Json(error) => Some(error),
        }
    }
}

/// Why an event was not queued, and the event.
#[derive(Debug)]
#[non_exhaustive]
pub enum TrySendError {
    /// There is no room for it now.
    Full(EncodedEvents),
    /// The session is over.
    Closed(EncodedEvents),
}

impl fmt::Display for TrySendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("the queue of the session is full"),
            Self::Closed(_) => Error::Closed.fmt(f),
        }
    }
}

impl StdError for TrySendError {}

/// Why a handler gave up: any error, turned into this by `?`.
///
/// The response is cut, so that the client sees that it is not whole, and the error is traced. As
/// any error becomes one, it is none itself, like that of `anyhow`.
pub struct HandlerError(Box<dyn StdError + Send + Sync>);

impl HandlerError {
    /// An error of this text; or what `?` does not take, as it is no [`std::error::Error`]: a boxed
    /// one, or that of `anyhow` or `eyre`.
    ///
    /// ```
    /// use std::error::Error;
    /// use tidings_server::HandlerError;
    ///
    /// fn look_up() -> Result<u32, Box<dyn Error + Send + Sync>> {
    ///     Ok("7".parse()?)
    /// }
    ///
    /// fn handle() -> Result<(), HandlerError> {
    ///     match look_up().map_err(HandlerError::new)? {
    ///         7 => Ok(()),
    ///         _ => Err(HandlerError::new("it is not there")),
    ///     }
    /// }
    /// # handle().unwrap();
    /// ```
    #[must_use]
    pub fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(error.into())
    }

    /// The error that it was made of.
    #[must_use]
    pub fn as_error(&self) -> &(dyn StdError + 'static) {
        self.0.as_ref()
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self(error.into())
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

/// The handler of a session failed, so its response was cut.
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

    #[test]
    fn an_error_is_made_of_a_text_or_of_what_is_boxed() {
        for error in [
            HandlerError::new("lost"),
            HandlerError::new("lost".to_owned()),
        ] {
            assert_eq!(error.to_string(), "lost");
        }
        let boxed: Box<dyn StdError + Send + Sync> = Box::new(Error::Closed);
        let error = HandlerError::new(boxed);
        assert!(error.as_error().is::<Error>(), "it is not wrapped");
    }
}
