//! TLS: which certificates are trusted, and the handshake.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use tidings_client::TransportError;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::connect_failure::Step;

/// The only protocol that the handshake offers: the transport does not speak HTTP/2.
const PROTOCOL: &[u8] = b"http/1.1";

const PEM_BEGINS: &[u8] = b"-----BEGIN ";

/// The trusted root certificates, and the configuration made of them.
#[derive(Clone, Default)]
pub(crate) struct Tls {
    roots: Arc<Vec<CertificateDer<'static>>>,
    /// Made for the first connection, because that reads the platform's roots.
    config: Arc<OnceLock<Arc<ClientConfig>>>,
}

impl Tls {
    pub(crate) fn with_config(config: Box<dyn Any>) -> Result<Self, UnsupportedTlsConfig> {
        let config = config.downcast::<ClientConfig>();
        let mut config = config.map_err(|_| UnsupportedTlsConfig(()))?;
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Self {
            roots: Arc::default(),
            config: Arc::new(Arc::<ClientConfig>::from(config).into()),
        })
    }

    pub(crate) fn add_root_certificate(
        &mut self,
        certificate: &[u8],
    ) -> Result<(), InvalidCertificate> {
        let found = parse(certificate).map_err(|error| InvalidCertificate(error.into()))?;
        if found.is_empty() {
            return Err(InvalidCertificate("the PEM text has no certificate".into()));
        }
        let mut store = RootCertStore::empty();
        for root in &found {
            let added = store.add(root.clone());
            added.map_err(|error| InvalidCertificate(error.into()))?;
        }
        Arc::make_mut(&mut self.roots).extend(found);
        self.config = Arc::default();
        Ok(())
    }

    /// Prepares a handshake with this host. It fails if the machine has no root certificate, or if
    /// the host cannot be the name in a certificate.
    pub(crate) fn prepare(&self, host: &str) -> Result<Handshake, TransportError> {
        let host = host.strip_prefix('[').unwrap_or(host);
        let host = host.strip_suffix(']').unwrap_or(host);
        Ok(Handshake {
            config: self.config()?,
            name: ServerName::try_from(host)?.to_owned(),
        })
    }

    fn config(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = platform_config(&self.roots)?;
        Ok(Arc::clone(self.config.get_or_init(|| Arc::new(config))))
    }
}

pub(crate) struct Handshake {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Handshake {
    pub(crate) async fn over(
        self,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, TransportError> {
        let handshake = TlsConnector::from(self.config).connect(self.name, stream);
        handshake.await.map_err(unwrap_error)
    }
}

fn platform_config(roots: &[CertificateDer<'static>]) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(roots, Arc::clone(&provider))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

#[cfg(not(target_os = "android"))]
fn verifier(
    roots: &[CertificateDer<'static>],
    provider: Arc<CryptoProvider>,
) -> Result<Verifier, rustls::Error> {
    Verifier::new_with_extra_roots(roots.iter().cloned(), provider)
}

/// The platform trusts no roots except its own.
#[cfg(target_os = "android")]
fn verifier(
    roots: &[CertificateDer<'static>],
    provider: Arc<CryptoProvider>,
) -> Result<Verifier, rustls::Error> {
    if !roots.is_empty() {
        let text = "Android accepts no root certificates except its own";
        return Err(rustls::Error::General(text.to_owned()));
    }
    Verifier::new(provider)
}

fn parse(
    certificate: &[u8],
) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    let is_pem = certificate
        .windows(PEM_BEGINS.len())
        .any(|window| window == PEM_BEGINS);
    if is_pem {
        CertificateDer::pem_slice_iter(certificate).collect()
    } else {
        Ok(vec![CertificateDer::from(certificate.to_vec())])
    }
}

/// The TLS error inside an I/O error, which does not return it as its source.
fn unwrap_error(error: io::Error) -> TransportError {
    match error.downcast::<rustls::Error>() {
        Ok(error) => error.into(),
        Err(error) => error.into(),
    }
}

/// The step at which a handshake with this error failed.
pub(crate) fn failed_step(error: &(dyn StdError + 'static)) -> Step {
    match error.downcast_ref() {
        Some(rustls::Error::InvalidCertificate(_)) => Step::Certificate,
        // For example the beginning of an answer in HTTP.
        Some(rustls::Error::InvalidMessage(_)) => Step::NoTls,
        _ => Step::Handshake,
    }
}

/// The error for a TLS configuration that is not a `rustls::ClientConfig` of rustls 0.23.
#[derive(Debug)]
pub struct UnsupportedTlsConfig(());

impl fmt::Display for UnsupportedTlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a TLS configuration must be a `rustls::ClientConfig` of rustls 0.23")
    }
}

impl StdError for UnsupportedTlsConfig {}

/// The error for bytes that are no root certificate.
#[derive(Debug)]
pub struct InvalidCertificate(TransportError);

impl fmt::Display for InvalidCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a root certificate must be one in DER, or one or more in PEM")
    }
}

impl StdError for InvalidCertificate {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.0.as_ref())
    }
}
