//! `Interrupted`: why a subscription cannot read on in one life of the log.

use crate::{LogError, SubscribeError};

/// Why a subscription cannot read on in this life of the log.
#[derive(Debug)]
pub(crate) enum Interrupted {
    /// The life is over. The subscription resumes in the next one, after the last ID it delivered.
    LifeOver,
    /// The subscription ends with this error.
    Failed(SubscribeError),
}

impl From<SubscribeError> for Interrupted {
    fn from(error: SubscribeError) -> Self {
        Self::Failed(error)
    }
}

impl From<LogError> for Interrupted {
    fn from(error: LogError) -> Self {
        Self::Failed(SubscribeError::log(error))
    }
}
