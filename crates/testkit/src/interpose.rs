//! `Interpose`: a log of a test that changes some answers of another log, and forwards the others.

use std::fmt;
use std::ops::Deref;

use tidings_hub::{
    Abilities, Appended, Bounds, ChannelName, Draft, Located, Log, LogFuture, Page, Scope, Start,
    StoredChannel, Tail,
};
use tidings_proto::{Epoch, Position};

/// The methods of a [`Log`] that a test replaces. Each other method forwards to [`inner`](Self::inner).
///
/// [`Interposed`] makes a log of it:
///
/// ```
/// use tidings_hub::{Appended, Draft, Log, LogError, LogFuture, Retention};
/// use tidings_testkit::interpose::{Interpose, Interposed};
/// use tidings_testkit::scanning_log::ScanningLog;
///
/// struct FullLog {
///     inner: ScanningLog,
/// }
///
/// impl Interpose for FullLog {
///     fn inner(&self) -> &dyn Log {
///         &self.inner
///     }
///
///     fn append(&self, _: Draft) -> LogFuture<'_, Appended> {
///         Box::pin(async { Err(LogError::refused("the disk is full")) })
///     }
/// }
///
/// let log = Interposed(FullLog { inner: ScanningLog::new(Retention::in_memory()) });
/// drop(log.bounds());
/// // The fields are those of the test's type.
/// log.inner.trim(1);
/// ```
///
/// A function that makes such a log returns `Interposed<Self>`.
#[allow(missing_docs, reason = "the methods are those of the log")]
pub trait Interpose: Send + Sync + 'static {
    /// The log that answers.
    fn inner(&self) -> &dyn Log;

    fn abilities(&self) -> Abilities {
        self.inner().abilities()
    }

    fn bounds(&self) -> LogFuture<'_, Bounds> {
        self.inner().bounds()
    }

    fn ends(&self) -> LogFuture<'_, Vec<(ChannelName, u64)>> {
        self.inner().ends()
    }

    fn channel<'a>(&'a self, name: &'a ChannelName) -> LogFuture<'a, Option<StoredChannel>> {
        self.inner().channel(name)
    }

    fn channels<'a>(
        &'a self,
        after: Option<&'a ChannelName>,
        limit: usize,
    ) -> LogFuture<'a, Vec<StoredChannel>> {
        self.inner().channels(after, limit)
    }

    fn append(&self, draft: Draft) -> LogFuture<'_, Appended> {
        self.inner().append(draft)
    }

    fn locate<'a>(&'a self, start: Start, scope: Scope<'a>) -> LogFuture<'a, Located> {
        self.inner().locate(start, scope)
    }

    fn read<'a>(&'a self, after: u64, limit: usize, scope: Scope<'a>) -> LogFuture<'a, Page> {
        self.inner().read(after, limit, scope)
    }

    fn tail(&self, after: &Position) -> Tail {
        self.inner().tail(after)
    }

    fn renew_epoch<'a>(&'a self, expected: &'a Epoch) -> LogFuture<'a, Epoch> {
        self.inner().renew_epoch(expected)
    }
}

/// The log that an [`Interpose`] describes.
#[derive(Clone)]
#[allow(clippy::exhaustive_structs, reason = "a test wraps its own type")]
pub struct Interposed<T>(pub T);

impl<T> Deref for Interposed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Interposed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interposed").finish_non_exhaustive()
    }
}

impl<T: Interpose> Log for Interposed<T> {
    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }

    fn bounds(&self) -> LogFuture<'_, Bounds> {
        self.0.bounds()
    }

    fn ends(&self) -> LogFuture<'_, Vec<(ChannelName, u64)>> {
        self.0.ends()
    }

    fn channel<'a>(&'a self, name: &'a ChannelName) -> LogFuture<'a, Option<StoredChannel>> {
        self.0.channel(name)
    }

    fn channels<'a>(
        &'a self,
        after: Option<&'a ChannelName>,
        limit: usize,
    ) -> LogFuture<'a, Vec<StoredChannel>> {
        self.0.channels(after, limit)
    }

    fn append(&self, draft: Draft) -> LogFuture<'_, Appended> {
        self.0.append(draft)
    }

    fn locate<'a>(&'a self, start: Start, scope: Scope<'a>) -> LogFuture<'a, Located> {
        self.0.locate(start, scope)
    }

    fn read<'a>(&'a self, after: u64, limit: usize, scope: Scope<'a>) -> LogFuture<'a, Page> {
        self.0.read(after, limit, scope)
    }

    fn tail(&self, after: &Position) -> Tail {
        self.0.tail(after)
    }

    fn renew_epoch<'a>(&'a self, expected: &'a Epoch) -> LogFuture<'a, Epoch> {
        self.0.renew_epoch(expected)
    }
}
