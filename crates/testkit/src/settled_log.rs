//! `SettledLog`: a log whose answers are ready at once, because the caller's thread waits for them.

use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tidings_hub::{
    Abilities, Appended, Bounds, ChannelName, Draft, Entry, Located, Log, LogError, LogFuture,
    Page, Scope, Start, StoredChannel, Tail,
};
use tidings_proto::{Epoch, Position};
use tokio::task::coop::unconstrained;

/// The most time for which a thread waits for one answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A log whose answers are ready at once, because the caller's thread waits for them. A tail is ready
/// whenever the log has an entry for it.
///
/// With it, a test on tokio's paused clock uses a log that works on threads of its own: the clock stands
/// still while they work. The futures of the log must not need the caller's thread.
#[derive(Clone)]
pub struct SettledLog(Arc<dyn Log>);

impl SettledLog {
    /// This log, settled.
    #[must_use]
    pub fn new(log: Arc<dyn Log>) -> Self {
        Self(log)
    }
}

impl fmt::Debug for SettledLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettledLog").finish_non_exhaustive()
    }
}

impl Log for SettledLog {
    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }

    fn bounds(&self) -> LogFuture<'_, Bounds> {
        settle(self.0.bounds())
    }

    fn ends(&self) -> LogFuture<'_, Vec<(ChannelName, u64)>> {
        settle(self.0.ends())
    }

    fn channel<'a>(&'a self, name: &'a ChannelName) -> LogFuture<'a, Option<StoredChannel>> {
        settle(self.0.channel(name))
    }

    fn channels<'a>(
        &'a self,
        after: Option<&'a ChannelName>,
        limit: usize,
    ) -> LogFuture<'a, Vec<StoredChannel>> {
        settle(self.0.channels(after, limit))
    }

    fn append(&self, draft: Draft) -> LogFuture<'_, Appended> {
        settle(self.0.append(draft))
    }

    fn locate<'a>(&'a self, start: Start, scope: Scope<'a>) -> LogFuture<'a, Located> {
        settle(self.0.locate(start, scope))
    }

    fn read<'a>(&'a self, after: u64, limit: usize, scope: Scope<'a>) -> LogFuture<'a, Page> {
        settle(self.0.read(after, limit, scope))
    }

    fn tail(&self, after: &Position) -> Tail {
        Box::pin(SettledTail {
            log: Arc::clone(&self.0),
            tail: self.0.tail(after),
            at: after.clone(),
        })
    }

    fn renew_epoch<'a>(&'a self, expected: &'a Epoch) -> LogFuture<'a, Epoch> {
        settle(self.0.renew_epoch(expected))
    }
}

fn settle<'a, T: Send + 'a>(future: LogFuture<'a, T>) -> LogFuture<'a, T> {
    Box::pin(ready(wait(future)))
}

struct SettledTail {
    log: Arc<dyn Log>,
    tail: Tail,
    /// The position of the newest entry that it has returned.
    at: Position,
}

impl SettledTail {
    /// Whether the log has nothing for this tail, as far as it shows that.
    fn has_all(&self) -> bool {
        let bounds = wait(self.log.bounds());
        bounds.is_ok_and(|bounds| bounds.newest() == self.at)
    }
}

impl Stream for SettledTail {
    type Item = Result<Vec<Entry>, LogError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let mut next = Box::pin(unconstrained(this.tail.next()));
        let batch = match next.as_mut().poll(cx) {
            Poll::Ready(batch) => batch,
            Poll::Pending => {
                drop(next);
                if this.has_all() {
                    return Poll::Pending;
                }
                wait(this.tail.next())
            }
        };
        if let Some(Ok(entries)) = &batch
            && let Some(newest) = entries.last()
        {
            (this.at.seq, this.at.check) = (newest.seq, newest.check());
        }
        Poll::Ready(batch)
    }
}

/// Blocks this thread until the future is ready. The future must not need this thread's runtime.
///
/// # Panics
/// If it is not ready after a minute.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    let signal = Arc::new(Signal::default());
    let waker = Waker::from(Arc::clone(&signal));
    // Without tokio's budget: nothing renews it while this thread waits.
    let mut future = Box::pin(unconstrained(future));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        signal.wait();
    }
}

/// Wakes a thread that waits.
#[derive(Default)]
struct Signal {
    is_woken: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    fn wait(&self) {
        let is_woken = self.is_woken.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .changed
            .wait_timeout_while(is_woken, PATIENCE, |is_woken| !*is_woken);
        let (mut is_woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(
            !timeout.timed_out(),
            "there is no answer after {PATIENCE:?}"
        );
        *is_woken = false;
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        *self.is_woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tidings_hub::{MemoryLog, Retention};
    use tokio::sync::oneshot;
    use tokio::time::{Duration, Instant, sleep};

    use super::*;

    fn event(body: &str) -> Draft {
        Draft::event(ChannelName::new("a").unwrap(), body.to_owned())
    }

    fn settled() -> (MemoryLog, SettledLog) {
        let log = MemoryLog::new(Retention::in_memory());
        (log.clone(), SettledLog::new(Arc::new(log)))
    }

    #[test]
    fn a_thread_waits_for_an_answer_of_another() {
        let (sender, receiver) = oneshot::channel();
        std::thread::spawn(move || sender.send(7));
        assert_eq!(wait(receiver), Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn the_paused_clock_stands_still_while_a_thread_waits() {
        let start = Instant::now();
        let timer = tokio::spawn(sleep(Duration::from_millis(1)));
        let (sender, receiver) = oneshot::channel();
        std::thread::spawn(move || sender.send(()));
        wait(receiver).unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
        timer.await.unwrap();
    }

    #[tokio::test]
    async fn a_settled_log_and_its_tail_answer_at_once() {
        let (log, settled) = settled();
        let start = wait(settled.bounds()).unwrap().newest();
        let mut tail = settled.tail(&start);
        assert!(tail.next().now_or_never().is_none());
        assert_eq!(settled.append(event("1")).await.unwrap().seq, 1);
        let batch = tail.next().now_or_never().flatten();
        assert!(matches!(batch, Some(Ok(batch)) if batch.len() == 1));
        log.rewind(0);
        let error = tail.next().now_or_never().flatten();
        assert!(matches!(error, Some(Err(_))));
    }
}
