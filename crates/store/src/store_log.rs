//! `StoreLog`: a log that keeps the events of a hub in one file on the disk.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use tidings_hub::{
    Abilities, Appended, Bounds, ChannelName, Draft, Located, Log, LogError, LogFuture, Page,
    Scope, Start, StoredChannel, Tail,
};
use tidings_proto::{Epoch, Position};
use tokio::sync::oneshot;

use crate::queue::{Command, NotQueued};
use crate::shared::Shared;
use crate::writer::WriterThread;
use crate::{StoreError, StoreErrorKind, StoreOptions, open, questions, tail};

/// The maximum size of a body, in bytes.
const MAX_BODY: usize = 64 << 20;

/// A [`Log`] that keeps the events of a hub in one file on the disk.
///
/// Clones are the same log, and are cheap. Dropping the last clone closes the store, and ends its tails: the
/// drop waits until everything is written, usually for milliseconds.
#[derive(Clone)]
pub struct StoreLog(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    /// `None` after its threads have ended.
    writer: Mutex<Option<WriterThread>>,
    end: Mutex<End>,
}

/// The result of a close. All calls of it wait for the same one.
type Closing = future::Shared<BoxFuture<'static, Result<(), StoreError>>>;

/// How far the close of a store is.
enum End {
    Open,
    Closing(Closing),
    /// A call of the close has returned the result.
    Returned,
}

impl StoreLog {
    /// Opens the store in this file, or creates it, with the default [options](StoreOptions).
    ///
    /// It blocks: usually for milliseconds, and for up to some seconds after a crash.
    ///
    /// # Errors
    /// [`StoreErrorKind`] lists all kinds.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::options().open(path)
    }

    /// Settings for a store that is opened with them.
    pub fn options() -> StoreOptions {
        StoreOptions::default()
    }

    pub(crate) fn open_with(path: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        let (shared, writer) = open::open(path, options)?;
        Ok(Self(Arc::new(Handle {
            shared,
            writer: Mutex::new(Some(writer)),
            end: Mutex::new(End::Open),
        })))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    /// The file of the store.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.shared.path
    }

    /// Closes the store: it stores everything that was appended, and accepts nothing more. Afterwards every
    /// question fails with [`LogErrorKind::Lost`](tidings_hub::LogErrorKind::Lost), and the file can be
    /// opened again. It waits for the backup, the check and the export that are in progress.
    ///
    /// # Errors
    /// [`StoreErrorKind`] lists all kinds. [`Closed`](StoreErrorKind::Closed) if a call has closed it before.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, the store closes all the same. A later call waits for the
    /// same end, and returns its result, and so do several calls at the same time.
    pub async fn close(&self) -> Result<(), StoreError> {
        let Some(closing) = self.0.begin_close() else {
            return Err(StoreError::new(StoreErrorKind::Closed, self.path()));
        };
        let result = closing.await;
        *lock(&self.0.end) = End::Returned;
        // The reply is the last thing that the writer does.
        self.0.join();
        result
    }

    /// Removes the entries before this number, except the newest entry, as the retention does.
    ///
    /// # Errors
    /// [`LogErrorKind::Refused`](tidings_hub::LogErrorKind::Refused) if the disk is full, and
    /// [`Lost`](tidings_hub::LogErrorKind::Lost) if the store failed or was closed.
    pub async fn trim(&self, first: u64) -> Result<(), LogError> {
        self.command(|reply| Command::Trim { first, reply }).await
    }

    /// Gives the writer a command, and waits for its reply.
    fn command<T: Send + 'static>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, LogError>>) -> Command,
    ) -> LogFuture<'static, T> {
        let (sender, receiver) = oneshot::channel();
        let shared = &self.0.shared;
        if let Err(reason) = shared.queue.push(command(sender)) {
            let error = refusal(reason, shared);
            return Box::pin(async { Err(error) });
        }
        let shared = Arc::clone(shared);
        Box::pin(async move { receiver.await.unwrap_or_else(|_| Err(closed(&shared))) })
    }
}

impl Handle {
    /// Orders the close, unless that was done before. `None` if its result was returned.
    fn begin_close(&self) -> Option<Closing> {
        let mut end = lock(&self.end);
        if let End::Open = *end {
            let (reply, receiver) = oneshot::channel();
            let path = self.shared.path.clone();
            let result = receiver.map(move |result| {
                // The writer has panicked.
                result.unwrap_or_else(|_| Err(StoreError::new(StoreErrorKind::Io, &path)))
            });
            *end = End::Closing(result.boxed().shared());
            // A queue that the writer has closed drops the reply.
            let queued = self.shared.queue.push(Command::Close { reply });
            queued.unwrap_or_default();
        }
        match &*end {
            End::Closing(closing) => Some(closing.clone()),
            End::Open | End::Returned => None,
        }
    }

    /// Waits until the threads have ended. The close must have begun.
    fn join(&self) {
        let writer = lock(&self.writer).take();
        if let Some(writer) = writer {
            writer.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.begin_close());
        self.join();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refusal(reason: NotQueued, shared: &Shared) -> LogError {
    match reason {
        NotQueued::Closed => closed(shared),
        NotQueued::Full => LogError::refused("too many appends wait for the disk"),
    }
}

/// Why the writer answers nothing.
fn closed(shared: &Shared) -> LogError {
    let closed = || StoreError::new(StoreErrorKind::Closed, &shared.path).into();
    shared.failure().unwrap_or_else(closed)
}

impl fmt::Debug for StoreLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let published = self.0.shared.published();
        f.debug_struct("StoreLog")
            .field("path", &self.path())
            .field("epoch", &published.epoch)
            .field("floor", &published.floor.seq)
            .field("last", &published.last.seq)
            .finish_non_exhaustive()
    }
}

impl Log for StoreLog {
    fn abilities(&self) -> Abilities {
        Abilities::ALL
    }

    fn bounds(&self) -> LogFuture<'_, Bounds> {
        let bounds = self.0.shared.published().bounds();
        Box::pin(async { bounds })
    }

    fn ends(&self) -> LogFuture<'_, Vec<(ChannelName, u64)>> {
        questions::ends(&self.0.shared)
    }

    fn channel<'a>(&'a self, name: &'a ChannelName) -> LogFuture<'a, Option<StoredChannel>> {
        questions::channel(&self.0.shared, name)
    }

    fn channels<'a>(
        &'a self,
        after: Option<&'a ChannelName>,
        limit: usize,
    ) -> LogFuture<'a, Vec<StoredChannel>> {
        questions::channels(&self.0.shared, after, limit)
    }

    fn append(&self, draft: Draft) -> LogFuture<'_, Appended> {
        if draft.body.len() > MAX_BODY {
            return Box::pin(async { Err(LogError::too_large()) });
        }
        self.command(|reply| Command::Append { draft, reply })
    }

    fn locate<'a>(&'a self, start: Start, scope: Scope<'a>) -> LogFuture<'a, Located> {
        questions::locate(&self.0.shared, start, scope)
    }

    fn read<'a>(&'a self, after: u64, limit: usize, scope: Scope<'a>) -> LogFuture<'a, Page> {
        questions::read(&self.0.shared, after, limit, scope)
    }

    fn tail(&self, after: &Position) -> Tail {
        tail::stream(Arc::clone(&self.0.shared), after)
    }

    fn renew_epoch<'a>(&'a self, expected: &'a Epoch) -> LogFuture<'a, Epoch> {
        let expected = expected.clone();
        self.command(|reply| Command::RenewEpoch { expected, reply })
    }
}
