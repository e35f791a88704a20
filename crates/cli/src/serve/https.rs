//! The certificate of the server: its two files, read at the start and at each SIGHUP.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tidings::axum::Tls;

/// The most bytes of a file. A chain of certificates has some thousand.
const MAX_FILE: u64 = 1 << 20;

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "HTTPS")]
pub(super) struct TlsArgs {
    /// Serves HTTPS, and HTTP/2, with this certificate: a PEM file with the server's certificate first, then
    /// those of its issuers. SIGHUP reads both files again.
    #[arg(
        long,
        env = "TIDINGS_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,

    /// The private key of the certificate: a PEM file, not encrypted.
    #[arg(
        long,
        env = "TIDINGS_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,
}

/// The files of a certificate and its key.
#[derive(Debug, Clone)]
pub(super) struct CertificateFiles {
    certificate: PathBuf,
    key: PathBuf,
}

impl TlsArgs {
    /// The files, if the server speaks HTTPS.
    pub(super) fn files(&self) -> Option<CertificateFiles> {
        Some(CertificateFiles {
            certificate: self.tls_cert.clone()?,
            key: self.tls_key.clone()?,
        })
    }
}

impl CertificateFiles {
    pub(super) fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// Reads both files.
    ///
    /// # Errors
    /// Which file is wrong, and why.
    pub(super) fn open(&self) -> Result<Tls, String> {
        let (certificate, key) = self.read()?;
        Tls::from_pem(&certificate, &key).map_err(|error| self.unusable(&error))
    }

    /// Reads both files again, for new connections.
    ///
    /// # Errors
    /// Which file is wrong, and why. The certificate stays as it was.
    pub(super) fn reload(&self, tls: &Tls) -> Result<(), String> {
        let (certificate, key) = self.read()?;
        tls.replace(&certificate, &key)
            .map_err(|error| self.unusable(&error))
    }

    fn read(&self) -> Result<(Vec<u8>, Vec<u8>), String> {
        Ok((read(&self.certificate)?, read(&self.key)?))
    }

    fn unusable(&self, error: &tidings::axum::TlsError) -> String {
        format!(
            "the certificate {} with the key {} is not usable: {}",
            self.certificate.display(),
            self.key.display(),
            crate::chain(error)
        )
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(MAX_FILE + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!(
            "cannot read {}: a certificate or a key has at most 1 MiB",
            path.display()
        ));
    }
    Ok(bytes)
}
