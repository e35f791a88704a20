//! `Batch`: the bytes of one or more frames, with their framing, until they are written.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut};
use hyper::rt::Write;

use crate::scratch::{self, SCRATCH_BYTES};

/// The largest frame that is copied, so that it leaves with its framing in one write: 4 KiB. The copy takes
/// less time than the kernel takes for two more slices.
const MAX_COPIED_FRAME: usize = 4 * 1024;

/// The most bytes of framing of a frame: the length in hexadecimal, two line ends and the last chunk.
const MAX_FRAMING: usize = 2 * size_of::<usize>() + 2 + LAST_CHUNK_AFTER_FRAME.len();

const LINE_END: &[u8] = b"\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
const LAST_CHUNK_AFTER_FRAME: &[u8] = b"\r\n0\r\n\r\n";

/// The most slices of one write.
const MAX_SLICES: usize = 16;

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By the last chunk, which is empty.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// The bytes of one or more frames, with their framing, until they are written.
///
/// Small frames are copied into a buffer. A large frame is not copied, and is the last one of its batch.
#[derive(Debug)]
pub(crate) struct Batch<D> {
    copied: Vec<u8>,
    /// How many of the copied bytes were written.
    written: usize,
    large: Option<D>,
    /// The bytes after the large frame.
    after_large: &'static [u8],
}

impl<D: Buf> Batch<D> {
    /// An empty batch, in the buffer that the connections of this thread share.
    pub(crate) fn new() -> Self {
        Self {
            copied: scratch::take(),
            written: 0,
            large: None,
            after_large: &[],
        }
    }

    /// The buffer, for the head of a response.
    pub(crate) fn head_mut(&mut self) -> &mut Vec<u8> {
        &mut self.copied
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.written == self.copied.len() && self.large.is_none() && self.after_large.is_empty()
    }

    /// Whether the next frame belongs into another batch.
    pub(crate) fn is_full(&self) -> bool {
        self.large.is_some() || self.copied.len() + MAX_COPIED_FRAME + MAX_FRAMING > SCRATCH_BYTES
    }

    /// Adds a frame. An empty one is left out, because an empty chunk would end the body.
    pub(crate) fn push(&mut self, frame: D, framing: Framing) {
        debug_assert!(!self.is_full(), "a frame is pushed into a batch with room");
        let length = frame.remaining();
        if length == 0 {
            return;
        }
        let is_chunk = framing == Framing::Chunked;
        if is_chunk && write!(self.copied, "{length:X}\r\n").is_err() {
            unreachable!("a vector accepts any bytes");
        }
        let after = if is_chunk { LINE_END } else { &[] };
        if length <= MAX_COPIED_FRAME {
            self.copied.put(frame);
            self.copied.extend_from_slice(after);
        } else {
            self.large = Some(frame);
            self.after_large = after;
        }
    }

    /// Adds the end of the body.
    pub(crate) fn push_end(&mut self, framing: Framing) {
        if framing == Framing::UntilClose {
            return;
        }
        if self.large.is_some() {
            self.after_large = LAST_CHUNK_AFTER_FRAME;
        } else {
            self.copied.extend_from_slice(LAST_CHUNK);
        }
    }

    /// Ready when all bytes were written. Otherwise it holds the rest.
    pub(crate) fn poll_write<I: Write + Unpin>(
        &mut self,
        io: &mut I,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let io = Pin::new(&mut *io);
            let count = ready!(match &self.large {
                None if self.after_large.is_empty() =>
                    io.poll_write(cx, &self.copied[self.written..]),
                _ => {
                    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                    let count = self.slices(&mut slices);
                    io.poll_write_vectored(cx, &slices[..count])
                }
            })?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    /// The bytes that follow, without empty slices.
    fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let mut count = 0;
        if self.written < self.copied.len() {
            slices[count] = IoSlice::new(&self.copied[self.written..]);
            count += 1;
        }
        if let Some(large) = &self.large {
            // One slice is left for the bytes after it.
            let of_large = large.chunks_vectored(&mut slices[count..MAX_SLICES - 1]);
            let added = &slices[count..count + of_large];
            let is_whole =
                added.iter().map(|slice| slice.len()).sum::<usize>() == large.remaining();
            count += of_large;
            if !is_whole {
                return count;
            }
        }
        if !self.after_large.is_empty() {
            slices[count] = IoSlice::new(self.after_large);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        let of_copied = count.min(self.copied.len() - self.written);
        self.written += of_copied;
        count -= of_copied;
        if let Some(large) = &mut self.large {
            let of_large = count.min(large.remaining());
            large.advance(of_large);
            count -= of_large;
            if !large.has_remaining() {
                self.large = None;
            }
        }
        self.after_large = &self.after_large[count..];
    }

    /// The unwritten rest, in a buffer of its own that is as large as needed. Frees the shared buffer.
    pub(crate) fn into_unwritten(mut self) -> Self {
        let rest = self.copied[self.written..].to_vec();
        scratch::give_back(std::mem::replace(&mut self.copied, rest));
        self.written = 0;
        self
    }

    /// Frees the shared buffer.
    pub(crate) fn recycle(self) {
        scratch::give_back(self.copied);
    }
}
