//! `Direct`: the direct transport of `publish` and `listen`, which gives up if only a person can help.

use std::error::Error;
use std::iter::successors;

use bytes::Bytes;
use tidings::client::http::{Request, Uri};
use tidings::client::{ConnectError, ResponseFuture, Transport};
use tidings::hyper::{ConnectFailure, ConnectFailureKind, DirectStream, DirectTransport};

/// A transport for which a certificate that is refused, and a server that does not speak TLS, are final.
#[derive(Debug, Clone)]
pub(crate) struct Direct(DirectTransport);

impl Direct {
    pub(crate) fn new(transport: DirectTransport) -> Self {
        Self(transport)
    }

    /// As [`DirectTransport::open_stream`].
    pub(crate) async fn open_stream(&self, url: &Uri) -> Result<DirectStream, ConnectError> {
        self.0.open_stream(url).await.map_err(give_up)
    }
}

impl Transport for Direct {
    fn connect(&self, request: Request<Bytes>) -> ResponseFuture {
        let response = self.0.connect(request);
        Box::pin(async { response.await.map_err(give_up) })
    }
}

fn give_up(error: ConnectError) -> ConnectError {
    match error {
        ConnectError::Network(cause) if is_final(&*cause) => ConnectError::InvalidRequest(cause),
        other => other,
    }
}

fn is_final(error: &(dyn Error + 'static)) -> bool {
    failure(error).is_some_and(|failure| {
        matches!(
            failure.kind(),
            ConnectFailureKind::Certificate
                | ConnectFailureKind::NoTls
                | ConnectFailureKind::TlsSetup
        )
    })
}

/// The step on the way to a server that failed.
fn failure<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a ConnectFailure> {
    let mut causes = successors(Some(error), |cause| (*cause).source());
    causes.find_map(|cause| cause.downcast_ref())
}

/// What a person can do about an error of the way to a server, in the words of the program.
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
