//! `Forwarding`: sends the events of an open feed as the client reads.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use std::{mem, ptr};

use tidings_proto::{EncodedEvents, Event, EventId, Feed, FeedError, FeedOpened, MAX_QUEUED_BYTES};

use crate::shared::Shared;
use crate::{HandlerError, Reason, SendError, Session, TrySendErrorKind, meters};

/// The room that the queue must have before the feed is polled for events: half the queue. So most
/// batches of a feed fit the queue, and a client that does not read costs little more than its queue.
const ROOM: usize = MAX_QUEUED_BYTES / 2;

impl Session {
    /// Forwards a [`Feed`], such as a subscription of a hub, after the client's last event ID, until it
    /// ends. The handler may send before, during and after that, and may [spawn](Self::spawn) this
    /// future beside itself. [`SseRequest::forward`](crate::SseRequest::forward) describes how a feed is
    /// forwarded.
    ///
    /// The head has been sent by now. So a feed that is [over](FeedOpened::Over) completes this future at
    /// once, but cannot be answered 204, and the client reconnects. Use
    /// [`SseRequest::forward`](crate::SseRequest::forward) for the 204.
    ///
    /// ```
    /// use tidings_server::{Event, Feed, HandlerError, Heartbeat, Session};
    ///
    /// async fn greet(feed: impl Feed, session: Session) -> Result<(), HandlerError> {
    ///     session.heartbeat(Heartbeat::default());
    ///     session.send(Event::new("hello")).await?;
    ///     session.forward(feed).await
    /// }
    /// ```
    ///
    /// # Errors
    /// A [`FeedError`] if the feed fails, and a [`SendError`] if the session is closed.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, the feed is dropped, and so are events that waited
    /// for room. Queued events still leave.
    pub fn forward<F: Feed>(
        &self,
        mut feed: F,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send + use<F> {
        feed.resume(self.last_event_id().map(EventId::as_str));
        Forwarding::new(self, feed, Opening::InHandler)
    }
}

/// The future that forwards a feed. Written by hand, because each of thousands of clients has one, and
/// it is polled for each event: it is small, and allocates only to wait for room.
pub(crate) struct Forwarding<F> {
    feed: F,
    opening: Opening,
    /// A checkpoint is due: at first, and after each heartbeat. It stays due while the feed has none,
    /// because a feed whose replay waits for its log has none yet.
    is_checkpoint_due: bool,
    watcher: Watcher,
    /// The wait for room, during which the feed is not polled.
    waiting: Option<Pin<Box<Waiting>>>,
}

/// Whether the feed is open, and otherwise what happens if it has no stream.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Opening {
    Open,
    /// The feed opens in a handler, which gets the outcome.
    InHandler,
    /// The feed opens after the head has left. Without a stream, the client receives this reconnection
    /// time and the end, and its next request may get the status.
    AfterHead(Duration),
}

type Waiting = dyn Future<Output = Result<(), SendError>> + Send;

impl<F: Feed> Forwarding<F> {
    pub(crate) fn new(session: &Session, feed: F, opening: Opening) -> Self {
        Self {
            feed,
            opening,
            is_checkpoint_due: true,
            watcher: Watcher::new(session.sender().0),
            waiting: None,
        }
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<FeedOpened, FeedError>> {
        let retry = match self.opening {
            Opening::Open => return Poll::Ready(Ok(FeedOpened::Stream)),
            Opening::InHandler => None,
            Opening::AfterHead(retry) => Some(retry),
        };
        let opened = ready!(self.feed.poll_open(cx));
        self.opening = Opening::Open;
        let Some(retry) = retry else {
            return Poll::Ready(opened);
        };
        let error = match opened {
            Ok(FeedOpened::Stream) => return Poll::Ready(opened),
            Ok(FeedOpened::Over) => None,
            Err(error) => Some(error),
        };
        meters::trace_unopened(error.as_ref());
        let retry = Event::default().retry(retry).encode();
        self.watcher.shared.end_with(Reason::Unopened, retry);
        Poll::Ready(Ok(FeedOpened::Over))
    }

    /// Ready when the feed may be polled for events.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        if self.waiting.is_none() {
            if self.watcher.shared.has_room(ROOM)? {
                return Poll::Ready(Ok(()));
            }
            self.wait_with(EncodedEvents::default());
        }
        if let Some(waiting) = &mut self.waiting {
            ready!(waiting.as_mut().poll(cx))?;
            // The room is not checked again. Other sends may have taken it, and must not keep the
            // feed waiting for ever.
            self.waiting = None;
        }
        Poll::Ready(Ok(()))
    }

    fn queue(&mut self, events: EncodedEvents) -> Result<(), SendError> {
        match self.watcher.shared.try_send(events) {
            Ok(()) => Ok(()),
            Err(error) => match error.kind() {
                TrySendErrorKind::Closed => Err(SendError::CLOSED),
                TrySendErrorKind::Full => {
                    self.wait_with(error.into_events());
                    Ok(())
                }
            },
        }
    }

    fn wait_with(&mut self, events: EncodedEvents) {
        let shared = Arc::clone(&self.watcher.shared);
        self.waiting = Some(Box::pin(send_and_wait(shared, events)));
    }

    /// The checkpoint, if one is due. Taken only after the events that the feed has ready, so that no ID
    /// is followed by an older one.
    fn checkpoint(&mut self) -> Option<EncodedEvents> {
        self.is_checkpoint_due |= self.watcher.take_heartbeat();
        if !self.is_checkpoint_due {
            return None;
        }
        let id = self.feed.checkpoint()?;
        self.is_checkpoint_due = false;
        Some(Event::default().id(id).encode())
    }
}

impl<F: Feed> Future for Forwarding<F> {
    type Output = Result<(), HandlerError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.watcher.watch(cx.waker());
        loop {
            ready!(this.poll_room(cx))?;
            if ready!(this.poll_open(cx))? == FeedOpened::Over {
                return Poll::Ready(Ok(()));
            }
            let events = match this.feed.poll_events(cx)? {
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(events)) if events.is_empty() => {
                    // Empty batches take no room, so the queue does not limit a run of them.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(Some(events)) => {
                    // An ID that the client has is as good as a checkpoint.
                    this.is_checkpoint_due &= events.last_event_id().is_none();
                    events
                }
                Poll::Pending => match this.checkpoint() {
                    Some(checkpoint) => checkpoint,
                    None => return Poll::Pending,
                },
            };
            this.queue(events)?;
        }
    }
}

// It holds nothing that is pinned: a feed is polled by reference.
impl<F> Unpin for Forwarding<F> {}

/// Sends the events as soon as there is room, and then waits for room for the next ones.
async fn send_and_wait(shared: Arc<Shared>, events: EncodedEvents) -> Result<(), SendError> {
    if !events.is_empty() {
        shared.wait_and_send(events).await?;
    }
    shared.wait_for_room(ROOM).await
}

/// Wakes a task at the heartbeats and at the end of a session, until it is dropped.
struct Watcher {
    shared: Arc<Shared>,
    /// The key of its waker, if it has registered one.
    key: Option<usize>,
    /// The number of heartbeats that it has taken.
    heartbeats: u64,
}

impl Watcher {
    /// Watches from now on.
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            heartbeats: shared.watchers.heartbeats(),
            shared,
            key: None,
        }
    }

    /// Wakes this waker from now on. Call it before reading the state of the session.
    fn watch(&mut self, waker: &Waker) {
        // The handler is polled after each heartbeat anyway, and with it every future it polls itself.
        // So most sessions register no waker. This waker would also keep the session alive for ever.
        let of_handler = ptr::eq(waker.data(), Arc::as_ptr(&self.shared).cast());
        if !of_handler {
            self.key = Some(self.shared.watchers.register(self.key, waker));
        }
    }

    /// Whether there was a heartbeat since the last call.
    fn take_heartbeat(&mut self) -> bool {
        let heartbeats = self.shared.watchers.heartbeats();
        mem::replace(&mut self.heartbeats, heartbeats) != heartbeats
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.shared.watchers.remove(key);
        }
    }
}
