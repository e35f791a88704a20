//! `tidings key` and `tidings token`: the keys and tokens that they make, read by another library.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};
use tidings_testkit::temp_dir::TempDir;

use crate::program::{Outcome, run};

const ALGORITHMS: [(&str, Algorithm); 3] = [
    ("HS256", Algorithm::HS256),
    ("ES256", Algorithm::ES256),
    ("EdDSA", Algorithm::EdDSA),
];

async fn tidings(line: &[&str]) -> Outcome {
    run(line, "").await
}

/// Runs a command that must work, and returns its output.
async fn done(line: &[&str]) -> String {
    let outcome = tidings(line).await;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(outcome.stderr, "", "{line:?}");
    outcome.stdout
}

/// Runs a command that must fail with this code, and returns its error.
async fn failed(line: &[&str], code: i32) -> String {
    let outcome = tidings(line).await;
    assert_eq!(outcome.code, Some(code), "{line:?} {outcome:?}");
    assert_eq!(outcome.stdout, "", "{line:?}");
    outcome.stderr
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn claims(token: &str, key: &DecodingKey, algorithm: Algorithm) -> Value {
    let mut validation = Validation::new(algorithm);
    validation.validate_aud = false;
    decode::<Value>(token.trim_end(), key, &validation)
        .unwrap()
        .claims
}

fn read_key(path: &Path) -> DecodingKey {
    let jwk: Jwk = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    DecodingKey::from_jwk(&jwk).unwrap()
}

#[allow(
    clippy::disallowed_methods,
    reason = "the other process has this clock too"
)]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

#[tokio::test]
async fn a_key_signs_tokens_that_others_verify() {
    for (name, algorithm) in ALGORITHMS {
        let dir = TempDir::in_memory();
        let key = dir.join("key.jwk");
        assert_eq!(done(&["key", text(&key), "--algorithm", name]).await, "");
        let before = now();
        let token = done(&[
            "token",
            "--key",
            text(&key),
            "--subscribe",
            "news/*",
            "--subscribe",
            "chat",
            "--publish",
            "chat",
        ])
        .await;
        let after = now();
        assert_eq!(token.lines().count(), 1);
        let claims = claims(&token, &read_key(&key), algorithm);
        assert_eq!(claims["subscribe"], json!(["news/*", "chat"]));
        assert_eq!(claims["publish"], json!(["chat"]));
        assert_eq!(claims.get("metrics"), None);
        let exp = claims["exp"].as_u64().unwrap();
        assert!((before + 3_600..=after + 3_600).contains(&exp), "{exp}");
        let jwk: Value = serde_json::from_str(&fs::read_to_string(&key).unwrap()).unwrap();
        let header = decode_header(token.trim_end()).unwrap();
        assert_eq!(header.kid.as_deref(), jwk["kid"].as_str());
        assert_eq!(jwk["alg"], name);
    }
}

#[tokio::test]
async fn a_public_key_verifies_and_signs_nothing() {
    for (name, algorithm) in &ALGORITHMS[1..] {
        let dir = TempDir::in_memory();
        let (key, public) = (dir.join("key.jwk"), dir.join("public.jwk"));
        let files = [text(&key), "--public", text(&public)];
        done(&[
            "key",
            files[0],
            "--algorithm",
            name,
            files[1],
            files[2],
            "--kid",
            "k",
        ])
        .await;
        let shown: Value = serde_json::from_str(&fs::read_to_string(&public).unwrap()).unwrap();
        assert_eq!((shown.get("d"), &shown["kid"]), (None, &json!("k")));
        let token = done(&["token", "--key", text(&key), "--metrics", "--ttl", "90s"]).await;
        let claims = claims(&token, &read_key(&public), *algorithm);
        assert_eq!(claims["metrics"], true);
        let error = failed(&["token", "--key", text(&public), "--metrics"], 1).await;
        assert!(error.contains("only public keys"), "{error}");
    }
    let dir = TempDir::in_memory();
    let (key, public) = (dir.join("key.jwk"), dir.join("public.jwk"));
    let error = failed(&["key", text(&key), "--public", text(&public)], 2).await;
    assert!(error.contains("no public part"), "{error}");
    assert!(!key.exists() && !public.exists());
}

#[cfg(unix)]
#[tokio::test]
async fn a_key_file_is_private_and_replaces_no_other() {
    use std::os::unix::fs::PermissionsExt;

    let dir = TempDir::in_memory();
    let (key, public) = (dir.join("key.jwk"), dir.join("public.jwk"));
    let make = [
        "key",
        text(&key),
        "--algorithm",
        "es256",
        "--public",
        text(&public),
    ];
    done(&make).await;
    let mode = fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = fs::read(&key).unwrap();
    fs::remove_file(&public).unwrap();
    let error = failed(&make, 1).await;
    assert!(error.contains("exists already"), "{error}");
    assert_eq!(fs::read(&key).unwrap(), before);
    // No half of a pair is left.
    assert!(!public.exists());
    fs::rename(&key, &public).unwrap();
    let error = failed(&make, 1).await;
    assert!(error.contains("exists already"), "{error}");
    assert_eq!(fs::read(&public).unwrap(), before);
    assert!(!key.exists());
    let nowhere = dir.join("missing/public.jwk");
    for public in [text(&nowhere), text(&key)] {
        let pair = ["--algorithm", "EdDSA", "--public", public];
        failed(&[&["key", text(&key)], &pair[..]].concat(), 1).await;
        assert!(!key.exists(), "{public}");
    }
    let link = dir.join("link.jwk");
    std::os::unix::fs::symlink(dir.join("target"), &link).unwrap();
    failed(&["key", text(&link)], 1).await;
    assert!(!dir.join("target").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn a_secret_that_everyone_reads_is_reported() {
    use std::os::unix::fs::PermissionsExt;

    let dir = TempDir::in_memory();
    let key = dir.join("key.jwk");
    done(&["key", text(&key)]).await;
    for (mode, is_reported) in [(0o644, true), (0o604, true), (0o640, false), (0o400, false)] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let outcome = tidings(&["token", "--key", text(&key), "--metrics"]).await;
        assert_eq!(outcome.code, Some(0));
        assert_eq!(
            outcome.stderr.contains("chmod 600"),
            is_reported,
            "{mode:o} {outcome:?}"
        );
    }
}

/// A private key and its public key as PEM, in the forms of `openssl`: PKCS#8 and SPKI.
fn pair_of_pems(algorithm: Algorithm) -> [String; 2] {
    let (private, public): (_, PublicKeyX509Der<'_>) = if algorithm == Algorithm::ES256 {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        (pair.to_pkcs8v1(), pair.public_key().as_der().unwrap())
    } else {
        let pair = Ed25519KeyPair::generate().unwrap();
        (pair.to_pkcs8v1(), pair.public_key().as_der().unwrap())
    };
    [
        pem("PRIVATE KEY", private.unwrap().as_ref()),
        pem("PUBLIC KEY", public.as_ref()),
    ]
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

#[tokio::test]
async fn a_pem_signs_and_a_kid_names_it() {
    let dir = TempDir::in_memory();
    let file = dir.join("private.pem");
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA] {
        let [private, public] = pair_of_pems(algorithm);
        fs::write(&file, private).unwrap();
        let key = match algorithm {
            Algorithm::ES256 => DecodingKey::from_ec_pem(public.as_bytes()),
            _ => DecodingKey::from_ed_pem(public.as_bytes()),
        };
        let line = [
            "token",
            "--key",
            text(&file),
            "--kid",
            "k1",
            "--publish",
            "a",
        ];
        // Others may read the file, which is reported.
        let outcome = tidings(&line).await;
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        let token = outcome.stdout;
        assert_eq!(
            claims(&token, &key.unwrap(), algorithm)["publish"],
            json!(["a"])
        );
        assert_eq!(
            decode_header(token.trim_end()).unwrap().kid.as_deref(),
            Some("k1")
        );
    }
}

#[tokio::test]
async fn a_set_with_several_keys_needs_a_name() {
    let dir = TempDir::in_memory();
    let mut keys = Vec::new();
    for id in ["a", "b"] {
        let file = dir.join(id);
        done(&["key", text(&file), "--kid", id]).await;
        keys.push(fs::read_to_string(&file).unwrap());
    }
    let set = dir.join("set");
    fs::write(&set, format!("{{\"keys\":[{}]}}", keys.join(","))).unwrap();
    let mut line = vec!["token", "--key", text(&set), "--metrics"];
    let error = failed(&line, 1).await;
    assert!(error.contains("--kid"), "{error}");
    line.extend(["--kid", "c"]);
    let error = failed(&line, 1).await;
    assert!(error.contains("no key of this ID"), "{error}");
    *line.last_mut().unwrap() = "b";
    let outcome = tidings(&line).await;
    let key = read_key(&dir.join("b"));
    assert_eq!(
        claims(&outcome.stdout, &key, Algorithm::HS256)["metrics"],
        true
    );
}

#[tokio::test]
async fn a_star_alone_is_every_channel() {
    let dir = TempDir::in_memory();
    let key = dir.join("key.jwk");
    done(&["key", text(&key)]).await;
    let line = [
        "token",
        "--key",
        text(&key),
        "--subscribe",
        "*",
        "--publish",
        "a/*",
    ];
    let claims = claims(&done(&line).await, &read_key(&key), Algorithm::HS256);
    assert_eq!(claims["subscribe"], json!(["*"]));
    assert_eq!(claims["publish"], json!(["a/*"]));
}

#[tokio::test]
async fn a_token_that_allows_nothing_or_too_much_is_not_made() {
    let dir = TempDir::in_memory();
    let key = dir.join("key.jwk");
    done(&["key", text(&key)]).await;
    let token = ["token", "--key", text(&key)];
    let line = |flags: &[&'static str]| [&token, flags].concat();
    for flags in [
        &[][..],
        &["--subscribe", "**"],
        &["--subscribe", "/*"],
        &["--subscribe", ""],
        &["--publish", "a//b"],
        &["--publish", "a/../b"],
        &["--metrics", "--ttl", "0s"],
        &["--metrics", "--ttl", "999ms"],
        &["--metrics", "--ttl", "200years"],
        &["--metrics", "--ttl", "soon"],
        &["--metrics", "--ttl", "-1h"],
    ] {
        failed(&line(flags), 2).await;
    }
    let channels: Vec<_> = (0..100)
        .map(|n| format!("--publish={}{n}", "x".repeat(100)))
        .collect();
    let mut line = token.to_vec();
    line.extend(channels.iter().map(String::as_str));
    let error = failed(&line, 1).await;
    assert!(error.contains("a server accepts 8192"), "{error}");
}

#[tokio::test]
async fn an_unreadable_or_unknown_key_is_named_and_not_shown() {
    let dir = TempDir::in_memory();
    let missing = dir.join("missing");
    let rsa = rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
    let rsa: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
    let files = [
        ("rsa.pem", pem("PRIVATE KEY", rsa.as_ref())),
        ("sec1.pem", pem("EC PRIVATE KEY", b"x")),
    ];
    for (name, text) in &files {
        fs::write(dir.join(name), text).unwrap();
    }
    for (path, reason) in [
        (missing.clone(), "missing: "),
        (dir.to_path_buf(), "irectory"),
        (dir.join("rsa.pem"), "RSA"),
        (dir.join("sec1.pem"), "openssl pkcs8"),
    ] {
        let error = failed(&["token", "--key", text(&path), "--metrics"], 1).await;
        assert!(error.contains(reason), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
    let file = dir.join("text");
    for bytes in [
        &b"hunter2-hunter2-hunter2-hunter2-hunter2"[..],
        b"{\"kty\":\"oct\",\"k\":\"hunter2\"}",
        b"\xff\xfehunter2",
    ] {
        fs::write(&file, bytes).unwrap();
        let error = failed(&["token", "--key", text(&file), "--metrics"], 1).await;
        assert!(!error.contains("hunter2"), "{error}");
    }
    fs::write(&file, vec![b' '; (1 << 20) + 1]).unwrap();
    let error = failed(&["token", "--key", text(&file), "--metrics"], 1).await;
    assert!(error.contains("at most"), "{error}");
    let endless = tidings_testkit::timeout::timeout(
        Duration::from_secs(60),
        failed(&["token", "--key", "/dev/zero", "--metrics"], 1),
    );
    endless.await.unwrap();
}
