//! `MemoryTail`: the stream of all entries after a place, including those appended later.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use futures_util::stream;
use tidings_proto::{Epoch, Position};

use super::SharedLog;
use super::held::TailCursor;
use crate::{Entry, LogError, Tail};

pub(super) struct MemoryTail {
    shared: Arc<SharedLog>,
    epoch: Epoch,
    cursor: TailCursor,
}

impl MemoryTail {
    pub(super) fn stream(shared: Arc<SharedLog>, after: &Position) -> Tail {
        let tail = Self::start(shared, after);
        Box::pin(stream::unfold(Some(tail), async |tail| {
            let mut tail = match tail? {
                Ok(tail) => tail,
                Err(error) => return Some((Err(error), None)),
            };
            let batch = tail.next().await;
            let next = batch.is_ok().then_some(Ok(tail));
            Some((batch, next))
        }))
    }

    fn start(shared: Arc<SharedLog>, after: &Position) -> Result<Self, LogError> {
        let mut state = shared.look();
        state.verify(after)?;
        let cursor = state.held.cursor(after.seq)?;
        let epoch = state.epoch.clone();
        drop(state);
        Ok(Self {
            shared,
            epoch,
            cursor,
        })
    }

    /// The next batch, once there is one.
    async fn next(&mut self) -> Result<Vec<Entry>, LogError> {
        loop {
            // Registered before the look, so an append after the look still wakes it.
            let changed = self.shared.changed.notified();
            let batch = self.look()?;
            if let Some(newest) = batch.last() {
                self.cursor = TailCursor {
                    seq: newest.seq,
                    time: newest.time,
                };
                return Ok(batch);
            }
            changed.await;
        }
    }

    fn look(&self) -> Result<Vec<Entry>, LogError> {
        let state = self.shared.look();
        if state.epoch == self.epoch {
            state.held.batch(self.cursor)
        } else {
            Err(LogError::lost(OtherEpoch))
        }
    }
}

#[derive(Debug)]
struct OtherEpoch;

impl fmt::Display for OtherEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the epoch of the log has changed")
    }
}

impl StdError for OtherEpoch {}
