//! Owns `Position`: a place in a log, and its text form `<epoch>.<seq>.<check>`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::EventId;

/// The longest [`Epoch`], in bytes.
pub const MAX_EPOCH_BYTES: usize = 32;

/// Which life of a log a position belongs to: random text of 1 to 32 letters, digits, `-` and `_`.
///
/// A log takes a new one whenever it may not be the continuation of what was promised. Random and
/// not a counter, so that two logs never agree on one by accident.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// An epoch of this text.
    ///
    /// # Errors
    /// [`InvalidPosition`] if it is empty, longer than [`MAX_EPOCH_BYTES`], or holds anything but
    /// letters, digits, `-` and `_`.
    pub fn new(text: &str) -> Result<Self, InvalidPosition> {
        let is_valid =
            !text.is_empty() && text.len() <= MAX_EPOCH_BYTES && text.bytes().all(is_text_byte);
        if is_valid {
            Ok(Self(text.into()))
        } else {
            Err(InvalidPosition(()))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Four characters of a hash of the entry at a position: tells a log that fell back and grew again
/// from the one that handed the position out.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntryCheck([u8; 4]);

const CHECK_ALPHABET: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl EntryCheck {
    /// The check of an entry with this hash: its lowest 24 bits.
    #[must_use]
    pub fn from_hash(hash: u64) -> Self {
        Self([18, 12, 6, 0].map(|shift| CHECK_ALPHABET[(hash >> shift & 63) as usize]))
    }

    /// The four characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for EntryCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for EntryCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// A place in a log, and the id of the event that stands there.
///
/// ```
/// use tidings_proto::{EventId, Position};
///
/// let position: Position = "k3Zq9.42.x_7A".parse()?;
/// assert_eq!((position.epoch.as_str(), position.seq), ("k3Zq9", 42));
/// assert_eq!(EventId::from(&position), "k3Zq9.42.x_7A");
/// # Ok::<(), tidings_proto::InvalidPosition>(())
/// ```
///
/// Positions of one epoch are ordered by `seq`; those of two are not ordered at all.
#[derive(Clone, PartialEq, Eq, Hash)]
#[allow(
    clippy::exhaustive_structs,
    reason = "the text form has these three parts"
)]
pub struct Position {
    /// The life of the log.
    pub epoch: Epoch,
    /// The entry's number in it.
    pub seq: u64,
    /// What the entry must hash to.
    pub check: EntryCheck,
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        match self.seq.cmp(&other.seq) {
            _ if self.epoch != other.epoch => None,
            // One place, two entries: one of the two logs is not the other's continuation.
            std::cmp::Ordering::Equal if self.check != other.check => None,
            ordering => Some(ordering),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.epoch, self.seq, self.check)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({self})")
    }
}

/// Accepts exactly what [`Display`](fmt::Display) writes: one text for one position.
impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let invalid = || InvalidPosition(());
        let (epoch, rest) = text.split_once('.').ok_or_else(invalid)?;
        let (seq, check) = rest.split_once('.').ok_or_else(invalid)?;
        let is_canonical =
            seq.bytes().all(|byte| byte.is_ascii_digit()) && (seq == "0" || !seq.starts_with('0'));
        if !is_canonical || !check.bytes().all(is_text_byte) {
            return Err(invalid());
        }
        Ok(Self {
            epoch: Epoch::new(epoch)?,
            seq: seq.parse().map_err(|_| invalid())?,
            check: EntryCheck(check.as_bytes().try_into().map_err(|_| invalid())?),
        })
    }
}

impl From<&Position> for EventId {
    fn from(position: &Position) -> Self {
        Self::from_checked(&position.to_string())
    }
}

fn is_text_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// The text is not a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidPosition(());

impl fmt::Display for InvalidPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a position reads <epoch>.<seq>.<check>")
    }
}

impl std::error::Error for InvalidPosition {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back() {
        for text in ["a.0.AAAA", "k3Zq9.18446744073709551615.x_7-"] {
            assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn another_spelling_is_no_position() {
        let long = format!("{}.1.AAAA", "e".repeat(MAX_EPOCH_BYTES + 1));
        for text in [
            "",
            "1",
            "a.1",
            ".1.AAAA",
            "a..AAAA",
            "a.01.AAAA",
            "a.+1.AAAA",
            "a.-1.AAAA",
            "a.1.AAA",
            "a.1.AAAAA",
            "a.1.AA.A",
            "a.1.AA A",
            "é.1.AAAA",
            "a.18446744073709551616.AAAA",
            &long,
        ] {
            assert!(text.parse::<Position>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn positions_of_two_epochs_have_no_order() {
        let at = |text: &str| text.parse::<Position>().unwrap();
        assert!(at("a.1.AAAA") < at("a.2.BBBB"));
        assert_eq!(at("a.1.AAAA").partial_cmp(&at("b.2.AAAA")), None);
        assert_eq!(at("a.1.AAAA").partial_cmp(&at("a.1.BBBB")), None);
    }

    #[test]
    fn a_check_is_the_low_bits_of_the_hash() {
        assert_eq!(EntryCheck::from_hash(0).as_str(), "AAAA");
        assert_eq!(EntryCheck::from_hash(u64::MAX).as_str(), "____");
        assert_eq!(EntryCheck::from_hash(0x01_0000_0000_0001).as_str(), "AAAB");
    }
}
