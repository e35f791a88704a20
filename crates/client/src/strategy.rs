//! `ReconnectionStrategy`: your own decision whether and when to reconnect.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::Error;

/// Decides whether and when to reconnect, in place of a [`Reconnect`](crate::Reconnect) policy.
///
/// A session asks it when a connection ends or breaks, when an attempt or the `before_connect` hook
/// fails, and when the server refuses with a temporary status (408, 425, 429, 5xx). Any other
/// refusal ends the session. The first connection must succeed, unless the policy beside the
/// strategy [covers it](crate::Reconnect::retry_first_connection). The session waits exactly as
/// long as the strategy returns, even zero.
///
/// ```
/// use std::time::Duration;
/// use tidings_client::{ReconnectionContext, ReconnectionStrategy};
///
/// struct FiveTimes;
///
/// impl ReconnectionStrategy for FiveTimes {
///     async fn delay(&self, context: ReconnectionContext<'_>) -> Option<Duration> {
///         (context.attempt <= 5).then(|| context.attempt * Duration::from_secs(1))
///     }
/// }
/// ```
#[doc(alias = "SSEReconnectionStrategy")]
#[doc(alias = "shouldReconnect")]
#[doc(alias = "delayBeforeReconnect")]
pub trait ReconnectionStrategy: Send + Sync + 'static {
    /// How long to wait before the next attempt. `None` ends the session: without an error after a
    /// regular end of the stream, otherwise with the error of the context.
    ///
    /// # Cancel safety
    /// The future is dropped with the session.
    fn delay(
        &self,
        context: ReconnectionContext<'_>,
    ) -> impl Future<Output = Option<Duration>> + Send;
}

/// The facts on which a [`ReconnectionStrategy`] decides.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ReconnectionContext<'a> {
    /// The number of the next attempt in this outage, counted from 1. An outage ends when an event, an
    /// ID or a comment arrives.
    pub attempt: u32,
    /// Why the last connection or attempt failed; `None` if the server ended the stream in the
    /// regular way.
    pub error: Option<&'a Error>,
    /// The reconnection time that the server asked for, by `retry`.
    pub reconnection_time: Option<Duration>,
    /// The wait that the server's refusal asks for, by `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// The decision of a strategy.
pub(crate) type DecisionFuture = Pin<Box<dyn Future<Output = Option<Duration>> + Send>>;

/// A [`ReconnectionContext`] that owns its error.
pub(crate) struct OwnedContext {
    pub(crate) attempt: u32,
    pub(crate) error: Option<Error>,
    pub(crate) reconnection_time: Option<Duration>,
    pub(crate) retry_after: Option<Duration>,
}

/// A strategy of any type.
pub(crate) trait AnyStrategy: Send + Sync {
    fn decide(self: Arc<Self>, context: OwnedContext) -> DecisionFuture;
}

impl<S: ReconnectionStrategy> AnyStrategy for S {
    fn decide(self: Arc<Self>, context: OwnedContext) -> DecisionFuture {
        Box::pin(async move {
            let context = ReconnectionContext {
                attempt: context.attempt,
                error: context.error.as_ref(),
                reconnection_time: context.reconnection_time,
                retry_after: context.retry_after,
            };
            self.delay(context).await
        })
    }
}
