//! Owns `ChannelName` and `Pattern`: what a channel may be called, and which channels are meant.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest [`ChannelName`], in bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// What a pattern ends with that means all channels below its name.
const BELOW: &str = "/*";

/// The name of a channel: 1 to 255 bytes, segments of `A–Z a–z 0–9 _ - . ~ :` joined by `/`, none of
/// them empty, `.` or `..`. Names are compared byte by byte; cloning copies no text.
///
/// ```
/// use tidings_hub::ChannelName;
///
/// assert!(ChannelName::new("rooms/42/messages").is_ok());
/// assert!(ChannelName::new("rooms//messages").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

impl ChannelName {
    /// A name of this text.
    ///
    /// # Errors
    /// [`InvalidName`] if a channel cannot be called so.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        if is_valid(text) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName(text.into()))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names this one lies below, the nearest last: of `a/b/c` they are `a` and `a/b`.
    pub(crate) fn parents(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at])
    }
}

fn is_valid(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES && text.split('/').all(is_segment)
}

fn is_segment(segment: &str) -> bool {
    let is_text =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'~' | b':');
    !matches!(segment, "" | "." | "..") && segment.bytes().all(is_text)
}

impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ChannelName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for ChannelName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl TryFrom<&str> for ChannelName {
    type Error = InvalidName;

    fn try_from(text: &str) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

/// Which channels are meant: one by its name, or with `/*` behind a name all that lie below it, at any
/// depth, but not that one itself.
///
/// ```
/// use tidings_hub::{ChannelName, Pattern};
///
/// let rooms = Pattern::new("rooms/*")?;
/// assert!(rooms.matches(&ChannelName::new("rooms/42/messages")?));
/// assert!(!rooms.matches(&ChannelName::new("rooms")?));
/// # Ok::<(), tidings_hub::InvalidName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    name: ChannelName,
    is_below: bool,
}

impl Pattern {
    /// A pattern of this text.
    ///
    /// # Errors
    /// [`InvalidName`] if it is neither a name nor a name and `/*`.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let name = text.strip_suffix(BELOW);
        Ok(Self {
            is_below: name.is_some(),
            name: ChannelName::new(name.unwrap_or(text)).map_err(|_| InvalidName(text.into()))?,
        })
    }

    /// The one channel that is meant; `None` if it is all those below a name.
    #[must_use]
    pub fn as_channel(&self) -> Option<&ChannelName> {
        (!self.is_below).then_some(&self.name)
    }

    /// The name, without the `/*`.
    pub(crate) fn name(&self) -> &ChannelName {
        &self.name
    }

    /// Whether this channel is meant.
    #[must_use]
    pub fn matches(&self, channel: &ChannelName) -> bool {
        if self.is_below {
            self.is_above(channel)
        } else {
            self.name == *channel
        }
    }

    /// Whether all channels that the other means are meant.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        if other.is_below {
            self.is_below && (self.name == other.name || self.is_above(&other.name))
        } else {
            self.matches(&other.name)
        }
    }

    fn is_above(&self, channel: &ChannelName) -> bool {
        let rest = channel.0.strip_prefix(&*self.name.0);
        rest.is_some_and(|rest| rest.starts_with('/'))
    }
}

impl From<ChannelName> for Pattern {
    fn from(name: ChannelName) -> Self {
        Self {
            name,
            is_below: false,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = if self.is_below { BELOW } else { "" };
        write!(f, "{}{below}", self.name)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl FromStr for Pattern {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Pattern {
    type Error = InvalidName;

    fn try_from(text: &str) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

/// The text names no channel, or channels in no way there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidName(Box<str>);

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} names no channel: 1 to 255 of A-Z a-z 0-9 _ - . ~ : in segments joined by /",
            self.0
        )
    }
}

impl std::error::Error for InvalidName {}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ChannelName {
        ChannelName::new(text).unwrap()
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap()
    }

    #[test]
    fn a_name_is_segments_joined_by_slashes() {
        let longest = "a".repeat(MAX_NAME_BYTES);
        for text in ["a", "a/b", "A-Z_0.9~:", "...", "a/..b", &longest] {
            assert_eq!(name(text).as_str(), text);
        }
        let too_long = "a".repeat(MAX_NAME_BYTES + 1);
        for text in [
            "", "/", "/a", "a/", "a//b", ".", "a/..", "a b", "a*", "*", "a/*", "é", "a\n",
            &too_long,
        ] {
            assert!(ChannelName::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_pattern_is_a_name_or_all_below_it() {
        for text in ["a", "a/b/*", "a/*"] {
            assert_eq!(pattern(text).to_string(), text);
        }
        for text in ["*", "/*", "a/*/b", "a*", "a/**", "a/*/*"] {
            assert!(Pattern::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_pattern_matches_what_lies_below_but_not_itself() {
        let check = |text: &str, channel: &str, expected: bool| {
            assert_eq!(
                pattern(text).matches(&name(channel)),
                expected,
                "{text} {channel}"
            );
        };
        check("a", "a", true);
        check("a", "a/b", false);
        check("a/*", "a", false);
        check("a/*", "a/b", true);
        check("a/*", "a/b/c", true);
        check("a/*", "ab/c", false);
        check("a/b/*", "a/c", false);
    }

    #[test]
    fn a_pattern_covers_what_means_no_more() {
        let check = |text: &str, other: &str, expected: bool| {
            assert_eq!(
                pattern(text).covers(&pattern(other)),
                expected,
                "{text} {other}"
            );
        };
        check("a", "a", true);
        check("a", "a/*", false);
        check("a/*", "a", false);
        check("a/*", "a/*", true);
        check("a/*", "a/b", true);
        check("a/*", "a/b/*", true);
        check("a/b/*", "a/*", false);
        check("a/*", "ab/*", false);
    }

    #[test]
    fn the_names_above_are_those_that_patterns_end_in() {
        assert_eq!(name("a/b/c").parents().collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(name("a").parents().count(), 0);
    }
}
