//! `TimedLog`: the hub's log, with a limit on each wait for it, and its panics as errors.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tidings_proto::{Epoch, Position};
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep};

use crate::{
    Abilities, Appended, Bounds, ChannelName, Draft, Entry, Located, Log, LogError, LogFuture,
    Page, Scope, Start, StoredChannel, Tail,
};

/// The first delay after which an unanswered question is asked again; each further one is twice as long.
const FIRST_REPEAT: Duration = Duration::from_secs(1);

/// The runtime of a hub's task; `None` before the first use of the hub, and after that runtime has ended.
pub(crate) type HubRuntime = Arc<Mutex<Option<Handle>>>;

/// The only way to a hub's log. No call waits longer than the limit.
///
/// A call that only reads may lose its answer. So it is repeated after a second, and again after twice that
/// time, beside the calls before it: the first answer counts, and a slow log is not cut short.
pub(crate) struct TimedLog {
    log: Arc<dyn Log>,
    pub(crate) abilities: Abilities,
    limit: Duration,
    runtime: HubRuntime,
}

impl TimedLog {
    pub(crate) fn new(log: Arc<dyn Log>, limit: Duration, runtime: HubRuntime) -> Self {
        Self {
            abilities: log.abilities(),
            log,
            limit,
            runtime,
        }
    }

    pub(crate) async fn bounds(&self) -> Result<Bounds, LogError> {
        self.ask(|| self.log.bounds()).await
    }

    pub(crate) async fn ends(&self) -> Result<Vec<(ChannelName, u64)>, LogError> {
        self.ask(|| self.log.ends()).await
    }

    /// Appends during the call. After [`LogErrorKind::Silent`](crate::LogErrorKind::Silent), the entry may
    /// be stored or not.
    pub(crate) fn append(
        &self,
        draft: Draft,
    ) -> impl Future<Output = Result<Appended, LogError>> + Send {
        let mut call = Call::new(|| self.log.append(draft));
        async move {
            if let Some(appended) = poll_once(&mut call).await {
                return appended;
            }
            let appended = self.within_limit(call).await;
            appended.unwrap_or_else(|| Err(LogError::silent(self.limit)))
        }
    }

    /// The output of this future; `None` if it takes longer than the log may take.
    pub(crate) async fn within_limit<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
            return Some(output);
        }
        // Without a runtime, nothing drives the log either.
        let mut limit = pin!(self.sleep(self.limit).ok()?);
        tokio::select! {
            biased;
            output = future => Some(output),
            () = &mut limit => None,
        }
    }

    pub(crate) async fn channel(
        &self,
        name: &ChannelName,
    ) -> Result<Option<StoredChannel>, LogError> {
        self.ask(|| self.log.channel(name)).await
    }

    pub(crate) async fn channels(
        &self,
        after: Option<&ChannelName>,
        limit: usize,
    ) -> Result<Vec<StoredChannel>, LogError> {
        self.ask(|| self.log.channels(after, limit)).await
    }

    pub(crate) async fn locate(&self, start: Start, scope: Scope<'_>) -> Result<Located, LogError> {
        self.ask(|| self.log.locate(start, scope)).await
    }

    pub(crate) async fn read(
        &self,
        after: u64,
        limit: usize,
        scope: Scope<'_>,
    ) -> Result<Page, LogError> {
        self.ask(|| self.log.read(after, limit, scope)).await
    }

    pub(crate) fn tail(&self, after: &Position) -> CaughtTail {
        CaughtTail(catch_unwind(AssertUnwindSafe(|| self.log.tail(after))).map_err(panicked))
    }

    pub(crate) async fn renew_epoch(&self, expected: &Epoch) -> Result<Epoch, LogError> {
        self.ask(|| self.log.renew_epoch(expected)).await
    }

    /// Asks the log, and asks again if it is silent.
    async fn ask<'a, T>(&'a self, call: impl Fn() -> LogFuture<'a, T>) -> Result<T, LogError> {
        let mut first = Call::new(&call);
        if let Some(answer) = poll_once(&mut first).await {
            return answer;
        }
        // Boxed, because most answers need none of its state.
        Box::pin(self.ask_again(first, call)).await
    }

    async fn ask_again<'a, T>(
        &'a self,
        first: Call<'a, T>,
        call: impl Fn() -> LogFuture<'a, T>,
    ) -> Result<T, LogError> {
        let mut delay = FIRST_REPEAT.min(self.limit / 4);
        let mut limit = pin!(self.sleep(self.limit)?);
        let mut repeat = pin!(self.sleep(delay)?);
        let mut calls = FuturesUnordered::from_iter([first]);
        loop {
            tokio::select! {
                biased;
                Some(answer) = calls.next() => return answer,
                // Before the limit: after a pause of its task, the caller asks once more.
                () = &mut repeat => {
                    calls.push(Call::new(&call));
                    delay *= 2;
                    repeat.as_mut().reset(Instant::now() + delay);
                }
                () = &mut limit => return Err(LogError::silent(self.limit)),
            }
        }
    }

    /// A timer of the current runtime, or of the hub's.
    fn sleep(&self, time: Duration) -> Result<Sleep, LogError> {
        if Handle::try_current().is_ok() {
            return Ok(sleep(time));
        }
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = runtime
            .as_ref()
            .ok_or_else(|| LogError::lost("the hub's runtime has ended"))?;
        let _entered = runtime.enter();
        Ok(sleep(time))
    }
}

impl fmt::Debug for TimedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimedLog").finish_non_exhaustive()
    }
}

/// The answer, if it is ready now.
async fn poll_once<T>(call: &mut Call<'_, T>) -> Option<Result<T, LogError>> {
    poll_fn(|cx| match Pin::new(&mut *call).poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// A call of the log. If the log panics, the call fails.
struct Call<'a, T>(Result<LogFuture<'a, T>, LogError>);

impl<'a, T> Call<'a, T> {
    fn new(call: impl FnOnce() -> LogFuture<'a, T>) -> Self {
        Self(catch_unwind(AssertUnwindSafe(call)).map_err(panicked))
    }
}

impl<T> Future for Call<'_, T> {
    type Output = Result<T, LogError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Ok(answer) => match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))) {
                Ok(polled) => polled,
                Err(panic) => Poll::Ready(Err(panicked(panic))),
            },
            Err(error) => Poll::Ready(Err(error.clone())),
        }
    }
}

/// A tail of the log. If the log panics, the tail fails.
pub(crate) struct CaughtTail(Result<Tail, LogError>);

impl Stream for CaughtTail {
    type Item = Result<Vec<Entry>, LogError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.0 {
            Ok(tail) => match catch_unwind(AssertUnwindSafe(|| tail.as_mut().poll_next(cx))) {
                Ok(polled) => polled,
                Err(panic) => {
                    let error = panicked(panic);
                    self.0 = Err(error.clone());
                    Poll::Ready(Some(Err(error)))
                }
            },
            Err(error) => Poll::Ready(Some(Err(error.clone()))),
        }
    }
}

/// The error of a log that has panicked.
#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn panicked(panic: Box<dyn Any + Send>) -> LogError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    let text = text.unwrap_or("no message");
    tracing::error!(panic = text, "the log of a hub has panicked");
    LogError::lost(format!("the log has panicked: {text}"))
}
