//! Tests of the writer by itself, without its thread.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{env, fs, process};

use rusqlite::Connection;
use tidings_hub::{Appended, ChannelName, Draft, LogErrorKind, Retention, random_epoch};

use super::budget::Budget;
use super::commit::Commit;
use super::*;
use crate::clock::tests::Machine;
use crate::schema::SCHEMA;

/// A directory of one test, removed with it.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tidings-writer-{}-{next}", process::id());
        let path = env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn connect(&self) -> Connection {
        let connection = Connection::open(self.0.join("events.db")).unwrap();
        let mode: String = connection
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .unwrap();
        assert_eq!(mode, "wal");
        connection
            .execute_batch("PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0")
            .unwrap();
        connection
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

impl Writer {
    /// Whether there is work that no append must wait for.
    pub(super) fn is_busy(&self, settings: &Settings) -> bool {
        let mut parts = Upkeep::ALL.into_iter();
        parts.any(|part| self.has_work(part, settings))
    }
}

/// A writer without a thread.
pub(super) struct Bench {
    pub(super) directory: Directory,
    pub(super) machine: Machine,
    pub(super) settings: Settings,
    pub(super) writer: Writer,
    pub(super) index: RwLock<RecentIndex>,
}

const SECOND: u64 = 1_000_000_000;

impl Bench {
    pub(super) fn new(retention: Retention, steps: Steps) -> Self {
        let directory = Directory::new();
        let connection = directory.connect();
        connection.execute_batch(SCHEMA).unwrap();
        let state = StoreState::new(random_epoch(), [3; 16]);
        state.write(&connection).unwrap();
        let machine = Machine::at(1_000 * SECOND);
        let (writer, index) = Self::recover(connection, &machine);
        let settings = Settings {
            retention,
            index_batch: 32_768,
            steps,
        };
        Self {
            directory,
            machine,
            settings,
            writer,
            index,
        }
    }

    pub(super) fn recover(
        connection: Connection,
        machine: &Machine,
    ) -> (Writer, RwLock<RecentIndex>) {
        let state = StoreState::read(&connection).unwrap();
        let recovered = Writer::recover(connection, state).unwrap();
        let mut writer = recovered.writer;
        writer.sync = Some(Sync::Later);
        writer.clock = machine.clock(writer.head.last.time);
        (writer, RwLock::new(recovered.recent_index))
    }

    /// Forgets everything that is in memory.
    pub(super) fn restart(&mut self) {
        let connection = self.directory.connect();
        (self.writer, self.index) = Self::recover(connection, &self.machine);
    }

    pub(super) fn commit<T>(
        &mut self,
        work: impl FnOnce(&mut Commit<'_>) -> Outcome<T>,
    ) -> Result<T, Broken> {
        let now = self.writer.clock.now();
        let (index, settings) = (&self.index, &self.settings);
        let (done, staged) = self
            .writer
            .commit(index, settings, Sync::Later, now, work)?;
        self.writer.apply(index, staged);
        self.writer.begin_sweep(index, settings);
        Ok(done)
    }

    /// Appends in one transaction, with so many rows of other work.
    pub(super) fn append(
        &mut self,
        drafts: &[Draft],
        rows: u64,
    ) -> Vec<Result<Appended, LogErrorKind>> {
        let appended = self.commit(|commit| {
            commit.expire_keys(drafts.len())?;
            let mut appended = Vec::new();
            for draft in drafts {
                let result = commit.append(draft.clone())?;
                appended.push(result.map_err(|error| error.kind()));
            }
            commit.try_removal(0, u64::MAX, &Budget::unlimited())?;
            commit.try_tidy(&mut Budget::new(rows, Duration::MAX))?;
            Ok(appended)
        });
        appended.map_err(|broken| broken.failure).unwrap()
    }

    /// Does all work that is left.
    pub(super) fn settle(&mut self) {
        while self.writer.is_busy(&self.settings) {
            self.append(&[], u64::MAX);
        }
    }

    /// The rows of all tables that a question may depend on.
    pub(super) fn tables(&self) -> BTreeMap<&'static str, Vec<String>> {
        let connection = &self.writer.connection;
        let tables = [
            ("state", "SELECT * FROM state"),
            ("entries", "SELECT * FROM entries"),
            ("channels", "SELECT * FROM channels"),
            ("places", "SELECT * FROM places"),
            ("gone", "SELECT * FROM gone"),
        ];
        let mut all = BTreeMap::new();
        for (table, sql) in tables {
            let mut select = connection.prepare(sql).unwrap();
            let columns = select.column_count();
            let rows = select.query_map([], |row| {
                let values = (0..columns).map(|at| format!("{:?}", row.get_ref(at).unwrap()));
                Ok(values.collect::<Vec<_>>().join(","))
            });
            all.insert(table, rows.unwrap().map(Result::unwrap).collect());
        }
        all
    }
}

pub(super) fn event(name: &str) -> Draft {
    let body = format!("data: {name}\n\n");
    Draft::event(ChannelName::new(name).unwrap(), body)
}

pub(super) fn end(name: &str) -> Draft {
    Draft::end(ChannelName::new(name).unwrap())
}

pub(super) const ROOMY: Retention = Retention::in_memory();

#[test]
fn entries_have_numbers_totals_and_ends() {
    let mut bench = Bench::new(ROOMY, Steps::default());
    let appended = bench.append(
        &[event("a"), event("b"), end("a"), event("a"), end("a")],
        99,
    );
    let new = |seq| Ok(Appended::new(seq));
    let ended = Err(LogErrorKind::Ended);
    assert_eq!(appended, [new(1), new(2), new(3), ended, ended]);
    for _ in 0..2 {
        assert_eq!(bench.append(&[event("a")], 99), [ended]);
        bench.restart();
    }
    assert_eq!(bench.append(&[event("b")], 99), [new(4)]);
    let total = bench.writer.head.last.total;
    assert_eq!(total, 4 * 81 + 3 * 9);
}

#[test]
fn a_repeat_of_a_key_appends_nothing_also_after_a_restart_and_after_the_end() {
    let mut bench = Bench::new(ROOMY.max_events(Some(1)), Steps::default());
    let keyed = event("a").key("k");
    let first = bench.append(
        &[keyed.clone(), keyed.clone(), event("b").key("k"), end("a")],
        9,
    );
    let new = |seq| Ok(Appended::new(seq));
    let repeat = Ok(Appended::repeat(1));
    assert_eq!(first, [new(1), repeat, new(2), new(3)]);
    bench.machine.pass(120 * SECOND - 1);
    assert_eq!(bench.append(std::slice::from_ref(&keyed), 9), [repeat]);
    bench.restart();
    assert_eq!(bench.append(std::slice::from_ref(&keyed), 9), [repeat]);
    bench.machine.pass(1);
    assert_eq!(bench.append(&[keyed], 9), [Err(LogErrorKind::Ended)]);
    let keys = "SELECT count(*) FROM keys";
    let keys: i64 = bench
        .writer
        .connection
        .query_row(keys, [], |row| row.get(0))
        .unwrap();
    assert_eq!(keys, 0);
    assert_eq!(bench.writer.keys.len(), 0);
}

#[test]
fn a_key_can_be_used_again_after_it_has_expired() {
    let mut bench = Bench::new(ROOMY, Steps::default());
    let keyed = event("a").key("k");
    bench.append(std::slice::from_ref(&keyed), 9);
    bench.machine.pass(120 * SECOND);
    assert_eq!(
        bench.append(std::slice::from_ref(&keyed), 9),
        [Ok(Appended::new(2))]
    );
    bench.restart();
    assert_eq!(bench.append(&[keyed], 9), [Ok(Appended::repeat(2))]);
}

#[test]
fn a_transaction_that_fails_changes_nothing_in_memory() {
    let mut bench = Bench::new(ROOMY.max_events(Some(3)), Steps::default());
    bench.append(
        &[event("a").key("1"), event("b"), event("c"), event("d")],
        9,
    );
    let (head, tables) = (bench.writer.head.clone(), bench.tables());
    let failed = bench.commit(|commit| {
        commit.append(event("a").key("2"))?.unwrap();
        commit.append(end("new"))?.unwrap();
        commit.remove_old(0, 9, &Budget::unlimited())?;
        commit.tidy(&mut Budget::unlimited())?;
        Err::<(), _>(Failure::damaged("this test"))
    });
    assert!(!failed.unwrap_err().is_unknown);
    assert_eq!(bench.writer.head, head);
    assert_eq!(bench.tables(), tables);
    let again = [event("a").key("2"), event("new"), event("a").key("1")];
    let new = |seq| Ok(Appended::new(seq));
    assert_eq!(
        bench.append(&again, 9),
        [new(5), new(6), Ok(Appended::repeat(1))]
    );
}

#[test]
fn a_full_disk_refuses_and_the_next_append_tries_again() {
    let mut bench = Bench::new(ROOMY, Steps::default());
    bench.append(&[event("a")], 9);
    let connection = &bench.writer.connection;
    let pages: i64 = connection
        .query_row("PRAGMA page_count", [], |row| row.get(0))
        .unwrap();
    connection
        .pragma_update(None, "max_page_count", pages + 2)
        .unwrap();
    let large = Draft::event(ChannelName::from_static("a"), vec![b'x'; 100_000]);
    let broken = bench
        .commit(|commit| commit.append(large.clone()))
        .unwrap_err();
    assert!(is_full(&broken.failure) && !broken.is_unknown);
    bench
        .writer
        .connection
        .pragma_update(None, "max_page_count", 1_000_000)
        .unwrap();
    assert_eq!(bench.append(&[large], 9), [Ok(Appended::new(2))]);
}

#[test]
fn the_oldest_entries_are_removed_by_count_bytes_and_age_but_never_the_newest() {
    let floor = |bench: &Bench| bench.writer.head.floor();
    let three = [event("a"), event("b"), event("c")];
    let mut by_count = Bench::new(ROOMY.max_events(Some(2)), Steps::default());
    by_count.append(&three, 9);
    assert_eq!(floor(&by_count), 1);
    let mut by_bytes = Bench::new(ROOMY.max_bytes(90), Steps::default());
    by_bytes.append(&three, 9);
    assert_eq!(floor(&by_bytes), 2);
    let second = Duration::from_secs(1);
    let mut by_age = Bench::new(ROOMY.max_age(Some(second)), Steps::default());
    by_age.append(&three[..2], 9);
    by_age.machine.pass(SECOND);
    by_age.append(&three[2..], 9);
    assert_eq!(floor(&by_age), 0);
    by_age.machine.pass(1);
    by_age.append(&[], 9);
    assert_eq!(floor(&by_age), 2);
    by_age.machine.pass(9 * SECOND);
    by_age.append(&[], 9);
    assert_eq!(floor(&by_age), 2);
}

#[test]
fn times_never_decrease_when_the_clock_is_set_back_also_over_a_restart() {
    let mut bench = Bench::new(ROOMY, Steps::default());
    bench.append(&[event("a")], 9);
    let first = bench.writer.head.last.time;
    bench.machine.set_wall(0);
    bench.machine.pass(7);
    bench.append(&[event("a")], 9);
    assert_eq!(bench.writer.head.last.time, first + 7);
    bench.restart();
    bench.machine.pass(5);
    bench.append(&[event("a")], 9);
    assert_eq!(bench.writer.head.last.time, first + 12);
    bench.machine.set_wall(first + 3_600 * SECOND);
    bench.append(&[event("a")], 9);
    assert_eq!(bench.writer.head.last.time, first + 3_600 * SECOND);
}

#[test]
fn the_channel_whose_newest_entry_is_oldest_is_forgotten_first() {
    let retention = ROOMY.max_events(Some(1)).remembered_channels(1);
    let mut bench = Bench::new(retention, Steps::default());
    for name in ["a", "b", "a", "c"] {
        bench.append(&[event(name)], 99);
    }
    for draft in [end("p"), end("q"), event("x")] {
        bench.append(&[draft], 99);
    }
    bench.settle();
    let names = "SELECT name FROM channels ORDER BY name";
    let names = |bench: &Bench| -> Vec<String> {
        let mut select = bench.writer.connection.prepare(names).unwrap();
        let names = select.query_map([], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    };
    assert_eq!(names(&bench), ["c", "q", "x"]);
    let state = &bench.writer.head.state;
    assert_eq!((state.forgotten_through, state.ends_since), (3, 6));
    // The name is free again, and known since what was forgotten.
    bench.append(&[event("p")], 99);
    let row = crate::channel_row::ChannelRow::find(
        &bench.writer.connection,
        &ChannelName::from_static("p"),
    );
    assert_eq!(row.unwrap().unwrap().known_since, 3);
}
