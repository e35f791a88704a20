use serde_json::{Value, json};

use super::super::algorithm::Algorithm;
use super::super::jwk::encode;
use super::super::testing::{
    EDDSA, ES256, NOW, SECRET, at, eddsa, hmac_token, secret_key, set, token,
};
use super::*;

const HS256: &str = r#"{"alg":"HS256"}"#;
const VALID: &str = r#"{"exp":1800000060,"subscribe":["news/*"]}"#;

/// Checks the token at `NOW`.
#[track_caller]
#[allow(clippy::needless_pass_by_value, reason = "a table of tests")]
fn check(token: &str, keys: &KeySet, expected: Result<(), InvalidToken>) {
    let verified = verify(token, keys, None);
    let valid = verified.and_then(|verified| verified.claims.check_time(at(NOW)));
    assert_eq!(valid, expected, "{token}");
}

/// Checks a token with these claims and a right signature.
#[track_caller]
fn check_claims(claims: &str, expected: Result<(), InvalidToken>) {
    let token = hmac_token(HS256, claims, SECRET);
    check(&token, &set([secret_key(None)]), expected);
}

/// Checks a token with this header and a right signature.
#[track_caller]
fn check_header(header: &str, expected: Result<(), InvalidToken>) {
    let token = hmac_token(header, VALID, SECRET);
    check(&token, &set([secret_key(Some("a"))]), expected);
}

fn private(pem: &str) -> Key {
    super::super::pem::parse(pem).unwrap()
}

#[test]
fn a_token_of_each_algorithm_is_valid_with_its_public_key() {
    let claims = json!({"exp": NOW + 60, "publish": ["chat"]});
    for key in [
        secret_key(None),
        private(&ES256.private),
        private(&EDDSA.private),
    ] {
        check(&token(&key, &claims), &set([key.clone()]), Ok(()));
    }
    let es256 = token(&private(&ES256.private), &claims);
    check(&es256, &KeySet::parse(&ES256.public).unwrap(), Ok(()));
}

#[test]
fn a_token_without_a_signature_is_refused() {
    let keys = set([secret_key(None)]);
    let unsigned = |header: &str| {
        format!(
            "{}.{}.",
            encode(header.as_bytes()),
            encode(VALID.as_bytes())
        )
    };
    for alg in ["none", "None", "NONE", ""] {
        let header = format!(r#"{{"alg":"{alg}"}}"#);
        check(&unsigned(&header), &keys, Err(InvalidToken::Header));
    }
    check(&unsigned("{}"), &keys, Err(InvalidToken::Header));
    check(&unsigned(HS256), &keys, Err(InvalidToken::Signature));
}

#[test]
fn the_public_key_is_no_secret() {
    let keys = KeySet::parse(&ES256.public).unwrap();
    let point = private(&ES256.private);
    let point = point.verifying().try_get_as_bytes().unwrap();
    for secret in [
        ES256.public.as_bytes(),
        ES256.public.trim().as_bytes(),
        point,
    ] {
        let forged = hmac_token(HS256, VALID, secret);
        check(
            &forged,
            &keys,
            Err(InvalidToken::Algorithm(Algorithm::Es256)),
        );
    }
}

#[test]
fn the_key_fixes_the_algorithm() {
    let wrong = || Err(InvalidToken::Algorithm(Algorithm::Hs256));
    for alg in [
        "HS384", "HS512", "ES256", "ES384", "RS256", "PS512", "EdDSA",
    ] {
        check_header(&format!(r#"{{"alg":"{alg}"}}"#), wrong());
    }
    for alg in ["hs256", "ES512", "RSA1_5", "ES256K"] {
        check_header(&format!(r#"{{"alg":"{alg}"}}"#), Err(InvalidToken::Header));
    }
    let es256 = token(&private(&ES256.private), &json!({"exp": NOW + 60}));
    check(&es256, &set([secret_key(None)]), wrong());
    check(
        &es256,
        &set([private(&EDDSA.private)]),
        Err(InvalidToken::Algorithm(Algorithm::EdDsa)),
    );
}

#[test]
fn the_kid_selects_the_key() {
    check_header(r#"{"alg":"HS256","kid":"a"}"#, Ok(()));
    check_header(HS256, Ok(()));
    for kid in ["b", "A", "", "a ", "../a", "a\\u0000"] {
        let header = format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#);
        check_header(&header, Err(InvalidToken::UnknownKey));
    }
    let several = set([
        Key::secret(Some("b".into()), b"another secret of 32 bytes, or more").unwrap(),
        secret_key(Some("a")),
    ]);
    let named = |kid: &str| {
        hmac_token(
            &format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#),
            VALID,
            SECRET,
        )
    };
    check(&named("a"), &several, Ok(()));
    check(&named("b"), &several, Err(InvalidToken::Signature));
    check(&named("c"), &several, Err(InvalidToken::UnknownKey));
    let unnamed = hmac_token(HS256, VALID, SECRET);
    check(&unnamed, &several, Err(InvalidToken::NoKeyId));
    // A key without an ID, such as a PEM, has the tokens of every `kid` but those of other keys.
    check(&named("c"), &set([secret_key(None)]), Ok(()));
    let added = set([
        Key::secret(Some("b".into()), b"another secret of 32 bytes, or more").unwrap(),
        secret_key(None),
    ]);
    check(&unnamed, &added, Ok(()));
    check(&named("c"), &added, Ok(()));
    check(&named("b"), &added, Err(InvalidToken::Signature));
    // Its algorithm is fixed too.
    let es256 = set([private(&ES256.private), secret_key(Some("a"))]);
    let wrong = Err(InvalidToken::Algorithm(Algorithm::Es256));
    check(&unnamed, &es256, wrong.clone());
    check(&named("c"), &es256, wrong);
    check(&named("a"), &es256, Ok(()));
}

#[test]
fn a_header_with_a_key_or_an_extension_of_its_own_changes_nothing() {
    for extra in [
        r#""jwk":{"kty":"oct","k":"AAAA"}"#,
        r#""jku":"http://127.0.0.1/""#,
        r#""x5u":"http://127.0.0.1/""#,
        r#""typ":"at+jwt""#,
    ] {
        let header = format!(r#"{{"alg":"HS256",{extra}}}"#);
        let forged = hmac_token(&header, VALID, b"a secret that the token brings along");
        check(
            &forged,
            &set([secret_key(None)]),
            Err(InvalidToken::Signature),
        );
        check_header(&header, Ok(()));
    }
    for extra in [
        r#""crit":["exp"],"exp":1"#,
        r#""crit":[]"#,
        r#""b64":false,"crit":["b64"]"#,
        r#""kid":1"#,
        r#""kid":["a"]"#,
        r#""alg":"HS256""#,
        r#""kid":"a","kid":"a""#,
    ] {
        let header = format!(r#"{{"alg":"HS256",{extra}}}"#);
        check_header(&header, Err(InvalidToken::Header));
    }
}

#[test]
fn a_changed_token_is_refused_at_every_byte() {
    let keys = set([secret_key(None)]);
    let token = hmac_token(HS256, VALID, SECRET);
    for at in 0..token.len() {
        for byte in [b'A', b'z', b'.', b'='] {
            let mut bytes = token.clone().into_bytes();
            if std::mem::replace(&mut bytes[at], byte) == byte {
                continue;
            }
            let changed = String::from_utf8(bytes).unwrap();
            assert!(verify(&changed, &keys, None).is_err(), "{changed}");
        }
    }
    for end in 0..token.len() {
        assert!(verify(&token[..end], &keys, None).is_err(), "{end}");
    }
    for changed in [
        format!("{token}="),
        format!("{token} "),
        format!("{token}."),
    ] {
        assert!(verify(&changed, &keys, None).is_err(), "{changed}");
    }
}

#[test]
fn a_token_of_another_key_is_refused() {
    let wrong = || Err(InvalidToken::Signature);
    let other = hmac_token(HS256, VALID, b"fedcba9876543210fedcba9876543210");
    check(&other, &set([secret_key(None)]), wrong());
    let foreign = token(&private(&eddsa().private), &json!({"exp": NOW + 60}));
    check(&foreign, &set([private(&EDDSA.private)]), wrong());
}

#[test]
fn a_token_has_at_most_8_kib() {
    let keys = set([secret_key(None)]);
    let padded = |padding: usize| {
        let claims = format!(r#"{{"exp":{},"x":"{}"}}"#, NOW + 60, "x".repeat(padding));
        hmac_token(HS256, &claims, SECRET)
    };
    check(&padded(6_000), &keys, Ok(()));
    check(&padded(6_100), &keys, Err(InvalidToken::TooLong));
    check(&"x".repeat(1 << 20), &keys, Err(InvalidToken::TooLong));
    let deep = "[".repeat(5_900);
    check(
        &hmac_token(&deep, VALID, SECRET),
        &keys,
        Err(InvalidToken::Header),
    );
    check_claims(&deep, Err(InvalidToken::Claims));
    check_claims(&format!(r#"{{"x":{deep}"#), Err(InvalidToken::Claims));
}

#[test]
fn nonsense_is_no_token() {
    let keys = set([secret_key(None)]);
    for text in [
        "", ".", "..", "...", "a", "a.b", "a.b.c", "é.é.é", "Bearer x", "\0",
    ] {
        assert!(verify(text, &keys, None).is_err(), "{text}");
    }
    for header in ["null", "[]", "1", "\"HS256\"", "{"] {
        let token = hmac_token(header, VALID, SECRET);
        check(&token, &keys, Err(InvalidToken::Header));
    }
    for claims in ["", "null", "1", "\"x\"", "{", "{}x"] {
        check_claims(claims, Err(InvalidToken::Claims));
    }
}

#[test]
fn a_token_needs_an_expiry_that_is_a_time() {
    let expiry = |exp: &str| format!(r#"{{"exp":{exp}}}"#);
    check_claims("{}", Err(InvalidToken::NoExpiry));
    check_claims(&expiry("null"), Err(InvalidToken::NoExpiry));
    for exp in ["1800000001", "1800000000.5", "1.8000001e9", "253402300799"] {
        check_claims(&expiry(exp), Ok(()));
    }
    for exp in ["1800000000", "1799999999.9", "0", "0.5", "-0.0", "1"] {
        check_claims(&expiry(exp), Err(InvalidToken::Expired));
    }
    for exp in [
        "-1",
        "-1.5",
        "true",
        "\"1800000001\"",
        "253402300800",
        "9223372036854775807",
        "18446744073709551615",
        "18446744073709551616",
        "1e19",
        "1e300",
    ] {
        check_claims(&expiry(exp), Err(InvalidToken::Time("exp")));
    }
    for exp in ["[1800000001]", r#"{"a":1}"#, "1e400", "NaN", "Infinity"] {
        check_claims(&expiry(exp), Err(InvalidToken::Claims));
    }
}

#[test]
fn a_token_is_not_valid_before_its_time() {
    let from = |nbf: &str| format!(r#"{{"exp":1800000060,"nbf":{nbf}}}"#);
    for nbf in ["1800000000", "0", "null"] {
        check_claims(&from(nbf), Ok(()));
    }
    for nbf in ["1800000001", "1800000000.5"] {
        check_claims(&from(nbf), Err(InvalidToken::NotYetValid));
    }
    for nbf in ["-1", "\"0\"", "1e300"] {
        check_claims(&from(nbf), Err(InvalidToken::Time("nbf")));
    }
}

#[test]
fn a_claim_comes_once() {
    for twice in [
        r#"{"exp":1800000060,"exp":1800000060}"#,
        r#"{"exp":1,"exp":1800000060}"#,
        r#"{"exp":1800000060,"subscribe":["a"],"subscribe":["b"]}"#,
        r#"{"exp":1800000060,"publish":[],"publish":["b"]}"#,
        r#"{"exp":1800000060,"metrics":true,"metrics":true}"#,
        r#"{"exp":1800000060,"nbf":1,"nbf":1}"#,
        r#"{"exp":1800000060,"sub":"a","sub":"b"}"#,
    ] {
        check_claims(twice, Err(InvalidToken::Claims));
    }
}

#[test]
fn channels_are_lists_of_names_and_patterns() {
    let claim = |channels: &str| format!(r#"{{"exp":1800000060,"publish":{channels}}}"#);
    for channels in [
        "[]",
        r#"["a"]"#,
        r#"["a","a","a/*"]"#,
        r#"["*"]"#,
        r#"["a","*","*"]"#,
        "null",
    ] {
        check_claims(&claim(channels), Ok(()));
    }
    for channels in [
        r#""a""#,
        "true",
        "{}",
        "1",
        r#"["a",1]"#,
        "[null]",
        r#"[["a"]]"#,
    ] {
        check_claims(&claim(channels), Err(InvalidToken::Type("publish")));
    }
    for text in [
        "", "**", "* ", "*/*", "*/a", "/*", "a/*/b", "a*", "a//b", "../a", "a/../b", "a b", "ä",
        "a%2Fb",
    ] {
        // A text that is no pattern is refused beside all channels too.
        let claims = json!({"exp": NOW + 60, "subscribe": ["*", text]}).to_string();
        let token = hmac_token(HS256, &claims, SECRET);
        let refused = verify(&token, &set([secret_key(None)]), None).unwrap_err();
        assert!(
            matches!(refused, InvalidToken::Pattern("subscribe", _)),
            "{text}"
        );
        assert!(
            refused.to_string().contains("the claim `subscribe`"),
            "{refused}"
        );
    }
    for metrics in ["1", "\"true\"", "[]"] {
        let claims = format!(r#"{{"exp":1800000060,"metrics":{metrics}}}"#);
        check_claims(&claims, Err(InvalidToken::Type("metrics")));
    }
}

#[test]
fn a_token_for_an_audience_is_for_no_other() {
    let check = |aud: Value, expected: Option<&str>, is_valid: bool| {
        let mut claims = json!({"exp": NOW + 60});
        if !aud.is_null() {
            claims["aud"] = aud.clone();
        }
        let token = token(&secret_key(None), &claims);
        let verified = verify(&token, &set([secret_key(None)]), expected).map(drop);
        let wanted = if is_valid {
            Ok(())
        } else {
            Err(InvalidToken::Audience)
        };
        assert_eq!(verified, wanted, "{aud} {expected:?}");
    };
    check(Value::Null, None, true);
    check(json!("events"), None, false);
    check(json!([]), None, false);
    check(Value::Null, Some("events"), false);
    check(json!("events"), Some("events"), true);
    check(json!(["shop", "events"]), Some("events"), true);
    check(json!(["shop"]), Some("events"), false);
    check(json!("Events"), Some("events"), false);
    check(json!(17), Some("events"), false);
    check(json!(["events", 1]), Some("events"), true);
}

#[test]
fn no_refusal_contains_the_token() {
    let token = hmac_token(HS256, r#"{"exp":"secret-claim"}"#, SECRET);
    let refused = verify(&token, &set([secret_key(None)]), None).unwrap_err();
    let shown = format!("{refused} {refused:?}");
    assert!(
        !shown.contains("secret-claim") && !shown.contains(&token[..20]),
        "{shown}"
    );
}
