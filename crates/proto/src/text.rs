//! `Text`: static or shared text, the inside of `EventId`, `EventName` and `Epoch`.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Text that is cheap to clone: a literal, or text behind a reference count.
#[derive(Clone)]
pub(crate) enum Text {
    Static(&'static str),
    Shared(Arc<str>),
}

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Static(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        if text.is_empty() {
            Self::Static("")
        } else {
            Self::Shared(text.into())
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// The first byte of the text that is one of `refused`, and its offset. `const`, unlike iterators.
pub(crate) const fn find_byte(text: &str, refused: &[u8]) -> Option<(u8, usize)> {
    let text = text.as_bytes();
    let mut at = 0;
    while at < text.len() {
        let mut n = 0;
        while n < refused.len() {
            if text[at] == refused[n] {
                return Some((text[at], at));
            }
            n += 1;
        }
        at += 1;
    }
    None
}

/// The name of a byte that ends a line, or of NUL, for an error text.
pub(crate) fn control_name(byte: u8) -> &'static str {
    match byte {
        0 => "NUL",
        b'\r' => "CR",
        b'\n' => "LF",
        _ => unreachable!("only NUL, CR and LF are refused"),
    }
}

/// The traits that `EventId` and `EventName` share.
macro_rules! text_newtype {
    ($name:ident, $error:ident, $what:literal) => {
        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                self.as_str()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        // Equality, order and hash are those of the text, so a `&str` is a key into a map of these.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.as_str() == *other
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = $error;

            fn try_from(text: &str) -> Result<Self, $error> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.as_str().to_owned()
            }
        }

        #[cfg(feature = "serde")]
        $crate::text::serde_as_text!($name, $what);
    };
}

pub(crate) use text_newtype;

/// `Serialize` through `Display`, and `Deserialize` through `FromStr`, which validates.
#[cfg(feature = "serde")]
macro_rules! serde_as_text {
    ($name:ident, $what:literal) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str($crate::text::TextVisitor::new($what))
            }
        }
    };
}

#[cfg(feature = "serde")]
pub(crate) use serde_as_text;

/// Reads a string, and parses it.
#[cfg(feature = "serde")]
pub(crate) struct TextVisitor<T> {
    what: &'static str,
    parsed: std::marker::PhantomData<T>,
}

#[cfg(feature = "serde")]
impl<T> TextVisitor<T> {
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            parsed: std::marker::PhantomData,
        }
    }
}

#[cfg(feature = "serde")]
impl<T: std::str::FromStr<Err: fmt::Display>> serde::de::Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}
