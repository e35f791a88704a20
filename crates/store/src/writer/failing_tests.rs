//! Tests of the writer's failures, and of the limit of the write-ahead log.

use std::collections::VecDeque;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use futures_util::FutureExt;
use rusqlite::Connection;
use tidings_hub::{Appended, ChannelName, Draft, LogError, LogErrorKind};
use tokio::sync::oneshot;

use super::tests::event;
use super::thread_tests::{FAIL_AT_COMMIT, Turns, options};
use crate::StoreLog;
use crate::clock;
use crate::connection::open_reader;
use crate::queue::Command;

type Answer = oneshot::Receiver<Result<Appended, LogError>>;

fn append(draft: Draft) -> (Command, Answer) {
    let (reply, answer) = oneshot::channel();
    (Command::Append { draft, reply }, answer)
}

fn batch(drafts: impl IntoIterator<Item = Draft>) -> (VecDeque<Command>, Vec<Answer>) {
    drafts.into_iter().map(append).unzip()
}

#[test]
fn a_channel_has_not_ended_if_the_transaction_of_its_end_fails() {
    for sql in [FAIL_AT_COMMIT, "PRAGMA max_page_count = 1"] {
        let mut turns = Turns::new(options());
        turns.append(event("a")).unwrap();
        turns.execute(sql);
        let name = || ChannelName::from_static("a");
        let large = Draft::event(ChannelName::from_static("b"), vec![b'x'; 100_000]);
        let drafts = [Draft::end(name()), event("a"), Draft::end(name()), large];
        let (commands, answers) = batch(drafts);
        turns.thread.turn(commands);
        for mut answer in answers {
            let error = answer.try_recv().unwrap().unwrap_err();
            assert_ne!(error.kind(), LogErrorKind::Ended, "{sql}");
        }
    }
}

#[test]
fn a_disk_that_fails_each_commit_causes_one_recovery_in_a_while() {
    let mut turns = Turns::new(options());
    turns.append(event("a")).unwrap();
    turns.execute(FAIL_AT_COMMIT);
    turns.append(event("a")).unwrap_err();
    assert!(turns.thread.is_due(), "the first recovery does not wait");
    turns.rest();
    turns.execute(FAIL_AT_COMMIT);
    turns.append(event("a")).unwrap_err();
    assert!(turns.thread.is_broken && !turns.thread.is_due());
    // An append waits for the recovery.
    let at = turns.thread.reopen_at.unwrap();
    assert_eq!(turns.append(event("a")).unwrap(), Appended::new(2));
    assert!(clock::now() >= at);
}

#[test]
fn a_file_that_has_another_entry_in_the_place_of_the_last_has_lost_entries() {
    let mut turns = Turns::new(options());
    turns.append(event("a")).unwrap();
    let last = turns.thread.writer.head.last;
    turns.append(event("a")).unwrap();
    turns.thread.writer.head.last.place = tidings_hub::Place {
        check: turns.thread.writer.head.last.place.check,
        ..last.place
    };
    turns.thread.is_broken = true;
    turns.append(event("b")).unwrap_err();
    assert!(turns.shared.failure().is_some());
}

#[test]
fn after_a_panic_of_the_writer_everything_fails_and_the_store_opens_again() {
    let mut turns = Turns::new(options());
    turns.append(event("a")).unwrap();
    let (command, mut answer) = append(event("a"));
    turns.shared.queue.push(command).unwrap();
    // A limit that cannot be: the writer panics after the commit.
    turns.thread.settings.index_batch = 0;
    let Turns {
        thread,
        shared,
        directory,
        ..
    } = turns;
    thread.guard();
    assert!(answer.try_recv().is_err() || shared.failure().is_some());
    assert!(shared.failure().unwrap().kind() == LogErrorKind::Lost);
    let (command, _) = append(event("a"));
    shared.queue.push(command).unwrap_err();
    // The lock is free, and no reader is left.
    let log = StoreLog::open(directory.path().join("events.db")).unwrap();
    let bounds = tidings_hub::Log::bounds(&log).now_or_never().unwrap();
    assert!(bounds.unwrap().last.seq >= 1);
}

/// The pages of checkpoints, and a multiple of them that the write-ahead log may have.
const PAGES: u32 = 100;
const LIMIT: u64 = 6 * PAGES as u64;

/// The most pages that the write-ahead log had, while commits of so many large events went on.
fn most_pages(turns: &mut Turns, commits: usize, bodies: usize) -> u64 {
    let path = turns.directory.path().join("events.db-wal");
    let mut most = 0;
    for _ in 0..commits {
        let body = || Draft::event(ChannelName::from_static("a"), vec![b'x'; 1 << 20]);
        let (commands, answers) = batch((0..bodies).map(|_| body()));
        turns.thread.turn(commands);
        for mut answer in answers {
            answer.try_recv().unwrap().unwrap();
        }
        most = most.max(fs::metadata(&path).unwrap().len() / 4_120);
    }
    most
}

#[test]
fn the_write_ahead_log_has_a_limit_while_large_events_are_appended() {
    let mut turns = Turns::new(options().checkpoint_pages(PAGES));
    let commit = 5 * 260;
    let most = most_pages(&mut turns, 10, 5);
    assert!(most <= LIMIT + commit, "{most} pages");
}

#[test]
fn the_write_ahead_log_has_a_limit_while_readers_are_busy() {
    let mut turns = Turns::new(options().checkpoint_pages(PAGES));
    turns.append(event("a")).unwrap();
    let path = turns.directory.path().join("events.db");
    let is_done = AtomicBool::new(false);
    let most = thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let connection = open_reader(&path).unwrap();
                while !is_done.load(Ordering::Relaxed) {
                    question(&connection);
                }
            });
        }
        let most = most_pages(&mut turns, 20, 2);
        is_done.store(true, Ordering::Relaxed);
        most
    });
    assert!(most <= LIMIT + 3 * 520, "{most} pages");
}

/// A reader has its snapshot for a short time, and then takes another one.
fn question(connection: &Connection) {
    connection.execute_batch("BEGIN").unwrap();
    let count: i64 = connection
        .query_row("SELECT count(*) FROM entries", [], |row| row.get(0))
        .unwrap();
    assert!(count >= 1);
    // The snapshots of several readers overlap.
    thread::park_timeout(Duration::from_millis(5));
    connection.execute_batch("COMMIT").unwrap();
}

#[test]
fn an_append_waits_only_now_and_then_for_a_snapshot_that_is_held_for_long() {
    let mut turns = Turns::new(options().checkpoint_pages(PAGES));
    turns.append(event("a")).unwrap();
    let reader = open_reader(&turns.directory.path().join("events.db")).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let count = "SELECT count(*) FROM entries";
    let count: i64 = reader.query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
    let begun = clock::now();
    assert!(most_pages(&mut turns, 12, 2) > LIMIT);
    let waited = clock::now() - begun;
    reader.execute_batch("COMMIT").unwrap();
    assert!(waited < Duration::from_secs(60), "{waited:?}");
    // It is used again from its start after the next wait.
    let before = fs::metadata(turns.directory.path().join("events.db-wal"));
    let most = before.unwrap().len() / 4_120 + 1_000 + 520;
    assert!(most_pages(&mut turns, 8, 2) <= most);
}
