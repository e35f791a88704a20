//! Owns how a feed is forwarded into a session: opened before the head, or by a handler, and then handed on
//! as the client reads.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::{mem, ptr};

use http::{Response, StatusCode};
use tidings_proto::{
    EncodedEvents, Event, EventId, Feed, FeedError, FeedErrorKind, MAX_QUEUED_BYTES, Opened,
};

use crate::open::Answer;
use crate::shared::Shared;
use crate::{Error, HandlerError, Session, SessionBody, SseRequest, TrySendError, meters};

/// The room that there is before a feed is asked for more: half the queue. So what it hands out most
/// often fits, and a client that reads nothing holds what is queued and little else.
const ROOM: usize = MAX_QUEUED_BYTES / 2;

impl SseRequest {
    /// Opens the stream of a [`Feed`], such as a hub's subscription, from where the client left off,
    /// and forwards it until it ends; the bytes of its events are not copied.
    ///
    /// The feed looks first whether there is anything to hear, and may answer in place of a stream:
    ///
    /// | it says | answer |
    /// | --- | --- |
    /// | [`Opened::Over`] | 204, upon which an `EventSource` comes back no more |
    /// | [`FeedErrorKind::Invalid`] | 400 |
    /// | [`FeedErrorKind::Forbidden`] | 403 |
    /// | [`FeedErrorKind::Unavailable`] | 503 with `Retry-After`, as of [`Limits::retry_after`](crate::Limits::retry_after) |
    ///
    /// How long it looks is its own business, but a drain that starts meanwhile answers 503. A
    /// request that [`open`](Self::open) refuses is refused before the feed is asked anything, and a
    /// HEAD request gets the head without it. All [options](Self::options) hold as they do there.
    ///
    /// After that the feed is polled as a handler is: it is asked for more while at most half of the
    /// session's queue is full (32 KiB), and dropped when the client is gone. What it hands out beyond
    /// the room that is left waits for it. An error of the feed cuts the response behind what was sent, so
    /// that the client comes back.
    ///
    /// When there is nothing to hand out for the first time, and with each
    /// [heartbeat](crate::SessionOptions::heartbeat), goes the feed's [`checkpoint`](Feed::checkpoint), if
    /// it has one: an `id:` alone. So a client that is cut before its first event has an id to come back
    /// with.
    ///
    /// ```
    /// # use http_body_util::BodyExt;
    /// use std::task::{Context, Poll};
    ///
    /// use http::{Request, Response};
    /// use tidings_proto::{EncodedEvents, Event, EventId, Feed, FeedError, Opened};
    /// use tidings_server::{SessionBody, SseRequest};
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
    ///     fn poll_open(&mut self, _: &mut Context<'_>) -> Poll<Result<Opened, FeedError>> {
    ///         let is_over = self.0 >= 3;
    ///         Poll::Ready(Ok(if is_over { Opened::Over } else { Opened::Stream }))
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
    /// Dropped before it is ready, nothing was opened, and the feed is gone.
    pub async fn forward<F: Feed + 'static>(self, mut feed: F) -> Response<SessionBody> {
        let permit = match self.admit() {
            Ok(permit) => permit,
            Err(answer) => return self.answer(answer),
        };
        match self.look(&mut feed).await {
            Ok(()) => self.open_admitted(permit, |session| Forwarding {
                is_open: true,
                ..Forwarding::new(&session, feed)
            }),
            Err(answer) => self.answer(answer),
        }
    }

    /// Whether there is a stream; if not, the answer.
    async fn look(&self, feed: &mut impl Feed) -> Result<(), Answer> {
        feed.resume(self.last_event_id().map(EventId::as_str));
        let opened = self.unless_draining(poll_fn(|cx| feed.poll_open(cx)));
        match opened.await? {
            Ok(Opened::Stream) => Ok(()),
            Ok(Opened::Over) => Err(Answer::NoStream(StatusCode::NO_CONTENT, None)),
            Err(error) => Err(self.refuse(&error)),
        }
    }

    fn refuse(&self, error: &FeedError) -> Answer {
        meters::refuse_feed(self.parts.uri.path(), error);
        match error.kind() {
            FeedErrorKind::Invalid => Answer::NoStream(StatusCode::BAD_REQUEST, None),
            FeedErrorKind::Forbidden => Answer::NoStream(StatusCode::FORBIDDEN, None),
            FeedErrorKind::Unavailable => {
                let limits = self.options.limits.clone().unwrap_or_default();
                let retry_after = limits.jittered_retry_after();
                Answer::NoStream(StatusCode::SERVICE_UNAVAILABLE, Some(retry_after))
            }
        }
    }
}

impl Session {
    /// Forwards a [`Feed`], such as a hub's subscription, from where the client left off, until it
    /// ends. The handler may send before, meanwhile and after, and [spawn](Self::spawn) this beside
    /// itself.
    ///
    /// The head has been sent: a feed that is [over](Opened::Over) ends this at once, but cannot be
    /// answered by 204, so that the client comes back. [`SseRequest::forward`] can, and says how a
    /// feed is forwarded.
    ///
    /// ```
    /// use tidings_proto::{Event, Feed, Heartbeat};
    /// use tidings_server::{HandlerError, Session};
    ///
    /// async fn greet(feed: impl Feed, session: Session) -> Result<(), HandlerError> {
    ///     session.heartbeat(Heartbeat::default());
    ///     session.send(Event::new("hello")).await?;
    ///     session.forward(feed).await
    /// }
    /// ```
    ///
    /// # Errors
    /// A [`FeedError`], and [`Error::Closed`] once the session is over.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, what was handed on still leaves, but for what waited for room; the
    /// feed is gone.
    pub fn forward<F: Feed>(
        &self,
        mut feed: F,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send + use<F> {
        feed.resume(self.last_event_id().map(EventId::as_str));
        Forwarding::new(self, feed)
    }
}

/// Hands a feed on, for as long as it is polled. By hand, as there is one for each of thousands of
/// clients, polled for each event: it is small, and allocates nothing but to wait for room.
struct Forwarding<F> {
    feed: F,
    is_open: bool,
    /// Of the session.
    watcher: Watcher,
    /// For room; meanwhile the feed is asked for nothing.
    waiting: Option<Pin<Box<Waiting>>>,
}

type Waiting = dyn Future<Output = Result<(), Error>> + Send;

impl<F: Feed> Forwarding<F> {
    fn new(session: &Session, feed: F) -> Self {
        Self {
            feed,
            is_open: false,
            watcher: Watcher::new(session.sender().0),
            waiting: None,
        }
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<Opened, FeedError>> {
        if self.is_open {
            return Poll::Ready(Ok(Opened::Stream));
        }
        let opened = ready!(self.feed.poll_open(cx));
        self.is_open = true;
        Poll::Ready(opened)
    }

    /// Ready when the feed may be asked for more.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.waiting.is_none() {
            if self.watcher.shared.has_room(ROOM)? {
                return Poll::Ready(Ok(()));
            }
            self.wait_with(EncodedEvents::default());
        }
        if let Some(waiting) = &mut self.waiting {
            ready!(waiting.as_mut().poll(cx))?;
            // Not looked at again: others may have taken the room, and are not to do so for ever.
            self.waiting = None;
        }
        Poll::Ready(Ok(()))
    }

    fn queue(&mut self, events: EncodedEvents) -> Result<(), Error> {
        match self.watcher.shared.try_send(events) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(events)) => {
                self.wait_with(events);
                Ok(())
            }
            Err(TrySendError::Closed(_)) => Err(Error::Closed),
        }
    }

    fn wait_with(&mut self, events: EncodedEvents) {
        let shared = Arc::clone(&self.watcher.shared);
        self.waiting = Some(Box::pin(send_and_wait(shared, events)));
    }

    /// What goes with a heartbeat. Asked for when all events were handed on, so that no id is followed by
    /// an older one.
    fn checkpoint(&mut self) -> Option<EncodedEvents> {
        if !self.watcher.take_beat() {
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
            if ready!(this.poll_open(cx))? == Opened::Over {
                return Poll::Ready(Ok(()));
            }
            let events = match this.feed.poll_events(cx)? {
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(events)) if events.is_empty() => {
                    // No room bounds how many of these there are in a row.
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

// Nothing in it is pinned: a feed is polled by reference.
impl<F> Unpin for Forwarding<F> {}

/// Sends what there was no room for, and waits until there is some for more.
async fn send_and_wait(shared: Arc<Shared>, events: EncodedEvents) -> Result<(), Error> {
    if !events.is_empty() {
        shared.wait_and_send(events).await?;
    }
    shared.wait_for_room(ROOM).await
}

/// One who watches a session, until it is dropped.
#[derive(Debug)]
struct Watcher {
    shared: Arc<Shared>,
    /// Its place among those who are woken.
    key: Option<usize>,
    /// The heartbeats that it knows of.
    beats: u64,
}

impl Watcher {
    /// Watches from now on; the opening counts as a beat.
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            beats: shared.watchers.beats().wrapping_sub(1),
            shared,
            key: None,
        }
    }

    /// This waker is told from now on; called before anything of the session is looked at.
    fn watch(&mut self, waker: &Waker) {
        // The handler is polled after each heartbeat anyway, and whatever it polls itself with it.
        // So most sessions keep no wakers, of which this one would also hold the session for ever.
        let of_handler = ptr::eq(waker.data(), Arc::as_ptr(&self.shared).cast());
        if !of_handler {
            self.key = Some(self.shared.watchers.set(self.key, waker));
        }
    }

    /// Whether the heart has beaten since the last look.
    fn take_beat(&mut self) -> bool {
        let beats = self.shared.watchers.beats();
        mem::replace(&mut self.beats, beats) != beats
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.shared.watchers.forget(key);
        }
    }
}
