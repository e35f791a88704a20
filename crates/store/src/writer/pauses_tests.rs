//! Tests of the pauses of the upkeep: what damage stops, and what it does not.

use std::collections::VecDeque;
use std::time::Duration;

use tidings_hub::{Draft, Retention};
use tokio::sync::oneshot;

use super::Steps;
use super::commit::Work;
use super::pauses::Reached;
use super::tests::{Bench, ROOMY, event};
use super::thread_tests::{SECOND, Turns, options};
use super::upkeep::Upkeep;
use super::upkeep_tests::{count_refused, damaged, damaged_with, destroy};
use crate::queue::Command;

/// Appends these in one turn.
fn append_all(turns: &mut Turns, drafts: impl IntoIterator<Item = Draft>) {
    let commands = drafts.into_iter().map(|draft| {
        let (reply, _) = oneshot::channel();
        Command::Append { draft, reply }
    });
    turns.thread.turn(commands.collect::<VecDeque<_>>());
}

fn keyed(count: usize) -> Vec<Draft> {
    (0..count).map(|n| event("a").key(format!("{n}"))).collect()
}

fn rows_of_keys(connection: &rusqlite::Connection) -> u64 {
    let count = connection.query_row("SELECT count(*) FROM keys", [], |row| row.get(0));
    i64::cast_unsigned(count.unwrap())
}

/// Makes a part of the upkeep wait for an hour.
fn pause_for_long(turns: &mut Turns, part: Upkeep) {
    let writer = &mut turns.thread.writer;
    for _ in 0..13 {
        let reached = Reached::of(&writer.head);
        writer.pauses.add(Work::Upkeep(part), reached);
    }
}

#[test]
fn keys_that_expired_during_a_pause_are_deleted_in_small_steps() {
    let mut turns = Turns::new(options());
    append_all(&mut turns, keyed(3_000));
    pause_for_long(&mut turns, Upkeep::Keys);
    turns.machine.pass(121 * SECOND);
    while turns.thread.writer.keys.len() > 0 {
        turns.append(event("a")).unwrap();
    }
    let rows = |turns: &Turns| rows_of_keys(&turns.thread.writer.connection);
    assert_eq!(rows(&turns), 3_000);
    turns.thread.writer.pauses = Default::default();
    for _ in 0..10 {
        let before = rows(&turns);
        turns.append(event("a")).unwrap();
        let deleted = before - rows(&turns);
        assert!((1..=66).contains(&deleted), "{deleted} rows");
    }
    // The rest does not wait for appends.
    while turns.thread.is_due() {
        let before = rows(&turns);
        turns.rest();
        let deleted = before - rows(&turns);
        assert!(deleted <= 1_024, "{deleted} rows");
    }
    assert_eq!(rows(&turns), 0);
}

#[test]
fn keys_that_have_expired_before_an_open_are_deleted_in_small_steps() {
    let mut bench = Bench::new(ROOMY, Steps::default());
    bench.append(&keyed(500), 9);
    bench.machine.pass(121 * SECOND);
    bench
        .commit(|commit| commit.append(event("a").key("new")))
        .map_err(|broken| broken.failure)
        .unwrap()
        .unwrap();
    bench.restart();
    assert_eq!(bench.writer.keys.len(), 1, "the others are not in memory");
    for _ in 0..3 {
        let before = rows_of_keys(&bench.writer.connection);
        bench.append(&[event("a")], 9);
        let deleted = before - rows_of_keys(&bench.writer.connection);
        assert!((1..=66).contains(&deleted), "{deleted} rows");
    }
    bench.settle();
    assert_eq!(rows_of_keys(&bench.writer.connection), 1);
}

#[test]
fn a_page_that_an_append_cannot_read_stops_no_upkeep() {
    let mut turns = damaged("");
    let file = destroy(&turns, "channels");
    // A publisher that tries again and again.
    for _ in 0..3 {
        turns.append(event("new")).unwrap_err();
    }
    assert_eq!(turns.bounds(), (10, 20));
    turns.append(event("c/19")).unwrap();
    assert_eq!(turns.bounds(), (11, 21));
    // A trim is not refused because of another user's append.
    let (reply, mut answer) = oneshot::channel();
    let trim = Command::Trim { first: 15, reply };
    let (reply, mut refused) = oneshot::channel();
    let draft = event("new");
    turns
        .thread
        .turn(VecDeque::from([trim, Command::Append { draft, reply }]));
    refused.try_recv().unwrap().unwrap_err();
    answer.try_recv().unwrap().unwrap();
    assert_eq!(turns.bounds(), (14, 21));
    drop(turns);
    drop(file);
}

#[test]
fn a_page_that_a_sweep_cannot_read_stops_no_removals() {
    let age = Duration::from_secs(10);
    let retention = Retention::in_memory().max_age(Some(age));
    let mut turns = damaged_with(options().retention(retention), "");
    let file = destroy(&turns, "gone");
    turns.thread.settings.index_batch = 8;
    assert!(count_refused(&mut turns, 10) > 0);
    turns.append(event("new")).unwrap();
    let (floor, last) = turns.bounds();
    assert_eq!(last - floor, 10);
    pause_for_long(&mut turns, Upkeep::Tidy);
    turns.thread.idle_until = None;
    assert!(!turns.thread.is_due());
    turns.machine.pass(11 * SECOND);
    assert!(turns.thread.is_due());
    turns.rest();
    assert_eq!(turns.bounds(), (last - 1, last));
    assert!(!turns.thread.is_due());
    assert!(turns.thread.patience() > Duration::ZERO);
    drop(turns);
    drop(file);
}

#[test]
fn a_pause_is_not_shorter_after_a_step_that_did_not_come_to_the_damage() {
    let mut turns = damaged("");
    let file = destroy(&turns, "gone");
    turns.thread.settings.index_batch = 8;
    assert!(count_refused(&mut turns, 10) > 0);
    let time = turns.thread.settings.steps.time;
    for _ in 0..5 {
        let pause = |turns: &Turns| turns.thread.writer.pauses.for_page(Upkeep::Tidy);
        let before = pause(&turns).unwrap();
        // The step ends before it has begun.
        turns.thread.writer.pauses.end();
        turns.thread.settings.steps.time = Duration::ZERO;
        turns.rest();
        turns.thread.settings.steps.time = time;
        turns.append(event("new")).unwrap_err();
        assert_eq!(pause(&turns), Some(2 * before));
    }
    drop(turns);
    drop(file);
}

#[test]
fn a_pause_is_short_again_after_the_upkeep_has_passed_the_damage() {
    let mut turns = damaged("");
    for part in Upkeep::ALL {
        pause_for_long(&mut turns, part);
    }
    turns.thread.writer.pauses.end();
    for _ in 0..100 {
        turns.append(event("c/0")).unwrap();
        turns.rest();
    }
    for part in Upkeep::ALL {
        assert_eq!(turns.thread.writer.pauses.for_page(part), None, "{part:?}");
    }
}

#[test]
fn a_page_of_the_state_that_cannot_be_read_refuses_one_batch_of_many() {
    let mut turns = damaged("");
    let file = destroy(&turns, "state");
    let refused = count_refused(&mut turns, 50);
    assert!((1..5).contains(&refused), "{refused}");
    drop(turns);
    drop(file);
}

#[test]
fn a_pause_of_the_sweeps_stops_no_deletion_of_keys() {
    let mut turns = Turns::new(options());
    append_all(&mut turns, keyed(500));
    turns.machine.pass(121 * SECOND);
    pause_for_long(&mut turns, Upkeep::Tidy);
    for _ in 0..10 {
        turns.append(event("a")).unwrap();
    }
    assert_eq!(rows_of_keys(&turns.thread.writer.connection), 0);
}
