//! `ResponseReader`: the whole body of a response that is no event stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::Response;
use http::response::Parts;
use http_body::Body;

use crate::transport::{ResponseBody, TransportError};

pub(crate) struct ResponseReader {
    head: Parts,
    body: ResponseBody,
    bytes: BytesMut,
    limit: usize,
}

/// A step of a [`ResponseReader`]. After `Part`, there is another.
pub(crate) enum Progress {
    /// A part arrived.
    Part,
    /// The response is complete.
    Whole(Response<Bytes>),
    TooLarge,
    Broken(TransportError),
}

impl ResponseReader {
    pub(crate) fn new(head: Parts, body: ResponseBody, limit: usize) -> Self {
        Self {
            head,
            body,
            bytes: BytesMut::new(),
            limit,
        }
    }

    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Progress> {
        Poll::Ready(match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(chunk) if chunk.len() > self.limit - self.bytes.len() => Progress::TooLarge,
                Ok(chunk) => {
                    self.bytes.extend_from_slice(&chunk);
                    Progress::Part
                }
                Err(_trailers) => Progress::Part,
            },
            Some(Err(error)) => Progress::Broken(error),
            None => {
                let body = std::mem::take(&mut self.bytes).freeze();
                Progress::Whole(Response::from_parts(self.head.clone(), body))
            }
        })
    }
}
