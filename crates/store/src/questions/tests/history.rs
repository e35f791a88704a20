//! `History`: a random history of a log in memory, and what a store knows after it.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use futures_util::{FutureExt, StreamExt};
use tidings_hub::engine::Removed;
use tidings_hub::{ChannelName, Draft, Entry, EntryKind, Log, MemoryLog, Place, Retention};
use tidings_proto::{EntryCheck, Epoch};

use crate::channel_row::{ChannelId, ChannelRow};
use crate::index_row::IndexRow;

pub(super) struct History {
    pub(super) memory: MemoryLog,
    pub(super) epoch: Epoch,
    /// All entries that were appended, and how many events their channels then had.
    pub(super) entries: Vec<Entry>,
    pub(super) ids: Vec<(ChannelId, u64)>,
    pub(super) known: Known,
}

/// What a store knows.
#[derive(Default)]
pub(super) struct Known {
    pub(super) channels: BTreeMap<ChannelName, Channel>,
    pub(super) floor: u64,
    pub(super) removed: Removed,
    pub(super) forgotten_through: u64,
    pub(super) ends_since: u64,
    remembered: usize,
    next_id: ChannelId,
}

pub(super) struct Channel {
    pub(super) row: ChannelRow,
    /// All of them, also those of removed entries.
    pub(super) index: Vec<IndexRow>,
}

impl History {
    /// Appends and trims at random. The clock must be paused.
    pub(super) async fn random(channels: usize, rng: &mut Rng) -> Self {
        let remembered = *rng.choice(&[0, 1, 2, 3, 1_000]).unwrap();
        let retention = Retention::in_memory().remembered_channels(remembered as u64);
        let memory = MemoryLog::new(retention);
        let bounds = memory.bounds().await.unwrap();
        let mut history = Self {
            epoch: bounds.epoch.clone(),
            entries: Vec::new(),
            ids: Vec::new(),
            known: Known {
                remembered,
                next_id: 1,
                ends_since: 1,
                ..Known::default()
            },
            memory,
        };
        let mut tail = history.memory.tail(&bounds.newest());
        for _ in 0..rng.usize(0..channels * 10) {
            history.step(channels, rng).await;
            while let Some(batch) = tail.next().now_or_never() {
                batch
                    .unwrap()
                    .unwrap()
                    .into_iter()
                    .for_each(|entry| history.add(entry));
            }
        }
        let bounds = history.memory.bounds().await.unwrap();
        assert_eq!(bounds.ends_since, history.known.ends_since);
        assert_eq!(bounds.floor.seq, history.known.floor);
        history
    }

    async fn step(&mut self, channels: usize, rng: &mut Rng) {
        if rng.u8(..) < 20 && !self.entries.is_empty() {
            let first =
                self.known.floor + rng.u64(0..(self.entries.len() as u64).div_ceil(2).max(2));
            self.memory.trim(first);
            self.known.trim(first, &self.entries);
            return;
        }
        let name = ["a", "a/b", "a/b/c", "ab", "a0", "a-b"];
        let at = rng.usize(0..channels);
        let name = name
            .get(at)
            .map_or_else(|| format!("a/{at}"), |&name| name.into());
        let name = ChannelName::new(name).unwrap();
        let size = if rng.u8(..) < 3 {
            rng.usize(0..300_000)
        } else {
            rng.usize(0..20)
        };
        let draft = if rng.u8(..) < 20 {
            Draft::end(name)
        } else {
            Draft::event(name, vec![rng.u8(..); size])
        };
        if rng.bool() {
            tokio::time::advance(Duration::from_nanos(rng.u64(0..4))).await;
        }
        // It fails after the end of the channel.
        drop(self.memory.append(draft).await);
    }

    fn add(&mut self, entry: Entry) {
        let known = &mut self.known;
        let row = known.row(&entry.channel);
        let (id, known_since) = (known.next_id, known.forgotten_through);
        let channel = row.unwrap_or_else(|| {
            known.next_id += 1;
            let row = ChannelRow {
                id,
                name: entry.channel.clone(),
                known_since,
                end: None,
            };
            let channel = Channel {
                row,
                index: Vec::new(),
            };
            known
                .channels
                .entry(entry.channel.clone())
                .or_insert(channel);
            id
        });
        let known = known.channels.get_mut(&entry.channel).unwrap();
        let before = known.index.last().map_or(0, |row| row.nth);
        let nth = before + u64::from(entry.kind == EntryKind::Event);
        if entry.kind == EntryKind::End {
            known.row.end = Some(entry.seq);
        }
        let (seq, time) = (entry.seq, entry.time);
        known.index.push(IndexRow {
            channel,
            seq,
            nth,
            time,
        });
        self.ids.push((channel, nth));
        self.entries.push(entry);
    }

    /// The names of all channels, and one more.
    pub(super) fn names(&self) -> Vec<ChannelName> {
        let entries = self.entries.iter();
        let mut names: Vec<_> = entries.map(|entry| entry.channel.clone()).collect();
        names.push(ChannelName::from_static("never"));
        names.sort();
        names.dedup();
        names
    }

    pub(super) fn place(&self, seq: u64) -> Place {
        let at = usize::try_from(seq).unwrap().checked_sub(1);
        match at.map(|at| self.entries.get(at)) {
            None => Place::start(),
            Some(None) => Place {
                seq,
                check: EntryCheck::from_hash(seq),
            },
            Some(Some(entry)) => Place {
                seq,
                check: entry.check(),
            },
        }
    }
}

impl Known {
    fn row(&self, name: &ChannelName) -> Option<ChannelId> {
        self.channels.get(name).map(|channel| channel.row.id)
    }

    fn trim(&mut self, first: u64, entries: &[Entry]) {
        let floor = (first.saturating_sub(1)).min(entries.len() as u64 - 1);
        for entry in entries {
            if entry.seq > self.floor && entry.seq <= floor && entry.kind == EntryKind::Event {
                self.removed.count += 1;
                (self.removed.seq, self.removed.time) = (entry.seq, entry.time);
            }
        }
        self.floor = self.floor.max(floor);
        for is_ended in [true, false] {
            self.forget(is_ended);
        }
    }

    fn forget(&mut self, is_ended: bool) {
        let gone = self.channels.values().filter_map(|channel| {
            let newest = channel.index.last().unwrap().seq;
            let is_gone = newest <= self.floor && channel.row.end.is_some() == is_ended;
            is_gone.then(|| (newest, channel.row.name.clone()))
        });
        let mut gone: Vec<_> = gone.collect();
        gone.sort();
        let over = gone.len().saturating_sub(self.remembered);
        for (_, name) in &gone[..over] {
            let channel = self.channels.remove(name).unwrap();
            if let Some(end) = channel.row.end {
                self.ends_since = end + 1;
            }
            let mut newest_first = channel.index.iter().rev();
            let newest = newest_first.find(|row| channel.row.end != Some(row.seq));
            if let Some(newest) = newest {
                self.forgotten_through = self.forgotten_through.max(newest.seq);
            }
        }
    }
}
