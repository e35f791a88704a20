//! Power losses: a disk that loses unsynchronized changes, and tears unfinished writes.

use std::collections::BTreeSet;
use std::path::Path;

use fastrand::Rng;
use tidings_testkit::property::{seed, steps};
use tokio::runtime;

use crate::disk::Disk;
use crate::folder::Folder;
use crate::judge::Crashed;
use crate::ledger::{Ledger, Said};
use crate::load::{BLOCK, End, Load, Sync};
use crate::process::no_starts;
use crate::recording::Recording;
use crate::step::Step;

/// The rounds of one test; the tests together have 500 by default.
fn rounds(default: usize) -> usize {
    steps(500) * default / 500
}

/// The recording of a directory, and the store in it.
struct Scene {
    /// The options of the store.
    load: Load,
    recording: Recording,
    /// The reports of children before the recording.
    before: Ledger,
    /// The first step of the child; the steps before it write the files that were there.
    first: usize,
}

/// A load of one process over the store in this folder.
fn load(folder: &Folder, sync: Sync, first: u64) -> Load {
    Load {
        path: folder.store(),
        sync,
        max_events: Some(70),
        index_batch: 16,
        checkpoint_pages: 40,
        first,
        sessions: 1,
        blocks: 6,
        publishers: 4,
        is_large: false,
        trims: true,
        maintains: false,
        end: End::Close,
    }
}

impl Scene {
    fn new(load: &Load, recording: Recording) -> Self {
        Self {
            load: load.clone(),
            recording,
            before: Ledger::default(),
            first: 0,
        }
    }

    /// Three processes. The second and the third one open a store that the one before has not closed.
    fn small(sync: Sync) -> Self {
        let folder = Folder::new();
        let mut recording = Recording::new(folder.path());
        let first = Load {
            sessions: 2,
            end: End::Exit,
            ..load(&folder, sync, 0)
        };
        recording.add(&first);
        let is_interval = sync == Sync::Interval;
        let second = Load {
            end: if is_interval { End::Pause } else { End::Exit },
            blocks: 8,
            ..load(&folder, sync, 100 * BLOCK)
        };
        recording.add(&second);
        recording.add(&load(&folder, sync, 200 * BLOCK));
        Self::new(&first, recording)
    }

    /// Large events, so that the write-ahead log is moved into the database in many writes.
    fn large(sync: Sync) -> Self {
        let folder = Folder::new();
        let mut recording = Recording::new(folder.path());
        let first = Load {
            is_large: true,
            blocks: 12,
            checkpoint_pages: 250,
            end: End::Exit,
            ..load(&folder, sync, 0)
        };
        recording.add(&first);
        let second = Load {
            blocks: 4,
            first: 100 * BLOCK,
            end: End::Close,
            ..first.clone()
        };
        recording.add(&second);
        Self::new(&first, recording)
    }

    /// Backups of the store in use, and compactions of the closed one.
    fn maintained(sync: Sync) -> Self {
        let folder = Folder::new();
        let mut recording = Recording::new(folder.path());
        let load = Load {
            sessions: 3,
            maintains: true,
            ..load(&folder, sync, 0)
        };
        recording.add(&load);
        Self::new(&load, recording)
    }

    /// Loses power at some step, and records another process that opens the store that is left.
    fn again(&self, rng: &mut Rng) -> Self {
        let steps = &self.recording.steps;
        let (mut disk, mut before) = (Disk::default(), self.before.clone());
        for (at, step) in &steps[..rng.usize(steps.len() / 4..steps.len())] {
            disk.apply(*at, step);
            if let Step::Says(said) = step {
                before.add(said).unwrap();
            }
        }
        if self.load.sync != Sync::EveryCommit {
            // Acknowledged events may be lost, and other events may have their numbers.
            before.places.clear();
            before.settled.clear();
        }
        let files = disk.lose_power(rng);
        let folder = Folder::with(&files);
        let mut recording = Recording::over(folder.path(), &files);
        let first = recording.steps.len();
        let second = Load {
            path: folder.store(),
            first: 300 * BLOCK,
            sessions: 1,
            blocks: 2,
            ..self.load.clone()
        };
        recording.add(&second);
        Self {
            load: second,
            recording,
            before,
            first,
        }
    }

    /// All reports of all children.
    fn all_said(&self) -> Ledger {
        let mut ledger = self.before.clone();
        for (_, step) in &self.recording.steps {
            if let Step::Says(said) = step {
                ledger.add(said).unwrap();
            }
        }
        ledger
    }

    /// The steps before which the power fails: any, and those after a line of the child.
    fn moments(&self, rounds: usize, rng: &mut Rng) -> Vec<usize> {
        let steps = &self.recording.steps;
        let said = steps.iter().enumerate();
        let said = said.filter(|(_, (_, step))| matches!(step, Step::Says(_)));
        let after_said: Vec<_> = said.map(|(at, _)| at + 1).collect();
        let mut moments = BTreeSet::new();
        while moments.len() < rounds.min(steps.len() - self.first) {
            moments.insert(if rng.u8(..3) == 0 {
                *rng.choice(&after_said).unwrap()
            } else {
                rng.usize(self.first..=steps.len())
            });
        }
        moments.into_iter().collect()
    }

    /// Loses power at many moments, and returns the judge's errors.
    fn lose_power(&self, promised: Sync, rounds: usize, rng: &mut Rng) -> Vec<String> {
        let by_seq = self.all_said().by_seq().unwrap();
        let (mut disk, mut before) = (Disk::default(), self.before.clone());
        let (mut wrong, mut backups, mut done) = (Vec::new(), Vec::new(), 0);
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        for moment in self.moments(rounds, rng) {
            for (at, step) in &self.recording.steps[done..moment] {
                disk.apply(*at, step);
                if let Step::Says(said) = step {
                    before.add(said).unwrap();
                    if let Said::BackedUp(first) = said {
                        backups.push((*first, before.clone()));
                    }
                }
            }
            done = moment;
            let mut files = disk.lose_power(rng);
            if rng.u8(..3) == 0 {
                // SQLite's shared memory is never synchronized, so anything may be in its file.
                let garbage = std::iter::repeat_with(|| rng.u8(..)).take(32_768).collect();
                files.insert("events.db-shm".to_owned(), garbage);
            }
            let folder = Folder::with(&files);
            let _no_starts = no_starts();
            let judged = |before: &Ledger, path: &Path, is_copy| {
                let crashed = Crashed {
                    load: &self.load,
                    sync: if is_copy { Sync::EveryCommit } else { promised },
                    before,
                    by_seq: &by_seq,
                    is_power_loss: true,
                    is_copy,
                };
                runtime.block_on(crashed.judge(path)).err()
            };
            let mut errors = Vec::from_iter(judged(&before, &folder.store(), false));
            for (first, before) in &backups {
                let name = self.load.backup(*first);
                let path = folder.path().join(name.file_name().unwrap());
                errors.extend(judged(before, &path, true).map(|error| format!("backup: {error}")));
            }
            for error in errors {
                let error = error.chars().take(600).collect::<String>();
                let steps = self.recording.steps.len();
                wrong.push(format!("power loss at step {moment} of {steps}: {error}"));
            }
        }
        wrong
    }

    fn check(&self, sync: Sync, rounds: usize, rng: &mut Rng) {
        let wrong = self.lose_power(sync, rounds, rng);
        let some = &wrong[..wrong.len().min(10)];
        assert!(wrong.is_empty(), "{} of {rounds}: {some:#?}", wrong.len());
    }
}

/// The recording of three processes, of which two do not close the store.
pub(crate) fn small(sync: Sync) -> Recording {
    Scene::small(sync).recording
}

fn rng() -> Rng {
    Rng::with_seed(seed())
}

#[test]
fn a_power_loss_takes_nothing_that_was_acknowledged_after_a_commit() {
    let mut rng = rng();
    for rounds_of_one in [130, 70] {
        Scene::small(Sync::EveryCommit).check(Sync::EveryCommit, rounds(rounds_of_one), &mut rng);
    }
}

#[test]
fn a_power_loss_while_the_log_is_moved_into_the_database_takes_nothing() {
    Scene::large(Sync::EveryCommit).check(Sync::EveryCommit, rounds(50), &mut rng());
}

#[test]
fn a_power_loss_during_the_recovery_from_a_power_loss_takes_nothing() {
    let mut rng = rng();
    let scene = Scene::small(Sync::EveryCommit);
    for _ in 0..5 {
        scene
            .again(&mut rng)
            .check(Sync::EveryCommit, rounds(10), &mut rng);
    }
    let scene = Scene::small(Sync::Interval);
    scene
        .again(&mut rng)
        .check(Sync::Interval, rounds(10), &mut rng);
}

#[test]
fn a_power_loss_during_a_backup_or_compaction_takes_nothing() {
    let mut rng = rng();
    Scene::maintained(Sync::EveryCommit).check(Sync::EveryCommit, rounds(40), &mut rng);
    Scene::maintained(Sync::Buffered).check(Sync::Buffered, rounds(20), &mut rng);
}

#[test]
fn a_power_loss_leaves_an_unbroken_beginning_and_a_new_epoch() {
    let mut rng = rng();
    Scene::small(Sync::Interval).check(Sync::Interval, rounds(70), &mut rng);
    Scene::small(Sync::Buffered).check(Sync::Buffered, rounds(70), &mut rng);
    Scene::large(Sync::Buffered).check(Sync::Buffered, rounds(30), &mut rng);
}

#[test]
fn the_judge_finds_the_losses_of_a_store_that_promises_too_much() {
    let wrong = Scene::small(Sync::Buffered).lose_power(Sync::EveryCommit, 60, &mut rng());
    assert!(wrong.len() > 30, "{}: {wrong:#?}", wrong.len());
}
