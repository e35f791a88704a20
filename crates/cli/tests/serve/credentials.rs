//! `publish` and `listen` with a token, and where it must not be seen.

use std::fs;
use std::process::Output;

use tidings_testkit::temp_dir::TempDir;

use crate::guarded::{Guarded, token};
use crate::process::{Server, run_to_the_end, tidings};
use crate::raw::request;

/// Runs a command with these flags and this `TIDINGS_TOKEN`.
fn run(line: &[&str], flags: &[&str], variable: Option<&str>) -> Output {
    let mut command = tidings(line);
    command.args(flags);
    if let Some(variable) = variable {
        command.env("TIDINGS_TOKEN", variable);
    }
    run_to_the_end(command)
}

fn publish(guarded: &Guarded, flags: &[&str], variable: Option<&str>) -> Output {
    let url = guarded.server.url("/channels/a");
    run(&["publish", &url, "hello"], flags, variable)
}

fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_client_sends_the_token_of_a_file_or_of_the_environment_or_of_its_flag() {
    let guarded = Guarded::start(&[]);
    let dir = TempDir::in_memory();
    let file = dir.join("token");
    let valid = token(&["a"], &["a"]);
    fs::write(&file, format!("{valid}\n")).unwrap();
    let by_file = ["--token-file", file.to_str().unwrap()];
    for (flags, variable) in [
        (&by_file[..], None),
        (&by_file, Some("wrong")),
        (&[], Some(&*valid)),
        (&["--token", &valid], None),
        (&["--token", &valid], Some("wrong")),
    ] {
        let output = publish(&guarded, flags, variable);
        assert!(output.status.success(), "{flags:?} {output:?}");
        let url = guarded.server.url("/channels/a");
        let line = ["listen", &url, "--last", "1", "--count", "1"];
        let output = run(&line, flags, variable);
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(shown.contains("hello"), "{output:?}");
    }
    for (flags, variable) in [
        (&[][..], None),
        (&[], Some("")),
        (&["--token", "x.y.z"], None),
    ] {
        let output = publish(&guarded, flags, variable);
        assert!(error(&output).contains("token"), "{output:?}");
    }
}

#[test]
fn an_empty_token_is_refused_and_nothing_is_sent() {
    // It would be answered: it needs no token.
    let server = Server::start(&[]);
    let dir = TempDir::in_memory();
    let file = dir.join("token");
    fs::write(&file, "\n").unwrap();
    let url = server.url("/channels/a");
    for (flags, variable, named) in [
        (&["--token", ""][..], None, "--token"),
        (&["--token="], Some("x.y.z"), "--token"),
        (&["--token", " "], None, "--token"),
        (&[], Some(""), "TIDINGS_TOKEN"),
        (&[], Some(" "), "TIDINGS_TOKEN"),
        (&["--token-file", file.to_str().unwrap()], None, "token: "),
    ] {
        for line in [&["publish", &*url, "hello"][..], &["listen", &url]] {
            let error = error(&run(line, flags, variable));
            assert!(error.contains("there is no token"), "{line:?} {error}");
            assert!(error.contains(named), "{line:?} {error}");
        }
    }
    let state = request(
        server.address(),
        "GET",
        "/channels/a",
        &["Accept: application/json"],
        "",
    );
    state.assert_problem(404, "unknown-channel");
}

#[test]
fn no_error_and_no_help_shows_a_token() {
    let guarded = Guarded::start(&[]);
    let dir = TempDir::in_memory();
    let file = dir.join("token");
    for text in [
        "hunter2 hunter2",
        "hunter2\u{e4}",
        "hunter2\u{7}",
        &"hunter2".repeat(2_000),
    ] {
        fs::write(&file, text).unwrap();
        let path = file.to_str().unwrap();
        let outputs = [
            publish(&guarded, &["--token-file", path], None),
            publish(&guarded, &["--token", text], None),
            publish(&guarded, &[], Some(text)),
        ];
        for output in outputs {
            let error = error(&output);
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
    let missing = dir.join("missing");
    let output = publish(&guarded, &["--token-file", missing.to_str().unwrap()], None);
    assert!(error(&output).contains("missing: "), "{output:?}");
    let two = [
        "--token",
        "hunter2",
        "--token-file",
        "x",
        "http://127.0.0.1:1/",
    ];
    for (command, flags) in [
        ("listen", &["--help"][..]),
        ("publish", &["--help"]),
        ("listen", &two),
    ] {
        let output = run(&[command], flags, Some("hunter2"));
        let shown = [output.stdout, output.stderr].concat();
        let shown = String::from_utf8_lossy(&shown);
        assert!(!shown.is_empty() && !shown.contains("hunter2"), "{shown}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_token_leaves_the_list_of_processes() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    use std::sync::mpsc;
    use std::thread;

    use crate::process::LIMIT;

    let guarded = Guarded::start(&[]);
    let valid = token(&["a"], &["a"]);
    assert_eq!(
        guarded.send("POST", "/channels/a", &valid, "hello").status,
        201
    );
    let url = guarded.server.url("/channels/a");
    for flag in [&["--token", &*valid][..], &[&*format!("--token={valid}")]] {
        let mut command = tidings(&["listen", &url, "--last", "1"]);
        command.args(flag).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            let mut line = String::new();
            stdout.read_line(&mut line).ok();
            sender.send(line).ok();
        });
        let line = lines.recv_timeout(LIMIT);
        let shown = fs::read(format!("/proc/{}/cmdline", child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            line.as_ref().is_ok_and(|line| line.contains("hello")),
            "{line:?}"
        );
        let shown = String::from_utf8(shown.unwrap()).unwrap();
        assert!(
            !shown.contains("--token") && !shown.contains(&valid),
            "{shown}"
        );
        assert!(shown.contains("listen") && shown.contains(&url), "{shown}");
    }
}
