//! The hub's task: it follows the log's tail, and detects a log that lost or changed entries.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Fuse, FutureExt};
use tokio::task::coop::consume_budget;
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::continuity::{Continuity, begin_life, continuity};
use crate::fan_out::FanOut;
use crate::life::Life;
use crate::shared::Shared;
use crate::timed_log::CaughtTail;
use crate::watch::watch;
use crate::{Bounds, Entry, LogError, meters};

/// The time between two checks that the log still continues the life.
const RECHECK: Duration = Duration::from_secs(5);
/// The delays between attempts to attach to the log: they double from the first to the longest.
const FIRST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// A batch of this many entries is followed by a yield to other tasks. Shorter batches consume tokio's
/// budget.
const LONG_BATCH: usize = 64;

/// The hub's task. It ends when the last handle of the hub is dropped.
pub(crate) fn follow(shared: Arc<Shared>) -> impl Future<Output = ()> + Send {
    // Created by the call: a runtime may end before it polled the task.
    let stopped = Stopped(Arc::clone(&shared));
    async move {
        let follower = Follower {
            shared: Arc::clone(&shared),
            fan_out: None,
        };
        tokio::select! {
            () = shared.stop.notified() => {}
            never = follower.run() => match never {},
            never = watch(&shared) => match never {},
        }
        drop(stopped);
    }
}

/// Reports that the task has stopped, also when its runtime ends.
struct Stopped(Arc<Shared>);

impl Drop for Stopped {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(
                "the task of a hub has panicked; the next use of the hub starts another"
            );
        }
        self.0.handle_stopped();
    }
}

/// The state of the hub's task.
struct Follower {
    shared: Arc<Shared>,
    /// The fan-out of the current life.
    fan_out: Option<FanOut>,
}

impl Follower {
    async fn run(mut self) -> std::convert::Infallible {
        let mut delay = FIRST_DELAY;
        loop {
            let attached_at = Instant::now();
            let mut has_received = false;
            match self.attach().await {
                Ok((life, tail)) => {
                    let before = life.high();
                    let reason = self.follow_tail(&life, tail).await;
                    tracing::info!(%reason, high = life.high(), "the log's tail has ended");
                    // A tail that ends at once counts as a failed attempt.
                    has_received = life.high() > before || attached_at.elapsed() > LONGEST_DELAY;
                }
                // After a drain, the program may have closed the log.
                Err(error) if self.shared.admission.is_drained() => {
                    tracing::debug!(error = describe(&error), "cannot follow the log");
                }
                Err(error) => tracing::warn!(error = describe(&error), "cannot follow the log"),
            }
            if has_received {
                delay = FIRST_DELAY;
            }
            sleep(delay).await;
            delay = LONGEST_DELAY.min(2 * delay);
        }
    }

    /// Continues the current life if the log still continues it, otherwise begins a new one.
    async fn attach(&mut self) -> Result<(Arc<Life>, CaughtTail), LogError> {
        let shared = Arc::clone(&self.shared);
        let log = &shared.log;
        if let Some(life) = shared.current_life() {
            let (continuity, bounds) = continuity(log, &life).await?;
            if continuity == Continuity::Whole {
                self.ensure_fan_out(&life);
                let tail = log.tail(&life.newest().position);
                return Ok((life, tail));
            }
            tracing::warn!(
                epoch = %life.epoch, high = life.high(), ?bounds,
                "the log does not continue the current life"
            );
            if bounds.epoch == life.epoch && continuity == Continuity::Broken {
                log.renew_epoch(&bounds.epoch).await?;
            }
        }
        let life = Arc::new(begin_life(log).await?);
        // The tail fails if the log does not hold the newest entry of the life, now or later.
        let tail = log.tail(&life.newest().position);
        shared.set_life(&life);
        meters::life();
        self.ensure_fan_out(&life);
        Ok((life, tail))
    }

    /// Makes the fan-out of this life, unless there is one.
    fn ensure_fan_out(&mut self, life: &Arc<Life>) {
        let current = self.fan_out.as_ref();
        if current.is_none_or(|fan_out| !fan_out.is_of(life)) {
            let max_bytes = self.shared.settings.tape_bytes;
            self.fan_out = Some(FanOut::new(Arc::clone(life), max_bytes));
        }
    }

    /// Fans out the batches of the tail until it ends, or the log no longer continues the life. Returns
    /// the reason.
    async fn follow_tail(&mut self, life: &Life, mut tail: CaughtTail) -> String {
        let shared = Arc::clone(&self.shared);
        let mut recheck = interval(RECHECK);
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        recheck.reset();
        // Beside the tail: a log that does not respond to a check may still deliver entries.
        let mut check = Box::pin(Fuse::terminated());
        let mut is_checking = false;
        let mut stalled = None;
        loop {
            let step = tokio::select! {
                biased;
                checked = &mut check => {
                    is_checking = false;
                    self.handle_check(life, checked, &mut stalled)
                }
                () = shared.recheck.notified(), if !is_checking => {
                    is_checking = true;
                    check.set(look(&shared, life).fuse());
                    ControlFlow::Continue(())
                }
                batch = tail.next() => match batch {
                    Some(Ok(entries)) if entries.is_empty() => {
                        ControlFlow::Break("it delivered an empty batch".into())
                    }
                    Some(Ok(entries)) => {
                        stalled = None;
                        self.handle_batch(life, &entries).await
                    }
                    Some(Err(error)) => ControlFlow::Break(describe(&error)),
                    None => ControlFlow::Break("the log closed it".into()),
                },
                _ = recheck.tick(), if !is_checking => {
                    is_checking = true;
                    check.set(look(&shared, life).fuse());
                    ControlFlow::Continue(())
                }
            };
            if let ControlFlow::Break(reason) = step {
                return reason;
            }
            if stalled.is_some() {
                let soon = Instant::now() + self.stall_limit() / 2;
                recheck.reset_at(soon.min(Instant::now() + RECHECK));
            }
        }
    }

    /// How long the tail may not deliver an entry that the log holds.
    fn stall_limit(&self) -> Duration {
        self.shared.settings.log_timeout / 2
    }

    /// Fans out a batch, unless its entries do not follow on the previous ones.
    async fn handle_batch(&mut self, life: &Life, entries: &[Entry]) -> ControlFlow<String> {
        let expected = (life.high() + 1..).zip(entries);
        for (seq, entry) in expected {
            if entry.seq != seq {
                return ControlFlow::Break(format!(
                    "it delivered entry {} instead of {seq}",
                    entry.seq
                ));
            }
        }
        if let Err(error) = self.forget_ends(life, entries).await {
            // Unknown whether a new channel has the name: the next tail returns the entries again.
            return ControlFlow::Break(describe(&error));
        }
        let Some(fan_out) = &mut self.fan_out else {
            unreachable!("`attach` makes the fan-out before the tail is followed");
        };
        fan_out.write_batch(entries);
        // A tail with a long backlog is always ready, and would starve other tasks.
        if entries.len() < LONG_BATCH {
            consume_budget().await;
        } else {
            yield_now().await;
        }
        ControlFlow::Continue(())
    }

    /// Forgets the ends that the log has forgotten, before an event is hidden because its channel has
    /// ended.
    async fn forget_ends(&self, life: &Life, entries: &[Entry]) -> Result<(), LogError> {
        let has_ended = |entry: &Entry| life.ends().end_of(&entry.channel).is_some();
        if entries.iter().any(has_ended) {
            self.shared.forget_ends(life).await?;
        }
        Ok(())
    }

    /// Handles the result of a check. `stalled`: since when the tail has not delivered an entry that the
    /// log holds.
    fn handle_check(
        &self,
        life: &Life,
        looked: Result<Looked, LogError>,
        stalled: &mut Option<Instant>,
    ) -> ControlFlow<String> {
        match looked {
            Ok(Looked {
                continuity: Continuity::Broken,
                ..
            }) => {
                return ControlFlow::Break("the log does not continue the current life".into());
            }
            // The tail may still deliver the removed entries. If not, it fails.
            Ok(Looked {
                continuity: Continuity::Whole | Continuity::Missed,
                bounds,
                awaited,
            }) => {
                let last = bounds.last.seq;
                let lost = life.confirmations().handle_lost(last, awaited);
                drop(lost);
                life.forget_ends_before(bounds.ends_since);
                let high = life.high();
                if last <= high {
                    *stalled = None;
                } else if stalled.get_or_insert_with(Instant::now).elapsed() >= self.stall_limit() {
                    return ControlFlow::Break(format!(
                        "it did not deliver entry {}, which the log holds",
                        high + 1
                    ));
                }
            }
            // If the log is lost, its tail fails, or the next check finds that it stalls.
            Err(error) => tracing::warn!(error = describe(&error), "cannot check the log"),
        }
        ControlFlow::Continue(())
    }
}

/// The result of a check of the log.
struct Looked {
    continuity: Continuity,
    bounds: Bounds,
    /// The newest entry that a publisher awaited before.
    awaited: u64,
}

/// Checks whether the log still continues this life.
async fn look(shared: &Shared, life: &Life) -> Result<Looked, LogError> {
    let awaited = life.confirmations().awaited();
    let (continuity, bounds) = continuity(&shared.log, life).await?;
    Ok(Looked {
        continuity,
        bounds,
        awaited,
    })
}

/// An error of the log with its cause.
fn describe(error: &LogError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
