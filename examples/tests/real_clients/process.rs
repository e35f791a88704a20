//! A process that ends when it goes out of scope.

use std::process::{Child, ChildStdout, Command, Stdio};

pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// `remedy` is the command that installs or builds the program.
    pub(crate) fn start(command: &mut Command, remedy: &str) -> Self {
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                let program = command.get_program().to_string_lossy();
                panic!("{program} does not start: {error}; try: {remedy}")
            });
        Self { child }
    }

    /// Its output, once. The command must pipe it.
    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("a piped output")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `TERM`.
    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let kill = Command::new("kill").args(["-s", name, &id]).status();
        assert!(kill.expect("kill runs").success(), "no {name} for {id}");
    }

    /// Waits for a process that has closed its output.
    pub(crate) fn expect_success(&mut self) {
        let status = self.child.wait().expect("a child of ours");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Neither has an effect on a process that has ended. A browser's helper processes end with it.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
