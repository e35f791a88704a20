//! Owns `Subscription`: what somebody hears of a hub.

use std::collections::VecDeque;
use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tidings_proto::{EncodedEvents, Event, EventId, Feed, FeedError, Opened};
use tokio::task::coop::consume_budget;

use crate::grant::Lapse;
use crate::interrupted::Interrupted;
use crate::life::PositionWithId;
use crate::reader::{Progress, Reader};
use crate::replay::{Replay, Replayed};
use crate::resume::{ResumeFrom, ResumeRequest, Resumed, StartPoint, StreamStart};
use crate::slow_reader::Policy;
use crate::{Error, Grant, Hub, Pattern, SlowReader, meters};

type Job<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What one subscriber hears of a hub: a [`Feed`] for a server's session, and a [`Stream`] of encoded
/// events for whoever hears it in the same process.
///
/// It is a cursor: what has not been heard yet is kept by the hub, not for it. Nothing happens unless
/// it is polled; dropped, it leaves.
///
/// # Cancel safety
/// `poll_events`, and so [`next`](Self::next), loses nothing when it is not polled again.
#[must_use = "nothing is heard unless it is polled"]
pub struct Subscription {
    hub: Hub,
    patterns: Result<Arc<[Pattern]>, Error>,
    settings: Box<Settings>,
    /// Until it is opened: what the client has heard last.
    requested: Option<String>,
    state: State,
    present: Option<Present>,
    lapse: Option<Job<Lapse>>,
}

#[derive(Debug, Clone)]
struct Settings {
    start: Option<StartPoint>,
    slow_reader: SlowReader,
    max_lag: u64,
    grant: Option<Grant>,
    /// The newest entry when it subscribed.
    subscribed_at: Option<PositionWithId>,
}

enum State {
    New,
    Beginning(Job<Result<Resumed, Error>>),
    Reading(Reading),
    Done,
}

impl Subscription {
    pub(crate) fn new(hub: Hub, patterns: Result<Vec<Pattern>, Error>) -> Self {
        let max = hub.shared().settings.max_channels;
        let patterns = patterns.and_then(|mut patterns| {
            patterns.sort_unstable();
            patterns.dedup();
            if patterns.is_empty() || patterns.len() > max {
                return Err(Error::ChannelCount { max });
            }
            Ok(patterns.into())
        });
        // Where there is no runtime yet, opening it says so.
        hub.shared().start().ok();
        let subscribed_at = hub.shared().current_life().map(|life| life.newest());
        Self {
            hub,
            patterns,
            settings: Box::new(Settings {
                start: None,
                slow_reader: SlowReader::default(),
                max_lag: u64::MAX,
                grant: None,
                subscribed_at,
            }),
            requested: None,
            state: State::New,
            present: None,
            lapse: None,
        }
    }

    /// Begins with what is published from the call of `subscribe` on, for who has no id and after any
    /// gap. Without this or the other two, who has lost its place to retention goes on with the oldest
    /// event that is left.
    pub fn latest(mut self) -> Self {
        self.settings.start = Some(StartPoint::Latest);
        self
    }

    /// Begins with the oldest event there is, for who has no id and after any gap.
    pub fn earliest(mut self) -> Self {
        self.settings.start = Some(StartPoint::Earliest);
        self
    }

    /// Begins with a snapshot, for who has no id and after any gap: first the place is taken, then the
    /// events are made that say how things stand, and then it hears what is newer than the place.
    ///
    /// So whoever changes things and publishes that does it in this order; a change may then be heard
    /// twice, in the snapshot and after it, but never not at all. The events lose their ids; the last
    /// one gets that of the place. An error is answered with 503, or breaks the stream.
    pub fn snapshot<F, Fut, I, E>(mut self, make: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<I, E>> + Send + 'static,
        I: IntoIterator<Item = Event>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.settings.start = Some(StartPoint::Snapshot(Arc::new(move || {
            let made = make();
            Box::pin(async move {
                let made = made.await;
                let events = made.map_err(|error| Error::Snapshot(Arc::from(error.into())))?;
                Ok(events.into_iter().collect())
            })
        })));
        self
    }

    /// What becomes of it when it does not keep up: [`SlowReader::skip_to_gap`] unless set.
    pub fn slow_reader(mut self, slow_reader: SlowReader) -> Self {
        self.settings.slow_reader = slow_reader;
        self
    }

    /// How far it may be behind before it is slow: how many entries of the log, of whichever channel,
    /// may stand from the first that it has not heard to the newest. As far as the log goes back unless
    /// set; at least 1. It counts from the beginning, but for [`SlowReader::disconnect`]: who comes back
    /// from further behind, or begins [`earliest`](Self::earliest), is slow at once.
    pub fn max_lag(mut self, entries: u64) -> Self {
        self.settings.max_lag = entries.max(1);
        self
    }

    /// Hears only what this grants, and only for as long. A subscription to more is refused, with an
    /// error that a server answers with 403.
    pub fn grant(mut self, grant: &Grant) -> Self {
        self.settings.grant = Some(grant.clone());
        self
    }

    /// The next events; `None` once they have ended, and after an error.
    ///
    /// # Errors
    /// A [`FeedError`] whose source is an [`Error`]: before it is open as
    /// [`poll_open`](Feed::poll_open) says, [`Error::Forbidden`], [`Error::Name`],
    /// [`Error::ChannelCount`], [`Error::Draining`], [`Error::NoRuntime`], [`Error::Snapshot`]; and
    /// [`Error::Log`] when the log cannot be read.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, nothing is lost.
    pub async fn next(&mut self) -> Option<Result<EncodedEvents, FeedError>> {
        std::future::poll_fn(|cx| self.poll_events(cx)).await
    }

    /// Opens it, unless it is open.
    fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            let begun = match &mut self.state {
                State::New => {
                    self.check_grant()?;
                    let from = ResumeFrom::Client(self.requested.take());
                    self.state = State::Beginning(self.begin(from));
                    continue;
                }
                State::Beginning(begun) => ready!(begun.as_mut().poll(cx)),
                State::Reading(_) | State::Done => return Poll::Ready(Ok(())),
            };
            match begun {
                Ok(Resumed::Stream(start)) => self.begin_reading(start),
                Ok(Resumed::Over) => self.end(),
                Err(error) => {
                    self.end();
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    fn check_grant(&mut self) -> Result<(), Error> {
        let checked = self.patterns.clone().and_then(|patterns| {
            let grant = self.settings.grant.as_ref();
            let allows = |grant: &Grant| patterns.iter().all(|pattern| grant.allows(pattern));
            if grant.is_none_or(allows) {
                Ok(())
            } else {
                Err(Error::Forbidden)
            }
        });
        if checked.is_err() {
            self.end();
        }
        checked
    }

    fn begin(&self, from: ResumeFrom) -> Job<Result<Resumed, Error>> {
        let patterns = self.patterns.clone();
        let shared = Arc::clone(self.hub.shared());
        let start = self.settings.start.clone();
        let subscribed_at = self.settings.subscribed_at.clone();
        Box::pin(async move {
            let request = ResumeRequest {
                shared,
                patterns: patterns?,
                start,
                subscribed_at,
            };
            request.resume(from).await
        })
    }

    fn begin_reading(&mut self, start: StreamStart) {
        let Ok(patterns) = &self.patterns else {
            return;
        };
        let reader = Reader::new(
            start.life,
            patterns,
            start.after,
            start.is_sent,
            self.settings.max_lag,
            // Who is sent away for being behind comes back as far behind.
            matches!(self.settings.slow_reader.0, Policy::Disconnect),
        );
        self.present
            .get_or_insert_with(|| Present::new(self.hub.clone(), Arc::clone(patterns)));
        self.state = State::Reading(Reading {
            reader,
            ready: start.first.into(),
            replayed: None,
        });
    }

    fn poll_next_events(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<EncodedEvents, Error>>> {
        loop {
            let begun = self.poll_begun(cx);
            if let Some(goodbye) = self.poll_lapse(cx) {
                return Poll::Ready(Some(Ok(goodbye)));
            }
            if let Err(error) = ready!(begun) {
                return Poll::Ready(Some(Err(error)));
            }
            let State::Reading(reading) = &mut self.state else {
                return Poll::Ready(None);
            };
            match ready!(reading.poll(&self.hub, &self.settings, cx)) {
                Ok(Some(events)) => return Poll::Ready(Some(Ok(events))),
                Ok(None) => {
                    self.end();
                    return Poll::Ready(None);
                }
                Err(Interrupted::LifeOver) => {
                    let reader = &reading.reader;
                    let life = Arc::clone(reader.life());
                    let from = ResumeFrom::PastLife(life, reader.last_id().clone());
                    self.state = State::Beginning(self.begin(from));
                }
                Err(Interrupted::Failed(error)) => {
                    self.end();
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    /// Says goodbye if the grant is none any more.
    fn poll_lapse(&mut self, cx: &mut Context<'_>) -> Option<EncodedEvents> {
        if matches!(self.state, State::Done) {
            return None;
        }
        if self.lapse.is_none() {
            self.lapse = Some(self.settings.grant.as_ref()?.lapse());
        }
        let Poll::Ready(lapse) = self.lapse.as_mut()?.as_mut().poll(cx) else {
            return None;
        };
        self.end();
        Some(lapse.to_event().encode())
    }

    fn end(&mut self) {
        self.state = State::Done;
        self.present = None;
        self.lapse = None;
    }
}

impl Feed for Subscription {
    fn resume(&mut self, last_event_id: Option<&str>) {
        // No id can be empty: who has been reset says that it has none.
        self.requested = last_event_id.filter(|id| !id.is_empty()).map(Into::into);
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<Opened, FeedError>> {
        ready!(self.poll_begun(cx))?;
        Poll::Ready(Ok(match self.state {
            State::Done => Opened::Over,
            _ => Opened::Stream,
        }))
    }

    fn poll_events(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<EncodedEvents, FeedError>>> {
        // What there is to hear may be as much as the log holds, and each look at it is ready at once.
        ready!(pin!(consume_budget()).poll(cx));
        let next = ready!(self.poll_next_events(cx));
        Poll::Ready(next.map(|events| events.map_err(FeedError::from)))
    }

    fn checkpoint(&mut self) -> Option<EventId> {
        match &mut self.state {
            State::Reading(reading) => reading.checkpoint(),
            _ => None,
        }
    }
}

impl Stream for Subscription {
    type Item = Result<EncodedEvents, FeedError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_events(cx)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("patterns", &self.patterns)
            .finish_non_exhaustive()
    }
}

/// A subscription that is open.
struct Reading {
    reader: Reader,
    /// What is handed out before the reader reads on.
    ready: VecDeque<EncodedEvents>,
    replayed: Option<Job<Result<Replayed, Interrupted>>>,
}

impl Reading {
    /// The next events; `None` once the stream has ended.
    fn poll(
        &mut self,
        hub: &Hub,
        settings: &Settings,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<EncodedEvents>, Interrupted>> {
        loop {
            if let Some(events) = self.ready.pop_front() {
                if events.is_empty() {
                    continue;
                }
                return Poll::Ready(Ok(Some(events)));
            }
            if let Some(replayed) = &mut self.replayed {
                let replayed = ready!(replayed.as_mut().poll(cx));
                self.replayed = None;
                match replayed? {
                    Replayed::Events {
                        events,
                        last,
                        through,
                    } => {
                        self.ready.extend(events);
                        self.reader.handle_read(through, last);
                        continue;
                    }
                    Replayed::Disconnect => {
                        meters::disconnect();
                        return Poll::Ready(Ok(None));
                    }
                }
            }
            match ready!(self.reader.poll_progress(cx))? {
                Progress::Events(events) => return Poll::Ready(Ok(Some(events))),
                Progress::Ended => return Poll::Ready(Ok(None)),
                Progress::InLog(up_to) => {
                    meters::replay(up_to - self.reader.after());
                    let replay = self.replay(hub, settings);
                    self.replayed = Some(Box::pin(replay.read(up_to)));
                }
                Progress::TooSlow => {
                    let replay = self.replay(hub, settings);
                    self.replayed = Some(Box::pin(replay.skip()));
                }
            }
        }
    }

    fn replay(&self, hub: &Hub, settings: &Settings) -> Replay {
        Replay {
            shared: Arc::clone(hub.shared()),
            life: Arc::clone(self.reader.life()),
            patterns: self.reader.patterns(),
            slow_reader: settings.slow_reader.clone(),
            max_lag: settings.max_lag,
            after: self.reader.after(),
            last_id: self.reader.last_id().clone(),
        }
    }

    fn checkpoint(&mut self) -> Option<EventId> {
        // What is behind is still to come, with ids of its own.
        let is_idle = self.ready.is_empty() && self.replayed.is_none();
        is_idle.then(|| self.reader.checkpoint())?
    }
}

/// Is there, for as long as it lives.
struct Present {
    hub: Hub,
    patterns: Arc<[Pattern]>,
}

impl Present {
    fn new(hub: Hub, patterns: Arc<[Pattern]>) -> Self {
        for pattern in &*patterns {
            hub.shared().presences.join(pattern);
        }
        meters::join();
        Self { hub, patterns }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        for pattern in &*self.patterns {
            self.hub.shared().presences.leave(pattern);
        }
        meters::leave();
    }
}
