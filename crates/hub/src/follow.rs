//! The hub's task: it follows the log's tail, and detects a log that lost or changed entries.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tidings_proto::{EntryCheck, Position};
use tokio::task::coop::consume_budget;
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::ends::Ends;
use crate::fan_out::FanOut;
use crate::life::Life;
use crate::shared::Shared;
use crate::{Bounds, Entry, Log, LogError, LogErrorKind, Tail, meters};

/// The time between two checks that the log still continues the life.
const RECHECK: Duration = Duration::from_secs(15);
/// The delays between attempts to attach to the log: they double from the first to the longest.
const FIRST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// How long publishers and subscribers wait for a log that does not respond.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// The time limit of a check. The tail is not read meanwhile.
const CHECK_PATIENCE: Duration = Duration::from_secs(1);
/// The number of attempts to look into a log that changes meanwhile.
const ATTEMPTS: u32 = 5;
/// A batch of this many entries is followed by a yield to other tasks. Shorter batches consume tokio's
/// budget.
const LONG_BATCH: usize = 64;

/// The check in the position before the first entry, whose `seq` is 0.
pub(crate) fn check_before_first_entry() -> EntryCheck {
    EntryCheck::from_hash(0)
}

/// The check in the ID of a gap that a snapshot follows. Its `seq` is 0. A client that reconnects with
/// this ID has received the gap but not the whole snapshot.
pub(crate) fn check_before_snapshot() -> EntryCheck {
    EntryCheck::from_hash(1)
}

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
        }
        drop(stopped);
    }
}

/// Reports that the task has stopped, also when its runtime ends.
struct Stopped(Arc<Shared>);

impl Drop for Stopped {
    fn drop(&mut self) {
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
        let mut received_at = Instant::now();
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
                Err(error) => tracing::warn!(%error, "cannot follow the log"),
            }
            if has_received {
                (delay, received_at) = (FIRST_DELAY, Instant::now());
            } else if received_at.elapsed() > PATIENCE
                && let Some(life) = self.shared.current_life()
            {
                let waiting = life.confirmations().give_up();
                drop(waiting);
            }
            sleep(delay).await;
            delay = LONGEST_DELAY.min(2 * delay);
        }
    }

    /// Continues the current life if the log still continues it, otherwise begins a new one.
    async fn attach(&mut self) -> Result<(Arc<Life>, Tail), LogError> {
        let log = &*self.shared.log;
        if let Some(life) = self.shared.current_life() {
            // Opened before the check: the tail reports changes after it.
            let tail = log.tail(life.high());
            let (continuity, bounds) = continuity(log, &life).await?;
            if continuity == Continuity::Whole {
                self.ensure_fan_out(&life);
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
        let tail = log.tail(life.high());
        if continuity(log, &life).await?.0 != Continuity::Whole {
            // An error, so that the next attempt waits: the log may change each time.
            return Err(LogError::lost(
                "the log changed while the hub attached to it",
            ));
        }
        self.shared.set_life(&life);
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
    async fn follow_tail(&mut self, life: &Life, mut tail: Tail) -> String {
        let mut recheck = interval(RECHECK);
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        recheck.reset();
        loop {
            let checked = tokio::select! {
                biased;
                () = self.shared.recheck.notified() => self.check(life).await,
                batch = tail.next() => match batch {
                    Some(Ok(entries)) => self.handle_batch(life, &entries).await,
                    Some(Err(error)) => ControlFlow::Break(error.to_string()),
                    None => ControlFlow::Break("the log closed it".into()),
                },
                _ = recheck.tick() => self.check(life).await,
            };
            if let ControlFlow::Break(reason) = checked {
                return reason;
            }
        }
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
        self.forget_ends(life, entries).await;
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

    /// Forgets the ends that the log has trimmed, before an event is hidden because its channel has
    /// ended.
    async fn forget_ends(&self, life: &Life, entries: &[Entry]) {
        let is_late = |entry: &Entry| life.ends().end_of(&entry.channel).is_some();
        if entries.iter().any(is_late) {
            self.shared.forget_ends(life).await;
        }
    }

    /// Checks whether the log still continues this life.
    async fn check(&self, life: &Life) -> ControlFlow<String> {
        let awaited = life.confirmations().awaited();
        let looked = timeout(CHECK_PATIENCE, continuity(&*self.shared.log, life)).await;
        match looked.unwrap_or_else(|_| Err(LogError::lost("the log did not respond"))) {
            Ok((Continuity::Broken, _)) => {
                ControlFlow::Break("the log does not continue the current life".into())
            }
            // The tail may still deliver the trimmed entries. If not, it fails.
            Ok((Continuity::Whole | Continuity::Missed, bounds)) => {
                let lost = life.confirmations().handle_lost(bounds.last, awaited);
                drop(lost);
                life.forget_ends_before(bounds.first);
                ControlFlow::Continue(())
            }
            // If the log is lost, its tail fails.
            Err(error) => {
                tracing::warn!(%error, "cannot check the log");
                ControlFlow::Continue(())
            }
        }
    }
}

/// A new life, which delivers what follows the newest entry of the log.
pub(crate) async fn begin_life(log: &dyn Log) -> Result<Life, LogError> {
    for _ in 0..ATTEMPTS {
        let bounds = log.bounds().await?;
        // The newest entry may be trimmed between the two calls.
        if let Some(check) = check_at(log, &bounds, bounds.last).await? {
            // Later ends come through the tail.
            let ends = log.ends().await?.into_iter();
            let ends = Ends::new(ends.filter(|&(_, seq)| seq <= bounds.last));
            let base = Position {
                epoch: bounds.epoch,
                seq: bounds.last,
                check,
            };
            return Ok(Life::new(&base, ends));
        }
    }
    Err(LogError::lost("the newest entry of the log cannot be read"))
}

/// Whether a log continues a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Continuity {
    /// The log holds the newest entry of the life, or at least its check, and all entries that follow.
    Whole,
    /// The log has trimmed entries that follow the newest one of the life.
    Missed,
    /// The log was rewound, or has another epoch: it holds other entries than the life.
    Broken,
}

/// Whether the log continues this life, and its bounds.
pub(crate) async fn continuity(
    log: &dyn Log,
    life: &Life,
) -> Result<(Continuity, Bounds), LogError> {
    // Read before the bounds, which then include the newest entry of the life.
    let newest = life.newest();
    for _ in 0..ATTEMPTS {
        let bounds = log.bounds().await?;
        if bounds.epoch != life.epoch || bounds.last < newest.seq() {
            return Ok((Continuity::Broken, bounds));
        }
        if bounds.first > newest.seq().saturating_add(1) {
            return Ok((Continuity::Missed, bounds));
        }
        // The entry may be trimmed between the two calls.
        if let Some(check) = check_at(log, &bounds, newest.seq()).await? {
            let continuity = if check == newest.position.check {
                Continuity::Whole
            } else {
                Continuity::Broken
            };
            return Ok((continuity, bounds));
        }
    }
    Err(LogError::lost("the bounds of the log change too often"))
}

/// The check of the entry `seq`; `None` if the log has trimmed it.
pub(crate) async fn check_at(
    log: &dyn Log,
    bounds: &Bounds,
    seq: u64,
) -> Result<Option<EntryCheck>, LogError> {
    if seq == 0 {
        return Ok((bounds.first == 1).then(check_before_first_entry));
    }
    if seq + 1 == bounds.first {
        return Ok(bounds.floor);
    }
    match log.read(seq - 1, seq, &[], 1).await {
        Ok(page) => Ok(page.entries.first().map(Entry::check)),
        Err(error) => match error.kind() {
            LogErrorKind::Trimmed { .. } | LogErrorKind::Rewound { .. } => Ok(None),
            _ => Err(error),
        },
    }
}
