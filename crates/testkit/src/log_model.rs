//! A model of a log: random steps on a log, compared with a plain list of every entry that it has stored.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed case is a failed test"
)]

mod judge;
mod oracle;
mod steps;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use proptest::collection::vec;
use proptest::sample::select;
use tidings_hub::{
    Appended, ChannelName, Draft, Entry, EntryCheck, Epoch, Located, Log, LogError, LogErrorKind,
    LogFuture, Pattern, Place, Position, Retention, Scope, Start, StoredChannel, Tail,
};

use self::judge::Judge;
use self::oracle::{Oracle, is_selected};
use self::steps::{AnyDraft, AnyPlace, AnyScope, AnyStart, Step, step};
use crate::model_log::{LogKind, ModelLog, Restart};
use crate::property;

const FEW: [&str; 5] = ["a", "a/b", "a/b/c", "ab", "d"];

/// The cases of a model.
#[derive(Debug, Clone)]
#[allow(clippy::exhaustive_structs, reason = "a test sets each field")]
pub struct Cases {
    /// The number of cases, unless `TIDINGS_TEST_STEPS` sets it.
    pub count: u32,
    /// The most steps of a case.
    pub steps: usize,
    /// The number of channels with an entry at the beginning, besides five channels with many entries.
    pub channels: usize,
    /// The most entries that the log keeps.
    pub max_events: u64,
    /// The most bytes of entries that the log keeps.
    pub max_bytes: u64,
    /// The bytes that the log counts for a channel that has entries, besides the entries.
    pub channel_bytes: u64,
    /// The numbers of channels that the log remembers, one of them for each case.
    pub remembered: &'static [u64],
    /// The most appends that are given to the log at once. If it is not 1, the log must hold and remember all
    /// of them: a log may apply its retention after the last one.
    pub burst: usize,
}

/// Runs random cases, each with a new log of this kind. `TIDINGS_TEST_SEED` replays a run.
///
/// # Panics
/// If a log differs from the list.
pub fn check(cases: &Cases, kind: &LogKind) {
    let reach = 40
        + usize::try_from(cases.max_events)
            .unwrap()
            .min(cases.channels) as u64;
    let step = step(
        reach,
        FEW.len() + cases.channels,
        cases.burst,
        kind.restarts(),
    );
    let values = (select(cases.remembered), vec(step, 0..cases.steps));
    property::check_cases(cases.count, &values, |(remembered, steps)| {
        let retention = Retention::in_memory().max_bytes(cases.max_bytes);
        let retention = retention.max_events(Some(cases.max_events));
        let retention = retention.remembered_channels(remembered);
        let mut both = Both {
            log: kind.make(retention),
            oracle: Oracle::new(retention, cases.channel_bytes),
            has_restarts: kind.restarts(),
            keys: HashMap::new(),
            tails: Vec::new(),
            time: 0,
        };
        both.fill(cases.channels);
        for step in steps {
            both.take(step);
        }
        both.compare();
    });
}

/// The log, and the list of the entries and channels that it must hold and know.
struct Both {
    log: Box<dyn ModelLog>,
    oracle: Oracle,
    has_restarts: bool,
    keys: HashMap<(usize, u8), u64>,
    tails: Vec<OpenTail>,
    /// The latest time of an entry.
    time: u64,
}

struct OpenTail {
    tail: Tail,
    at: u64,
    /// An entry that it has returned was lost, or the epoch has changed.
    is_cut: bool,
}

impl Both {
    fn log(&self) -> Arc<dyn Log> {
        self.log.log()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append(draft) => self.append(&[draft]),
            Step::Burst(drafts) => self.append(&drafts),
            Step::Trim(first) => {
                self.log.trim(first);
                self.oracle.trim(first);
            }
            Step::Rewind(last) => self.rewind(last),
            Step::Renew(is_known) => self.renew(is_known),
            Step::Restart(how) => self.restart(how),
            Step::Read {
                after,
                limit,
                scope,
            } => self.read(after, limit, &scope),
            Step::Locate(start, scope) => self.locate(start, &scope),
            Step::Channels(limit) => self.channels(limit),
            Step::Tail(after) => self.tail(after),
            Step::Receive(tail) => self.receive(tail),
            Step::Compare => self.compare(),
        }
    }

    /// Appends an event to each of many channels.
    fn fill(&mut self, many: usize) {
        let drafts = (0..many).map(|n| Draft::event(of_many(n), "x"));
        for appended in self.log.append_all(drafts.collect()) {
            appended.unwrap();
        }
        let entries = self.new_entries();
        assert_eq!(entries.len(), many);
        entries
            .into_iter()
            .for_each(|entry| self.oracle.push(entry));
        self.oracle.apply_retention();
    }

    /// Appends all of them at once. The list takes them one by one.
    fn append(&mut self, drafts: &[AnyDraft]) {
        let named = drafts.iter().map(AnyDraft::named).collect();
        let answers = self.log.append_all(named);
        let mut entries = self.new_entries().into_iter();
        for (draft, answer) in drafts.iter().zip(answers) {
            self.judge_append(draft, answer, &mut entries);
        }
        assert_eq!(entries.next(), None, "only what was answered is appended");
        self.oracle.apply_retention();
    }

    /// The entries that the list has not taken yet.
    fn new_entries(&self) -> Vec<Entry> {
        let log = self.log();
        let newest = now(log.bounds()).unwrap().newest();
        let (mut entries, mut at) = (Vec::new(), self.oracle.last());
        while at < newest.seq {
            let page = now(log.read(at, 1_000, Scope::all(&newest))).unwrap();
            at = page.through;
            entries.extend(page.entries);
        }
        entries
    }

    fn judge_append(
        &mut self,
        draft: &AnyDraft,
        answer: Result<Appended, LogError>,
        entries: &mut impl Iterator<Item = Entry>,
    ) {
        let key = draft.key.map(|key| (draft.channel, key));
        if let Some(seq) = key.and_then(|key| self.keys.get(&key)) {
            assert_eq!(answer.unwrap(), Appended::repeat(*seq));
            return;
        }
        let named = draft.named();
        if self.oracle.end_of(&named.channel).is_some() {
            assert_eq!(answer.unwrap_err().kind(), LogErrorKind::Ended);
            return;
        }
        let seq = self.oracle.last() + 1;
        assert_eq!(answer.unwrap(), Appended::new(seq));
        let entry = entries.next().unwrap();
        assert!(entry.time >= self.time);
        self.time = entry.time;
        assert_eq!(entry, Entry::new(seq, entry.time, named));
        self.oracle.push(entry);
        if let Some(key) = key {
            self.keys.insert(key, seq);
        }
    }

    fn rewind(&mut self, last: u64) {
        if self.has_restarts {
            self.tails.clear();
        }
        if !self.log.rewind(last) {
            return;
        }
        let back_to = now(self.log().bounds()).unwrap().last.seq;
        assert!(back_to <= last.max(self.oracle.floor));
        assert_eq!(self.oracle.rewind(back_to), back_to);
        self.keys.retain(|_, seq| *seq <= back_to);
        for tail in &mut self.tails {
            tail.is_cut |= tail.at > back_to;
        }
    }

    fn restart(&mut self, how: Restart) {
        self.log.restart(how);
        for mut open in std::mem::take(&mut self.tails) {
            // It may return entries that it had already.
            while let Ok(batch) = next_of(&mut open.tail) {
                assert!(!open.is_cut);
                assert!(is_next(&batch, self.oracle.after(open.at)), "{batch:?}");
                open.at += batch.len() as u64;
            }
        }
    }

    fn renew(&mut self, is_known: bool) {
        let before = self.epoch();
        let other = Epoch::new("other").unwrap();
        let expected = if is_known { &before } else { &other };
        let after = now(self.log().renew_epoch(expected)).unwrap();
        assert_eq!(after != before, is_known);
        for tail in &mut self.tails {
            tail.is_cut |= is_known;
        }
    }

    fn epoch(&self) -> Epoch {
        now(self.log().bounds()).unwrap().epoch
    }

    fn place(&self, any: AnyPlace) -> Place {
        let seq = (self.oracle.last() + 1).saturating_sub(any.back);
        let check = match self.oracle.entry(seq) {
            Some(entry) => entry.check(),
            None => Place::start().check,
        };
        if !any.is_wrong {
            return Place { seq, check };
        }
        let wrong = [1, 2].map(EntryCheck::from_hash);
        let check = if check == wrong[0] {
            wrong[1]
        } else {
            wrong[0]
        };
        Place { seq, check }
    }

    /// Whether the log holds this place, or has removed its entry.
    fn holds(&self, place: Place) -> bool {
        let entry = self.oracle.entry(place.seq);
        let is_removed = place.seq > 0 && place.seq < self.oracle.floor;
        is_removed || place == Place::start() || entry.is_some_and(|e| e.check() == place.check)
    }

    /// The newest position of a scope, its patterns, and whether the log holds the position.
    fn scope(&self, scope: &AnyScope) -> (Position, Vec<Pattern>, bool) {
        let patterns = scope.patterns.iter();
        let patterns = patterns.map(|p| Pattern::new(p).unwrap()).collect();
        let place = self.place(scope.newest);
        let epoch = if scope.is_other_epoch {
            Epoch::new("other").unwrap()
        } else {
            self.epoch()
        };
        let is_held = !scope.is_other_epoch && self.holds(place);
        (place.in_epoch(&epoch), patterns, is_held)
    }

    fn assert_rewound<T: Debug>(&self, answer: Result<T, LogError>) {
        let last = self.oracle.last();
        let kind = answer.unwrap_err().kind();
        assert_eq!(kind, LogErrorKind::Rewound { last });
    }

    fn read(&self, after: u64, limit: usize, scope: &AnyScope) {
        let (newest, patterns, is_held) = self.scope(scope);
        let page = now(self
            .log()
            .read(after, limit, Scope::new(&patterns, &newest)));
        if !is_held {
            return self.assert_rewound(page);
        }
        let missed = self.oracle.missed_after(&patterns, after, newest.seq);
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                let first = self.oracle.floor + 1;
                assert_eq!(error.kind(), LogErrorKind::Trimmed { first });
                assert!(missed.most > 0, "nothing is missed");
                return;
            }
        };
        assert_eq!(missed.least, 0, "it must be reported");
        let limit = limit.max(1);
        let mut expected = self.oracle.after(after.max(self.oracle.floor));
        let mut expected = expected
            .by_ref()
            .take_while(|entry| entry.seq <= newest.seq)
            .filter(|entry| is_selected(&patterns, entry));
        let found: Vec<_> = expected.by_ref().take(limit).collect();
        assert!(page.entries.iter().eq(found.iter().copied()), "{page:?}");
        let end = newest.seq.max(after);
        match expected.next() {
            Some(next) => {
                let newest = found.last().unwrap().seq;
                assert!((newest..next.seq).contains(&page.through), "{page:?}");
            }
            None if found.len() == limit => {
                let newest = found.last().unwrap().seq;
                assert!((newest..=end).contains(&page.through), "{page:?}");
            }
            None => assert_eq!(page.through, end),
        }
    }

    fn locate(&self, start: AnyStart, scope: &AnyScope) {
        let (newest, patterns, is_held) = self.scope(scope);
        let start = match start {
            AnyStart::After(place) => Start::After(self.place(place)),
            AnyStart::Earliest => Start::Earliest,
            AnyStart::Time(place, later) => {
                let entry = self.oracle.entry(self.place(place).seq);
                Start::Time(entry.map_or(0, |entry| entry.time) + later)
            }
            AnyStart::Last(count) => Start::Last(count),
            AnyStart::Skip(after, to) => Start::Skip {
                after: self.place(after).seq,
                to: self.place(to).seq,
            },
        };
        let located = now(self.log().locate(start, Scope::new(&patterns, &newest)));
        if !is_held {
            return self.assert_rewound(located);
        }
        let located = located.unwrap();
        let judge = Judge {
            oracle: &self.oracle,
            patterns: &patterns,
            newest: newest.seq,
        };
        let (place, missed) = match located {
            Located::Held { place, missed } => (place, missed),
            Located::Unknown { last } => {
                assert_eq!(last, self.oracle.last());
                assert!(matches!(start, Start::After(place) if !self.holds(place)));
                return;
            }
        };
        assert!(self.holds(place), "{place:?}");
        match start {
            Start::After(after) => {
                assert!(self.holds(after), "{after:?}");
                judge.after(after, place, missed);
            }
            Start::Earliest => judge.earliest(place, missed),
            Start::Time(time) => judge.time(time, place, missed),
            Start::Last(count) => judge.last(count, place, missed),
            Start::Skip { after, to } => judge.skip(after, to, place, missed),
        }
    }

    fn stored(&self, found: (&ChannelName, Option<&Entry>, Option<u64>)) -> StoredChannel {
        let (name, newest, end) = found;
        let epoch = self.epoch();
        let newest = newest.map(|entry| Position {
            epoch,
            seq: entry.seq,
            check: entry.check(),
        });
        StoredChannel::new(name.clone(), newest, end)
    }

    fn channels(&self, limit: usize) {
        let expected = self.oracle.channels();
        let expected: Vec<_> = expected.map(|found| self.stored(found)).collect();
        let mut found: Vec<StoredChannel> = Vec::new();
        loop {
            let after = found.last().map(|channel| channel.name.clone());
            let page = now(self.log().channels(after.as_ref(), limit)).unwrap();
            assert!(page.len() <= limit.max(1));
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, expected);
        for text in FEW {
            let name = ChannelName::new(text).unwrap();
            let channel = now(self.log().channel(&name)).unwrap();
            let expected = expected.iter().find(|expected| expected.name == name);
            assert_eq!(channel.as_ref(), expected);
        }
    }

    fn tail(&mut self, after: AnyPlace) {
        let place = self.place(after);
        let mut tail = self.log().tail(&place.in_epoch(&self.epoch()));
        if self.holds(place) && place.seq >= self.oracle.floor {
            let (at, is_cut) = (place.seq, false);
            self.tails.push(OpenTail { tail, at, is_cut });
            return;
        }
        let batch = tail.next().now_or_never().flatten().unwrap();
        if !self.holds(place) {
            return self.assert_rewound(batch);
        }
        let first = self.oracle.floor + 1;
        assert_eq!(batch.unwrap_err().kind(), LogErrorKind::Trimmed { first });
    }

    fn receive(&mut self, index: usize) {
        if index >= self.tails.len() {
            return;
        }
        let mut open = self.tails.swap_remove(index);
        let Some(batch) = open.tail.next().now_or_never() else {
            let is_at_the_end = open.at == self.oracle.last();
            assert!(!open.is_cut && is_at_the_end, "it must not wait");
            self.tails.push(open);
            return;
        };
        let batch = batch.expect("an error comes before the end");
        if open.is_cut || open.at < self.oracle.floor {
            batch.unwrap_err();
            assert!(open.tail.next().now_or_never().unwrap().is_none());
            return;
        }
        let batch = batch.unwrap();
        assert!(is_next(&batch, self.oracle.after(open.at)), "{batch:?}");
        open.at += batch.len() as u64;
        self.tails.push(open);
    }

    fn compare(&self) {
        let bounds = now(self.log().bounds()).unwrap();
        let place = |seq| match self.oracle.entry(seq) {
            Some(entry) => Place {
                seq,
                check: entry.check(),
            },
            None => Place::start(),
        };
        assert_eq!(bounds.floor, place(self.oracle.floor));
        assert_eq!(bounds.last, place(self.oracle.last()));
        assert_eq!(bounds.ends_since, self.oracle.ends_since);
        assert_eq!(now(self.log().ends()).unwrap(), self.oracle.ends());
    }
}

/// The next batch of a tail that must not wait.
fn next_of(tail: &mut Tail) -> Result<Vec<Entry>, LogError> {
    let batch = tail.next().now_or_never().expect("it must not wait");
    batch.expect("an error comes before the end")
}

/// Whether these entries begin with this batch, which is not empty.
fn is_next<'a>(batch: &[Entry], mut entries: impl Iterator<Item = &'a Entry>) -> bool {
    !batch.is_empty() && batch.iter().all(|entry| entries.next() == Some(entry))
}

fn of_many(n: usize) -> ChannelName {
    ChannelName::new(format!("many/{n}")).unwrap()
}

/// The first look of a log in memory finds the answer, if the log has few entries.
fn now<T>(future: LogFuture<'_, T>) -> Result<T, LogError> {
    future.now_or_never().unwrap()
}
