//! `Position`: where an event is in a log. Its text form is `<epoch>.<seq>.<check>`, and an event ID may
//! name the event's channel after it.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::text::{Text, find_byte};
use crate::{EventId, IntoEventId};

/// The longest [`Epoch`], in bytes.
pub const MAX_EPOCH_BYTES: usize = 32;

/// The life of a log that a position belongs to: random text of 1 to 32 letters, digits, `-` and
/// `_`.
///
/// A log takes a new epoch whenever its entries may not continue those that it promised before. An
/// epoch is random, so that two logs never have the same one by accident, as two counters would.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Epoch(Text);

impl Epoch {
    /// An epoch from this text.
    ///
    /// # Errors
    /// [`InvalidPosition`] if the text is empty, is longer than [`MAX_EPOCH_BYTES`], or contains
    /// other characters than ASCII letters, digits, `-` and `_`.
    pub fn new(text: &str) -> Result<Self, InvalidPosition> {
        if is_epoch(text) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidPosition(Part::Epoch))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Four characters of a hash of the entry at a position.
///
/// It distinguishes the log that issued the position from one that lost its end and then grew again
/// in the same epoch.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntryCheck([u8; 4]);

const CHECK_ALPHABET: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl EntryCheck {
    /// A check from its four characters, for a log that stores it.
    ///
    /// # Errors
    /// [`InvalidPosition`] if the text is not four ASCII letters, digits, `-` or `_`.
    pub fn new(text: &str) -> Result<Self, InvalidPosition> {
        match text.as_bytes() {
            &[a, b, c, d] if is_text(text) => Ok(Self([a, b, c, d])),
            _ => Err(InvalidPosition(Part::Check)),
        }
    }

    /// The check of an entry with this hash: its lowest 24 bits.
    #[must_use]
    pub fn from_hash(hash: u64) -> Self {
        Self([18, 12, 6, 0].map(|shift| CHECK_ALPHABET[(hash >> shift & 63) as usize]))
    }

    /// The four characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let Ok(text) = std::str::from_utf8(&self.0) else {
            unreachable!("both ways to make a check admit only letters, digits, `-` and `_`")
        };
        text
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

/// Where an event is in a log. A hub uses it as the event's ID.
///
/// ```
/// use tidings_proto::{Event, Position};
///
/// let position: Position = "k3Zq9.42.x_7A".parse()?;
/// assert_eq!((position.epoch.as_str(), position.seq), ("k3Zq9", 42));
/// assert_eq!(Event::new("hello").id(&position).to_string(), "id: k3Zq9.42.x_7A\ndata: hello\n\n");
/// # Ok::<(), tidings_proto::InvalidPosition>(())
/// ```
///
/// Positions of one epoch are ordered by `seq`. Positions of two epochs have no order, so the type
/// is [`PartialOrd`] and not [`Ord`]. It stores its parts and not their text, so it is not
/// `AsRef<str>` either. With the feature `serde`, a position is read from and written as a string.
///
/// # IDs that name a channel
/// A hub can write the channel of an event after its position: `<epoch>.<seq>.<check>.<channel>`. Such an
/// ID is [parsed](FromStr) as its position, so it resumes and is compared like the position alone.
/// [`channel_in`](Self::channel_in) returns the channel. The position itself never contains it.
#[derive(Clone, PartialEq, Eq, Hash)]
#[allow(
    clippy::exhaustive_structs,
    reason = "the text form has these three parts"
)]
pub struct Position {
    /// The life of the log.
    pub epoch: Epoch,
    /// The number of the entry in this epoch.
    pub seq: u64,
    /// The check of the entry: a part of its hash.
    pub check: EntryCheck,
}

impl Position {
    /// A position from a literal. In a `const`, a wrong literal does not compile.
    ///
    /// ```
    /// use tidings_proto::Position;
    ///
    /// const START: Position = Position::from_static("k3Zq9.0.AAAA");
    /// assert_eq!(START, "k3Zq9.0.AAAA");
    /// ```
    ///
    /// # Panics
    /// If the text is not a position, or names a channel.
    #[must_use]
    #[allow(
        clippy::panic,
        reason = "documented, and a `const` cannot return an error"
    )]
    pub const fn from_static(text: &'static str) -> Self {
        match parse(text) {
            Ok(Parts {
                epoch,
                seq,
                check,
                channel: None,
            }) => Self {
                epoch: Epoch(Text::Static(epoch)),
                seq,
                check,
            },
            Ok(_) | Err(_) => {
                panic!("a position reads <epoch>.<seq>.<check>, such as k3Zq9.42.x_7A")
            }
        }
    }

    /// The channel that an event ID names: the text after the position and a dot. `None` if the ID names no
    /// channel, or is not that of a position.
    ///
    /// ```
    /// use tidings_proto::Position;
    ///
    /// assert_eq!(Position::channel_in("k3Zq9.42.x_7A.rooms/7"), Some("rooms/7"));
    /// assert_eq!(Position::channel_in("k3Zq9.42.x_7A"), None);
    /// assert_eq!("k3Zq9.42.x_7A.rooms/7".parse(), Ok(Position::from_static("k3Zq9.42.x_7A")));
    /// ```
    ///
    /// It has 1 to 255 bytes of `A–Z a–z 0–9 _ - . ~ : /`. A client can send any such text, so it may not be
    /// the name of a channel.
    #[must_use]
    pub fn channel_in(id: &str) -> Option<&str> {
        parse(id).ok()?.channel
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.seq.cmp(&other.seq) {
            _ if self.epoch != other.epoch => None,
            // One number, two entries: neither of the two logs continues the other.
            Ordering::Equal if self.check != other.check => None,
            ordering => Some(ordering),
        }
    }
}

/// Exact: an ID that names a channel is not equal to its position.
impl PartialEq<str> for Position {
    fn eq(&self, text: &str) -> bool {
        parse(text).is_ok_and(|parts| {
            parts.channel.is_none()
                && (self.epoch.as_str(), self.seq, self.check)
                    == (parts.epoch, parts.seq, parts.check)
        })
    }
}

impl PartialEq<&str> for Position {
    fn eq(&self, text: &&str) -> bool {
        *self == **text
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

/// Accepts the text that [`Display`](fmt::Display) writes, and no other spelling of it. A channel after it is
/// [checked](Position::channel_in) and ignored.
impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let parts = parse(text)?;
        Ok(Self {
            epoch: Epoch(parts.epoch.into()),
            seq: parts.seq,
            check: parts.check,
        })
    }
}

impl TryFrom<&str> for Position {
    type Error = InvalidPosition;

    fn try_from(text: &str) -> Result<Self, InvalidPosition> {
        text.parse()
    }
}

impl TryFrom<String> for Position {
    type Error = InvalidPosition;

    fn try_from(text: String) -> Result<Self, InvalidPosition> {
        text.parse()
    }
}

impl From<Position> for String {
    fn from(position: Position) -> Self {
        position.to_string()
    }
}

impl From<&Position> for EventId {
    fn from(position: &Position) -> Self {
        Self::from_checked(&position.to_string())
    }
}

impl From<Position> for EventId {
    fn from(position: Position) -> Self {
        Self::from(&position)
    }
}

impl IntoEventId for &Position {
    fn into_event_id(self) -> EventId {
        self.into()
    }
}

impl IntoEventId for Position {
    fn into_event_id(self) -> EventId {
        self.into()
    }
}

#[cfg(feature = "serde")]
crate::serde_as_text!(Position, "a position");

/// The longest channel after a position, in bytes.
const MAX_CHANNEL_BYTES: usize = 255;
/// The longest text of a position, in bytes: an epoch, a number of 20 digits, a check and two dots.
const MAX_TEXT_BYTES: usize = MAX_EPOCH_BYTES + 1 + 20 + 1 + 4;
/// The longest ID that is parsed, in bytes.
const MAX_PARSED_BYTES: usize = MAX_TEXT_BYTES + 1 + MAX_CHANNEL_BYTES;

/// The parts of an ID.
struct Parts<'a> {
    epoch: &'a str,
    seq: u64,
    check: EntryCheck,
    channel: Option<&'a str>,
}

const fn parse(text: &str) -> Result<Parts<'_>, InvalidPosition> {
    // An ID from a peer may have many MiB. It is not searched.
    if text.len() > MAX_PARSED_BYTES {
        return Err(InvalidPosition(Part::Dots));
    }
    let (epoch, Some(rest)) = split_at_dot(text) else {
        return Err(InvalidPosition(Part::Dots));
    };
    let (seq, Some(rest)) = split_at_dot(rest) else {
        return Err(InvalidPosition(Part::Dots));
    };
    let (check, channel) = split_at_dot(rest);
    if !is_epoch(epoch) {
        return Err(InvalidPosition(Part::Epoch));
    }
    let Some(seq) = parse_seq(seq.as_bytes()) else {
        return Err(InvalidPosition(Part::Seq));
    };
    let check = match check.as_bytes() {
        &[a, b, c, d] if is_text(check) => EntryCheck([a, b, c, d]),
        _ => return Err(InvalidPosition(Part::Check)),
    };
    if let Some(channel) = channel
        && !is_channel(channel.as_bytes())
    {
        return Err(InvalidPosition(Part::Channel));
    }
    Ok(Parts {
        epoch,
        seq,
        check,
        channel,
    })
}

/// The text before the first dot, and the text after it if there is one.
const fn split_at_dot(text: &str) -> (&str, Option<&str>) {
    match find_byte(text, b".") {
        Some((_, dot)) => {
            let (before, rest) = text.split_at(dot);
            (before, Some(rest.split_at(1).1))
        }
        None => (text, None),
    }
}

const fn is_epoch(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_EPOCH_BYTES && is_text(text)
}

/// Whether the text has only letters, digits, `-` and `_`.
const fn is_text(text: &str) -> bool {
    let text = text.as_bytes();
    let mut at = 0;
    while at < text.len() {
        if !(text[at].is_ascii_alphanumeric() || text[at] == b'-' || text[at] == b'_') {
            return false;
        }
        at += 1;
    }
    true
}

/// Whether a channel may have this name, apart from its segments.
const fn is_channel(name: &[u8]) -> bool {
    let mut at = 0;
    while at < name.len() {
        let is_mark = matches!(name[at], b'_' | b'-' | b'.' | b'~' | b':' | b'/');
        if !(name[at].is_ascii_alphanumeric() || is_mark) {
            return false;
        }
        at += 1;
    }
    !name.is_empty() && name.len() <= MAX_CHANNEL_BYTES
}

/// A decimal number without a sign and without leading zeros.
const fn parse_seq(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    let mut number = 0_u64;
    let mut at = 0;
    while at < digits.len() {
        if !digits[at].is_ascii_digit() {
            return None;
        }
        let Some(tens) = number.checked_mul(10) else {
            return None;
        };
        let Some(sum) = tens.checked_add((digits[at] - b'0') as u64) else {
            return None;
        };
        number = sum;
        at += 1;
    }
    Some(number)
}

/// The text is not a [`Position`] or not an [`Epoch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidPosition(Part);

/// The part of a position that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Dots,
    Epoch,
    Seq,
    Check,
    Channel,
}

impl fmt::Display for InvalidPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Part::Dots => "a position reads <epoch>.<seq>.<check>",
            Part::Epoch => "an epoch needs 1 to 32 ASCII letters, digits, `-` and `_`",
            Part::Seq => {
                "the number in a position needs decimal digits, no leading zero, and at most 64 bits"
            }
            Part::Check => "the check in a position needs 4 ASCII letters, digits, `-` and `_`",
            Part::Channel => {
                "the channel in a position needs 1 to 255 ASCII letters, digits and `_-.~:/`"
            }
        })
    }
}

impl std::error::Error for InvalidPosition {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_reads_as_its_position_with_any_channel_and_without(
            epoch in "[A-Za-z0-9_-]{1,32}",
            seq: u64,
            hash: u64,
            channel in "[A-Za-z0-9_.~:/-]{1,255}",
        ) {
            let epoch = Epoch::new(&epoch).unwrap();
            let check = EntryCheck::from_hash(hash);
            let position = Position { epoch, seq, check };
            let id = format!("{position}.{channel}");
            prop_assert_eq!(&position.to_string().parse::<Position>().unwrap(), &position);
            prop_assert_eq!(&id.parse::<Position>().unwrap(), &position);
            prop_assert_eq!(Position::channel_in(&id), Some(&*channel));
        }
    }

    #[test]
    fn a_position_reads_back() {
        let longest = format!("{}.{}.x_7-", "e".repeat(MAX_EPOCH_BYTES), u64::MAX);
        assert_eq!(longest.len(), MAX_TEXT_BYTES);
        for text in ["a.0.AAAA", "k3Zq9.18446744073709551615.x_7-", &longest] {
            assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn each_position_has_only_one_spelling() {
        let long = format!("{}.1.AAAA", "e".repeat(MAX_EPOCH_BYTES + 1));
        let too_long_channel = format!("a.1.AAAA.{}", "c".repeat(MAX_CHANNEL_BYTES + 1));
        let longer = "a.1.AAAA".repeat(MAX_PARSED_BYTES);
        for (text, wrong) in [
            ("", Part::Dots),
            ("1", Part::Dots),
            ("a.1", Part::Dots),
            (".1.AAAA", Part::Epoch),
            ("é.1.AAAA", Part::Epoch),
            (&long, Part::Epoch),
            (&longer, Part::Dots),
            ("a..AAAA", Part::Seq),
            ("a.01.AAAA", Part::Seq),
            ("a.+1.AAAA", Part::Seq),
            ("a.-1.AAAA", Part::Seq),
            ("a.18446744073709551616.AAAA", Part::Seq),
            ("a.99999999999999999999.AAAA", Part::Seq),
            ("a.1.AAA", Part::Check),
            ("a.1.AAAAA", Part::Check),
            ("a.1.AA.A", Part::Check),
            ("a.1.AA A", Part::Check),
            ("a.1.AAAé", Part::Check),
            ("a.1..news", Part::Check),
            ("a.1.AAA.news", Part::Check),
            ("a.01.AAAA.news", Part::Seq),
            ("a.1.AAAA.", Part::Channel),
            ("a.1.AAAA.a b", Part::Channel),
            ("a.1.AAAA.a,b", Part::Channel),
            ("a.1.AAAA.a*", Part::Channel),
            ("a.1.AAAA.é", Part::Channel),
            (&too_long_channel, Part::Channel),
        ] {
            assert_eq!(
                text.parse::<Position>(),
                Err(InvalidPosition(wrong)),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_channel_after_a_position_is_no_part_of_it() {
        let longest = format!("{}.{}.x_7-", "e".repeat(MAX_EPOCH_BYTES), u64::MAX);
        let longest_name = "c".repeat(MAX_CHANNEL_BYTES);
        for position in ["a.0.AAAA", "k3Zq9.18446744073709551615.x_7-", &longest] {
            assert_eq!(Position::channel_in(position), None);
            for channel in [
                "a",
                "rooms/7",
                ".",
                "a.1.AAAA",
                "-_.~:/",
                "Az09",
                &longest_name,
            ] {
                let id = format!("{position}.{channel}");
                let parsed: Position = id.parse().unwrap();
                assert_eq!(parsed.to_string(), position);
                assert_eq!(parsed, position);
                assert_ne!(parsed, id.as_str());
                assert_eq!(Position::channel_in(&id), Some(channel));
            }
        }
        for id in ["", "news", "a.1.AAAA.", "a.1.AAA.news", "a.1.AAAA.é"] {
            assert_eq!(Position::channel_in(id), None, "{id:?}");
        }
    }

    #[test]
    #[should_panic = "a position reads"]
    fn a_literal_names_no_channel() {
        drop(Position::from_static("a.1.AAAA.news"));
    }

    #[test]
    fn a_position_equals_its_text() {
        const AT: Position = Position::from_static("a.7.AAAA");
        assert_eq!("a.7.AAAA".parse(), Ok(AT));
        assert_eq!(AT, "a.7.AAAA");
        for text in ["b.7.AAAA", "a.8.AAAA", "a.7.AAAB", "a.07.AAAA", ""] {
            assert_ne!(AT, text);
        }
        assert_eq!(String::from(AT), "a.7.AAAA");
        assert_eq!(EventId::from(AT), "a.7.AAAA");
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
