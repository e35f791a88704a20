//! A store of several channels, and damaged copies of it.

use std::fs;
use std::path::PathBuf;

use fastrand::Rng;
use tidings_store::import;
use tidings_testkit::property;

use tidings_testkit::temp_dir::TempDir;

/// How many entries the store has.
pub(crate) const ENTRIES: u64 = 303;

const PAGE_BYTES: usize = 4_096;

/// The part of a page that says what the rest is.
const PAGE_HEAD_BYTES: usize = 16;

pub(crate) struct Scene {
    directory: TempDir,
    pub(crate) path: PathBuf,
    bytes: Vec<u8>,
    rng: std::cell::RefCell<Rng>,
}

impl Scene {
    /// A store that was imported.
    pub(crate) fn imported() -> Self {
        let directory = TempDir::in_memory();
        let path = directory.join("events.db");
        let mut rng = Rng::with_seed(property::seed());
        import(&path, lines(&mut rng).as_bytes()).unwrap();
        Self::of(directory, path, rng)
    }

    /// The store in this file, which is closed.
    pub(crate) fn of(directory: TempDir, path: PathBuf, rng: Rng) -> Self {
        Self {
            bytes: fs::read(&path).unwrap(),
            directory,
            path,
            rng: rng.into(),
        }
    }

    /// So many bytes to change: half of them at the beginnings of pages, the others anywhere.
    pub(crate) fn flips(&self, count: usize) -> Vec<(usize, u8)> {
        let mut rng = self.rng.borrow_mut();
        let mut flip = |n: usize| {
            let at = rng.usize(0..self.bytes.len());
            let head = at - at % PAGE_BYTES + rng.usize(0..PAGE_HEAD_BYTES);
            (if n.is_multiple_of(2) { head } else { at }, rng.u8(1..))
        };
        (0..count).map(&mut flip).collect()
    }

    /// A copy with one byte changed. It replaces the copy before.
    pub(crate) fn flipped(&self, at: usize, mask: u8) -> PathBuf {
        let mut bytes = self.bytes.clone();
        bytes[at] ^= mask;
        self.copy(&bytes)
    }

    /// A copy without damage. It replaces the copy before.
    pub(crate) fn copy_whole(&self) -> PathBuf {
        self.copy(&self.bytes)
    }

    /// A copy of the first bytes. It replaces the copy before.
    pub(crate) fn cut(&self, length: u64) -> PathBuf {
        self.copy(&self.bytes[..usize::try_from(length).unwrap()])
    }

    fn copy(&self, bytes: &[u8]) -> PathBuf {
        let copy = self.directory.join("damaged.db");
        for suffix in ["-wal", "-shm", "-journal"] {
            drop(fs::remove_file(
                self.directory.join(format!("damaged.db{suffix}")),
            ));
        }
        fs::write(&copy, bytes).unwrap();
        copy
    }
}

/// A few hundred entries of several channels: small and large events, and ends.
fn lines(rng: &mut Rng) -> String {
    let mut lines = String::new();
    for n in 0..ENTRIES - 3 {
        let size = if n % 50 == 7 {
            9_000
        } else {
            rng.usize(1..400)
        };
        let text: String = std::iter::repeat_with(|| rng.alphanumeric())
            .take(size)
            .collect();
        let channel = rng.u32(0..30);
        lines += &format!("{{\"channel\":\"rooms/{channel}\",\"data\":\"{text}\"}}\n");
    }
    for channel in [3, 7, 11] {
        lines += &format!("{{\"channel\":\"rooms/{channel}\",\"end\":true}}\n");
    }
    lines
}
