//! `scripts/contract-tests` with a harness that sends one request to the service.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};

const HARNESS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/contract_tests/harness");

fn run(service: &str, arguments: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    Command::new(root.join("scripts/contract-tests"))
        .args(arguments)
        .env("CONTRACT_SERVICE", service)
        .current_dir(root.join("conformance/tests"))
        .output()
        .expect("bash")
}

/// Runs a harness that sends a request with this method and exits with this code.
fn check(harness: &str, method: &str, code: i32) {
    let service = env!("CARGO_BIN_EXE_contract-service");
    let output = run(service, &[harness, method, &code.to_string()]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(code), "{printed}");

    let lines: Vec<&str> = printed.lines().collect();
    let ["-url", url, given, given_code, status, ..] = lines[..] else {
        panic!("the harness printed {printed:?}");
    };
    assert_eq!((given, given_code), (method, code.to_string().as_str()));
    assert!(status.starts_with("HTTP/1.1 20"), "{status}");
    let address = url.strip_prefix("http://").unwrap();
    assert!(
        TcpStream::connect(address).is_err(),
        "the service still runs"
    );
}

#[test]
fn the_exit_code_of_the_harness_is_returned_and_the_service_stops() {
    check(HARNESS, "GET", 0);
    check("contract_tests/harness", "GET", 7);
    check(HARNESS, "DELETE", 3);
}

#[test]
fn wrong_arguments_print_the_usage() {
    let cases: [&[&str]; 4] = [&[], &["-url"], &["gone"], &["."]];
    for arguments in cases {
        let output = run("/bin/true", arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
        assert!(
            output
                .stderr
                .starts_with(b"Usage: scripts/contract-tests HARNESS")
        );
    }
    let help = run("/bin/true", &["--help"]);
    assert!(help.status.success());
    assert!(
        help.stdout
            .starts_with(b"Usage: scripts/contract-tests HARNESS")
    );
}

#[test]
fn a_service_that_does_not_start_is_an_error() {
    let output = run("/bin/true", &[HARNESS, "GET", "0"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "the harness ran");
}
