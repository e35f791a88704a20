//! `Reason`: why a session ended.

/// Why a session ended. The first reason counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Its handler returned.
    Returned,
    /// A handle closed it.
    Closed,
    /// Its handler, or a future spawned beside it, failed or panicked.
    Failed,
    /// Its client disconnected, or its connection was cut.
    Gone,
    /// Its lifetime passed.
    Lifetime,
    /// The server drains.
    Drained,
    /// A newer session of its key took its place.
    Replaced,
    /// Its feed had no stream, and opened after the head had left.
    Unopened,
}

impl Reason {
    /// The name of the reason in metrics and traces.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Returned => "returned",
            Self::Closed => "closed",
            Self::Failed => "failed",
            Self::Gone => "gone",
            Self::Lifetime => "lifetime",
            Self::Drained => "drained",
            Self::Replaced => "replaced",
            Self::Unopened => "unopened",
        }
    }
}
