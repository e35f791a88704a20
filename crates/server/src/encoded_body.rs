//! `EncodedBody`: the body of an open session whose frames are compressed.

use std::error::Error;
use std::task::{Context, Poll, ready};

use tidings_proto::SessionFrame;

use crate::coding::Coding;
use crate::encoder::Encoder;
use crate::open_body::OpenFrames;

/// The body of an open session whose frames are compressed.
#[derive(Debug)]
pub(crate) struct EncodedBody {
    open: Box<dyn OpenFrames>,
    encoder: Encoder,
    /// The next poll lets the connection write a piece, because more pieces of the frame follow.
    must_yield: bool,
}

impl EncodedBody {
    pub(crate) fn new(open: Box<dyn OpenFrames>, coding: Coding) -> Self {
        Self {
            open,
            encoder: Encoder::new(coding),
            must_yield: false,
        }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<SessionFrame> {
        loop {
            // A huge frame is encoded piece by piece. The handler runs again after the last piece.
            if self.encoder.has_piece() {
                if self.must_yield {
                    self.must_yield = false;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                if let Some(piece) = self.poll_piece() {
                    return Poll::Ready(piece);
                }
            }
            match ready!(self.open.poll_frame(cx)) {
                SessionFrame::Data(bytes) => self.encoder.handle_data(bytes),
                SessionFrame::End if !self.encoder.is_over() => self.encoder.handle_end(),
                end @ (SessionFrame::End | SessionFrame::Break) => return Poll::Ready(end),
            }
        }
    }

    /// The next piece. `None` if the rest of the frame encodes to no bytes.
    fn poll_piece(&mut self) -> Option<SessionFrame> {
        match self.encoder.poll_piece() {
            Ok(piece) => {
                self.must_yield = self.encoder.has_piece();
                piece.map(SessionFrame::Data)
            }
            Err(error) => {
                let error: &(dyn Error + 'static) = &error;
                tracing::error!(error, "a session could not be compressed");
                Some(SessionFrame::Break)
            }
        }
    }
}
