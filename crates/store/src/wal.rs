//! The end of a `-wal` file: the check of it for damage that SQLite takes for the end of a crash, and the cut
//! of what a failed commit has left there.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use rusqlite::Connection;

use crate::{StoreError, location};

/// The magic number of a `-wal` file whose checksums are of big-endian words; one less for little-endian
/// ones.
const MAGIC: u32 = 0x377f_0683;

/// How each header of a store begins: with the magic number for the words of this machine, the version, and
/// the size of a page.
const FORM: [[u8; 4]; 3] = [
    (if cfg!(target_endian = "big") {
        MAGIC
    } else {
        MAGIC - 1
    })
    .to_be_bytes(),
    3_007_000_u32.to_be_bytes(),
    PAGE_BYTES.to_be_bytes(),
];

const PAGE_BYTES: u32 = 4_096;
const HEADER_BYTES: usize = 32;
const FRAME_BYTES: usize = 24;

/// SQLite ignores everything after a frame that is not as it was written: usually a crash has cut the last
/// commit off. Returns how many complete commits are ignored after such a frame.
///
/// If each commit waits for the disk, the next one begins only when it is there. So a crash leaves at most
/// one: that which was being written, if the disk had written its end before its beginning. More of them mean
/// that what was on the disk has changed.
///
/// SQLite's document "WAL-mode File Format" explains the file.
pub(crate) fn ignored_commits(wal: &Path) -> io::Result<u64> {
    let file = match File::open(wal) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut file = BufReader::with_capacity(1 << 16, file);
    let mut header = [0; HEADER_BYTES];
    if !read_whole(&mut file, &mut header)? {
        return Ok(0);
    }
    let mut is_valid = Header(header).is_valid();
    let has_form = header[..12] == FORM.concat();
    let header = match (Header(header).repaired(), file.fill_buf()?.first_chunk()) {
        (Some(header), _) => header,
        // A crash while it is written again changes the other bytes only.
        (None, Some(frame)) if !has_form => Header::before(frame),
        // It was being written when the system crashed, and all frames have been moved before.
        (None, _) => return Ok(0),
    };
    let mut frame = vec![0; FRAME_BYTES + header.page_bytes()];
    let mut sum = header.sum();
    let mut ignored = 0;
    while read_whole(&mut file, &mut frame)? {
        let follows = header.is_next(sum, &frame);
        is_valid &= follows;
        let is_commit = word(&frame, 4) != 0;
        ignored += u64::from(!is_valid && follows && is_commit);
        sum = (word(&frame, 16), word(&frame, 20));
    }
    Ok(ignored)
}

/// Cuts off what follows the last commit in the `-wal` file of this store: a commit that has failed, or that
/// a crash has cut. Otherwise the next commits would replace only a part of it, and several such rests would
/// look like [ignored commits](ignored_commits).
///
/// Nobody else may write. Readers need nothing of it. If it must not be synchronized, it is durable after the
/// next commit that is.
pub(crate) fn cut_rest(
    path: &Path,
    connection: &Connection,
    must_sync: bool,
) -> Result<(), StoreError> {
    let frames = connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1));
    let frames: i64 = frames.map_err(|error| StoreError::sqlite(path, error))?;
    // A negative number: the store has a rollback journal.
    let Ok(frames) = u64::try_from(frames) else {
        return Ok(());
    };
    // Another program may have made the file again with larger pages.
    let page = connection.query_row("PRAGMA page_size", [], |row| row.get(0));
    let page: u32 = page.map_err(|error| StoreError::sqlite(path, error))?;
    let frame = FRAME_BYTES as u64 + u64::from(page);
    let end = HEADER_BYTES as u64 + frames * frame;
    cut(&location::beside(path, "-wal"), end, must_sync)
        .map_err(|error| StoreError::io(path, error))
}

/// Makes a file end here, if it is longer.
fn cut(file: &Path, end: u64, must_sync: bool) -> io::Result<()> {
    let file = match File::options().write(true).open(file) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() > end {
        file.set_len(end)?;
    }
    if must_sync {
        // It may have been cut before, and not be on the disk.
        file.sync_all()?;
    }
    Ok(())
}

struct Header([u8; HEADER_BYTES]);

impl Header {
    /// A header for this first frame. Its sum is not known, so the frames count from the second one.
    fn before(frame: &[u8; FRAME_BYTES]) -> Self {
        let mut header = [0; HEADER_BYTES];
        header[..12].copy_from_slice(&FORM.concat());
        header[16..24].copy_from_slice(&frame[8..16]);
        Self(header)
    }

    fn page_bytes(&self) -> usize {
        word(&self.0, 8) as usize
    }

    fn sum(&self) -> (u32, u32) {
        (word(&self.0, 24), word(&self.0, 28))
    }

    fn is_valid(&self) -> bool {
        let magic = word(&self.0, 0);
        (magic | 1) == MAGIC
            && (512..=65_536).contains(&self.page_bytes())
            && self.add((0, 0), &self.0[..24]) == self.sum()
    }

    /// The header if it is valid, or if only one of its bytes was changed; `None` if it was cut off while it
    /// was written. Then it has a new number of the checkpoint, and perhaps nothing else.
    fn repaired(self) -> Option<Self> {
        if self.is_valid() {
            return Some(self);
        }
        let changes = (0..12)
            .chain(16..HEADER_BYTES)
            .flat_map(|at| (1..=u8::MAX).map(move |mask| (at, mask)));
        let mut others = changes.map(|(at, mask)| {
            let mut other = Self(self.0);
            other.0[at] ^= mask;
            other
        });
        others.find(Self::is_valid)
    }

    /// Whether a frame follows the one with this sum.
    fn is_next(&self, sum: (u32, u32), frame: &[u8]) -> bool {
        let has_salts = frame[8..16] == self.0[16..24];
        let sum = self.add(self.add(sum, &frame[..8]), &frame[FRAME_BYTES..]);
        has_salts && sum == (word(frame, 16), word(frame, 20))
    }

    /// SQLite's checksum of these bytes, which are a multiple of 8, after others.
    fn add(&self, (mut first, mut second): (u32, u32), bytes: &[u8]) -> (u32, u32) {
        let is_big_endian = word(&self.0, 0) & 1 == 1;
        let word = |bytes: &[u8], at: usize| {
            let word = word(bytes, at);
            if is_big_endian {
                word
            } else {
                word.swap_bytes()
            }
        };
        for pair in bytes.chunks_exact(8) {
            first = first.wrapping_add(word(pair, 0)).wrapping_add(second);
            second = second.wrapping_add(word(pair, 4)).wrapping_add(first);
        }
        (first, second)
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let [a, b, c, d] = [0, 1, 2, 3].map(|offset| bytes[at + offset]);
    u32::from_be_bytes([a, b, c, d])
}

/// Fills the buffer. Returns whether the file had so many bytes left.
fn read_whole(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
