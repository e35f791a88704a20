//! A buffer that all connections of a thread use in turn, so that an idle one holds none.

use std::cell::Cell;

/// The size of the buffer: 16 KiB.
pub(crate) const SCRATCH_BYTES: usize = 16 * 1024;

/// The largest buffer that is kept for the next user: 64 KiB.
const MAX_KEPT_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An empty buffer with room for at least [`SCRATCH_BYTES`]. A second user at the same time gets a new one.
pub(crate) fn take() -> Vec<u8> {
    let mut buffer = SCRATCH.take();
    buffer.reserve(SCRATCH_BYTES);
    buffer
}

/// Gives the buffer to the next user.
pub(crate) fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() <= MAX_KEPT_BYTES {
        buffer.clear();
        SCRATCH.set(buffer);
    }
}
