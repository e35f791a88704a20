//! The `Ledger`: an append-only list of all entries, and the history of the log. A hub is compared with
//! it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use tidings_hub::{ChannelName, Entry, EntryKind, Pattern};
use tidings_proto::{EntryCheck, Epoch, Position};

/// A shared handle to the ledger, for the log that writes it and the judges that read it.
#[derive(Clone)]
pub(crate) struct Book(Arc<Mutex<Ledger>>);

impl Book {
    pub(crate) fn new(epoch: Epoch, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Ledger::new(epoch, seed))))
    }

    pub(crate) fn open(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All entries that were ever appended, also those that the log has trimmed, or lost in a rewind. Times
/// are counts of changes.
pub(crate) struct Ledger {
    pub(crate) records: Vec<Record>,
    /// The records of the log's entries by `seq - 1`, also the trimmed ones, and without the lost ones.
    current: Vec<usize>,
    /// The oldest entry that is not trimmed.
    pub(crate) first: u64,
    /// The largest `seq` that the log ever held.
    pub(crate) peak: u64,
    /// The epochs of the log, with the times in which each was current.
    epochs: Vec<(Epoch, Range<u64>)>,
    by_seq: HashMap<(u64, EntryCheck), usize>,
    /// The records of all ends, without late ones.
    ends: Vec<usize>,
    /// The records that the log returned for the appends of each token.
    pub(crate) answers: HashMap<u64, Vec<usize>>,
    /// For each snapshot: the newest `seq` when it was made, and its number of events.
    pub(crate) snapshots: Vec<(u64, u64)>,
    /// The number of changes so far: the clock of the model.
    pub(crate) now: u64,
    /// The time of the last rewind or change of epoch.
    pub(crate) last_break: u64,
    /// The time of the last trim.
    pub(crate) last_trim: u64,
    /// The last time at which all hubs had noticed all changes.
    pub(crate) last_rest: u64,
    /// Whether the log was rewound, and trimmed the evidence before the hubs could notice it. Then no
    /// hub can know the history of the log.
    pub(crate) is_history_unknown: bool,
    /// Whether the log loses its next answer.
    pub(crate) loses: bool,
    /// Whether the log has lost an answer: a hub may notice changes late.
    pub(crate) has_lost: bool,
    /// The last time at which a hub was drained, or crashed.
    pub(crate) last_drain: u64,
    pub(crate) rng: Rng,
}

/// An entry that was appended.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) seq: u64,
    pub(crate) check: EntryCheck,
    pub(crate) channel: ChannelName,
    pub(crate) body_length: usize,
    /// The number in its text; 0 for an end.
    pub(crate) token: u64,
    pub(crate) audience: Audience,
    /// The record of the entry before it.
    before: Option<usize>,
    /// When it was appended.
    pub(crate) added: u64,
    /// When a rewind removed it; `u64::MAX` if none has.
    pub(crate) lost: u64,
}

/// The subscribers that must receive an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// All subscribers of its channel.
    All,
    /// None, for ever: the log held an end of its channel when it was appended.
    Late,
    /// None: it is the end of its channel.
    IsEnd,
}

/// The two records are not of one history.
pub(crate) struct OtherHistory;

impl Ledger {
    fn new(epoch: Epoch, seed: u64) -> Self {
        Self {
            records: Vec::new(),
            current: Vec::new(),
            first: 1,
            peak: 0,
            epochs: vec![(epoch, 0..u64::MAX)],
            by_seq: HashMap::new(),
            ends: Vec::new(),
            answers: HashMap::new(),
            snapshots: Vec::new(),
            now: 1,
            last_break: 0,
            last_trim: 0,
            last_rest: 0,
            is_history_unknown: false,
            loses: false,
            has_lost: false,
            last_drain: 0,
            rng: Rng::with_seed(seed),
        }
    }

    /// Whether the answer of this call is lost.
    pub(crate) fn take_loss(&mut self) -> bool {
        let loses = std::mem::take(&mut self.loses);
        self.has_lost |= loses;
        loses
    }

    /// Advances the clock for a change.
    pub(crate) fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    pub(crate) fn last(&self) -> u64 {
        self.current.len() as u64
    }

    pub(crate) fn epoch(&self) -> &Epoch {
        &self.epochs[self.epochs.len() - 1].0
    }

    /// Records an entry that was appended.
    pub(crate) fn handle_entry(&mut self, entry: &Entry, token: u64, first: u64) {
        assert_eq!(
            entry.seq,
            self.last() + 1,
            "entries are numbered without holes"
        );
        // Before the log has removed other entries for this one.
        let audience = self.audience(entry);
        self.handle_first(first);
        let record = Record {
            seq: entry.seq,
            check: entry.check(),
            channel: entry.channel.clone(),
            body_length: entry.body.len(),
            token,
            audience,
            before: self.current.last().copied(),
            added: self.tick(),
            lost: u64::MAX,
        };
        let at = self.records.len();
        self.by_seq.insert((record.seq, record.check), at);
        if audience == Audience::IsEnd {
            self.ends.push(at);
        }
        self.records.push(record);
        self.current.push(at);
        self.peak = self.peak.max(self.last());
    }

    fn audience(&self, entry: &Entry) -> Audience {
        match entry.kind {
            _ if self.held_ends().any(|end| end.channel == entry.channel) => Audience::Late,
            EntryKind::Event => Audience::All,
            EntryKind::End => Audience::IsEnd,
        }
    }

    /// Records that the log holds no entry before `first`.
    pub(crate) fn handle_first(&mut self, first: u64) {
        if first > self.first {
            self.first = first;
            self.is_history_unknown |= self.last_break > self.last_rest;
            self.last_trim = self.tick();
        }
    }

    pub(crate) fn handle_rewind(&mut self, last: u64) {
        let now = self.tick();
        self.last_break = now;
        let kept = self.index(last).min(self.current.len());
        for at in self.current.drain(kept..) {
            self.records[at].lost = now;
        }
    }

    pub(crate) fn handle_epoch(&mut self, epoch: Epoch) {
        if epoch == *self.epoch() {
            return;
        }
        let now = self.tick();
        self.last_break = now;
        if let Some((_, past)) = self.epochs.last_mut() {
            past.end = now;
        }
        self.epochs.push((epoch, now..u64::MAX));
    }

    fn index(&self, seq: u64) -> usize {
        usize::try_from(seq).unwrap()
    }

    /// The record of the entry `seq` in the current history.
    pub(crate) fn at(&self, seq: u64) -> Option<usize> {
        let index = self.index(seq).checked_sub(1)?;
        self.current.get(index).copied()
    }

    /// The record at this position; `None` for the position before the first entry. An error if the log
    /// never had this position.
    pub(crate) fn find(&self, position: &Position) -> Result<Option<usize>, String> {
        let epoch = self.epochs.iter().find(|epoch| epoch.0 == position.epoch);
        let Some((_, during)) = epoch else {
            return Err(format!("{position} is of no epoch of the log"));
        };
        let is_nothing = [0, 1].map(EntryCheck::from_hash).contains(&position.check);
        if position.seq == 0 && is_nothing {
            return Ok(None);
        }
        let Some(&at) = self.by_seq.get(&(position.seq, position.check)) else {
            return Err(format!("{position} was never in the log"));
        };
        let record = &self.records[at];
        if record.added < during.end && during.start < record.lost {
            Ok(Some(at))
        } else {
            Err(format!("{position} was not in the log in that epoch"))
        }
    }

    /// The records between two records, if the first is in the history of the second.
    pub(crate) fn between(
        &self,
        before: Option<usize>,
        newest: usize,
    ) -> Result<Vec<usize>, OtherHistory> {
        let after = before.map_or(0, |at| self.records[at].seq);
        let mut between = Vec::new();
        let mut at = Some(newest);
        while let Some(record) = at
            .map(|at| &self.records[at])
            .filter(|record| record.seq > after)
        {
            at = record.before;
            between.extend(at.filter(|&at| self.records[at].seq > after));
        }
        between.reverse();
        if at == before {
            Ok(between)
        } else {
            Err(OtherHistory)
        }
    }

    /// The newest record of the current history.
    pub(crate) fn newest(&self) -> Option<usize> {
        self.current.last().copied()
    }

    /// The ends that the log holds.
    fn held_ends(&self) -> impl Iterator<Item = &Record> {
        let ends = self.ends.iter().map(|&at| &self.records[at]);
        ends.filter(|end| end.lost == u64::MAX && end.seq >= self.first)
    }

    /// Whether each of these channels had an end at some time after `since`.
    pub(crate) fn have_ended(&self, patterns: &[Pattern], since: u64) -> bool {
        patterns.iter().all(|pattern| {
            let channel = channel_of(pattern);
            let mut ends = self.ends.iter().map(|&at| &self.records[at]);
            ends.any(|end| end.lost > since && Some(&end.channel) == channel.as_ref())
        })
    }

    /// Whether the log holds an end of each of these channels.
    pub(crate) fn have_surely_ended(&self, patterns: &[Pattern]) -> bool {
        patterns.iter().all(|pattern| {
            let channel = channel_of(pattern);
            self.held_ends()
                .any(|end| Some(&end.channel) == channel.as_ref())
        })
    }
}

/// The channel of a pattern; `None` if the pattern ends in `/*`.
fn channel_of(pattern: &Pattern) -> Option<ChannelName> {
    ChannelName::new(pattern).ok()
}
