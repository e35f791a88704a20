//! Synchronization: an acknowledged commit is on the disk, by the calls of the process.

use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::Said;
use crate::load::{Load, Sync};
use crate::power::small;
use crate::recording::Recording;
use crate::step::{Change, FileId, Name, Step};

/// The length of a frame's header in SQLite's write-ahead log. SQLite writes it apart from the page after it.
const FRAME_HEADER: usize = 24;

/// The commits in the write-ahead logs of a recording.
#[derive(Default)]
struct Commits {
    logs: BTreeSet<FileId>,
    /// Whether the page that is written next completes a commit.
    is_last_page: bool,
    /// The events that the log has received.
    seen: BTreeSet<u64>,
    /// Those in the commit that is being written.
    open: Vec<u64>,
    /// The events of complete commits that are not synchronized: the file, and the moment of completion.
    complete: BTreeMap<u64, (FileId, usize)>,
    synced: BTreeSet<u64>,
}

impl Commits {
    /// Adds a step. Returns the event that it acknowledges too early.
    fn add(&mut self, step: &Step) -> Option<u64> {
        match step {
            Step::Name(Name::Set { name, file }) if name.ends_with("-wal") => {
                self.logs.insert(*file);
            }
            Step::Change {
                file,
                change: Change::Write { data, .. },
                until,
            } if self.logs.contains(file) => {
                self.write(*file, data, *until);
            }
            Step::Sync { file, since } => {
                let is_synced = |(log, until): &(FileId, usize)| log == file && until < since;
                let done = self.complete.iter().filter(|(_, at)| is_synced(at));
                self.synced.extend(done.map(|(n, _)| *n));
                self.complete.retain(|_, at| !is_synced(at));
            }
            Step::Says(Said::Has(n, _)) if !Load::is_end(*n) && !self.synced.contains(n) => {
                return Some(*n);
            }
            _ => {}
        }
        None
    }

    fn write(&mut self, file: FileId, data: &[u8], until: usize) {
        if data.len() == FRAME_HEADER {
            // The size of the database after the commit; 0 for all pages but the last.
            self.is_last_page = data[4..8] != [0; 4];
            return;
        }
        for n in events(data) {
            if self.seen.insert(n) {
                self.open.push(n);
            }
        }
        if self.is_last_page {
            for n in self.open.drain(..) {
                self.complete.insert(n, (file, until));
            }
        }
    }
}

/// The numbers of the events whose bodies begin in this page.
fn events(page: &[u8]) -> Vec<u64> {
    let starts = page
        .windows(9)
        .enumerate()
        .filter(|(_, window)| *window == b"data: <n=");
    starts
        .filter_map(|(at, _)| Load::number(&page[at..]))
        .collect()
}

/// The events that were acknowledged before they were synchronized, and the number of synchronized events.
fn too_early(recording: &Recording) -> (Vec<u64>, usize) {
    let mut commits = Commits::default();
    let steps = recording.steps.iter();
    let early = steps.filter_map(|(_, step)| commits.add(step)).collect();
    (early, commits.synced.len())
}

#[test]
fn each_acknowledged_commit_was_synchronized() {
    let recording = small(Sync::EveryCommit);
    let (early, synced) = too_early(&recording);
    assert!(early.is_empty(), "{early:?}");
    assert!(synced > 150, "{synced}");
}

#[test]
fn acknowledgements_of_buffered_events_are_seen_to_be_early() {
    let recording = small(Sync::Buffered);
    let (early, _) = too_early(&recording);
    assert!(early.len() > 100, "{early:?}");
}
