//! Owns `DirectTransport`: its settings, and what becomes of a request.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::PROXY_AUTHORIZATION;
use http::{Request, Response, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use tidings_client::{ConnectError, ConnectTimeout, Connecting, ResponseBody, Transport};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::coding;
use crate::connect::{Dial, Duplex, Link, Way, dial, within};
use crate::exchange::exchange;
use crate::keep_alive;
use crate::proxy::{InvalidProxy, Proxies, Route};
use crate::request::{self, UnsupportedUrl};
#[cfg(feature = "tls")]
use crate::tls::{InvalidCertificate, Tls};

/// One new HTTP/1.1 connection for each request, closed with its body.
///
/// A name is looked up, and addresses of both families are tried, those of the one 300 ms after
/// those of the other, after [RFC 8305](https://www.rfc-editor.org/rfc/rfc8305). Nothing is
/// spawned; only the lookup runs on tokio's threads for what blocks. All of this, with proxy and
/// TLS, takes no longer than [`connect_timeout`](tidings_client::SseClient::connect_timeout).
///
/// Cheap to clone; settings are changed by value.
///
/// ```
/// use std::time::Duration;
/// use tidings_client::SseClient;
/// use tidings_hyper::DirectTransport;
///
/// let transport = DirectTransport::new()
///     .no_proxy()
///     .tcp_keep_alive(Duration::from_secs(60), Duration::from_secs(10), 4);
/// let client = SseClient::over(transport);
/// ```
#[must_use = "settings are changed by value"]
#[derive(Clone)]
pub struct DirectTransport {
    tcp: HttpConnector,
    proxies: Proxies,
    #[cfg(feature = "tls")]
    tls: Tls,
    /// Instead of all of these.
    dial: Option<Dial>,
}

impl Default for DirectTransport {
    fn default() -> Self {
        Self::new()
    }
}

impl DirectTransport {
    /// The transport, with the proxies that the environment names now.
    ///
    /// A URL's scheme chooses `http_proxy` or `https_proxy`, else `all_proxy`; `no_proxy` lists
    /// hosts, domains and networks that are reached without. Each is also read in upper case, but
    /// for `HTTP_PROXY` where `REQUEST_METHOD` is set: there a stranger sets it. See
    /// [`proxy`](Self::proxy) for what they may say.
    pub fn new() -> Self {
        Self {
            tcp: keep_alive::connector(),
            proxies: Proxies::from_environment(),
            #[cfg(feature = "tls")]
            tls: Tls::default(),
            dial: None,
        }
    }

    /// A transport over any streams of bytes: a Unix socket, or a pipe in memory. It sends requests
    /// in the origin form over what `connect` makes for a URL; the URL may contain secrets.
    ///
    /// TCP, TLS and proxies are the caller's affair: their settings here mean nothing, and an
    /// `https` URL is not encrypted unless `connect` does it. The connect timeout holds.
    ///
    /// ```no_run
    /// # #[cfg(unix)] {
    /// use tidings_client::SseClient;
    /// use tidings_hyper::DirectTransport;
    /// use tokio::net::UnixStream;
    ///
    /// let transport = DirectTransport::over(|_| UnixStream::connect("/run/events.sock"));
    /// let session = SseClient::over(transport).get("http://localhost/events");
    /// # }
    /// ```
    pub fn over<F, C, IO>(connect: F) -> Self
    where
        F: Fn(Uri) -> C + Send + Sync + 'static,
        C: Future<Output = io::Result<IO>> + Send + 'static,
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let dial: Dial = Arc::new(move |url| {
            let connecting = connect(url);
            Box::pin(async move { Ok(Box::new(connecting.await?) as Box<dyn Duplex>) })
        });
        Self {
            tcp: keep_alive::connector(),
            proxies: Proxies::none(),
            #[cfg(feature = "tls")]
            tls: Tls::default(),
            dial: Some(dial),
        }
    }

    /// After how long a silence, and then how often, TCP asks whether the peer is still there;
    /// after so many probes without an answer the connection is broken. By default 15 s, 15 s and
    /// 3: a peer that is gone without a word is noticed within a minute. Times are in whole
    /// seconds, from 1 to 32767; there are 1 to 127 probes; what is out of these bounds is taken
    /// for the nearest.
    pub fn tcp_keep_alive(mut self, idle: Duration, interval: Duration, probes: u32) -> Self {
        keep_alive::set(&mut self.tcp, idle, interval, probes);
        self
    }

    /// No TCP keep-alive: a peer that is gone without a word is noticed by an
    /// [`idle_timeout`](tidings_client::SseClient::idle_timeout) or never.
    pub fn no_tcp_keep_alive(mut self) -> Self {
        keep_alive::unset(&mut self.tcp);
        self
    }

    /// Reaches every server through this proxy, whatever the environment says.
    ///
    /// `http://host:port` is sent `http` requests whole, and asked by CONNECT for a connection to
    /// where `https` requests go; port 80 if none is named. `socks5://` and `socks5h://` both name
    /// a SOCKS 5 proxy that looks up names itself; port 1080. A name and a password,
    /// percent-encoded, may stand before an `@`: they are sent to the proxy alone.
    ///
    /// # Errors
    /// The URL names no such proxy. If one of the environment does not, requests that would go
    /// through it cannot be sent.
    pub fn proxy(mut self, url: &str) -> Result<Self, InvalidProxy> {
        self.proxies = Proxies::all(url)?;
        Ok(self)
    }

    /// Reaches every server without a proxy, whatever the environment says.
    pub fn no_proxy(mut self) -> Self {
        self.proxies = Proxies::none();
        self
    }

    /// Trusts the servers that this certificate, or these, vouch for, besides those that the
    /// platform trusts: one in DER, or any number in PEM.
    ///
    /// The platform's are read for the first `https` request, in its task and within milliseconds;
    /// it fails if there are none at all. On Android no others can be added, and it fails if some
    /// were.
    ///
    /// # Errors
    /// It is no certificate that can be trusted as a root.
    #[cfg(feature = "tls")]
    pub fn add_root_certificate(mut self, certificate: &[u8]) -> Result<Self, InvalidCertificate> {
        self.tls.add_root_certificate(certificate)?;
        Ok(self)
    }

    /// Does TLS by this configuration, of which only the protocols (ALPN) are replaced, by
    /// HTTP/1.1. It takes the place of the platform's trust and of root certificates added before
    /// it; one added after it takes its place.
    #[cfg(feature = "tls")]
    pub fn tls_config(mut self, config: rustls::ClientConfig) -> Self {
        self.tls = Tls::with_config(config);
        self
    }
}

impl Transport for DirectTransport {
    fn connect(&self, request: Request<Bytes>) -> Connecting {
        Box::pin(self.clone().send(request))
    }
}

impl DirectTransport {
    /// The origin that the URL names, if the transport speaks its scheme.
    fn server(&self, url: &Uri) -> Option<Uri> {
        let speaks_https = cfg!(feature = "tls") || self.dial.is_some();
        request::origin(url).filter(|server| match server.scheme_str() {
            Some("http") => true,
            Some("https") => speaks_https,
            _ => false,
        })
    }

    async fn send(
        self,
        mut request: Request<Bytes>,
    ) -> Result<Response<ResponseBody>, ConnectError> {
        let invalid = ConnectError::InvalidRequest;
        let server = self.server(request.uri());
        let server = server.ok_or_else(|| invalid(UnsupportedUrl::new().into()))?;
        request::name_host(&mut request).map_err(|error| invalid(error.into()))?;
        let asks = coding::ask(request.headers_mut());
        let limit = request.extensions().get::<ConnectTimeout>().copied();

        let link = if let Some(connect) = &self.dial {
            let dialing = connect(request.uri().clone());
            request::to_origin_form(&mut request);
            within(limit, dial(dialing)).await
        } else {
            let route = self.proxies.route(&server);
            let route = route.map_err(|error| invalid(error.into()))?;
            if let Route::Forward { authorization, .. } = &route {
                request::to_absolute_form(&mut request).map_err(|error| invalid(error.into()))?;
                if let Some(authorization) = authorization.clone() {
                    let headers = request.headers_mut();
                    headers.insert(PROXY_AUTHORIZATION, authorization);
                }
            } else {
                request::to_origin_form(&mut request);
            }
            let way = Way {
                server,
                route,
                tcp: self.tcp,
                #[cfg(feature = "tls")]
                tls: self.tls,
            };
            within(limit, way.open()).await
        };

        let response = match link.map_err(ConnectError::Network)? {
            Link::Tcp(stream) => exchange(stream, request).await,
            Link::Other(stream) => exchange(stream, request).await,
        };
        let response = response.map_err(|error| ConnectError::Network(error.into()))?;
        coding::decode(response, asks).map_err(ConnectError::Network)
    }
}

/// Tells nothing: proxies and roots are nobody's business.
impl fmt::Debug for DirectTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectTransport").finish_non_exhaustive()
    }
}
