//! The body of a request, under a read deadline.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Buf, Frame, SizeHint};
use tidings_server::Outgoing;
use tokio::time::{Instant, Sleep, sleep};

/// This body, with a limit on how long a reader waits for the client. Reports when it is over. A request
/// without a body costs nothing.
pub(super) fn with_read_deadline<B>(body: B, limit: Option<Duration>, outgoing: &Outgoing) -> Body
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let is_over = body.is_end_stream();
    outgoing.set_request_over(is_over);
    if is_over {
        return Body::new(body);
    }
    Body::new(RequestBody {
        body: Some(body),
        limit,
        timer: None,
        is_waiting: false,
        outgoing: outgoing.clone(),
    })
}

struct RequestBody<B> {
    /// `None` after an error. hyper then reads no more of the request.
    body: Option<B>,
    limit: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    /// The timer runs.
    is_waiting: bool,
    outgoing: Outgoing,
}

impl<B> Drop for RequestBody<B> {
    fn drop(&mut self) {
        self.outgoing.set_request_over(true);
    }
}

impl<B> RequestBody<B> {
    /// Ready when the reader has waited too long.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(limit) = self.limit else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.is_waiting {
            self.is_waiting = true;
            timer.as_mut().reset(Instant::now() + limit);
        }
        timer.as_mut().poll(cx).map(|()| {
            let message = format!("the client sent no byte of its request for {limit:?}");
            io::Error::new(io::ErrorKind::TimedOut, message)
        })
    }
}

impl<B> HttpBody for RequestBody<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            // An empty frame is no progress: a client could send such frames for ever.
            let is_empty =
                |frame: &Frame<Bytes>| frame.data_ref().is_some_and(|data| !data.has_remaining());
            if !matches!(&frame, Some(Ok(frame)) if is_empty(frame)) {
                this.is_waiting = false;
            }
            if !matches!(frame, Some(Ok(_))) {
                this.outgoing.set_request_over(true);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        this.poll_deadline(cx).map(|error| {
            tracing::debug!(%error, "a request is not read to its end");
            this.body = None;
            Some(Err(error.into()))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.as_ref();
        body.map_or_else(SizeHint::default, B::size_hint)
    }
}
