//! `Upload`: an exchange whose request may still be on its way, and the body of that request.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::connect::Duplex;
use crate::gate::{Gate, GateHandle};

pub(crate) type Connection<IO> = http1::Connection<TokioIo<GateHandle<IO>>, RequestBody>;

/// The connection of an exchange, from the head of its response until the request is sent. A server may
/// answer before it has read the request.
pub(crate) struct Upload<IO: Duplex> {
    /// Writes the request. `None` after it has closed.
    connection: Option<Connection<IO>>,
    gate: GateHandle<IO>,
    body_end: BodyEnd,
    /// hyper closes the connection if it is dropped. It yields nothing, because hyper reads no byte of the
    /// body.
    _unread: Incoming,
}

impl<IO: Duplex> Upload<IO> {
    pub(crate) fn new(
        connection: Option<Connection<IO>>,
        gate: GateHandle<IO>,
        body_end: BodyEnd,
        unread: Incoming,
    ) -> Self {
        Self {
            connection,
            gate,
            body_end,
            _unread: unread,
        }
    }

    /// Whether hyper writes nothing more.
    pub(crate) fn is_over(&self) -> bool {
        self.connection.is_none() || (self.body_end.is_reached() && self.gate.gate().is_flushed())
    }

    /// Writes more of the request.
    pub(crate) fn advance(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(cx).is_ready()
        {
            // If the server no longer reads the request, its response counts nevertheless.
            self.connection = None;
        }
    }

    pub(crate) fn gate(&self) -> MutexGuard<'_, Gate<IO>> {
        self.gate.gate()
    }

    /// Takes the stream of bytes back from hyper.
    pub(crate) fn into_gate(self) -> Gate<IO> {
        let read_ahead = self.connection.map(|connection| {
            let parts = connection.into_parts();
            parts.read_buf
        });
        let mut gate = self.gate.into_gate();
        // The gate gives hyper no byte after the head, so there is nothing here unless hyper puts it there.
        if let Some(bytes) = read_ahead.filter(|bytes| !bytes.is_empty()) {
            *gate.rest() = [bytes.as_ref(), gate.rest()].concat().as_slice().into();
        }
        gate
    }
}

/// The body of a request, which notes when hyper needs no more of it.
pub(crate) struct RequestBody {
    bytes: Full<Bytes>,
    end: BodyEnd,
}

/// Whether hyper needs no more of the body of a request: it has taken all, or has dropped the body. It drops
/// one without a poll if the `Content-Length` of the caller is 0.
///
/// After a failure hyper drops the body too. Then its connection has ended, so there is nothing to write, and
/// the last write was no completed flush: [`Gate::shut_down`] does not take that request for a whole one.
#[derive(Clone)]
pub(crate) struct BodyEnd(Arc<AtomicBool>);

impl BodyEnd {
    fn is_reached(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl RequestBody {
    pub(crate) fn new(bytes: Bytes) -> Self {
        // hyper does not poll an empty body.
        let end = BodyEnd(Arc::new(AtomicBool::new(bytes.is_empty())));
        Self {
            bytes: Full::new(bytes),
            end,
        }
    }

    pub(crate) fn end(&self) -> BodyEnd {
        self.end.clone()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.end.0.store(true, Ordering::Relaxed);
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = Pin::new(&mut self.bytes).poll_frame(cx);
        if self.bytes.is_end_stream() {
            self.end.0.store(true, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.bytes.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tidings_testkit::timeout::timeout;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// hyper drops the body without a poll if the caller's `Content-Length` is 0.
    #[tokio::test]
    async fn an_upload_whose_body_hyper_drops_is_over() {
        let (io, mut server) = duplex(1024);
        let gate = GateHandle::new(io);
        let body = RequestBody::new(Bytes::from_static(b"a"));
        let body_end = body.end();
        let io = TokioIo::new(gate.clone());
        let (mut sender, mut connection) = http1::handshake(io).await.unwrap();
        let request = hyper::Request::post("/").header("content-length", "0");
        let response = sender.send_request(request.body(body).unwrap());
        let serve = async {
            assert!(server.read(&mut [0; 1024]).await.unwrap() > 0);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n";
            server.write_all(answer).await.unwrap();
            response.await.unwrap()
        };
        let answered = async {
            tokio::select! {
                response = serve => response,
                _ = &mut connection => unreachable!("the server has not closed"),
            }
        };
        let response = timeout(Duration::from_secs(10), answered).await.unwrap();
        let mut upload = Upload::new(Some(connection), gate, body_end, response.into_body());
        poll_fn(|cx| {
            upload.advance(cx);
            Poll::Ready(())
        })
        .await;
        assert!(upload.is_over());
    }
}
