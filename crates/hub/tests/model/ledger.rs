//! Owns `Ledger`: the append-only list that a hub is held against, and what was done to its log.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use tidings_hub::{ChannelName, Entry, EntryKind, Pattern};
use tidings_proto::{EntryCheck, Epoch, Position};

/// What the list is known by to the log that writes it and the clients that are judged by it.
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

/// All that was ever appended, also what was forgotten or has fallen back.
pub(crate) struct Ledger {
    pub(crate) facts: Vec<Fact>,
    /// What stands in the log, or did until it was trimmed: the fact of each place.
    line: Vec<usize>,
    /// The oldest that is not trimmed.
    pub(crate) first: u64,
    /// The longest that the log ever was.
    pub(crate) peak: u64,
    epochs: Vec<(Epoch, Range<u64>)>,
    by_place: HashMap<(u64, EntryCheck), usize>,
    /// The ends among all that was ever appended.
    ends: Vec<usize>,
    /// What the log answered to the appends of each token: facts.
    pub(crate) answers: HashMap<u64, Vec<usize>>,
    /// What the log held when a snapshot was made, and of how many events it is.
    pub(crate) snapshots: Vec<(u64, u64)>,
    pub(crate) now: u64,
    /// When the log last fell back, or took another epoch, or forgot something.
    pub(crate) last_break: u64,
    pub(crate) last_trim: u64,
    /// When all hubs had last heard of all that was done.
    pub(crate) last_rest: u64,
    /// The log fell back, and forgot what would have shown it, before the hubs could look: nobody can
    /// know then what its history is.
    pub(crate) is_blurred: bool,
    /// When a hub was last drained.
    pub(crate) last_drain: u64,
    pub(crate) rng: Rng,
}

/// One entry.
#[derive(Debug)]
pub(crate) struct Fact {
    pub(crate) seq: u64,
    pub(crate) check: EntryCheck,
    pub(crate) channel: ChannelName,
    pub(crate) body_length: usize,
    /// What its text begins with; 0 for an end.
    pub(crate) token: u64,
    pub(crate) audience: Audience,
    /// The entry before.
    before: Option<usize>,
    pub(crate) born: u64,
    /// When it fell back.
    pub(crate) gone: u64,
}

/// Who is to hear an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Every subscriber.
    All,
    /// The log says so, the hub so: it stands behind an end that is none itself.
    Any,
    /// Nobody while that end stands in the log.
    NobodyBehind(u64),
    /// It is the end of its channel.
    IsEnd,
}

/// What was heard is no continuation of what was heard before.
pub(crate) struct OtherHistory;

impl Ledger {
    fn new(epoch: Epoch, seed: u64) -> Self {
        Self {
            facts: Vec::new(),
            line: Vec::new(),
            first: 1,
            peak: 0,
            epochs: vec![(epoch, 0..u64::MAX)],
            by_place: HashMap::new(),
            ends: Vec::new(),
            answers: HashMap::new(),
            snapshots: Vec::new(),
            now: 1,
            last_break: 0,
            last_trim: 0,
            last_rest: 0,
            is_blurred: false,
            last_drain: 0,
            rng: Rng::with_seed(seed),
        }
    }

    /// Something happens.
    pub(crate) fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    pub(crate) fn last(&self) -> u64 {
        self.line.len() as u64
    }

    pub(crate) fn epoch(&self) -> &Epoch {
        &self.epochs[self.epochs.len() - 1].0
    }

    /// The log has taken this entry.
    pub(crate) fn handle_entry(&mut self, entry: &Entry, token: u64, first: u64) {
        assert_eq!(entry.seq, self.last() + 1, "places are contiguous");
        self.handle_first(first);
        let fact = Fact {
            seq: entry.seq,
            check: entry.check(),
            channel: entry.channel.clone(),
            body_length: entry.body.len(),
            token,
            audience: self.audience(entry),
            before: self.line.last().copied(),
            born: self.tick(),
            gone: u64::MAX,
        };
        let at = self.facts.len();
        self.by_place.insert((fact.seq, fact.check), at);
        if fact.token == 0 {
            self.ends.push(at);
        }
        self.facts.push(fact);
        self.line.push(at);
        self.peak = self.peak.max(self.last());
    }

    fn audience(&self, entry: &Entry) -> Audience {
        let oldest = self.held_ends().find(|end| end.channel == entry.channel);
        match oldest {
            _ if entry.kind == EntryKind::End && oldest.is_none() => Audience::IsEnd,
            None => Audience::All,
            Some(end) if end.audience == Audience::IsEnd => Audience::NobodyBehind(end.seq),
            Some(_) => Audience::Any,
        }
    }

    /// The log holds nothing before this place.
    pub(crate) fn handle_first(&mut self, first: u64) {
        if first > self.first {
            self.first = first;
            self.is_blurred |= self.last_break > self.last_rest;
            self.last_trim = self.tick();
        }
    }

    pub(crate) fn handle_rewind(&mut self, last: u64) {
        let now = self.tick();
        self.last_break = now;
        let kept = self.place(last).min(self.line.len());
        for at in self.line.drain(kept..) {
            self.facts[at].gone = now;
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

    fn place(&self, seq: u64) -> usize {
        usize::try_from(seq).unwrap()
    }

    /// What stands at this place now.
    pub(crate) fn at(&self, seq: u64) -> Option<usize> {
        let place = self.place(seq).checked_sub(1)?;
        self.line.get(place).copied()
    }

    /// The fact at this position; `None` for the place before all. An error if the log never had it.
    pub(crate) fn find(&self, position: &Position) -> Result<Option<usize>, String> {
        let epoch = self.epochs.iter().find(|epoch| epoch.0 == position.epoch);
        let Some((_, during)) = epoch else {
            return Err(format!("{position} is of no epoch of the log"));
        };
        let is_nothing = [0, 1].map(EntryCheck::from_hash).contains(&position.check);
        if position.seq == 0 && is_nothing {
            return Ok(None);
        }
        let Some(&at) = self.by_place.get(&(position.seq, position.check)) else {
            return Err(format!("{position} was never in the log"));
        };
        let fact = &self.facts[at];
        if fact.born < during.end && during.start < fact.gone {
            Ok(Some(at))
        } else {
            Err(format!("{position} was not in the log in that epoch"))
        }
    }

    /// What stands between two facts, of which the first is of the history of the second.
    pub(crate) fn between(
        &self,
        before: Option<usize>,
        newest: usize,
    ) -> Result<Vec<usize>, OtherHistory> {
        let after = before.map_or(0, |at| self.facts[at].seq);
        let mut between = Vec::new();
        let mut at = Some(newest);
        while let Some(fact) = at.map(|at| &self.facts[at]).filter(|fact| fact.seq > after) {
            at = fact.before;
            between.extend(at.filter(|&at| self.facts[at].seq > after));
        }
        between.reverse();
        if at == before {
            Ok(between)
        } else {
            Err(OtherHistory)
        }
    }

    /// The newest fact.
    pub(crate) fn newest(&self) -> Option<usize> {
        self.line.last().copied()
    }

    /// The ends that the log holds.
    fn held_ends(&self) -> impl Iterator<Item = &Fact> {
        let ends = self.ends.iter().map(|&at| &self.facts[at]);
        ends.filter(|end| end.gone == u64::MAX && end.seq >= self.first)
    }

    /// Whether each of these channels has ended, at some time since.
    pub(crate) fn have_ended(&self, patterns: &[Pattern], since: u64) -> bool {
        patterns.iter().all(|pattern| {
            let channel = channel_of(pattern);
            let mut ends = self.ends.iter().map(|&at| &self.facts[at]);
            ends.any(|end| end.gone > since && Some(&end.channel) == channel.as_ref())
        })
    }

    /// Whether each of these channels has an end that the log holds and all agree upon.
    pub(crate) fn have_surely_ended(&self, patterns: &[Pattern]) -> bool {
        patterns.iter().all(|pattern| {
            let channel = channel_of(pattern);
            self.held_ends().any(|end| {
                end.audience == Audience::IsEnd && Some(&end.channel) == channel.as_ref()
            })
        })
    }
}

/// The channel that a pattern names, unless it means those below.
fn channel_of(pattern: &Pattern) -> Option<ChannelName> {
    ChannelName::new(&pattern.to_string()).ok()
}
