//! `EventName`: the value of an `event` field, valid by construction.

use std::fmt;
use std::ops::Deref;

use crate::text::{Text, control_name, find_byte};
use crate::text_traits;

/// The type of an event whose name is missing or empty.
pub(crate) const DEFAULT_TYPE: &str = "message";

/// The name of an event, which `EventSource.addEventListener` takes.
///
/// A name contains no CR or LF. The text is static or shared, so cloning does not allocate.
/// Equality, order and hash are those of the text. With the feature `serde`, a name is read from
/// and written as a string.
///
/// ```
/// use tidings_proto::EventName;
///
/// const PRICE: EventName = EventName::from_static("price");
/// assert_eq!(EventName::new("price")?, PRICE);
///
/// let error = EventName::new("two\nlines").unwrap_err();
/// assert_eq!(error.to_string(), "an event name must not contain CR or LF, but byte 3 is LF");
/// # Ok::<(), tidings_proto::InvalidEventName>(())
/// ```
///
/// Spec: [the `event` field](https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation).
#[derive(Clone)]
pub struct EventName(Text);

impl EventName {
    /// A name from text that is known only at run time.
    ///
    /// # Errors
    /// [`InvalidEventName`] if the text contains CR or LF.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidEventName> {
        let text = text.as_ref();
        match find_byte(text, REFUSED) {
            None => Ok(Self(text.into())),
            Some((byte, at)) => Err(InvalidEventName { byte, at }),
        }
    }

    /// A name from a literal. In a `const`, a wrong literal does not compile.
    ///
    /// ```
    /// # use tidings_proto::{Event, EventName};
    /// let event = Event::new("21").event(const { EventName::from_static("price") });
    /// ```
    ///
    /// # Panics
    /// If the text contains CR or LF.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        assert!(
            find_byte(text, REFUSED).is_none(),
            "an event name must not contain CR or LF"
        );
        Self(Text::Static(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// A name from text that is part of one line.
    pub(crate) fn from_line(text: &str) -> Self {
        debug_assert!(find_byte(text, REFUSED).is_none());
        Self(text.into())
    }
}

const REFUSED: &[u8] = b"\r\n";

text_traits!(EventName, InvalidEventName, "an event name");

impl Deref for EventName {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

/// Values that [`Event::event`](crate::Event::event) accepts: an [`EventName`], by value or by
/// reference.
///
/// Text is not accepted, because it may contain CR or LF. For a literal, write
/// `const { EventName::from_static("price") }`. For other text, write `EventName::new(text)?`.
///
/// ```compile_fail,E0277
/// # use tidings_proto::Event;
/// Event::new("21").event("price"); // `&str` is not an event name
/// ```
///
/// You can implement it for a type of your own, such as an enum of the names that you send.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event name",
    label = "expected an `EventName`",
    note = "for a literal, write `const {{ EventName::from_static(\"price\") }}` (checked when compiled)",
    note = "for other text, write `EventName::new(text)?`"
)]
pub trait IntoEventName {
    /// The name.
    fn into_event_name(self) -> EventName;
}

impl IntoEventName for EventName {
    fn into_event_name(self) -> EventName {
        self
    }
}

impl IntoEventName for &EventName {
    fn into_event_name(self) -> EventName {
        self.clone()
    }
}

/// The text cannot be an [`EventName`], because it contains CR or LF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidEventName {
    byte: u8,
    at: usize,
}

impl fmt::Display for InvalidEventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an event name must not contain CR or LF, but byte {} is {}",
            self.at,
            control_name(self.byte)
        )
    }
}

impl std::error::Error for InvalidEventName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cr_and_lf_are_refused() {
        for (text, found) in [
            ("\r", "byte 0 is CR"),
            ("a\nb", "byte 1 is LF"),
            ("\r\n", "byte 0 is CR"),
        ] {
            let error = EventName::new(text).unwrap_err().to_string();
            assert!(error.ends_with(found), "{error}");
        }
        for text in ["", " a ", "\0", "größe"] {
            assert_eq!(EventName::new(text).unwrap(), text);
        }
    }
}
