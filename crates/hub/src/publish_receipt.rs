//! `Receipt`: the position of a published event, and whether the publication repeats a key.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use tidings_proto::Position;

use crate::{Publish, PublishError};

/// The result of a publication, as [`Publish::receipt`] returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The position of the event, or of the end of the channel.
    pub position: Position,
    /// Whether the channel had stored an event under the same [key](Publish::key) before. Then `position` is
    /// that of the first event, and nothing was stored.
    ///
    /// A publisher that repeats an event after [`Unconfirmed`](crate::PublishErrorKind::Unconfirmed) learns
    /// here whether the first attempt had stored it.
    pub is_repeat: bool,
}

/// The future that [`Publish::receipt`] returns. The event is published when you await it.
#[must_use = "an event is published only if this is awaited"]
pub struct PublishReceipt(Publish);

impl PublishReceipt {
    pub(crate) fn new(publish: Publish) -> Self {
        Self(publish)
    }
}

impl Future for PublishReceipt {
    type Output = Result<Receipt, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_receipt(cx)
    }
}

impl fmt::Debug for PublishReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishReceipt").finish_non_exhaustive()
    }
}
