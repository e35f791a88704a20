//! `random_epoch`: a new epoch, for a log that begins or that has lost entries.

use std::hash::{BuildHasher, RandomState};
use std::iter;

use fastrand::Rng;
use tidings_proto::Epoch;

const EPOCH_CHARS: usize = 12;

/// A random epoch of 12 letters and digits, for a [`Log`](crate::Log) that begins, or that has lost entries.
#[must_use]
pub fn random_epoch() -> Epoch {
    // Seeded by the system's randomness, because two processes may start in the same nanosecond.
    let mut rng = Rng::with_seed(RandomState::new().hash_one(0));
    let chars = iter::repeat_with(|| rng.alphanumeric());
    let text: String = chars.take(EPOCH_CHARS).collect();
    match Epoch::new(&text) {
        Ok(epoch) => epoch,
        Err(_) => unreachable!("{EPOCH_CHARS} letters and digits are an epoch"),
    }
}
