//! `CutBody`: a response body that is cut at a given byte.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::{BoxError, Error};
use http_body::Frame;
use tokio::sync::oneshot;

/// Where a stream is cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    /// After so many bytes, also in the middle of a line.
    pub(crate) after: usize,
    /// By a clean end instead of an error.
    pub(crate) is_clean: bool,
}

impl Cut {
    pub(crate) const NEVER: Self = Self {
        after: usize::MAX,
        is_clean: true,
    };
}

/// Cuts the body when it is dropped.
pub(crate) type Connection = oneshot::Sender<()>;

pub(crate) struct CutBody {
    /// `None` once it is cut.
    body: Option<Body>,
    cut: Cut,
    disconnected: oneshot::Receiver<()>,
}

impl CutBody {
    pub(crate) fn new(body: Body, cut: Cut) -> (Self, Connection) {
        let (sender, disconnected) = oneshot::channel();
        let body = Some(body);
        (
            Self {
                body,
                cut,
                disconnected,
            },
            sender,
        )
    }

    fn end(&mut self, is_clean: bool) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.body = None;
        let error = || Err(Error::new(BoxError::from("the connection is cut")));
        Poll::Ready((!is_clean).then(error))
    }
}

impl HttpBody for CutBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if Pin::new(&mut this.disconnected).poll(cx).is_ready() {
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
