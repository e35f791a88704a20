//! `ReadAhead`: notices that a peer has left while nobody reads from its connection.

use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// The most bytes that are kept for the reader: 8 KiB.
const MAX_KEPT: usize = 8 * 1024;

/// The size of one read.
const READ_BYTES: usize = 1024;

/// How many reads are done in one poll.
const READS_PER_POLL: usize = 16;

/// Notices that a peer has left while nobody reads from its connection.
///
/// hyper stops reading while it answers a request if the client has sent more than the request, or if the
/// request's body is dropped before its end. Then it never sees that the client has left, and a session that
/// sends nothing would last for ever.
#[derive(Debug, Default)]
pub(crate) struct ReadAhead {
    /// The bytes that were read, and that the reader has not taken.
    kept: Vec<u8>,
    /// Since the last look at the peer the reader has begun to wait for it. A reader that does not come back
    /// after it was woken has given up.
    reader_waits: bool,
    /// More bytes arrived than are kept. For the reader the connection ends before them.
    has_dropped: bool,
}

impl ReadAhead {
    /// A read of the reader.
    pub(crate) fn poll_read<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.kept.is_empty() && !self.has_dropped {
            let poll = Pin::new(io).poll_read(cx, buffer);
            self.reader_waits = poll.is_pending();
            return poll;
        }
        let fits = self.kept.len().min(buffer.remaining());
        buffer.put_slice(&self.kept[..fits]);
        self.kept = self.kept.split_off(fits);
        Poll::Ready(Ok(()))
    }

    /// The reader has taken all bytes before those that were dropped.
    pub(crate) fn is_at_dropped(&self) -> bool {
        self.has_dropped && self.kept.is_empty()
    }

    /// Fails if the peer has left. Otherwise the task is woken when it leaves.
    ///
    /// A peer that has sent more than is kept is watched only if its further bytes may be dropped.
    pub(crate) fn watch<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        may_drop: bool,
    ) -> io::Result<()> {
        if mem::take(&mut self.reader_waits) {
            return Ok(());
        }
        let mut bytes = [0; READ_BYTES];
        for _ in 0..READS_PER_POLL {
            let room = if may_drop {
                READ_BYTES
            } else {
                READ_BYTES.min(MAX_KEPT - self.kept.len())
            };
            if room == 0 {
                return Ok(());
            }
            let mut buffer = ReadBuf::new(&mut bytes[..room]);
            match Pin::new(&mut *io).poll_read(cx, &mut buffer) {
                Poll::Pending => return Ok(()),
                Poll::Ready(read) => read?,
            }
            let read = buffer.filled();
            if read.is_empty() {
                let message = "the peer closed the connection during a response";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
            let fits = read.len().min(MAX_KEPT - self.kept.len());
            if !self.has_dropped {
                self.kept.extend_from_slice(&read[..fits]);
            }
            self.has_dropped |= fits < read.len();
        }
        cx.waker().wake_by_ref();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    async fn watch(ahead: &mut ReadAhead, io: &mut DuplexStream) -> io::Result<()> {
        poll_fn(|cx| Poll::Ready(ahead.watch(io, cx, true))).await
    }

    /// Reads the bytes that are there, in pieces of this size, and whether the connection ends after them.
    async fn read(ahead: &mut ReadAhead, io: &mut DuplexStream, size: usize) -> (Vec<u8>, bool) {
        let mut all = Vec::new();
        loop {
            let mut bytes = vec![0; size];
            let mut buffer = ReadBuf::new(&mut bytes);
            let poll = poll_fn(|cx| Poll::Ready(ahead.poll_read(io, cx, &mut buffer))).await;
            match poll {
                Poll::Pending => return (all, false),
                Poll::Ready(result) => result.unwrap(),
            }
            if buffer.filled().is_empty() {
                return (all, true);
            }
            all.extend_from_slice(buffer.filled());
        }
    }

    #[tokio::test]
    async fn the_reader_receives_every_byte_in_order() {
        for size in [1, 2, 3, 100] {
            let (mut near, mut far) = duplex(100);
            let mut ahead = ReadAhead::default();
            near.write_all(b"123").await.unwrap();
            watch(&mut ahead, &mut far).await.unwrap();
            near.write_all(b"456").await.unwrap();
            watch(&mut ahead, &mut far).await.unwrap();
            near.write_all(b"789").await.unwrap();
            let read = read(&mut ahead, &mut far, size).await;
            assert_eq!(read, (b"123456789".to_vec(), false), "{size}");
        }
    }

    #[tokio::test]
    async fn a_peer_that_leaves_is_noticed_unless_the_reader_waits() {
        let (mut near, mut far) = duplex(100);
        let mut ahead = ReadAhead::default();
        near.write_all(b"123").await.unwrap();
        watch(&mut ahead, &mut far).await.unwrap();
        drop(near);
        let error = watch(&mut ahead, &mut far).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);

        let (near, mut far) = duplex(100);
        let mut ahead = ReadAhead::default();
        assert_eq!(read(&mut ahead, &mut far, 10).await, (Vec::new(), false));
        drop(near);
        watch(&mut ahead, &mut far).await.unwrap();
        assert_eq!(read(&mut ahead, &mut far, 10).await, (Vec::new(), true));
        // A reader that has begun to wait, and does not come back.
        let (near, mut far) = duplex(100);
        let mut ahead = ReadAhead::default();
        assert_eq!(read(&mut ahead, &mut far, 10).await, (Vec::new(), false));
        drop(near);
        watch(&mut ahead, &mut far).await.unwrap();
        watch(&mut ahead, &mut far).await.unwrap_err();
    }

    #[tokio::test]
    async fn bytes_over_the_limit_are_dropped_and_end_the_connection_for_its_reader() {
        let (mut near, mut far) = duplex(100_000);
        let mut ahead = ReadAhead::default();
        near.write_all(&[b'x'; 100_000]).await.unwrap();
        for _ in 0..10 {
            watch(&mut ahead, &mut far).await.unwrap();
        }
        near.write_all(b"later").await.unwrap();
        watch(&mut ahead, &mut far).await.unwrap();
        assert_eq!(ahead.kept.len(), MAX_KEPT);
        let (read, is_end) = read(&mut ahead, &mut far, 1000).await;
        assert!(is_end && read == vec![b'x'; MAX_KEPT]);
        drop(near);
        watch(&mut ahead, &mut far).await.unwrap_err();
    }

    #[tokio::test]
    async fn bytes_that_may_not_be_dropped_all_reach_the_reader() {
        let (mut near, mut far) = duplex(100_000);
        let mut ahead = ReadAhead::default();
        let sent: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        near.write_all(&sent).await.unwrap();
        drop(near);
        for _ in 0..10 {
            poll_fn(|cx| Poll::Ready(ahead.watch(&mut far, cx, false)))
                .await
                .unwrap();
        }
        assert_eq!(ahead.kept.len(), MAX_KEPT);
        assert_eq!(read(&mut ahead, &mut far, 1000).await, (sent, true));
    }
}
