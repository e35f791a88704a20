//! The field that a line sets, and its value.

use std::time::Duration;

/// The field of a line that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Data,
    Event,
    Id,
    Retry,
    Comment,
    /// Any other name. The standard ignores the line.
    Unknown,
}

impl Field {
    /// The field of a line, and the offset of its value.
    #[inline]
    pub(crate) fn of(line: &[u8]) -> (Self, usize) {
        let (field, rest) = if let Some(rest) = line.strip_prefix(b"data") {
            (Self::Data, rest)
        } else if let Some(rest) = line.strip_prefix(b"event") {
            (Self::Event, rest)
        } else if let Some(rest) = line.strip_prefix(b"id") {
            (Self::Id, rest)
        } else if let Some(rest) = line.strip_prefix(b"retry") {
            (Self::Retry, rest)
        } else {
            (Self::Comment, line)
        };
        let value = match rest {
            [b':', b' ', value @ ..] | [b':', value @ ..] => value,
            [] => rest,
            _ => return (Self::Unknown, 0),
        };
        (field, line.len() - value.len())
    }
}

/// The reconnection time of a `retry` field. `None` unless the value is one or more ASCII digits. A longer
/// time than [`u64::MAX`] milliseconds counts as that.
pub(crate) fn parse_retry(value: &str) -> Option<Duration> {
    if value.is_empty() {
        return None;
    }
    value
        .bytes()
        .try_fold(0_u64, |millis, byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            Some(millis.saturating_mul(10).saturating_add(digit))
        })
        .map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, field: Field, value: &str) {
        let (found, at) = Field::of(line.as_bytes());
        assert_eq!((found, &line[at..]), (field, value), "{line:?}");
    }

    #[test]
    fn a_value_loses_one_space() {
        check("data:x", Field::Data, "x");
        check("data: x", Field::Data, "x");
        check("data:  x", Field::Data, " x");
        check("data:\tx", Field::Data, "\tx");
        check("event: ", Field::Event, "");
        check(": x", Field::Comment, "x");
    }

    #[test]
    fn a_line_without_a_colon_is_a_name() {
        check("data", Field::Data, "");
        check("event", Field::Event, "");
        check("id", Field::Id, "");
        check("retry", Field::Retry, "");
    }

    #[test]
    fn names_compare_exactly() {
        for line in [
            "Data:x",
            "data :x",
            "datas:x",
            " data:x",
            "dat",
            "ids",
            "\u{feff}data:x",
            " ",
        ] {
            check(line, Field::Unknown, line);
        }
    }

    #[test]
    fn a_retry_is_only_digits() {
        for value in ["", " 1", "+1", "-5", "1.5", "1e3", "1000x", "١"] {
            assert_eq!(parse_retry(value), None, "{value:?}");
        }
        assert_eq!(parse_retry("03000"), Some(Duration::from_secs(3)));
        assert_eq!(
            parse_retry(&"9".repeat(40)),
            Some(Duration::from_millis(u64::MAX))
        );
    }
}
