//! `Continuity`: whether the log still holds what a life has delivered, and the start of a new life.

use tidings_proto::{EntryCheck, Position};

use crate::ends::Ends;
use crate::life::Life;
use crate::timed_log::TimedLog;
use crate::{Bounds, Entry, LogError, LogErrorKind};

/// The number of attempts to look into a log that changes meanwhile.
const ATTEMPTS: u32 = 5;

/// The check in the position before the first entry, whose `seq` is 0.
pub(crate) fn check_before_first_entry() -> EntryCheck {
    EntryCheck::from_hash(0)
}

/// The check in the ID of a gap that a snapshot follows. Its `seq` is 0. A client that reconnects with
/// this ID has received the gap but not the whole snapshot.
pub(crate) fn check_before_snapshot() -> EntryCheck {
    EntryCheck::from_hash(1)
}

/// A new life, which delivers what follows the newest entry of the log.
pub(crate) async fn begin_life(log: &TimedLog) -> Result<Life, LogError> {
    for _ in 0..ATTEMPTS {
        let bounds = log.bounds().await?;
        // The newest entry may be trimmed between the two calls.
        if let Some(check) = check_at(log, &bounds, bounds.last).await? {
            // Later ends come through the tail.
            let ends = log.ends().await?.into_iter();
            let ends = Ends::new(ends.filter(|&(_, seq)| seq <= bounds.last));
            let base = Position {
                epoch: bounds.epoch,
                seq: bounds.last,
                check,
            };
            return Ok(Life::new(&base, ends));
        }
    }
    Err(LogError::lost("the newest entry of the log cannot be read"))
}

/// Whether a log continues a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Continuity {
    /// The log holds the newest entry of the life, or at least its check, and all entries that follow.
    Whole,
    /// The log has trimmed entries that follow the newest one of the life.
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
    let newest = life.newest();
    for _ in 0..ATTEMPTS {
        let bounds = log.bounds().await?;
        if bounds.epoch != life.epoch || bounds.last < newest.seq() {
            return Ok((Continuity::Broken, bounds));
        }
        if bounds.first > newest.seq().saturating_add(1) {
            return Ok((Continuity::Missed, bounds));
        }
        // The entry may be trimmed between the two calls.
        if let Some(found) = find(log, &bounds, newest.seq()).await? {
            let check = match found {
                Found::Check(check) => check,
                // Each page of each replay asks for it.
                Found::Entry(entry) => log.newest_check(entry),
            };
            let continuity = if check == newest.position.check {
                Continuity::Whole
            } else {
                Continuity::Broken
            };
            return Ok((continuity, bounds));
        }
    }
    Err(LogError::lost("the bounds of the log change too often"))
}

/// The check of the entry `seq`; `None` if the log has trimmed it.
pub(crate) async fn check_at(
    log: &TimedLog,
    bounds: &Bounds,
    seq: u64,
) -> Result<Option<EntryCheck>, LogError> {
    let found = find(log, bounds, seq).await?;
    Ok(found.map(|found| found.check()))
}

/// An entry, or only its check.
pub(crate) enum Found {
    Check(EntryCheck),
    Entry(Entry),
}

impl Found {
    pub(crate) fn check(&self) -> EntryCheck {
        match self {
            Self::Check(check) => *check,
            Self::Entry(entry) => entry.check(),
        }
    }

    /// Whether the log says that the entry came after its channel's end.
    pub(crate) fn is_late(&self) -> bool {
        matches!(self, Self::Entry(entry) if entry.is_late)
    }
}

/// The entry `seq`, or at least its check; `None` if the log has trimmed it.
pub(crate) async fn find(
    log: &TimedLog,
    bounds: &Bounds,
    seq: u64,
) -> Result<Option<Found>, LogError> {
    if seq == 0 {
        let check = (bounds.first == 1).then(check_before_first_entry);
        return Ok(check.map(Found::Check));
    }
    if seq + 1 == bounds.first {
        return Ok(bounds.floor.map(Found::Check));
    }
    match log.read(seq - 1, seq, &[], 1).await {
        Ok(page) => Ok(page.entries.into_iter().next().map(Found::Entry)),
        Err(error) => match error.kind() {
            LogErrorKind::Trimmed { .. } | LogErrorKind::Rewound { .. } => Ok(None),
            LogErrorKind::TooLarge
            | LogErrorKind::Refused
            | LogErrorKind::Silent
            | LogErrorKind::Lost => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::entry::tests::HASHED;
    use crate::timed_log::HubRuntime;
    use crate::{ChannelName, Draft, Log, MemoryLog};

    const BYTES: usize = 1 << 20;

    #[tokio::test]
    async fn the_newest_entry_is_hashed_once_however_often_it_is_checked() {
        let memory = MemoryLog::default();
        let runtime = HubRuntime::default();
        let log = TimedLog::new(Arc::new(memory.clone()), Duration::from_secs(1), runtime);
        let draft = Draft::event(ChannelName::new("a").unwrap(), vec![b'x'; BYTES]);
        memory.append(draft.clone()).await.unwrap();
        let life = begin_life(&log).await.unwrap();
        let before = HASHED.get();
        for _ in 0..1_000 {
            let (continuity, _) = continuity(&log, &life).await.unwrap();
            assert_eq!(continuity, Continuity::Whole);
        }
        let hashed = HASHED.get() - before;
        assert!(hashed <= BYTES, "{hashed} bytes");
        // Another entry with the same bytes at the same place.
        memory.rewind(0);
        memory.append(draft).await.unwrap();
        let (continuity, _) = continuity(&log, &life).await.unwrap();
        assert_eq!(continuity, Continuity::Broken);
    }
}
