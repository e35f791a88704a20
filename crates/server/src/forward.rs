//! The answer to a request by a `Feed`: the feed is opened before the head, and its outcome decides.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use http::{Method, Response, StatusCode};
use tidings_proto::{EventId, Feed, FeedError, FeedErrorKind, FeedOpened};
use tokio::time::{sleep, sleep_until};

use crate::feed_source::{FeedSource, Opening, OutsideEnd};
use crate::limits::Permit;
use crate::refusal::{NoSession, Refusal, broken_rule};
use crate::timer::after;
use crate::{Drain, SessionBody, SseRequest, meters};

/// How long a server that drains waits for a feed, which may be over: 250 ms.
const PATIENCE_WHEN_DRAINING: Duration = Duration::from_millis(250);

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
    /// | [`FeedErrorKind::Invalid`] | 400, with the text of the error's source |
    /// | [`FeedErrorKind::Forbidden`] | 403 |
    /// | [`FeedErrorKind::Unavailable`] | [come back later](crate#come-back-later), after the time of [`Limits::retry_after`](crate::Limits::retry_after) |
    ///
    /// The feed itself limits the time that it takes to open; a hub takes at most its `log_timeout`. An
    /// `EventSource` is not left without an answer for longer than the period of the heartbeat: if the
    /// feed is not open by then, the head leaves, and heartbeats follow it until the feed is open. If it
    /// then has no stream, whatever its outcome, the client receives a `retry:` and a clean end, and its
    /// next request may get the status. Other clients wait for the status.
    ///
    /// While the server drains, a feed that is over is answered 204 all the same, if it opens within
    /// 250 ms. Otherwise the answer is to [come back later](crate#come-back-later). A request that
    /// [`open`](Self::open) would refuse for another reason is refused before the feed is used. A HEAD
    /// request is answered without the feed. The [options](Self::options) apply as they do there, except
    /// that a stream has a [heartbeat](crate::SessionOptions::heartbeat) by default, a comment after
    /// 15 s of quiet.
    ///
    /// An open feed is polled like a handler, and dropped when the client disconnects. It is polled for
    /// events while at least half of the session's queue (32 KiB) is free; events that do not fit the
    /// free room wait for it. An error of the feed cuts the response after the events sent so far, so
    /// that the client reconnects.
    ///
    /// The first time that the feed has no event ready, and with each heartbeat, the session sends the
    /// feed's [`checkpoint`](Feed::checkpoint): an `id:` without data. A feed that has none then, because
    /// it still reads its log, is asked again until it has one or sends an event with an ID. So a client
    /// that is cut before its first event has an ID to resume with.
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
    pub async fn forward<F: Feed + 'static>(mut self, mut feed: F) -> Response<SessionBody> {
        self.options.heartbeat.get_or_insert_default();
        let permit = match self.admit_feed() {
            Ok(permit) => permit,
            Err(answer) => return self.answer_without_session(answer),
        };
        match self.open_feed(&mut feed).await {
            Ok(opening) => self.forward_admitted(permit, feed, opening),
            Err(answer) => self.answer_without_session(answer),
        }
    }

    fn forward_admitted<F: Feed + 'static>(
        &self,
        permit: Option<Permit>,
        feed: F,
        opening: Opening,
    ) -> Response<SessionBody> {
        let outside = Arc::new(OutsideEnd::default());
        let outbox = self.outbox();
        let counted = self.count(permit, Arc::clone(&outside));
        let path = self.parts.uri.path();
        let source = FeedSource::new(outside, outbox, feed, opening, path);
        self.respond_with(source, counted)
    }

    /// As [`admit`](Self::admit), also while the server drains, because the feed may be over. Then no
    /// session opens, so none is counted, and none is replaced.
    fn admit_feed(&self) -> Result<Option<Permit>, NoSession> {
        let Some(drain) = self.started_drain() else {
            return self.admit();
        };
        self.check_head()?;
        if self.parts.method == Method::HEAD {
            return Err(self.refuse_draining(drain));
        }
        Ok(None)
    }

    /// Opens the feed. An error is the answer in place of a stream.
    async fn open_feed(&self, feed: &mut impl Feed) -> Result<Opening, NoSession> {
        feed.resume(self.last_event_id().map(EventId::as_str));
        let opened = poll_fn(|cx| feed.poll_open(cx));
        // The feed is polled first, so that one that is over is a 204 even in a drain.
        let opened = match select(opened, pin!(self.out_of_patience())).await {
            Either::Left((opened, _)) => opened,
            Either::Right((answer, _)) => return answer,
        };
        match (opened, self.started_drain()) {
            (Ok(FeedOpened::Stream), None) => Ok(Opening::Open),
            (Ok(FeedOpened::Stream), Some(drain)) => Err(self.refuse_draining(drain)),
            (Ok(FeedOpened::Over), _) => Err(NoSession::Over),
            (Err(error), _) => Err(self.refuse_feed(&error)),
        }
    }

    /// Waits until the answer must not wait for the feed any longer, and returns the answer.
    async fn out_of_patience(&self) -> Result<Opening, NoSession> {
        let drained = pin!(self.wait_for_drain());
        let quiet = pin!(self.wait_for_heartbeat());
        match select(drained, quiet).await {
            Either::Left((drain, _)) => Err(self.refuse_draining(drain)),
            Either::Right(((), _)) => Ok(Opening::AfterHead(self.retry_after())),
        }
    }

    /// Waits until a feed has had its time in a drain.
    async fn wait_for_drain(&self) -> &Drain {
        let Some(drain) = self.drain() else {
            return pending().await;
        };
        drain.started().await;
        sleep(PATIENCE_WHEN_DRAINING).await;
        drain
    }

    /// Waits until the first heartbeat is due, for clients that take it.
    async fn wait_for_heartbeat(&self) {
        let heartbeat = self.options.heartbeat.as_ref();
        let period = heartbeat.and_then(|heartbeat| heartbeat.period());
        match period {
            Some(period) if self.is_from_event_source() => sleep_until(after(period)).await,
            _ => pending().await,
        }
    }

    /// A random time after which the client of an unavailable feed may return.
    fn retry_after(&self) -> Duration {
        let limits = self.options.limits.clone().unwrap_or_default();
        limits.jittered_retry_after()
    }

    fn refuse_feed(&self, error: &FeedError) -> NoSession {
        meters::refuse_feed(self.parts.uri.path(), error);
        match error.kind() {
            FeedErrorKind::Invalid => NoSession::Refused(Refusal {
                status: StatusCode::BAD_REQUEST,
                retry_after: None,
                text: broken_rule(error).into(),
            }),
            FeedErrorKind::Forbidden => NoSession::Refused(Refusal {
                status: StatusCode::FORBIDDEN,
                retry_after: None,
                text: "the client may not read the feed".into(),
            }),
            FeedErrorKind::Unavailable => {
                let text = "the feed is not available now";
                self.come_back_later(StatusCode::SERVICE_UNAVAILABLE, self.retry_after(), text)
            }
        }
    }
}
