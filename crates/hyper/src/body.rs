//! `DirectBody`: a response body that polls its own connection.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) type Connection<IO> = http1::Connection<TokioIo<IO>, Full<Bytes>>;

/// Reads from its connection when it is polled, in the task that polls it.
pub(crate) struct DirectBody<IO: AsyncRead + AsyncWrite> {
    /// `None` after the connection has closed.
    connection: Option<Connection<IO>>,
    body: Incoming,
}

impl<IO: AsyncRead + AsyncWrite> DirectBody<IO> {
    pub(crate) fn new(connection: Option<Connection<IO>>, body: Incoming) -> Self {
        Self { connection, body }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Body for DirectBody<IO> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        // Only a poll of the body makes the connection read.
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        if let Some(connection) = &mut this.connection
            && Pin::new(connection).poll(cx).is_ready()
        {
            // The body receives the connection's error, if there is one.
            this.connection = None;
        }
        Pin::new(&mut this.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
