//! `Progress`: what a task does, on standard error if that is a terminal.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::output::Plain;

/// The time between two updates.
const UPDATE: Duration = Duration::from_millis(200);

/// A line that is removed when the task has ended.
#[derive(Debug)]
pub(super) struct Progress {
    /// `None` if nobody reads it.
    shown: Option<Shown>,
}

#[derive(Debug)]
struct Shown {
    task: String,
    lines: u64,
    updated: Instant,
}

impl Progress {
    pub(super) fn of(task: &str, file: &Path) -> Self {
        let shown = io::stderr().is_terminal().then(|| Shown {
            task: format!("{task} {}", Plain(&file.display().to_string())),
            lines: 0,
            updated: Instant::now(),
        });
        if let Some(shown) = &shown {
            write(format_args!("\r{}", shown.task));
        }
        Self { shown }
    }

    pub(super) fn none() -> Self {
        Self { shown: None }
    }

    /// Adds the lines that end in these bytes.
    pub(super) fn count_lines(&mut self, bytes: &[u8]) {
        let Some(shown) = &mut self.shown else {
            return;
        };
        let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
        shown.lines += ends as u64;
        if shown.updated.elapsed() >= UPDATE {
            shown.updated = Instant::now();
            write(format_args!("\r{}: {} lines", shown.task, shown.lines));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            write(format_args!("\r\x1b[K"));
        }
    }
}

/// If standard error is closed, nobody reads it.
fn write(text: std::fmt::Arguments<'_>) {
    let mut stderr = io::stderr().lock();
    stderr
        .write_fmt(text)
        .and_then(|()| stderr.flush())
        .unwrap_or_default();
}
