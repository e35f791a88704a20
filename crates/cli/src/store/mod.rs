//! `tidings store`: the tasks of an operator on the file of a store.

mod lines;
mod progress;

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use tidings::store::{self, StoreError, StoreErrorKind};

use crate::output::{Plain, print, print_if_read};
use progress::Progress;

/// Checks, copies and repairs the file of a store.
///
/// `check`, `export` and `backup` work while a server uses the file, and let one start. The others need it
/// for themselves: they fail, and name the process.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, clap::Subcommand)]
enum Task {
    /// Looks for damage. Ends with 0 if the store is sound, and with 1 if it is damaged.
    Check {
        /// The file of the store.
        file: PathBuf,
    },
    /// Writes all events to standard output, as lines of JSON.
    Export {
        /// The file of the store.
        file: PathBuf,
    },
    /// Makes a new store of the lines on standard input, as `export` writes them.
    Import {
        /// The file of the new store.
        file: PathBuf,
    },
    /// Writes a copy of the store into a new file. A server that is started with the copy reports to its
    /// clients that events may be missing.
    Backup {
        /// The file of the store.
        file: PathBuf,
        /// The new file.
        to: PathBuf,
    },
    /// Makes the file as small as its events.
    Compact {
        /// The file of the store.
        file: PathBuf,
    },
    /// Writes the intact events of a damaged store to standard output, as lines for `import`.
    Salvage {
        /// The file of the store, of which you have a copy.
        file: PathBuf,
    },
}

pub(crate) async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let task = tokio::task::spawn_blocking(|| run_blocking(args.task));
    task.await?.map_err(|error| -> Box<dyn Error> { error })
}

fn run_blocking(task: Task) -> Result<(), Box<dyn Error + Send + Sync>> {
    match task {
        Task::Check { file } => check(&file),
        Task::Export { file } => lines::export(&file),
        Task::Import { file } => lines::import(&file),
        Task::Backup { file, to } => backup(&file, &to),
        Task::Compact { file } => compact(&file),
        Task::Salvage { file } => lines::salvage(&file),
    }
}

fn check(file: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
    let progress = Progress::of("checking", file);
    let report = store::check(file)?;
    drop(progress);
    for line in report.to_string().lines() {
        print_if_read(Plain(line))?;
    }
    if report.is_sound() {
        return Ok(());
    }
    Err(format!("{} is damaged", file.display()).into())
}

fn backup(file: &Path, to: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
    let progress = Progress::of("copying", file);
    let copy = store::backup(file, to)?;
    drop(progress);
    let path = copy.path.display().to_string();
    print(format_args!(
        "{}: {} bytes, up to {}",
        Plain(&path),
        copy.bytes,
        copy.newest
    ))?;
    Ok(())
}

fn compact(file: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
    let progress = Progress::of("compacting", file);
    let compacted = store::compact(file)?;
    drop(progress);
    print(format_args!(
        "{} bytes before, {} bytes after",
        compacted.before, compacted.after
    ))?;
    Ok(())
}

/// The error of an export. If the reader of the lines has closed them, this is no error of the store.
fn of_export(error: StoreError) -> Box<dyn Error + Send + Sync> {
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    let is_closed = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    if error.kind() == &StoreErrorKind::Output && cause.is_some_and(is_closed) {
        return io::Error::from(io::ErrorKind::BrokenPipe).into();
    }
    error.into()
}
