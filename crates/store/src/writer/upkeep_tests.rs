//! Tests of the upkeep: its limits, and damage that it meets.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;

use tidings_hub::{ChannelName, Draft, LogErrorKind};
use tokio::sync::oneshot;

use super::tests::event;
use super::thread_tests::{SECOND, Turns, options};
use crate::queue::Command;
use crate::{Durability, StoreOptions, clock};

#[test]
fn one_step_deletes_at_most_4_mib_of_removed_entries() {
    let mut turns = Turns::new(options());
    turns.thread.settings.steps.time = Duration::from_secs(3600);
    let large = || Draft::event(ChannelName::from_static("a"), vec![b'x'; 512 << 10]);
    for _ in 0..30 {
        turns.append(large()).unwrap();
    }
    let first_row = |turns: &Turns| turns.thread.writer.head.first_row;
    turns.trim(30).unwrap();
    let mut steps = 0;
    while turns.thread.is_due() {
        let before = first_row(&turns);
        turns.rest();
        let deleted = first_row(&turns) - before;
        assert!(deleted <= 8, "{deleted} entries");
        steps += u32::from(deleted > 0);
    }
    assert_eq!(first_row(&turns), turns.on_disk().swept + 1);
    assert!(turns.on_disk().swept > 20 && steps > 1, "{steps} steps");
}

/// Appends to many channels, removes the first half, and damages the store before the sweep.
pub(super) fn damaged(sql: &str) -> Turns {
    damaged_with(options(), sql)
}

pub(super) fn damaged_with(options: StoreOptions, sql: &str) -> Turns {
    let mut turns = Turns::new(options);
    turns.thread.settings.steps.at_once = 0;
    for n in 0..20 {
        turns.append(event(&format!("c/{n}"))).unwrap();
    }
    turns.execute(sql);
    turns.thread.settings.retention = turns.thread.settings.retention.max_events(Some(10));
    turns
}

#[test]
fn a_damaged_row_holds_up_no_append_and_no_other_channel() {
    let mut turns = damaged("UPDATE places SET nth = 7 WHERE channel = 3");
    turns.thread.settings.index_batch = 1;
    for _ in 0..100 {
        turns.append(event("new")).unwrap();
        turns.rest();
    }
    let floor = turns.bounds().0;
    assert_eq!(floor, 110);
    assert!(turns.on_disk().swept > 90);
}

#[test]
fn a_damaged_oldest_entry_stops_removals_but_no_appends() {
    for sql in [
        "UPDATE entries SET total = total + 1000000 WHERE seq = 1",
        r#"UPDATE entries SET "check" = 'AAAAAA' WHERE seq IN (10, 11, 12)"#,
        "DELETE FROM entries WHERE seq = 1",
    ] {
        let mut turns = damaged(sql);
        turns.thread.writer.oldest.clear();
        turns.append(event("new")).unwrap();
        turns.append(event("new")).unwrap();
        assert_eq!(turns.bounds(), (0, 22), "{sql}");
        assert!(!turns.thread.is_due());
        assert_eq!(turns.thread.writer.head.state.floor.total, 0);
    }
}

/// Overwrites the first page of a table, and lets the writer forget what it has read.
pub(super) fn destroy(turns: &Turns, table: &str) -> File {
    turns.execute("PRAGMA wal_checkpoint(TRUNCATE)");
    let connection = &turns.thread.writer.connection;
    let select = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    let page = connection.query_row(select, [table], |row| crate::state_row::number(row, 0));
    let mut file = File::options()
        .write(true)
        .open(&turns.shared.path)
        .unwrap();
    let offset = (page.unwrap() - 1) * 4096;
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(&[0xFF; 4096]).unwrap();
    turns.execute("PRAGMA shrink_memory");
    file
}

/// How many of some appends are refused because a page cannot be read.
pub(super) fn count_refused(turns: &mut Turns, appends: usize) -> u64 {
    let mut refused = 0;
    for _ in 0..appends {
        if let Err(error) = turns.append(event("new")) {
            assert_eq!(error.kind(), LogErrorKind::Refused);
            assert!(!turns.thread.is_due());
            refused += 1;
        }
    }
    refused
}

#[test]
fn a_page_that_cannot_be_read_refuses_one_batch_of_many() {
    let mut turns = damaged("");
    let file = destroy(&turns, "gone");
    turns.thread.settings.index_batch = 8;
    let refused = count_refused(&mut turns, 50);
    assert!((1..5).contains(&refused), "{refused}");
    assert_eq!(turns.bounds().1, 70 - refused);
    // Closed after all connections, as closing it ends their locks.
    drop(turns);
    drop(file);
}

#[test]
fn expired_keys_on_a_page_that_cannot_be_read_refuse_one_batch_of_many() {
    let mut turns = Turns::new(options());
    for n in 0..100 {
        turns.append(event("a").key(format!("{n}"))).unwrap();
    }
    let file = destroy(&turns, "keys");
    turns.machine.pass(121 * SECOND);
    let refused = count_refused(&mut turns, 50);
    assert!((1..5).contains(&refused), "{refused}");
    assert_eq!(turns.thread.writer.keys.len(), 0, "they are in memory");
    drop(turns);
    drop(file);
}

#[test]
fn a_trim_is_refused_at_once_while_removals_wait() {
    let mut turns = damaged("DELETE FROM entries WHERE seq = 1");
    turns.thread.writer.oldest.clear();
    turns.append(event("new")).unwrap();
    let (reply, mut answer) = oneshot::channel();
    turns.turn(Command::Trim { first: 15, reply });
    let error = answer.try_recv().unwrap().unwrap_err();
    assert_eq!(error.kind(), LogErrorKind::Refused);
}

#[test]
fn commits_at_intervals_are_synchronized_while_the_upkeep_waits() {
    let hour = Duration::from_secs(3600);
    let interval = options().durability(Durability::Interval(hour));
    let mut turns = damaged_with(interval, "DELETE FROM entries WHERE seq = 1");
    turns.thread.writer.oldest.clear();
    turns.append(event("new")).unwrap();
    // The sweeps go on.
    while turns.thread.is_due() {
        turns.rest();
    }
    turns.thread.sync_at = Some(clock::now());
    assert!(turns.thread.is_due());
    assert_eq!(turns.thread.patience(), Duration::ZERO);
    turns.rest();
    assert_eq!((turns.thread.sync_at, turns.on_disk().syncs), (None, 1));
    assert!(!turns.thread.is_due());
    assert!(turns.thread.patience() > Duration::ZERO);
}

#[test]
fn a_trim_goes_on_while_channels_cannot_be_forgotten() {
    let mut turns = Turns::new(options());
    for n in 0..20 {
        turns.append(event(&format!("c/{n}"))).unwrap();
    }
    let drafts = (0..10_000).map(|_| {
        let (reply, _) = oneshot::channel();
        let draft = event("a");
        Command::Append { draft, reply }
    });
    turns.thread.turn(drafts.collect());
    let index_batch = std::mem::replace(&mut turns.thread.settings.index_batch, 1);
    turns.trim(21).unwrap();
    while turns.thread.is_due() {
        turns.rest();
    }
    turns.thread.settings.index_batch = index_batch;
    turns.execute("UPDATE gone SET channel = 'x'");
    turns.thread.settings.retention = turns.thread.settings.retention.remembered_channels(0);
    turns.trim(9_000).unwrap();
    assert_eq!(turns.bounds().0, 8_999);
}

#[test]
fn an_index_may_be_behind_by_any_number() {
    let mut turns = Turns::new(options().index_batch(usize::MAX));
    turns.thread.settings.steps.at_once = 0;
    for _ in 0..20 {
        turns.append(event("a")).unwrap();
    }
    turns.trim(11).unwrap();
    assert_eq!(turns.bounds(), (10, 20));
}

#[test]
fn a_clock_that_is_set_to_no_time_of_an_entry_damages_nothing() {
    let mut turns = Turns::new(options());
    turns.append(event("a")).unwrap();
    turns.machine.set_wall(u64::MAX);
    turns.append(event("a").key("k")).unwrap();
    turns.machine.set_wall(2_000 * SECOND);
    turns.append(event("a").key("k")).unwrap();
    turns.append(event("a")).unwrap();
    turns.thread.is_broken = true;
    turns.rest();
    assert_eq!(turns.bounds(), (0, 3));
    turns.append(event("a").key("l")).unwrap();
}
