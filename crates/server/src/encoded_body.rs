//! Owns `EncodedBody`: a session whose frames leave in a content coding.

use std::error::Error;
use std::task::{Context, Poll};

use tidings_proto::SessionFrame;

use crate::coding::Coding;
use crate::encoder::Encoder;
use crate::open_body::OpenBody;

#[derive(Debug)]
pub(crate) struct EncodedBody {
    open: OpenBody,
    encoder: Encoder,
    /// The connection's, to write a piece, as more are to come of the same frame.
    is_turn_of_connection: bool,
}

impl EncodedBody {
    pub(crate) fn new(open: OpenBody, coding: Coding) -> Self {
        Self {
            open,
            encoder: Encoder::new(coding),
            is_turn_of_connection: false,
        }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<SessionFrame> {
        loop {
            // Of a huge frame, which is encoded in turns; the handler runs behind the last.
            if self.encoder.has_piece() {
                if self.is_turn_of_connection {
                    self.is_turn_of_connection = false;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                if let Some(piece) = self.poll_piece() {
                    return Poll::Ready(piece);
                }
            }
            match self.open.poll_frame(cx) {
                Poll::Ready(SessionFrame::Data(bytes)) => self.encoder.handle_data(bytes),
                Poll::Ready(SessionFrame::End) if !self.encoder.is_over() => {
                    self.encoder.handle_end()
                }
                other => return other,
            }
        }
    }

    /// `None` if what is left is encoded as nothing.
    fn poll_piece(&mut self) -> Option<SessionFrame> {
        match self.encoder.poll_piece() {
            Ok(piece) => {
                self.is_turn_of_connection = self.encoder.has_piece();
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
