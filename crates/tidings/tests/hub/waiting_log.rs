//! `WaitingLog`: a log in memory that answers after a while, as a log on disk or on a cluster does.

use std::time::Duration;

use tidings::hub::{
    Appended, Bounds, ChannelName, Draft, Epoch, Log, LogError, LogFuture, MemoryLog, Page,
    Pattern, Tail,
};
use tokio::time::sleep;

pub(crate) struct WaitingLog {
    inner: MemoryLog,
    /// How long each look into the log takes, twice.
    wait: Duration,
}

impl WaitingLog {
    pub(crate) fn new(wait: Duration) -> Self {
        Self {
            inner: MemoryLog::default(),
            wait,
        }
    }

    async fn slowly<T>(&self, done: LogFuture<'_, T>) -> Result<T, LogError> {
        sleep(self.wait).await;
        let done = done.await;
        sleep(self.wait).await;
        done
    }
}

impl Log for WaitingLog {
    fn bounds(&self) -> LogFuture<'_, Bounds> {
        Box::pin(self.slowly(self.inner.bounds()))
    }

    fn ends(&self) -> LogFuture<'_, Vec<(ChannelName, u64)>> {
        Box::pin(self.slowly(self.inner.ends()))
    }

    fn append(&self, draft: Draft) -> LogFuture<'_, Appended> {
        self.inner.append(draft)
    }

    fn read<'a>(
        &'a self,
        after: u64,
        up_to: u64,
        patterns: &'a [Pattern],
        limit: usize,
    ) -> LogFuture<'a, Page> {
        Box::pin(self.slowly(self.inner.read(after, up_to, patterns, limit)))
    }

    fn tail(&self, after: u64) -> Tail {
        self.inner.tail(after)
    }

    fn renew_epoch<'a>(&'a self, expected: &'a Epoch) -> LogFuture<'a, Epoch> {
        Box::pin(self.slowly(self.inner.renew_epoch(expected)))
    }
}
