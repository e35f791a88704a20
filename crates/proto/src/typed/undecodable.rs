//! `Undecodable`: a received event that is not a value of the expected type, with its error.

use std::error::Error;
use std::fmt;

use crate::Event;

/// A received event that is not a value of the expected type. It contains the whole event.
///
/// Its [`source`](Error::source) names the unknown variant or the fault in the data.
///
/// ```
/// # use tidings_proto::Event;
/// use std::error::Error;
///
/// let Some(Err(undecodable)) = Event::new("five").into_typed::<u32>().data else {
///     panic!("it must not be a number");
/// };
/// assert_eq!(undecodable.to_string(), "the event \"message\" could not be decoded");
/// assert_eq!(undecodable.source().unwrap().to_string(), "expected ident at line 1 column 2");
/// assert_eq!(undecodable.event().text(), "five");
/// ```
#[derive(Debug)]
pub struct Undecodable {
    /// Boxed, so that the type of a decodable event stays small.
    event: Box<Event>,
    cause: Box<dyn Error + Send + Sync>,
}

impl Undecodable {
    pub(super) fn new(event: Event, cause: impl Error + Send + Sync + 'static) -> Self {
        Self {
            event: Box::new(event),
            cause: Box::new(cause),
        }
    }

    /// The event, as it was received.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The event, as it was received, by value.
    #[must_use]
    pub fn into_event(self) -> Event {
        *self.event
    }
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event_type = self.event.event_type();
        write!(f, "the event {event_type:?} could not be decoded")
    }
}

impl Error for Undecodable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.cause.as_ref())
    }
}
