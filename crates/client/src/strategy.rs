//! Owns `ReconnectionStrategy`: a caller's own decision whether and when to connect again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::Error;

/// Decides whether and when to connect again, in place of a [`Reconnect`](crate::Reconnect).
///
/// It is asked when a connection ends or breaks, and when an attempt fails or is refused with a
/// status that may be over soon (408, 425, 429, 5xx); any other refusal is for good. The first
/// connection must succeed, unless the `Reconnect` beside it
/// [covers it](crate::Reconnect::retry_first_connection). What it answers is obeyed as it is, a zero
/// too.
///
/// ```
/// use std::time::Duration;
/// use tidings_client::{Outage, ReconnectionStrategy};
///
/// struct FiveTimes;
///
/// impl ReconnectionStrategy for FiveTimes {
///     async fn delay(&self, outage: Outage<'_>) -> Option<Duration> {
///         (outage.attempt <= 5).then(|| outage.attempt * Duration::from_secs(1))
///     }
/// }
/// ```
#[doc(alias = "SSEReconnectionStrategy")]
#[doc(alias = "shouldReconnect")]
#[doc(alias = "delayBeforeReconnect")]
pub trait ReconnectionStrategy: Send + Sync + 'static {
    /// How long to wait before the attempt; `None` if it is not to be made, which ends the
    /// session.
    ///
    /// # Cancel safety
    /// The future is dropped with the session.
    fn delay(&self, outage: Outage<'_>) -> impl Future<Output = Option<Duration>> + Send;
}

/// What a [`ReconnectionStrategy`] decides on.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Outage<'a> {
    /// Which attempt in this outage it would be, counted from 1. An open connection ends an
    /// outage.
    pub attempt: u32,
    /// Why the last connection failed; `None` if the server ended the stream as it should.
    pub error: Option<&'a Error>,
    /// The reconnection time that the server asks for, by `retry`.
    pub reconnection_time: Option<Duration>,
    /// The wait that the server's refusal asks for, by `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// A decision on its way. Brings the error back that it was asked with.
pub(crate) type Deciding = Pin<Box<dyn Future<Output = (Option<Duration>, Option<Error>)> + Send>>;

/// What is asked, with an error that is owned.
pub(crate) struct Question {
    pub(crate) attempt: u32,
    pub(crate) error: Option<Error>,
    pub(crate) reconnection_time: Option<Duration>,
    pub(crate) retry_after: Option<Duration>,
}

/// A strategy of any type.
pub(crate) trait AnyStrategy: Send + Sync {
    fn decide(self: Arc<Self>, question: Question) -> Deciding;
}

impl<S: ReconnectionStrategy> AnyStrategy for S {
    fn decide(self: Arc<Self>, question: Question) -> Deciding {
        Box::pin(async move {
            let outage = Outage {
                attempt: question.attempt,
                error: question.error.as_ref(),
                reconnection_time: question.reconnection_time,
                retry_after: question.retry_after,
            };
            (self.delay(outage).await, question.error)
        })
    }
}
