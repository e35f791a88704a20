//! The standard traits of types that are validated text: event IDs, event names, channel names and
//! patterns. They compare, sort, hash, print, parse and serialize as their text.

#[cfg(feature = "serde")]
use std::fmt;

/// The standard traits of a type with `fn new(&str) -> Result<Self, $error>` and
/// `fn as_str(&self) -> &str`. `$what` names the type in errors of serde, and a crate with a feature
/// `serde` has those traits too. Not part of the public API.
#[doc(hidden)]
#[macro_export]
macro_rules! text_traits {
    ($name:ident, $error:ident, $what:literal) => {
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

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.as_str() == other.as_str()
            }
        }

        impl Eq for $name {}

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

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.as_str().cmp(other.as_str())
            }
        }

        impl std::hash::Hash for $name {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.as_str().hash(state);
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
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
        $crate::serde_as_text!($name, $what);
    };
}

/// `Serialize` through `Display`, and `Deserialize` through `FromStr`, which validates. Not part of the
/// public API.
#[cfg(feature = "serde")]
#[doc(hidden)]
#[macro_export]
macro_rules! serde_as_text {
    ($name:ident, $what:literal) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str($crate::TextVisitor::new($what))
            }
        }
    };
}

/// Reads a string and parses it. Not part of the public API.
#[cfg(feature = "serde")]
#[doc(hidden)]
#[derive(Debug)]
pub struct TextVisitor<T> {
    what: &'static str,
    parsed: std::marker::PhantomData<T>,
}

#[cfg(feature = "serde")]
impl<T> TextVisitor<T> {
    #[must_use]
    pub fn new(what: &'static str) -> Self {
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
