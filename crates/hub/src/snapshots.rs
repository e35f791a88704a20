//! `Snapshots`: the snapshots of a hub that their subscribers have not taken yet, within a limit.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidings_proto::{EncodedEvents, Event, EventId};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::SubscribeError;
use crate::resume::SnapshotHook;
use crate::tape::BLOCK_BYTES;
use crate::turns::Turn;

/// The maximum size of all snapshots that wait for their subscribers, in encoded bytes. The newest one
/// stays, whatever its size.
const MAX_BYTES: usize = 64 << 20;
/// How long a new snapshot waits for room.
const PATIENCE: Duration = Duration::from_secs(2);

/// All snapshots of a hub that wait for their subscribers.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    waiting: Mutex<Waiting>,
    /// Notified when a snapshot takes less room.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The rest of each snapshot, by number, so the oldest comes first.
    blocks: BTreeMap<u64, VecDeque<EncodedEvents>>,
    /// The size of all.
    bytes: usize,
    next_number: u64,
}

/// The rest of a snapshot. Dropped with its subscriber.
#[derive(Debug)]
pub(crate) struct Snapshot {
    snapshots: Arc<Snapshots>,
    number: u64,
}

/// The next part of a snapshot.
#[derive(Debug)]
pub(crate) enum Part {
    Events(EncodedEvents),
    End,
    /// The hub has dropped the rest, because newer snapshots needed the room.
    Dropped,
}

impl Snapshots {
    /// Waits until there is room for another snapshot, or drops the oldest ones after [`PATIENCE`].
    pub(crate) async fn make_room(&self) {
        let has_room = async {
            loop {
                let freed = self.freed.notified();
                if self.lock().bytes < MAX_BYTES {
                    return;
                }
                freed.await;
            }
        };
        if timeout(PATIENCE, has_room).await.is_err() {
            let dropped = self.lock().drop_oldest(MAX_BYTES - 1);
            drop(dropped);
        }
    }

    /// Makes a snapshot. Only its last event has an ID, so a client that is cut off in the middle receives
    /// another snapshot when it reconnects.
    pub(crate) async fn make(
        self: &Arc<Self>,
        turn: Turn,
        hook: &SnapshotHook,
        id: &EventId,
    ) -> Result<Snapshot, SubscribeError> {
        let blocks = encode(hook().await?, id);
        let mut waiting = self.lock();
        let number = waiting.next_number;
        waiting.next_number += 1;
        waiting.bytes += size(&blocks);
        waiting.blocks.insert(number, blocks);
        let dropped = waiting.drop_oldest(MAX_BYTES);
        drop(waiting);
        drop((dropped, turn));
        Ok(Snapshot {
            snapshots: Arc::clone(self),
            number,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Removes the oldest snapshots until all take at most `max` bytes, or only the newest is left.
    fn drop_oldest(&mut self, max: usize) -> Vec<VecDeque<EncodedEvents>> {
        let mut dropped = Vec::new();
        while self.bytes > max
            && self.blocks.len() > 1
            && let Some((_, oldest)) = self.blocks.pop_first()
        {
            self.bytes -= size(&oldest);
            dropped.push(oldest);
        }
        dropped
    }
}

impl Snapshot {
    /// Takes the next block.
    pub(crate) fn next(&self) -> Part {
        let mut waiting = self.snapshots.lock();
        let Waiting { blocks, bytes, .. } = &mut *waiting;
        match blocks.get_mut(&self.number).map(VecDeque::pop_front) {
            Some(Some(events)) => {
                *bytes -= events.len();
                drop(waiting);
                self.snapshots.freed.notify_waiters();
                Part::Events(events)
            }
            Some(None) => Part::End,
            None => Part::Dropped,
        }
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let mut waiting = self.snapshots.lock();
        let rest = waiting.blocks.remove(&self.number);
        waiting.bytes -= rest.as_ref().map_or(0, size);
        drop(waiting);
        if rest.is_some_and(|rest| !rest.is_empty()) {
            self.snapshots.freed.notify_waiters();
        }
    }
}

fn size(blocks: &VecDeque<EncodedEvents>) -> usize {
    blocks.iter().map(EncodedEvents::len).sum()
}

/// Encodes the events in blocks, and gives the last one this ID.
fn encode(mut events: Vec<Event>, id: &EventId) -> VecDeque<EncodedEvents> {
    for event in &mut events {
        event.id = None;
    }
    match events.last_mut() {
        Some(last) => last.id = Some(id.clone()),
        None => events.push(Event::default().id(id.clone())),
    }
    let mut blocks = VecDeque::new();
    let mut events = events.into_iter().peekable();
    while events.peek().is_some() {
        let mut bytes = 0;
        let block = std::iter::from_fn(|| {
            let event = events.next_if(|_| bytes < BLOCK_BYTES)?;
            bytes += event.data.as_ref().map_or(0, String::len);
            Some(event)
        });
        blocks.push_back(block.collect());
    }
    blocks
}
