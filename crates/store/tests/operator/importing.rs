//! Export and import.

use std::error::Error;
use std::fs;
use std::io::{self, BufReader, Read, Write};

use fastrand::Rng;
use tidings_proto::{Event, EventName};
use tidings_store::{StoreErrorKind, check, compact, export, import};
use tidings_testkit::property;

use tidings_testkit::temp_dir::TempDir;

use crate::names;

/// Exports the store in this file as text.
fn exported(path: &std::path::Path) -> String {
    let mut lines = Vec::new();
    export(path, &mut lines).unwrap();
    String::from_utf8(lines).unwrap()
}

/// Lines as an export writes them, from a seed.
fn lines(rng: &mut Rng, count: u64) -> String {
    let mut ended = Vec::new();
    let mut nanos = 1_764_000_000_000_000_000;
    let mut lines = String::new();
    for seq in 1..=count {
        nanos += rng.u64(0..2_000_000_000);
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(nanos);
        let mut name = rng.u32(0..20);
        while ended.contains(&name) {
            name += 20;
        }
        let content = content(rng);
        if content == r#""end":true"# {
            ended.push(name);
        }
        let time = humantime::format_rfc3339_nanos(time);
        lines +=
            &format!("{{\"seq\":{seq},\"time\":\"{time}\",\"channel\":\"c/{name}\",{content}}}\n");
    }
    lines
}

fn content(rng: &mut Rng) -> String {
    let text = || "\u{1F30D} \"x\"\\\t".to_owned();
    match rng.u32(0..12) {
        0 => r#""end":true"#.to_owned(),
        1 => r#""body":"data:x\r\n\r\n""#.to_owned(),
        2 => r#""body":"""#.to_owned(),
        3 => r#""body_base64":"/w==""#.to_owned(),
        4 => r#""event":"e","data":"","retry":7,"comments":"c""#.to_owned(),
        5 => r#""retry":0"#.to_owned(),
        6 => format!(r#""data":"{}""#, "x".repeat(rng.usize(0..20_000))),
        _ => format!(r#""data":{}"#, serde_json::to_string(&text()).unwrap()),
    }
}

#[test]
fn an_export_of_an_import_is_the_same_lines() {
    let mut rng = Rng::with_seed(property::seed());
    let directory = TempDir::in_memory();
    for count in [0, 1, 2, 500] {
        let path = directory.join(format!("{count}.db"));
        let lines = lines(&mut rng, count);
        let imported = import(&path, lines.as_bytes()).unwrap();
        assert_eq!(imported.entries, count);
        assert_eq!(imported.newest.seq, count);
        assert_eq!(exported(&path), lines);
        let report = check(&path).unwrap();
        assert!(report.is_sound(), "{report}");
        assert_eq!(
            (report.entries, report.channels),
            (count, imported.channels)
        );
        compact(&path).unwrap();
        assert_eq!(exported(&path), lines);
    }
}

#[test]
fn each_import_has_another_epoch() {
    let directory = TempDir::in_memory();
    let import = |name| {
        import(
            directory.join(name),
            &b"{\"channel\":\"a\",\"data\":\"x\"}"[..],
        )
    };
    let [one, two] = ["1.db", "2.db"].map(|name| import(name).unwrap().newest);
    assert_ne!(one.epoch, two.epoch);
}

#[test]
fn a_hand_written_line_needs_neither_a_number_nor_a_time() {
    let directory = TempDir::in_memory();
    let path = directory.join("a.db");
    let lines = concat!(
        "\n{\"channel\":\"a\",\"data\":\"1\"}\r\n",
        "  \n",
        "{\"data\":\"2\\n3\",\"event\":\"note\",\"channel\":\"a\",\"seq\":999}\n",
        "{\"channel\":\"a\",\"end\":true}",
    );
    let imported = import(&path, lines.as_bytes()).unwrap();
    assert_eq!((imported.entries, imported.channels), (3, 1));
    let written = exported(&path);
    let written: Vec<serde_json::Value> = written
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let field = |name: &str| -> Vec<_> { written.iter().map(|line| &line[name]).collect() };
    assert_eq!(field("seq"), [1, 2, 3]);
    assert_eq!(field("data")[1], "2\n3");
    // All have the time of the import.
    assert_eq!(field("time")[0], field("time")[2]);
    let event = Event::new("2\n3").event(const { EventName::from_static("note") });
    assert_eq!(event.text(), field("data")[1]);
}

#[test]
fn a_line_that_is_not_valid_is_named_and_leaves_no_store() {
    let directory = TempDir::in_memory();
    let check = |lines: &str, number: u64, expected: &str| {
        let path = directory.join("a.db");
        let error = import(&path, lines.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), &StoreErrorKind::Line { number }, "{lines}");
        let source = error.source().unwrap().to_string();
        assert!(source.starts_with(expected), "{source}");
        assert_eq!(names(&directory), ["a.db.lock"]);
    };
    let good = "{\"channel\":\"a\",\"data\":\"x\"}\n";
    let time = |time: &str| format!("{{\"channel\":\"a\",\"data\":\"x\",\"time\":\"{time}\"}}\n");
    check("x", 1, "expected value");
    check(&format!("{good}\n{good}{{"), 4, "EOF while parsing");
    check(&format!("{good}{{\"channel\":\"a\"}}"), 2, "it has neither");
    check(&format!("{good}{{}}\n{good}"), 2, "missing field `channel`");
    check("{\"channel\":\"\",\"data\":\"x\"}", 1, "a channel name");
    check("{\"channel\":\"a\",\"data\":\"\\ud800\"}", 1, "");
    check(&time("yesterday"), 1, "\"yesterday\" is not a time");
    check(&time("1969-12-31T23:59:59Z"), 1, "\"1969");
    check(
        &time("2200-01-01T00:00:00Z"),
        1,
        "its time is more than a day",
    );
    let [later, earlier] = ["2025-01-01T00:00:01Z", "2025-01-01T00:00:00Z"].map(time);
    check(
        &format!("{later}{earlier}"),
        2,
        "its time is before 2025-01-01T00:00:01",
    );
    let end = "{\"channel\":\"a\",\"end\":true}\n";
    check(
        &format!("{good}{end}{good}"),
        3,
        "the channel a has ended with entry 2",
    );
    check(
        &format!("{end}{end}"),
        2,
        "the channel a has ended with entry 1",
    );
}

#[test]
fn a_line_that_never_ends_is_refused() {
    let directory = TempDir::in_memory();
    let endless = BufReader::new(io::repeat(b' '));
    let error = import(directory.join("a.db"), endless).unwrap_err();
    assert_eq!(error.kind(), &StoreErrorKind::Line { number: 1 });
}

#[test]
fn an_input_that_fails_leaves_no_store() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the cable was cut"))
        }
    }
    let directory = TempDir::in_memory();
    let lines = b"{\"channel\":\"a\",\"data\":\"x\"}\n".chain(Failing);
    let error = import(directory.join("a.db"), BufReader::new(lines)).unwrap_err();
    assert_eq!(error.kind(), &StoreErrorKind::Input);
    assert_eq!(error.source().unwrap().to_string(), "the cable was cut");
    assert_eq!(names(&directory), ["a.db.lock"]);
}

#[test]
fn an_output_that_fails_is_not_a_failure_of_the_store() {
    struct Failing;
    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let directory = TempDir::in_memory();
    let path = directory.join("a.db");
    import(&path, lines(&mut Rng::with_seed(1), 100).as_bytes()).unwrap();
    let error = export(&path, Failing).unwrap_err();
    assert_eq!(error.kind(), &StoreErrorKind::Output);
}

#[test]
fn an_import_overwrites_nothing() {
    let directory = TempDir::in_memory();
    for (name, kind) in [
        ("a.db", StoreErrorKind::Exists),
        (
            "b.db-wal",
            StoreErrorKind::ForeignJournal {
                journal: fs::canonicalize(&*directory).unwrap().join("b.db-wal"),
            },
        ),
    ] {
        fs::write(directory.join(name), "precious").unwrap();
        let path = directory.join(name.trim_end_matches("-wal"));
        let error = import(path, &b""[..]).unwrap_err();
        assert_eq!(error.kind(), &kind);
        assert_eq!(fs::read(directory.join(name)).unwrap(), b"precious");
    }
}

#[test]
fn a_compaction_frees_the_space_of_removed_pages() {
    let directory = TempDir::in_memory();
    let path = directory.join("a.db");
    let lines = lines(&mut Rng::with_seed(1), 200);
    import(&path, lines.as_bytes()).unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    let fill =
        "CREATE TABLE filler(x); INSERT INTO filler VALUES(zeroblob(1000000)); DROP TABLE filler;";
    connection.execute_batch(fill).unwrap();
    drop(connection);
    let compacted = compact(&path).unwrap();
    assert!(
        compacted.after + 1_000_000 <= compacted.before,
        "{compacted:?}"
    );
    assert_eq!(fs::metadata(&path).unwrap().len(), compacted.after);
    assert_eq!(exported(&path), lines);
}
