//! The position at which a subscription starts, and the gap it delivers first after a loss.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use tidings_proto::{EncodedEvents, Event, EventId, Gap, GapReason, Position};

use crate::continuity::{
    Continuity, check_at, check_before_first_entry, check_before_snapshot, continuity,
};
use crate::interrupted::Interrupted;
use crate::life::{Life, PositionWithId};
use crate::shared::{Base, Shared};
use crate::snapshots::Snapshot;
use crate::subscribe_error::SubscribeFailure;
use crate::{LogError, LogErrorKind, Pattern, SubscribeError, meters};

/// The number of attempts to look into a log that changes meanwhile.
const ATTEMPTS: u32 = 5;

/// Where a subscription starts without a last event ID, or after a gap.
#[derive(Clone)]
pub(crate) enum StartPoint {
    Latest,
    Earliest,
    Snapshot(Arc<SnapshotHook>),
}

/// Makes a snapshot.
pub(crate) type SnapshotHook = dyn Fn() -> Pin<Box<dyn Future<Output = Result<Vec<Event>, SubscribeError>> + Send>>
    + Send
    + Sync;

impl fmt::Debug for StartPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Latest => "Latest",
            Self::Earliest => "Earliest",
            Self::Snapshot(_) => "Snapshot",
        })
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
            "the log changed its epoch too often",
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
        if self.is_over(&start).await? {
            // Checked again, because a client does not reconnect after this. A rewound log may have
            // lost the end.
            match continuity(&self.shared.log, life).await?.0 {
                Continuity::Whole => return Ok(Resumed::Over),
                Continuity::Missed => {}
                Continuity::Broken => return Err(Interrupted::LifeOver),
            }
        }
        // A client that a drained hub refuses keeps its ID, and is told of a loss by the next hub.
        if is_refused && !self.has_more(life, start.after.seq(), life.high()).await? {
            return Err(SubscribeError::from(SubscribeFailure::Draining).into());
        }
        Ok(Resumed::Stream(start))
    }

    /// Finds the entry of a last event ID.
    async fn look_up(&self, life: &Life, id: &str) -> Result<Lookup, Interrupted> {
        let Some(position) = position_in(id) else {
            return Ok(Lookup::Lost(Loss::new(GapReason::UnknownId)));
        };
        let log = &self.shared.log;
        // The oldest entries may be trimmed between two calls.
        for _ in 0..ATTEMPTS {
            let bounds = log.bounds().await?;
            if bounds.epoch != life.epoch {
                return Err(Interrupted::LifeOver);
            }
            let seq = position.seq;
            let is_snapshot = matches!(self.start, Some(StartPoint::Snapshot(_)));
            let loss = if position.epoch != life.epoch {
                Loss::new(GapReason::Epoch)
            } else if seq == 0 && is_snapshot && position.check == check_before_snapshot() {
                return Ok(Lookup::NothingReceived);
            } else if seq > bounds.last {
                Loss::new(GapReason::Future)
            } else if seq + 1 < bounds.first {
                Loss::trimmed(position)
            } else {
                let recalled = life
                    .confirmations()
                    .recall(seq)
                    .and_then(|outcome| outcome.check);
                let check = match recalled {
                    Some(check) => Some(check),
                    None => check_at(log, &bounds, seq).await?,
                };
                match check {
                    Some(check) if check == position.check => {
                        return Ok(Lookup::Found(PositionWithId::from(position)));
                    }
                    Some(_) => Loss::new(GapReason::Epoch),
                    None => continue,
                }
            };
            return Ok(Lookup::Lost(loss));
        }
        Ok(Lookup::Lost(Loss::trimmed(position)))
    }

    /// Starts a stream for a subscriber that has received nothing.
    async fn start_new(&self, life: &Arc<Life>) -> Result<StreamStart, Interrupted> {
        let (after, snapshot) = match &self.start {
            None | Some(StartPoint::Latest) => {
                // It may be of a life that is over. Then the subscriber receives a gap.
                let latest = match &self.subscribed_at {
                    Ok(latest) => latest,
                    Err(base) => base.get().unwrap_or_else(|| {
                        unreachable!("the first life was recorded before any life was current")
                    }),
                };
                match self.look_up(life, latest.id.as_str()).await? {
                    Lookup::Found(after) => (after, None),
                    Lookup::Lost(loss) => return self.start_after(life, &loss, false).await,
                    Lookup::NothingReceived => {
                        unreachable!("only subscriptions with a snapshot look such an ID up")
                    }
                }
            }
            Some(StartPoint::Earliest) => (oldest(&self.shared, life).await?, None),
            Some(StartPoint::Snapshot(hook)) => {
                let (after, snapshot) = self.snapshot(life, &**hook).await?;
                (after, Some(snapshot))
            }
        };
        Ok(StreamStart {
            life: Arc::clone(life),
            is_sent: snapshot.is_some(),
            after,
            gap: None,
            snapshot,
        })
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
        let after = loss.after.as_ref();
        let missed =
            |to: &PositionWithId| after.map(|position| to.seq().saturating_sub(position.seq));
        let requested = after.filter(|_| is_client);
        let gap_at = |missed, id: &EventId| gap(requested, loss.reason, missed, id);
        let (after, gap, snapshot) = match &self.start {
            Some(StartPoint::Snapshot(hook)) => {
                let (after, snapshot) = self.snapshot(life, &**hook).await?;
                // With this ID, a client that is cut off before the end of the snapshot receives
                // another one when it reconnects.
                let nothing = EventId::from(&life.position(0, check_before_snapshot()));
                let gap = gap_at(missed(&after), &nothing);
                (after, gap, Some(snapshot))
            }
            start => {
                let is_oldest = match start {
                    Some(StartPoint::Earliest) => true,
                    None => loss.reason == GapReason::Trimmed,
                    Some(StartPoint::Latest | StartPoint::Snapshot(_)) => false,
                };
                let after = if is_oldest {
                    oldest(&self.shared, life).await?
                } else {
                    life.newest()
                };
                let gap = gap_at(missed(&after), &after.id);
                (after, gap, None)
            }
        };
        Ok(StreamStart {
            life: Arc::clone(life),
            after,
            is_sent: true,
            gap: Some(gap),
            snapshot,
        })
    }

    /// Whether all channels have ended, and the subscriber has received all their events.
    async fn is_over(&self, start: &StreamStart) -> Result<bool, SubscribeError> {
        let life = &start.life;
        if start.gap.is_some() || start.snapshot.is_some() || !self.have_ended(life) {
            return Ok(false);
        }
        let forgotten = self.shared.forget_ends(life).await;
        forgotten.map_err(SubscribeError::log)?;
        let ends: Option<Vec<u64>> = {
            let ends = life.ends();
            let end = |pattern: &Pattern| ends.end_of(pattern.as_channel()?);
            self.patterns.iter().map(end).collect()
        };
        let Some(end) = ends.and_then(|ends| ends.into_iter().max()) else {
            return Ok(false);
        };
        Ok(!self.has_more(life, start.after.seq(), end).await?)
    }

    /// Whether the log holds an event after `after`, up to `up_to`, that the subscriber receives. True
    /// as well if the log has lost entries there: the stream reports the loss.
    async fn has_more(
        &self,
        life: &Life,
        mut after: u64,
        up_to: u64,
    ) -> Result<bool, SubscribeError> {
        while after < up_to {
            let _turn = self.shared.turns.page().await;
            let log = &self.shared.log;
            let page = match log.read(after, up_to, &self.patterns, 16).await {
                Ok(page) => page,
                Err(error) => match error.kind() {
                    LogErrorKind::Trimmed { .. } | LogErrorKind::Rewound { .. } => {
                        return Ok(true);
                    }
                    LogErrorKind::TooLarge
                    | LogErrorKind::Refused
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
        let ends = life.ends();
        let has_ended = |pattern: &Pattern| {
            let channel = pattern.as_channel();
            channel.is_some_and(|channel| ends.end_of(channel).is_some())
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
    /// The position in the ID, if the log has trimmed the entry: the number of missed events counts
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

/// The position before the oldest entry of the log.
pub(crate) async fn oldest(shared: &Shared, life: &Life) -> Result<PositionWithId, Interrupted> {
    let (continuity, bounds) = continuity(&shared.log, life).await?;
    if continuity == Continuity::Broken {
        return Err(Interrupted::LifeOver);
    }
    let check = match bounds.floor {
        Some(check) => check,
        None if bounds.first <= 1 => check_before_first_entry(),
        None => {
            let lost = LogError::lost("the log has no check of the entry before its oldest one");
            return Err(lost.into());
        }
    };
    let seq = bounds.first.saturating_sub(1);
    Ok(PositionWithId::from(life.position(seq, check)))
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
