//! Keys and tokens for tests: well made ones, and forged ones. The keys are made anew by each run.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsBigEndian, AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::jwk::encode;
use super::key::Key;
use super::key_set::KeySet;

/// The secret of `secret_key`.
pub(super) const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// A pair of keys, also as the PEM that `openssl` writes: PKCS#8 and SPKI.
pub(super) struct Pair {
    pub(super) private: String,
    pub(super) public: String,
    /// Without a frame: a point, or 32 bytes.
    pub(super) raw_public: Vec<u8>,
    pub(super) raw_private: Vec<u8>,
}

pub(super) static ES256: LazyLock<Pair> = LazyLock::new(|| {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    Pair {
        private: pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref()),
        public: pem("PUBLIC KEY", public.as_ref()),
        raw_public: pair.public_key().as_ref().to_vec(),
        raw_private: pair.private_key().as_be_bytes().unwrap().as_ref().to_vec(),
    }
});

pub(super) static EDDSA: LazyLock<Pair> = LazyLock::new(eddsa);

pub(super) fn eddsa() -> Pair {
    let pair = Ed25519KeyPair::generate().unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let seed = pair.seed().unwrap();
    Pair {
        private: pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref()),
        public: pem("PUBLIC KEY", public.as_ref()),
        raw_public: pair.public_key().as_ref().to_vec(),
        raw_private: seed.as_be_bytes().unwrap().as_ref().to_vec(),
    }
}

/// A PEM of these bytes.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(|line| str::from_utf8(line).unwrap())
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
}

/// The time of the tests, in seconds since 1970.
pub(super) const NOW: u64 = 1_800_000_000;

pub(super) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A key of HS256.
pub(crate) fn secret_key(id: Option<&str>) -> Key {
    Key::secret(id.map(str::to_owned), SECRET).unwrap()
}

/// Another key of HS256, with an ID.
pub(crate) fn other_key() -> Key {
    let secret = b"another secret of 32 bytes, or more";
    Key::secret(Some("other".into()), secret).unwrap()
}

pub(crate) fn set(keys: impl IntoIterator<Item = Key>) -> KeySet {
    KeySet::new(keys.into_iter().collect()).unwrap()
}

/// A token of this key.
pub(crate) fn token(key: &Key, claims: &Value) -> String {
    let header = jsonwebtoken::Header {
        kid: key.id().map(str::to_owned),
        ..jsonwebtoken::Header::new(key.algorithm().of_jwt())
    };
    jsonwebtoken::encode(&header, claims, key.signing().unwrap()).unwrap()
}

/// A token of this text, signed with HMAC.
pub(super) fn hmac_token(header: &str, claims: &str, secret: &[u8]) -> String {
    let message = format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(claims.as_bytes())
    );
    let mac = hmac::sign(&hmac::Key::new(HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", encode(mac.as_ref()))
}
