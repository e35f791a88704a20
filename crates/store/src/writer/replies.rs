//! The replies of the writer to its commands.

use tidings_hub::{Appended, LogError, LogErrorKind};
use tidings_proto::Epoch;
use tokio::sync::oneshot;

/// A trim that is being done, step by step.
pub(super) struct Trim {
    pub(super) first: u64,
    pub(super) reply: oneshot::Sender<Result<(), LogError>>,
}

/// The reply to a command, if its transaction is committed.
pub(super) enum Reply {
    Append(
        oneshot::Sender<Result<Appended, LogError>>,
        Result<Appended, LogError>,
    ),
    Epoch(oneshot::Sender<Result<Epoch, LogError>>, Epoch),
}

impl Reply {
    pub(super) fn send(self) {
        // Nobody may wait any more.
        match self {
            Self::Append(reply, appended) => drop(reply.send(appended)),
            Self::Epoch(reply, epoch) => drop(reply.send(Ok(epoch))),
        }
    }

    /// The transaction was not committed. Its answers that depend on none of its entries hold. That a channel
    /// has ended may depend on one.
    pub(super) fn fail(self, last: u64, error: &LogError) {
        match self {
            Self::Append(reply, appended) => {
                let depends = match &appended {
                    Ok(appended) => appended.seq > last,
                    Err(answer) => answer.kind() == LogErrorKind::Ended,
                };
                let answer = if depends {
                    Err(error.clone())
                } else {
                    appended
                };
                drop(reply.send(answer));
            }
            Self::Epoch(reply, _) => drop(reply.send(Err(error.clone()))),
        }
    }
}
