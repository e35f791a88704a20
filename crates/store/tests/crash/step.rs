//! `Step`: one thing that a process did to the files of a directory, or reported.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ledger::Said;

/// The number of a file, which it keeps when it is renamed.
pub(crate) type FileId = usize;

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A change that may be on the disk from this step on, and that is complete at the moment `until`.
    Change {
        file: FileId,
        change: Change,
        until: usize,
    },
    Name(Name),
    /// All changes of the file that were complete before `since` are on the disk.
    Sync {
        file: FileId,
        since: usize,
    },
    SyncNames {
        since: usize,
    },
    Says(Said),
}

#[derive(Debug, Clone)]
pub(crate) enum Change {
    Write { offset: usize, data: Arc<[u8]> },
    Length(usize),
}

#[derive(Debug, Clone)]
pub(crate) enum Name {
    Set {
        name: String,
        file: FileId,
    },
    Renamed {
        from: String,
        to: String,
        file: FileId,
    },
    Removed {
        name: String,
    },
}

impl Change {
    pub(crate) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => {
                let end = offset + data.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(data);
            }
            Self::Length(length) => content.resize(*length, 0),
        }
    }
}

impl Name {
    pub(crate) fn apply(&self, names: &mut BTreeMap<String, FileId>) {
        match self {
            Self::Set { name, file } => {
                names.insert(name.clone(), *file);
            }
            Self::Renamed { from, to, file } => {
                if names.get(from) == Some(file) {
                    names.remove(from);
                }
                names.insert(to.clone(), *file);
            }
            Self::Removed { name } => {
                names.remove(name);
            }
        }
    }
}
