//! `Key`: a key that verifies tokens and, if it is a secret or a private key, signs them.

use std::fmt;

use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, ParsedPublicKey,
};
use jsonwebtoken::{DecodingKey, EncodingKey};

use super::algorithm::Algorithm;

/// The shortest secret, in bytes: as long as the hash (RFC 7518, section 3.2).
pub(super) const MIN_SECRET_BYTES: usize = 32;

/// What every PEM begins with.
pub(super) const PEM_BEGIN: &str = "-----BEGIN ";

/// Distinguishes keys by their algorithm and their material, without revealing it.
pub(super) type Fingerprint = [u8; 32];

/// A key of tokens. It was checked when it was made: a key that could verify nothing is refused then.
#[derive(Clone)]
pub(crate) struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    verifies: DecodingKey,
    /// `None` for a public key.
    signs: Option<EncodingKey>,
    fingerprint: Fingerprint,
}

impl Key {
    /// A secret of HS256.
    pub(super) fn secret(id: Option<String>, secret: &[u8]) -> Result<Self, String> {
        if secret.len() < MIN_SECRET_BYTES {
            let bytes = secret.len();
            return Err(format!(
                "a secret for HS256 has at least {MIN_SECRET_BYTES} bytes, not {bytes}"
            ));
        }
        if secret.trim_ascii_start().starts_with(PEM_BEGIN.as_bytes()) {
            return Err("a PEM is no secret for HS256: everyone may know it".into());
        }
        let invalid = |_| "the secret is not valid".to_owned();
        Ok(Self {
            id,
            algorithm: Algorithm::Hs256,
            verifies: DecodingKey::from_secret(secret).map_err(invalid)?,
            signs: Some(EncodingKey::from_secret(secret).map_err(invalid)?),
            fingerprint: fingerprint(Algorithm::Hs256, secret),
        })
    }

    /// A public key of ES256, as an uncompressed point.
    pub(super) fn es256_public(id: Option<String>, point: &[u8]) -> Result<Self, String> {
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .map_err(|_| "the public key is no point of the curve P-256")?;
        Ok(Self::public(
            id,
            Algorithm::Es256,
            DecodingKey::from_ec_der(point),
            point,
        ))
    }

    /// A private key of ES256, as PKCS#8.
    pub(super) fn es256_private(id: Option<String>, pkcs8: &[u8]) -> Result<Self, String> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
            .map_err(|_| "the private key is none of the curve P-256")?;
        let mut key = Self::es256_public(id, pair.public_key().as_ref())?;
        key.signs = Some(EncodingKey::from_ec_der(pkcs8));
        Ok(key)
    }

    /// A public key of `EdDSA`.
    pub(super) fn eddsa_public(id: Option<String>, bytes: &[u8]) -> Result<Self, String> {
        ParsedPublicKey::new(&ED25519, bytes)
            .map_err(|_| "the public key is none of the curve Ed25519")?;
        Ok(Self::public(
            id,
            Algorithm::EdDsa,
            DecodingKey::from_ed_der(bytes),
            bytes,
        ))
    }

    /// A private key of `EdDSA`, as PKCS#8.
    pub(super) fn eddsa_private(id: Option<String>, pkcs8: &[u8]) -> Result<Self, String> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8)
            .map_err(|_| "the private key is none of the curve Ed25519")?;
        let mut key = Self::eddsa_public(id, pair.public_key().as_ref())?;
        key.signs = Some(EncodingKey::from_ed_der(pkcs8));
        Ok(key)
    }

    fn public(
        id: Option<String>,
        algorithm: Algorithm,
        verifies: DecodingKey,
        bytes: &[u8],
    ) -> Self {
        Self {
            id,
            algorithm,
            verifies,
            signs: None,
            fingerprint: fingerprint(algorithm, bytes),
        }
    }

    /// The `kid`.
    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    pub(super) fn verifying(&self) -> &DecodingKey {
        &self.verifies
    }

    /// The key that signs; `None` if this one is public.
    pub(super) fn signing(&self) -> Option<&EncodingKey> {
        self.signs.as_ref()
    }

    /// The secret of a key of HS256.
    pub(super) fn as_secret(&self) -> Option<&[u8]> {
        let is_secret = self.algorithm == Algorithm::Hs256;
        self.signs
            .as_ref()
            .filter(|_| is_secret)
            .map(EncodingKey::as_bytes)
    }
}

/// Shows no key material.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .field("can_sign", &self.signs.is_some())
            .finish_non_exhaustive()
    }
}

fn fingerprint(algorithm: Algorithm, material: &[u8]) -> Fingerprint {
    let mut context = digest::Context::new(&SHA256);
    context.update(algorithm.name().as_bytes());
    context.update(&[0]);
    context.update(material);
    sha256(context.finish())
}

/// The bytes of a SHA-256.
pub(super) fn sha256(digest: digest::Digest) -> [u8; 32] {
    let bytes = digest.as_ref().try_into();
    bytes.unwrap_or_else(|_| unreachable!("a SHA-256 has 32 bytes"))
}
