//! Owns `Shared`: what the handles of a hub and its own task have in common.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use crate::Log;
use crate::admission::Admission;
use crate::life::Life;
use crate::presence::Presences;

/// What a hub is set to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HubSettings {
    pub(crate) tape_bytes: usize,
    pub(crate) max_event_bytes: usize,
    pub(crate) max_channels: usize,
}

pub(crate) struct Shared {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) settings: HubSettings,
    pub(crate) presences: Presences,
    /// `None` until the log was reached.
    pub(crate) life: watch::Sender<Option<Arc<Life>>>,
    /// Where the hub's own task runs; none before the first use, and after that runtime has ended.
    runtime: Mutex<Option<Handle>>,
    pub(crate) is_started: AtomicBool,
    /// The log may not be what it was.
    pub(crate) recheck: Notify,
    /// No handle is left.
    pub(crate) stop: Notify,
    pub(crate) admission: Admission,
}

impl Shared {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        settings: HubSettings,
        presences: Presences,
        life: Option<Arc<Life>>,
    ) -> Self {
        Self {
            log,
            settings,
            presences,
            life: watch::Sender::new(life),
            runtime: Mutex::new(None),
            is_started: AtomicBool::new(false),
            recheck: Notify::new(),
            stop: Notify::new(),
            admission: Admission::default(),
        }
    }

    /// The hub's own task has ended.
    pub(crate) fn handle_stopped(&self) {
        let mut past = None;
        let runtime = {
            let mut runtime = self.lock_runtime();
            // The next task, which may start as soon as the lock is free, has a life of its own. Nobody
            // waits for there to be none.
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

    /// The life of the log, if it was reached.
    pub(crate) fn current_life(&self) -> Option<Arc<Life>> {
        self.life.borrow().clone()
    }

    pub(crate) fn set_life(&self, life: &Arc<Life>) {
        let past = self.life.send_replace(Some(Arc::clone(life)));
        if let Some(past) = past {
            past.end();
        }
        if self.admission.is_empty() {
            life.close();
        }
    }

    /// Forgets the ends that the log has forgotten.
    pub(crate) async fn forget_ends(&self, life: &Life) {
        // A log that cannot say has forgotten none.
        if let Ok(bounds) = self.log.bounds().await {
            life.forget_ends_before(bounds.first);
        }
    }

    /// Lets nobody in any more, waits until whoever was let in is done, and has subscriptions end.
    pub(crate) async fn drain(&self) {
        self.admission.shut().await;
        if let Some(life) = self.current_life() {
            life.close();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
