//! The body of a response that is cut.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::{BoxError, Error};
use http_body::Frame;
use tokio::sync::oneshot;

/// Where a stream is cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    /// Behind so many bytes, be it in the middle of a line.
    pub(crate) after: usize,
    /// By an end as if all had been said, and not by an error.
    pub(crate) is_clean: bool,
}

impl Cut {
    pub(crate) const NEVER: Self = Self {
        after: usize::MAX,
        is_clean: true,
    };
}

/// The connection of a stream, for as long as it is kept.
pub(crate) type HangUp = oneshot::Sender<()>;

pub(crate) struct Line {
    /// `None` once it is cut.
    body: Option<Body>,
    cut: Cut,
    hung_up: oneshot::Receiver<()>,
}

impl Line {
    pub(crate) fn new(body: Body, cut: Cut) -> (Self, HangUp) {
        let (sender, hung_up) = oneshot::channel();
        let body = Some(body);
        (Self { body, cut, hung_up }, sender)
    }

    fn end(&mut self, is_clean: bool) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.body = None;
        let error = || Err(Error::new(BoxError::from("the line is cut")));
        Poll::Ready((!is_clean).then(error))
    }
}

impl HttpBody for Line {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if Pin::new(&mut this.hung_up).poll(cx).is_ready() {
            return this.end(false);
        }
        if this.cut.after == 0 {
            return this.end(this.cut.is_clean);
        }
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let cut = &mut this.cut;
        let before_cut = |mut data: Bytes| {
            let sent = data.split_to(cut.after.min(data.len()));
            cut.after -= sent.len();
            sent
        };
        let polled = Pin::new(body).poll_frame(cx);
        polled.map_ok(|frame| frame.map_data(before_cut))
    }
}
