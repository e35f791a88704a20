//! Certificates and keys that cannot be used.

use rcgen::KeyPair;
use tidings_axum::Tls;

use crate::trust::Authority;

fn error(certificates: &str, key: &str) -> String {
    let error = Tls::from_pem(certificates.as_bytes(), key.as_bytes()).unwrap_err();
    error.to_string()
}

#[track_caller]
fn check(certificates: &str, key: &str, expected: &str) {
    let error = error(certificates, key);
    assert!(error.contains(expected), "{error}");
}

/// A section that claims to be what it is not.
fn section(label: &str, base64: &str) -> String {
    format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
}

#[test]
fn each_error_names_the_wrong_part() {
    let authority = Authority::new("a");
    let issued = authority.issue();
    let (certificate, key) = (&*issued.certificate, &*issued.key);
    let foreign = KeyPair::generate().unwrap().serialize_pem();
    check("", key, "the certificate text has no certificate");
    check(key, key, "the certificate text has no certificate");
    check(certificate, "", "the key text has no private key");
    check(certificate, certificate, "the key text has no private key");
    check(certificate, &foreign, "does not fit the certificate");
    check(certificate, &format!("{key}{foreign}"), "2 private keys");
    check(
        &format!("{}{certificate}", authority.pem()),
        key,
        "fits certificate 2 of the text",
    );
    check(
        &section("CERTIFICATE", "AAAA"),
        key,
        "the first certificate is not usable",
    );
    check(
        &section("CERTIFICATE", "*"),
        key,
        "the certificate text is not readable: a section is not base64",
    );
    let cut_off = &certificate[..certificate.len() / 2];
    check(
        cut_off,
        key,
        "the certificate text is not readable: a section has no `-----END` line",
    );
    let unsupported = section("PRIVATE KEY", "AAAA");
    check(certificate, &unsupported, "of an unsupported kind");
}

#[test]
fn an_encrypted_key_is_named_in_both_formats() {
    let issued = Authority::new("a").issue();
    let old = section(
        "EC PRIVATE KEY",
        "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA",
    );
    for key in [section("ENCRYPTED PRIVATE KEY", "AAAA"), old] {
        check(&issued.certificate, &key, "the private key is encrypted");
    }
}

#[test]
fn no_error_shows_a_part_of_the_key() {
    let issued = Authority::new("a").issue();
    let one_line = issued.key.replace('\n', "");
    let secret: String = issued.key.lines().nth(1).unwrap().to_owned();
    for key in [&one_line, &issued.key.replace("-----END", "*\n-----END")] {
        let error = Tls::from_pem(issued.certificate.as_bytes(), key.as_bytes()).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("the key text is not readable"), "{shown}");
        assert!(!shown.contains(&secret[..8]), "{shown}");
    }
    assert_eq!(format!("{:?}", issued.tls()), "Tls { .. }");
}

#[test]
fn one_text_may_have_all_sections() {
    let authority = Authority::new("a");
    let issued = authority.issue();
    let parameters = section("EC PARAMETERS", "BggqhkjOPQMBBw==");
    let all = format!(
        "{parameters}{}{}{}",
        issued.key,
        issued.certificate,
        authority.pem()
    );
    let windows = all.replace('\n', "\r\n");
    for text in [all, windows] {
        Tls::from_pem(text.as_bytes(), text.as_bytes()).unwrap();
    }
}

#[test]
fn every_kind_of_key_of_the_docs_is_accepted() {
    let kinds = [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ];
    for kind in kinds {
        let key = KeyPair::generate_for(kind).unwrap();
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Tls::from_pem(certificate.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    }
}
