//! `Jwk`: a key as JSON (RFC 7517), as it is in a file.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::algorithm::Algorithm;
use super::key::Key;

/// The members of a key that matter here. Others are ignored, as the standard says.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Jwk {
    #[serde(rename = "kty")]
    pub(super) key_type: String,
    #[serde(rename = "crv", skip_serializing_if = "Option::is_none")]
    pub(super) curve: Option<String>,
    #[serde(rename = "kid", skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    #[serde(rename = "alg", skip_serializing_if = "Option::is_none")]
    pub(super) algorithm: Option<String>,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) y: Option<String>,
    /// The private part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) d: Option<String>,
    /// The secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) k: Option<String>,
}

/// Shows no key material.
impl fmt::Debug for Jwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwk")
            .field("key_type", &self.key_type)
            .field("curve", &self.curve)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Jwk {
    /// The key, if it is of a known type and complete.
    pub(super) fn to_key(&self) -> Result<Key, String> {
        let algorithm = self.known_algorithm()?;
        if let Some(named) = self.algorithm.as_deref()
            && named != algorithm.name()
        {
            let named = shown(named);
            return Err(format!(
                "the algorithm `{named}` does not fit the key; expected {algorithm}"
            ));
        }
        if let Some(usage) = self.usage.as_deref()
            && usage != "sig"
        {
            let usage = shown(usage);
            return Err(format!(
                "the key is for the use `{usage}`, not for signatures"
            ));
        }
        match algorithm {
            Algorithm::Hs256 => Key::secret(self.id.clone(), &decode("k", self.k.as_deref())?),
            Algorithm::Es256 => self.to_es256(),
            Algorithm::EdDsa => self.to_eddsa(),
        }
    }

    fn known_algorithm(&self) -> Result<Algorithm, String> {
        match (&*self.key_type, self.curve.as_deref()) {
            ("", _) => Err("the key has no type: `kty` is missing".into()),
            ("oct", _) => Ok(Algorithm::Hs256),
            ("EC", Some("P-256")) => Ok(Algorithm::Es256),
            ("OKP", Some("Ed25519")) => Ok(Algorithm::EdDsa),
            ("EC" | "OKP", curve) => {
                let curve = shown(curve.unwrap_or_default());
                Err(format!(
                    "keys of the curve `{curve}` are not supported; use P-256 or Ed25519"
                ))
            }
            (other, _) => {
                let other = shown(other);
                Err(format!(
                    "keys of the type `{other}` are not supported; use oct (HS256), EC (ES256) or OKP (EdDSA)"
                ))
            }
        }
    }

    fn to_es256(&self) -> Result<Key, String> {
        let coordinates = [("x", &self.x), ("y", &self.y)];
        let mut point = vec![4];
        for (name, coordinate) in coordinates {
            let bytes = decode(name, coordinate.as_deref())?;
            if bytes.len() != 32 {
                return Err(format!("`{name}` has 32 bytes, not {}", bytes.len()));
            }
            point.extend(bytes);
        }
        let Some(private) = self.d.as_deref() else {
            return Key::es256_public(self.id.clone(), &point);
        };
        let private = decode("d", Some(private))?;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &private,
            &point,
        );
        let pkcs8 = pair.ok().and_then(|pair| pair.to_pkcs8v1().ok());
        let pkcs8 = pkcs8.ok_or("the private key does not fit its public key")?;
        Key::es256_private(self.id.clone(), pkcs8.as_ref())
    }

    fn to_eddsa(&self) -> Result<Key, String> {
        let public = decode("x", self.x.as_deref())?;
        let Some(private) = self.d.as_deref() else {
            return Key::eddsa_public(self.id.clone(), &public);
        };
        let private = decode("d", Some(private))?;
        let pair = Ed25519KeyPair::from_seed_and_public_key(&private, &public);
        let pkcs8 = pair.ok().and_then(|pair| pair.to_pkcs8v1().ok());
        let pkcs8 = pkcs8.ok_or("the private key does not fit its public key")?;
        Key::eddsa_private(self.id.clone(), pkcs8.as_ref())
    }

    /// The same key without its private part; `None` for a secret, which has no public part.
    pub(super) fn to_public(&self) -> Option<Self> {
        if self.k.is_some() {
            return None;
        }
        let d = None;
        Some(Self { d, ..self.clone() })
    }
}

/// The bytes of a member, which its error names without its text.
fn decode(name: &str, text: Option<&str>) -> Result<Vec<u8>, String> {
    let text = text.ok_or_else(|| format!("`{name}` is missing"))?;
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| format!("`{name}` is not base64url without padding"))
}

pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The beginning of a foreign text, for an error.
fn shown(text: &str) -> String {
    text.chars()
        .take(40)
        .map(|char| if char.is_control() { '?' } else { char })
        .collect()
}
