//! `Running`: a child that runs, and its lines.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::RwLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::child::{LOAD, NAME};
use crate::ledger::Said;
use crate::load::Load;

/// A child that starts has for a moment all files of this process, with their locks.
static STARTS: RwLock<()> = RwLock::new(());

/// While this exists, no child starts, so this process alone has the locks of its stores.
pub(crate) fn no_starts() -> impl Sized {
    STARTS.read()
}

/// No child needs so long.
const LIMIT: Duration = Duration::from_secs(120);

/// The work of a child.
pub(crate) struct Job {
    /// The test that is the child.
    pub(crate) test: &'static str,
    /// The variable that makes it one, and its value.
    pub(crate) variable: &'static str,
    pub(crate) value: String,
}

impl From<&Load> for Job {
    fn from(load: &Load) -> Self {
        Self {
            test: NAME,
            variable: LOAD,
            value: serde_json::to_string(load).unwrap(),
        }
    }
}

pub(crate) struct Running {
    child: Child,
    said: Receiver<Said>,
    before: Vec<Said>,
}

impl Running {
    pub(crate) fn start(job: &Job) -> Self {
        let binary = env::current_exe().unwrap();
        Self::spawn(Command::new(binary), job)
    }

    /// Starts the child under strace, which writes the trace into this file.
    pub(crate) fn start_traced(job: &Job, trace: &Path, calls: &str) -> Self {
        let mut strace = Command::new("strace");
        strace.args(["-f", "--seccomp-bpf", "-xx", "-s", "1000000", "-e", calls]);
        strace.args(["-e", "signal=none", "-o"]).arg(trace);
        strace.arg(env::current_exe().unwrap());
        Self::spawn(strace, job)
    }

    fn spawn(mut command: Command, job: &Job) -> Self {
        let starting = STARTS.write();
        let mut child = command
            .args([job.test, "--exact", "--nocapture", "--test-threads=1"])
            .env(job.variable, &job.value)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{:?} does not start: {error}; install it",
                    command.get_program()
                )
            });
        drop(starting);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, said) = channel();
        thread::spawn(move || {
            for said in lines
                .map_while(Result::ok)
                .filter_map(|line| Said::parse(&line))
            {
                if sender.send(said).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            said,
            before: Vec::new(),
        }
    }

    /// Waits for this many lines, or the end of the child.
    pub(crate) fn wait_for_lines(&mut self, lines: usize) {
        while self.before.len() < lines && self.next(LIMIT) {}
    }

    /// Waits for this time, or the end of the child.
    pub(crate) fn wait_for_time(&mut self, mut time: Duration) {
        // Only the waits count. The other time is short, and the moment is random anyway.
        let step = Duration::from_micros(200);
        while !time.is_zero() {
            let now = time.min(step);
            if !self.next(now) && self.is_over() {
                return;
            }
            time -= now;
        }
    }

    fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    fn next(&mut self, limit: Duration) -> bool {
        match self.said.recv_timeout(limit) {
            Ok(said) => {
                self.before.push(said);
                true
            }
            Err(RecvTimeoutError::Disconnected) => false,
            Err(RecvTimeoutError::Timeout) => {
                assert!(
                    limit < LIMIT,
                    "the child does not go on: {:?}",
                    self.before.last()
                );
                false
            }
        }
    }

    /// Kills the child, and returns all its reports.
    pub(crate) fn kill(mut self) -> Vec<Said> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.rest()
    }

    /// Waits until the child has ended by itself, and returns all its reports.
    pub(crate) fn finish(mut self) -> Vec<Said> {
        while self.next(LIMIT) {}
        let status = self.child.wait().unwrap();
        assert!(
            status.success(),
            "the child failed, or strace may not trace it: {status}"
        );
        self.rest()
    }

    fn rest(mut self) -> Vec<Said> {
        let mut said = std::mem::take(&mut self.before);
        while let Ok(next) = self.said.recv_timeout(LIMIT) {
            said.push(next);
        }
        said
    }
}
