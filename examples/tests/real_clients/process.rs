//! A process that ends, with all that it started, when it goes out of scope.

use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};

pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// `remedy` gets the program where it is missing.
    pub(crate) fn start(command: &mut Command, remedy: &str) -> Self {
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                let program = command.get_program().to_string_lossy();
                panic!("{program} does not start: {error}; try: {remedy}")
            });
        Self { child }
    }

    /// Once, of a command whose output is piped.
    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("a piped output")
    }

    /// Of a process that has closed its output.
    pub(crate) fn expect_success(&mut self) {
        let status = self.child.wait().expect("a child of ours");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Once it was waited for, its number may be another's.
        if matches!(self.child.try_wait(), Ok(None)) {
            // Its own group, as a browser is many processes; std ends only one.
            let group = format!("-{}", self.child.id());
            let kill = ["-c", "kill -s KILL -- \"$0\"", &group];
            Command::new("sh").args(kill).status().ok();
            self.child.wait().ok();
        }
    }
}
