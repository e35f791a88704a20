//! Owns the hub's own task, which follows the log.

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
use crate::log::lost;
use crate::shared::Shared;
use crate::{Bounds, Entry, Log, LogError, Tail, meters};

/// How often the log is asked whether it still is what it was.
const RECHECK: Duration = Duration::from_secs(15);
/// Between attempts to reach the log.
const FIRST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// How long it is waited for a log that is not to be reached.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long the tail is not heard because the log is asked whether it still is what it was.
const CHECK_PATIENCE: Duration = Duration::from_secs(1);
/// How often it is tried to begin with a log that changes meanwhile.
const ATTEMPTS: u32 = 5;
/// After so many entries at once others have a turn, in any case after as many batches as tokio allows.
const LONG_BATCH: usize = 64;

/// The check of the place before the first entry of all.
pub(crate) fn check_before_first_entry() -> EntryCheck {
    EntryCheck::from_hash(0)
}

/// That of who has heard that there was a gap, and nothing of the snapshot that follows.
pub(crate) fn check_before_snapshot() -> EntryCheck {
    EntryCheck::from_hash(1)
}

/// Follows the log for as long as there is a handle of the hub.
pub(crate) fn follow(shared: Arc<Shared>) -> impl Future<Output = ()> + Send {
    // Made by the call, as a runtime may end before it has polled the task.
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

/// Says that nobody follows, also when the runtime ends.
struct Stopped(Arc<Shared>);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.handle_stopped();
    }
}

struct Follower {
    shared: Arc<Shared>,
    /// Of the current life.
    fan_out: Option<FanOut>,
}

impl Follower {
    async fn run(mut self) -> std::convert::Infallible {
        let mut delay = FIRST_DELAY;
        let mut heard_at = Instant::now();
        loop {
            let attached_at = Instant::now();
            let mut has_heard = false;
            match self.attach().await {
                Ok((life, tail)) => {
                    let before = life.high();
                    let reason = self.follow_tail(&life, tail).await;
                    tracing::info!(%reason, high = life.high(), "the log's tail has ended");
                    // One that ends at once is no better than none.
                    has_heard = life.high() > before || attached_at.elapsed() > LONGEST_DELAY;
                }
                Err(error) => tracing::warn!(%error, "the log is not to be followed"),
            }
            if has_heard {
                (delay, heard_at) = (FIRST_DELAY, Instant::now());
            } else if heard_at.elapsed() > PATIENCE
                && let Some(life) = self.shared.current_life()
            {
                let waiting = life.confirmations().give_up();
                drop(waiting);
            }
            sleep(delay).await;
            delay = LONGEST_DELAY.min(2 * delay);
        }
    }

    /// Goes on behind what was written, if the log still is what it was, else begins a new life.
    async fn attach(&mut self) -> Result<(Arc<Life>, Tail), LogError> {
        let log = &*self.shared.log;
        if let Some(life) = self.shared.current_life() {
            // Made before the look: what becomes of the log after that is told by the tail.
            let tail = log.tail(life.high());
            let (continuity, bounds) = continuity(log, &life).await?;
            if continuity == Continuity::Whole {
                self.ensure_fan_out(&life);
                return Ok((life, tail));
            }
            tracing::warn!(
                epoch = %life.epoch, high = life.high(), ?bounds,
                "the log is not the continuation of what it was"
            );
            if bounds.epoch == life.epoch && continuity == Continuity::Broken {
                log.renew_epoch(&bounds.epoch).await?;
            }
        }
        let life = Arc::new(begin_life(log).await?);
        let tail = log.tail(life.high());
        if continuity(log, &life).await?.0 != Continuity::Whole {
            // Tried again, but not at once: a log that says so each time is not to be asked for ever.
            return Err(lost("the log has changed while it was looked at"));
        }
        self.shared.set_life(&life);
        meters::life();
        self.ensure_fan_out(&life);
        Ok((life, tail))
    }

    fn ensure_fan_out(&mut self, life: &Arc<Life>) {
        let current = self.fan_out.as_ref();
        if current.is_none_or(|fan_out| !fan_out.is_of(life)) {
            let max_bytes = self.shared.settings.tape_bytes;
            self.fan_out = Some(FanOut::new(Arc::clone(life), max_bytes));
        }
    }

    /// Writes the tapes from the tail until that ends, or the log is not what it was; says why.
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
                    None => ControlFlow::Break("it was closed".into()),
                },
                _ = recheck.tick() => self.check(life).await,
            };
            if let ControlFlow::Break(reason) = checked {
                return reason;
            }
        }
    }

    async fn handle_batch(&mut self, life: &Life, entries: &[Entry]) -> ControlFlow<String> {
        let expected = (life.high() + 1..).zip(entries);
        for (seq, entry) in expected {
            if entry.seq != seq {
                return ControlFlow::Break(format!("{} came in place of {seq}", entry.seq));
            }
        }
        self.forget_ends(life, entries).await;
        let Some(fan_out) = &mut self.fan_out else {
            unreachable!("`attach` makes the fan-out before the tail is followed");
        };
        fan_out.write_batch(entries);
        // A tail that has much to tell is always ready.
        if entries.len() < LONG_BATCH {
            consume_budget().await;
        } else {
            yield_now().await;
        }
        ControlFlow::Continue(())
    }

    /// Before an event is left out because its channel has ended, it is looked whether the log still
    /// remembers that.
    async fn forget_ends(&self, life: &Life, entries: &[Entry]) {
        let is_late = |entry: &Entry| life.ends().end_of(&entry.channel).is_some();
        if entries.iter().any(is_late) {
            self.shared.forget_ends(life).await;
        }
    }

    async fn check(&self, life: &Life) -> ControlFlow<String> {
        let awaited = life.confirmations().awaited();
        let looked = timeout(CHECK_PATIENCE, continuity(&*self.shared.log, life)).await;
        match looked.unwrap_or_else(|_| Err(lost("the log is silent"))) {
            Ok((Continuity::Broken, _)) => ControlFlow::Break("it is not what it was".into()),
            // What was forgotten may have come through the tail already.
            Ok((Continuity::Whole | Continuity::Missed, bounds)) => {
                let lost = life.confirmations().handle_lost(bounds.last, awaited);
                drop(lost);
                life.forget_ends_before(bounds.first);
                ControlFlow::Continue(())
            }
            // Its tail says whether it is lost.
            Err(error) => {
                tracing::warn!(%error, "the log cannot be checked");
                ControlFlow::Continue(())
            }
        }
    }
}

/// The life that begins behind all that the log holds now.
pub(crate) async fn begin_life(log: &dyn Log) -> Result<Life, LogError> {
    for _ in 0..ATTEMPTS {
        let bounds = log.bounds().await?;
        // The end may be forgotten while we look.
        if let Some(check) = check_at(log, &bounds, bounds.last).await? {
            // What has ended since is still to come through the tail.
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
    Err(lost("the log does not say what its last entry is"))
}

/// What a log is to a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Continuity {
    /// It still holds what this life has heard, and what follows it.
    Whole,
    /// It has forgotten some of what follows.
    Missed,
    /// It holds something else.
    Broken,
}

/// What the log is to this life, and what it holds.
pub(crate) async fn continuity(
    log: &dyn Log,
    life: &Life,
) -> Result<(Continuity, Bounds), LogError> {
    // Read before the bounds: what comes meanwhile is not past the end.
    let newest = life.newest();
    for _ in 0..ATTEMPTS {
        let bounds = log.bounds().await?;
        if bounds.epoch != life.epoch || bounds.last < newest.seq() {
            return Ok((Continuity::Broken, bounds));
        }
        if bounds.first > newest.seq().saturating_add(1) {
            return Ok((Continuity::Missed, bounds));
        }
        // It may be forgotten while we look.
        if let Some(check) = check_at(log, &bounds, newest.seq()).await? {
            let continuity = if check == newest.position.check {
                Continuity::Whole
            } else {
                Continuity::Broken
            };
            return Ok((continuity, bounds));
        }
    }
    Err(lost("the log does not say what it holds"))
}

/// The check of what stands at this place; `None` if that is forgotten.
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
        Err(LogError::Trimmed { .. } | LogError::Rewound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
