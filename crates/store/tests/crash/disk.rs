//! `Disk`: which changes of a recording are on the disk for certain, and which may be.

use std::collections::BTreeMap;

use fastrand::Rng;

use crate::step::{Change, FileId, Name, Step};

/// The files of a directory after a crash.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A disk that may lose or tear each change that is not synchronized.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    files: BTreeMap<FileId, OnDisk>,
    names: BTreeMap<String, FileId>,
    /// The changes of names that were not synchronized, and their moments.
    pending_names: Vec<(usize, Name)>,
}

#[derive(Debug, Default)]
struct OnDisk {
    content: Vec<u8>,
    /// The changes that were not synchronized, and the moments at which they were complete.
    pending: Vec<(usize, Change)>,
}

impl Disk {
    pub(crate) fn apply(&mut self, moment: usize, step: &Step) {
        match step {
            Step::Change {
                file,
                change,
                until,
            } => {
                let file = self.files.entry(*file).or_default();
                file.pending.push((*until, change.clone()));
            }
            Step::Name(name) => self.pending_names.push((moment, name.clone())),
            Step::Sync { file, since } => self.files.entry(*file).or_default().sync(*since),
            Step::SyncNames { since } => {
                let pending = std::mem::take(&mut self.pending_names);
                let (done, left) = pending.into_iter().partition(|(moment, _)| moment < since);
                let done: Vec<(usize, Name)> = done;
                done.iter()
                    .for_each(|(_, name)| name.apply(&mut self.names));
                self.pending_names = left;
            }
            Step::Says(_) => {}
        }
    }

    /// Loses power, and returns the files that are left.
    pub(crate) fn lose_power(&self, rng: &mut Rng) -> Files {
        let mut names = self.names.clone();
        let pending: Vec<_> = self.pending_names.iter().map(|(_, name)| name).collect();
        for name in survivors(rng, &pending) {
            name.apply(&mut names);
        }
        let mut files = Files::new();
        for (name, file) in names {
            let content = match self.files.get(&file) {
                Some(file) => file.lose_power(rng),
                None => Vec::new(),
            };
            files.insert(name, content);
        }
        files
    }
}

impl OnDisk {
    fn sync(&mut self, since: usize) {
        let pending = std::mem::take(&mut self.pending);
        for (until, change) in pending {
            if until < since {
                change.apply(&mut self.content);
            } else {
                self.pending.push((until, change));
            }
        }
    }

    fn lose_power(&self, rng: &mut Rng) -> Vec<u8> {
        let mut content = self.content.clone();
        let pending: Vec<_> = self.pending.iter().map(|(_, change)| change).collect();
        let mut left = survivors(rng, &pending);
        let torn = left.len().checked_sub(1 + rng.usize(..3));
        for (at, change) in left.drain(..).enumerate() {
            match change {
                Change::Write { offset, data } if Some(at) == torn => {
                    tear(rng, *offset, data, &mut content)
                }
                _ => change.apply(&mut content),
            }
        }
        // A file system may have made the file longer, and not have written the new part.
        if rng.u8(..4) == 0
            && let Some(Change::Write { offset, data }) = rng.choice(pending)
            && content.len() < offset + data.len()
        {
            content.resize(offset + data.len(), 0);
        }
        content
    }
}

const SECTOR: usize = 512;

/// Writes some sectors of the data: the first ones, the last ones, or any.
fn tear(rng: &mut Rng, offset: usize, data: &[u8], content: &mut Vec<u8>) {
    let first = offset / SECTOR;
    let sectors = (offset + data.len()).div_ceil(SECTOR) - first;
    let cut = rng.usize(..=sectors);
    let kind = rng.u8(..3);
    for sector in 0..sectors {
        let is_written = match kind {
            0 => sector < cut,
            1 => sector >= cut,
            _ => rng.bool(),
        };
        let begin = ((first + sector) * SECTOR).max(offset);
        let end = ((first + sector + 1) * SECTOR).min(offset + data.len());
        if is_written {
            let data = data[begin - offset..end - offset].into();
            Change::Write {
                offset: begin,
                data,
            }
            .apply(content);
        }
    }
}

/// The changes that the disk has written when the power fails: none, all, the first ones, or any of them.
fn survivors<'a, T>(rng: &mut Rng, pending: &[&'a T]) -> Vec<&'a T> {
    match rng.u8(..8) {
        0..2 => Vec::new(),
        2..4 => pending.to_vec(),
        4..6 => pending[..rng.usize(..=pending.len())].to_vec(),
        _ => {
            let share = rng.f64();
            let mut left = pending.to_vec();
            left.retain(|_| rng.f64() < share);
            left
        }
    }
}

#[test]
fn what_was_synchronized_is_left_and_nothing_else_is_certain() {
    let change = |offset, byte: u8, until| Step::Change {
        file: 0,
        change: Change::Write {
            offset,
            data: [byte; 600].into(),
        },
        until,
    };
    let name = |name: &str, file| {
        Step::Name(Name::Set {
            name: name.to_owned(),
            file,
        })
    };
    let mut disk = Disk::default();
    let steps = [
        name("a", 0),
        change(0, 1, 2),
        Step::SyncNames { since: 3 },
        Step::Sync { file: 0, since: 3 },
        change(600, 2, 5),
        name("b", 1),
        // It began before the write had returned.
        Step::Sync { file: 0, since: 4 },
    ];
    for (moment, step) in steps.iter().enumerate() {
        disk.apply(moment, step);
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut rng = Rng::with_seed(1);
    for _ in 0..300 {
        let files = disk.lose_power(&mut rng);
        assert_eq!(files["a"][..600], [1; 600]);
        let twos = files["a"].iter().filter(|byte| **byte == 2).count();
        seen.insert((files["a"].len(), twos, files.contains_key("b")));
    }
    let expected = [
        (600, 0, false),
        (600, 0, true),
        // A torn write: the sectors begin at 512 and 1,024.
        (1024, 424, false),
        (1200, 176, false),
        (1200, 600, true),
        (1200, 0, false),
    ];
    for state in expected {
        assert!(seen.contains(&state), "{state:?} is not among {seen:?}");
    }
}
