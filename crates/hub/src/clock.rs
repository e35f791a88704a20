//! The wall clock, which runs on while the machine is suspended.

use std::time::SystemTime;

/// The time of the wall clock. Tests move it.
#[allow(
    clippy::disallowed_methods,
    reason = "tokio's clock stops while the machine is suspended"
)]
pub(crate) fn wall_time() -> SystemTime {
    #[cfg(test)]
    return tests::shifted(SystemTime::now());
    #[cfg(not(test))]
    SystemTime::now()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    thread_local! {
        /// By how many seconds the wall clock of this thread is ahead.
        static AHEAD: Cell<i64> = const { Cell::new(0) };
    }

    /// Sets the wall clock of this thread forward by so many seconds, or back.
    pub(crate) fn shift(seconds: i64) {
        AHEAD.with(|ahead| ahead.set(ahead.get() + seconds));
    }

    pub(super) fn shifted(now: SystemTime) -> SystemTime {
        let ahead = AHEAD.with(Cell::get);
        let by = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 { now - by } else { now + by }
    }
}
