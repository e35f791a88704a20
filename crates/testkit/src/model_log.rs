//! `ModelLog`: a log under a model, which a test also changes from outside.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use tidings_hub::{Appended, Draft, Log, LogError, MemoryLog, Retention};

use crate::scanning_log::ScanningLog;

/// A log under a model, which a test also changes from outside, as an operator or a crash does.
pub trait ModelLog: Send + Sync + 'static {
    /// The log as it is now. After a restart it may be another one.
    ///
    /// Its futures must be ready at once, and so must its tails if the log has an entry for them; see
    /// [`SettledLog`](crate::settled_log::SettledLog).
    fn log(&self) -> Arc<dyn Log>;

    /// Appends all of these. Their numbers are in this order. The log may store them together.
    fn append_all(&self, drafts: Vec<Draft>) -> Vec<Result<Appended, LogError>> {
        let log = self.log();
        let append = |draft| log.append(draft).now_or_never();
        let appended = drafts.into_iter().map(append);
        let appended =
            appended.map(|appended| appended.unwrap_or_else(|| unreachable!("the log is settled")));
        appended.collect()
    }

    /// Removes all entries before `first`, as if they exceeded the retention. The newest entry stays.
    fn trim(&self, first: u64);

    /// Removes the entries after `last`, or after a smaller number that it can go back to. Entries that
    /// were removed before stay removed. Returns whether it went back.
    fn rewind(&self, last: u64) -> bool;

    /// Restarts a log that has [restarts](LogKind::with_restarts).
    fn restart(&self, how: Restart) {
        unreachable!("the log has no restarts: {how:?}");
    }
}

/// How a log ends before it starts again. It loses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a log must do each of them")]
pub enum Restart {
    /// It is closed.
    Clean,
    /// Its process is killed.
    Killed,
}

macro_rules! in_memory {
    ($($log:ty),*) => {$(
        impl ModelLog for $log {
            fn log(&self) -> Arc<dyn Log> {
                Arc::new(self.clone())
            }

            fn trim(&self, first: u64) {
                Self::trim(self, first);
            }

            fn rewind(&self, last: u64) -> bool {
                Self::rewind(self, last);
                true
            }
        }
    )*};
}

in_memory!(MemoryLog, ScanningLog);

/// A kind of log under a model.
#[derive(Clone)]
pub struct LogKind {
    name: String,
    make: Arc<dyn Fn(Retention) -> Box<dyn ModelLog> + Send + Sync>,
    has_restarts: bool,
    removes_by_age: bool,
}

impl LogKind {
    /// Logs that `make` makes for a retention. The name is part of the report of a failure.
    pub fn new<L: ModelLog>(
        name: impl Into<String>,
        make: impl Fn(Retention) -> L + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            make: Arc::new(move |retention| Box::new(make(retention))),
            has_restarts: false,
            removes_by_age: true,
        }
    }

    /// The model also [restarts](ModelLog::restart) such a log.
    #[must_use]
    pub fn with_restarts(mut self) -> Self {
        self.has_restarts = true;
        self
    }

    /// The model sets no maximum age, because the clock of such a log is not tokio's.
    #[must_use]
    pub fn without_ages(mut self) -> Self {
        self.removes_by_age = false;
        self
    }

    pub(crate) fn restarts(&self) -> bool {
        self.has_restarts
    }

    pub(crate) fn removes_by_age(&self) -> bool {
        self.removes_by_age
    }

    pub(crate) fn make(&self, retention: Retention) -> Box<dyn ModelLog> {
        (self.make)(retention)
    }
}

impl fmt::Debug for LogKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
