//! `TlsError`: why a certificate or a key cannot be used.

use std::error::Error as StdError;
use std::fmt;

/// The error for a certificate or a key that a server cannot use. Its text never shows a part of the key.
#[derive(Debug)]
pub struct TlsError(Problem);

#[derive(Debug)]
pub(super) enum Problem {
    NoCertificate,
    UnreadableCertificates(Unreadable),
    UnusableCertificate(rustls::Error),
    NoKey,
    UnreadableKey(Unreadable),
    EncryptedKey,
    SeveralKeys(usize),
    UnsupportedKey,
    /// The key fits no certificate of the chain.
    Mismatch,
    /// The key fits the certificate with this number, counted from 1.
    NotFirst(usize),
    Rustls(rustls::Error),
}

/// What is wrong with a PEM text. pki-types' own error may quote a line, and so the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    BeginLine,
    NoEnd,
    NotBase64,
}

impl From<Problem> for TlsError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Problem::NoCertificate => f.write_str(
                "the certificate text has no certificate: expected PEM with \
                 `-----BEGIN CERTIFICATE-----`",
            ),
            Problem::UnreadableCertificates(why) => {
                write!(f, "the certificate text is not readable: {why}")
            }
            Problem::UnusableCertificate(_) => f.write_str(
                "the first certificate is not usable: expected an X.509 certificate of version 3",
            ),
            Problem::NoKey => f.write_str(
                "the key text has no private key: expected PEM with `-----BEGIN PRIVATE KEY-----`",
            ),
            Problem::UnreadableKey(why) => write!(f, "the key text is not readable: {why}"),
            Problem::EncryptedKey => f.write_str(
                "the private key is encrypted: decrypt it first, for example by `openssl pkey`",
            ),
            Problem::SeveralKeys(count) => {
                write!(f, "the key text has {count} private keys: expected one")
            }
            Problem::UnsupportedKey => f.write_str(
                "the private key is of an unsupported kind: expected RSA from 2048 bits, \
                 ECDSA over P-256 or P-384, or Ed25519",
            ),
            Problem::Mismatch => f.write_str(
                "the private key does not fit the certificate: expected the key that it was issued for",
            ),
            Problem::NotFirst(number) => write!(
                f,
                "the private key fits certificate {number} of the text: \
                 expected the server's own certificate first, then those of its issuers"
            ),
            Problem::Rustls(_) => f.write_str("TLS cannot be set up"),
        }
    }
}

impl StdError for TlsError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0 {
            Problem::UnusableCertificate(error) | Problem::Rustls(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeginLine => {
                "a `-----BEGIN` line does not end with `-----`; are its line breaks lost?"
            }
            Self::NoEnd => "a section has no `-----END` line; is the text cut off?",
            Self::NotBase64 => "a section is not base64",
        })
    }
}
