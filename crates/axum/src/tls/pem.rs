//! A certificate chain and a private key from PEM text, checked against each other.

use std::sync::Arc;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error, InconsistentKeys};

use super::error::{Problem, Unreadable};

/// The marks of an encrypted key: of PKCS #8, and of OpenSSL's older format. No base64 contains them.
const ENCRYPTED: [&[u8]; 2] = [
    b"-----BEGIN ENCRYPTED PRIVATE KEY-----",
    b"Proc-Type: 4,ENCRYPTED",
];

pub(super) fn certified_key(certificates: &[u8], key: &[u8]) -> Result<CertifiedKey, Problem> {
    let chain = sections::<CertificateDer<'static>>(certificates);
    let chain = chain.map_err(Problem::UnreadableCertificates)?;
    if chain.is_empty() {
        return Err(Problem::NoCertificate);
    }
    let certified = CertifiedKey::new(chain, signing_key(key)?);
    match certified.keys_match() {
        // A kind of key that rustls cannot compare.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => Err(mismatch(&certified)),
        Err(error) => Err(Problem::UnusableCertificate(error)),
    }
}

fn signing_key(text: &[u8]) -> Result<Arc<dyn SigningKey>, Problem> {
    if ENCRYPTED.iter().any(|mark| contains(text, mark)) {
        return Err(Problem::EncryptedKey);
    }
    let keys = sections::<PrivateKeyDer<'static>>(text).map_err(Problem::UnreadableKey)?;
    match keys.as_slice() {
        [] => Err(Problem::NoKey),
        [key] => any_supported_type(key).map_err(|_| Problem::UnsupportedKey),
        several => Err(Problem::SeveralKeys(several.len())),
    }
}

/// A chain in the wrong order is a usual mistake.
fn mismatch(certified: &CertifiedKey) -> Problem {
    let fits = |certificate: &CertificateDer<'static>| {
        let key = Arc::clone(&certified.key);
        let one = CertifiedKey::new(vec![certificate.clone()], key);
        one.keys_match().is_ok()
    };
    match certified.cert.iter().position(fits) {
        Some(index) => Problem::NotFirst(index + 1),
        None => Problem::Mismatch,
    }
}

fn sections<T: PemObject>(text: &[u8]) -> Result<Vec<T>, Unreadable> {
    T::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| match error {
            pem::Error::MissingSectionEnd { .. } => Unreadable::NoEnd,
            pem::Error::IllegalSectionStart { .. } => Unreadable::BeginLine,
            _ => Unreadable::NotBase64,
        })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
