//! A log in memory, compared with a plain list of every entry that it has stored.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "a test")]

mod judge;
mod oracle;
mod steps;

use std::collections::HashMap;
use std::fmt::Debug;

use futures_util::{FutureExt, StreamExt};
use proptest::collection::vec;
use proptest::prelude::Just;
use proptest::prop_oneof;
use tidings_hub::{
    ChannelName, Draft, Entry, EntryCheck, EntryKind, Epoch, Located, Log, LogError, LogErrorKind,
    LogFuture, MemoryLog, Pattern, Place, Position, Retention, Scope, Start, StoredChannel, Tail,
};
use tidings_testkit::property;

use self::judge::Judge;
use self::oracle::{Oracle, is_selected};
use self::steps::{AnyPlace, AnyScope, AnyStart, Step, step};

const FEW: [&str; 5] = ["a", "a/b", "a/b/c", "ab", "d"];

/// So many that the log searches the entries of a pattern instead of merging the channels.
const MANY: usize = 300;

#[test]
fn a_memory_log_behaves_like_a_list_that_knows_its_channels() {
    let remembered = prop_oneof![Just(0), Just(1), Just(2), Just(100)];
    let steps = vec(step(40, FEW.len()), 0..120);
    property::check(&(remembered, steps), |(remembered, steps)| {
        let retention = Retention::in_memory().max_bytes(3_000);
        let retention = retention.max_events(Some(12));
        run(retention.remembered_channels(remembered), 0, steps);
    });
}

#[test]
fn a_memory_log_of_many_channels_behaves_like_a_list_too() {
    let remembered = prop_oneof![Just(5), Just(1_000)];
    let steps = vec(step(400, FEW.len() + MANY), 0..40);
    property::check(&(remembered, steps), |(remembered, steps)| {
        let retention = Retention::in_memory().max_events(Some(MANY as u64 + 5));
        run(retention.remembered_channels(remembered), MANY, steps);
    });
}

fn run(retention: Retention, many: usize, steps: Vec<Step>) {
    let mut both = Both::new(retention);
    both.fill(many);
    for step in steps {
        both.take(step);
    }
    both.compare();
}

/// The log, and the list of what it must hold and know.
struct Both {
    log: MemoryLog,
    oracle: Oracle,
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
    fn new(retention: Retention) -> Self {
        Self {
            log: MemoryLog::new(retention),
            oracle: Oracle::new(retention),
            keys: HashMap::new(),
            tails: Vec::new(),
            time: 0,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append {
                channel,
                is_end,
                bytes,
                key,
            } => self.append(channel, is_end, bytes, key),
            Step::Trim(first) => {
                self.log.trim(first);
                self.oracle.trim(first);
            }
            Step::Rewind(last) => self.rewind(last),
            Step::Renew(is_known) => self.renew(is_known),
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
        for n in 0..many {
            now(self.log.append(Draft::event(of_many(n), "x"))).unwrap();
        }
        let newest = now(self.log.bounds()).unwrap().newest();
        let page = now(self.log.read(0, many, Scope::all(&newest))).unwrap();
        page.entries
            .into_iter()
            .for_each(|entry| self.oracle.push(entry));
    }

    fn append(&mut self, channel: usize, is_end: bool, bytes: usize, key: Option<u8>) {
        let name = match FEW.get(channel) {
            Some(name) => ChannelName::new(name).unwrap(),
            None => of_many(channel - FEW.len()),
        };
        let mut draft = Draft::event(name.clone(), vec![b'x'; bytes]);
        draft.kind = [EntryKind::Event, EntryKind::End][usize::from(is_end)];
        draft.key = key.map(|key| key.to_string().into());
        let appended = now(self.log.append(draft.clone()));
        if let Some(seq) = key.and_then(|key| self.keys.get(&(channel, key))) {
            let appended = appended.unwrap();
            assert_eq!((appended.seq, appended.is_repeat), (*seq, true));
            return;
        }
        if self.oracle.end_of(&name).is_some() {
            assert_eq!(appended.unwrap_err().kind(), LogErrorKind::Ended);
            return;
        }
        let appended = appended.unwrap();
        let seq = self.oracle.last() + 1;
        assert_eq!((appended.seq, appended.is_repeat), (seq, false));
        let newest = now(self.log.bounds()).unwrap().newest();
        let page = now(self.log.read(seq - 1, 9, Scope::all(&newest))).unwrap();
        let [entry] = &page.entries[..] else {
            panic!("{page:?}");
        };
        assert!(entry.time >= self.time);
        self.time = entry.time;
        assert_eq!(*entry, Entry::new(seq, entry.time, draft));
        self.oracle.push(entry.clone());
        if let Some(key) = key {
            self.keys.insert((channel, key), seq);
        }
    }

    fn rewind(&mut self, last: u64) {
        self.log.rewind(last);
        let last = self.oracle.rewind(last);
        self.keys.retain(|_, seq| *seq <= last);
        for tail in &mut self.tails {
            tail.is_cut |= tail.at > last;
        }
    }

    fn renew(&mut self, is_known: bool) {
        let before = self.epoch();
        let other = now(MemoryLog::default().bounds()).unwrap().epoch;
        let expected = if is_known { &before } else { &other };
        let after = now(self.log.renew_epoch(expected)).unwrap();
        assert_eq!(after != before, is_known);
        for tail in &mut self.tails {
            tail.is_cut |= is_known;
        }
    }

    fn epoch(&self) -> Epoch {
        now(self.log.bounds()).unwrap().epoch
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
        let page = now(self.log.read(after, limit, Scope::new(&patterns, &newest)));
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
        let located = now(self.log.locate(start, Scope::new(&patterns, &newest)));
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
            let page = now(self.log.channels(after.as_ref(), limit)).unwrap();
            assert!(page.len() <= limit.max(1));
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, expected);
        for text in FEW {
            let name = ChannelName::new(text).unwrap();
            let channel = now(self.log.channel(&name)).unwrap();
            let expected = expected.iter().find(|expected| expected.name == name);
            assert_eq!(channel.as_ref(), expected);
        }
    }

    fn tail(&mut self, after: AnyPlace) {
        let place = self.place(after);
        let mut tail = self.log.tail(&place.in_epoch(&self.epoch()));
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
        assert!(!batch.is_empty());
        assert!(batch.iter().eq(self.oracle.after(open.at)));
        open.at = self.oracle.last();
        self.tails.push(open);
    }

    fn compare(&self) {
        let bounds = now(self.log.bounds()).unwrap();
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
        assert_eq!(now(self.log.ends()).unwrap(), self.oracle.ends());
    }
}

fn of_many(n: usize) -> ChannelName {
    ChannelName::new(format!("many/{n}")).unwrap()
}

/// The first look of a log in memory finds the answer, if the log has few entries.
fn now<T>(future: LogFuture<'_, T>) -> Result<T, LogError> {
    future.now_or_never().unwrap()
}
