//! `Unavailable`: why a hub cannot follow its log, for publishers and subscribers alike.

use crate::LogError;

/// The hub cannot follow its log.
#[derive(Debug, Clone)]
pub(crate) enum Unavailable {
    /// There is no tokio runtime for the hub's task.
    NoRuntime,
    Log(LogError),
}
