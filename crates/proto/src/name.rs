//! Owns `EventName`: the value of an `event` field, valid by construction.

use std::fmt;

use crate::text::{Text, holds, text_newtype};

/// The type of an event that names none, and of one whose name is empty.
pub(crate) const DEFAULT_TYPE: &str = "message";

/// The name of an event: what `EventSource.addEventListener` listens for.
///
/// Holds no CR or LF. Static or shared text: cloning allocates nothing. Equal and hashed by its
/// text.
///
/// ```
/// use tidings_proto::EventName;
///
/// const PRICE: EventName = EventName::from_static("price");
/// assert_eq!(EventName::new("price")?, PRICE);
/// # Ok::<(), tidings_proto::InvalidEventName>(())
/// ```
///
/// Spec: [the `event` field](https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EventName(Text);

impl EventName {
    /// A name of this text.
    ///
    /// # Errors
    /// [`InvalidEventName`] if the text holds CR or LF.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidEventName> {
        let text = text.as_ref();
        if is_valid(text) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidEventName(()))
        }
    }

    /// A name of this literal, checked when it is compiled if it stands in a `const`.
    ///
    /// # Panics
    /// If the text holds CR or LF.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        assert!(is_valid(text), "an event name holds no CR or LF");
        Self(Text::Static(text))
    }

    /// A name of text that is known to be part of one line.
    pub(crate) fn from_line(text: &str) -> Self {
        debug_assert!(is_valid(text));
        Self(text.into())
    }
}

text_newtype!(EventName, InvalidEventName);

const fn is_valid(text: &str) -> bool {
    !holds(text, b'\r') && !holds(text, b'\n')
}

/// The text cannot be an event name: it holds CR or LF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidEventName(());

impl fmt::Display for InvalidEventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event name holds no CR or LF")
    }
}

impl std::error::Error for InvalidEventName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cr_and_lf_are_refused() {
        for text in ["\r", "a\nb", "\r\n"] {
            assert!(EventName::new(text).is_err(), "{text:?}");
        }
        for text in ["", " a ", "\0", "größe"] {
            assert_eq!(EventName::new(text).unwrap(), text);
        }
    }
}
