//! The `Ledger`: an append-only list of all entries, and the history of the log. A hub is compared with
//! it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use tidings_hub::{Abilities, ChannelName, Entry, EntryKind, Pattern};
use tidings_proto::{EntryCheck, Epoch, Position};

use super::channels::Channels;
use super::op::Setup;

/// A shared handle to the ledger, for the log that writes it and the judges that read it.
#[derive(Clone)]
pub(super) struct Book(Arc<Mutex<Ledger>>);

impl Book {
    pub(super) fn new(epoch: Epoch, abilities: Abilities, setup: &Setup) -> Self {
        Self(Arc::new(Mutex::new(Ledger::new(epoch, abilities, setup))))
    }

    pub(super) fn open(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All entries that were ever appended, also those that the log has trimmed, or lost in a rewind. Times
/// are counts of changes.
pub(super) struct Ledger {
    pub(super) records: Vec<Record>,
    /// The records of the log's entries by `seq - 1`, also the trimmed ones, and without the lost ones.
    current: Vec<usize>,
    /// The oldest entry that is not trimmed.
    pub(super) first: u64,
    /// Each value of `first`, with the time since which it held.
    firsts: Vec<(u64, u64)>,
    /// The largest `seq` that the log ever held.
    pub(super) peak: u64,
    /// The epochs of the log, with the times in which each was current.
    epochs: Vec<(Epoch, Range<u64>)>,
    by_seq: HashMap<(u64, EntryCheck), usize>,
    /// The records of all ends.
    ends: Vec<usize>,
    /// The channels that the log knows.
    pub(super) channels: Channels,
    /// The records that the log returned for the appends of each token.
    pub(super) answers: HashMap<u64, Vec<usize>>,
    /// For each snapshot: the newest `seq` when it was made, and its number of events.
    pub(super) snapshots: Vec<(u64, u64)>,
    /// The number of changes so far: the clock of the model.
    pub(super) now: u64,
    /// The time of the last rewind or change of epoch.
    pub(super) last_break: u64,
    /// The time of the last trim.
    pub(super) last_trim: u64,
    /// The last time at which all hubs had noticed all changes, and received all entries.
    pub(super) settled: Settled,
    /// Whether the log loses its next answer.
    pub(super) loses: bool,
    /// Whether the log has lost an answer: a hub may notice changes late.
    pub(super) has_lost: bool,
    /// The last time at which a hub was drained, or crashed.
    pub(super) last_drain: u64,
    /// A wrong answer of the log to an append.
    pub(super) fault: Option<String>,
    pub(super) rng: Rng,
}

/// A time at which all hubs had received all entries.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Settled {
    pub(super) at: u64,
    /// The newest `seq` at that time.
    pub(super) last: u64,
}

/// An entry that was appended.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) seq: u64,
    pub(super) check: EntryCheck,
    /// When the log stored it, in nanoseconds since 1970.
    pub(super) time: u64,
    pub(super) channel: ChannelName,
    pub(super) body_length: usize,
    /// The number in its text; 0 for an end.
    pub(super) token: u64,
    pub(super) kind: EntryKind,
    pub(super) audience: Audience,
    /// The record of the entry before it.
    before: Option<usize>,
    /// When it was appended.
    pub(super) added: u64,
    /// When a rewind removed it; `u64::MAX` if none has.
    pub(super) lost: u64,
    /// When the log forgot it, if it is an end: the name is free since. `u64::MAX` if the log has not.
    pub(super) forgotten: u64,
}

/// The subscribers that must receive an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// All subscribers of its channel.
    All,
    /// None: it is the end of its channel.
    IsEnd,
    /// None while the log holds this end of its channel, which precedes it. After that, it is undefined
    /// who receives it. Only a log that does not refuse such entries has any.
    Late { end: usize },
    /// Undefined: the log holds an entry that is `Late`, and an end itself.
    Undefined,
}

/// Whether a channel has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Open,
    /// It has ended with this record.
    Ended(usize),
    /// The log holds an end that followed the end, and no longer the end itself: hubs may know either.
    Undefined,
}

/// The two records are not of one history.
pub(super) struct OtherHistory;

impl Ledger {
    fn new(epoch: Epoch, abilities: Abilities, setup: &Setup) -> Self {
        Self {
            records: Vec::new(),
            current: Vec::new(),
            first: 1,
            firsts: vec![(0, 1)],
            peak: 0,
            epochs: vec![(epoch, 0..u64::MAX)],
            by_seq: HashMap::new(),
            ends: Vec::new(),
            channels: Channels::new(abilities, setup.remembered_channels),
            answers: HashMap::new(),
            snapshots: Vec::new(),
            now: 1,
            last_break: 0,
            last_trim: 0,
            settled: Settled::default(),
            loses: false,
            has_lost: false,
            last_drain: 0,
            fault: None,
            rng: Rng::with_seed(setup.seed),
        }
    }

    pub(super) fn abilities(&self) -> Abilities {
        self.channels.abilities
    }

    /// Whether the answer of this call is lost.
    pub(super) fn take_loss(&mut self) -> bool {
        let loses = std::mem::take(&mut self.loses);
        self.has_lost |= loses;
        loses
    }

    /// Advances the clock for a change.
    pub(super) fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    pub(super) fn last(&self) -> u64 {
        self.current.len() as u64
    }

    pub(super) fn epoch(&self) -> &Epoch {
        &self.epochs[self.epochs.len() - 1].0
    }

    /// Records that all hubs have noticed all changes.
    pub(super) fn handle_rest(&mut self) {
        self.settled = Settled {
            at: self.tick(),
            last: self.last(),
        };
    }

    /// Records an entry that was appended.
    pub(super) fn handle_entry(&mut self, entry: &Entry, token: u64, first: u64) {
        assert_eq!(
            entry.seq,
            self.last() + 1,
            "entries are numbered without holes"
        );
        // Before the log has removed other entries for this one.
        let audience = self.audience(entry);
        if self.abilities().refuses_after_end && matches!(audience, Audience::Late { .. }) {
            let fault = format!("{} was appended after the end of its channel", entry.seq);
            self.fault.get_or_insert(fault);
        }
        let record = Record {
            seq: entry.seq,
            check: entry.check(),
            time: entry.time,
            channel: entry.channel.clone(),
            body_length: entry.body.len(),
            token,
            kind: entry.kind,
            audience,
            before: self.current.last().copied(),
            added: self.tick(),
            lost: u64::MAX,
            forgotten: u64::MAX,
        };
        let at = self.records.len();
        let end = (audience == Audience::IsEnd).then_some(at);
        self.channels.handle_entry(&entry.channel, entry.seq, end);
        self.by_seq.insert((record.seq, record.check), at);
        if entry.kind == EntryKind::End {
            self.ends.push(at);
        }
        self.records.push(record);
        self.current.push(at);
        self.peak = self.peak.max(self.last());
        self.handle_first(first);
    }

    /// Records that the log has refused an entry because its channel has ended.
    pub(super) fn handle_refusal(&mut self, channel: &ChannelName) {
        let refuses = self.abilities().refuses_after_end;
        if !refuses || !matches!(self.ending(channel), Ending::Ended(_)) {
            let fault = format!("the log says that {channel} has ended");
            self.fault.get_or_insert(fault);
        }
    }

    fn audience(&self, entry: &Entry) -> Audience {
        match (self.ending(&entry.channel), entry.kind) {
            (Ending::Ended(end), _) => Audience::Late { end },
            (Ending::Undefined, _) => Audience::Undefined,
            (Ending::Open, EntryKind::Event) => Audience::All,
            (Ending::Open, EntryKind::End) => Audience::IsEnd,
        }
    }

    /// Whether the channel has ended, as the log knows it now.
    pub(super) fn ending(&self, channel: &ChannelName) -> Ending {
        if let Some(end) = self.channels.get(channel).and_then(|known| known.end) {
            let end_seq = self.records[end].seq;
            if self.abilities().remembers_ends || end_seq >= self.first {
                return Ending::Ended(end);
            }
        }
        let is_held = |&at: &usize| {
            let end = &self.records[at];
            end.channel == *channel && end.lost == u64::MAX && end.seq >= self.first
        };
        if self.ends.iter().any(is_held) {
            Ending::Undefined
        } else {
            Ending::Open
        }
    }

    /// Records that the log holds no entry before `first`.
    pub(super) fn handle_first(&mut self, first: u64) {
        if first > self.first {
            self.first = first;
            self.last_trim = self.tick();
            self.firsts.push((self.last_trim, first));
            self.forget();
        }
    }

    fn forget(&mut self) {
        let now = self.now;
        if !self.abilities().remembers_ends {
            // Such a log forgets an end with its entry, also if it holds later entries of the channel.
            for &at in &self.ends {
                let end = &mut self.records[at];
                if end.seq < self.first && end.lost == u64::MAX {
                    end.forgotten = end.forgotten.min(now);
                }
            }
        }
        for end in self.channels.forget(self.first) {
            let end = &mut self.records[end];
            end.forgotten = end.forgotten.min(now);
        }
    }

    pub(super) fn handle_rewind(&mut self, last: u64) {
        let now = self.tick();
        self.last_break = now;
        let kept = self.index(last).min(self.current.len());
        for at in self.current.drain(kept..) {
            self.records[at].lost = now;
        }
        let (records, current) = (&self.records, &self.current);
        let newest = |channel: &ChannelName| {
            let newest = current.iter().rev().map(|&at| &records[at]);
            let mut newest = newest.filter(|record| record.channel == *channel);
            newest.next().map(|record| record.seq)
        };
        let is_lost = |at: usize| records[at].lost != u64::MAX;
        self.channels.handle_rewind(last, newest, is_lost);
        self.forget();
    }

    pub(super) fn handle_epoch(&mut self, epoch: Epoch) {
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
    pub(super) fn at(&self, seq: u64) -> Option<usize> {
        let index = self.index(seq).checked_sub(1)?;
        self.current.get(index).copied()
    }

    /// The record at this position; `None` for the position before the first entry. An error if the log
    /// never had this position.
    pub(super) fn find(&self, position: &Position) -> Result<Option<usize>, String> {
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

    /// Whether no log can tell this entry from the one that has its number now: it is lost, and the log has
    /// trimmed that number.
    pub(super) fn is_indistinct(&self, at: Option<usize>) -> bool {
        let record = at.map(|at| &self.records[at]);
        record.is_some_and(|record| record.lost != u64::MAX && record.seq + 1 < self.first)
    }

    /// The records between two records, if the first is in the history of the second.
    pub(super) fn between(
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
    pub(super) fn newest(&self) -> Option<usize> {
        self.current.last().copied()
    }

    /// The oldest entry that was not trimmed at this time.
    pub(super) fn first_at(&self, time: u64) -> u64 {
        let known = self.firsts.partition_point(|first| first.0 <= time);
        self.firsts[known - 1].1
    }

    /// Whether this was the oldest entry at some time between the two.
    pub(super) fn was_first(&self, seq: u64, times: Range<u64>) -> bool {
        let during = self.first_at(times.start)..=self.first_at(times.end);
        during.contains(&seq) && self.firsts.iter().any(|first| first.1 == seq)
    }

    /// The records of the current history, the oldest first.
    pub(super) fn history(&self) -> impl DoubleEndedIterator<Item = (usize, &Record)> {
        self.current.iter().map(|&at| (at, &self.records[at]))
    }

    /// Whether each of these channels had an end at some time after `since`, which the log had not forgotten
    /// then.
    pub(super) fn have_ended(&self, patterns: &[Pattern], since: u64) -> bool {
        let is_end = |end: &Record| end.lost > since && end.forgotten > since;
        self.have_ends(patterns, is_end)
    }

    /// Whether each of these channels has an end of this kind.
    pub(super) fn have_ends(&self, patterns: &[Pattern], is_it: impl Fn(&Record) -> bool) -> bool {
        patterns.iter().all(|pattern| {
            let channel = channel_of(pattern);
            let mut ends = self.ends.iter().map(|&at| &self.records[at]);
            ends.any(|end| is_it(end) && Some(&end.channel) == channel.as_ref())
        })
    }

    /// Whether each of these channels has ended for the log.
    pub(super) fn have_surely_ended(&self, patterns: &[Pattern]) -> bool {
        patterns.iter().all(|pattern| {
            let ending = channel_of(pattern).map(|channel| self.ending(&channel));
            matches!(ending, Some(Ending::Ended(_)))
        })
    }
}

/// The channel of a pattern; `None` if the pattern ends in `/*`.
fn channel_of(pattern: &Pattern) -> Option<ChannelName> {
    ChannelName::new(pattern).ok()
}
