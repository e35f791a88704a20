//! The questions to the log that name what a life has delivered, and the start of a new life.

use tidings_proto::EntryCheck;

use crate::confirm::Confirmation;
use crate::ends::Ends;
use crate::interrupted::Interrupted;
use crate::life::{Life, PositionWithId};
use crate::shared::Shared;
use crate::subscribe_error::SubscribeFailure;
use crate::timed_log::TimedLog;
use crate::{
    Bounds, Located, LogError, LogErrorKind, Pattern, Place, Scope, Start, SubscribeError,
};

/// The maximum number of questions about a place that the life has not reached.
pub(crate) const LOOKS: u32 = 20;

/// The check in the ID of a gap that a snapshot follows. Its `seq` is 0. A client that reconnects with
/// this ID has received the gap but not the whole snapshot.
pub(crate) fn check_before_snapshot() -> EntryCheck {
    EntryCheck::from_hash(1)
}

/// A new life, which delivers what follows the newest entry of the log.
pub(crate) async fn begin_life(log: &TimedLog) -> Result<Life, LogError> {
    let bounds = log.bounds().await?;
    if bounds.floor.seq > bounds.last.seq || bounds.last.seq == u64::MAX {
        return Err(LogError::lost("the log has bounds that no log can have"));
    }
    // Later ends come through the tail, which fails if the log has changed since it returned its bounds.
    let ends = log.ends().await?.into_iter();
    let ends = Ends::new(ends.filter(|&(_, seq)| seq <= bounds.last.seq));
    Ok(Life::new(bounds.newest(), ends))
}

/// Whether a log continues a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Continuity {
    /// The log has all entries that follow the newest one of the life.
    Whole,
    /// The log has removed entries that follow the newest one of the life.
    Missed,
    /// The log was rewound, or has another epoch: it holds other entries than the life.
    Broken,
}

/// Whether the log continues this life, and its bounds.
pub(crate) async fn continuity(
    log: &TimedLog,
    life: &Life,
) -> Result<(Continuity, Bounds), LogError> {
    // Read before the bounds, which then include the newest entry of the life.
    let newest = life.newest().position;
    let bounds = log.bounds().await?;
    if bounds.epoch != newest.epoch {
        return Ok((Continuity::Broken, bounds));
    }
    if bounds.floor.seq > newest.seq {
        return Ok((Continuity::Missed, bounds));
    }
    let continuity = match log
        .locate(Start::After(Place::from(&newest)), Scope::all(&newest))
        .await
    {
        Ok(Located::Held { .. }) => Continuity::Whole,
        Ok(Located::Unknown { .. }) => Continuity::Broken,
        Err(error) if matches!(error.kind(), LogErrorKind::Rewound { .. }) => Continuity::Broken,
        Err(error) => return Err(error),
    };
    Ok((continuity, bounds))
}

/// Finds a place in the history of this life for a subscriber of these patterns.
///
/// The place may be after the newest entry of the life: another hub has delivered it, or the retention has
/// removed entries that this hub has not received. Then it waits until the life has reached the place, and
/// looks again: the log may lose the entry, and counts no loss after the newest entry of the life. The life
/// of a drained hub grows no more; there, only a place that the caller has named may be after its end.
pub(crate) async fn locate(
    shared: &Shared,
    life: &Life,
    start: Start,
    patterns: &[Pattern],
) -> Result<Located, Interrupted> {
    for _ in 0..LOOKS {
        let newest = life.newest().position;
        let located = look(shared, start, Scope::new(patterns, &newest)).await?;
        let Located::Held { place, .. } = located else {
            return Ok(located);
        };
        if place.seq <= newest.seq {
            return Ok(located);
        }
        match start {
            _ if life.is_open() => reach(shared, life, place.seq).await?,
            _ if life.is_over() => return Err(Interrupted::LifeOver),
            Start::After(_) => return Ok(located),
            Start::Earliest | Start::Time(_) | Start::Last(_) | Start::Skip { .. } => {
                return Err(SubscribeError::from(SubscribeFailure::Draining).into());
            }
        }
    }
    Err(LogError::lost("the tail does not return an entry that the log holds").into())
}

/// Asks the log for a place.
async fn look(shared: &Shared, start: Start, scope: Scope<'_>) -> Result<Located, Interrupted> {
    // Only for a pattern, and for these starts, may the log search its entries.
    let may_search = matches!(start, Start::Last(_) | Start::Skip { .. })
        && scope.patterns.iter().any(|p| p.as_channel().is_none());
    let _turn = if may_search {
        Some(shared.turns.page().await)
    } else {
        None
    };
    match shared.log.locate(start, scope).await {
        Ok(located) => Ok(located),
        Err(error) if matches!(error.kind(), LogErrorKind::Rewound { .. }) => {
            Err(Interrupted::LifeOver)
        }
        Err(error) => Err(error.into()),
    }
}

/// Waits until the life has this entry, or the log has lost it.
pub(crate) async fn reach(shared: &Shared, life: &Life, seq: u64) -> Result<(), Interrupted> {
    let found = life.confirmations().find(seq);
    let Confirmation::Pending(outcome) = found else {
        return Ok(());
    };
    match shared.log.within_limit(outcome).await {
        Some(Err(_)) if life.is_over() => Err(Interrupted::LifeOver),
        Some(_) => Ok(()),
        None => Err(LogError::silent(shared.settings.log_timeout).into()),
    }
}

/// The place that [`locate`] finds for a start that is no place itself, as a position, and how many events
/// are missed at most.
pub(crate) async fn locate_start(
    shared: &Shared,
    life: &Life,
    start: Start,
    patterns: &[Pattern],
) -> Result<(PositionWithId, u64), Interrupted> {
    match locate(shared, life, start, patterns).await? {
        Located::Held { place, missed } => {
            Ok((PositionWithId::from(place.in_epoch(&life.epoch)), missed))
        }
        Located::Unknown { .. } => {
            Err(LogError::lost("the log found no place to start from").into())
        }
    }
}
