//! The forwarding of a `Feed` into a session: it is opened before the head or by a handler, and its
//! events are sent as the client reads.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::{mem, ptr};

use http::{Response, StatusCode};
use tidings_proto::{
    EncodedEvents, Event, EventId, Feed, FeedError, FeedErrorKind, FeedOpened, MAX_QUEUED_BYTES,
};

use crate::open::NoSession;
use crate::shared::Shared;
use crate::{HandlerError, SendError, Session, SessionBody, SseRequest, TrySendErrorKind, meters};

/// The room that the queue must have before the feed is polled for events: half the queue. So most
/// batches of a feed fit the queue, and a client that does not read costs little more than its queue.
const ROOM: usize = MAX_QUEUED_BYTES / 2;

impl SseRequest {
    /// Opens the stream of a [`Feed`], such as a subscription of a hub, resumes it after the client's
    /// last event ID, and forwards its events until it ends. The bytes of the events are not copied.
    ///
    /// The feed opens before the head is sent, and its outcome decides the answer:
    ///
    /// | outcome | answer |
    /// | --- | --- |
    /// | [`FeedOpened::Stream`] | 200, and the stream |
    /// | [`FeedOpened::Over`] | 204, after which an `EventSource` does not reconnect |
    /// | [`FeedErrorKind::Invalid`] | 400 |
    /// | [`FeedErrorKind::Forbidden`] | 403 |
    /// | [`FeedErrorKind::Unavailable`] | 503 with the `Retry-After` of [`Limits::retry_after`](crate::Limits::retry_after) |
    ///
    /// The feed may take any time to open. If a drain starts before it is open, the answer is 503. A
    /// request that [`open`](Self::open) would refuse is refused before the feed is used, and a HEAD
    /// request is answered with the head, without using it. The [options](Self::options) apply as they
    /// do there.
    ///
    /// An open feed is polled like a handler, and dropped when the client disconnects. It is polled for
    /// events while at least half of the session's queue (32 KiB) is free; events that do not fit the
    /// free room wait for it. An error of the feed cuts the response after the events sent so far, so
    /// that the client reconnects.
    ///
    /// The first time that the feed has no event ready, and with each
    /// [heartbeat](crate::SessionOptions::heartbeat), the session sends the feed's
    /// [`checkpoint`](Feed::checkpoint), if it has one: an `id:` without data. So a client that is cut
    /// before its first event has an ID to resume with.
    ///
    /// ```
    /// # use http_body_util::BodyExt;
    /// use std::task::{Context, Poll};
    ///
    /// use http::{Request, Response};
    /// use tidings_server::{
    ///     EncodedEvents, Event, EventId, Feed, FeedError, FeedOpened, SessionBody, SseRequest,
    /// };
    ///
    /// /// Counts to three.
    /// #[derive(Default)]
    /// struct Three(u8);
    ///
    /// impl Feed for Three {
    ///     fn resume(&mut self, last_event_id: Option<&str>) {
    ///         self.0 = last_event_id.and_then(|id| id.parse().ok()).unwrap_or(0);
    ///     }
    ///
    ///     fn poll_open(&mut self, _: &mut Context<'_>) -> Poll<Result<FeedOpened, FeedError>> {
    ///         let is_over = self.0 >= 3;
    ///         Poll::Ready(Ok(if is_over { FeedOpened::Over } else { FeedOpened::Stream }))
    ///     }
    ///
    ///     fn poll_events(
    ///         &mut self,
    ///         _: &mut Context<'_>,
    ///     ) -> Poll<Option<Result<EncodedEvents, FeedError>>> {
    ///         let next = (self.0 < 3).then_some(self.0 + 1);
    ///         Poll::Ready(next.map(|n| {
    ///             self.0 = n;
    ///             Ok(Event::new("tick").id(n).encode())
    ///         }))
    ///     }
    ///
    ///     fn checkpoint(&mut self) -> Option<EventId> {
    ///         None
    ///     }
    /// }
    ///
    /// async fn events(request: Request<()>) -> Response<SessionBody> {
    ///     SseRequest::new(request.into_parts().0).forward(Three::default()).await
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let get = |id| Request::get("/").header("last-event-id", id).body(()).unwrap();
    /// let sent = events(get("1")).await.into_body().collect().await.unwrap().to_bytes();
    /// assert_eq!(sent, "id: 2\ndata: tick\n\nid: 3\ndata: tick\n\n");
    /// assert_eq!(events(get("3")).await.status(), 204);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, no session was opened, and the feed is dropped.
    pub async fn forward<F: Feed + 'static>(self, mut feed: F) -> Response<SessionBody> {
        let permit = match self.admit() {
            Ok(permit) => permit,
            Err(answer) => return self.answer_without_session(answer),
        };
        match self.open_feed(&mut feed).await {
            Ok(()) => self.open_admitted(permit, |session| Forwarding {
                is_open: true,
                ..Forwarding::new(&session, feed)
            }),
            Err(answer) => self.answer_without_session(answer),
        }
    }

    /// Opens the feed. An error is the answer in place of a stream.
    async fn open_feed(&self, feed: &mut impl Feed) -> Result<(), NoSession> {
        feed.resume(self.last_event_id().map(EventId::as_str));
        let opened = self.unless_draining(poll_fn(|cx| feed.poll_open(cx)));
        match opened.await? {
            Ok(FeedOpened::Stream) => Ok(()),
            Ok(FeedOpened::Over) => Err(NoSession::Status(StatusCode::NO_CONTENT, None)),
            Err(error) => Err(self.refuse(&error)),
        }
    }

    fn refuse(&self, error: &FeedError) -> NoSession {
        meters::refuse_feed(self.parts.uri.path(), error);
        match error.kind() {
            FeedErrorKind::Invalid => NoSession::Status(StatusCode::BAD_REQUEST, None),
            FeedErrorKind::Forbidden => NoSession::Status(StatusCode::FORBIDDEN, None),
            FeedErrorKind::Unavailable => {
                let limits = self.options.limits.clone().unwrap_or_default();
                let retry_after = limits.jittered_retry_after();
                NoSession::Status(StatusCode::SERVICE_UNAVAILABLE, Some(retry_after))
            }
        }
    }
}

impl Session {
    /// Forwards a [`Feed`], such as a subscription of a hub, after the client's last event ID, until it
    /// ends. The handler may send before, during and after that, and may [spawn](Self::spawn) this
    /// future beside itself. [`SseRequest::forward`] describes how a feed is forwarded.
    ///
    /// The head has been sent by now. So a feed that is [over](FeedOpened::Over) completes this future at
    /// once, but cannot be answered 204, and the client reconnects. Use [`SseRequest::forward`] for the
    /// 204.
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
        Forwarding::new(self, feed)
    }
}

/// The future that forwards a feed. Written by hand, because each of thousands of clients has one, and
/// it is polled for each event: it is small, and allocates only to wait for room.
struct Forwarding<F> {
    feed: F,
    is_open: bool,
    watcher: Watcher,
    /// The wait for room, during which the feed is not polled.
    waiting: Option<Pin<Box<Waiting>>>,
}

type Waiting = dyn Future<Output = Result<(), SendError>> + Send;

impl<F: Feed> Forwarding<F> {
    fn new(session: &Session, feed: F) -> Self {
        Self {
            feed,
            is_open: false,
            watcher: Watcher::new(session.sender().0),
            waiting: None,
        }
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<FeedOpened, FeedError>> {
        if self.is_open {
            return Poll::Ready(Ok(FeedOpened::Stream));
        }
        let opened = ready!(self.feed.poll_open(cx));
        self.is_open = true;
        Poll::Ready(opened)
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
            Err(error) if error.kind() == TrySendErrorKind::Closed => Err(SendError::CLOSED),
            Err(full) => {
                self.wait_with(full.into_events());
                Ok(())
            }
        }
    }

    fn wait_with(&mut self, events: EncodedEvents) {
        let shared = Arc::clone(&self.watcher.shared);
        self.waiting = Some(Box::pin(send_and_wait(shared, events)));
    }

    /// The checkpoint that goes with a heartbeat. Taken only after the events that the feed has ready, so
    /// that no ID is followed by an older one.
    fn checkpoint(&mut self) -> Option<EncodedEvents> {
        if !self.watcher.take_heartbeat() {
            return None;
        }
        let id = self.feed.checkpoint()?;
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
                Poll::Ready(Some(events)) => events,
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
#[derive(Debug)]
struct Watcher {
    shared: Arc<Shared>,
    /// The key of its waker, if it has registered one.
    key: Option<usize>,
    /// The number of heartbeats that it has taken.
    heartbeats: u64,
}

impl Watcher {
    /// Watches from now on. The opening of the session counts as a heartbeat.
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            heartbeats: shared.watchers.heartbeats().wrapping_sub(1),
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
