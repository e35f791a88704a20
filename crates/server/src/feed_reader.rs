//! `FeedReader`: a feed and its checkpoints.

use std::task::{Context, Poll};

use tidings_proto::{EncodedEvents, Event, Feed, FeedError, FeedOpened, MAX_QUEUED_BYTES};

/// The room that the queue must have before the feed is polled for events: half the queue. So most
/// batches of a feed fit the queue, and a client that does not read costs little more than its queue.
pub(crate) const ROOM: usize = MAX_QUEUED_BYTES / 2;

/// A feed and its checkpoints.
pub(crate) struct FeedReader<F> {
    feed: F,
    /// A checkpoint is due: at first, and after each heartbeat. It stays due while the feed has none,
    /// because a feed whose replay waits for its log has none yet.
    is_checkpoint_due: bool,
}

impl<F: Feed> FeedReader<F> {
    pub(crate) fn new(feed: F) -> Self {
        Self {
            feed,
            is_checkpoint_due: true,
        }
    }

    pub(crate) fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<FeedOpened, FeedError>> {
        self.feed.poll_open(cx)
    }

    /// The next events of the open feed, or the checkpoint that is due. `None` once the feed has ended.
    ///
    /// `take_heartbeat` returns whether there was a heartbeat since its last call.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        take_heartbeat: impl FnOnce() -> bool,
    ) -> Poll<Option<Result<EncodedEvents, FeedError>>> {
        match self.feed.poll_events(cx)? {
            Poll::Ready(Some(events)) if events.is_empty() => {
                // Empty batches take no room, so the queue does not limit a run of them.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Some(events)) => {
                // An ID that the client has is as good as a checkpoint.
                self.is_checkpoint_due &= events.last_event_id().is_none();
                Poll::Ready(Some(Ok(events)))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                self.is_checkpoint_due |= take_heartbeat();
                let checkpoint = self.checkpoint();
                checkpoint.map_or(Poll::Pending, |events| Poll::Ready(Some(Ok(events))))
            }
        }
    }

    /// The checkpoint, if one is due. Taken only after the events that the feed has ready, so that no ID
    /// is followed by an older one.
    fn checkpoint(&mut self) -> Option<EncodedEvents> {
        if !self.is_checkpoint_due {
            return None;
        }
        let id = self.feed.checkpoint()?;
        self.is_checkpoint_due = false;
        Some(Event::default().id(id).encode())
    }
}
