//! `Sum`: the checksum of a row. SQLite has none of its own for pages.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// The checksum of a row: a hash of the values in their order. It is the same on every machine and in every
/// version. It detects accidents, not attacks.
///
/// The short values are collected: one long write to the hasher is much cheaper than many short ones.
pub(crate) struct Sum {
    hasher: SipHasher13,
    collected: [u8; COLLECTED],
    len: usize,
}

const COLLECTED: usize = 128;

impl Sum {
    /// A sum that begins with the name of the table.
    pub(crate) fn of(table: &str) -> Self {
        let empty = Self {
            hasher: SipHasher13::new(),
            collected: [0; COLLECTED],
            len: 0,
        };
        empty.text(table)
    }

    pub(crate) fn number(mut self, number: u64) -> Self {
        self.write(&number.to_le_bytes());
        self
    }

    pub(crate) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// The length comes first, so that no two lists of values are the same bytes.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        let mut sum = self.number(bytes.len() as u64);
        sum.write(bytes);
        sum
    }

    fn write(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if let Some(free) = self.collected.get_mut(self.len..end) {
            free.copy_from_slice(bytes);
            self.len = end;
        } else {
            self.flush();
            self.hasher.write(bytes);
        }
    }

    fn flush(&mut self) {
        self.hasher.write(&self.collected[..self.len]);
        self.len = 0;
    }

    /// All 64 bits, as SQLite stores them.
    pub(crate) fn finish(mut self) -> i64 {
        self.flush();
        self.hasher.finish().cast_signed()
    }

    /// 32 bits, for small rows.
    pub(crate) fn finish_small(self) -> i64 {
        self.finish() & 0xFFFF_FFFF
    }
}
