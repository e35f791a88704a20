//! The flags, and failures at the start: one line that helps, and an exit code.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Output;

use tidings_testkit::temp_dir::TempDir;

use crate::process::{Server, serve_to_the_end, tidings};

/// The only line of its standard error.
#[track_caller]
fn line(output: &Output, code: i32) -> String {
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(output.stdout.is_empty(), "it prints to its standard output");
    error
}

#[test]
fn bad_flags_exit_with_2_and_a_line_that_helps() {
    for (flags, help) in [
        (&["--listen", "localhost:8080"][..], "expected ADDRESS:PORT"),
        (&["--listen", "127.0.0.1"], "expected ADDRESS:PORT"),
        (&["--listen", "unix:"], "expected the path"),
        (&["--listen", "0.0.0.0:0"], "--insecure"),
        (&["--listen", "[::]:0"], "--insecure"),
        (&["--socket-mode", "rw"], "octal"),
        (&["--store", "nats://localhost"], "not in this version"),
        (&["--store", ""], "path of a file"),
        (&["--durability", "buffered"], "--store"),
        (&["--store", "x", "--durability", "soon"], "every-commit"),
        (&["--retain-bytes", "much"], "--retain-bytes"),
        (&["--retain-age", "long"], "--retain-age"),
        (&["--host", "http://events.example"], "without a scheme"),
        (&["--host", "events.example:80"], "a port"),
        (&["--cors-origin", "*"], "list each origin"),
        (&["--cors-origin", "https://shop.example/"], "no path"),
        (&["--drain", "ten"], "--drain"),
        (
            &["--log-level", "loud"],
            "[possible values: error, warn, info, debug]",
        ),
        (&["--max-connections", "0"], "at least 1"),
        (&["--max-connections", "100"], "--kept-for-publishers"),
        (&["--max-body", "1GiB"], "64.0 MiB"),
        (&["--max-head", "1"], "--max-head"),
        (&["--max-name", "256"], "255"),
        (&["--nonsense"], "--nonsense"),
        (&["nonsense"], "nonsense"),
    ] {
        let error = line(&serve_to_the_end(flags), 2);
        assert!(
            error.starts_with("error: ") && error.contains(help),
            "{flags:?}: {error}"
        );
    }
}

#[test]
fn a_port_that_is_taken_exits_with_1_and_its_address() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = TempDir::new();
    let store = folder.join("events.db");
    let flags = ["--listen", &address, "--store", store.to_str().unwrap()];
    let error = line(&serve_to_the_end(&flags), 1);
    assert!(error.starts_with("tidings: cannot listen on "), "{error}");
    assert!(
        error.contains(&address) && error.contains("--listen"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(!store.exists(), "it left a store");
}

#[test]
fn a_store_that_cannot_be_opened_exits_with_1_and_its_path() {
    let folder = TempDir::new();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let store = path("events.db");
    let server = Server::start(&["--store", &store]);
    std::fs::write(path("text"), "no store").unwrap();
    let holder = server.pid().to_string();
    for (store, reason) in [
        (&store, &*holder),
        (&path("text"), "choose another file"),
        (&path("missing/events.db"), "create it"),
        (&path(""), "choose another file"),
    ] {
        let flags = ["--listen", "127.0.0.1:0", "--store", store];
        let error = line(&serve_to_the_end(&flags), 1);
        assert!(
            error.starts_with("tidings: ") && error.contains(reason),
            "{store}: {error}"
        );
        assert!(error.contains(store.trim_end_matches('/')), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn each_flag_is_in_the_help_with_its_variable_and_its_default() {
    let output = tidings(&["serve", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let flags: Vec<_> = help.split("\n      --").skip(1).collect();
    assert!(flags.len() > 20, "{help}");
    for flag in flags {
        assert!(flag.contains("[env: TIDINGS_"), "{flag}");
        let (name, _) = flag.split_once([' ', '\n']).unwrap();
        // A switch is off by default, and a list or a file is none.
        let has_none = [
            "demo",
            "insecure",
            "host",
            "cors-origin",
            "replace-oldest",
            "token-key",
            "token-audience",
            "store",
            "tls-cert",
            "tls-key",
            "check-config",
        ];
        let has_default = flag.contains("[default: ");
        assert_eq!(has_default, !has_none.contains(&name), "{flag}");
    }
}

/// The flags that the help lists, with their defaults as it has them. A switch or a list has none.
fn flags_of_help(help: &str) -> BTreeMap<String, Option<String>> {
    let flags = help.split("\n      --").skip(1).map(|flag| {
        let (name, text) = flag.split_once([' ', '\n']).unwrap();
        let default = text.split_once("[default: ");
        let default = default.and_then(|(_, rest)| rest.split_once(']'));
        let default = default.map(|(default, _)| default.split_whitespace().collect());
        (name.to_owned(), default)
    });
    flags.collect()
}

/// The flags in the tables of the documentation of the server, with their defaults.
fn flags_of_tables(documentation: &str) -> BTreeMap<String, String> {
    let (_, server) = documentation.split_once("\n## Start a server").unwrap();
    let (server, _) = server.split_once("\n## tidings publish").unwrap();
    let rows = server.lines().filter_map(|line| {
        let row = line.strip_prefix("| `--")?.strip_suffix(" |")?;
        let name = row.split([' ', '`']).next()?;
        let (_, default) = row.rsplit_once(" | ")?;
        let default = default.replace('`', "").split_whitespace().collect();
        Some((name.to_owned(), default))
    });
    let mut flags = BTreeMap::new();
    for (name, default) in rows {
        assert_eq!(flags.insert(name.clone(), default), None, "--{name} twice");
    }
    flags
}

#[test]
fn the_documentation_lists_each_flag_with_its_default() {
    let output = tidings(&["serve", "--help"]).output().unwrap();
    let help = flags_of_help(&String::from_utf8(output.stdout).unwrap());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/program.md");
    let documented = flags_of_tables(&std::fs::read_to_string(path).unwrap());
    assert!(help.len() > 20, "{help:?}");
    let names = help.keys().collect::<Vec<_>>();
    assert_eq!(names, documented.keys().collect::<Vec<_>>());
    for (name, documented) in &documented {
        // What a flag without a default does is a word of the documentation.
        let expected = help[name].as_deref().unwrap_or_else(|| match &**name {
            "demo" | "insecure" | "replace-oldest" | "check-config" => "off",
            "host" | "cors-origin" | "tls-cert" | "tls-key" | "token-audience" | "token-key" => {
                "none"
            }
            "store" => "inmemory",
            other => panic!("--{other} has no default"),
        });
        assert_eq!(documented, expected, "--{name}");
    }
}

#[test]
fn a_flag_may_be_given_by_its_variable() {
    let mut command = tidings(&["serve"]);
    command
        .env("TIDINGS_LISTEN", "0.0.0.0:0")
        .env("TIDINGS_INSECURE", "1");
    command.env("TIDINGS_CORS_ORIGIN", "https://a.example,https://b.example");
    let server = Server::spawn(command);
    assert!(server.listening().starts_with("http://0.0.0.0:"));
}

#[test]
fn the_printed_commands_name_the_address() {
    let mut server = Server::start(&[]);
    let url = server.url("/channels/news");
    assert_eq!(
        server.next_line(),
        format!("publish: curl -d 'hello' {url}")
    );
    assert_eq!(server.next_line(), format!("listen:  curl -N {url}"));
}
