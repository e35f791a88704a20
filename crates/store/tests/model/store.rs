//! `ModelStore`: a store under a model, which replaces its files by copies of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use tidings_hub::{Appended, Bounds, Draft, Log, LogError};
use tidings_proto::Epoch;
use tidings_store::{Durability, StoreLog, StoreOptions};
use tidings_testkit::model_log::{ModelLog, Restart};
use tidings_testkit::settled_log::{SettledLog, wait};
use tidings_testkit::temp_dir::TempDir;

/// A store under the model.
pub(super) struct ModelStore {
    options: StoreOptions,
    durability: Durability,
    state: Mutex<State>,
    dir: TempDir,
}

struct State {
    log: StoreLog,
    /// The number of copies that were made.
    copies: u32,
    /// The sizes of the files after appends since the store was opened.
    marks: Vec<Mark>,
}

/// The state of the files when an entry was the newest one.
#[derive(Debug, Clone)]
struct Mark {
    last: u64,
    epoch: Epoch,
    /// The length of the write-ahead log, which only grows while the database file stays the same.
    wal: u64,
    database: (u64, SystemTime),
}

impl ModelStore {
    pub(super) fn new(options: StoreOptions, durability: Durability) -> Self {
        let dir = TempDir::in_memory();
        let log = options.open(dir.join("0.db")).unwrap();
        let (copies, marks) = (0, Vec::new());
        Self {
            options,
            durability,
            state: Mutex::new(State { log, copies, marks }),
            dir,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Replaces the store by a copy of its files, of which the write-ahead log ends at this length.
    fn open_copy(&self, state: &mut State, wal: u64) {
        let before = state.bounds();
        state.copies += 1;
        let path = self.dir.join(format!("{}.db", state.copies));
        fs::copy(state.log.path(), &path).unwrap();
        let log = fs::read(wal_of(state.log.path())).unwrap_or_default();
        let kept = usize::try_from(wal).unwrap().min(log.len());
        fs::write(wal_of(&path), &log[..kept]).unwrap();
        wait(state.log.close()).unwrap();
        state.log = self.options.open(&path).unwrap();
        state.marks.clear();
        let has_stayed = state.bounds().epoch == before.epoch;
        assert_eq!(
            has_stayed,
            self.durability == Durability::EveryCommit,
            "a new epoch tells that entries may be lost"
        );
    }
}

impl State {
    fn bounds(&self) -> Bounds {
        wait(self.log.bounds()).unwrap()
    }

    fn mark(&mut self) {
        let bounds = self.bounds();
        let last = bounds.last.seq;
        if self.marks.last().is_none_or(|mark| mark.last != last) {
            let database = fs::metadata(self.log.path()).unwrap();
            let wal = fs::metadata(wal_of(self.log.path()));
            self.marks.push(Mark {
                last,
                epoch: bounds.epoch,
                wal: wal.map_or(0, |wal| wal.len()),
                database: (database.len(), database.modified().unwrap()),
            });
        }
    }

    /// The newest mark at this entry or an earlier one that the store holds, if the files show its state.
    fn mark_before(&self, last: u64) -> Option<Mark> {
        let bounds = self.bounds();
        let database = fs::metadata(self.log.path()).unwrap();
        let database = (database.len(), database.modified().unwrap());
        let mut longer = fs::metadata(wal_of(self.log.path())).ok()?.len();
        for mark in self.marks.iter().rev() {
            let is_valid = mark.epoch == bounds.epoch && mark.database == database;
            if !is_valid || mark.last <= bounds.floor.seq {
                return None;
            }
            if mark.last <= last && mark.wal < longer {
                return Some(mark.clone());
            }
            longer = longer.min(mark.wal);
        }
        None
    }
}

fn wal_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

impl ModelLog for ModelStore {
    fn log(&self) -> Arc<dyn Log> {
        let mut state = self.state();
        state.mark();
        Arc::new(SettledLog::new(Arc::new(state.log.clone())))
    }

    fn append_all(&self, drafts: Vec<Draft>) -> Vec<Result<Appended, LogError>> {
        let state = self.state();
        let appends: Vec<_> = drafts
            .into_iter()
            .map(|draft| state.log.append(draft))
            .collect();
        appends.into_iter().map(wait).collect()
    }

    fn trim(&self, first: u64) {
        wait(self.state().log.trim(first)).unwrap();
    }

    /// Replaces the files by an older copy. It must hold an entry that the retention had not removed, so
    /// that it can remove the same ones.
    fn rewind(&self, last: u64) -> bool {
        let mut state = self.state();
        let before = state.bounds();
        let mark = if last < before.last.seq {
            state.mark_before(last)
        } else {
            None
        };
        let Some(mark) = mark else {
            self.open_copy(&mut state, u64::MAX);
            assert_eq!(state.bounds().last, before.last);
            return false;
        };
        self.open_copy(&mut state, mark.wal);
        assert_eq!(state.bounds().last.seq, mark.last, "{mark:?}");
        wait(state.log.trim(before.floor.seq + 1)).unwrap();
        assert_eq!(state.bounds().floor, before.floor);
        true
    }

    fn restart(&self, how: Restart) {
        let mut state = self.state();
        let before = state.bounds();
        match how {
            Restart::Clean => {
                wait(state.log.close()).unwrap();
                state.log = self.options.open(state.log.path()).unwrap();
                state.marks.clear();
                assert_eq!(state.bounds(), before);
            }
            Restart::Killed => {
                self.open_copy(&mut state, u64::MAX);
                let after = state.bounds();
                assert_eq!((after.floor, after.last), (before.floor, before.last));
                assert_eq!(after.ends_since, before.ends_since);
            }
        }
    }
}
