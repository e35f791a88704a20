//! `EarlyBytes`: the bytes that a client sends during a stream, and the detection of a client that leaves.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::rt::{Read, ReadBuf};

/// The most bytes that are kept during a stream, in addition to those that hyper had read: 8 KiB.
const MAX_MORE: usize = 8 * 1024;

/// The size of one read.
const READ_BYTES: usize = 1024;

/// How many reads are done in one poll.
const READS_PER_POLL: usize = 16;

/// The bytes that a client sends during a stream: the beginning of its next request.
///
/// All of it is read, as the server would otherwise miss that the client leaves. If it is more than is kept,
/// the rest is dropped, and the connection must close after the stream.
#[derive(Debug)]
pub(crate) struct EarlyBytes {
    kept: Vec<u8>,
    room: usize,
    has_dropped: bool,
}

impl EarlyBytes {
    /// Begins with the bytes that hyper has read before the stream, and with those that were kept during an
    /// earlier stream and that hyper has not read since. The latter count towards the limit: otherwise each
    /// stream of a connection would add to them.
    pub(crate) fn new(read: &[u8], still_kept: &[u8]) -> Self {
        Self {
            kept: [read, still_kept].concat(),
            room: MAX_MORE.saturating_sub(still_kept.len()),
            has_dropped: false,
        }
    }

    /// Fails if the client has left. Otherwise the task is woken when it leaves.
    pub(crate) fn read<I: Read + Unpin>(
        &mut self,
        io: &mut I,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        let mut bytes = [const { MaybeUninit::uninit() }; READ_BYTES];
        for _ in 0..READS_PER_POLL {
            let mut buffer = ReadBuf::uninit(&mut bytes);
            match Pin::new(&mut *io).poll_read(cx, buffer.unfilled()) {
                Poll::Pending => return Ok(()),
                Poll::Ready(read) => read?,
            }
            if buffer.filled().is_empty() {
                let message = "the client closed the connection";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
            self.keep(buffer.filled());
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) {
        if bytes.len() > self.room {
            self.has_dropped = true;
            self.room = 0;
            self.kept = Vec::new();
        }
        if !self.has_dropped {
            self.room -= bytes.len();
            self.kept.extend_from_slice(bytes);
        }
    }

    /// More bytes arrived than are kept, so the next request is not complete.
    pub(crate) fn has_dropped(&self) -> bool {
        self.has_dropped
    }

    pub(crate) fn into_kept(self) -> Bytes {
        self.kept.into()
    }
}
