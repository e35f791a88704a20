//! `Recording`: the changes that processes made to the files of one directory, step by step.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use crate::disk::Files;
use crate::ledger::Said;
use crate::load::Load;
use crate::process::{Job, Running};
use crate::step::{Change, FileId, Name, Step};
use crate::trace::{Arg, CALLS, Call, Moment, Trace};

/// The steps of processes in a directory, one process after the other.
#[derive(Debug)]
pub(crate) struct Recording {
    root: PathBuf,
    /// The moment of each step, and the step.
    pub(crate) steps: Vec<(usize, Step)>,
    /// The files as the operating system shows them.
    names: BTreeMap<String, FileId>,
    contents: Vec<Vec<u8>>,
    clock: usize,
}

/// An open file.
#[derive(Debug, Clone)]
struct Open {
    what: What,
    offset: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    File(FileId),
    Root,
}

impl Recording {
    /// A recording of an empty directory.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            steps: Vec::new(),
            names: BTreeMap::new(),
            contents: Vec::new(),
            clock: 0,
        }
    }

    /// A recording of a directory with these files, which are on the disk.
    pub(crate) fn over(root: &Path, files: &Files) -> Self {
        let mut recording = Self::new(root);
        for (name, content) in files.iter().filter(|(name, _)| !is_ignored(name)) {
            let file = recording.contents.len();
            recording.contents.push(Vec::new());
            let name = name.clone();
            recording.name(Name::Set { name, file });
            let data = content.as_slice().into();
            let change = Change::Write { offset: 0, data };
            recording.change(file, change, recording.clock);
            recording.clock += 1;
            let since = recording.clock;
            recording.step(Step::Sync { file, since });
            recording.step(Step::SyncNames { since });
        }
        recording
    }

    /// Runs a child that publishes a load, and adds its steps.
    pub(crate) fn add(&mut self, load: &Load) {
        self.run(&load.into());
    }

    /// Runs a child, and adds its steps.
    pub(crate) fn run(&mut self, job: &Job) {
        let file = self.root.with_extension("strace");
        Running::start_traced(job, &file, CALLS).finish();
        self.add_trace(&Trace::read(&file));
        fs::remove_file(&file).unwrap();
    }

    fn add_trace(&mut self, trace: &Trace) {
        let mut ends = HashMap::new();
        // A call that does not return has no more effects after the process has ended.
        let last = self.clock + trace.moments.len();
        for (at, moment) in trace.moments.iter().enumerate() {
            if let Moment::End(call) = moment {
                ends.insert(*call, self.clock + at);
            }
        }
        let mut begins = HashMap::new();
        let mut open = HashMap::new();
        for moment in &trace.moments {
            match *moment {
                Moment::Begin(at) => {
                    begins.insert(at, self.clock);
                    let until = ends.get(&at).copied().unwrap_or(last);
                    self.begin(&trace.calls[at], until, &mut open);
                }
                Moment::End(at) if trace.calls[at].has_succeeded() => {
                    self.end(&trace.calls[at], begins[&at], &mut open);
                }
                Moment::End(_) => {}
            }
            self.clock += 1;
        }
        self.verify();
    }

    /// Adds the effects that a call has, or may have, from its beginning on.
    fn begin(&mut self, call: &Call, until: usize, open: &mut HashMap<i64, Open>) {
        match call.name.as_str() {
            // Another thread may get the same descriptor before this call returns.
            "close" => drop(open.remove(&call.number(0))),
            _ if !call.is_ok() => {}
            "write" if call.number(0) == 1 => self.says(call.bytes(1)),
            "write" | "pwrite64" => self.write(call, until, open),
            "ftruncate" => {
                if let Some(Open {
                    what: What::File(file),
                    ..
                }) = open.get(&call.number(0))
                {
                    let length = usize::try_from(call.number(1)).unwrap();
                    self.change(*file, Change::Length(length), until);
                }
            }
            "fallocate" if open.contains_key(&call.number(0)) => {
                let end = call.number(2) + call.number(3);
                let Some(Open {
                    what: What::File(file),
                    ..
                }) = open.get(&call.number(0))
                else {
                    unreachable!("directories have no length")
                };
                assert_eq!(call.word(1), "0", "{call:?}");
                let length = self.contents[*file]
                    .len()
                    .max(usize::try_from(end).unwrap());
                self.change(*file, Change::Length(length), until);
            }
            "rename" | "renameat" | "renameat2" | "unlink" | "unlinkat" => self.rename(call),
            "truncate" | "link" | "linkat" | "symlink" | "symlinkat" | "mkdir" | "mkdirat"
            | "rmdir" => {
                assert!(
                    self.paths(call).is_empty(),
                    "this is not modelled: {call:?}"
                );
            }
            "writev" | "pwritev" | "pwritev2" | "copy_file_range" | "sendfile" => {
                let is_ours = |at| open.contains_key(&call.number(at));
                let is_copy = call.name == "copy_file_range";
                assert!(
                    !is_ours(if is_copy { 2 } else { 0 }),
                    "this is not modelled: {call:?}"
                );
            }
            _ => {}
        }
    }

    /// Adds the effects that a call has at its end.
    fn end(&mut self, call: &Call, since: usize, open: &mut HashMap<i64, Open>) {
        let result = call.result.unwrap();
        match call.name.as_str() {
            "openat" | "open" | "creat" => self.open(call, result, open),
            "dup" | "dup2" | "dup3" => {
                if let Some(file) = open.get(&call.number(0)).cloned() {
                    open.insert(result, file);
                }
            }
            "fcntl" if call.word(1).starts_with("F_DUPFD") => {
                if let Some(file) = open.get(&call.number(0)).cloned() {
                    open.insert(result, file);
                }
            }
            "lseek" => {
                if let Some(file) = open.get_mut(&call.number(0)) {
                    file.offset = usize::try_from(result).unwrap();
                }
            }
            "fsync" | "fdatasync" => match open.get(&call.number(0)).map(|open| open.what) {
                Some(What::File(file)) => self.step(Step::Sync { file, since }),
                Some(What::Root) => self.step(Step::SyncNames { since }),
                None => {}
            },
            "sync" | "syncfs" => panic!("this is not modelled: {call:?}"),
            _ => {}
        }
    }

    fn open(&mut self, call: &Call, fd: i64, open: &mut HashMap<i64, Open>) {
        let Some(path) = self.paths(call).pop() else {
            return;
        };
        let flags = call.args.iter().filter_map(|arg| match arg {
            Arg::Word(word) => Some(word.as_str()),
            Arg::Bytes(_) => None,
        });
        let flags: String = flags.collect::<Vec<_>>().join(" ");
        let offset = 0;
        if path.is_empty() {
            open.insert(
                fd,
                Open {
                    what: What::Root,
                    offset,
                },
            );
            return;
        }
        if is_ignored(&path) {
            return;
        }
        assert!(
            !flags.contains("O_APPEND"),
            "this is not modelled: {call:?}"
        );
        let file = self.names.get(&path).copied().unwrap_or_else(|| {
            assert!(
                flags.contains("O_CREAT"),
                "the file was not there: {call:?}"
            );
            let file = self.contents.len();
            self.contents.push(Vec::new());
            self.name(Name::Set { name: path, file });
            file
        });
        if flags.contains("O_TRUNC") && !self.contents[file].is_empty() {
            self.change(file, Change::Length(0), self.clock);
        }
        let what = What::File(file);
        open.insert(fd, Open { what, offset });
    }

    fn write(&mut self, call: &Call, until: usize, open: &mut HashMap<i64, Open>) {
        let Some(Open {
            what: What::File(file),
            offset,
        }) = open.get_mut(&call.number(0))
        else {
            return;
        };
        let written = match call.result {
            Some(result) => &call.bytes(1)[..usize::try_from(result).unwrap()],
            None => call.bytes(1),
        };
        let at = if call.name == "pwrite64" {
            usize::try_from(call.number(3)).unwrap()
        } else {
            *offset += written.len();
            *offset - written.len()
        };
        let mut data = written.to_vec();
        if call.result.is_none() {
            data = self.read_back(*file, at, data.len());
        }
        let data = data.into();
        let file = *file;
        self.change(file, Change::Write { offset: at, data }, until);
    }

    /// The bytes that a write has written although it did not return before the process ended. They are read
    /// from the file: no later write has replaced them, because the process has ended.
    fn read_back(&self, file: FileId, at: usize, length: usize) -> Vec<u8> {
        let mut names = self.names.iter();
        let Some((name, _)) = names.find(|(_, named)| **named == file) else {
            return Vec::new();
        };
        let content = fs::read(self.root.join(name)).unwrap_or_default();
        let end = content.len().min(at + length);
        content.get(at..end).unwrap_or_default().to_vec()
    }

    fn rename(&mut self, call: &Call) {
        let paths = self.paths(call);
        match &paths[..] {
            [] => {}
            [name] if is_ignored(name) => {}
            [name] => self.name(Name::Removed { name: name.clone() }),
            [from, to] => {
                let file = self.names[from];
                let (from, to) = (from.clone(), to.clone());
                self.name(Name::Renamed { from, to, file });
            }
            _ => panic!("this is not modelled: {call:?}"),
        }
    }

    /// The paths in the directory that a call names, without the directory.
    fn paths(&self, call: &Call) -> Vec<String> {
        let paths = call.args.iter().filter_map(|arg| match arg {
            Arg::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            Arg::Word(_) => None,
        });
        let ours = paths.filter_map(|path| Path::new(path).strip_prefix(&self.root).ok());
        ours.map(|path| path.to_str().unwrap().to_owned()).collect()
    }

    fn says(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        if let Some(said) = Said::parse(line.trim_end()) {
            self.step(Step::Says(said));
        }
    }

    fn change(&mut self, file: FileId, change: Change, until: usize) {
        change.apply(&mut self.contents[file]);
        self.step(Step::Change {
            file,
            change,
            until,
        });
    }

    fn name(&mut self, name: Name) {
        name.apply(&mut self.names);
        self.step(Step::Name(name));
    }

    fn step(&mut self, step: Step) {
        self.steps.push((self.clock, step));
    }

    /// Compares the files with those of the directory: nothing was overlooked.
    fn verify(&self) {
        let names = fs::read_dir(&self.root)
            .unwrap()
            .map(|entry| entry.unwrap());
        let names = names.map(|entry| entry.file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| !is_ignored(name)).collect();
        names.sort();
        assert_eq!(names, self.names.keys().cloned().collect::<Vec<_>>());
        for (name, file) in &self.names {
            let content = fs::read(self.root.join(name)).unwrap();
            assert!(
                content == self.contents[*file],
                "the recording of {name} is not complete"
            );
        }
    }
}

/// Whether this is the shared memory beside the write-ahead log, which SQLite builds again after each crash.
fn is_ignored(name: &str) -> bool {
    name.ends_with("-shm")
}

#[test]
fn a_call_that_did_not_return_is_over_when_its_process_has_ended() {
    for end in [
        "<unfinished ...>",
        ") = ?",
        ") = -1 (errno 18446744073709551615)",
    ] {
        let folder = crate::folder::Folder::new();
        let file = folder.path().join("a");
        let escaped = file.to_str().unwrap().bytes();
        let escaped: String = escaped.map(|byte| format!("\\x{byte:02x}")).collect();
        let open = format!("7 openat(AT_FDCWD, \"{escaped}\", O_RDWR|O_CREAT, 0644) = 3\n");
        let write = |byte: u8| format!("7 pwrite64(3, \"\\x{byte:02x}\", 1, 0");
        let mut recording = Recording::new(folder.path());
        let mut left_after = |calls: String, content: u8| {
            fs::write(&file, [content]).unwrap();
            recording.add_trace(&Trace::parse((open.clone() + &calls).as_bytes()));
            let mut disk = crate::disk::Disk::default();
            for (moment, step) in &recording.steps {
                disk.apply(*moment, step);
            }
            let mut rng = fastrand::Rng::with_seed(1);
            let losses = std::iter::repeat_with(|| disk.lose_power(&mut rng)).take(100);
            // Its name is not synchronized, and it may be longer than what was written.
            let left = losses.filter_map(|mut files| files.remove("a"));
            left.map(|content| content.first().map_or(0, |byte| *byte))
                .collect::<std::collections::BTreeSet<_>>()
        };
        let killed = |call: &str| format!("{call}{end}\n7 +++ killed by SIGKILL +++");
        let left = left_after(killed(&write(1)), 1);
        assert_eq!(left, [0, 1].into(), "{end}");
        let left = left_after(write(2) + ") = 1\n" + &killed("7 fdatasync(3"), 2);
        assert_eq!(left, [0, 1, 2].into(), "{end}");
        let left = left_after(write(3) + ") = 1\n7 fdatasync(3) = 0", 3);
        assert_eq!(left, [3].into(), "{end}");
    }
}
