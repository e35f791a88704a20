//! Tests of sweeps over random histories.

use std::collections::BTreeMap;

use fastrand::Rng;
use tidings_hub::{Draft, EntryKind};
use tidings_testkit::property;

use super::Steps;
use super::tests::{Bench, ROOMY, end, event};

/// A random history of transactions.
fn history(rng: &mut Rng) -> Vec<Vec<Draft>> {
    let transactions = rng.usize(5..60);
    let channels = rng.usize(1..8);
    let draft = |rng: &mut Rng| {
        let name = format!("c/{}", rng.usize(..channels));
        if rng.u8(..20) == 0 {
            end(&name)
        } else {
            event(&name)
        }
    };
    let transaction = |rng: &mut Rng| {
        let count = rng.usize(..6);
        (0..count).map(|_| draft(rng)).collect()
    };
    (0..transactions).map(|_| transaction(rng)).collect()
}

fn steps(at_once: u64) -> Steps {
    Steps {
        at_once,
        ..Steps::default()
    }
}

/// The rows of `places` and `gone` after everything was swept, from all entries that were ever appended.
fn expected_index(entries: &[Draft], floor: usize) -> (Vec<String>, Vec<String>) {
    let mut rows: BTreeMap<&str, Vec<(usize, u64, bool)>> = BTreeMap::new();
    let mut ids: Vec<&str> = Vec::new();
    for (seq, draft) in (1..).zip(entries) {
        let name = draft.channel.as_str();
        if !ids.contains(&name) {
            ids.push(name);
        }
        let rows = rows.entry(name).or_default();
        let events = rows.last().map_or(0, |row| row.1);
        let is_end = draft.kind == EntryKind::End;
        rows.push((seq, events + u64::from(!is_end), is_end));
    }
    let (mut places, mut gone) = (Vec::new(), Vec::new());
    for (id, name) in (1..).zip(ids) {
        let rows = &rows[name];
        let removed = rows.iter().filter(|row| row.0 <= floor).count();
        let is_end = removed > 0 && rows[removed - 1].2;
        let kept = removed.saturating_sub(if is_end { 2 } else { 1 });
        places.extend(
            rows[kept..]
                .iter()
                .map(|row| format!("{id} {} {}", row.0, row.1)),
        );
        if removed == rows.len() {
            gone.push(format!("{} {} {id}", u8::from(is_end), rows[removed - 1].0));
        }
    }
    gone.sort();
    (places, gone)
}

#[test]
fn the_index_has_what_the_entries_say_after_sweeps_and_restarts() {
    let seed = property::seed();
    for step in 0..property::steps(60) {
        let mut rng = Rng::with_seed(seed.wrapping_add(step));
        let history = history(&mut rng);
        let retention = ROOMY
            .max_events(Some(rng.u64(1..20)))
            .remembered_channels(100);
        let mut bench = Bench::new(retention, steps(rng.u64(..9)));
        let mut entries = Vec::new();
        for drafts in &history {
            let results = bench.append(drafts, rng.u64(1..9));
            let stored = drafts
                .iter()
                .zip(results)
                .filter(|(_, result)| result.is_ok());
            entries.extend(stored.map(|(draft, _)| draft.clone()));
            if rng.u8(..4) == 0 {
                bench.restart();
            }
        }
        bench.settings.index_batch = 1;
        bench.begin_and_settle();
        let head = &bench.writer.head;
        assert_eq!(head.last(), entries.len() as u64);
        let floor = usize::try_from(head.floor()).unwrap();
        let removed = entries[..floor]
            .iter()
            .filter(|draft| draft.kind == EntryKind::Event);
        assert_eq!(head.state.removed.count, removed.count() as u64);
        let rows = |sql| {
            let mut select = bench.writer.connection.prepare(sql).unwrap();
            let rows = select.query_map([], |row| {
                let [a, b, c] = [row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?];
                Ok(format!("{a} {b} {c}"))
            });
            rows.unwrap().map(Result::unwrap).collect::<Vec<_>>()
        };
        let (places, mut gone) = (
            rows("SELECT channel, seq, nth FROM places"),
            rows("SELECT * FROM gone"),
        );
        gone.sort();
        assert_eq!(
            (places, gone),
            expected_index(&entries, floor),
            "step {step}"
        );
    }
}

#[test]
fn sweeps_in_the_smallest_steps_end_with_the_same_tables() {
    let seed = property::seed();
    for step in 0..property::steps(60) {
        let mut rng = Rng::with_seed(seed.wrapping_add(step));
        let history = history(&mut rng);
        let retention = ROOMY
            .max_events(Some(rng.u64(1..20)))
            .remembered_channels(100);
        let mut at_once = Bench::new(retention, steps(u64::MAX));
        let mut stepped = Bench::new(retention, steps(0));
        for bench in [&mut at_once, &mut stepped] {
            // A row at a time does not keep up with larger transactions.
            history
                .iter()
                .for_each(|drafts| drop(bench.append(drafts, 1)));
            bench.settings.index_batch = 1;
            bench.settle();
            bench.begin_and_settle();
        }
        let expected = normal(at_once.tables());
        assert_eq!(normal(stepped.tables()), expected, "step {step}");
    }
}

impl Bench {
    /// Sweeps until nothing is left to sweep.
    fn begin_and_settle(&mut self) {
        loop {
            self.writer.begin_sweep(&self.index, &self.settings);
            self.settle();
            let head = &self.writer.head;
            if head.unswept() == 0 && head.state.indexed == head.last() {
                break;
            }
        }
    }
}

/// The tables without what differs between stores: the epoch, checks and sums.
fn normal(mut tables: BTreeMap<&'static str, Vec<String>>) -> BTreeMap<&'static str, Vec<String>> {
    tables.remove("state");
    tables
}

#[test]
fn a_restart_at_every_step_of_a_sweep_ends_with_the_same_tables() {
    let seed = property::seed();
    for step in 0..property::steps(60) {
        let mut rng = Rng::with_seed(seed.wrapping_add(step));
        let history = history(&mut rng);
        let retention = ROOMY
            .max_events(Some(rng.u64(1..20)))
            .remembered_channels(100);
        let mut expected = Bench::new(retention, steps(u64::MAX));
        let mut restarted = Bench::new(retention, steps(0));
        for drafts in &history {
            let results = expected.append(drafts, u64::MAX);
            assert_eq!(
                restarted.append(drafts, rng.u64(1..4)),
                results,
                "step {step}"
            );
            restarted.restart();
        }
        for bench in [&mut expected, &mut restarted] {
            bench.settings.index_batch = 1;
            bench.begin_and_settle();
        }
        let (expected, restarted) = (normal(expected.tables()), normal(restarted.tables()));
        assert_eq!(restarted, expected, "step {step}");
    }
}

#[test]
fn a_sweep_that_was_broken_off_is_done_again_before_channels_are_forgotten() {
    for (settle, remembered) in [(1, 0), (7, 0), (40, 3), (90, 10)] {
        let mut bench = Bench::new(ROOMY.remembered_channels(remembered), steps(0));
        let drafts: Vec<_> = (0..100).map(|n| event(&format!("c/{n}"))).collect();
        bench.append(&drafts, 0);
        // The sweep goes in the order of channels, which is not that of their newest entries.
        let mut again: Vec<_> = (0..100).rev().map(|n| end(&format!("c/{n}"))).collect();
        again.push(event("last"));
        bench.append(&again, 0);
        bench.settings.retention = bench.settings.retention.max_events(Some(1));
        bench.append(&[], 0);
        for _ in 0..settle {
            bench.append(&[], 1);
        }
        bench.restart();
        let mut ends_since = 1;
        for _ in 0..1_000 {
            bench.append(&[], 9);
            let state = &bench.writer.head.state;
            assert!(state.ends_since >= ends_since);
            ends_since = state.ends_since;
            let kept: Option<i64> = bench
                .writer
                .connection
                .query_row("SELECT min(\"end\") FROM channels", [], |row| row.get(0))
                .unwrap();
            assert!(kept.is_none_or(|kept| kept as u64 >= ends_since));
        }
        assert!(!bench.writer.is_busy(&bench.settings));
        assert_eq!(bench.writer.head.gone, [0, remembered]);
        assert!(bench.append(&[event("new")], 9)[0].is_ok());
    }
}

#[test]
fn a_small_sweep_forgets_few_channels_beyond_its_limit() {
    let mut bench = Bench::new(ROOMY.max_events(Some(8)), Steps::default());
    for n in 0..250 {
        bench.append(&[event(&format!("c/{n}"))], u64::MAX);
    }
    bench.restart();
    let count = |bench: &Bench| -> i64 {
        let count = "SELECT count(*) FROM channels";
        let connection = &bench.writer.connection;
        connection.query_row(count, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count(&bench), 250);
    bench.settings.retention = bench.settings.retention.remembered_channels(0);
    // Nothing of the limit of each step is left.
    bench.append(&[], 0);
    assert_eq!(count(&bench), 250);
    for n in 0..3 {
        let before = count(&bench);
        bench.append(&[event(&format!("new/{n}"))], 0);
        let forgotten = before + 1 - count(&bench);
        assert!((1..=18).contains(&forgotten), "{forgotten} channels");
    }
    bench.settle();
    assert_eq!(count(&bench), 8);
}

#[test]
fn a_small_log_forgets_all_channels_of_a_removal_at_once() {
    let mut bench = Bench::new(ROOMY.remembered_channels(5), Steps::default());
    for n in 0..200 {
        bench.append(&[event(&format!("c/{n}"))], u64::MAX);
    }
    bench.settings.retention = bench.settings.retention.max_events(Some(1));
    bench.append(&[], 0);
    assert_eq!(bench.writer.head.gone, [5, 0]);
}
