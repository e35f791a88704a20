//! `ChannelName`: the valid name of a channel, and the rules for names.

use std::fmt::{self, Write};

use crate::Pattern;
use crate::text::Text;

/// The longest [`ChannelName`], in bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// The name of a channel: 1 to 255 bytes in segments separated by `/`.
///
/// A segment consists of `A–Z a–z 0–9 _ - . ~ :`. It must not be empty, `.` or `..`. Names are
/// equal if their bytes are equal. Cloning copies no text. [`escape`](Self::escape) makes a segment of any
/// text.
///
/// ```
/// use tidings_hub::ChannelName;
///
/// const NEWS: ChannelName = ChannelName::from_static("news");
/// assert_eq!(NEWS, "news");
///
/// assert!(ChannelName::new("rooms/42/messages").is_ok());
/// let error = ChannelName::new("rooms//messages").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"channel name "rooms//messages": the segment at byte 6 is empty"#,
/// );
/// let error = ChannelName::new("rooms/*").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#""rooms/*" is a pattern, not a channel name; subscribe_all takes patterns"#,
/// );
/// ```
#[derive(Clone)]
pub struct ChannelName(Text);

impl ChannelName {
    /// Checks the text and makes it a name.
    ///
    /// # Errors
    /// [`InvalidChannelName`] if the text breaks a rule for names.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidChannelName> {
        let text = text.as_ref();
        match Fault::find(text) {
            None => Ok(Self(text.into())),
            Some(fault) => {
                let is_pattern = Pattern::new(text).is_ok();
                let fault = if is_pattern { Fault::Pattern } else { fault };
                Err(InvalidChannelName(InvalidText::new(text, fault)))
            }
        }
    }

    /// A name from a literal. In a `const`, the compiler checks it.
    ///
    /// # Panics
    /// If the text breaks a rule for names.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        assert!(
            Fault::find(text).is_none(),
            "a channel name is 1 to 255 bytes of A-Z a-z 0-9 _ - . ~ : in segments separated by /"
        );
        Self(Text::from_static(text))
    }

    /// The text as one segment of a name: a user ID, an e-mail address or a title, whatever it contains.
    ///
    /// The letters `A–Z a–z`, the digits and `_ - . :` stay. Each other byte of the UTF-8 text becomes `~`
    /// and two upper-case hexadecimal digits; so do `~`, `/`, and the first dot of `.` and `..`. The empty
    /// text becomes `~`. So each text has a name of its own, and a text with `/` or `*` selects no other
    /// channels. There is no function that reverses it.
    ///
    /// ```
    /// use tidings_hub::{ChannelName, InvalidChannelName};
    ///
    /// fn inbox(mail: &str) -> Result<ChannelName, InvalidChannelName> {
    ///     ChannelName::new(format!("users/{}/inbox", ChannelName::escape(mail)?))
    /// }
    /// assert_eq!(inbox("jo+x@example.org")?, "users/jo~2Bx~40example.org/inbox");
    /// assert_eq!(inbox("../Zoë/*")?, "users/..~2FZo~C3~AB~2F~2A/inbox");
    /// # Ok::<(), InvalidChannelName>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidChannelName`] if the escaped text is longer than [`MAX_NAME_BYTES`].
    pub fn escape(text: impl AsRef<str>) -> Result<Self, InvalidChannelName> {
        let text = text.as_ref();
        let is_dots = matches!(text, "." | "..");
        let is_kept = |at, byte| is_allowed(byte) && byte != b'~' && !(is_dots && at == 0);
        let bytes = || text.bytes().enumerate();
        let lengths = bytes().map(|(at, byte)| if is_kept(at, byte) { 1 } else { 3 });
        let length: usize = lengths.sum();
        if length > MAX_NAME_BYTES {
            return Err(InvalidChannelName(InvalidText::escaped_too_long(length)));
        }
        if text.is_empty() {
            return Ok(Self::from_static("~"));
        }
        let mut escaped = String::with_capacity(length);
        for (at, byte) in bytes() {
            if is_kept(at, byte) {
                escaped.push(char::from(byte));
            } else {
                // Writing to a string cannot fail.
                write!(escaped, "~{byte:02X}").ok();
            }
        }
        Ok(Self::from_checked(&escaped))
    }

    /// A name that is escaped, or was checked as a part of a pattern.
    pub(crate) fn from_checked(text: &str) -> Self {
        debug_assert!(Fault::find(text).is_none());
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The names above this one, the nearest last: `a` and `a/b` for `a/b/c`.
    pub(crate) fn parents(&self) -> impl Iterator<Item = &str> {
        let text = self.as_str();
        text.match_indices('/').map(|(at, _)| &text[..at])
    }
}

tidings_proto::text_traits!(ChannelName, InvalidChannelName, "a channel name");

/// The error for text that is not a valid [`ChannelName`]; its message names the broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidChannelName(InvalidText);

impl InvalidChannelName {
    /// Writes that the name is not valid. The error itself names the broken rule.
    pub(crate) fn write_summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write_summary("channel name", f)
    }
}

impl fmt::Display for InvalidChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write("channel name", f)
    }
}

impl std::error::Error for InvalidChannelName {}

/// A rule for names that a text breaks, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Empty,
    TooLong,
    /// The text is too long after [`ChannelName::escape`] has escaped it.
    EscapedTooLong,
    /// The segment that begins at this byte is empty.
    EmptySegment(usize),
    /// The segment that begins at this byte is `.` or `..`.
    DotSegment(usize),
    /// The character at this byte is not allowed.
    Character(usize),
    /// The text is a valid pattern. Only a channel name has this fault.
    Pattern,
}

impl Fault {
    /// The first fault of a name; `const`, so that literals are checked by the compiler.
    pub(crate) const fn find(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return Some(Self::Empty);
        }
        if bytes.len() > MAX_NAME_BYTES {
            return Some(Self::TooLong);
        }
        let mut start = 0;
        let mut at = 0;
        while at <= bytes.len() {
            if at == bytes.len() || bytes[at] == b'/' {
                if at == start {
                    return Some(Self::EmptySegment(start));
                }
                if is_dots(bytes, start, at) {
                    return Some(Self::DotSegment(start));
                }
                start = at + 1;
            } else if !is_allowed(bytes[at]) {
                return Some(Self::Character(at));
            }
            at += 1;
        }
        None
    }
}

const fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'~' | b':')
}

/// Whether the segment from `start` to `end` is `.` or `..`.
const fn is_dots(bytes: &[u8], start: usize, end: usize) -> bool {
    match end - start {
        1 => bytes[start] == b'.',
        2 => bytes[start] == b'.' && bytes[start + 1] == b'.',
        _ => false,
    }
}

/// A text and the rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvalidText {
    /// Empty if it is too long, so that an error takes little memory.
    text: Box<str>,
    bytes: usize,
    fault: Fault,
}

impl InvalidText {
    pub(crate) fn new(text: &str, fault: Fault) -> Self {
        let is_short = fault != Fault::TooLong;
        Self {
            text: if is_short { text.into() } else { "".into() },
            bytes: text.len(),
            fault,
        }
    }

    /// The text is so long when it is escaped, in bytes.
    fn escaped_too_long(bytes: usize) -> Self {
        Self {
            text: "".into(),
            bytes,
            fault: Fault::EscapedTooLong,
        }
    }

    /// Writes that the text is not valid, without the broken rule. `subject` names the kind of text.
    pub(crate) fn write_summary(&self, subject: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::Empty | Fault::TooLong | Fault::EscapedTooLong => {
                write!(f, "the {subject} is not valid")
            }
            _ => write!(f, "the {subject} {:?} is not valid", self.text),
        }
    }

    /// Writes the text and the broken rule. `subject` names the kind of text.
    pub(crate) fn write(&self, subject: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &*self.text;
        match self.fault {
            Fault::Empty => write!(f, "a {subject} must not be empty"),
            Fault::TooLong => {
                let bytes = self.bytes;
                write!(
                    f,
                    "a {subject} has at most {MAX_NAME_BYTES} bytes, not {bytes}"
                )
            }
            Fault::EscapedTooLong => {
                let bytes = self.bytes;
                write!(
                    f,
                    "an escaped {subject} has at most {MAX_NAME_BYTES} bytes, not {bytes}"
                )
            }
            Fault::EmptySegment(at) => {
                write!(f, "{subject} {text:?}: the segment at byte {at} is empty")
            }
            Fault::DotSegment(at) => {
                write!(
                    f,
                    "{subject} {text:?}: the segment at byte {at} must not be . or .."
                )
            }
            Fault::Character(at) => write!(
                f,
                "{subject} {text:?}: the character at byte {at} is not one of A-Z a-z 0-9 _ - . ~ : /"
            ),
            Fault::Pattern => write!(
                f,
                "{text:?} is a pattern, not a {subject}; subscribe_all takes patterns"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> ChannelName {
        ChannelName::new(text).unwrap()
    }

    #[test]
    fn a_name_is_segments_separated_by_slashes() {
        let longest = "a".repeat(MAX_NAME_BYTES);
        for text in ["a", "a/b", "A-Z_0.9~:", "...", "a/..b", &longest] {
            assert_eq!(name(text).as_str(), text);
        }
    }

    /// Reverses [`ChannelName::escape`].
    fn unescape(name: &str) -> String {
        if name == "~" {
            return String::new();
        }
        let mut parts = name.split('~');
        let mut bytes = parts.next().unwrap().as_bytes().to_vec();
        for part in parts {
            let (digits, rest) = part.split_at(2);
            assert_eq!(digits, digits.to_uppercase());
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            bytes.extend_from_slice(rest.as_bytes());
        }
        String::from_utf8(bytes).unwrap()
    }

    proptest! {
        #[test]
        fn each_text_has_an_escaped_name_of_its_own(text in any::<String>(), segment in "[.~/:*A-F0-9]{0,6}") {
            for text in [text, segment] {
                // Each character takes up to 12 bytes.
                let text: String = text.chars().take(MAX_NAME_BYTES / 12).collect();
                let escaped = ChannelName::escape(&text).unwrap();
                prop_assert_eq!(Fault::find(escaped.as_str()), None);
                prop_assert!(!escaped.as_str().contains('/'));
                prop_assert_eq!(unescape(escaped.as_str()), text);
            }
        }
    }

    #[test]
    fn a_text_is_escaped_to_one_segment() {
        let check = |text: &str, expected: &str| {
            assert_eq!(ChannelName::escape(text).unwrap(), expected, "{text:?}");
        };
        check("Az09_-:", "Az09_-:");
        check("", "~");
        check("~", "~7E");
        check("~7E", "~7E7E");
        check(".", "~2E");
        check("..", "~2E.");
        check("...", "...");
        check("a.b", "a.b");
        check("/", "~2F");
        check("a/*", "a~2F~2A");
        check("\0 \n", "~00~20~0A");
        check("é", "~C3~A9");
    }

    #[test]
    fn a_text_that_is_too_long_when_escaped_is_refused() {
        let longest = "é".repeat(42) + "abc";
        assert_eq!(
            name(ChannelName::escape(&longest).unwrap().as_str())
                .as_str()
                .len(),
            255
        );
        let error = ChannelName::escape(longest + "d").unwrap_err();
        let text = error.to_string();
        assert_eq!(
            text,
            "an escaped channel name has at most 255 bytes, not 256"
        );
        let huge = ChannelName::escape("\n".repeat(1 << 20)).unwrap_err();
        assert!(huge.to_string().ends_with("not 3145728"), "{huge}");
    }

    #[test]
    fn an_error_names_the_broken_rule_and_where() {
        let check = |text: &str, expected: &str| {
            let error = ChannelName::new(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        let too_long = "a".repeat(MAX_NAME_BYTES + 1);
        check("", "a channel name must not be empty");
        check(&too_long, "a channel name has at most 255 bytes, not 256");
        check("/", r#"channel name "/": the segment at byte 0 is empty"#);
        check("/a", "the segment at byte 0 is empty");
        check("a/", "the segment at byte 2 is empty");
        check(
            "a//b",
            r#"channel name "a//b": the segment at byte 2 is empty"#,
        );
        check(".", "the segment at byte 0 must not be . or ..");
        check("a/..", "the segment at byte 2 must not be . or ..");
        check("a b", "the character at byte 1 is not one of");
        check("a*", "the character at byte 1 is not one of");
        check("*", "the character at byte 0 is not one of");
        check("a/*/b", "the character at byte 2 is not one of");
        check("aé", "the character at byte 1 is not one of");
        check(
            "a\n",
            r#"channel name "a\n": the character at byte 1 is not one of"#,
        );
    }

    #[test]
    fn an_error_says_that_a_pattern_is_not_a_name() {
        let longest = format!("{}/*", "a".repeat(MAX_NAME_BYTES));
        for text in ["a/*", "a/b/*", &longest] {
            let error = ChannelName::new(text).unwrap_err().to_string();
            let rule = "is a pattern, not a channel name; subscribe_all takes patterns";
            assert_eq!(error, format!("{text:?} {rule}"));
        }
        let too_long = format!("{}/*", "a".repeat(MAX_NAME_BYTES + 1));
        let error = ChannelName::new(too_long).unwrap_err().to_string();
        assert_eq!(error, "a channel name has at most 255 bytes, not 258");
    }

    #[test]
    fn a_name_is_looked_up_compared_and_sorted_as_text() {
        const NEWS: ChannelName = ChannelName::from_static("news");
        assert_eq!(NEWS, name("news"));
        assert_eq!(NEWS, "news");
        assert!(name("a") < name("a/b"));
        assert_eq!(String::from(NEWS), "news");
        assert_eq!("news".parse(), Ok(NEWS));
        assert_eq!(ChannelName::try_from("news"), Ok(NEWS));
        assert_eq!(ChannelName::try_from(String::from("news")), Ok(NEWS));
        let counts = std::collections::HashMap::from([(NEWS, 1)]);
        assert_eq!(counts.get("news"), Some(&1));
    }

    #[test]
    fn parents_are_the_names_above() {
        assert_eq!(name("a/b/c").parents().collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(name("a").parents().count(), 0);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn serde_refuses_an_invalid_name() {
        let name: ChannelName = serde_json::from_str(r#""rooms/42""#).unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), r#""rooms/42""#);
        serde_json::from_str::<ChannelName>(r#""a//b""#).unwrap_err();
    }
}
