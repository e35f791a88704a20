//! `DirectTransport`: its settings, and the path of a request through it.

#[cfg(feature = "tls")]
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use tidings_client::{ConnectError, ConnectTimeout, ResponseBody, ResponseFuture, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::coding;
use crate::connect::{Dial, Duplex, Link, Way, dial, within};
use crate::exchange::exchange;
use crate::keep_alive;
use crate::lookup::Resolver;
use crate::proxy::{InvalidProxy, Proxies, Route};
use crate::request::{self, Origin, UnsupportedUrl};
#[cfg(feature = "tls")]
use crate::tls::{InvalidCertificate, Tls, UnsupportedTlsConfig};

/// The `User-Agent` of a request that sets none.
const OUR_USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("tidings/", env!("CARGO_PKG_VERSION")));

const NO_STREAM_BEHIND_A_PROXY: &str =
    "an http proxy opens a stream only to the server of an https URL";

/// A transport that opens a new HTTP/1.1 connection for each request, and closes it with the body.
///
/// It looks the host up and tries addresses of both families, as
/// [RFC 8305](https://www.rfc-editor.org/rfc/rfc8305) describes: the second family starts 300 ms
/// after the first. hyper sends the request and reads the head of the response; the transport reads the
/// body itself. It spawns no task; only the lookup runs on tokio's blocking threads. Lookup,
/// TCP, proxy and TLS together take no longer than
/// [`connect_timeout`](tidings_client::SseClient::connect_timeout), of which each address of one family has
/// an equal share.
///
/// A clone is cheap. Each setting takes the transport by value and returns it.
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
    tcp: HttpConnector<Resolver>,
    proxies: Proxies,
    #[cfg(feature = "tls")]
    tls: Tls,
    /// Replaces all of the fields above.
    dial: Option<Dial>,
}

impl Default for DirectTransport {
    fn default() -> Self {
        Self::new()
    }
}

impl DirectTransport {
    /// A transport with the proxies that the environment names at the time of the call.
    ///
    /// The scheme of a URL selects `http_proxy` or `https_proxy`, and `all_proxy` if that one is
    /// not set. `no_proxy` lists hosts, domains and networks that are reached without a proxy. Each
    /// variable is also read in upper case, except `HTTP_PROXY` if `REQUEST_METHOD` is set: in a
    /// CGI program the sender of a request controls it. [`proxy`](Self::proxy) describes the values.
    pub fn new() -> Self {
        Self {
            tcp: keep_alive::connector(),
            proxies: Proxies::from_environment(),
            #[cfg(feature = "tls")]
            tls: Tls::default(),
            dial: None,
        }
    }

    /// A transport over any stream of bytes, such as a Unix socket or a pipe in memory.
    ///
    /// For each request, `connect` receives the URL and opens a stream; the URL may contain
    /// secrets. The request is sent over that stream in the origin form.
    ///
    /// TCP, TLS and proxies are left to `connect`: the settings of this type for them have no
    /// effect, and a request to an `https` URL is not encrypted unless `connect` encrypts it. The
    /// connect timeout applies.
    ///
    /// The stream is shut down only after a whole exchange: the request was sent to its end, the response
    /// was read to its end, and no more bytes were read. `connect` may return such a stream again, for
    /// another request.
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

    /// Sets TCP keep-alive, which detects that a peer has vanished.
    ///
    /// After a silence of `idle`, TCP sends a probe every `interval`. After `probes` probes without
    /// an answer the connection fails. Default: 15 s, 15 s and 3 probes, which detects a vanished
    /// peer within a minute. Times count in whole seconds, from 1 to 32767; probes, from 1 to 127.
    /// A value out of these bounds is set to the nearest bound.
    pub fn tcp_keep_alive(mut self, idle: Duration, interval: Duration, probes: u32) -> Self {
        keep_alive::set(&mut self.tcp, idle, interval, probes);
        self
    }

    /// Turns TCP keep-alive off. Only an
    /// [`idle_timeout`](tidings_client::SseClient::idle_timeout) then detects that a peer has
    /// vanished.
    pub fn no_tcp_keep_alive(mut self) -> Self {
        keep_alive::unset(&mut self.tcp);
        self
    }

    /// Reaches every server through this proxy, and ignores the environment.
    ///
    /// * `http://host:port` receives `http` requests in the absolute form, and a CONNECT for
    ///   `https` requests. Default port: 80.
    /// * `socks5://host:port` and `socks5h://host:port` both name a SOCKS 5 proxy that looks names
    ///   up itself. Default port: 1080.
    ///
    /// The URL may contain a percent-encoded user and password (`http://user:password@host`). Only
    /// the proxy receives them. A `Proxy-Authorization` of the request replaces them, for an `http`
    /// proxy.
    ///
    /// # Errors
    /// [`InvalidProxy`] if the URL names no such proxy. If a URL in the environment names no such
    /// proxy, each request that would go through it fails with
    /// [`InvalidRequest`](tidings_client::ErrorKind::InvalidRequest).
    pub fn proxy(mut self, url: &str) -> Result<Self, InvalidProxy> {
        self.proxies = Proxies::all(url)?;
        Ok(self)
    }

    /// Reaches every server without a proxy, and ignores the environment.
    pub fn no_proxy(mut self) -> Self {
        self.proxies = Proxies::none();
        self
    }

    /// Trusts these root certificates in addition to those of the platform: one in DER, or one or
    /// more in PEM.
    ///
    /// The first `https` request reads the platform's roots, in its own task; this takes
    /// milliseconds. The request fails if there is no root at all. On Android no root can be added:
    /// an `https` request fails if you added one.
    ///
    /// # Errors
    /// [`InvalidCertificate`] if the bytes contain no root certificate.
    #[cfg(feature = "tls")]
    pub fn add_root_certificate(mut self, certificate: &[u8]) -> Result<Self, InvalidCertificate> {
        self.tls.add_root_certificate(certificate)?;
        Ok(self)
    }

    /// Uses this TLS configuration, a `rustls::ClientConfig` of rustls 0.23. Only its protocols
    /// (ALPN) are replaced, by HTTP/1.1.
    ///
    /// It replaces the platform's roots and every root certificate added earlier. A root
    /// certificate added later replaces the configuration.
    ///
    /// The type is [`Any`], because rustls has no stable version: its next one does not break this
    /// signature.
    ///
    /// # Errors
    /// [`UnsupportedTlsConfig`] if `config` has another type, or comes from another version of
    /// rustls.
    #[cfg(feature = "tls")]
    pub fn tls_config(mut self, config: impl Any) -> Result<Self, UnsupportedTlsConfig> {
        self.tls = Tls::with_config(Box::new(config))?;
        Ok(self)
    }
}

impl Transport for DirectTransport {
    fn connect(&self, request: Request<Bytes>) -> ResponseFuture {
        Box::pin(self.clone().send(request))
    }
}

impl DirectTransport {
    /// The server that the URL names, if the transport supports its scheme.
    fn server(&self, url: &Uri) -> Option<Origin> {
        let supports_https = cfg!(feature = "tls") || self.dial.is_some();
        Origin::of(url).filter(|server| match server.scheme() {
            Some("http") => true,
            Some("https") => supports_https,
            _ => false,
        })
    }

    /// Opens a stream of bytes to the server of this URL, as for a request, and sends no request.
    ///
    /// It is for connections that the caller uses for several requests, by
    /// [`over`](Self::over). The stream leads through the proxy for the URL, if there is one, and has TLS
    /// if the scheme is `https`.
    ///
    /// All steps together take at most `limit`, of which each address of one family has an equal share.
    ///
    /// # Errors
    /// [`Network`](ConnectError::Network) if a step fails, or if the limit is over, with a
    /// [`ConnectFailure`](crate::ConnectFailure) as its source.
    /// [`InvalidRequest`](ConnectError::InvalidRequest) if the transport does not support the URL, if the
    /// environment names a proxy that it does not support, or if an `http` URL is behind an `http` proxy:
    /// such a proxy does not open a stream to the server, but receives each request with its own credentials.
    pub async fn open_stream(
        &self,
        url: &Uri,
        limit: Duration,
    ) -> Result<DirectStream, ConnectError> {
        let invalid = ConnectError::InvalidRequest;
        let server = self.server(url);
        let server = server.ok_or_else(|| invalid(UnsupportedUrl::new().into()))?;
        let limit = Some(ConnectTimeout(limit));
        let opened = if let Some(connect) = &self.dial {
            within(limit, &server, dial(&server, connect(url.clone()))).await
        } else {
            let route = self.proxies.route(&server);
            let route = route.map_err(|error| invalid(error.into()))?;
            if let Route::Forward { .. } = route {
                return Err(invalid(NO_STREAM_BEHIND_A_PROXY.into()));
            }
            let way = self.clone().way(server.clone(), route, OUR_USER_AGENT);
            within(limit, &server, way.open(limit)).await
        };
        Ok(DirectStream(
            match opened.map_err(ConnectError::Network)? {
                Link::Tcp(stream) => Box::new(stream),
                Link::Other(stream) => stream,
            },
        ))
    }

    fn way(self, server: Origin, route: Route, user_agent: HeaderValue) -> Way {
        Way {
            server,
            route,
            user_agent,
            tcp: self.tcp,
            #[cfg(feature = "tls")]
            tls: self.tls,
        }
    }

    async fn send(
        self,
        mut request: Request<Bytes>,
    ) -> Result<Response<ResponseBody>, ConnectError> {
        let invalid = ConnectError::InvalidRequest;
        let unsupported = || invalid(UnsupportedUrl::new().into());
        let server = self.server(request.uri()).ok_or_else(unsupported)?;
        let host = request::written_host(request.uri()).ok_or_else(unsupported)?;
        let host = host.to_owned();
        request::set_host(&mut request, &host).map_err(|error| invalid(error.into()))?;
        coding::accept(request.headers_mut());
        let user_agent = request.headers_mut().entry(USER_AGENT);
        let user_agent = user_agent.or_insert(OUR_USER_AGENT).clone();
        let limit = request.extensions().get::<ConnectTimeout>().copied();

        let link = if let Some(connect) = &self.dial {
            let dialing = connect(request.uri().clone());
            request::to_origin_form(&mut request);
            within(limit, &server, dial(&server, dialing)).await
        } else {
            let route = self.proxies.route(&server);
            let mut route = route.map_err(|error| invalid(error.into()))?;
            if let Route::Forward { .. } = &route {
                let formed = request::to_absolute_form(&mut request, &host);
                formed.map_err(|error| invalid(error.into()))?;
            } else {
                request::to_origin_form(&mut request);
            }
            authorize(&mut route, request.headers_mut());
            let way = self.way(server.clone(), route, user_agent);
            within(limit, &server, way.open(limit)).await
        };

        let response = match link.map_err(ConnectError::Network)? {
            Link::Tcp(stream) => exchange(stream, request).await,
            Link::Other(stream) => exchange(stream, request).await,
        };
        let response = response.map_err(ConnectError::Network)?;
        Ok(coding::decode(response))
    }
}

/// Gives an HTTP proxy the credentials of its URL or, if the caller set some, those. A server behind a
/// tunnel does not receive them.
fn authorize(route: &mut Route, headers: &mut HeaderMap) {
    match route {
        Route::Forward { authorization, .. } => {
            if let Some(authorization) = authorization.take() {
                headers.entry(PROXY_AUTHORIZATION).or_insert(authorization);
            }
        }
        Route::Tunnel { authorization, .. } => {
            let own = headers.remove(PROXY_AUTHORIZATION);
            *authorization = own.or(authorization.take());
        }
        Route::Direct | Route::Socks { .. } => {}
    }
}

/// Shows no field: a proxy's URL contains a password.
impl fmt::Debug for DirectTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectTransport").finish_non_exhaustive()
    }
}

/// An open stream of bytes to a server, from [`DirectTransport::open_stream`]. The drop closes it.
pub struct DirectStream(Box<dyn Duplex>);

impl AsyncRead for DirectStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for DirectStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl fmt::Debug for DirectStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectStream").finish_non_exhaustive()
    }
}
