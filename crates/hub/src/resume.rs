//! The position at which a subscription starts, and the gap it delivers first after a loss.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use tidings_proto::{EncodedEvents, Event, EventId, Gap, GapReason, Position};

use crate::continuity::{
    Continuity, LOOKS, check_before_snapshot, continuity, locate, locate_start, reach,
};
use crate::interrupted::Interrupted;
use crate::life::{Life, PositionWithId};
use crate::shared::{Base, Shared};
use crate::snapshots::Snapshot;
use crate::subscribe_error::SubscribeFailure;
use crate::{
    Located, LogError, LogErrorKind, Pattern, Place, Scope, Start, SubscribeError, meters,
};

/// The number of lives in which a subscription tries to start.
const ATTEMPTS: u32 = 20;
/// The number of entries that are read at once to find out whether one of them is an event for the
/// subscriber.
const LOOKED_AT: usize = 16;

/// Where a subscription starts without a last event ID, or after a gap.
#[derive(Clone)]
pub(crate) enum StartPoint {
    Latest,
    Earliest,
    /// With so many of the newest events.
    Last(usize),
    /// With the first event at or after this time, in nanoseconds since 1970.
    Time(u64),
    Snapshot(Arc<SnapshotHook>),
}

impl StartPoint {
    /// The start in the log, if the log finds it.
    fn in_log(&self) -> Option<Start> {
        match self {
            Self::Latest | Self::Snapshot(_) => None,
            Self::Earliest => Some(Start::Earliest),
            Self::Last(count) => Some(Start::Last(*count)),
            Self::Time(time) => Some(Start::Time(*time)),
        }
    }
}

/// Makes a snapshot.
pub(crate) type SnapshotHook = dyn Fn() -> Pin<Box<dyn Future<Output = Result<Vec<Event>, SubscribeError>> + Send>>
    + Send
    + Sync;

impl fmt::Debug for StartPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("Latest"),
            Self::Earliest => f.write_str("Earliest"),
            Self::Last(count) => write!(f, "Last({count})"),
            Self::Time(time) => write!(f, "Time({time})"),
            Self::Snapshot(_) => f.write_str("Snapshot"),
        }
    }
}

/// The position that a subscription resumes from.
#[derive(Debug, Clone)]
pub(crate) enum ResumeFrom {
    /// The last event ID of a client that connects, if it sent one.
    Client(Option<String>),
    /// The last ID that was delivered in a life that is over.
    PastLife(Arc<Life>, EventId),
}

/// A subscription that starts, or continues in another life.
#[derive(Debug, Clone)]
pub(crate) struct ResumeRequest {
    pub(crate) shared: Arc<Shared>,
    pub(crate) patterns: Arc<[Pattern]>,
    pub(crate) start: Option<StartPoint>,
    /// The newest position when `subscribe` was called, or the one at which the hub then reached its log.
    pub(crate) subscribed_at: Result<PositionWithId, Base>,
}

/// The result of a [`ResumeRequest`].
#[derive(Debug)]
pub(crate) enum Resumed {
    Stream(StreamStart),
    /// All channels have ended, and the client has received everything.
    Over,
}

/// Where a stream starts, and which events it delivers before it reads.
#[derive(Debug)]
pub(crate) struct StreamStart {
    pub(crate) life: Arc<Life>,
    /// The stream delivers what follows this position.
    pub(crate) after: PositionWithId,
    /// Whether the subscriber has the ID of that position.
    pub(crate) is_sent: bool,
    /// The events that it delivers first: a gap, then a snapshot.
    pub(crate) gap: Option<EncodedEvents>,
    pub(crate) snapshot: Option<Snapshot>,
}

impl ResumeRequest {
    /// Finds where the stream starts. If the life ends meanwhile, it looks again in the next one.
    pub(crate) async fn resume(self, from: ResumeFrom) -> Result<Resumed, SubscribeError> {
        let mut life = match &from {
            // A hub that is drained does not wait for its log.
            ResumeFrom::Client(_) if self.shared.admission.is_closed() => {
                let life = self.shared.current_life();
                life.ok_or(SubscribeFailure::Draining)?
            }
            ResumeFrom::Client(_) => self.shared.life().await?,
            ResumeFrom::PastLife(past, _) => self.shared.life_after(past).await?,
        };
        for _ in 0..ATTEMPTS {
            match self.resume_in(&life, &from).await {
                Ok(resumed) => return Ok(resumed),
                Err(Interrupted::LifeOver) => life = self.shared.life_after(&life).await?,
                Err(Interrupted::Failed(error)) => return Err(error),
            }
        }
        Err(SubscribeError::log(LogError::lost(
            "the log began anew too often",
        )))
    }

    /// Finds where the stream starts in this life.
    async fn resume_in(&self, life: &Arc<Life>, from: &ResumeFrom) -> Result<Resumed, Interrupted> {
        let (requested, is_client) = match from {
            ResumeFrom::Client(id) => (id.as_deref(), true),
            ResumeFrom::PastLife(_, id) => (Some(id.as_str()), false),
        };
        let is_refused = is_client && self.shared.admission.is_closed();
        let found = match requested {
            Some(id) => self.look_up(life, id).await?,
            None => Lookup::NothingReceived,
        };
        let has_snapshot = matches!(self.start, Some(StartPoint::Snapshot(_)));
        let start = match found {
            Lookup::Found(after) => StreamStart {
                life: Arc::clone(life),
                after,
                is_sent: true,
                gap: None,
                snapshot: None,
            },
            // The log does not serve snapshots.
            Lookup::NothingReceived | Lookup::Lost(_) if is_refused && has_snapshot => {
                return Err(SubscribeError::from(SubscribeFailure::Draining).into());
            }
            Lookup::NothingReceived => self.start_new(life).await?,
            Lookup::Lost(loss) => self.start_after(life, &loss, is_client).await?,
        };
        if self.is_surely_over(life, &start).await? {
            return Ok(Resumed::Over);
        }
        // A client that a drained hub refuses keeps its ID, and is told of a loss by the next hub.
        if is_refused && !self.has_more(life, start.after.seq()).await? {
            return Err(SubscribeError::from(SubscribeFailure::Draining).into());
        }
        Ok(Resumed::Stream(start))
    }

    /// Finds the entry of a last event ID.
    async fn look_up(&self, life: &Life, id: &str) -> Result<Lookup, Interrupted> {
        let Some(position) = position_in(id) else {
            return Ok(Lookup::Lost(Loss::new(GapReason::UnknownId)));
        };
        let is_snapshot = matches!(self.start, Some(StartPoint::Snapshot(_)));
        let start = Start::After(Place::from(&position));
        // Asked also for an ID of another epoch: the log may have that epoch by now.
        let located = locate(&self.shared, life, start, &self.patterns).await?;
        if position.epoch != life.epoch {
            return Ok(Lookup::Lost(Loss::new(GapReason::Epoch)));
        }
        if position.seq == 0 && is_snapshot && position.check == check_before_snapshot() {
            return Ok(Lookup::NothingReceived);
        }
        Ok(match located {
            Located::Held { missed: 0, .. } => Lookup::Found(PositionWithId::from(position)),
            Located::Held { .. } => Lookup::Lost(Loss::trimmed(position)),
            Located::Unknown { last } if position.seq > last => {
                Lookup::Lost(Loss::new(GapReason::Future))
            }
            Located::Unknown { .. } => Lookup::Lost(Loss::new(GapReason::Epoch)),
        })
    }

    /// Starts a stream for a subscriber that has received nothing.
    async fn start_new(&self, life: &Arc<Life>) -> Result<StreamStart, Interrupted> {
        if let Some(StartPoint::Snapshot(hook)) = &self.start {
            let (after, snapshot) = self.snapshot(life, &**hook).await?;
            return Ok(StreamStart {
                life: Arc::clone(life),
                after,
                is_sent: true,
                gap: None,
                snapshot: Some(snapshot),
            });
        }
        let Some(start) = self.start.as_ref().and_then(StartPoint::in_log) else {
            return self.start_latest(life).await;
        };
        let (after, missed) = locate_start(&self.shared, life, start, &self.patterns).await?;
        let gap = (missed > 0).then(|| gap(None, GapReason::Trimmed, Some(missed), &after.id));
        Ok(StreamStart {
            life: Arc::clone(life),
            after,
            is_sent: gap.is_some(),
            gap,
            snapshot: None,
        })
    }

    /// Starts a stream with the events that were published after the call of `subscribe`.
    async fn start_latest(&self, life: &Arc<Life>) -> Result<StreamStart, Interrupted> {
        // It may be of a life that is over. Then the subscriber receives a gap.
        let latest = match &self.subscribed_at {
            Ok(latest) => latest,
            Err(base) => base.get().unwrap_or_else(|| {
                unreachable!("the first life was recorded before any life was current")
            }),
        };
        match self.look_up(life, latest.id.as_str()).await? {
            Lookup::Found(after) => Ok(StreamStart {
                life: Arc::clone(life),
                after,
                is_sent: false,
                gap: None,
                snapshot: None,
            }),
            Lookup::Lost(loss) => self.start_after(life, &loss, false).await,
            Lookup::NothingReceived => {
                unreachable!("only subscriptions with a snapshot look such an ID up")
            }
        }
    }

    /// Makes a snapshot at the newest position.
    async fn snapshot(
        &self,
        life: &Life,
        hook: &SnapshotHook,
    ) -> Result<(PositionWithId, Snapshot), SubscribeError> {
        let turn = self.shared.turns.snapshot().await;
        self.shared.snapshots.make_room().await;
        let at = life.newest();
        let snapshot = self.shared.snapshots.make(turn, hook, &at.id).await?;
        Ok((at, snapshot))
    }

    /// Starts a stream with a gap that reports a loss. `is_client`: the client has sent the ID.
    async fn start_after(
        &self,
        life: &Arc<Life>,
        loss: &Loss,
        is_client: bool,
    ) -> Result<StreamStart, Interrupted> {
        let (after, missed, snapshot) = match &self.start {
            Some(StartPoint::Snapshot(hook)) => {
                let (after, snapshot) = self.snapshot(life, &**hook).await?;
                let missed = self.missed(life, loss, after.seq()).await?;
                (after, missed, Some(snapshot))
            }
            start => {
                let (after, missed) = self.place_after(life, loss, start.as_ref()).await?;
                (after, missed, None)
            }
        };
        let requested = loss.after.as_ref().filter(|_| is_client);
        // With this ID, a client that is cut off before the end of the snapshot receives another one when
        // it reconnects.
        let before_snapshot = || EventId::from(&life.position(0, check_before_snapshot()));
        let gap = match &snapshot {
            Some(_) => gap(requested, loss.reason, missed, &before_snapshot()),
            None => gap(requested, loss.reason, missed, &after.id),
        };
        Ok(StreamStart {
            life: Arc::clone(life),
            after,
            is_sent: true,
            gap: Some(gap),
            snapshot,
        })
    }

    /// Where the stream continues after a loss, and how many events are missed at most; `None` if that is not
    /// known.
    async fn place_after(
        &self,
        life: &Life,
        loss: &Loss,
        start: Option<&StartPoint>,
    ) -> Result<(PositionWithId, Option<u64>), Interrupted> {
        let locate = |start| locate_start(&self.shared, life, start, &self.patterns);
        let to = match start {
            None if loss.reason == GapReason::Trimmed => locate(Start::Earliest).await?.0,
            start => match start.and_then(StartPoint::in_log) {
                Some(start) => locate(start).await?.0,
                None => life.newest(),
            },
        };
        let Some(after) = &loss.after else {
            return Ok((to, None));
        };
        // The floor of the log may have passed that place. Place and number are of one moment.
        let (after, to) = (after.seq, to.seq());
        let (to, missed) = locate(Start::Skip { after, to }).await?;
        Ok((to, Some(missed)))
    }

    /// How many events are missed at most if the stream continues after `to`; `None` if that is not known.
    async fn missed(&self, life: &Life, loss: &Loss, to: u64) -> Result<Option<u64>, Interrupted> {
        let Some(after) = loss.after.as_ref().map(|position| position.seq) else {
            return Ok(None);
        };
        let skip = Start::Skip { after, to };
        let (_, missed) = locate_start(&self.shared, life, skip, &self.patterns).await?;
        Ok(Some(missed.min(to.saturating_sub(after))))
    }

    /// As [`is_over`](Self::is_over), and the log still continues this life: a client does not reconnect
    /// after this, and a rewound log may have lost the end.
    async fn is_surely_over(&self, life: &Life, start: &StreamStart) -> Result<bool, Interrupted> {
        for _ in 0..LOOKS {
            if !self.is_over(start).await? {
                return Ok(false);
            }
            let (continuity, bounds) = continuity(&self.shared.log, life).await?;
            match continuity {
                Continuity::Whole => return Ok(true),
                // Otherwise the client would find its stream at the end, and would ask again and again.
                Continuity::Missed if life.is_open() => {
                    reach(&self.shared, life, bounds.floor.seq).await?;
                }
                Continuity::Missed if !life.is_over() => return Ok(false),
                Continuity::Missed | Continuity::Broken => return Err(Interrupted::LifeOver),
            }
        }
        Err(LogError::lost("the tail does not return an entry that the log holds").into())
    }

    /// Whether all channels have ended, and the subscriber has received all their events.
    async fn is_over(&self, start: &StreamStart) -> Result<bool, SubscribeError> {
        let life = &start.life;
        if start.gap.is_some() || start.snapshot.is_some() || !self.have_ended(life) {
            return Ok(false);
        }
        let forgotten = self.shared.forget_ends(life).await;
        forgotten.map_err(SubscribeError::log)?;
        Ok(self.have_ended(life) && !self.has_more(life, start.after.seq()).await?)
    }

    /// Whether the log holds an event after `after` that the subscriber receives. True as well if the log
    /// has lost entries there: the stream reports the loss.
    async fn has_more(&self, life: &Life, mut after: u64) -> Result<bool, SubscribeError> {
        let newest = life.newest().position;
        while after < newest.seq {
            let _turn = self.shared.turns.page().await;
            let scope = Scope::new(&self.patterns, &newest);
            let page = match self.shared.log.read(after, LOOKED_AT, scope).await {
                Ok(page) => page,
                Err(error) => match error.kind() {
                    LogErrorKind::Trimmed { .. } | LogErrorKind::Rewound { .. } => {
                        return Ok(true);
                    }
                    LogErrorKind::TooLarge
                    | LogErrorKind::Refused
                    | LogErrorKind::Ended
                    | LogErrorKind::Silent
                    | LogErrorKind::Lost => {
                        return Err(SubscribeError::log(error));
                    }
                },
            };
            let ends = life.ends();
            if page.entries.iter().any(|entry| !ends.hides(entry)) || page.through <= after {
                return Ok(true);
            }
            after = page.through;
        }
        Ok(false)
    }

    /// Whether all channels have ended.
    fn have_ended(&self, life: &Life) -> bool {
        // Read before the ends: the fan-out adds an end before the mark has reached the events that precede
        // it.
        let high = life.high();
        let ends = life.ends();
        let has_ended = |pattern: &Pattern| {
            let end = pattern.as_channel().and_then(|name| ends.end_of(name));
            end.is_some_and(|end| end <= high)
        };
        !ends.is_empty() && self.patterns.iter().all(has_ended)
    }
}

/// The result of looking up a last event ID.
enum Lookup {
    /// The log holds everything after this position.
    Found(PositionWithId),
    /// The ID of a client that has received a gap, and not the whole snapshot that follows it.
    NothingReceived,
    Lost(Loss),
}

/// Why the log cannot resume after an ID.
struct Loss {
    reason: GapReason,
    /// The position in the ID, if the log has removed events after it: the number of missed events counts
    /// from it.
    after: Option<Position>,
}

impl Loss {
    fn new(reason: GapReason) -> Self {
        Self {
            reason,
            after: None,
        }
    }

    fn trimmed(after: Position) -> Self {
        Self {
            reason: GapReason::Trimmed,
            after: Some(after),
        }
    }
}

/// The position in a last event ID. HTTP joins the lines of a repeated header with commas, so the last
/// part counts if the whole is no position.
fn position_in(id: &str) -> Option<Position> {
    let parts = id.rsplit(',').map(str::trim_ascii);
    let last = || parts.clone().find(|part| !part.is_empty())?.parse().ok();
    id.parse().ok().or_else(last)
}

/// The event that reports a loss. `requested`: the position that the client has sent. It never repeats
/// other text of a client: in a compressed stream, the length of the gap would tell whether the same
/// text is in another event.
pub(crate) fn gap(
    requested: Option<&Position>,
    reason: GapReason,
    missed: Option<u64>,
    resumed: &EventId,
) -> EncodedEvents {
    meters::gap(reason, missed);
    let gap = Gap {
        requested: requested.map(ToString::to_string),
        resumed: resumed.as_str().into(),
        reason,
        missed,
    };
    match gap.to_event() {
        Ok(event) => event.encode(),
        Err(_) => unreachable!("`resumed` is the text of an event ID"),
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use tidings_proto::{Feed, FeedOpened};

    use crate::{ChannelName, Hub};

    /// The fan-out adds the end of a channel first, and moves the mark after the whole batch.
    #[tokio::test]
    async fn an_end_does_not_count_before_the_mark_has_reached_it() {
        let hub = Hub::in_memory();
        let a = hub.channel("a").unwrap();
        let position = a.publish(tidings_proto::Event::new("1")).await.unwrap();
        let life = hub.shared().current_life().unwrap();
        let name = ChannelName::new("a").unwrap();
        life.ends_mut().insert(name, position.seq + 2);
        let mut subscription = hub.subscribe("a");
        subscription.resume(Some(&position.to_string()));
        let opened = subscription.poll_open(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(opened, Poll::Ready(Ok(FeedOpened::Stream))));
    }
}
