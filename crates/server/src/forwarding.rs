//! `Forwarding`: sends the events of a feed in a handler, as the client reads.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::{mem, ptr};

use tidings_proto::{EncodedEvents, EventId, Feed, FeedOpened};

use crate::feed_reader::{FeedReader, ROOM};
use crate::shared::Shared;
use crate::{HandlerError, SendError, Session, TrySendErrorKind};

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
    /// A [`FeedError`](crate::FeedError) if the feed fails, and a [`SendError`] if the session is closed.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, the feed is dropped, and so are events that waited
    /// for room. Queued events still leave.
    pub fn forward<F: Feed>(
        &self,
        mut feed: F,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send + use<F> {
        feed.resume(self.last_event_id().map(EventId::as_str));
        Forwarding::new(self, feed)
    }
}

/// The future that forwards a feed in a handler. Written by hand, because each of thousands of clients may
/// have one, and it is polled for each event: it is small, and allocates only to wait for room.
struct Forwarding<F> {
    reader: FeedReader<F>,
    is_open: bool,
    watcher: Watcher,
    /// The wait for room, during which the feed is not polled.
    waiting: Option<Pin<Box<Waiting>>>,
}

type Waiting = dyn Future<Output = Result<(), SendError>> + Send;

impl<F: Feed> Forwarding<F> {
    fn new(session: &Session, feed: F) -> Self {
        Self {
            reader: FeedReader::new(feed),
            is_open: false,
            watcher: Watcher::new(session.sender().0),
            waiting: None,
        }
    }

    /// Ready with whether there is a stream.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, HandlerError>> {
        if !self.is_open {
            self.is_open = ready!(self.reader.poll_open(cx))? == FeedOpened::Stream;
        }
        Poll::Ready(Ok(self.is_open))
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
}

impl<F: Feed> Future for Forwarding<F> {
    type Output = Result<(), HandlerError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.watcher.watch(cx.waker());
        loop {
            ready!(this.poll_room(cx))?;
            if !ready!(this.poll_open(cx))? {
                return Poll::Ready(Ok(()));
            }
            let take_heartbeat = || this.watcher.take_heartbeat();
            match ready!(this.reader.poll_next(cx, take_heartbeat)) {
                Some(events) => this.queue(events?)?,
                None => return Poll::Ready(Ok(())),
            }
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
