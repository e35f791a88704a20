//! Owns how a subscriber begins: where, and what it is told of what it has lost.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use tidings_proto::{EncodedEvents, Event, EventId, Gap, GapReason, Position};

use crate::follow::{Continuity, check_at, check_of_nothing, check_of_unheard, continuity};
use crate::life::{Head, Life};
use crate::log::lost;
use crate::shared::Shared;
use crate::{Error, LogError, Pattern, meters};

/// How often it is tried to look into a log that changes meanwhile.
const ATTEMPTS: u32 = 5;

/// Where a subscription begins that has nothing to resume from, or has lost its place.
#[derive(Clone)]
pub(crate) enum Start {
    Latest,
    Earliest,
    Snapshot(Arc<Hook>),
}

/// What makes a snapshot.
pub(crate) type Hook =
    dyn Fn() -> Pin<Box<dyn Future<Output = Result<Vec<Event>, Error>> + Send>> + Send + Sync;

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Latest => "Latest",
            Self::Earliest => "Earliest",
            Self::Snapshot(_) => "Snapshot",
        })
    }
}

/// Where a subscriber comes from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// Its client says that it has heard this last, if it has heard anything.
    Client(Option<String>),
    /// It was connected, and its life is over; the last id that it was handed.
    Life(Arc<Life>, EventId),
}

/// What it wants.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) shared: Arc<Shared>,
    pub(crate) patterns: Arc<[Pattern]>,
    pub(crate) start: Option<Start>,
    /// The newest entry when it subscribed; `None` if the log was not reached then.
    pub(crate) mark: Option<Head>,
}

/// Where it begins.
#[derive(Debug)]
pub(crate) enum Begun {
    Here(Beginning),
    /// There is nothing left to hear, and nothing comes.
    Over,
}

#[derive(Debug)]
pub(crate) struct Beginning {
    pub(crate) life: Arc<Life>,
    pub(crate) from: Head,
    /// Whether its client knows the id of that place.
    pub(crate) is_told: bool,
    /// What it hears first: a gap, a snapshot.
    pub(crate) first: Vec<EncodedEvents>,
}

impl Wanted {
    pub(crate) async fn begin(self, origin: Origin) -> Result<Begun, Error> {
        let mut life = match &origin {
            Origin::Client(_) if self.shared.admission.is_shut() => return Err(Error::Draining),
            Origin::Client(_) => self.shared.life().await?,
            Origin::Life(past, _) => self.shared.life_after(past).await?,
        };
        for _ in 0..ATTEMPTS {
            match self.begin_in(&life, &origin).await? {
                Some(begun) => return Ok(begun),
                None => life = self.shared.life_after(&life).await?,
            }
        }
        Err(Error::Log(lost(
            "the log has changed its epoch again and again",
        )))
    }

    /// `None` if the log is not what it was.
    async fn begin_in(&self, life: &Arc<Life>, origin: &Origin) -> Result<Option<Begun>, Error> {
        let requested = match origin {
            Origin::Client(id) => id.as_deref(),
            Origin::Life(_, id) => Some(id.as_str()),
        };
        let place = match requested {
            Some(id) => self.place_of(life, id).await?,
            None => Place::New,
        };
        let beginning = match place {
            Place::LifeOver => None,
            Place::Known(from) => Some(Beginning {
                life: Arc::clone(life),
                from,
                is_told: true,
                first: Vec::new(),
            }),
            Place::New => self.begin_new(life).await?,
            Place::Lost(loss) => {
                let told = matches!(origin, Origin::Client(_)).then_some(requested);
                self.begin_after(life, &loss, told.flatten()).await?
            }
        };
        let Some(beginning) = beginning else {
            return Ok(None);
        };
        if !self.is_over(&beginning).await? {
            return Ok(Some(Begun::Here(beginning)));
        }
        // Nobody comes back from that: it is not to be said of a log that has fallen back behind an end.
        let continuity = continuity(&*self.shared.log, life).await;
        Ok(match continuity.map_err(Error::Log)?.0 {
            Continuity::Whole => Some(Begun::Over),
            Continuity::Missed => Some(Begun::Here(beginning)),
            Continuity::Broken => None,
        })
    }

    /// Where this id stands.
    async fn place_of(&self, life: &Life, id: &str) -> Result<Place, Error> {
        let Ok(position) = id.parse::<Position>() else {
            return Ok(Place::Lost(Loss::new(GapReason::UnknownId)));
        };
        let log = &*self.shared.log;
        // The oldest entries may be forgotten while we look.
        for _ in 0..ATTEMPTS {
            let bounds = log.bounds().await.map_err(Error::Log)?;
            if bounds.epoch != life.epoch {
                return Ok(Place::LifeOver);
            }
            let seq = position.seq;
            let is_snapshot = matches!(self.start, Some(Start::Snapshot(_)));
            let loss = if position.epoch != life.epoch {
                Loss::new(GapReason::Epoch)
            } else if seq == 0 && is_snapshot && position.check == check_of_unheard() {
                return Ok(Place::New);
            } else if seq > bounds.last {
                Loss::new(GapReason::Future)
            } else if seq + 1 < bounds.first {
                Loss::behind(GapReason::Trimmed, seq)
            } else {
                let recalled = life
                    .confirms()
                    .recall(seq)
                    .and_then(|outcome| outcome.check);
                let check = match recalled {
                    Some(check) => Some(check),
                    None => check_at(log, &bounds, seq).await.map_err(Error::Log)?,
                };
                match check {
                    Some(check) if check == position.check => {
                        return Ok(Place::Known(Head::from(position)));
                    }
                    Some(_) => Loss::new(GapReason::Epoch),
                    None => continue,
                }
            };
            return Ok(Place::Lost(loss));
        }
        Ok(Place::Lost(Loss::behind(GapReason::Trimmed, position.seq)))
    }

    /// Begins where nothing was heard before; `None` if the log is not what it was.
    async fn begin_new(&self, life: &Arc<Life>) -> Result<Option<Beginning>, Error> {
        let latest = self.mark.as_ref().unwrap_or(&life.base);
        let (from, first) = match &self.start {
            // The mark may be of a life that is over: what came since is lost then, and told.
            None | Some(Start::Latest) => match self.place_of(life, latest.id.as_str()).await? {
                Place::Known(from) => (from, Vec::new()),
                Place::Lost(loss) => return self.begin_after(life, &loss, None).await,
                Place::New | Place::LifeOver => return Ok(None),
            },
            Some(Start::Earliest) => match oldest(&self.shared, life).await? {
                Some(oldest) => (oldest, Vec::new()),
                None => return Ok(None),
            },
            Some(Start::Snapshot(hook)) => {
                let from = life.head();
                let snapshot = snapshot(&**hook, &from).await?;
                (from, vec![snapshot])
            }
        };
        Ok(Some(Beginning {
            life: Arc::clone(life),
            is_told: !first.is_empty(),
            from,
            first,
        }))
    }

    /// Begins after a loss, which is told; `None` if the log is not what it was.
    async fn begin_after(
        &self,
        life: &Arc<Life>,
        loss: &Loss,
        requested: Option<&str>,
    ) -> Result<Option<Beginning>, Error> {
        let missed = |to: &Head| loss.behind.map(|seq| to.seq.saturating_sub(seq));
        let tell = |missed, id: &EventId| gap(requested, loss.reason, missed, id);
        let (from, first) = match &self.start {
            Some(Start::Snapshot(hook)) => {
                let from = life.head();
                // Whoever is cut off before it has heard the snapshot is to hear it again, and so
                // resumes from nothing.
                let nothing = EventId::from(&life.position(0, check_of_unheard()));
                let gap = tell(missed(&from), &nothing);
                let snapshot = snapshot(&**hook, &from).await?;
                (from, vec![gap, snapshot])
            }
            start => {
                let is_oldest = match start {
                    Some(Start::Earliest) => true,
                    None => loss.reason == GapReason::Trimmed,
                    _ => false,
                };
                let from = if is_oldest {
                    oldest(&self.shared, life).await?
                } else {
                    Some(life.head())
                };
                let Some(from) = from else {
                    return Ok(None);
                };
                let gap = tell(missed(&from), &from.id);
                (from, vec![gap])
            }
        };
        Ok(Some(Beginning {
            life: Arc::clone(life),
            from,
            is_told: true,
            first,
        }))
    }

    /// Whether all channels have ended, and nothing is left to hear.
    async fn is_over(&self, beginning: &Beginning) -> Result<bool, Error> {
        let life = &beginning.life;
        if !beginning.first.is_empty() || !self.have_ended(life) {
            return Ok(false);
        }
        self.shared.forget_ends(life).await;
        let ends: Option<Vec<u64>> = {
            let ends = life.ends();
            let end = |pattern: &Pattern| ends.of(pattern.as_channel()?);
            self.patterns.iter().map(end).collect()
        };
        let Some(end) = ends.and_then(|ends| ends.into_iter().max()) else {
            return Ok(false);
        };
        let mut after = beginning.from.seq;
        while after < end {
            let log = &*self.shared.log;
            let page = match log.read(after, end, &self.patterns, 16).await {
                Ok(page) => page,
                // The stream tells what has become of it.
                Err(LogError::Trimmed { .. } | LogError::Rewound { .. }) => return Ok(false),
                Err(error) => return Err(Error::Log(error)),
            };
            let ends = life.ends();
            if page.entries.iter().any(|entry| !ends.hides(entry)) {
                return Ok(false);
            }
            after = page.through.max(after + 1);
        }
        Ok(true)
    }

    fn have_ended(&self, life: &Life) -> bool {
        let ends = life.ends();
        let has_ended = |pattern: &Pattern| {
            let channel = pattern.as_channel();
            channel.is_some_and(|channel| ends.of(channel).is_some())
        };
        !ends.is_empty() && self.patterns.iter().all(has_ended)
    }
}

/// Where an id stands.
enum Place {
    Known(Head),
    /// It is the id of somebody who has heard nothing.
    New,
    Lost(Loss),
    /// The log is not what it was.
    LifeOver,
}

/// Why a place is lost, and the place if it was one of this log.
struct Loss {
    reason: GapReason,
    behind: Option<u64>,
}

impl Loss {
    fn new(reason: GapReason) -> Self {
        Self {
            reason,
            behind: None,
        }
    }

    fn behind(reason: GapReason, seq: u64) -> Self {
        Self {
            reason,
            behind: Some(seq),
        }
    }
}

/// The place before the oldest entry; `None` if the log is not what it was.
pub(crate) async fn oldest(shared: &Shared, life: &Life) -> Result<Option<Head>, Error> {
    let looked = continuity(&*shared.log, life).await;
    let (continuity, bounds) = looked.map_err(Error::Log)?;
    let check = bounds.floor.unwrap_or_else(check_of_nothing);
    let is_of_life = continuity != Continuity::Broken;
    Ok(is_of_life.then(|| Head::from(life.position(bounds.first.saturating_sub(1), check))))
}

/// The event that tells a loss.
pub(crate) fn gap(
    requested: Option<&str>,
    reason: GapReason,
    missed: Option<u64>,
    resumed: &EventId,
) -> EncodedEvents {
    meters::gap(reason, missed);
    let gap = Gap {
        requested: requested.map(Into::into),
        resumed: resumed.as_str().into(),
        reason,
        missed,
    };
    // `resumed` is an id.
    gap.to_event().unwrap_or_default().encode()
}

/// The events of a snapshot, of which only the last has an id: who is cut off in the middle hears it
/// again.
async fn snapshot(hook: &Hook, at: &Head) -> Result<EncodedEvents, Error> {
    let mut events = hook().await?;
    for event in &mut events {
        event.id = None;
    }
    match events.last_mut() {
        Some(last) => last.id = Some(at.id.clone()),
        None => events.push(Event::default().id(at.id.clone())),
    }
    Ok(events.iter().collect())
}
