//! The buffer into which all sessions of a thread read.

use std::cell::Cell;

use bytes::{Bytes, BytesMut};

/// The most bytes of one read. A fast stream takes a tenth less CPU time than with 16 KiB.
const READ_BYTES: usize = 128 * 1024;

/// A read has at least this much room.
const MIN_ROOM: usize = READ_BYTES / 4;

/// Fewer bytes are copied, so that a session that keeps them does not keep the whole buffer.
const MIN_SHARED: usize = READ_BYTES / 8;

thread_local! {
    static BUFFER: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// Lends the buffer of this thread, empty. So a session that waits for bytes has none.
///
/// If it is lent already, because one session is read within a read of another, the inner one receives
/// a new buffer.
pub(crate) fn with_read_buffer<T>(read: impl FnOnce(&mut BytesMut) -> T) -> T {
    // A thread that ends has no buffer any more.
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    buffer.clear();
    if buffer.capacity() < MIN_ROOM {
        // It allocates only if a session still keeps a frame of the buffer.
        buffer.reserve(READ_BYTES);
    }
    let result = read(&mut buffer);
    BUFFER.try_with(|cell| cell.set(buffer)).ok();
    result
}

/// Takes the contents of the buffer.
pub(crate) fn take_frame(buffer: &mut BytesMut) -> Bytes {
    let mut frame = buffer.split();
    detach_small(&mut frame);
    frame.freeze()
}

/// Copies bytes of the buffer, if they are few.
pub(crate) fn detach_small(bytes: &mut BytesMut) {
    if bytes.len() < MIN_SHARED {
        *bytes = bytes.as_ref().into();
    }
}
