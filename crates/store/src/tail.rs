//! `StoreTail`: the stream of all entries after a place, including those appended later.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use tidings_hub::{Entry, LogError, Place, Tail};
use tidings_proto::{Epoch, Position};

use crate::failure::Outcome;
use crate::questions::Order;
use crate::readers::{Snapshot, ask};
use crate::recent_entries::{BATCH_BYTES, BATCH_ENTRIES};
use crate::shared::Shared;

struct StoreTail {
    shared: Arc<Shared>,
    epoch: Epoch,
    /// The number of the last entry that was returned.
    seq: u64,
}

/// The next step of a tail.
enum Next {
    Return(Vec<Entry>),
    /// Read the entries from the disk, up to this one.
    Read(u64),
    Wait,
}

/// A tail from this position. The entries published now decide whether the log holds the position.
pub(crate) fn stream(shared: Arc<Shared>, after: &Position) -> Tail {
    let start = Start::of(&shared, after);
    let tail = StoreTail {
        shared,
        epoch: after.epoch.clone(),
        seq: after.seq,
    };
    let start = start.map(|start| (tail, start));
    Box::pin(stream::unfold(Some(start), async |tail| {
        let (mut tail, start) = match tail? {
            Ok(tail) => tail,
            Err(error) => return Some((Err(error), None)),
        };
        let batch = match tail.verify(start).await {
            Ok(()) => tail.next().await,
            Err(error) => Err(error),
        };
        let next = batch.is_ok().then_some(Ok((tail, Start::Verified)));
        Some((batch, next))
    }))
}

/// The position after which a tail begins: verified or not.
enum Start {
    Verified,
    /// The disk must be asked whether it has this entry.
    Unverified(Place),
}

impl Start {
    fn of(shared: &Shared, after: &Position) -> Result<Self, LogError> {
        let published = shared.published();
        let bounds = published.bounds()?;
        let place = Place::from(after);
        let is_start = place.seq != 0 || place == Place::start();
        let rewound = || LogError::rewound(bounds.last.seq);
        if after.epoch != bounds.epoch || place.seq > bounds.last.seq || !is_start {
            return Err(rewound());
        }
        let known = [bounds.floor, bounds.last];
        match known.iter().find(|known| known.seq == place.seq) {
            Some(known) if *known != place => Err(rewound()),
            _ if place.seq < bounds.floor.seq => Err(LogError::trimmed(bounds.floor.seq + 1)),
            Some(_) => Ok(Self::Verified),
            None if place.seq == 0 => Ok(Self::Verified),
            None => Ok(Self::Unverified(place)),
        }
    }
}

impl StoreTail {
    async fn verify(&self, start: Start) -> Result<(), LogError> {
        let Start::Unverified(place) = start else {
            return Ok(());
        };
        let position = place.in_epoch(&self.epoch);
        ask(&self.shared, move |snapshot| snapshot.verify(&position)).await
    }

    /// Waits for the next batch.
    async fn next(&mut self) -> Result<Vec<Entry>, LogError> {
        loop {
            // Registered before the look, so an append after the look still wakes it.
            let changed = self.shared.changed.notified();
            let batch = match self.look()? {
                Next::Return(batch) => batch,
                Next::Read(last) => self.read(last).await?,
                Next::Wait => {
                    changed.await;
                    continue;
                }
            };
            if let Some(newest) = batch.last() {
                self.seq = newest.seq;
                return Ok(batch);
            }
        }
    }

    fn look(&self) -> Result<Next, LogError> {
        let published = self.shared.published();
        let bounds = published.bounds()?;
        if bounds.epoch != self.epoch {
            return Err(other_epoch());
        }
        if self.seq < bounds.floor.seq {
            return Err(LogError::trimmed(bounds.floor.seq + 1));
        }
        if self.seq > bounds.last.seq {
            return Err(LogError::rewound(bounds.last.seq));
        }
        if self.seq == bounds.last.seq {
            return Ok(Next::Wait);
        }
        let recent = published.recent.after(self.seq);
        Ok(recent.map_or(Next::Read(bounds.last.seq), Next::Return))
    }

    async fn read(&self, last: u64) -> Result<Vec<Entry>, LogError> {
        let (after, epoch) = (self.seq, self.epoch.clone());
        let batch = ask(&self.shared, move |snapshot| {
            if snapshot.state.epoch != epoch {
                return Err(other_epoch().into());
            }
            batch(snapshot, after, last)
        });
        batch.await
    }
}

/// The next entries after this number, up to `last`: at most one batch, and at least one entry.
fn batch(snapshot: &Snapshot<'_>, after: u64, last: u64) -> Outcome<Vec<Entry>> {
    if after < snapshot.floor() {
        return Err(LogError::trimmed(snapshot.floor() + 1).into());
    }
    let mut bytes = 0;
    let mut batch = Vec::new();
    let range = (after, last);
    snapshot.each_entry(
        range,
        Order::OldestFirst,
        BATCH_ENTRIES,
        |mut entry, body| {
            let name = snapshot.name_of(&entry)?;
            entry.body = Bytes::copy_from_slice(body);
            batch.push(entry.into_entry(name));
            bytes += body.len();
            Ok(if bytes >= BATCH_BYTES {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        },
    )?;
    Ok(batch)
}

fn other_epoch() -> LogError {
    LogError::lost("the epoch of the log has changed")
}

#[cfg(test)]
mod tests;
