//! `Header`: the first bytes of a database, read without SQLite.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::StoreError;
use crate::schema::APPLICATION_ID;

const MAGIC: &[u8] = b"SQLite format 3\0";

/// The first bytes of a database. SQLite's document "Database File Format" explains them.
#[derive(Debug)]
pub(crate) struct Header([u8; 100]);

impl Header {
    /// Reads the header of a store. No connection of this process may have the file open: SQLite would lose
    /// its locks.
    pub(crate) fn read(path: &Path) -> Result<Self, StoreError> {
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(|error| StoreError::io(path, error))?;
        file.take(100)
            .read_to_end(&mut bytes)
            .map_err(|error| StoreError::io(path, error))?;
        Self::parse(&bytes, path)
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Self, StoreError> {
        if bytes.is_empty() {
            return Err(StoreError::not_a_store(path, "it is an empty file"));
        }
        if !bytes.starts_with(MAGIC) {
            let what = "it does not begin like a database of SQLite";
            return Err(StoreError::not_a_store(path, what));
        }
        let Ok(bytes) = bytes.try_into() else {
            return Err(StoreError::damaged(path, "it is cut off in its first page"));
        };
        let header = Self(bytes);
        if header.number(68) != APPLICATION_ID.cast_unsigned() {
            let what = "it is a database of another program";
            return Err(StoreError::not_a_store(path, what));
        }
        Ok(header)
    }

    /// Whether the database uses a rollback journal, as a new or restored store does until it is opened.
    pub(crate) fn has_no_wal(&self) -> bool {
        self.0[18] == 1
    }

    /// The size that the file must have at least, in bytes, if all changes have been moved into it.
    pub(crate) fn least_size(&self) -> u64 {
        let page_bytes = match u16::from_be_bytes([self.0[16], self.0[17]]) {
            1 => 65_536,
            bytes => u64::from(bytes),
        };
        // The number of pages is valid only if the same change has written it.
        if self.number(24) != self.number(92) {
            return page_bytes;
        }
        page_bytes * u64::from(self.number(28))
    }

    fn number(&self, at: usize) -> u32 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|offset| self.0[at + offset]);
        u32::from_be_bytes([a, b, c, d])
    }
}

/// The size of a file, in bytes.
pub(crate) fn size(path: &Path) -> io::Result<u64> {
    std::fs::metadata(path).map(|metadata| metadata.len())
}
