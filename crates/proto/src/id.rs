//! Owns `EventId`: the value of an `id` field, valid by construction.

use std::fmt;

use crate::text::{Text, holds, text_newtype};

/// The largest id a `Last-Event-ID` header carries, in bytes: 4 KiB.
///
/// Servers refuse heads of 8 KiB and more, and a request has other headers too. A longer id is
/// delivered, but never sent back; see [`EventId::is_resumable`].
pub const MAX_ID_BYTES: usize = 4 * 1024;

/// The id of an event: what a client that comes back sends as `Last-Event-ID`.
///
/// Holds no NUL, CR or LF, since the wire has no way to carry them. Static or shared text: cloning
/// allocates nothing. Equal and hashed by its text. The empty id is valid; it resets what a client
/// remembers.
///
/// ```
/// use tidings_proto::EventId;
///
/// const FIRST: EventId = EventId::from_static("first");
/// assert_eq!(EventId::from(42), "42");
/// assert_eq!(EventId::new("first")?, FIRST);
/// assert!(EventId::new("two\nlines").is_err());
/// # Ok::<(), tidings_proto::InvalidEventId>(())
/// ```
///
/// Spec: [the `id` field](https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EventId(Text);

impl EventId {
    /// The empty id: it resets the last event ID of the client that hears it.
    pub const EMPTY: Self = Self(Text::Static(""));

    /// An id of this text.
    ///
    /// # Errors
    /// [`InvalidEventId`] if the text holds NUL, CR or LF.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidEventId> {
        let text = text.as_ref();
        if is_valid(text) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidEventId(()))
        }
    }

    /// An id of this literal, checked when it is compiled if it stands in a `const`.
    ///
    /// # Panics
    /// If the text holds NUL, CR or LF.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        assert!(is_valid(text), "an event id holds no NUL, CR or LF");
        Self(Text::Static(text))
    }

    /// An id of text in which the caller has already looked for NUL, CR and LF.
    pub(crate) fn from_checked(text: &str) -> Self {
        debug_assert!(is_valid(text));
        Self(text.into())
    }

    /// Whether a `Last-Event-ID` header can carry this id.
    ///
    /// Not resumable are: the empty id (it means *from the start*), control characters, outer
    /// spaces (HTTP trims them, so the server would see another id), and more than
    /// [`MAX_ID_BYTES`].
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        let text = self.as_str();
        !text.is_empty()
            && text.len() <= MAX_ID_BYTES
            && !text.starts_with(' ')
            && !text.ends_with(' ')
            && !text.bytes().any(|byte| byte.is_ascii_control())
    }
}

text_newtype!(EventId, InvalidEventId);

const fn is_valid(text: &str) -> bool {
    !holds(text, 0) && !holds(text, b'\r') && !holds(text, b'\n')
}

macro_rules! from_integers {
    ($($integer:ty)*) => {$(
        impl From<$integer> for EventId {
            fn from(number: $integer) -> Self {
                Self(number.to_string().as_str().into())
            }
        }
    )*};
}

from_integers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

/// The text cannot be an event id: it holds NUL, CR or LF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidEventId(());

impl fmt::Display for InvalidEventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event id holds no NUL, CR or LF")
    }
}

impl std::error::Error for InvalidEventId {}

impl From<&Self> for EventId {
    fn from(id: &Self) -> Self {
        id.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_equal_by_text() {
        assert_eq!(
            EventId::new(String::from("a")).unwrap(),
            EventId::from_static("a")
        );
        assert_eq!(EventId::from(-7_i32), "-7");
        assert_eq!(EventId::from(u128::MAX).as_str(), u128::MAX.to_string());
    }

    #[test]
    fn nul_cr_and_lf_are_refused() {
        for text in ["\0", "a\0b", "a\r", "\nb", "\r\n"] {
            assert!(EventId::new(text).is_err(), "{text:?}");
        }
        for text in ["", " ", "\t", "…", "\u{7f}", "\u{85}"] {
            assert!(EventId::new(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn an_id_that_no_header_can_carry_is_not_resumable() {
        let longest = "x".repeat(MAX_ID_BYTES);
        for text in ["1", "a b", "…", "[{\"offset\":-1}]", longest.as_str()] {
            assert!(EventId::new(text).unwrap().is_resumable(), "{text:?}");
        }
        let too_long = "x".repeat(MAX_ID_BYTES + 1);
        for text in [
            "",
            " a",
            "a ",
            "a\tb",
            "\u{1b}",
            "\u{7f}",
            too_long.as_str(),
        ] {
            assert!(!EventId::new(text).unwrap().is_resumable(), "{text:?}");
        }
    }
}
