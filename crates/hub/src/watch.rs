//! The watch of the hub's task: it ends the waits of publishers, and notices that the machine was suspended.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use crate::clock::wall_time;
use crate::life::Life;
use crate::shared::Shared;

/// The longest time between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// How far the wall clock runs ahead before it counts as a jump.
const JUMP: Duration = Duration::from_millis(500);

/// Gives up on each publisher whose entry the tail does not return within the hub's `log_timeout`. While
/// one waits for longer than a period, the log is checked in each period.
pub(crate) async fn watch(shared: &Shared) -> Infallible {
    let limit = shared.settings.log_timeout;
    let period = (limit / 10).min(PERIOD);
    let mut waits = Waits::default();
    let mut clocks = Clocks::read();
    loop {
        sleep(period).await;
        if clocks.has_jumped() {
            shared.woken.notify_waiters();
        }
        let Some(life) = shared.current_life() else {
            continue;
        };
        waits.give_up(&life, limit);
        if life.confirmations().awaited() > life.high() {
            shared.recheck.notify_one();
        }
    }
}

/// The two clocks at one moment.
struct Clocks {
    time: Instant,
    wall_time: SystemTime,
}

impl Clocks {
    fn read() -> Self {
        Self {
            time: Instant::now(),
            wall_time: wall_time(),
        }
    }

    /// Whether the wall clock has run ahead of tokio's since the last jump: the machine was suspended.
    fn has_jumped(&mut self) -> bool {
        let now = Self::read();
        let passed = now.wall_time.duration_since(self.wall_time);
        let ahead = passed.map(|passed| passed.checked_sub(now.time - self.time));
        match ahead {
            Ok(Some(ahead)) if ahead >= JUMP => {
                *self = now;
                true
            }
            Ok(Some(_)) => false,
            // It was set back, or runs slower.
            Ok(None) | Err(_) => {
                *self = now;
                false
            }
        }
    }
}

/// How many publishers had waited in a life, and when.
#[derive(Default)]
struct Waits {
    life: Weak<Life>,
    marks: VecDeque<(Instant, u64)>,
}

impl Waits {
    /// Gives up on the publishers that have waited for longer than the limit.
    fn give_up(&mut self, life: &Arc<Life>, limit: Duration) {
        if self.life.as_ptr() != Arc::as_ptr(life) {
            self.life = Arc::downgrade(life);
            self.marks.clear();
        }
        let now = Instant::now();
        let waited = life.confirmations().waited();
        if self.marks.back().is_none_or(|&(_, before)| before < waited) {
            self.marks.push_back((now, waited));
        }
        let mut expired = None;
        while let Some(&(_, waited)) = self.marks.front().filter(|(at, _)| *at + limit <= now) {
            expired = Some(waited);
            self.marks.pop_front();
        }
        if let Some(waited) = expired {
            let given_up = life.confirmations().give_up_until(waited);
            drop(given_up);
        }
    }
}
