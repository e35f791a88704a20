//! Plain SQLite under the recording and the disk: the disk keeps synchronized rows, and loses others.

use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::process::exit;

use fastrand::Rng;
use rusqlite::Connection;
use tidings_testkit::property::seed;

use crate::disk::Disk;
use crate::folder::Folder;
use crate::ledger::Said;
use crate::process::Job;
use crate::recording::Recording;
use crate::step::Step;

/// The variable with the mode of synchronization and the path.
const PLAIN: &str = "TIDINGS_CRASH_PLAIN";

const ROWS: i64 = 80;

/// Does nothing without the variable.
#[test]
fn a_child_writes_rows() {
    let Ok(plain) = env::var(PLAIN) else {
        return;
    };
    let (mode, path) = plain.split_once(' ').unwrap();
    let mut connection = open(path.as_ref(), mode).unwrap();
    for n in 0..ROWS {
        let text = format!("{n:0>1000}");
        connection
            .execute("INSERT INTO rows VALUES(?1, ?2)", (n, text))
            .unwrap();
        let line = Said::Trims(n.cast_unsigned() + 1).line();
        io::stdout().write_all(line.as_bytes()).unwrap();
        match n {
            10 | 30 | 70 => connection
                .query_row("PRAGMA wal_checkpoint", [], |_| Ok(()))
                .unwrap(),
            50 => {
                drop(connection);
                connection = open(path.as_ref(), mode).unwrap();
            }
            _ => {}
        }
    }
    exit(0);
}

fn open(path: &Path, mode: &str) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", mode)?;
    connection
        .execute_batch("CREATE TABLE IF NOT EXISTS rows(n INTEGER PRIMARY KEY, text TEXT)")?;
    Ok(connection)
}

/// The number of power losses, of 200, after which rows are missing that the child has confirmed.
fn losses(mode: &str, keeps: impl Fn(usize, &Step) -> bool) -> usize {
    let folder = Folder::new();
    let mut recording = Recording::new(folder.path());
    recording.run(&Job {
        test: "plain::a_child_writes_rows",
        variable: PLAIN,
        value: format!("{mode} {}", folder.store().display()),
    });
    let mut rng = Rng::with_seed(seed());
    let mut losses = 0;
    let steps: Vec<_> = recording
        .steps
        .iter()
        .enumerate()
        .filter(|(at, (_, step))| keeps(*at, step))
        .collect();
    let mut moments: Vec<_> = (0..200).map(|_| rng.usize(..=steps.len())).collect();
    moments.sort_unstable();
    let (mut disk, mut done, mut confirmed) = (Disk::default(), 0, 0);
    for moment in moments {
        for (_, (at, step)) in &steps[done..moment] {
            disk.apply(*at, step);
            if let Step::Says(Said::Trims(rows)) = step {
                confirmed = rows.cast_signed();
            }
        }
        done = moment;
        let folder = Folder::with(&disk.lose_power(&mut rng));
        if rows(&folder.store()).is_none_or(|rows| rows < confirmed) {
            losses += 1;
        }
    }
    losses
}

/// How many rows there are; `None` if the database is damaged.
fn rows(path: &Path) -> Option<i64> {
    let connection = open(path, "FULL").ok()?;
    let sound: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .ok()?;
    let (count, last): (i64, Option<i64>) = connection
        .query_row("SELECT count(*), max(n) FROM rows", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .ok()?;
    (sound == "ok" && count == last.map_or(0, |last| last + 1)).then_some(count)
}

#[test]
fn full_synchronization_loses_nothing() {
    assert_eq!(losses("FULL", |_, _| true), 0);
}

#[test]
fn less_synchronization_loses_rows() {
    let losses = losses("NORMAL", |_, _| true);
    assert!(losses > 100, "{losses}");
}

#[test]
fn a_disk_without_synchronization_loses_rows() {
    let losses = losses("FULL", |_, step| !matches!(step, Step::Sync { .. }));
    assert!(losses > 100, "{losses}");
}

#[test]
fn a_single_lost_synchronization_is_found() {
    // Every 20th one.
    let losses = losses("FULL", |at, step| {
        !matches!(step, Step::Sync { .. }) || at % 20 != 0
    });
    assert!(losses > 5, "{losses}");
}
