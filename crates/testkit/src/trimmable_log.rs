//! `TrimmableLog`: a log whose oldest entries a test removes.

use tidings_hub::{Log, MemoryLog};

use crate::scanning_log::ScanningLog;

/// A log whose oldest entries a test removes. Clones are the same log.
pub trait TrimmableLog: Log + Clone {
    /// Removes all entries before `first`, as if they exceeded the retention.
    fn trim(&self, first: u64);
}

impl TrimmableLog for MemoryLog {
    fn trim(&self, first: u64) {
        Self::trim(self, first);
    }
}

impl TrimmableLog for ScanningLog {
    fn trim(&self, first: u64) {
        Self::trim(self, first);
    }
}
