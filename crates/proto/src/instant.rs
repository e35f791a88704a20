//! Owns the arithmetic of instants, which must not overflow whatever a peer or a caller says.

use std::time::{Duration, Instant};

/// Longer than anybody waits, and within what every platform's clock can add: 100 years.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The instant this long after another.
pub(crate) fn after(instant: Instant, delay: Duration) -> Instant {
    instant + delay.min(FOR_EVER)
}
