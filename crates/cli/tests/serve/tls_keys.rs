//! The forms of a private key for `--tls-key` that other programs write.

use std::fs;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair as RsaKey, KeySize};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::KeyPair;

use crate::tls::{Files, succeeded};

/// The bytes of PKCS#8 before the key of PKCS#1, for an RSA key of 2,048 bits.
const PKCS8_HEAD: usize = 26;

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).collect();
    let body = String::from_utf8(lines.join(&b'\n')).unwrap();
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

#[test]
fn an_rsa_key_is_accepted_as_pkcs_8_and_as_pkcs_1() {
    let key = RsaKey::generate(KeySize::Rsa2048).unwrap();
    let pkcs8 = key.as_der().unwrap();
    let pkcs8 = pkcs8.as_ref();
    let files = Files::new();
    files.write_with(&KeyPair::try_from(pkcs8).unwrap());
    for (label, der) in [
        ("PRIVATE KEY", pkcs8),
        ("RSA PRIVATE KEY", &pkcs8[PKCS8_HEAD..]),
    ] {
        fs::write(files.path("key.pem"), pem(label, der)).unwrap();
        let server = files.start(&[]);
        for version in ["--tlsv1.3", "--tls-max=1.2"] {
            let version = version.split('=').collect::<Vec<_>>();
            assert_eq!(
                succeeded(&files.curl(&server, &version, "/healthz")),
                "ok\n"
            );
        }
    }
}
