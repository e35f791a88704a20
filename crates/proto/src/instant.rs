//! Arithmetic on instants that cannot overflow, for times that a peer or a caller sets.

use std::time::{Duration, Instant};

/// The longest wait: 100 years. The clock of each platform can add it to an instant.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The instant that is this long after another, at most [`MAX_WAIT`].
pub(crate) fn after(instant: Instant, delay: Duration) -> Instant {
    instant + delay.min(MAX_WAIT)
}
