//! The start of the hub's task, and the wait for a life of the log.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::runtime::Handle;

use crate::LogError;
use crate::follow::follow;
use crate::life::Life;
use crate::shared::Shared;
use crate::unavailable::Unavailable;

impl Shared {
    /// Starts the hub's task in the current runtime, unless it already runs.
    pub(crate) fn start(self: &Arc<Self>) -> Result<(), Unavailable> {
        if self.is_started.load(Ordering::Acquire) {
            return Ok(());
        }
        self.runtime().map(drop)
    }

    /// The runtime of the hub's task, which is started if it does not run.
    pub(crate) fn runtime(self: &Arc<Self>) -> Result<Handle, Unavailable> {
        let handle = {
            let mut runtime = self.lock_runtime();
            if let Some(runtime) = &*runtime {
                return Ok(runtime.clone());
            }
            let handle = Handle::try_current().map_err(|_| Unavailable::NoRuntime)?;
            self.is_started.store(true, Ordering::Release);
            runtime.insert(handle).clone()
        };
        // Without the lock: a runtime that has ended drops the task here, and the drop takes the lock.
        handle.spawn(follow(Arc::clone(self)));
        Ok(handle)
    }

    /// Waits until the log is reached, and returns its life.
    pub(crate) async fn life(self: &Arc<Self>) -> Result<Arc<Life>, Unavailable> {
        self.start()?;
        self.wait_for_life(|_| true).await
    }

    /// Waits for a life other than this one, and has the hub's task check the log at once.
    pub(crate) async fn life_after(
        self: &Arc<Self>,
        life: &Arc<Life>,
    ) -> Result<Arc<Life>, Unavailable> {
        self.start()?;
        self.recheck.notify_one();
        self.wait_for_life(|current| !Arc::ptr_eq(current, life))
            .await
    }

    /// Waits for a life that is wanted, for at most the hub's `log_timeout`.
    async fn wait_for_life(
        &self,
        is_wanted: impl Fn(&Arc<Life>) -> bool,
    ) -> Result<Arc<Life>, Unavailable> {
        if let Some(life) = self.current_life().filter(&is_wanted) {
            return Ok(life);
        }
        let mut lives = self.life.subscribe();
        let wanted = lives.wait_for(|life| life.as_ref().is_some_and(&is_wanted));
        match self.log.within_limit(wanted).await {
            Some(Ok(life)) => match &*life {
                Some(life) => Ok(Arc::clone(life)),
                None => unreachable!("`wait_for` returns only a life that is wanted"),
            },
            Some(Err(_)) => unreachable!("`self` holds the sender"),
            None => {
                let limit = self.settings.log_timeout;
                Err(Unavailable::Log(LogError::silent(limit)))
            }
        }
    }
}
