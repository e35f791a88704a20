//! Tests of the index by itself, without a log.

use super::*;

/// An index, and the entries of its log.
struct Log {
    index: Index,
    entries: VecDeque<(u64, ChannelId, EntryKind)>,
    next: u64,
}

impl Log {
    fn new(remembered: u64) -> Self {
        Self {
            index: Index::new(remembered),
            entries: VecDeque::new(),
            next: 1,
        }
    }

    fn push(&mut self, name: &str, kind: EntryKind) {
        let name = ChannelName::new(name).unwrap();
        let id = self.index.find(&name);
        let id = id.unwrap_or_else(|| self.index.create(name));
        self.index.push(id, self.next, kind);
        self.entries.push_back((self.next, id, kind));
        self.next += 1;
    }

    fn events(&mut self, names: &[&str]) {
        names
            .iter()
            .for_each(|name| self.push(name, EntryKind::Event));
    }

    fn remove(&mut self, count: usize) {
        for _ in 0..count {
            let (seq, id, kind) = self.entries.pop_front().unwrap();
            self.index.remove(id, seq, seq, kind);
        }
        self.index.forget_over_limit();
    }

    fn names(&self) -> Vec<&str> {
        self.index
            .after(None)
            .map(|record| record.name.as_str())
            .collect()
    }
}

#[test]
fn the_channel_whose_newest_event_is_oldest_is_forgotten_first() {
    let mut log = Log::new(2);
    log.events(&["a", "b", "a", "c", "d", "x"]);
    log.remove(4);
    assert_eq!(
        log.names(),
        ["a", "c", "d", "x"],
        "a has a newer event than b"
    );
    assert_eq!(log.index.forgotten_through(), 2);
    log.remove(1);
    assert_eq!(log.names(), ["c", "d", "x"]);
    assert_eq!((log.index.forgotten_through(), log.index.holding()), (3, 1));
}

#[test]
fn a_channel_that_has_a_new_event_is_not_forgotten() {
    let mut log = Log::new(1);
    log.events(&["a", "x"]);
    log.remove(1);
    log.events(&["a", "b"]);
    // The item of a is stale. Neither it nor x, which is gone, makes the log forget a.
    log.remove(1);
    assert_eq!(log.names(), ["a", "b", "x"]);
    log.remove(1);
    assert_eq!(log.names(), ["a", "b"]);
    let a = log.index.find(&ChannelName::from_static("a")).unwrap();
    assert_eq!(log.index.record(a).removed.count, 2);
}

#[test]
fn ends_and_other_channels_have_limits_of_their_own() {
    let mut log = Log::new(1);
    log.events(&["a", "b"]);
    for name in ["p", "q", "r"] {
        log.push(name, EntryKind::End);
    }
    log.events(&["x"]);
    log.remove(4);
    assert_eq!(log.names(), ["b", "q", "r", "x"]);
    assert_eq!(
        (log.index.ends_since(), log.index.forgotten_through()),
        (4, 1)
    );
    let ends = log.index.ends().map(|(name, seq)| (name.as_str(), seq));
    assert_eq!(ends.collect::<Vec<_>>(), [("q", 4), ("r", 5)]);
}

#[test]
fn stale_items_do_not_pile_up() {
    let mut log = Log::new(10);
    for _ in 0..10_000 {
        log.events(&["a", "b"]);
        log.remove(log.entries.len() - 1);
    }
    assert!(
        log.index.gone.len() <= MIN_SHRINK + 20,
        "{}",
        log.index.gone.len()
    );
}

#[test]
fn a_sparse_index_is_compacted_and_keeps_each_channel() {
    let mut log = Log::new(100);
    for n in 0..5_000 {
        log.events(&[&format!("burst/{n}")]);
        if n % 100 == 0 {
            log.push(&format!("ended/{n}"), EntryKind::End);
        }
    }
    log.events(&["a", "b", "a"]);
    log.remove(log.entries.len() - 3);
    assert!(
        log.index.shrink(1_000_000).is_none(),
        "too many entries to renumber"
    );
    let moved = log.index.shrink(3).unwrap();
    for (_, id, _) in &mut log.entries {
        *id = moved[*id as usize];
    }
    assert!(log.index.capacity() < 1_000);
    assert_eq!(log.names().len(), 100 + 50 + 2);
    for (name, id) in &log.index.in_order {
        assert_eq!(log.index.find(name), Some(*id));
        assert_eq!(log.index.record(*id).name, *name);
    }
    assert!(
        log.index
            .ends()
            .all(|(name, _)| name.as_str().starts_with("ended/"))
    );
    for (seq, id, _) in &log.entries {
        assert!(log.index.record(*id).seqs.contains(seq));
    }
    log.remove(2);
    assert_eq!(
        log.names().len(),
        100 + 50 + 1,
        "b is gone, and a burst is forgotten"
    );
}

#[test]
fn lost_entries_are_as_never_appended() {
    let mut log = Log::new(100);
    log.events(&["a", "b"]);
    log.remove(1);
    log.events(&["a", "new"]);
    log.push("b", EntryKind::End);
    for _ in 0..3 {
        let (_, id, kind) = log.entries.pop_back().unwrap();
        log.index.lose(id, kind);
    }
    log.index.settle();
    assert_eq!(log.names(), ["a", "b"]);
    assert_eq!((log.index.holding(), log.index.ends().len()), (1, 0));
    assert_eq!(log.index.gone, [(1, 0)], "a has no entry again");
    assert_eq!(log.index.gone_count, 1);
}
