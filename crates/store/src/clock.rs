//! `Clock`: the time of new entries, which never decreases.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

/// The latest time, in the year 2261: what is stored is signed, and a key expires after its entry.
const LATEST: u64 = i64::MAX.cast_unsigned() - (365 * 24 * 3600 * 1_000_000_000);

/// The times that the clocks of the machine show, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// The wall clock: the time since 1970. It may be set back or forward.
    pub(crate) wall: u64,
    /// The time that the process has run.
    pub(crate) running: u64,
}

/// The later one of the wall clock and of the time that has passed since an earlier reading. So the time runs
/// on when the wall clock is set back, and follows it when it is set forward.
pub(crate) struct Clock {
    read: Box<dyn Fn() -> Reading + Send>,
    /// The time at the last reading.
    time: u64,
    /// How long the process had run then.
    running: u64,
}

impl Clock {
    /// The clock of the machine. It begins with this time if the wall clock is behind it.
    pub(crate) fn of_machine(least: u64) -> Self {
        let start = now();
        Self::over(
            move || Reading {
                wall: wall_time(),
                running: nanos(now().duration_since(start)),
            },
            least,
        )
    }

    /// A clock over these readings.
    pub(crate) fn over(read: impl Fn() -> Reading + Send + 'static, least: u64) -> Self {
        let Reading { wall, running } = read();
        Self {
            read: Box::new(read),
            time: least.max(wall).min(LATEST),
            running,
        }
    }

    /// The time in nanoseconds since 1970.
    pub(crate) fn now(&mut self) -> u64 {
        let Reading { wall, running } = (self.read)();
        let passed = running.saturating_sub(self.running);
        self.time = self.time.saturating_add(passed).max(wall).min(LATEST);
        self.running = running;
        self.time
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock")
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
}

/// The time that limits how long a step of the writer takes.
#[allow(
    clippy::disallowed_methods,
    reason = "the writer is a thread of its own, outside of tokio's clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[allow(
    clippy::disallowed_methods,
    reason = "an entry has the time at which it was stored"
)]
fn wall_time() -> u64 {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    nanos(wall.unwrap_or_default())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A machine whose clocks a test sets.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct Machine(Arc<(AtomicU64, AtomicU64)>);

    impl Machine {
        pub(crate) fn at(wall: u64) -> Self {
            let machine = Self::default();
            machine.set_wall(wall);
            machine
        }

        pub(crate) fn clock(&self, least: u64) -> Clock {
            let machine = self.clone();
            let read = move || Reading {
                wall: machine.0.0.load(Ordering::SeqCst),
                running: machine.0.1.load(Ordering::SeqCst),
            };
            Clock::over(read, least)
        }

        pub(crate) fn set_wall(&self, wall: u64) {
            self.0.0.store(wall, Ordering::SeqCst);
        }

        /// Lets time pass.
        pub(crate) fn pass(&self, nanos: u64) {
            self.0.0.fetch_add(nanos, Ordering::SeqCst);
            self.0.1.fetch_add(nanos, Ordering::SeqCst);
        }
    }

    #[test]
    fn the_time_runs_on_when_the_wall_clock_is_set_back() {
        let machine = Machine::at(1_000);
        let mut clock = machine.clock(0);
        assert_eq!(clock.now(), 1_000);
        machine.pass(10);
        machine.set_wall(500);
        assert_eq!(clock.now(), 1_010);
        machine.pass(5);
        assert_eq!(clock.now(), 1_015);
    }

    #[test]
    fn the_time_follows_the_wall_clock_forward() {
        let machine = Machine::at(1_000);
        let mut clock = machine.clock(0);
        machine.set_wall(9_000);
        assert_eq!(clock.now(), 9_000);
        machine.set_wall(1_000);
        machine.pass(1);
        assert_eq!(clock.now(), 9_001);
    }

    #[test]
    fn no_time_is_after_the_latest_one() {
        let machine = Machine::at(1_000);
        let mut clock = machine.clock(0);
        machine.set_wall(u64::MAX - 10);
        assert_eq!(clock.now(), LATEST);
        machine.pass(10);
        assert_eq!(clock.now(), LATEST);
        assert_eq!(machine.clock(0).now(), LATEST);
    }

    #[test]
    fn a_clock_begins_after_the_newest_entry() {
        let machine = Machine::at(1_000);
        let mut clock = machine.clock(5_000);
        machine.pass(7);
        assert_eq!(clock.now(), 5_007);
    }
}
