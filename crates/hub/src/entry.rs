//! `Draft` and `Entry`: the entries of a log, before and after they have a number.

use std::hash::Hasher;
use std::sync::Arc;

use bytes::Bytes;
use siphasher::sip::SipHasher13;
use tidings_proto::EntryCheck;

use crate::ChannelName;

/// The part of [`Entry::cost`] that does not depend on the entry, in bytes.
const ENTRY_BYTES: usize = 80;

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "a log must store both kinds")]
pub enum EntryKind {
    /// An event.
    Event,
    /// The end of its channel.
    End,
}

/// An entry before it has a number: what [`Log::append`](crate::Log::append) takes.
///
/// ```
/// use tidings_hub::{ChannelName, Draft};
///
/// let draft = Draft::event(ChannelName::new("news")?, "data: hello\n\n").key("order-17");
/// assert_eq!(draft.key.as_deref(), Some("order-17"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Draft {
    /// The channel.
    pub channel: ChannelName,
    /// Whether it is an event or the end of the channel.
    pub kind: EntryKind,
    /// The event as it is sent, without its `id` line; empty for an end.
    pub body: Bytes,
    /// The key under which the channel stores it only once; see [`Log::append`](crate::Log::append).
    pub key: Option<Arc<str>>,
}

impl Draft {
    /// An event, encoded as it is sent, without its `id` line.
    #[must_use]
    pub fn event(channel: ChannelName, body: impl Into<Bytes>) -> Self {
        Self {
            channel,
            kind: EntryKind::Event,
            body: body.into(),
            key: None,
        }
    }

    /// The end of a channel.
    #[must_use]
    pub fn end(channel: ChannelName) -> Self {
        Self {
            channel,
            kind: EntryKind::End,
            body: Bytes::new(),
            key: None,
        }
    }

    /// Sets the [key](Self::key).
    #[must_use]
    pub fn key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The hash that distinguishes this draft from other drafts.
    pub(crate) fn content(&self) -> EntryCheck {
        EntryCheck::from_hash(hash(&self.channel, self.kind, &self.body).finish())
    }
}

/// An entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The number: the first entry of a log has 1, and there are no holes.
    pub seq: u64,
    /// When the log stored it, in nanoseconds since 1970. The log sets it; it never decreases from
    /// entry to entry.
    pub time: u64,
    /// The channel.
    pub channel: ChannelName,
    /// Whether it is an event or the end of the channel.
    pub kind: EntryKind,
    /// The event as it is sent, without its `id` line; empty for an end.
    pub body: Bytes,
}

impl Entry {
    /// The entry that a log makes of a draft. The key is not part of it.
    #[must_use]
    pub fn new(seq: u64, time: u64, draft: Draft) -> Self {
        Self {
            seq,
            time,
            channel: draft.channel,
            kind: draft.kind,
            body: draft.body,
        }
    }

    /// The hash that distinguishes this entry from another one with the same number.
    ///
    /// It is the same on every machine and in every version, because it is part of the IDs that
    /// clients keep.
    #[must_use]
    pub fn check(&self) -> EntryCheck {
        self.seal().check
    }

    /// The check of the entry and the content hash of its draft, in one pass over the body.
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

    /// The size that counts against a [`Retention`](crate::Retention), in bytes: the body, the name
    /// of the channel, and 80.
    #[must_use]
    pub fn cost(&self) -> u64 {
        Self::cost_of(self.channel.as_str().len(), self.body.len())
    }

    /// The [cost](Self::cost) of an entry with a name and a body of these lengths.
    pub(crate) fn cost_of(name: usize, body: usize) -> u64 {
        (body + name + ENTRY_BYTES) as u64
    }
}

/// The two hashes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    /// Distinguishes it from another entry with the same number.
    pub(crate) check: EntryCheck,
    /// Distinguishes its draft from other drafts.
    pub(crate) content: EntryCheck,
}

/// Without a secret: it detects accidents, and 24 bits would stop no attacker.
fn hash(channel: &ChannelName, kind: EntryKind, body: &[u8]) -> SipHasher13 {
    let kind = match kind {
        EntryKind::Event => 0,
        EntryKind::End => 1,
    };
    #[cfg(test)]
    tests::HASHED.with(|hashed| hashed.set(hashed.get() + body.len()));
    let mut hasher = SipHasher13::new();
    hasher.write(&[kind]);
    // No name contains a zero byte, so the zero marks where the name ends.
    hasher.write(channel.as_str().as_bytes());
    hasher.write(&[0]);
    hasher.write(body);
    hasher
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// The bytes of bodies that this thread has hashed.
        pub(crate) static HASHED: Cell<usize> = const { Cell::new(0) };
    }

    #[test]
    fn the_check_never_changes_between_versions() {
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
    fn the_check_depends_on_every_field() {
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
