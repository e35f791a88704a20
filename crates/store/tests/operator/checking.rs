//! The check of a store.

use std::path::Path;

use rusqlite::Connection;
use tidings_store::{CheckReport, check, import};

use tidings_testkit::temp_dir::TempDir;

/// A store of 30 events of three channels, and the end of one.
fn create(path: &Path) {
    let event = |n: u32| format!("{{\"channel\":\"c{}\",\"data\":\"{n}\"}}\n", n % 3);
    let mut lines: String = (0..30).map(event).collect();
    lines += "{\"channel\":\"c2\",\"end\":true}";
    import(path, lines.as_bytes()).unwrap();
}

fn report_after(sql: &str) -> CheckReport {
    let directory = TempDir::in_memory();
    let path = directory.join("a.db");
    create(&path);
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(sql).unwrap();
    drop(connection);
    check(&path).unwrap()
}

#[test]
fn a_sound_store_has_no_problem() {
    let report = report_after("ANALYZE; VACUUM; PRAGMA journal_mode=WAL");
    assert_eq!(report.problems, [""; 0]);
    assert_eq!((report.entries, report.last, report.floor), (31, 31, 0));
    assert_eq!((report.channels, report.ended), (3, 1));
    let text = report.to_string();
    assert!(text.starts_with("31 entries, 0 removed, 31 in all; 3 channels, 1 of them ended;"));
    assert!(text.ends_with("no problem was found"));
}

/// Requires that the check of a store that was changed finds this problem.
fn check_found(sql: &str, expected: &str) {
    let report = report_after(sql);
    let mut problems = report.problems.iter();
    assert!(
        problems.any(|problem| problem.starts_with(expected)),
        "{sql}: {report}"
    );
    assert!(!report.is_sound());
}

#[test]
fn each_change_of_an_entry_is_found() {
    let check = check_found;
    for column in ["time", "total", "channel", "kind", "nth"] {
        let sql = format!("UPDATE entries SET {column} = {column} + 1 WHERE seq = 10");
        check(&sql, "an entry is damaged: entry 10 is not");
    }
    check(
        "UPDATE entries SET body = x'00' WHERE seq = 10",
        "an entry is damaged: entry 10",
    );
    check(
        "UPDATE entries SET \"check\" = 'AAAA' WHERE seq = 10",
        "an entry is damaged",
    );
    check(
        "UPDATE entries SET seq = 99 WHERE seq = 31",
        "an entry is damaged: entry 99",
    );
    check(
        "DELETE FROM entries WHERE seq = 10",
        "an entry is wrong: 11: entries before it are",
    );
    check(
        "DELETE FROM entries WHERE seq = 1",
        "an entry is wrong: 2: entries before it are",
    );
    check(
        "DELETE FROM entries WHERE seq = 31",
        "the state is wrong: the newest entries are",
    );
    check(
        "DELETE FROM entries",
        "the state is wrong: the newest entries are missing",
    );
}

#[test]
fn each_change_of_another_table_is_found() {
    let check = check_found;
    check(
        "DELETE FROM places WHERE seq = 30",
        "an entry is not in the index: 30",
    );
    check(
        "DELETE FROM places WHERE seq = 31",
        "an entry is not in the index: 31",
    );
    check(
        "DELETE FROM places WHERE seq = 1",
        "an entry is not in the index: 1",
    );
    check(
        "DELETE FROM places WHERE seq = 10",
        "a row of the index is wrong: channel 1, entry 13",
    );
    check(
        "UPDATE places SET channel = 2 WHERE seq = 10",
        "a row of the index is damaged",
    );
    check(
        "UPDATE places SET time = 0 WHERE seq = 10",
        "a row of the index is damaged",
    );
    check(
        "DELETE FROM channels WHERE id = 2",
        "an entry is wrong: 2: its channel is missing",
    );
    check(
        "UPDATE channels SET name = 'x' WHERE id = 2",
        "a channel is damaged: channel 2",
    );
    check(
        "UPDATE channels SET \"end\" = NULL WHERE id = 3",
        "a channel is damaged: channel 3",
    );
    check(
        "INSERT INTO gone VALUES(1, 31, 3)",
        "a gone channel is wrong: channel 3",
    );
    check(
        "INSERT INTO gone VALUES(0, 7, 9)",
        "a gone channel is wrong: channel 9",
    );
    check(
        "INSERT INTO keys VALUES(1, zeroblob(20), 1)",
        "a key is damaged",
    );
    check(
        "INSERT INTO keys VALUES(1, zeroblob(15), 1)",
        "a key is damaged",
    );
    check("INSERT INTO keys VALUES(1, 1, 1)", "a key is damaged");
    check("UPDATE state SET epoch = 'x'", "the state is damaged");
    check("UPDATE state SET floor_seq = 1", "the state is damaged");
    check("DELETE FROM state", "the state is damaged");
    check("DROP TABLE keys", "the tables are damaged");
    check("DROP INDEX ends", "the tables are damaged");
    check("CREATE TABLE more(x)", "the tables are damaged");
}

#[test]
fn the_list_of_problems_is_limited() {
    let report = report_after(
        "WITH RECURSIVE n(n) AS (VALUES(100) UNION ALL SELECT n + 1 FROM n WHERE n < 400)
         INSERT INTO gone SELECT 0, n, n FROM n",
    );
    assert_eq!(report.problems.len(), 100);
    assert_eq!(report.more_problems, 201);
    assert!(report.to_string().contains("and 201 more problems"));
}
