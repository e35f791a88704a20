//! `Refusal`: the body of a response that refuses the stream, for its error.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::Body;
use tokio::time::Instant;

use crate::timer::{Timer, after};
use crate::transport::ResponseBody;

/// How long a refusal's body is read. A server that trickles must not delay the error.
const READ_FOR: Duration = Duration::from_secs(5);

/// How long a refusal's body may be silent. What matters of it usually comes with the head.
const SILENT_FOR: Duration = Duration::from_secs(1);

/// How many frames are read in one poll, so that other work of the task can run.
const FRAMES_IN_A_ROW: usize = 32;

pub(crate) struct Refusal {
    body: ResponseBody,
    bytes: Vec<u8>,
    /// How many more bytes may be read. A frame counts as one byte at least.
    left: usize,
    deadline: Instant,
    timer: Timer,
}

impl Refusal {
    pub(crate) fn new(body: ResponseBody, limit: usize) -> Self {
        Self {
            body,
            bytes: Vec::new(),
            left: limit,
            deadline: after(READ_FOR),
            timer: Timer::default(),
        }
    }

    /// The body up to its end, an error, the limit, a silence or the deadline.
    pub(crate) fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        for _ in 0..FRAMES_IN_A_ROW {
            // A body that is always ready would never let the timer be polled.
            if self.left == 0 || Instant::now() >= self.deadline {
                return Poll::Ready(self.text());
            }
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                let deadline = self.deadline.min(after(SILENT_FOR));
                ready!(self.timer.poll(cx, || deadline));
                return Poll::Ready(self.text());
            };
            self.timer.clear();
            let Some(Ok(frame)) = frame else {
                return Poll::Ready(self.text());
            };
            let chunk = frame.into_data().unwrap_or_default();
            self.bytes
                .extend_from_slice(&chunk[..chunk.len().min(self.left)]);
            self.left = self.left.saturating_sub(chunk.len().max(1));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn text(&mut self) -> String {
        match String::from_utf8(std::mem::take(&mut self.bytes)) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }
    }
}
