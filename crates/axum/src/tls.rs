//! `Tls`: the certificate of a server that speaks HTTPS.

mod error;
mod pem;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use self::error::Problem;
pub use self::error::TlsError;

const HTTP_1: &[u8] = b"http/1.1";
#[cfg(feature = "http2")]
const HTTP_2: &[u8] = b"h2";

/// A certificate with its key, for [`Serve::tls`](crate::Serve::tls). Clones share it.
///
/// ```no_run
/// # async fn run(app: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
/// use tidings_axum::{Tls, serve, shutdown_signal};
///
/// let tls = Tls::from_pem(&std::fs::read("cert.pem")?, &std::fs::read("key.pem")?)?;
/// let listener = tokio::net::TcpListener::bind("0.0.0.0:8443").await?;
/// serve(listener, app).tls(&tls).drain_on(shutdown_signal()).await?;
/// # Ok(())
/// # }
/// ```
///
/// The server speaks TLS 1.2 and 1.3, without early data. A client that returns may resume its TLS session
/// for up to 12 h: the state is in an encrypted ticket that the client keeps, so it takes no memory here.
#[derive(Clone)]
pub struct Tls(Arc<RwLock<Configs>>);

/// The configurations of one certificate. They differ in the protocols that they offer.
struct Configs {
    http1: Arc<ServerConfig>,
    #[cfg(feature = "http2")]
    any: Arc<ServerConfig>,
}

impl Tls {
    /// Reads a chain of certificates and the private key of the first one, both as PEM text.
    ///
    /// The server's own certificate comes first, then the intermediate ones. The key is PKCS #8, PKCS #1 or
    /// SEC1, and not encrypted: RSA from 2048 bits, ECDSA over P-256 or P-384, or Ed25519. Both texts may be
    /// the same, such as a file that has all sections.
    ///
    /// # Errors
    /// If a text is not readable, has no certificate, or has no key or several; if the key is encrypted or of
    /// another kind; or if the key does not fit the certificate. It does not check names or dates: a
    /// certificate that has expired is refused by the clients.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let configs = Configs::new(certificates, key)?;
        Ok(Self(Arc::new(RwLock::new(configs))))
    }

    /// Replaces the certificate and its key, for new connections. Open connections continue. Tickets of
    /// earlier TLS sessions are no longer accepted, so that each client sees the new certificate when it
    /// connects again.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem). Then the server keeps the certificate that it has.
    pub fn replace(&self, certificates: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let configs = Configs::new(certificates, key)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = configs;
        Ok(())
    }

    /// The configuration that offers HTTP/1.1 only.
    pub(crate) fn http1(&self) -> Arc<ServerConfig> {
        let configs = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&configs.http1)
    }

    /// The configuration that prefers HTTP/2.
    #[cfg(feature = "http2")]
    pub(crate) fn any(&self) -> Arc<ServerConfig> {
        let configs = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&configs.any)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Configs {
    fn new(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let http1 = config(pem::certified_key(certificates, key)?).map_err(Problem::Rustls)?;
        Ok(Self {
            #[cfg(feature = "http2")]
            any: Arc::new(preferring_http2(http1.clone())),
            http1: Arc::new(http1),
        })
    }
}

fn config(key: CertifiedKey) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols = vec![HTTP_1.to_vec()];
    config.ticketer = Ticketer::new()?;
    Ok(config)
}

#[cfg(feature = "http2")]
fn preferring_http2(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols.insert(0, HTTP_2.to_vec());
    config
}

/// Whether the client has chosen HTTP/2 in its handshake.
#[cfg(feature = "http2")]
pub(crate) fn is_http2(connection: &rustls::ServerConnection) -> bool {
    connection.alpn_protocol() == Some(HTTP_2)
}

/// In the extensions of each request that came over TLS to a server with [`Serve::tls`](crate::Serve::tls).
/// A handler can take it as `Option<Extension<OverTls>>`, for example to set `Secure` cookies.
///
/// Behind a proxy that terminates TLS it is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OverTls;
