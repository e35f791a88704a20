//! Keys as PEM: a public key or a private one, as `openssl` writes them.

use jsonwebtoken::{DecodingKey, EncodingKey};

use super::key::{Key, PEM_BEGIN};

/// The key in the text of a file. It has no `kid`.
pub(super) fn parse(text: &str) -> Result<Key, String> {
    let mut labels = text.split(PEM_BEGIN).skip(1).map(label);
    let label = labels.next().unwrap_or_default();
    if labels.next().is_some() {
        return Err("the file has several PEM blocks; use a JWK set for several keys".into());
    }
    let pem = text.as_bytes();
    match label {
        "PUBLIC KEY" => public(pem),
        "PRIVATE KEY" => private(pem),
        "EC PRIVATE KEY" => Err(
            "the private key is not PKCS#8; convert it with `openssl pkcs8 -topk8 -nocrypt`".into(),
        ),
        "ENCRYPTED PRIVATE KEY" => {
            Err("the private key is encrypted; decrypt it with `openssl pkcs8 -nocrypt`".into())
        }
        "RSA PUBLIC KEY" | "RSA PRIVATE KEY" => Err(unsupported()),
        "CERTIFICATE" => Err("expected a key, not a certificate".into()),
        _ => Err("expected a PEM of a PUBLIC KEY or a PRIVATE KEY".into()),
    }
}

fn label(block: &str) -> &str {
    block
        .split_once("-----")
        .map_or("", |(label, _)| label.trim())
}

fn public(pem: &[u8]) -> Result<Key, String> {
    if let Ok(key) = DecodingKey::from_ed_pem(pem)
        && let Ok(bytes) = key.try_get_as_bytes()
    {
        return Key::eddsa_public(None, bytes);
    }
    if let Ok(key) = DecodingKey::from_ec_pem(pem)
        && let Ok(point) = key.try_get_as_bytes()
    {
        return Key::es256_public(None, point);
    }
    Err(unsupported())
}

fn private(pem: &[u8]) -> Result<Key, String> {
    if let Ok(key) = EncodingKey::from_ed_pem(pem) {
        return Key::eddsa_private(None, key.as_bytes());
    }
    if let Ok(key) = EncodingKey::from_ec_pem(pem) {
        return Key::es256_private(None, key.as_bytes());
    }
    Err(unsupported())
}

fn unsupported() -> String {
    "the key is not valid, or of a type that is not supported, such as RSA; use the curve P-256 or Ed25519"
        .into()
}
