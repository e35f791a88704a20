//! `EventId`: the value of an `id` field, valid by construction.

use std::fmt;
use std::ops::Deref;

use crate::text::{Text, control_name, find_byte};
use crate::text_traits;

/// The largest event ID that a client sends as `Last-Event-ID`, in bytes: 8 KiB.
///
/// Browsers have no limit, but most servers refuse a request head of some 8 to 64 KiB. A client
/// delivers a longer ID, but never sends it back; see [`EventId::is_resumable`].
pub const MAX_ID_BYTES: usize = 8 * 1024;

/// The ID of an event. A client that reconnects sends the last one it received as `Last-Event-ID`.
///
/// An ID contains no NUL, CR or LF: the wire format cannot carry them. The empty ID is valid; it
/// resets the last event ID of the client that receives it.
///
/// The text is static or shared, so cloning does not allocate. Equality, order and hash are those
/// of the text. With the feature `serde`, an ID is read from and written as a string.
///
/// ```
/// use tidings_proto::EventId;
///
/// const FIRST: EventId = EventId::from_static("first");
/// assert_eq!(EventId::from(42), "42");
/// assert_eq!(EventId::new("first")?, FIRST);
///
/// let error = EventId::new("two\nlines").unwrap_err();
/// assert_eq!(error.to_string(), "an event ID must not contain NUL, CR or LF, but byte 3 is LF");
/// # Ok::<(), tidings_proto::InvalidEventId>(())
/// ```
///
/// Spec: [the `id` field](https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation).
#[derive(Clone)]
pub struct EventId(Text);

impl EventId {
    /// The empty ID. It resets the last event ID of the client that receives it.
    pub const EMPTY: Self = Self(Text::Static(""));

    /// An ID from text that is known only at run time.
    ///
    /// # Errors
    /// [`InvalidEventId`] if the text contains NUL, CR or LF.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidEventId> {
        let text = text.as_ref();
        match find_byte(text, REFUSED) {
            None => Ok(Self(text.into())),
            Some((byte, at)) => Err(InvalidEventId { byte, at }),
        }
    }

    /// An ID from a literal. In a `const`, a wrong literal does not compile.
    ///
    /// ```
    /// # use tidings_proto::{Event, EventId};
    /// let event = Event::new("hello").id(const { EventId::from_static("first") });
    /// ```
    ///
    /// # Panics
    /// If the text contains NUL, CR or LF.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        assert!(
            find_byte(text, REFUSED).is_none(),
            "an event ID must not contain NUL, CR or LF"
        );
        Self(Text::Static(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// An ID from text that the caller has searched for NUL, CR and LF.
    pub(crate) fn from_checked(text: &str) -> Self {
        debug_assert!(find_byte(text, REFUSED).is_none());
        Self(text.into())
    }

    /// Whether a `Last-Event-ID` header can carry this ID.
    ///
    /// It cannot carry control characters other than a tab, and more than [`MAX_ID_BYTES`] are never
    /// sent. HTTP trims outer spaces and tabs, so an ID of nothing else is not resumable. The empty ID
    /// is not either: it means *from the start*.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        let text = self.as_str();
        text.len() <= MAX_ID_BYTES
            && text
                .bytes()
                .all(|byte| byte == b'\t' || !byte.is_ascii_control())
            && text.bytes().any(|byte| !matches!(byte, b' ' | b'\t'))
    }
}

const REFUSED: &[u8] = b"\0\r\n";

text_traits!(EventId, InvalidEventId, "an event ID");

impl Deref for EventId {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

/// Values that [`Event::id`](crate::Event::id) accepts: an [`EventId`], an integer or a
/// [`Position`](crate::Position).
///
/// Text is not accepted, because it may contain NUL, CR or LF. For a literal, write
/// `const { EventId::from_static("abc") }`. For other text, write `EventId::new(text)?`.
///
/// ```compile_fail,E0277
/// # use tidings_proto::Event;
/// Event::new("hello").id("abc"); // `&str` is not an event ID
/// ```
///
/// You can implement it for an ID type of your own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event ID",
    label = "expected an `EventId`, an integer or a `Position`",
    note = "for a literal, write `const {{ EventId::from_static(\"abc\") }}` (checked when compiled)",
    note = "for other text, write `EventId::new(text)?`"
)]
pub trait IntoEventId {
    /// The ID.
    fn into_event_id(self) -> EventId;
}

impl IntoEventId for EventId {
    fn into_event_id(self) -> EventId {
        self
    }
}

impl IntoEventId for &EventId {
    fn into_event_id(self) -> EventId {
        self.clone()
    }
}

impl From<&Self> for EventId {
    fn from(id: &Self) -> Self {
        id.clone()
    }
}

macro_rules! from_integers {
    ($($integer:ty)*) => {$(
        impl From<$integer> for EventId {
            fn from(number: $integer) -> Self {
                Self(number.to_string().as_str().into())
            }
        }

        impl IntoEventId for $integer {
            fn into_event_id(self) -> EventId {
                self.into()
            }
        }
    )*};
}

from_integers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

/// The text cannot be an [`EventId`], because it contains NUL, CR or LF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidEventId {
    byte: u8,
    at: usize,
}

impl fmt::Display for InvalidEventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an event ID must not contain NUL, CR or LF, but byte {} is {}",
            self.at,
            control_name(self.byte)
        )
    }
}

impl std::error::Error for InvalidEventId {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_equal_and_ordered_by_text() {
        assert_eq!(
            EventId::new(String::from("a")).unwrap(),
            EventId::from_static("a")
        );
        assert!(EventId::from(10) < EventId::from(9));
        assert_eq!(EventId::from(-7_i32), "-7");
        assert_eq!(EventId::from(u128::MAX).as_str(), u128::MAX.to_string());
        assert_eq!(String::from(EventId::from(7)), "7");
    }

    #[test]
    fn nul_cr_and_lf_are_refused() {
        for (text, found) in [
            ("\0", "byte 0 is NUL"),
            ("a\0b", "byte 1 is NUL"),
            ("…\r", "byte 3 is CR"),
            ("\nb", "byte 0 is LF"),
            ("\r\n", "byte 0 is CR"),
        ] {
            let error = EventId::new(text).unwrap_err().to_string();
            assert!(error.ends_with(found), "{error}");
        }
        for text in ["", " ", "\t", "…", "\u{7f}", "\u{85}"] {
            assert!(EventId::new(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn an_id_that_no_header_can_carry_is_not_resumable() {
        let longest = "x".repeat(MAX_ID_BYTES);
        for text in [
            "1",
            "a b",
            " a",
            "a ",
            "a\tb",
            "…",
            "\u{85}",
            "[{\"offset\":-1}]",
            longest.as_str(),
        ] {
            assert!(EventId::new(text).unwrap().is_resumable(), "{text:?}");
        }
        let too_long = "x".repeat(MAX_ID_BYTES + 1);
        for text in ["", " ", "\t ", "a\u{1b}", "\u{7f}", too_long.as_str()] {
            assert!(!EventId::new(text).unwrap().is_resumable(), "{text:?}");
        }
    }
}
