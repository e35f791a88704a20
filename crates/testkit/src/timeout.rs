//! `timeout`: a limit on a future that is polled only when it is woken.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use tokio::task::coop::{Unconstrained, unconstrained};
use tokio::time::{Sleep, sleep};

/// Limits the time of a future, like `tokio::time::timeout`, but sees a lost wake-up.
///
/// tokio's function polls the future once more when the time is over. So a future that is ready, but was
/// not woken, seems to work. This one polls the future at first, and then only after its waker was called.
///
/// # Panics
/// If there is no tokio runtime with a timer.
pub fn timeout<F: IntoFuture>(limit: Duration, future: F) -> Timeout<F::IntoFuture> {
    let relay = Arc::new(Relay {
        is_woken: AtomicBool::new(true),
        outer: Mutex::new(None),
    });
    Timeout {
        future: Box::pin(future.into_future()),
        sleep: Box::pin(unconstrained(sleep(limit))),
        waker: Waker::from(Arc::clone(&relay)),
        relay,
    }
}

/// The future of [`timeout`].
#[must_use = "futures do nothing unless polled"]
pub struct Timeout<F> {
    future: Pin<Box<F>>,
    sleep: Pin<Box<Unconstrained<Sleep>>>,
    waker: Waker,
    relay: Arc<Relay>,
}

impl<F> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout").finish_non_exhaustive()
    }
}

/// The time is over, and the future was not ready or not woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

/// Wakes the task, and records that the future was woken.
#[derive(Debug)]
struct Relay {
    is_woken: AtomicBool,
    outer: Mutex<Option<Waker>>,
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        let outer = self.outer.lock().unwrap_or_else(PoisonError::into_inner);
        let outer = outer.clone();
        if let Some(outer) = outer {
            outer.wake();
        }
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        *this
            .relay
            .outer
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        if this.relay.is_woken.swap(false, Ordering::SeqCst) {
            let polled = this
                .future
                .as_mut()
                .poll(&mut Context::from_waker(&this.waker));
            if let Poll::Ready(output) = polled {
                return Poll::Ready(Ok(output));
            }
        }
        ready!(this.sleep.as_mut().poll(cx));
        Poll::Ready(Err(Elapsed))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::sync::oneshot;
    use tokio::task::yield_now;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_future_that_is_ready_but_was_not_woken_times_out() {
        let mut polls = 0;
        let forgets_its_waker = || {
            poll_fn(move |_| {
                polls += 1;
                if polls == 1 {
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            })
        };
        assert_eq!(timeout(LIMIT, forgets_its_waker()).await, Err(Elapsed));
        // The reason for this module.
        assert_eq!(
            tokio::time::timeout(LIMIT, forgets_its_waker()).await,
            Ok(())
        );
    }

    #[tokio::test]
    async fn a_future_that_is_woken_is_polled() {
        let (sender, receiver) = oneshot::channel();
        let sends = tokio::spawn(async move {
            yield_now().await;
            sender.send(3)
        });
        assert_eq!(timeout(LIMIT * 500, receiver).await, Ok(Ok(3)));
        assert_eq!(sends.await.unwrap(), Ok(()));
        let yields = async {
            for _ in 0..1_000 {
                yield_now().await;
            }
        };
        assert_eq!(timeout(LIMIT * 500, yields).await, Ok(()));
    }

    #[tokio::test]
    async fn a_future_that_never_rests_times_out() {
        let yields = async {
            loop {
                yield_now().await;
            }
        };
        assert_eq!(timeout(LIMIT, yields).await, Err::<(), _>(Elapsed));
    }
}
