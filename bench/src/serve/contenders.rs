//! The names of the contenders.

pub const TIDINGS: &str = "tidings";
pub const NCHAN: &str = "nginx with Nchan";
/// Several requests of one event, as Nchan receives them, and not a batch.
pub const PIPELINED: &str = "tidings, pipelined";

/// Publishers of a store.
pub const ONE: &str = "1 publisher";
pub const SIXTEEN: &str = "16 publishers";

/// A server of the same parts whose events are published in its process.
pub const IN_PROCESS: &str = "published in process";

/// Streams of a store: from the beginning, and after the first event.
pub const EARLIEST: &str = "tidings, a store, from=earliest";
pub const BY_ID: &str = "tidings, a store, by ID";
pub const IN_MEMORY: &str = "tidings, in memory";
