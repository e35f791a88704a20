//! The state that the handles of a hub and its task share.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use crate::LogError;
use crate::admission::Admission;
use crate::confirm::Confirmation;
use crate::life::{Life, PositionWithId};
use crate::presence::Presences;
use crate::snapshots::Snapshots;
use crate::timed_log::{HubRuntime, TimedLog};
use crate::turns::Turns;

/// The settings of a hub.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HubSettings {
    pub(crate) tape_bytes: usize,
    pub(crate) max_event_bytes: usize,
    pub(crate) max_channels: usize,
    /// How long the log is awaited.
    pub(crate) log_timeout: Duration,
}

/// Where a life began; empty until it begins.
pub(crate) type Base = Arc<OnceLock<PositionWithId>>;

pub(crate) struct Shared {
    pub(crate) log: TimedLog,
    pub(crate) settings: HubSettings,
    pub(crate) presences: Presences,
    /// The current life; `None` before the log is reached, and after the task has stopped.
    pub(crate) life: watch::Sender<Option<Arc<Life>>>,
    /// Where the first life began since there was none.
    first_base: Mutex<Base>,
    /// The runtime of the hub's task; `None` before the first use, and after that runtime has ended.
    runtime: HubRuntime,
    pub(crate) is_started: AtomicBool,
    /// Has the task check at once whether the log still continues the current life.
    pub(crate) recheck: Notify,
    /// Stops the task: the last handle was dropped.
    pub(crate) stop: Notify,
    pub(crate) admission: Admission,
    /// Notified after the machine was suspended, or its wall clock was set forward.
    pub(crate) woken: Arc<Notify>,
    pub(crate) turns: Turns,
    pub(crate) snapshots: Arc<Snapshots>,
}

impl Shared {
    pub(crate) fn new(
        log: TimedLog,
        runtime: HubRuntime,
        settings: HubSettings,
        presences: Presences,
        life: Option<Arc<Life>>,
    ) -> Self {
        Self {
            log,
            settings,
            presences,
            life: watch::Sender::new(life),
            first_base: Mutex::default(),
            runtime,
            is_started: AtomicBool::new(false),
            recheck: Notify::new(),
            stop: Notify::new(),
            admission: Admission::default(),
            woken: Arc::default(),
            turns: Turns::default(),
            snapshots: Arc::default(),
        }
    }

    /// Handles the end of the hub's task: the next use of the hub starts another one.
    pub(crate) fn handle_stopped(&self) {
        let mut past = None;
        let runtime = {
            let mut runtime = self.lock_runtime();
            {
                // Before the life is taken: `newest_or_first_base` reads them in the other order.
                let mut first_base = self.lock_first_base();
                if first_base.get().is_some() {
                    *first_base = Base::default();
                }
            }
            // The next task may start as soon as the lock is free, and begins a life of its own. No
            // receiver waits for `None`, so none is notified.
            self.life.send_if_modified(|life| {
                past = life.take();
                false
            });
            self.is_started.store(false, Ordering::Release);
            runtime.take()
        };
        drop(runtime);
        if let Some(life) = past {
            life.end();
        }
    }

    pub(crate) fn lock_runtime(&self) -> MutexGuard<'_, Option<Handle>> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current life, if the log was reached.
    pub(crate) fn current_life(&self) -> Option<Arc<Life>> {
        self.life.borrow().clone()
    }

    fn lock_first_base(&self) -> MutexGuard<'_, Base> {
        self.first_base
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest position. Before the log is reached, the place for the position at which the hub will
    /// reach it.
    pub(crate) fn newest_or_first_base(&self) -> Result<PositionWithId, Base> {
        loop {
            let first_base = Arc::clone(&self.lock_first_base());
            if let Some(life) = self.current_life() {
                return Ok(life.newest());
            }
            // A life that has begun or ended meanwhile is looked up again.
            if first_base.get().is_none() {
                return Err(first_base);
            }
        }
    }

    /// Replaces the current life, and ends it.
    pub(crate) fn set_life(&self, life: &Arc<Life>) {
        self.lock_first_base().get_or_init(|| life.base.clone());
        self.admission.forget_stored(life.base.seq());
        let past = self.life.send_replace(Some(Arc::clone(life)));
        if let Some(past) = past {
            past.end();
        }
        if self.admission.is_drained() {
            life.close();
        }
    }

    /// Forgets the ends of channels that the log has forgotten.
    pub(crate) async fn forget_ends(&self, life: &Life) -> Result<(), LogError> {
        let bounds = self.log.bounds().await?;
        life.forget_ends_before(bounds.ends_since);
        Ok(())
    }

    /// Refuses new publishers, waits for the admitted ones, then ends the subscriptions once each has
    /// delivered everything.
    pub(crate) async fn drain(&self) {
        let stored = async {
            self.admission.close().await;
            self.wait_for_stored().await;
        };
        if self.log.within_limit(stored).await.is_none() {
            tracing::warn!(
                publishers = self.admission.admitted(),
                "the drain of a hub no longer waits for its publishers"
            );
        }
        self.admission.finish();
        if let Some(life) = self.current_life() {
            life.close();
        }
    }

    /// Waits until the tail has returned all entries that publishers have stored.
    async fn wait_for_stored(&self) {
        let Some(life) = self.current_life() else {
            return;
        };
        let found = life.confirmations().find(self.admission.stored());
        match found {
            // An error: the life is over, or the tail did not return the entry in time.
            Confirmation::Pending(outcome) => drop(outcome.await),
            Confirmation::Known(_) | Confirmation::Forgotten => {}
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
