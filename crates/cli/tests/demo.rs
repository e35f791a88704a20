//! `tidings demo`, as a user runs it.

use std::process::{Command, Stdio};

fn demo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.args(["demo", "--fast"]);
    // No proxy listens there: a client that uses one fails.
    for variable in [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ] {
        command.env(variable, "http://127.0.0.1:1");
    }
    command
}

#[test]
fn every_event_arrives_without_the_proxy() {
    let output = demo().output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for line in [
        "  message this is SSE #5",
        "  message heartbeat",
        "  message slow #4",
        r#"  message {"id":0,"firstName":"Jet","lastName":"Brains"}"#,
        r#"  message {"id":0,"prices":[100,200]}"#,
        "  message survivor #9 of connection #3",
    ] {
        assert!(
            text.lines().any(|printed| printed == line),
            "{line}\n{text}"
        );
    }
    assert!(
        text.ends_with(" events received, each once and in order\n"),
        "{text}"
    );
    assert!(!text.contains('\x1b'), "a pipe gets no colours");
}

#[test]
fn a_closed_pipe_is_not_a_failure() {
    let mut demo = demo().stdout(Stdio::piped()).spawn().unwrap();
    drop(demo.stdout.take());
    assert!(demo.wait().unwrap().success());
}

#[test]
fn a_wrong_option_exits_with_the_usage_code() {
    let status = demo().arg("--slow").stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(2));
}
