//! A log in memory, compared with a plain list of every entry it has stored.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::HashMap;
use std::fmt::Debug;

use futures_util::{FutureExt, StreamExt};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;
use tidings_hub::{
    ChannelName, Draft, Entry, EntryKind, Log, LogError, LogErrorKind, LogFuture, MemoryLog,
    Pattern, Retention, Tail,
};
use tidings_testkit::property;

const MAX_BYTES: u64 = 1_500;
const MAX_EVENTS: u64 = 12;
const CHANNELS: [&str; 4] = ["a", "a/b", "a/b/c", "d"];

#[derive(Debug, Clone)]
enum Step {
    Append {
        channel: usize,
        is_end: bool,
        bytes: usize,
        key: Option<u8>,
    },
    Trim(u64),
    Rewind(u64),
    Renew(bool),
    Read {
        after: u64,
        up_to: u64,
        patterns: Vec<&'static str>,
        limit: usize,
    },
    Tail(u64),
    Receive(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let append = (0..4_usize, any::<bool>(), 0..400_usize, any::<Option<u8>>()).prop_map(
        |(channel, is_end, bytes, key)| Step::Append {
            channel,
            is_end,
            bytes,
            key: key.map(|key| key % 8),
        },
    );
    let patterns = vec(
        prop_oneof![Just("a"), Just("a/*"), Just("a/b/*"), Just("d")],
        0..3,
    );
    let read = (0..40_u64, 0..50_u64, patterns, 0..20_usize).prop_map(
        |(after, up_to, patterns, limit)| Step::Read {
            after,
            up_to,
            patterns,
            limit,
        },
    );
    prop_oneof![
        12 => append,
        8 => read,
        6 => (0..8_usize).prop_map(Step::Receive),
        3 => (0..40_u64).prop_map(Step::Tail),
        1 => (0..40_u64).prop_map(Step::Trim),
        1 => (0..40_u64).prop_map(Step::Rewind),
        1 => any::<bool>().prop_map(Step::Renew),
    ]
}

#[test]
fn a_memory_log_behaves_like_a_list_without_its_oldest_entries() {
    property::check(&vec(step(), 0..120), |steps| {
        let mut both = Both::new();
        for step in steps {
            both.take(step);
            both.compare();
        }
    });
}

/// The log, and the list of the entries that it must hold.
struct Both {
    log: MemoryLog,
    /// Every entry that was appended and not rewound, including the removed ones.
    entries: Vec<Entry>,
    first: u64,
    keys: HashMap<(usize, u8), u64>,
    tails: Vec<OpenTail>,
    /// The latest time of an entry.
    time: u64,
}

struct OpenTail {
    tail: Tail,
    at: u64,
    /// An entry that it has returned was rewound, or the epoch has changed.
    is_cut: bool,
}

impl Both {
    fn new() -> Self {
        let retention = Retention::in_memory();
        Self {
            log: MemoryLog::new(retention.max_bytes(MAX_BYTES).max_events(MAX_EVENTS)),
            entries: Vec::new(),
            first: 1,
            keys: HashMap::new(),
            tails: Vec::new(),
            time: 0,
        }
    }

    fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    fn held(&self) -> &[Entry] {
        self.after(self.first - 1)
    }

    fn after(&self, after: u64) -> &[Entry] {
        &self.entries[usize::try_from(after).unwrap()..]
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
                self.first = self.first.max(first.min(self.last()));
            }
            Step::Rewind(last) => self.rewind(last),
            Step::Renew(is_known) => self.renew(is_known),
            Step::Read {
                after,
                up_to,
                patterns,
                limit,
            } => self.read(after, up_to, &patterns, limit),
            Step::Tail(after) => self.tail(after),
            Step::Receive(tail) => self.receive(tail),
        }
    }

    fn append(&mut self, channel: usize, is_end: bool, bytes: usize, key: Option<u8>) {
        let kind = [EntryKind::Event, EntryKind::End][usize::from(is_end)];
        let name = ChannelName::new(CHANNELS[channel]).unwrap();
        let mut draft = Draft::event(name, vec![b'x'; bytes]);
        draft.kind = kind;
        draft.key = key.map(|key| key.to_string().into());
        let appended = now(self.log.append(draft.clone())).unwrap();
        let known = key.and_then(|key| self.keys.get(&(channel, key)));
        assert_eq!(appended.is_repeat, known.is_some());
        if let Some(seq) = known {
            assert_eq!(appended.seq, *seq);
            return;
        }
        assert_eq!(appended.seq, self.last() + 1);
        let page = now(self.log.read(self.last(), u64::MAX, &[], 9)).unwrap();
        let [entry] = &page.entries[..] else {
            panic!("{page:?}");
        };
        assert_eq!((&entry.channel, &entry.body), (&draft.channel, &draft.body));
        assert_eq!((entry.seq, entry.kind), (appended.seq, kind));
        let is_late = self.held_ends().any(|end| end.channel == draft.channel);
        assert_eq!(entry.is_late, is_late);
        assert!(entry.time >= self.time);
        self.time = entry.time;
        self.entries.push(entry.clone());
        if let Some(key) = key.filter(|_| !is_late) {
            self.keys.insert((channel, key), appended.seq);
        }
        while self.first < self.last() && self.is_over() {
            self.first += 1;
        }
    }

    fn is_over(&self) -> bool {
        let cost: u64 = self.held().iter().map(Entry::cost).sum();
        cost > MAX_BYTES || self.held().len() as u64 > MAX_EVENTS
    }

    fn rewind(&mut self, last: u64) {
        self.log.rewind(last);
        let last = last.max(self.first - 1);
        self.entries.truncate(usize::try_from(last).unwrap());
        self.keys.retain(|_, seq| *seq <= last);
        for tail in &mut self.tails {
            tail.is_cut |= tail.at > last;
        }
    }

    fn renew(&mut self, is_known: bool) {
        let before = now(self.log.bounds()).unwrap().epoch;
        let other = now(MemoryLog::default().bounds()).unwrap().epoch;
        let expected = if is_known { &before } else { &other };
        let after = now(self.log.renew_epoch(expected)).unwrap();
        assert_eq!(after != before, is_known);
        for tail in &mut self.tails {
            tail.is_cut |= is_known;
        }
    }

    fn read(&self, after: u64, up_to: u64, patterns: &[&str], limit: usize) {
        let patterns: Vec<_> = patterns.iter().map(|p| Pattern::new(p).unwrap()).collect();
        let page = now(self.log.read(after, up_to, &patterns, limit));
        if !self.may_read(after) {
            return self.assert_refused(after, &page);
        }
        let page = page.unwrap();
        let is_meant = |entry: &&Entry| {
            patterns.is_empty() || patterns.iter().any(|p| p.matches(&entry.channel))
        };
        let reached = self.after(after).iter();
        let reached = reached.take_while(|entry| entry.seq <= up_to);
        let expected: Vec<_> = reached.filter(is_meant).take(limit.max(1)).collect();
        assert!(page.entries.iter().eq(expected.iter().copied()));
        let through = match expected.last() {
            Some(newest) if expected.len() == limit.max(1) => newest.seq,
            _ => up_to.min(self.last()).max(after),
        };
        assert_eq!(page.through, through);
    }

    fn may_read(&self, after: u64) -> bool {
        (self.first - 1..=self.last()).contains(&after)
    }

    fn assert_refused<T: Debug>(&self, after: u64, answer: &Result<T, LogError>) {
        let kind = answer.as_ref().unwrap_err().kind();
        let is_right = match kind {
            LogErrorKind::Rewound { last } => after > last && last == self.last(),
            LogErrorKind::Trimmed { first } => after + 1 < first && first == self.first,
            _ => false,
        };
        assert!(is_right, "{after}: {kind:?}");
    }

    fn tail(&mut self, after: u64) {
        let mut tail = self.log.tail(after);
        if self.may_read(after) {
            let (at, is_cut) = (after, false);
            self.tails.push(OpenTail { tail, at, is_cut });
        } else {
            let batch = tail.next().now_or_never().flatten().unwrap();
            self.assert_refused(after, &batch);
        }
    }

    fn receive(&mut self, index: usize) {
        if index >= self.tails.len() {
            return;
        }
        let mut open = self.tails.swap_remove(index);
        let Some(batch) = open.tail.next().now_or_never() else {
            assert!(!open.is_cut && open.at == self.last(), "it must not wait");
            self.tails.push(open);
            return;
        };
        let batch = batch.expect("an error comes before the end");
        if open.is_cut || open.at + 1 < self.first {
            batch.unwrap_err();
            assert!(open.tail.next().now_or_never().unwrap().is_none());
            return;
        }
        let batch = batch.unwrap();
        assert!(!batch.is_empty());
        assert_eq!(batch, self.after(open.at));
        open.at = self.last();
        self.tails.push(open);
    }

    fn compare(&self) {
        let bounds = now(self.log.bounds()).unwrap();
        assert_eq!((bounds.first, bounds.last), (self.first, self.last()));
        let floor = self
            .first
            .checked_sub(2)
            .map(|at| usize::try_from(at).unwrap());
        assert_eq!(bounds.floor, floor.map(|at| self.entries[at].check()));
        let ends = self.held_ends().map(|end| (end.channel.clone(), end.seq));
        assert_eq!(now(self.log.ends()).unwrap(), ends.collect::<Vec<_>>());
    }

    fn held_ends(&self) -> impl Iterator<Item = &Entry> {
        let held = self.held().iter();
        held.filter(|entry| entry.kind == EntryKind::End && !entry.is_late)
    }
}

/// A log in memory never waits.
fn now<T>(future: LogFuture<'_, T>) -> Result<T, LogError> {
    future.now_or_never().unwrap()
}
