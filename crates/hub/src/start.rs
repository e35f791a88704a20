//! Owns how a hub starts: its task in the runtime that it is used in, and the wait for the life of its log.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::runtime::Handle;

use crate::Error;
use crate::follow::{PATIENCE, follow};
use crate::life::Life;
use crate::log::lost;
use crate::shared::Shared;

impl Shared {
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
        match tokio::time::timeout(PATIENCE, meant).await {
            Ok(Ok(life)) => match &*life {
                Some(life) => Ok(Arc::clone(life)),
                None => unreachable!("`wait_for` returns only a life that is meant"),
            },
            Ok(Err(_)) => unreachable!("`self` holds the sender"),
            Err(_) => {
                let silence = format!("the log was silent for {} s", PATIENCE.as_secs());
                Err(Error::Log(lost(silence)))
            }
        }
    }
}
