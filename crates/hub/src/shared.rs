//! Owns `Shared`: what the handles of a hub and its own task have in common.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use crate::admission::Admission;
use crate::follow::follow;
use crate::life::Life;
use crate::log::lost;
use crate::presence::Presences;
use crate::{Error, Log};

/// How long it is waited for a log that is not to be reached.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What a hub is set to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) tape_bytes: usize,
    pub(crate) max_event_bytes: usize,
    pub(crate) max_channels: usize,
}

pub(crate) struct Shared {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) settings: Settings,
    pub(crate) presences: Presences,
    /// `None` until the log was reached.
    life: watch::Sender<Option<Arc<Life>>>,
    /// Where the hub's own task runs; none before the first use, and after that runtime has ended.
    runtime: Mutex<Option<Handle>>,
    is_started: AtomicBool,
    /// The log may not be what it was.
    pub(crate) recheck: Notify,
    /// No handle is left.
    pub(crate) stop: Notify,
    pub(crate) admission: Admission,
}

impl Shared {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        settings: Settings,
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

    /// Starts the hub's own task in the runtime in which this is called, unless it runs.
    pub(crate) fn start(self: &Arc<Self>) -> Result<(), Error> {
        if self.is_started.load(Ordering::Acquire) {
            return Ok(());
        }
        self.runtime().map(drop)
    }

    /// Where the hub's own task runs, which is started if it does not.
    pub(crate) fn runtime(self: &Arc<Self>) -> Result<Handle, Error> {
        let handle = {
            let mut runtime = self.lock_runtime();
            if let Some(runtime) = &*runtime {
                return Ok(runtime.clone());
            }
            let handle = Handle::try_current().map_err(|_| Error::NoRuntime)?;
            self.is_started.store(true, Ordering::Release);
            runtime.insert(handle).clone()
        };
        // Without the lock: a runtime that has ended drops the task here, which says so.
        handle.spawn(follow(Arc::clone(self)));
        Ok(handle)
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

    fn lock_runtime(&self) -> MutexGuard<'_, Option<Handle>> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of the log, if it was reached.
    pub(crate) fn current_life(&self) -> Option<Arc<Life>> {
        self.life.borrow().clone()
    }

    /// The life of the log, once it is reached.
    pub(crate) async fn life(self: &Arc<Self>) -> Result<Arc<Life>, Error> {
        self.start()?;
        self.life_that(|_| true).await
    }

    /// The life that follows this one, once there is one.
    pub(crate) async fn life_after(self: &Arc<Self>, life: &Arc<Life>) -> Result<Arc<Life>, Error> {
        self.start()?;
        self.recheck.notify_one();
        self.life_that(|current| !Arc::ptr_eq(current, life)).await
    }

    async fn life_that(&self, is_meant: impl Fn(&Arc<Life>) -> bool) -> Result<Arc<Life>, Error> {
        if let Some(life) = self.current_life().filter(&is_meant) {
            return Ok(life);
        }
        let mut lives = self.life.subscribe();
        let meant = lives.wait_for(|life| life.as_ref().is_some_and(&is_meant));
        let unreached = || {
            let silence = format!("the log was silent for {} s", PATIENCE.as_secs());
            Error::Log(lost(silence))
        };
        let life = tokio::time::timeout(PATIENCE, meant).await;
        life.ok()
            .and_then(|life| life.ok()?.clone())
            .ok_or_else(unreached)
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
            self.forget_ends_before(life, bounds.first);
        }
    }

    pub(crate) fn forget_ends_before(&self, life: &Life, first: u64) {
        let reopened = life.ends_mut().forget(first);
        if reopened.is_empty() {
            return;
        }
        let directory = life.directory();
        for channel in reopened {
            if let Some(topic) = directory.existing(&channel) {
                topic.reopen(first);
            }
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
