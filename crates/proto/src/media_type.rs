//! The media type of a response, and `StreamTypes`: the media types that are read as a stream.

use std::error::Error as StdError;
use std::fmt;

use crate::headers::EVENT_STREAM;

/// What HTTP calls whitespace around a media type.
const WHITESPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// The media type that a `Content-Type` names, without its parameters and in the case that it is
/// written in. `None` if it names none.
///
/// The value may be a list, and header lines joined by `, ` are one: the last valid member counts,
/// and `*/*` does not.
///
/// ```
/// use tidings_proto::headers::media_type;
///
/// assert_eq!(media_type("text/html, Text/Event-Stream; charset=utf-8"), Some("Text/Event-Stream"));
/// assert_eq!(media_type("text/event-stream, nonsense, */*"), Some("text/event-stream"));
/// assert_eq!(media_type("event stream"), None);
/// ```
///
/// Spec: [extract a MIME type](https://fetch.spec.whatwg.org/#concept-header-extract-mime-type).
#[must_use]
pub fn media_type(content_type: &str) -> Option<&str> {
    let mut rest = Some(content_type);
    let mut last = None;
    while let Some(text) = rest {
        let member = match end_of_member(text) {
            Some(comma) => {
                rest = Some(&text[comma + 1..]);
                &text[..comma]
            }
            None => {
                rest = None;
                text
            }
        };
        last = essence(member).filter(|found| *found != "*/*").or(last);
    }
    last
}

/// The offset of the first comma outside a quoted string.
///
/// Spec: [get, decode, and split](https://fetch.spec.whatwg.org/#header-value-get-decode-and-split).
fn end_of_member(list: &str) -> Option<usize> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    list.bytes().position(|byte| {
        let is_literal = std::mem::take(&mut is_escaped);
        match byte {
            b'"' if !is_literal => is_quoted = !is_quoted,
            b'\\' if is_quoted => is_escaped = !is_literal,
            b',' => return !is_quoted,
            _ => {}
        }
        false
    })
}

/// Type and subtype of one media type.
///
/// Spec: [parse a MIME type](https://mimesniff.spec.whatwg.org/#parse-a-mime-type).
fn essence(member: &str) -> Option<&str> {
    let essence = member.split(';').next()?.trim_matches(WHITESPACE);
    let (kind, subtype) = essence.split_once('/')?;
    (is_token(kind) && is_token(subtype)).then_some(essence)
}

/// Spec: [RFC 9110, section 5.6.2](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2).
fn is_token(text: &str) -> bool {
    let is_token_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// The media types of the responses that are read as an event stream: `text/event-stream`, unless
/// more are added.
///
/// ```
/// use tidings_proto::StreamTypes;
///
/// let types = StreamTypes::new().and("text/plain")?;
/// assert!(types.include(Some("text/plain; charset=utf-8")));
/// assert!(!types.include(None));
/// assert!(types.any(true).include(None));
/// # Ok::<(), tidings_proto::InvalidMediaType>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use = "media types are added by value"]
pub struct StreamTypes {
    /// Besides `text/event-stream`.
    further: Vec<Box<str>>,
    is_any: bool,
}

impl StreamTypes {
    /// Only `text/event-stream`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds this media type. Its parameters do not matter.
    ///
    /// # Errors
    /// [`InvalidMediaType`] if the text is no media type.
    pub fn and(mut self, media_type: impl AsRef<str>) -> Result<Self, InvalidMediaType> {
        let found = essence(media_type.as_ref()).ok_or(InvalidMediaType(()))?;
        self.further.push(found.into());
        Ok(self)
    }

    /// Whether any media type is one of these, and none too. Default: `false`.
    pub fn any(mut self, any: bool) -> Self {
        self.is_any = any;
        self
    }

    /// Whether a response with this `Content-Type` is read as a stream.
    #[must_use]
    pub fn include(&self, content_type: Option<&str>) -> bool {
        let is_one = |found: &str| {
            let mut further = self.further.iter();
            found.eq_ignore_ascii_case(EVENT_STREAM)
                || further.any(|one| found.eq_ignore_ascii_case(one))
        };
        self.is_any || content_type.and_then(media_type).is_some_and(is_one)
    }
}

/// The error for text that is no media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidMediaType(());

impl fmt::Display for InvalidMediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a media type has the form type/subtype, as text/plain has")
    }
}

impl StdError for InvalidMediaType {}

#[cfg(test)]
mod tests {
    use super::*;

    const CASES: [(&str, Option<&str>); 43] = [
        // One member.
        ("text/event-stream", Some("text/event-stream")),
        ("TEXT/Event-Stream;", Some("TEXT/Event-Stream")),
        (" \t\r\ntext/plain \t;x", Some("text/plain")),
        ("text/event-stream+json", Some("text/event-stream+json")),
        ("text/plain;charset=\u{1}", Some("text/plain")),
        ("text/plain;;;charset", Some("text/plain")),
        ("!#$%&'*+-.^_`|~/a", Some("!#$%&'*+-.^_`|~/a")),
        ("", None),
        ("text", None),
        ("text/", None),
        ("/plain", None),
        ("text /plain", None),
        ("text/ plain", None),
        ("text/plain\u{1}", None),
        ("text/pl\u{e4}in", None),
        ("text/event stream", None),
        ("text/a/b", None),
        ("x;text/plain", None),
        ("\"text/plain\"", None),
        ("text/\"plain\"", None),
        ("*/*", None),
        ("*/*;q=0.1", None),
        ("text/*", Some("text/*")),
        // The cases of web-platform-tests, fetch/content-type.
        (",text/plain", Some("text/plain")),
        ("text/html,text/plain", Some("text/plain")),
        ("text/plain;charset=gbk,text/html", Some("text/html")),
        ("text/plain, */*", Some("text/plain")),
        ("text/html, */*", Some("text/html")),
        ("*/*, text/html", Some("text/html")),
        ("text/plain, */*;charset=gbk", Some("text/plain")),
        ("text/html;\" \\\" text/plain", Some("text/html")),
        (
            "text/html;charset=gbk,text/plain,text/html",
            Some("text/html"),
        ),
        ("text/html;x=\",text/plain,\"", Some("text/html")),
        ("text/html;\",text/plain", Some("text/html")),
        ("text/html;\"\\\\\",text/plain", Some("text/plain")),
        ("text/html;\"\\\",text/plain", Some("text/html")),
        ("text/plain;x=\\\",text/html", Some("text/plain")),
        ("text/plain;x=\\,text/html", Some("text/html")),
        ("text/html,x/,/y,text,", Some("text/html")),
        (",,, ,\t", None),
        // Header lines, joined.
        ("text/html, text/event-stream", Some("text/event-stream")),
        (
            "text/event-stream;charset=utf-8, text/plain",
            Some("text/plain"),
        ),
        ("text/plain;a=\", b=\", text/html", Some("text/html")),
    ];

    #[test]
    fn the_last_valid_member_counts() {
        for (content_type, expected) in CASES {
            assert_eq!(media_type(content_type), expected, "{content_type:?}");
            let found = by_the_letter(content_type);
            let expected = expected.map(str::to_ascii_lowercase);
            assert_eq!(found, expected, "by the letter: {content_type:?}");
        }
    }

    #[test]
    fn any_list_has_the_media_type_of_the_standard() {
        const PIECES: [&str; 16] = [
            "text/plain",
            "text/event-stream",
            "*/*",
            "a",
            "/",
            ",",
            ", ",
            ";",
            "\"",
            "\\",
            " ",
            "\t",
            "\r\n",
            "=",
            "\u{e4}",
            "\u{1}",
        ];
        let mut seed = 7_u64;
        let mut found = 0;
        for _ in 0..200_000 {
            let mut text = String::new();
            for _ in 0..seed % 9 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text.push_str(PIECES[(seed >> 33) as usize % PIECES.len()]);
            }
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1) ^ (seed >> 40);
            let ours = media_type(&text).map(str::to_ascii_lowercase);
            assert_eq!(ours, by_the_letter(&text), "{text:?}");
            found += u32::from(ours.is_some());
        }
        assert!(found > 10_000, "{found}");
    }

    /// The algorithms of the standards, step by step, with a string for each value.
    fn by_the_letter(content_type: &str) -> Option<String> {
        let mut essence = None;
        for value in get_decode_and_split(content_type) {
            match parse(&value) {
                Some(found) if found != "*/*" => essence = Some(found),
                _ => {}
            }
        }
        essence
    }

    fn get_decode_and_split(input: &str) -> Vec<String> {
        let input: Vec<char> = input.chars().collect();
        let (mut position, mut values, mut value) = (0, Vec::new(), String::new());
        loop {
            while position < input.len() && !['"', ','].contains(&input[position]) {
                value.push(input[position]);
                position += 1;
            }
            if position < input.len() {
                if input[position] == '"' {
                    collect_quoted(&input, &mut position, &mut value);
                    if position < input.len() {
                        continue;
                    }
                } else {
                    position += 1;
                }
            }
            values.push(value.trim_matches([' ', '\t']).to_owned());
            value = String::new();
            if position >= input.len() {
                return values;
            }
        }
    }

    fn collect_quoted(input: &[char], position: &mut usize, value: &mut String) {
        let start = *position;
        *position += 1;
        loop {
            while *position < input.len() && !['"', '\\'].contains(&input[*position]) {
                *position += 1;
            }
            if *position >= input.len() {
                break;
            }
            let quote_or_backslash = input[*position];
            *position += 1;
            if quote_or_backslash == '"' || *position >= input.len() {
                break;
            }
            *position += 1;
        }
        value.extend(&input[start..*position]);
    }

    fn parse(input: &str) -> Option<String> {
        let is_token = |text: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            !text.is_empty() && text.chars().all(allowed)
        };
        let input = input.trim_matches(['\n', '\r', '\t', ' ']);
        let slash = input.find('/')?;
        let (kind, rest) = (&input[..slash], &input[slash + 1..]);
        let subtype = rest.split(';').next().unwrap_or_default();
        let subtype = subtype.trim_end_matches(['\n', '\r', '\t', ' ']);
        let is_valid = is_token(kind) && is_token(subtype);
        is_valid.then(|| format!("{kind}/{subtype}").to_ascii_lowercase())
    }

    #[test]
    fn further_types_are_added_and_any_includes_none() {
        let check = |types: &StreamTypes, content_type: Option<&str>, expected| {
            assert_eq!(types.include(content_type), expected, "{content_type:?}");
        };
        let standard = StreamTypes::new();
        check(&standard, Some("text/html, Text/Event-Stream"), true);
        for other in [None, Some(""), Some("text/plain"), Some("*/*")] {
            check(&standard, other, false);
            check(&standard.clone().any(true), other, true);
        }
        let further = standard.and("Text/Plain; charset=utf-8").unwrap();
        let further = further.and("application/x-ndjson").unwrap();
        check(&further, Some("text/plain"), true);
        check(&further, Some("text/event-stream"), true);
        check(&further, Some("APPLICATION/X-NDJSON;a=b"), true);
        check(&further, Some("text/plain, text/html"), false);
        check(&further, None, false);
    }

    #[test]
    fn text_that_is_no_media_type_is_refused() {
        for text in ["", "text", "text/", "text/a b", "text/plain, text/html"] {
            assert!(StreamTypes::new().and(text).is_err(), "{text:?}");
        }
    }
}
