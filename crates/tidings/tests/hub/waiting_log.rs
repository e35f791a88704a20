//! `WaitingLog`: a log in memory that answers after a while, as a log on disk or on a cluster does.

use std::time::Duration;

use tidings::hub::{
    Appended, Bounds, ChannelName, Draft, Epoch, Log, LogError, LogFuture, MemoryLog, Page,
    Pattern, Tail,
};
use tokio::time::sleep;

/// How long each look into the log takes.
const WAIT: Duration = Duration::from_millis(2);

#[derive(Default)]
pub(crate) struct WaitingLog(MemoryLog);

async fn slowly<T>(done: LogFuture<'_, T>) -> Result<T, LogError> {
    sleep(WAIT).await;
    let done = done.await;
    sleep(WAIT).await;
    done
}

impl Log for WaitingLog {
    fn bounds(&self) -> LogFuture<'_, Bounds> {
        Box::pin(slowly(self.0.bounds()))
    }

    fn ends(&self) -> LogFuture<'_, Vec<(ChannelName, u64)>> {
        Box::pin(slowly(self.0.ends()))
    }

    fn append(&self, draft: Draft) -> LogFuture<'_, Appended> {
        self.0.append(draft)
    }

    fn read<'a>(
        &'a self,
        after: u64,
        up_to: u64,
        patterns: &'a [Pattern],
        limit: usize,
    ) -> LogFuture<'a, Page> {
        Box::pin(slowly(self.0.read(after, up_to, patterns, limit)))
    }

    fn tail(&self, after: u64) -> Tail {
        self.0.tail(after)
    }

    fn renew_epoch<'a>(&'a self, expected: &'a Epoch) -> LogFuture<'a, Epoch> {
        Box::pin(slowly(self.0.renew_epoch(expected)))
    }
}
