//! `ConnectFailure`: the failed step on the way to a server.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use tidings_client::TransportError;

use crate::request::Origin;

/// The end of a TCP connection that a step tries to reach.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Peer {
    Server,
    Proxy,
}

/// A step on the way to a server.
#[derive(Debug)]
pub(crate) enum Step {
    Lookup(Peer),
    Tcp(Peer),
    /// This proxy connects to the server.
    Tunnel(Origin),
    #[cfg(feature = "tls")]
    TlsSetup,
    #[cfg(feature = "tls")]
    Certificate,
    #[cfg(feature = "tls")]
    NoTls,
    #[cfg(feature = "tls")]
    Handshake,
    Dial,
    /// All steps together, within this time.
    Timeout(Duration),
}

impl Step {
    /// The error of this step towards this peer.
    pub(crate) fn failed(self, peer: &Origin, cause: impl Into<TransportError>) -> TransportError {
        Box::new(ConnectFailure {
            step: self,
            peer: peer.clone(),
            cause: cause.into(),
        })
    }
}

/// The failed step on the way to a server: a source of each error of
/// [`DirectTransport`](crate::DirectTransport) that occurs before it sends a request.
///
/// It names the host and port of a URL and nothing more: a user, a password and a query are secrets. The
/// source is the error of the step.
///
/// ```
/// use std::error::Error;
/// use std::iter::successors;
///
/// use tidings_hyper::{ConnectFailure, ConnectFailureKind};
///
/// /// Whether a person has to look at the certificate of the server.
/// fn is_of_certificate(error: &tidings_hyper::Error) -> bool {
///     let mut causes = successors(error.source(), |cause| (*cause).source());
///     let failure = causes.find_map(|cause| cause.downcast_ref::<ConnectFailure>());
///     failure.is_some_and(|failure| failure.kind() == ConnectFailureKind::Certificate)
/// }
/// ```
#[derive(Debug)]
pub struct ConnectFailure {
    step: Step,
    peer: Origin,
    cause: TransportError,
}

/// The steps on the way to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectFailureKind {
    /// The lookup of the host of the server, or of its proxy.
    Lookup,
    /// The TCP connection to the server, or to its proxy.
    Tcp,
    /// The proxy did not connect to the server.
    Proxy,
    /// TLS could not be prepared, for example because the machine has no root certificate.
    TlsSetup,
    /// The certificate of the server was refused.
    Certificate,
    /// The server does not speak TLS.
    NoTls,
    /// The TLS handshake failed for another reason.
    Handshake,
    /// The function of [`DirectTransport::over`](crate::DirectTransport::over).
    Dial,
    /// All steps together took longer than the connect timeout.
    Timeout,
}

impl ConnectFailure {
    /// The host and the port of the server, or of the proxy that could not be reached.
    pub fn peer(&self) -> impl fmt::Display + '_ {
        &self.peer
    }

    /// The step that failed.
    #[must_use]
    pub fn kind(&self) -> ConnectFailureKind {
        match &self.step {
            Step::Lookup(_) => ConnectFailureKind::Lookup,
            Step::Tcp(_) => ConnectFailureKind::Tcp,
            Step::Tunnel(_) => ConnectFailureKind::Proxy,
            #[cfg(feature = "tls")]
            Step::TlsSetup => ConnectFailureKind::TlsSetup,
            #[cfg(feature = "tls")]
            Step::Certificate => ConnectFailureKind::Certificate,
            #[cfg(feature = "tls")]
            Step::NoTls => ConnectFailureKind::NoTls,
            #[cfg(feature = "tls")]
            Step::Handshake => ConnectFailureKind::Handshake,
            Step::Dial => ConnectFailureKind::Dial,
            Step::Timeout(_) => ConnectFailureKind::Timeout,
        }
    }
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = &self.peer;
        match &self.step {
            Step::Lookup(Peer::Server) => write!(
                f,
                "the lookup of {} failed (check the host in the URL, and the DNS of this machine)",
                peer.host()
            ),
            Step::Lookup(Peer::Proxy) => write!(
                f,
                "the lookup of the proxy {} failed (check the proxy setting and the environment)",
                peer.host()
            ),
            Step::Tcp(Peer::Server) => write!(
                f,
                "no TCP connection to {peer} (check that a server listens there)"
            ),
            Step::Tcp(Peer::Proxy) => write!(
                f,
                "no TCP connection to the proxy {peer} (check the proxy setting and the environment)"
            ),
            Step::Tunnel(proxy) => write!(
                f,
                "the proxy {proxy} did not connect to {peer} \
                 (check that it allows this server, and its user and password)"
            ),
            #[cfg(feature = "tls")]
            Step::TlsSetup => write!(
                f,
                "TLS for {peer} could not be set up (check the root certificates of this machine, \
                 or add your own with `add_root_certificate`)"
            ),
            #[cfg(feature = "tls")]
            Step::Certificate => write!(
                f,
                "the certificate of {peer} was refused (check its names and dates; \
                 if an authority of your own issued it, trust the authority with \
                 `add_root_certificate`)"
            ),
            #[cfg(feature = "tls")]
            Step::NoTls => write!(
                f,
                "{peer} does not speak TLS (check the scheme and the port of the URL)"
            ),
            #[cfg(feature = "tls")]
            Step::Handshake => write!(
                f,
                "the TLS handshake with {peer} failed (check that it serves https)"
            ),
            Step::Dial => write!(f, "the function that connects to {peer} failed"),
            Step::Timeout(limit) => write!(
                f,
                "no connection to {peer} within {limit:?} \
                 (check that the server answers, or raise `connect_timeout`)"
            ),
        }
    }
}

impl StdError for ConnectFailure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.cause.as_ref())
    }
}
