//! `Direct`: the direct transport of `publish` and `listen`, which gives up if only a person can help.

use std::error::Error;
use std::iter::successors;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tidings::client::http::{Request, Uri};
use tidings::client::{ConnectError, ResponseFuture, Transport};
use tidings::hyper::{ConnectFailure, ConnectFailureKind, DirectStream, DirectTransport};

/// The direct transport, with errors that are final because only a person can help. A refused certificate is
/// final. A server that does not speak TLS, and TLS that cannot be set up, are final until the first success.
/// Later they are temporary: a load balancer may answer in plain text while it restarts.
#[derive(Debug, Clone)]
pub(crate) struct Direct {
    transport: DirectTransport,
    has_succeeded: Arc<AtomicBool>,
}

impl Direct {
    pub(crate) fn new(transport: DirectTransport) -> Self {
        Self {
            transport,
            has_succeeded: Arc::default(),
        }
    }

    /// Does the same as [`DirectTransport::open_stream`]. An open stream is a success.
    pub(crate) async fn open_stream(
        &self,
        url: &Uri,
        limit: Duration,
    ) -> Result<DirectStream, ConnectError> {
        let opened = self.transport.open_stream(url, limit).await;
        if opened.is_ok() {
            self.has_succeeded.store(true, Ordering::Relaxed);
        }
        opened.map_err(|error| self.give_up(error))
    }

    fn give_up(&self, error: ConnectError) -> ConnectError {
        let has_succeeded = self.has_succeeded.load(Ordering::Relaxed);
        match error {
            ConnectError::Network(cause) if is_final(&*cause, has_succeeded) => {
                ConnectError::InvalidRequest(cause)
            }
            other => other,
        }
    }
}

impl Transport for Direct {
    /// A 2xx is a success. A redirect is none, as its target may not speak TLS.
    fn connect(&self, request: Request<Bytes>) -> ResponseFuture {
        let direct = self.clone();
        Box::pin(async move {
            let answered = direct.transport.connect(request).await;
            if answered
                .as_ref()
                .is_ok_and(|response| response.status().is_success())
            {
                direct.has_succeeded.store(true, Ordering::Relaxed);
            }
            answered.map_err(|error| direct.give_up(error))
        })
    }
}

fn is_final(error: &(dyn Error + 'static), has_succeeded: bool) -> bool {
    failure(error).is_some_and(|failure| match failure.kind() {
        ConnectFailureKind::Certificate => true,
        ConnectFailureKind::NoTls | ConnectFailureKind::TlsSetup => !has_succeeded,
        _ => false,
    })
}

/// The failed step on the way to the server.
fn failure<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a ConnectFailure> {
    let mut causes = successors(Some(error), |cause| (*cause).source());
    causes.find_map(|cause| cause.downcast_ref())
}

/// The text that tells a person what to do about this error, if the program has advice.
pub(crate) fn explain(error: &(dyn Error + 'static)) -> Option<String> {
    let failure = failure(error)?;
    let peer = failure.peer();
    let text = match failure.kind() {
        ConnectFailureKind::Certificate => format!(
            "the certificate of {peer} is not trusted; check the host in the URL, or name the certificate of its authority by --cacert"
        ),
        ConnectFailureKind::TlsSetup => format!(
            "TLS for {peer} could not be set up; check the root certificates of this machine, or name one by --cacert"
        ),
        ConnectFailureKind::NoTls => {
            format!("{peer} does not speak TLS; check the port, or use a URL with http")
        }
        ConnectFailureKind::Timeout => {
            format!("{peer} does not accept a connection in time; check that it answers")
        }
        _ => return None,
    };
    let causes = failure.source().map(crate::chain);
    Some(match causes {
        Some(causes) => format!("{text}: {causes}"),
        None => text,
    })
}
