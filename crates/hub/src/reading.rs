//! `Reading`: an open subscription, which reads the tapes, and the log for events that the tapes no
//! longer hold.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tidings_proto::{EncodedEvents, EventId};

use crate::id_form::plain_id;
use crate::interrupted::Interrupted;
use crate::latest::Kept;
use crate::reader::{Progress, Reader};
use crate::replay::{Replay, Replayed};
use crate::resume::ResumeFrom;
use crate::snapshots::{Part, Snapshot};
use crate::subscriber::{Job, SubscriptionSettings};
use crate::{Hub, Pattern, meters};

/// An open subscription.
pub(crate) struct Reading {
    reader: Reader,
    /// Events to deliver before the next ones of the reader. Boxed, because a reader that follows its tapes
    /// has none.
    ready: Option<Box<EncodedEvents>>,
    work: Work,
}

/// The work that a subscription finishes before it reads the tapes again.
enum Work {
    None,
    Replay(Job<Result<Replayed, Interrupted>>),
    /// The events that `latest_by` has kept.
    Kept(Box<Kept>),
    Snapshot(Snapshot),
}

impl Reading {
    /// The gap comes first, then the snapshot.
    pub(crate) fn new(
        reader: Reader,
        gap: Option<EncodedEvents>,
        snapshot: Option<Snapshot>,
    ) -> Self {
        Self {
            reader,
            ready: gap.map(Box::new),
            work: snapshot.map_or(Work::None, Work::Snapshot),
        }
    }

    pub(crate) fn patterns(&self) -> Arc<[Pattern]> {
        self.reader.patterns()
    }

    /// Where to resume in the next life of the log.
    pub(crate) fn resume_from(&self) -> ResumeFrom {
        let life = Arc::clone(self.reader.life());
        ResumeFrom::PastLife(life, self.reader.last_id().clone())
    }

    /// The next events; `None` once the stream has ended.
    pub(crate) fn poll(
        &mut self,
        hub: &Hub,
        settings: &SubscriptionSettings,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<EncodedEvents>, Interrupted>> {
        loop {
            if let Some(events) = self.ready.take().filter(|events| !events.is_empty()) {
                return Poll::Ready(Ok(Some(*events)));
            }
            if let Work::Snapshot(snapshot) = &self.work {
                match snapshot.next() {
                    Part::Events(events) => self.ready = Some(Box::new(events)),
                    Part::End => self.work = Work::None,
                    Part::Dropped => {
                        meters::disconnect();
                        return Poll::Ready(Ok(None));
                    }
                }
                continue;
            }
            if let Work::Replay(replayed) = &mut self.work {
                let replayed = ready!(replayed.as_mut().poll(cx));
                self.work = Work::None;
                match replayed? {
                    Replayed::Events {
                        events,
                        last,
                        through,
                        kept,
                    } => {
                        self.ready = Some(Box::new(events));
                        self.work = kept.map_or(Work::None, Work::Kept);
                        self.reader.handle_read(through, last);
                        continue;
                    }
                    Replayed::Disconnect => {
                        meters::disconnect();
                        return Poll::Ready(Ok(None));
                    }
                }
            }
            if let Work::Kept(kept) = std::mem::replace(&mut self.work, Work::None) {
                let replay = self.replay(hub, settings);
                self.work = Work::Replay(Box::pin(replay.deliver(kept)));
                continue;
            }
            match ready!(self.reader.poll_progress(cx))? {
                Progress::Events(events) => return Poll::Ready(Ok(Some(events))),
                Progress::Ended => return Poll::Ready(Ok(None)),
                Progress::InLog(up_to) => {
                    meters::replay(up_to - self.reader.after());
                    let replay = self.replay(hub, settings);
                    self.work = Work::Replay(Box::pin(replay.read(up_to)));
                }
                Progress::TooSlow => {
                    let replay = self.replay(hub, settings);
                    self.work = Work::Replay(Box::pin(replay.skip()));
                }
            }
        }
    }

    fn replay(&self, hub: &Hub, settings: &SubscriptionSettings) -> Replay {
        Replay {
            shared: Arc::clone(hub.shared()),
            life: Arc::clone(self.reader.life()),
            patterns: self.reader.patterns(),
            slow_reader: settings.slow_reader.clone(),
            max_lag: settings.max_lag,
            after: self.reader.after(),
            last_id: plain_id(self.reader.last_id()),
            id_form: settings.id_form,
        }
    }

    pub(crate) fn checkpoint(&mut self) -> Option<EventId> {
        // Events that are ready or being read come first, with IDs of their own.
        let is_idle = self.ready.is_none() && matches!(self.work, Work::None);
        is_idle.then(|| self.reader.checkpoint())?
    }
}
