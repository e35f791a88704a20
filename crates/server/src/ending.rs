//! `Ending`: how a session ends, and `OpenSession`: a session that others can end.

use std::sync::Weak;
use std::time::Duration;

use crate::Reason;

/// How a session ends, after the events that it has queued.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) reason: Reason,
    /// The response is cut, so that the client can tell that the stream is not complete.
    pub(crate) is_cut: bool,
    /// The last field that the client receives: its reconnection time.
    pub(crate) retry: Option<Duration>,
}

impl Ending {
    pub(crate) fn clean(reason: Reason) -> Self {
        Self {
            reason,
            is_cut: false,
            retry: None,
        }
    }

    /// A clean end, after this reconnection time.
    pub(crate) fn with_retry(reason: Reason, retry: Duration) -> Self {
        Self {
            retry: Some(retry),
            ..Self::clean(reason)
        }
    }

    pub(crate) fn cut(reason: Reason) -> Self {
        Self {
            is_cut: true,
            ..Self::clean(reason)
        }
    }
}

/// An open session. A drain or a newer session may end it.
pub(crate) trait OpenSession: Send + Sync {
    /// Ends the session, unless it has ended.
    fn end_from_outside(&self, ending: Ending);
}

/// No session. [`Weak::new`] needs a sized type.
pub(crate) fn nobody() -> Weak<dyn OpenSession> {
    enum Nobody {}
    impl OpenSession for Nobody {
        fn end_from_outside(&self, _: Ending) {
            match *self {}
        }
    }
    Weak::<Nobody>::new()
}
