//! `Keys`: the keys of recent appends, to recognise repeats.

use std::collections::{HashMap, VecDeque};
use std::hash::Hasher;

use rusqlite::{Connection, Row, params};
use siphasher::sip128::{Hasher128, SipHasher13};
use tidings_hub::{ChannelName, KEY_LIFETIME};

use crate::clock::nanos;
use crate::failure::{Failure, Outcome};
use crate::state_row::number;
use crate::sums::Sum;

/// The maximum number of keys.
pub(crate) const MAX_KEYS: usize = 1_000_000;

/// How many parts the map of the keys has: one for each first byte of a hash.
const SHARDS: usize = 256;

/// The capacity up to which a part does not shrink.
const MIN_SHRINK: usize = 64;

/// A key is stored as its hash and 4 bytes of a checksum.
const BLOB_BYTES: usize = 20;

/// The hash of a channel and a key. It has 128 bits and a secret, so no two keys have the same one, by
/// accident or by intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyHash([u8; 16]);

/// A row of the table `keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyRow {
    pub(crate) seq: u64,
    pub(crate) key: KeyHash,
    pub(crate) expires: u64,
}

/// The keys of the table `keys`, in memory.
#[derive(Debug)]
pub(crate) struct Keys {
    secret: [u8; 16],
    /// In parts, as one map of all keys would hold up the writer while it grows.
    by_hash: Vec<HashMap<KeyHash, (u64, u64)>>,
    /// In the order of the appends, which is also that in which they expire.
    queue: VecDeque<KeyRow>,
    /// The table may still have rows up to this number, of keys that are not here any more.
    left: Option<u64>,
}

impl Keys {
    /// Reads the keys that have not expired at this time. The others are older.
    pub(crate) fn recover(connection: &Connection, secret: [u8; 16], now: u64) -> Outcome<Self> {
        let mut keys = Self {
            secret,
            by_hash: vec![HashMap::new(); SHARDS],
            queue: VecDeque::new(),
            left: None,
        };
        let mut select =
            connection.prepare("SELECT seq, key, expires FROM keys ORDER BY seq DESC")?;
        let mut rows = select.query([])?;
        let mut newest_first = Vec::new();
        while let Some(row) = rows.next()? {
            let row = KeyRow::read(row)?;
            if row.expires <= now {
                keys.left = Some(row.seq);
                break;
            }
            newest_first.push(row);
        }
        let oldest_first = newest_first.into_iter().rev();
        oldest_first.for_each(|row| keys.add(row));
        Ok(keys)
    }

    pub(crate) fn hash(&self, channel: &ChannelName, key: &str) -> KeyHash {
        let mut hasher = SipHasher13::new_with_key(&self.secret);
        hasher.write(channel.as_str().as_bytes());
        // No name contains a zero byte, so the zero marks where the key begins.
        hasher.write(&[0]);
        hasher.write(key.as_bytes());
        KeyHash(hasher.finish128().as_bytes())
    }

    /// The number of the append with this key, unless the key has expired.
    pub(crate) fn get(&self, key: KeyHash, now: u64) -> Option<u64> {
        let &(seq, expires) = self.by_hash[key.shard()].get(&key)?;
        (expires > now).then_some(seq)
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Adds a key for which [`get`](Self::get) has returned `None`.
    pub(crate) fn add(&mut self, row: KeyRow) {
        self.queue.push_back(row);
        self.by_hash[row.key.shard()].insert(row.key, (row.seq, row.expires));
    }

    /// The number of the oldest keys that have expired, at most `limit`, and the `seq` of the last of them.
    pub(crate) fn expired(&self, now: u64, limit: usize) -> Option<(usize, u64)> {
        let oldest = self.queue.iter().take(limit);
        let expired = oldest.take_while(|row| row.expires <= now);
        let (before, last) = expired.enumerate().last()?;
        Some((before + 1, last.seq))
    }

    /// The table may still have rows up to this number, of keys that were forgotten.
    pub(crate) fn left(&self) -> Option<u64> {
        self.left
    }

    /// The rows of all keys that were forgotten have been deleted.
    pub(crate) fn note_deleted(&mut self) {
        self.left = None;
    }

    /// Forgets the keys of the entries up to this number.
    pub(crate) fn forget_through(&mut self, seq: u64) {
        while self.queue.front().is_some_and(|row| row.seq <= seq)
            && let Some(row) = self.queue.pop_front()
        {
            let shard = &mut self.by_hash[row.key.shard()];
            // The key may have been appended again since.
            if shard.get(&row.key) == Some(&(row.seq, row.expires)) {
                shard.remove(&row.key);
            }
            // By half at a time, so that it happens rarely.
            let capacity = shard.capacity();
            if capacity > MIN_SHRINK && shard.len() < capacity / 4 {
                shard.shrink_to(capacity / 2);
            }
        }
        self.left = self.left.max(Some(seq));
        let capacity = self.queue.capacity();
        if capacity > SHARDS * MIN_SHRINK && self.queue.len() < capacity / 4 {
            self.queue.shrink_to(capacity / 2);
        }
    }
}

impl KeyHash {
    fn shard(self) -> usize {
        usize::from(self.0[0])
    }
}

impl KeyRow {
    pub(crate) fn new(seq: u64, key: KeyHash, now: u64) -> Self {
        let expires = now.saturating_add(nanos(KEY_LIFETIME));
        Self { seq, key, expires }
    }

    fn read(row: &Row<'_>) -> Outcome<Self> {
        let seq = number(row, 0)?;
        let damaged =
            || Failure::damaged(format!("the key of entry {seq} is not what was written"));
        let blob: [u8; BLOB_BYTES] = row.get(1).map_err(|_| damaged())?;
        let mut key = [0; 16];
        key.copy_from_slice(&blob[..16]);
        let read = Self {
            seq,
            key: KeyHash(key),
            expires: number(row, 2)?,
        };
        if read.blob() == blob {
            Ok(read)
        } else {
            Err(damaged())
        }
    }

    /// The hash, and the sum of the row.
    fn blob(&self) -> [u8; BLOB_BYTES] {
        let sum = Sum::of("keys")
            .number(self.seq)
            .bytes(&self.key.0)
            .number(self.expires)
            .finish_small();
        let mut blob = [0; BLOB_BYTES];
        blob[..16].copy_from_slice(&self.key.0);
        // It has 32 bits.
        blob[16..].copy_from_slice(&sum.to_le_bytes()[..4]);
        blob
    }

    pub(crate) fn insert(&self, connection: &Connection) -> Outcome<()> {
        let mut insert = connection.prepare_cached("INSERT INTO keys VALUES(?1, ?2, ?3)")?;
        let (seq, expires) = (self.seq.cast_signed(), self.expires.cast_signed());
        insert.execute(params![seq, self.blob(), expires])?;
        Ok(())
    }

    /// Deletes the oldest rows up to this number, at most `limit`. Returns how many.
    pub(crate) fn delete_through(
        connection: &Connection,
        seq: u64,
        limit: usize,
    ) -> Outcome<usize> {
        let mut delete = connection.prepare_cached(
            "DELETE FROM keys WHERE seq IN \
             (SELECT seq FROM keys WHERE seq <= ?1 ORDER BY seq LIMIT ?2)",
        )?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Ok(delete.execute([seq.cast_signed(), limit])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::SCHEMA;

    const LIFETIME: u64 = 120_000_000_000;

    #[test]
    fn a_key_is_known_until_it_expires_also_after_a_recovery() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let mut keys = Keys::recover(&connection, [7; 16], 0).unwrap();
        let name = ChannelName::from_static("a");
        let key = keys.hash(&name, "k");
        let row = KeyRow::new(3, key, 1_000);
        row.insert(&connection).unwrap();
        keys.add(row);
        for keys in [keys, Keys::recover(&connection, [7; 16], 0).unwrap()] {
            assert_eq!(keys.get(key, 1_000 + LIFETIME - 1), Some(3));
            assert_eq!(keys.get(key, 1_000 + LIFETIME), None);
            assert_eq!(keys.expired(1_000 + LIFETIME - 1, 9), None);
            assert_eq!(keys.expired(1_000 + LIFETIME, 9), Some((1, 3)));
        }
    }

    #[test]
    fn a_key_that_was_appended_again_outlives_its_first_append() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let mut keys = Keys::recover(&connection, [7; 16], 0).unwrap();
        let key = keys.hash(&ChannelName::from_static("a"), "k");
        keys.add(KeyRow::new(1, key, 0));
        keys.add(KeyRow::new(2, key, LIFETIME));
        keys.forget_through(1);
        assert_eq!(keys.get(key, LIFETIME), Some(2));
        assert_eq!(keys.len(), 1);
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let keys = Keys::recover(&connection, [7; 16], 0).unwrap();
        let key = keys.hash(&ChannelName::from_static("a"), "k");
        let row = KeyRow::new(3, key, 1_000);
        row.insert(&connection).unwrap();
        for change in [
            "seq = 4",
            "expires = expires + 1",
            "key = zeroblob(20)",
            "key = x'00'",
        ] {
            let change = format!("SAVEPOINT s; UPDATE keys SET {change}");
            connection.execute_batch(&change).unwrap();
            assert!(Keys::recover(&connection, [7; 16], 0).is_err(), "{change}");
            connection.execute_batch("ROLLBACK TO s").unwrap();
        }
        assert_eq!(Keys::recover(&connection, [7; 16], 0).unwrap().len(), 1);
    }

    #[test]
    fn keys_of_channels_and_stores_differ() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let keys = Keys::recover(&connection, [7; 16], 0).unwrap();
        let others = Keys::recover(&connection, [8; 16], 0).unwrap();
        let (a, b) = (ChannelName::from_static("a"), ChannelName::from_static("b"));
        assert_ne!(keys.hash(&a, "k"), keys.hash(&b, "k"));
        assert_ne!(keys.hash(&a, "k"), others.hash(&a, "k"));
    }
}
