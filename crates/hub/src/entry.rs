//! Owns `Entry` and `Draft`: what a log keeps, before and after it has its place.

use std::hash::Hasher;
use std::sync::Arc;

use bytes::Bytes;
use siphasher::sip::SipHasher13;
use tidings_proto::EntryCheck;

use crate::ChannelName;

/// What an entry costs beside its body and its channel's name, as [`Entry::cost`] counts it, in bytes.
const ENTRY_BYTES: usize = 64;

/// What an entry of a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "every log keeps these two")]
pub enum EntryKind {
    /// An event.
    Event,
    /// The end of its channel.
    End,
}

/// What is to be appended to a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "every log keeps these")]
pub struct Draft {
    /// The channel it belongs to.
    pub channel: ChannelName,
    /// What it is.
    pub kind: EntryKind,
    /// The event as on the wire, without its `id` line; empty for an end.
    pub body: Bytes,
    /// Under which the channel takes it once, see [`Log::append`](crate::Log::append).
    pub key: Option<Arc<str>>,
}

/// What stands in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "every log keeps these")]
pub struct Entry {
    /// Its place: the first is 1, and there are no holes.
    pub seq: u64,
    /// When the log took it, in nanoseconds since 1970. Stamped by the log; it never falls.
    pub time: u64,
    /// The channel it belongs to.
    pub channel: ChannelName,
    /// What it is.
    pub kind: EntryKind,
    /// The event as on the wire, without its `id` line; empty for an end.
    pub body: Bytes,
}

impl Entry {
    /// What tells this entry from another one at the same place.
    ///
    /// The same on every machine and in every version: it stands in the ids that clients keep.
    #[must_use]
    pub fn check(&self) -> EntryCheck {
        self.seal().check
    }

    /// Its check, and what that of its draft is.
    pub(crate) fn seal(&self) -> Seal {
        let mut hasher = hash(&self.channel, self.kind, &self.body);
        let content = EntryCheck::from_hash(hasher.finish());
        hasher.write(&self.seq.to_le_bytes());
        hasher.write(&self.time.to_le_bytes());
        Seal {
            check: EntryCheck::from_hash(hasher.finish()),
            content,
        }
    }

    /// What it counts in a [`Retention`](crate::Retention), in bytes: its body, its channel's name,
    /// and 64.
    #[must_use]
    pub fn cost(&self) -> u64 {
        (self.body.len() + self.channel.as_str().len() + ENTRY_BYTES) as u64
    }
}

/// What tells an entry from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    /// From another one at the same place.
    pub(crate) check: EntryCheck,
    /// From another draft.
    pub(crate) content: EntryCheck,
}

impl Draft {
    /// What tells it from another draft.
    pub(crate) fn content(&self) -> EntryCheck {
        EntryCheck::from_hash(hash(&self.channel, self.kind, &self.body).finish())
    }
}

/// No secret: it guards against accidents, and 24 bits keep nobody out.
fn hash(channel: &ChannelName, kind: EntryKind, body: &[u8]) -> SipHasher13 {
    let kind = match kind {
        EntryKind::Event => 0,
        EntryKind::End => 1,
    };
    let mut hasher = SipHasher13::new();
    hasher.write(&[kind]);
    // A name never ends in a zero, so that it is clear where it ends.
    hasher.write(channel.as_str().as_bytes());
    hasher.write(&[0]);
    hasher.write(body);
    hasher
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_is_the_same_for_ever() {
        let entry = Entry {
            seq: 42,
            time: 1_700_000_000_000_000_000,
            channel: ChannelName::new("news").unwrap(),
            kind: EntryKind::Event,
            body: Bytes::from_static(b"data: hello\n\n"),
        };
        assert_eq!(entry.check().as_str(), "GJXf");
    }

    #[test]
    fn all_of_an_entry_counts_for_its_check() {
        let entry = Entry {
            seq: 1,
            time: 1,
            channel: ChannelName::new("a").unwrap(),
            kind: EntryKind::Event,
            body: Bytes::from_static(b"b"),
        };
        let others = [
            Entry {
                seq: 2,
                ..entry.clone()
            },
            Entry {
                time: 2,
                ..entry.clone()
            },
            Entry {
                channel: ChannelName::new("b").unwrap(),
                ..entry.clone()
            },
            Entry {
                kind: EntryKind::End,
                ..entry.clone()
            },
            Entry {
                body: Bytes::from_static(b"c"),
                ..entry.clone()
            },
        ];
        for other in others {
            assert_ne!(entry.check(), other.check(), "{other:?}");
        }
    }
}
