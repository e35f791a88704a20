//! `Pattern`: one channel by its name, or all channels below a name.

use std::collections::HashSet;
use std::fmt;

use crate::ChannelName;
use crate::name::{Fault, InvalidText};
use crate::text::Text;

/// The end of a pattern that selects all channels below its name.
const BELOW: &str = "/*";

/// The channels of a subscription or a grant: one channel by its name, or, with `/*` after a name,
/// all channels below that name.
///
/// Below means at any depth. The channel of that name itself is not below it. Cloning copies no text.
///
/// ```
/// use tidings_hub::{ChannelName, Pattern};
///
/// let rooms = Pattern::new("rooms/*")?;
/// assert!(rooms.matches(&ChannelName::new("rooms/42/messages")?));
/// assert!(!rooms.matches(&ChannelName::new("rooms")?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Pattern(Shape);

#[derive(Clone)]
enum Shape {
    Channel(ChannelName),
    /// The whole text, with the `/*`.
    Below(Text),
}

impl Pattern {
    /// Checks the text and makes it a pattern.
    ///
    /// # Errors
    /// [`InvalidPattern`] if the text is neither a [channel name](ChannelName) nor a channel name
    /// followed by `/*`.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidPattern> {
        let text = text.as_ref();
        let (name, is_below) = split(text);
        match Fault::find(name) {
            None if is_below => Ok(Self(Shape::Below(text.into()))),
            None => Ok(ChannelName::from_checked(text).into()),
            Some(fault) => Err(InvalidPattern(InvalidText::new(text, fault))),
        }
    }

    /// A pattern from a literal. In a `const`, the compiler checks it.
    ///
    /// # Panics
    /// If [`new`](Self::new) refuses the text.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        let (name, is_below) = split(text);
        assert!(
            Fault::find(name).is_none(),
            "a pattern is a channel name, with or without /* after it"
        );
        Self(if is_below {
            Shape::Below(Text::from_static(text))
        } else {
            Shape::Channel(ChannelName::from_static(text))
        })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Shape::Channel(name) => name.as_str(),
            Shape::Below(text) => text.as_str(),
        }
    }

    /// The channel, if the pattern is the name of one channel; `None` if it selects all channels
    /// below a name.
    #[must_use]
    pub fn as_channel(&self) -> Option<&ChannelName> {
        match &self.0 {
            Shape::Channel(name) => Some(name),
            Shape::Below(_) => None,
        }
    }

    /// The name, without the `/*`.
    #[must_use]
    pub fn name(&self) -> &str {
        split(self.as_str()).0
    }

    /// Whether the pattern selects this channel.
    #[must_use]
    pub fn matches(&self, channel: &ChannelName) -> bool {
        match &self.0 {
            Shape::Channel(name) => name == channel,
            Shape::Below(_) => self.is_above(channel.as_str()),
        }
    }

    /// Whether the pattern selects every channel that the other one selects.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (_, Shape::Channel(name)) => self.matches(name),
            (Shape::Channel(_), Shape::Below(_)) => false,
            (Shape::Below(_), Shape::Below(_)) => self == other || self.is_above(other.name()),
        }
    }

    /// The same channels by as few patterns as possible: those that no other one covers, each once, in the
    /// order of their texts. No channel matches two of them.
    ///
    /// ```
    /// use tidings_hub::Pattern;
    ///
    /// let patterns = ["b", "a/b/*", "a/*", "b"].map(Pattern::from_static);
    /// let disjoint: Vec<_> = Pattern::disjoint(&patterns).into_iter().map(Pattern::as_str).collect();
    /// assert_eq!(disjoint, ["a/*", "b"]);
    /// ```
    #[must_use]
    pub fn disjoint(patterns: &[Self]) -> Vec<&Self> {
        let mut patterns: Vec<_> = patterns.iter().collect();
        if patterns.len() > 1 {
            patterns.sort_unstable();
            patterns.dedup();
            drop_covered(&mut patterns);
        }
        patterns
    }

    /// Whether this name is below the name of the pattern.
    fn is_above(&self, name: &str) -> bool {
        let rest = name.strip_prefix(self.name());
        rest.is_some_and(|rest| rest.starts_with('/'))
    }
}

/// The name of a pattern, and whether the pattern is a name followed by `/*`.
const fn split(text: &str) -> (&str, bool) {
    let length = text.len().saturating_sub(BELOW.len());
    if text.len() < BELOW.len() || !text.is_char_boundary(length) {
        return (text, false);
    }
    let (name, end) = text.split_at(length);
    if matches!(end.as_bytes(), b"/*") {
        (name, true)
    } else {
        (text, false)
    }
}

tidings_proto::text_traits!(Pattern, InvalidPattern, "a pattern");

impl From<ChannelName> for Pattern {
    fn from(name: ChannelName) -> Self {
        Self(Shape::Channel(name))
    }
}

/// A list of channels and patterns, for [`Hub::subscribe_all`](crate::Hub::subscribe_all) and
/// [`Grant::new`](crate::Grant::new): any iterator of texts, [`ChannelName`]s or [`Pattern`]s.
///
/// One text is not a list:
///
/// ```compile_fail,E0277
/// # let hub = tidings_hub::Hub::in_memory();
/// hub.subscribe_all("rooms/*"); // write `subscribe_all(["rooms/*"])`
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a list of channels and patterns",
    label = "expected a list, such as an array",
    note = "for one pattern or channel, write a list of one: `[\"rooms/*\"]`"
)]
pub trait IntoPatterns {
    /// The patterns.
    ///
    /// # Errors
    /// [`InvalidPattern`] for the first text that is not a valid pattern.
    fn into_patterns(self) -> Result<Vec<Pattern>, InvalidPattern>;
}

#[diagnostic::do_not_recommend]
impl<I: IntoIterator<Item: AsRef<str>>> IntoPatterns for I {
    fn into_patterns(self) -> Result<Vec<Pattern>, InvalidPattern> {
        self.into_iter().map(Pattern::new).collect()
    }
}

/// The error for text that is not a valid [`Pattern`]; its message names the broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidPattern(InvalidText);

impl InvalidPattern {
    /// Writes that the pattern is not valid. The error itself names the broken rule.
    pub(crate) fn write_summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write_summary("pattern", f)
    }
}

impl fmt::Display for InvalidPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write("pattern", f)
    }
}

impl std::error::Error for InvalidPattern {}

/// Removes the patterns that select only what another one selects.
fn drop_covered(patterns: &mut Vec<&Pattern>) {
    let ranges = patterns.iter().filter(|p| p.as_channel().is_none());
    let ranges: HashSet<_> = ranges.map(|p| p.name()).collect();
    if ranges.is_empty() {
        return;
    }
    patterns.retain(|pattern| {
        let name = pattern.name();
        let mut parents = name.match_indices('/').map(|(at, _)| &name[..at]);
        !parents.any(|parent| ranges.contains(parent))
    });
}

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
    fn a_pattern_is_a_name_with_or_without_a_star() {
        let longest = "a".repeat(crate::MAX_NAME_BYTES) + "/*";
        for text in ["a", "a/b/*", "a/*", &longest] {
            assert_eq!(pattern(text), text);
        }
        for text in ["", "*", "/*", "a/*/b", "a*", "a/**", "a/*/*", "é", "aé*"] {
            assert!(Pattern::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_error_names_the_broken_rule_and_where() {
        let check = |text: &str, expected: &str| {
            let error = Pattern::new(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        check("/*", "a pattern must not be empty");
        check("a//*", r#"pattern "a//*": the segment at byte 2 is empty"#);
        check(
            "a/*/b",
            r#"pattern "a/*/b": the character at byte 2 is not one of"#,
        );
    }

    #[test]
    fn literals_are_the_same_patterns() {
        const NEWS: Pattern = Pattern::from_static("news");
        const ROOMS: Pattern = Pattern::from_static("rooms/*");
        assert_eq!((NEWS, ROOMS), (pattern("news"), pattern("rooms/*")));
        assert_eq!(NEWS.as_channel(), Some(&name("news")));
        assert_eq!((ROOMS.as_channel(), ROOMS.name()), (None, "rooms"));
    }

    #[test]
    fn a_pattern_matches_channels_below_its_name_but_not_the_name() {
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
    fn a_pattern_covers_patterns_that_select_no_more() {
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

    #[cfg(feature = "serde")]
    #[test]
    fn serde_refuses_an_invalid_pattern() {
        let rooms: Pattern = serde_json::from_str(r#""rooms/*""#).unwrap();
        assert_eq!(serde_json::to_string(&rooms).unwrap(), r#""rooms/*""#);
        serde_json::from_str::<Pattern>(r#""*""#).unwrap_err();
    }

    #[test]
    fn no_channel_matches_two_disjoint_patterns() {
        let check = |patterns: &[&str], expected: &[&str]| {
            let patterns: Vec<_> = patterns.iter().map(|p| Pattern::new(p).unwrap()).collect();
            let disjoint = Pattern::disjoint(&patterns);
            let texts: Vec<_> = disjoint.into_iter().map(Pattern::as_str).collect();
            assert_eq!(texts, expected);
        };
        check(&["a", "b", "a"], &["a", "b"]);
        check(&["a/b", "a/*", "a"], &["a", "a/*"]);
        check(&["a/b/*", "a/*", "a/b/c/d"], &["a/*"]);
        check(&["ab", "ab/c", "a/*"], &["a/*", "ab", "ab/c"]);
        check(&["a/*"], &["a/*"]);
        check(&[], &[]);
    }
}
