//! `State`: the entries of a log that scans, and its answers.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tidings_hub::{
    Abilities, Appended, Bounds, ChannelName, Draft, Entry, EntryKind, KEY_LIFETIME, Located,
    LogError, PAGE_BYTES, Page, Place, Retention, Scope, Start, StoredChannel, random_epoch,
};
use tidings_proto::{EntryCheck, Epoch, Position};
use tokio::time::Instant;

/// The maximum number of entries in a batch of a tail.
const BATCH: usize = 1_024;

pub(super) struct State {
    abilities: Abilities,
    retention: Retention,
    epoch: Epoch,
    clock: Clock,
    /// Each entry that was appended, and its check.
    entries: Vec<(Entry, EntryCheck)>,
    /// How many of them the retention has removed.
    removed: usize,
    /// The cost of the others.
    bytes: u64,
    /// Ends before this number are forgotten.
    ends_since: u64,
    keys: HashMap<(ChannelName, Arc<str>), (u64, Instant)>,
    /// The next entry gets at least this time.
    least_time: u64,
}

impl State {
    pub(super) fn new(abilities: Abilities, retention: Retention) -> Self {
        Self {
            abilities,
            retention,
            epoch: random_epoch(),
            clock: Clock::start(),
            entries: Vec::new(),
            removed: 0,
            bytes: 0,
            ends_since: 1,
            keys: HashMap::new(),
            least_time: 0,
        }
    }

    pub(super) fn abilities(&self) -> Abilities {
        self.abilities
    }

    pub(super) fn bounds(&self) -> Bounds {
        let last = self.place(self.last());
        Bounds::new(self.epoch.clone(), self.floor(), last, self.ends_since)
    }

    pub(super) fn renew_epoch(&mut self, expected: &Epoch) -> Epoch {
        if self.epoch == *expected {
            self.epoch = random_epoch();
        }
        self.epoch.clone()
    }

    fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    fn floor(&self) -> Place {
        self.place(self.removed as u64)
    }

    fn place(&self, seq: u64) -> Place {
        let Some(at) = seq.checked_sub(1) else {
            return Place::start();
        };
        let check = self.entries[index(at)].1;
        Place { seq, check }
    }

    fn held(&self) -> impl Iterator<Item = &Entry> {
        self.entries[self.removed..].iter().map(|(entry, _)| entry)
    }

    /// The entries after `after`, removed or held, up to the scope's newest position.
    fn after(&self, after: u64, scope: Scope<'_>) -> impl DoubleEndedIterator<Item = &Entry> {
        let end = index(scope.newest.seq.min(self.last()));
        let from = index(after.min(end as u64));
        self.entries[from..end].iter().map(|(entry, _)| entry)
    }

    pub(super) fn append(&mut self, draft: Draft) -> Result<Appended, LogError> {
        let seq = self.last() + 1;
        let key = draft.key.clone().map(|key| (draft.channel.clone(), key));
        if let Some((first, stored)) = key.as_ref().and_then(|key| self.keys.get(key))
            && stored.elapsed() < KEY_LIFETIME
        {
            return Ok(Appended::repeat(*first));
        }
        if self.abilities.refuses_after_end && self.end(&draft.channel).is_some() {
            return Err(LogError::ended());
        }
        if let Some(key) = key {
            self.keys.insert(key, (seq, Instant::now()));
        }
        self.least_time = self.least_time.max(self.clock.now());
        let entry = Entry::new(seq, self.least_time, draft);
        let check = entry.check();
        self.bytes += entry.cost();
        self.entries.push((entry, check));
        self.expire();
        Ok(Appended::new(seq))
    }

    /// Removes the oldest entries that exceed the retention now.
    pub(super) fn expire(&mut self) {
        let kept = self.retention;
        let age = kept.max_age.map_or(u64::MAX, nanos);
        let oldest = self.clock.now().saturating_sub(age);
        self.remove_while(|state, entry| {
            let events = state.last() - state.removed as u64;
            state.bytes > kept.max_bytes
                || kept.max_events.is_some_and(|max| events > max)
                || entry.time < oldest
        });
    }

    /// Removes the oldest entry while the condition holds, but never the newest entry.
    fn remove_while(&mut self, is_over: impl Fn(&Self, &Entry) -> bool) {
        while self.removed + 1 < self.entries.len() && is_over(self, &self.entries[self.removed].0)
        {
            let entry = &mut self.entries[self.removed].0;
            self.bytes -= entry.cost();
            entry.body.clear();
            self.removed += 1;
            self.forget_ends();
        }
    }

    fn forget_ends(&mut self) {
        let removed = self.removed as u64;
        if !self.abilities.remembers_ends {
            self.ends_since = removed + 1;
        } else if self.entries[self.removed - 1].0.kind == EntryKind::End {
            let mut ends = self.ends();
            ends.retain(|(_, seq)| *seq <= removed);
            let limit = index(self.retention.remembered_channels);
            let forgotten = ends.len().saturating_sub(limit);
            if let Some((_, newest)) = ends[..forgotten].last() {
                self.ends_since = newest + 1;
            }
        }
    }

    /// Removes the entries before `first`.
    pub(super) fn trim(&mut self, first: u64) {
        self.remove_while(|_, entry| entry.seq < first);
    }

    /// Removes the entries after `last`.
    pub(super) fn rewind(&mut self, last: u64) {
        let last = last.max(self.removed as u64);
        self.entries.truncate(index(last));
        self.bytes = self.held().map(Entry::cost).sum();
        self.keys.retain(|_, (seq, _)| *seq <= last);
        // New entries under the same numbers must have other checks, even if the clock has not moved.
        self.least_time += 1;
    }

    /// The first end of each channel that is not forgotten, in order.
    pub(super) fn ends(&self) -> Vec<(ChannelName, u64)> {
        let known = self.entries[index(self.ends_since - 1).min(self.entries.len())..].iter();
        let ends = known.filter(|(entry, _)| entry.kind == EntryKind::End);
        let mut seen = HashSet::new();
        let first = ends.filter(|(entry, _)| seen.insert(&entry.channel));
        let ends = first.map(|(entry, _)| (entry.channel.clone(), entry.seq));
        ends.collect()
    }

    fn end(&self, channel: &ChannelName) -> Option<u64> {
        let ends = self.ends();
        ends.iter().find(|end| end.0 == *channel).map(|end| end.1)
    }

    pub(super) fn channel(&self, name: &ChannelName) -> Option<StoredChannel> {
        let newest = |entry: &&Entry| entry.channel == *name && entry.kind == EntryKind::Event;
        let newest = self.held().filter(newest).last();
        let newest = newest.map(|entry| self.place(entry.seq).in_epoch(&self.epoch));
        let end = self.end(name);
        let is_known = end.is_some() || self.held().any(|entry| entry.channel == *name);
        is_known.then(|| StoredChannel::new(name.clone(), newest, end))
    }

    pub(super) fn channels(&self, after: Option<&ChannelName>, limit: usize) -> Vec<StoredChannel> {
        let held = self.held().map(|entry| entry.channel.clone());
        let ended = self.ends().into_iter().map(|(name, _)| name);
        let names: BTreeSet<_> = held.chain(ended).collect();
        let names = names.iter().filter(|name| Some(*name) > after);
        let channels = names.filter_map(|name| self.channel(name));
        channels.take(limit.max(1)).collect()
    }

    /// Whether the log holds the entry at this place, or has removed it by its retention.
    fn holds(&self, place: Place) -> bool {
        place.seq <= self.last()
            && (place.seq < self.removed as u64 || self.place(place.seq) == place)
    }

    pub(super) fn verify(&self, newest: &Position) -> Result<(), LogError> {
        if newest.epoch == self.epoch && self.holds(Place::from(newest)) {
            Ok(())
        } else {
            Err(LogError::rewound(self.last()))
        }
    }

    /// How many events of the scope after `after` the retention has removed. Without the ability to know
    /// that, all removed entries count.
    fn lost(&self, after: u64, scope: Scope<'_>) -> u64 {
        let removed = self.after(after, scope);
        let removed = removed.take_while(|entry| entry.seq <= self.removed as u64);
        let knows = self.abilities.loss_by_channel;
        removed
            .filter(|entry| !knows || is_event(entry, scope))
            .count() as u64
    }

    pub(super) fn locate(&self, start: Start, scope: Scope<'_>) -> Result<Located, LogError> {
        self.verify(scope.newest)?;
        let floor = self.removed as u64;
        let held = |seq: u64, missed| Located::Held {
            place: self.place(seq.max(floor)),
            missed,
        };
        Ok(match start {
            Start::After(place) if !self.holds(place) => Located::Unknown { last: self.last() },
            Start::After(place) => match self.lost(place.seq, scope) {
                0 => Located::Held { place, missed: 0 },
                missed => held(floor, missed),
            },
            Start::Earliest => held(floor, self.lost(0, scope)),
            Start::Time(time) => {
                let first = self.after(0, scope).find(|entry| entry.time >= time);
                let before = first.map_or(scope.newest.seq, |entry| entry.seq - 1);
                held(before, self.lost(before, scope))
            }
            Start::Last(0) => held(scope.newest.seq, 0),
            Start::Last(count) => {
                let events = self.after(floor, scope).rev();
                let events = events.filter(|entry| is_event(entry, scope)).take(count);
                held(events.last().map_or(floor, |entry| entry.seq - 1), 0)
            }
            Start::Skip { after, to } => {
                let to = to.min(scope.newest.seq);
                let skipped = self.after(after.max(floor), scope);
                let skipped = skipped.take_while(|entry| entry.seq <= to);
                let skipped = skipped.filter(|entry| is_event(entry, scope)).count();
                held(to, self.lost(after, scope) + skipped as u64)
            }
        })
    }

    pub(super) fn read(
        &self,
        after: u64,
        limit: usize,
        scope: Scope<'_>,
    ) -> Result<Page, LogError> {
        self.verify(scope.newest)?;
        let floor = self.removed as u64;
        if self.lost(after, scope) > 0 {
            return Err(LogError::trimmed(floor + 1));
        }
        let mut page = Page::new(Vec::new(), after.max(scope.newest.seq));
        let mut bytes = 0;
        let entries = self.after(after.max(floor), scope);
        for entry in entries.filter(|entry| scope.covers(&entry.channel)) {
            bytes += entry.body.len();
            let is_full = page.entries.len() >= limit.max(1) || bytes > PAGE_BYTES;
            if is_full && !page.entries.is_empty() {
                page.through = entry.seq - 1;
                break;
            }
            page.entries.push(entry.clone());
        }
        Ok(page)
    }

    /// The next batch of a tail; `None` if there is no new entry.
    pub(super) fn batch(
        &self,
        cursor: &Position,
    ) -> Result<Option<(Vec<Entry>, Position)>, LogError> {
        if cursor.epoch != self.epoch {
            return Err(LogError::lost("the epoch of the log has changed"));
        }
        self.verify(cursor)?;
        if cursor.seq < self.removed as u64 {
            return Err(LogError::trimmed(self.removed as u64 + 1));
        }
        let next = self.entries[index(cursor.seq)..].iter().take(BATCH);
        let batch: Vec<_> = next.map(|(entry, _)| entry.clone()).collect();
        Ok(batch.last().map(|newest| newest.seq).map(|newest| {
            let newest = self.place(newest).in_epoch(&self.epoch);
            (batch, newest)
        }))
    }
}

fn is_event(entry: &Entry, scope: Scope<'_>) -> bool {
    entry.kind == EntryKind::Event && scope.covers(&entry.channel)
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The wall clock when the log was made, plus the time since then, which a test can pause.
struct Clock {
    base: u64,
    start: Instant,
}

impl Clock {
    fn start() -> Self {
        #[allow(
            clippy::disallowed_methods,
            reason = "an entry has the time at which it was stored"
        )]
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            base: nanos(wall.unwrap_or_default()),
            start: Instant::now(),
        }
    }

    /// In nanoseconds since 1970.
    fn now(&self) -> u64 {
        self.base.saturating_add(nanos(self.start.elapsed()))
    }
}
