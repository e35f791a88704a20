//! Owns `Reason`: why a session ended.

/// The first that ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Its handler returned.
    Returned,
    /// It was closed by who holds a handle.
    Closed,
    /// Its handler, or what was spawned beside it, failed or panicked.
    Failed,
    /// Its client went, or its connection was given up.
    Gone,
    /// Its lifetime was over.
    Lifetime,
    /// The server drains.
    Drained,
}

impl Reason {
    /// As metrics and traces name it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Returned => "returned",
            Self::Closed => "closed",
            Self::Failed => "failed",
            Self::Gone => "gone",
            Self::Lifetime => "lifetime",
            Self::Drained => "drained",
        }
    }
}
