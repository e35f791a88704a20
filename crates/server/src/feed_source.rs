//! `FeedSource`: a forwarded feed, as the source of a body.

use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use tidings_proto::{EncodedEvents, Feed, FeedError, FeedOpened, SessionState};

use crate::ending::{Ending, OpenSession};
use crate::feed_queue::FeedQueue;
use crate::feed_reader::FeedReader;
use crate::outbox::Outbox;
use crate::outcome::Outcome;
use crate::source::{Source, TurnEnd, TurnStart};
use crate::waking::Waking;
use crate::{HandlerError, Reason, meters};

/// The source of a session that has no handler and only forwards a feed. Thousands of clients have one, so
/// it is small.
pub(crate) struct FeedSource<F> {
    outside: Arc<OutsideEnd>,
    queue: FeedQueue,
    /// `None` after the feed has ended or failed.
    reader: Option<FeedReader<F>>,
    opening: Opening,
    path: Box<str>,
}

/// Whether the feed is open, and otherwise what happens if it has no stream.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Opening {
    Open,
    /// The feed opens after the head has left. Without a stream, the client receives this reconnection
    /// time and the end, and its next request may get the status.
    AfterHead(Duration),
}

/// The end that a drain or a newer session has given the session, until the body takes it.
pub(crate) type OutsideEnd = Waking<Option<Ending>>;

impl OpenSession for OutsideEnd {
    fn end_from_outside(&self, ending: Ending) {
        self.change(|outside| {
            outside.get_or_insert(ending);
        });
    }
}

impl<F: Feed> FeedSource<F> {
    pub(crate) fn new(
        outside: Arc<OutsideEnd>,
        outbox: Outbox,
        feed: F,
        opening: Opening,
        path: &str,
    ) -> Self {
        Self {
            outside,
            queue: FeedQueue::new(outbox),
            reader: Some(FeedReader::new(feed)),
            opening,
            path: path.into(),
        }
    }
}

impl<F: Feed> Source for FeedSource<F> {
    type Remains = (
        Option<FeedReader<F>>,
        Option<Box<EncodedEvents>>,
        SessionState,
    );

    fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.outside))
    }

    fn ends_at(&self) -> Option<Instant> {
        self.queue.outbox.ends_at()
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn yield_turn(&mut self, body: &Waker) -> bool {
        let is_woken = self.outside.yield_turn(body, Option::is_some);
        is_woken || self.queue.may_continue() || self.queue.outbox.has_frame()
    }

    fn start_turn(&mut self, body: &Waker) -> TurnStart {
        let (is_woken, ending) = self.outside.start_turn(body, Option::take);
        if let Some(ending) = ending {
            self.queue.outbox.end(ending);
        }
        TurnStart {
            is_woken: is_woken || self.queue.may_continue(),
            due: self.queue.outbox.poll_timeout(),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.queue.outbox.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.queue.handle_timeout(now);
    }

    fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        let Some(reader) = &mut self.reader else {
            return Poll::Pending;
        };
        if self.queue.outbox.is_ended() {
            return Poll::Ready(Ok(()));
        }
        while self.queue.make_room() {
            if let Opening::AfterHead(retry) = self.opening {
                let opened = ready!(reader.poll_open(cx));
                self.opening = Opening::Open;
                if !is_stream(opened) {
                    let ending = Ending::with_retry(Reason::Unopened, retry);
                    self.queue.outbox.end(ending);
                    return Poll::Ready(Ok(()));
                }
            }
            match ready!(reader.poll_next(cx, || self.queue.take_heartbeat())) {
                Some(events) => self.queue.push(events?),
                None => return Poll::Ready(Ok(())),
            }
        }
        Poll::Pending
    }

    fn end(&mut self, ending: Ending) -> bool {
        self.queue.outbox.end(ending)
    }

    fn drop_work(&mut self) {
        self.reader = None;
        drop(self.queue.take_held());
    }

    fn end_turn(&mut self, now: Instant) -> TurnEnd {
        // An end that came during the turn has woken nobody.
        let (is_woken, ending) = self.outside.end_turn(Option::take);
        if let Some(ending) = ending {
            self.queue.outbox.end(ending);
        }
        let (frame, events) = self.queue.outbox.poll_frame(now);
        TurnEnd {
            frame,
            events,
            is_woken,
        }
    }

    fn abandon(&mut self) -> (Outcome, Self::Remains) {
        // A drain or a newer session may have ended it since the last turn.
        let (ending, body) = {
            let mut outside = self.outside.lock();
            (outside.take(), outside.take_body())
        };
        drop(body);
        if let Some(ending) = ending {
            self.queue.outbox.end(ending);
        }
        let (outcome, state) = self.queue.outbox.abandon();
        let held = self.queue.take_held();
        (outcome, (self.reader.take(), held, state))
    }
}

/// Whether a feed that opened after the head has a stream.
fn is_stream(opened: Result<FeedOpened, FeedError>) -> bool {
    let error = match opened {
        Ok(FeedOpened::Stream) => return true,
        Ok(FeedOpened::Over) => None,
        Err(error) => Some(error),
    };
    meters::trace_unopened(error.as_ref());
    false
}
