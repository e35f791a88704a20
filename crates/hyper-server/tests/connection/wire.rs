//! `Wire`: a connection that records each call, and accepts as many bytes as its test allows.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use hyper::rt::{Read, ReadBufCursor, Write};

#[derive(Debug, Clone, Default)]
pub(crate) struct Wire(Arc<Mutex<State>>);

#[derive(Debug)]
pub(crate) struct State {
    input: Vec<u8>,
    is_at_end: bool,
    pub(crate) output: Vec<u8>,
    pub(crate) calls: Vec<Call>,
    /// How many more bytes are accepted.
    room: usize,
    /// The most bytes of one write.
    pub(crate) most_per_write: usize,
    pub(crate) is_vectored: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// A completed call on the write side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    /// The lengths of the slices.
    Write(Vec<usize>),
    Flush,
    Shutdown,
}

impl Default for State {
    fn default() -> Self {
        Self {
            input: Vec::new(),
            is_at_end: false,
            output: Vec::new(),
            calls: Vec::new(),
            room: usize::MAX,
            most_per_write: usize::MAX,
            is_vectored: true,
            reader: None,
            writer: None,
        }
    }
}

impl Wire {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The client sends these bytes.
    pub(crate) fn send(&self, bytes: &[u8]) {
        let mut state = self.state();
        state.input.extend_from_slice(bytes);
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }

    /// The client leaves.
    pub(crate) fn leave(&self) {
        let mut state = self.state();
        state.is_at_end = true;
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }

    /// The client accepts this many bytes from now on.
    pub(crate) fn accept(&self, room: usize) {
        let mut state = self.state();
        state.room = room;
        let writer = state.writer.take();
        drop(state);
        writer.into_iter().for_each(Waker::wake);
    }

    /// Takes the bytes that the client has received.
    pub(crate) fn received(&self) -> Vec<u8> {
        std::mem::take(&mut self.state().output)
    }

    /// Takes the calls since the last time.
    pub(crate) fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().calls)
    }
}

impl Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.state();
        if state.input.is_empty() && !state.is_at_end {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let fits = state.input.len().min(buffer.remaining());
        buffer.put_slice(&state.input[..fits]);
        state.input.drain(..fits);
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        assert!(offered > 0, "an empty write");
        let count = offered.min(state.room).min(state.most_per_write);
        if count == 0 {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.room -= count;
        let lengths = slices.iter().map(|slice| slice.len()).collect();
        state.calls.push(Call::Write(lengths));
        let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
        state.output.extend(bytes.take(count));
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.state().is_vectored
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        if state.room == 0 {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.calls.push(Call::Flush);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state().calls.push(Call::Shutdown);
        Poll::Ready(Ok(()))
    }
}
