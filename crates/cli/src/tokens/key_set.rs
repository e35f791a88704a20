//! `KeySet`: the keys that a server accepts, found by the `kid` of a token.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::jwk::Jwk;
use super::key::{Fingerprint, Key, PEM_BEGIN};
use super::pem;

/// The most keys of a set.
const MAX_KEYS: usize = 100;

/// One key or several keys of different `kid`s, of which one may have none.
#[derive(Debug, Clone)]
pub(crate) struct KeySet {
    /// At least one. No two have the same ID, and at most one has none.
    keys: Vec<Key>,
}

/// Which key has signed a token.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Signer {
    /// The `kid` of the token.
    pub(super) key_id: Option<String>,
    pub(super) fingerprint: Fingerprint,
}

/// Shows no hash of a secret.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// Why a set has no key for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoKey {
    /// The token names no key, and each of several keys has an ID.
    Unnamed,
    /// The set has no key of this `kid`.
    Unknown,
}

impl KeySet {
    /// The keys in the text of a file: a JWK, a JWK set, or a PEM.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.contains(PEM_BEGIN) && !text.starts_with('{') {
            return pem::parse(text).map(|key| Self { keys: vec![key] });
        }
        let expected = "expected a JWK, a JWK set, or a PEM of a key";
        let value: Value = serde_json::from_str(text).map_err(|_| expected)?;
        let keys = match value.get("keys") {
            Some(Value::Array(keys)) => keys.as_slice(),
            Some(_) => return Err("`keys` is a list of JWKs".into()),
            None if value.get("kty").is_some() => std::slice::from_ref(&value),
            None => return Err(expected.into()),
        };
        let is_set = value.get("keys").is_some();
        let keys = keys.iter().enumerate().map(|(at, key)| {
            let named = |error| {
                if is_set {
                    format!("key {}: {error}", at + 1)
                } else {
                    error
                }
            };
            parse_jwk(key).map_err(named)
        });
        Self::new(keys.take(MAX_KEYS + 1).collect::<Result<_, _>>()?)
    }

    pub(super) fn new(keys: Vec<Key>) -> Result<Self, String> {
        if keys.is_empty() {
            return Err("the set has no key".into());
        }
        if keys.len() > MAX_KEYS {
            return Err(format!("a set has at most {MAX_KEYS} keys"));
        }
        let mut ids = HashSet::new();
        for (at, key) in keys.iter().enumerate() {
            if !ids.insert(key.id()) {
                let fault = match key.id() {
                    Some(_) => "has the `kid` of another key",
                    None => {
                        "has no `kid`, and another key has none; at most one key of a set may lack it"
                    }
                };
                return Err(format!("key {} {fault}", at + 1));
            }
        }
        Ok(Self { keys })
    }

    /// The key of a token with this `kid`: the key of that ID, otherwise the key without an ID. A token
    /// without a `kid` can also be of the only key.
    ///
    /// So the tokens of a key without an ID are accepted until it is removed, whatever keys are added.
    pub(super) fn find(&self, key_id: Option<&str>) -> Result<&Key, NoKey> {
        let with_id = |id: Option<&str>| self.keys.iter().find(|key| key.id() == id);
        if let Some(key) = with_id(key_id).or_else(|| with_id(None)) {
            return Ok(key);
        }
        match (self.keys.as_slice(), key_id) {
            ([only], None) => Ok(only),
            (_, None) => Err(NoKey::Unnamed),
            (_, Some(_)) => Err(NoKey::Unknown),
        }
    }

    /// Whether tokens of this signer would be accepted.
    pub(super) fn accepts(&self, signer: &Signer) -> bool {
        let key = self.find(signer.key_id.as_deref());
        key.is_ok_and(|key| *key.fingerprint() == signer.fingerprint)
    }

    /// The secrets of the set, in its order.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().filter_map(Key::as_secret)
    }

    /// Whether somebody who reads the file can sign tokens.
    pub(super) fn can_sign(&self) -> bool {
        self.keys.iter().any(|key| key.signing().is_some())
    }

    /// The key that signs new tokens: the one with this ID, or the only one that can sign.
    pub(super) fn to_sign(&self, key_id: Option<&str>) -> Result<&Key, String> {
        if let Some(id) = key_id {
            let key = match self.keys.as_slice() {
                [only] if only.id().is_none() => Some(only),
                keys => keys.iter().find(|key| key.id() == Some(id)),
            };
            let key = key.ok_or("the file has no key of this ID")?;
            return match key.signing() {
                Some(_) => Ok(key),
                None => Err("the key of this ID is a public key, which signs nothing".into()),
            };
        }
        let mut keys = self.keys.iter().filter(|key| key.signing().is_some());
        match (keys.next(), keys.next()) {
            (Some(key), None) => Ok(key),
            (None, _) => Err("the file has only public keys, which sign nothing".into()),
            (Some(_), Some(_)) => {
                Err("the file has several keys that can sign; name one with --kid".into())
            }
        }
    }
}

fn parse_jwk(value: &Value) -> Result<Key, String> {
    let jwk = Jwk::deserialize(value).map_err(|_| "a member of the JWK is no text")?;
    jwk.to_key()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
    use aws_lc_rs::rsa::{self, KeySize};
    use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

    use super::super::algorithm::Algorithm;
    use super::super::jwk::encode;
    use super::super::testing::{self, pem};
    use super::*;

    const SECRET: &str = r#"{"kty":"oct","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}"#;
    /// Public keys that `openssl` has made.
    const ES256: &str = r#"{"kty":"EC","crv":"P-256","x":"jpvgyP7x2W4vd0DvjuIH9WyiyCADVdHQq5pyLx5lI9k","y":"J9mZMr68LBIsFgssmyvxsu-2V3k__Kbj_5h_mJTheEY"}"#;
    const EDDSA: &str =
        r#"{"kty":"OKP","crv":"Ed25519","x":"0HgaNfFczxgfsc2N-BkpO6FAwaxOlI5dsg9zqRIvWgY"}"#;

    /// The pair of `testing` as a JWK, and its private member.
    fn es256() -> (String, String) {
        let pair = &*testing::ES256;
        let (x, y) = pair.raw_public[1..].split_at(32);
        let (x, y) = (encode(x), encode(y));
        let public = format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#);
        (public, encode(&pair.raw_private))
    }

    fn with(jwk: &str, member: &str) -> String {
        format!("{},{member}}}", &jwk[..jwk.len() - 1])
    }

    #[track_caller]
    fn check(text: &str, algorithm: Algorithm, can_sign: bool) -> Fingerprint {
        let keys = KeySet::parse(text).unwrap();
        let key = keys.find(None).unwrap();
        assert_eq!((key.algorithm(), keys.can_sign()), (algorithm, can_sign));
        *key.fingerprint()
    }

    #[track_caller]
    fn refused(text: &str, reason: &str) {
        let error = KeySet::parse(text).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }

    #[test]
    fn a_key_is_the_same_as_a_jwk_a_set_and_a_pem() {
        check(SECRET, Algorithm::Hs256, true);
        let ((es256, d), pair) = (es256(), &*testing::ES256);
        let same = [
            check(&es256, Algorithm::Es256, false),
            check(
                &format!("\u{feff} {{\"keys\":[{es256}]}}\n"),
                Algorithm::Es256,
                false,
            ),
            check(
                &with(&es256, &format!(r#""d":"{d}""#)),
                Algorithm::Es256,
                true,
            ),
            check(&pair.public, Algorithm::Es256, false),
            check(&pair.private, Algorithm::Es256, true),
            check(&pair.public.replace('\n', "\r\n"), Algorithm::Es256, false),
        ];
        assert!(same.iter().all(|fingerprint| *fingerprint == same[0]));
        let pair = &*testing::EDDSA;
        let x = encode(&pair.raw_public);
        let eddsa = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#);
        let d = encode(&pair.raw_private);
        let same = [
            check(&eddsa, Algorithm::EdDsa, false),
            check(
                &with(&eddsa, &format!(r#""d":"{d}""#)),
                Algorithm::EdDsa,
                true,
            ),
            check(&pair.public, Algorithm::EdDsa, false),
            check(&pair.private, Algorithm::EdDsa, true),
        ];
        assert!(same.iter().all(|fingerprint| *fingerprint == same[0]));
        check(ES256, Algorithm::Es256, false);
        check(EDDSA, Algorithm::EdDsa, false);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in [
            "",
            " ",
            "secret",
            "{}",
            "[]",
            "null",
            "{\"keys\"",
            "0123456789abcdef0123456789abcdef",
        ] {
            refused(text, "expected a JWK, a JWK set, or a PEM");
        }
        refused(r#"{"keys":{}}"#, "`keys` is a list");
        refused(r#"{"keys":[]}"#, "no key");
        refused(r#"{"keys":[1]}"#, "key 1: ");
        refused(r#"{"kty":1}"#, "no text");
        refused(r#"{"kty":""}"#, "`kty` is missing");
        refused(r#"{"keys":[{}]}"#, "`kty` is missing");
    }

    #[test]
    fn unknown_types_and_algorithms_are_refused_by_name() {
        refused(r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, "the type `RSA`");
        refused(r#"{"kty":"AKP"}"#, "the type `AKP`");
        refused(r#"{"kty":"EC","crv":"P-384"}"#, "the curve `P-384`");
        refused(r#"{"kty":"EC","crv":"secp256k1"}"#, "the curve `secp256k1`");
        refused(r#"{"kty":"OKP","crv":"X25519"}"#, "the curve `X25519`");
        refused(r#"{"kty":"OKP"}"#, "the curve ``");
        refused(&with(SECRET, r#""alg":"HS512""#), "`HS512`");
        refused(&with(SECRET, r#""alg":"none""#), "`none`");
        refused(&with(ES256, r#""alg":"HS256""#), "`HS256`");
        refused(&with(EDDSA, r#""alg":"ES256""#), "`ES256`");
        refused(&with(ES256, r#""use":"enc""#), "`enc`");
        refused(&pem("EC PRIVATE KEY", b"x"), "openssl pkcs8");
        refused(&pem("ENCRYPTED PRIVATE KEY", b"x"), "encrypted");
        refused(&pem("RSA PRIVATE KEY", b"x"), "RSA");
        refused(&pem("CERTIFICATE", b"x"), "certificate");
        refused(&pem("OPENSSH PRIVATE KEY", b"x"), "PUBLIC KEY");
        refused(&pem("PUBLIC KEY", b"\0\0\0"), "not valid");
        let (one, other) = (&testing::ES256.public, &testing::EDDSA.public);
        refused(&format!("{one}{other}"), "several");
    }

    #[test]
    fn a_pem_of_another_type_or_curve_is_refused() {
        let rsa = rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
        let private: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
        refused(&pem("PRIVATE KEY", private.as_ref()), "RSA");
        let public: PublicKeyX509Der<'_> = rsa.public_key().as_der().unwrap();
        refused(&pem("PUBLIC KEY", public.as_ref()), "RSA");
        let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let private = p384.to_pkcs8v1().unwrap();
        refused(&pem("PRIVATE KEY", private.as_ref()), "P-256");
        let public: PublicKeyX509Der<'_> = p384.public_key().as_der().unwrap();
        refused(&pem("PUBLIC KEY", public.as_ref()), "P-256");
    }

    #[test]
    fn a_secret_is_long_and_no_pem() {
        refused(r#"{"kty":"oct"}"#, "`k` is missing");
        refused(r#"{"kty":"oct","k":""}"#, "at least 32 bytes, not 0");
        refused(
            r#"{"kty":"oct","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZQ"}"#,
            "not 31",
        );
        refused(r#"{"kty":"oct","k":"not base64!"}"#, "`k` is not base64url");
        refused(&SECRET.replace("ZWY", "ZWY="), "`k` is not base64url");
        for pem in [
            testing::ES256.public.clone(),
            format!("\n{}", testing::EDDSA.public),
        ] {
            let k = encode(pem.as_bytes());
            refused(&format!(r#"{{"kty":"oct","k":"{k}"}}"#), "PEM is no secret");
        }
    }

    #[test]
    fn a_point_that_is_not_on_the_curve_is_refused() {
        refused(&ES256.replace("\"x\":\"j", "\"x\":\"k"), "no point");
        refused(&ES256.replace("\"y\":\"", "\"z\":\""), "`y` is missing");
        refused(&ES256.replace("J9mZMr", "Mr"), "`y` has 32 bytes");
        refused(&EDDSA.replace("0HgaNf", "Nf"), "Ed25519");
        let (_, d) = es256();
        let foreign = format!(r#""d":"{d}""#);
        refused(&with(ES256, &foreign), "does not fit");
        refused(&with(EDDSA, &foreign), "does not fit");
    }

    #[test]
    fn at_most_one_key_of_several_has_no_id() {
        let keys = |members: [&str; 2]| {
            let [a, b] = [with(SECRET, members[0]), with(ES256, members[1])];
            format!(r#"{{"keys":[{a},{b}]}}"#)
        };
        let set = KeySet::parse(&keys([r#""kid":"a""#, r#""kid":"b""#])).unwrap();
        assert_eq!(set.find(Some("a")).unwrap().algorithm(), Algorithm::Hs256);
        assert_eq!(set.find(Some("b")).unwrap().algorithm(), Algorithm::Es256);
        assert_eq!(set.find(Some("c")).unwrap_err(), NoKey::Unknown);
        assert_eq!(set.find(None).unwrap_err(), NoKey::Unnamed);
        refused(
            &keys([r#""kid":"a""#, r#""kid":"a""#]),
            "key 2 has the `kid` of another",
        );
        refused(
            &keys([r#""x5t":"a""#, r#""x5t":"b""#]),
            "key 2 has no `kid`, and another key has none",
        );
        for members in [
            [r#""x5t":"a""#, r#""kid":"b""#],
            [r#""kid":"b""#, r#""x5t":"a""#],
        ] {
            let set = KeySet::parse(&keys(members)).unwrap();
            let (b, unnamed) = (set.find(Some("b")).unwrap(), set.find(None).unwrap());
            assert_eq!(b.id(), Some("b"));
            assert_eq!(unnamed.id(), None);
            assert_eq!(set.find(Some("c")).unwrap().id(), None);
            assert_eq!(
                set.to_sign(Some("c")).map(drop),
                Err("the file has no key of this ID".into())
            );
        }
        let many = vec![SECRET; MAX_KEYS + 1].join(",");
        refused(&format!(r#"{{"keys":[{many}]}}"#), "at most 100 keys");
    }

    #[test]
    fn no_error_and_no_debug_shows_a_key() {
        let secret = with(SECRET, r#""use":"MDEy-shown""#);
        let error = KeySet::parse(&secret).unwrap_err();
        assert!(!error.contains("NTY3ODlh"), "{error}");
        let broken = SECRET.replace("\"oct\"", "\"oct").replace("MDEy", "SECRET");
        let error = KeySet::parse(&broken).unwrap_err();
        assert!(!error.contains("SECRET"), "{error}");
        let (public, d) = es256();
        let private = with(&public, &format!(r#""d":"{d}""#));
        let jwk: Jwk = serde_json::from_str(&private).unwrap();
        let shown = format!("{jwk:?} {:?}", KeySet::parse(&private).unwrap());
        let bytes = format!("{:?}", &testing::ES256.raw_private[..8]);
        let bytes = bytes.trim_matches(['[', ']']);
        assert!(!shown.contains(&d) && !shown.contains(bytes), "{shown}");
    }
}
