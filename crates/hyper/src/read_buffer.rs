//! The buffer into which all sessions of a thread read.

use std::cell::Cell;

/// The most bytes of one read. A fast stream takes 7 % less CPU time than with 16 KiB.
const READ_BYTES: usize = 64 * 1024;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends the buffer of this thread. So a session that waits for bytes has none.
///
/// If it is lent already, because one session is read within a read of another, the inner one receives
/// a new buffer.
pub(crate) fn with_read_buffer<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    // A thread that ends has no buffer any more.
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    buffer.resize(READ_BYTES, 0);
    let result = read(&mut buffer);
    BUFFER.try_with(|cell| cell.set(buffer)).ok();
    result
}
