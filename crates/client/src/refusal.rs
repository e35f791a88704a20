//! Owns `Refusal`: the body of a response that is no event stream, as its error is to tell it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::Body;

use crate::timer::{Timer, after};
use crate::transport::ResponseBody;

/// How long a refusal's body is read: who refuses and then trickles must not hold the error back.
const READ_FOR: Duration = Duration::from_secs(5);

pub(crate) struct Refusal {
    body: ResponseBody,
    bytes: Vec<u8>,
    /// How many more bytes may be read; a frame counts for one at least.
    left: usize,
    timer: Timer,
}

impl Refusal {
    pub(crate) fn new(body: ResponseBody, limit: usize) -> Self {
        Self {
            body,
            bytes: Vec::new(),
            left: limit,
            timer: Timer::default(),
        }
    }

    /// What came of the body until its end, an error, the limit or the deadline.
    pub(crate) fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        while self.left > 0 {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                ready!(self.timer.poll(cx, || after(READ_FOR)));
                break;
            };
            let Some(Ok(frame)) = frame else { break };
            let chunk = frame.into_data().unwrap_or_default();
            self.bytes
                .extend_from_slice(&chunk[..chunk.len().min(self.left)]);
            self.left = self.left.saturating_sub(chunk.len().max(1));
        }
        let bytes = std::mem::take(&mut self.bytes);
        Poll::Ready(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }
}
