//! Keys and tokens for tests: well made ones, and forged ones.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use serde_json::Value;

use super::jwk::encode;
use super::key::Key;
use super::key_set::KeySet;

/// The secret of `secret_key`.
pub(super) const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

pub(super) const ES256_PUBLIC: &str = include_str!("../../tests/keys/ec-public.pem");
pub(super) const ES256_PRIVATE: &str = include_str!("../../tests/keys/ec-private.pem");
pub(super) const EDDSA_PUBLIC: &str = include_str!("../../tests/keys/ed-public.pem");
pub(super) const EDDSA_PRIVATE: &str = include_str!("../../tests/keys/ed-private.pem");

/// The time of the tests, in seconds since 1970.
pub(super) const NOW: u64 = 1_800_000_000;

pub(super) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A key of HS256.
pub(super) fn secret_key(id: Option<&str>) -> Key {
    Key::secret(id.map(str::to_owned), SECRET).unwrap()
}

pub(super) fn set(keys: impl IntoIterator<Item = Key>) -> KeySet {
    KeySet::new(keys.into_iter().collect()).unwrap()
}

/// A token of this key.
pub(super) fn token(key: &Key, claims: &Value) -> String {
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
