//! `WaitingLog`: a log in memory that answers after a while, as a log on disk or on a cluster does.

use std::time::Duration;

use tidings::hub::{
    Bounds, ChannelName, Epoch, Located, Log, LogError, LogFuture, MemoryLog, Page, Scope, Start,
    StoredChannel,
};
use tidings_testkit::interpose::{Interpose, Interposed};
use tokio::time::sleep;

pub(crate) struct WaitingLog {
    inner: MemoryLog,
    /// How long each look into the log takes, twice.
    wait: Duration,
}

impl WaitingLog {
    pub(crate) fn new(wait: Duration) -> Interposed<Self> {
        let inner = MemoryLog::default();
        Interposed(Self { inner, wait })
    }

    async fn slowly<T>(&self, done: LogFuture<'_, T>) -> Result<T, LogError> {
        sleep(self.wait).await;
        let done = done.await;
        sleep(self.wait).await;
        done
    }
}

impl Interpose for WaitingLog {
    fn inner(&self) -> &dyn Log {
        &self.inner
    }

    fn bounds(&self) -> LogFuture<'_, Bounds> {
        Box::pin(self.slowly(self.inner.bounds()))
    }

    fn ends(&self) -> LogFuture<'_, Vec<(ChannelName, u64)>> {
        Box::pin(self.slowly(self.inner.ends()))
    }

    fn channel<'a>(&'a self, name: &'a ChannelName) -> LogFuture<'a, Option<StoredChannel>> {
        Box::pin(self.slowly(self.inner.channel(name)))
    }

    fn channels<'a>(
        &'a self,
        after: Option<&'a ChannelName>,
        limit: usize,
    ) -> LogFuture<'a, Vec<StoredChannel>> {
        Box::pin(self.slowly(self.inner.channels(after, limit)))
    }

    fn locate<'a>(&'a self, start: Start, scope: Scope<'a>) -> LogFuture<'a, Located> {
        Box::pin(self.slowly(self.inner.locate(start, scope)))
    }

    fn read<'a>(&'a self, after: u64, limit: usize, scope: Scope<'a>) -> LogFuture<'a, Page> {
        Box::pin(self.slowly(self.inner.read(after, limit, scope)))
    }

    fn renew_epoch<'a>(&'a self, expected: &'a Epoch) -> LogFuture<'a, Epoch> {
        Box::pin(self.slowly(self.inner.renew_epoch(expected)))
    }
}
