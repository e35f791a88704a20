//! Tests of the turns of the writer's thread, and of how it ends.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tidings_hub::{Appended, ChannelName, Draft, Log, LogError, LogErrorKind, Retention};
use tidings_proto::Epoch;
use tidings_testkit::timeout::timeout;
use tokio::sync::oneshot;

use super::tests::{Directory, event};
use super::thread::Thread;
use super::{Sync, Writer};
use crate::clock;
use crate::clock::tests::Machine;
use crate::queue::Command;
use crate::readers::Readers;
use crate::shared::Shared;
use crate::state_row::StoreState;
use crate::store_file::StoreFile;
use crate::{Durability, StoreErrorKind, StoreLog, StoreOptions};

pub(super) const SECOND: u64 = 1_000_000_000;
const LIMIT: Duration = Duration::from_secs(30);

/// The state of a writer's thread, whose turns the test takes.
pub(super) struct Turns {
    pub(super) thread: Thread,
    pub(super) shared: Arc<Shared>,
    pub(super) machine: Machine,
    // Removed after the files were closed.
    pub(super) directory: Directory,
}

impl Turns {
    pub(super) fn new(options: StoreOptions) -> Self {
        let directory = Directory::new();
        let file = StoreFile::open_or_create(&directory.path().join("events.db")).unwrap();
        let mode: String = file
            .connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
            .unwrap();
        assert_eq!(mode, "wal");
        let recovered = Writer::recover(file.connection, file.state).unwrap();
        let (index, published) = (recovered.recent_index, recovered.published);
        let readers = Readers::open(&file.path).unwrap();
        let shared = Arc::new(Shared::new(file.path, options, readers, index, published));
        let machine = Machine::at(1_000 * SECOND);
        let mut writer = recovered.writer;
        writer.clock = machine.clock(0);
        Self {
            thread: Thread::new(writer, Arc::clone(&shared), file.lock).unwrap(),
            shared,
            machine,
            directory,
        }
    }

    pub(super) fn append(&mut self, draft: Draft) -> Result<Appended, LogError> {
        let (reply, mut answer) = oneshot::channel();
        self.turn(Command::Append { draft, reply });
        answer.try_recv().unwrap()
    }

    fn renew(&mut self, expected: &Epoch) -> Epoch {
        let (reply, mut answer) = oneshot::channel();
        let expected = expected.clone();
        self.turn(Command::RenewEpoch { expected, reply });
        answer.try_recv().unwrap().unwrap()
    }

    /// Trims, and takes turns until that is answered.
    pub(super) fn trim(&mut self, first: u64) -> Result<(), LogError> {
        let (reply, mut answer) = oneshot::channel();
        self.turn(Command::Trim { first, reply });
        loop {
            match answer.try_recv() {
                Ok(answer) => return answer,
                Err(_) => self.rest(),
            }
        }
    }

    pub(super) fn turn(&mut self, command: Command) {
        self.thread.turn(VecDeque::from([command]));
    }

    pub(super) fn rest(&mut self) {
        self.thread.turn(VecDeque::new());
    }

    pub(super) fn execute(&self, sql: &str) {
        self.thread.writer.connection.execute_batch(sql).unwrap();
    }

    pub(super) fn bounds(&self) -> (u64, u64) {
        let bounds = self.shared.published().bounds().unwrap();
        (bounds.floor.seq, bounds.last.seq)
    }

    pub(super) fn on_disk(&self) -> StoreState {
        StoreState::read(&self.thread.writer.connection).unwrap()
    }
}

pub(super) fn options() -> StoreOptions {
    StoreLog::options().retention(Retention::in_memory())
}

/// Makes each commit with an entry fail at its end.
pub(super) const FAIL_AT_COMMIT: &str = "PRAGMA foreign_keys = ON; \
    CREATE TEMP TABLE parent(id INTEGER PRIMARY KEY); \
    CREATE TEMP TABLE child(id INTEGER REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED); \
    CREATE TEMP TRIGGER fails AFTER INSERT ON main.entries BEGIN INSERT INTO child VALUES(1); END;";

#[test]
fn an_append_whose_commit_fails_is_lost_and_the_next_one_succeeds() {
    let mut turns = Turns::new(options());
    turns.append(event("a")).unwrap();
    turns.execute(FAIL_AT_COMMIT);
    let lost = turns.append(event("b")).unwrap_err();
    assert_eq!(lost.kind(), LogErrorKind::Lost);
    assert_eq!(turns.bounds(), (0, 1));
    assert!(turns.thread.is_due());
    turns.rest();
    assert_eq!(turns.append(event("c")).unwrap(), Appended::new(2));
    assert_eq!(turns.bounds(), (0, 2));
}

#[test]
fn entries_of_a_commit_that_seemed_lost_are_published_if_they_are_on_the_disk() {
    let mut turns = Turns::new(options());
    turns.append(event("a")).unwrap();
    let epoch = turns.shared.published().epoch.clone();
    let thread = &mut turns.thread;
    let now = thread.writer.clock.now();
    let index = &turns.shared.recent_index;
    let settings = thread.settings;
    let append = |commit: &mut super::commit::Commit<'_>| commit.append(event("new").key("k"));
    let committed = thread
        .writer
        .commit(index, &settings, Sync::Full, now, append);
    assert!(committed.is_ok());
    thread.is_broken = true;
    turns.rest();
    assert_eq!(turns.bounds(), (0, 2));
    assert_eq!(
        turns.append(event("new").key("k")).unwrap(),
        Appended::repeat(2)
    );
    assert_eq!(turns.append(event("new")).unwrap(), Appended::new(3));
    assert_eq!(turns.shared.published().epoch, epoch);
}

#[test]
fn a_store_that_has_lost_entries_while_it_was_open_answers_nothing_more() {
    let mut turns = Turns::new(options());
    turns.append(event("a")).unwrap();
    turns.append(event("a")).unwrap();
    turns.execute("DELETE FROM entries WHERE seq = 2; DELETE FROM places WHERE seq = 2");
    turns.thread.is_broken = true;
    let refused = turns.append(event("b")).unwrap_err();
    assert_eq!(refused.kind(), LogErrorKind::Refused);
    let failure = turns.shared.published().bounds().unwrap_err();
    assert_eq!(failure.kind(), LogErrorKind::Lost);
}

#[test]
fn while_the_disk_is_full_appends_are_refused_and_repeats_are_answered() {
    let mut turns = Turns::new(options());
    turns.append(event("a").key("k")).unwrap();
    turns.execute("PRAGMA max_page_count = 1");
    let large = Draft::event(ChannelName::from_static("a"), vec![b'x'; 100_000]);
    let refused = turns.append(large.clone()).unwrap_err();
    assert_eq!(refused.kind(), LogErrorKind::Refused);
    assert_eq!(
        turns.append(event("a").key("k")).unwrap(),
        Appended::repeat(1)
    );
    assert_eq!(turns.bounds(), (0, 1));
    turns.execute("PRAGMA max_page_count = 1000000");
    assert_eq!(turns.append(large).unwrap(), Appended::new(2));
}

#[test]
fn the_oldest_entry_is_removed_when_it_is_too_old_without_an_append() {
    let age = Duration::from_secs(10);
    let mut turns = Turns::new(options().retention(Retention::in_memory().max_age(Some(age))));
    turns.append(event("a")).unwrap();
    assert_eq!(
        turns.thread.expires_in(),
        None,
        "the newest entry is never removed"
    );
    turns.machine.pass(4 * SECOND);
    turns.append(event("b")).unwrap();
    let left = Duration::from_nanos(6 * SECOND + 1);
    assert_eq!(turns.thread.expires_in(), Some(left));
    assert!(!turns.thread.is_due());
    turns.machine.pass(6 * SECOND + 1);
    assert!(turns.thread.is_due());
    turns.rest();
    assert_eq!(turns.bounds(), (1, 2));
}

#[test]
fn commits_at_intervals_are_synchronized_also_without_an_append() {
    let hour = Duration::from_secs(3600);
    let mut turns = Turns::new(options().durability(Durability::Interval(hour)));
    assert!(turns.on_disk().is_unsynced);
    turns.append(event("a")).unwrap();
    assert!(turns.thread.sync_at.is_some() && !turns.thread.is_due());
    turns.thread.sync_at = Some(clock::now());
    assert!(turns.thread.is_due());
    turns.rest();
    assert_eq!((turns.thread.sync_at, turns.on_disk().syncs), (None, 1));
    assert!(!turns.thread.is_due());
}

#[test]
fn only_the_expected_epoch_is_renewed_and_the_new_one_is_on_the_disk() {
    let mut turns = Turns::new(options());
    let first = turns.shared.published().epoch.clone();
    let second = turns.renew(&first);
    assert_ne!(second, first);
    assert_eq!(turns.renew(&first), second);
    assert_eq!(turns.on_disk().epoch, second);
    assert_eq!(turns.shared.published().epoch, second);
}

#[test]
fn a_trim_that_takes_several_steps_is_answered_after_the_last() {
    let mut turns = Turns::new(options());
    let commands = (0..10_000).map(|_| {
        let (reply, _) = oneshot::channel();
        let draft = event("a");
        Command::Append { draft, reply }
    });
    turns.thread.turn(commands.collect());
    let (reply, mut answer) = oneshot::channel();
    turns.turn(Command::Trim {
        first: 9_000,
        reply,
    });
    while turns.bounds().0 < 8_999 {
        assert!(answer.try_recv().is_err());
        assert!(turns.thread.is_due());
        turns.rest();
    }
    answer.try_recv().unwrap().unwrap();
    while turns.thread.is_due() {
        turns.rest();
    }
    let count = "SELECT count(*) FROM entries";
    let count = turns
        .thread
        .writer
        .connection
        .query_row(count, [], |row| row.get(0));
    assert_eq!(count, Ok(10_000 - turns.on_disk().swept.cast_signed()));
    assert!(turns.on_disk().swept > 7_000);
}

#[tokio::test]
async fn a_closed_store_answers_nothing_and_opens_again() {
    let directory = Directory::new();
    let path = directory.path().join("events.db");
    let buffered = options().durability(Durability::Buffered);
    let log = buffered.open(&path).unwrap();
    assert_eq!(log.append(event("a")).await.unwrap(), Appended::new(1));
    let before = log.bounds().await.unwrap();
    timeout(LIMIT, log.close()).await.unwrap().unwrap();
    let closed = log.close().await.unwrap_err();
    assert_eq!(*closed.kind(), StoreErrorKind::Closed);
    let lost = log.append(event("a")).await.unwrap_err();
    assert_eq!(lost.kind(), LogErrorKind::Lost);
    assert_eq!(log.bounds().await.unwrap_err().kind(), LogErrorKind::Lost);
    let again = buffered.open(&path).unwrap();
    assert_eq!(again.bounds().await.unwrap(), before);
}

#[test]
fn the_drop_of_the_last_handle_closes_the_store_without_a_runtime() {
    let directory = Directory::new();
    let path = directory.path().join("events.db");
    let buffered = options().durability(Durability::Buffered);
    let mut epochs = Vec::new();
    for _ in 0..3 {
        let log = buffered.open(&path).unwrap();
        let clone = log.clone();
        // The number is given by the call.
        drop(log.append(event("a")));
        drop(log);
        epochs.push(
            futures_util::FutureExt::now_or_never(clone.bounds())
                .unwrap()
                .unwrap()
                .epoch,
        );
    }
    assert!(
        epochs.iter().all(|epoch| *epoch == epochs[0]),
        "it was closed in order"
    );
    let log = buffered.open(&path).unwrap();
    let bounds = futures_util::FutureExt::now_or_never(log.bounds())
        .unwrap()
        .unwrap();
    assert_eq!(bounds.last.seq, 3);
}

#[tokio::test]
async fn a_body_of_more_than_64_mib_is_too_large() {
    let directory = Directory::new();
    let log = options().open(directory.path().join("events.db")).unwrap();
    let body = vec![b'x'; (64 << 20) + 1];
    let draft = Draft::event(ChannelName::from_static("a"), body);
    let error = log.append(draft).await.unwrap_err();
    assert_eq!(error.kind(), LogErrorKind::TooLarge);
}

#[tokio::test]
async fn an_idle_store_removes_what_a_smaller_retention_does_not_keep() {
    let directory = Directory::new();
    let path = directory.path().join("events.db");
    let log = options().open(&path).unwrap();
    for _ in 0..50 {
        log.append(event("a")).await.unwrap();
    }
    log.close().await.unwrap();
    let smaller = options().retention(Retention::in_memory().max_events(Some(10)));
    let log = smaller.open(&path).unwrap();
    let removed = async {
        loop {
            let mut changed = pin!(log.shared().changed.notified());
            changed.as_mut().enable();
            if log.bounds().await.unwrap().floor.seq == 40 {
                return;
            }
            changed.await;
        }
    };
    timeout(LIMIT, removed).await.unwrap();
}
