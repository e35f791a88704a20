//! `Latest`: the missed events that `SlowReader::latest_by` keeps, as their numbers.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};

use tidings_proto::Decoder;

use crate::Entry;
use crate::slow_reader::KeyOf;

/// The maximum number of events that are kept.
const MAX_KEPT: usize = 65_536;

/// Collects the numbers of the latest event of each key, and of all events without a key.
#[derive(Default)]
pub(crate) struct Latest {
    kept: BTreeSet<u64>,
    /// The `seq` of the latest event of each key. A key is stored as its hash, whatever its length.
    by_key: HashMap<[u64; 2], u64>,
    hashers: [RandomState; 2],
    /// How many events were left out.
    missed: u64,
}

impl Latest {
    pub(crate) fn push(&mut self, entry: &Entry, key: &KeyOf) {
        let event = Decoder::new().decode(&entry.body).next();
        let key = event.and_then(Result::ok).and_then(|event| key(&event));
        let hash = |key: String| self.hashers.each_ref().map(|hasher| hasher.hash_one(&key));
        let before = key.and_then(|key| self.by_key.insert(hash(key), entry.seq));
        if before.is_some_and(|seq| self.kept.remove(&seq)) {
            self.missed += 1;
        }
        self.kept.insert(entry.seq);
        if self.kept.len() > MAX_KEPT {
            self.kept.pop_first();
            self.missed += 1;
        }
        if self.by_key.len() > 2 * MAX_KEPT {
            self.by_key.retain(|_, seq| self.kept.contains(seq));
        }
    }

    /// How many events were left out.
    pub(crate) fn missed(&self) -> u64 {
        self.missed
    }

    /// The kept numbers. `through`: everything up to this entry was pushed.
    pub(crate) fn into_kept(self, through: u64) -> Kept {
        let mut deltas = Vec::new();
        let mut last = 0;
        for seq in self.kept {
            write_varint(&mut deltas, seq - last);
            last = seq;
        }
        deltas.shrink_to_fit();
        Kept {
            deltas,
            cursor: Cursor::default(),
            through,
        }
    }
}

/// Numbers in ascending order. Each takes one or two bytes, unless it is far from the one before it.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The distance of each number from the one before it, as a variable-length integer.
    deltas: Vec<u8>,
    cursor: Cursor,
    /// The reader continues after this entry.
    pub(crate) through: u64,
}

/// The number of bytes that were read, and the last number.
#[derive(Debug, Clone, Copy, Default)]
struct Cursor {
    at: usize,
    seq: u64,
}

impl Kept {
    /// The next number.
    pub(crate) fn next(&self) -> Option<u64> {
        self.after(self.cursor).map(|cursor| cursor.seq)
    }

    /// Removes the next number.
    pub(crate) fn pop(&mut self) {
        if let Some(next) = self.after(self.cursor) {
            self.cursor = next;
        }
    }

    /// The last of at most `count` next numbers with at most `distance` from each to the one after it.
    pub(crate) fn run(&self, count: usize, distance: u64) -> Option<u64> {
        let mut last = self.after(self.cursor)?;
        for _ in 1..count {
            match self.after(last) {
                Some(next) if next.seq - last.seq <= distance => last = next,
                Some(_) | None => break,
            }
        }
        Some(last.seq)
    }

    fn after(&self, cursor: Cursor) -> Option<Cursor> {
        let (delta, length) = read_varint(self.deltas.get(cursor.at..)?)?;
        Some(Cursor {
            at: cursor.at + length,
            seq: cursor.seq + delta,
        })
    }
}

/// Writes seven bits in each byte, the lowest ones first. The highest bit marks that more follow.
fn write_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

/// The first integer, and its length in bytes; `None` at the end.
fn read_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let last = bytes.iter().position(|byte| byte & 0x80 == 0)?;
    let bits = bytes[..=last].iter().rev();
    let value = bits.fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
    Some((value, last + 1))
}

#[cfg(test)]
mod tests {
    use tidings_proto::Event;

    use super::*;
    use crate::{ChannelName, Draft};

    /// Pushes an event for each name; the empty name is no key.
    fn pushed(names: impl IntoIterator<Item = (u64, String)>) -> Latest {
        let key = |event: &Event| Some(event.text().to_owned()).filter(|text| !text.is_empty());
        let channel = ChannelName::new("a").unwrap();
        let mut latest = Latest::default();
        for (seq, name) in names {
            let body = Event::new(name).encode().into_bytes();
            let entry = Entry::new(seq, 0, Draft::event(channel.clone(), body));
            latest.push(&entry, &key);
        }
        latest
    }

    fn numbers(mut kept: Kept) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Some(seq) = kept.next() {
            numbers.push(seq);
            kept.pop();
        }
        numbers
    }

    #[test]
    fn the_latest_event_of_each_key_is_kept_and_each_without_a_key() {
        let names = [
            (3, "a"),
            (4, "b"),
            (5, ""),
            (300, "a"),
            (70_000, ""),
            (u64::MAX, "b"),
        ];
        let latest = pushed(names.map(|(seq, name)| (seq, name.to_owned())));
        assert_eq!(latest.missed(), 2);
        let kept = latest.into_kept(u64::MAX);
        assert_eq!(kept.run(9, 1), Some(5));
        assert_eq!(kept.run(9, 400), Some(300));
        assert_eq!(kept.run(2, u64::MAX), Some(300));
        assert_eq!(numbers(kept), [5, 300, 70_000, u64::MAX]);
    }

    #[test]
    fn the_oldest_events_are_left_out_above_the_limit() {
        let max = u64::try_from(MAX_KEPT).unwrap();
        let latest = pushed((1..=max + 100).map(|seq| (seq, seq.to_string())));
        assert_eq!(latest.missed(), 100);
        let kept = latest.into_kept(max + 100);
        assert!(kept.deltas.len() <= MAX_KEPT, "a byte a number");
        assert_eq!(numbers(kept), Vec::from_iter(101..=max + 100));
    }

    #[test]
    fn keys_that_are_left_out_are_forgotten() {
        let latest = pushed((1..=400_000).map(|seq| (seq, seq.to_string())));
        assert!(latest.by_key.len() <= 2 * MAX_KEPT);
        assert_eq!(latest.kept.len(), MAX_KEPT);
    }
}
