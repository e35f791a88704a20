//! The fixture of format 1: how it was written, and that it opens and has exactly the content that it had.
//!
//! Every later version keeps `fixtures/format-1.db` and this test unchanged. A new format adds a fixture of
//! its own: write it with `TIDINGS_WRITE_FIXTURE=1 cargo test -p tidings-store --test opening fixture`.

use std::fs;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use rusqlite::Connection;
use tidings_hub::{
    ChannelName, Draft, EntryKind, Located, Log, Pattern, Place, Retention, Scope, Start,
};
use tidings_store::{StoreLog, StoreOptions};
use tidings_testkit::temp_dir::TempDir;

const HELD: u64 = 40;
const LAST: u64 = 74;
const FLOOR: u64 = LAST - HELD;

/// No age, because the fixture grows old.
fn options() -> StoreOptions {
    let retention = Retention::durable().max_age(None);
    let retention = retention.max_events(Some(HELD)).remembered_channels(3);
    StoreLog::options().retention(retention)
}

fn name(text: &str) -> ChannelName {
    ChannelName::new(text).unwrap()
}

/// Events of 10 channels, two of which end, that are removed; then 60 events of one channel, of which 20 are
/// removed, and among them the end of another channel.
fn drafts() -> Vec<Draft> {
    let event =
        |channel: &str, text: String| Draft::event(name(channel), format!("data: {text}\n\n"));
    let mut drafts = Vec::new();
    for n in 0..10 {
        drafts.push(event(&format!("old/{n}"), format!("old {n}")).key(format!("key {n}")));
    }
    drafts.push(Draft::end(name("old/3")));
    drafts.push(Draft::end(name("old/4")));
    for n in 0..60 {
        let text = if n == 50 {
            "large ".repeat(4_000)
        } else {
            format!("news {n}")
        };
        drafts.push(event("news", text));
        if n == 30 {
            drafts.push(event("answer", "last words".to_owned()));
            drafts.push(Draft::end(name("answer")));
        }
    }
    drafts
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

#[tokio::test]
async fn the_fixture_can_be_written_again() {
    let dir = TempDir::in_memory();
    let path = dir.join("format-1.db");
    let log = options().open(&path).unwrap();
    for draft in drafts() {
        log.append(draft).await.unwrap();
    }
    let mut lines = Vec::new();
    log.export(&mut lines).unwrap();
    log.close().await.unwrap();
    drop(log);
    let lines = String::from_utf8(lines).unwrap();
    if std::env::var_os("TIDINGS_WRITE_FIXTURE").is_some() {
        fs::create_dir_all(fixtures()).unwrap();
        fs::copy(&path, fixtures().join("format-1.db")).unwrap();
        fs::write(fixtures().join("format-1.ndjson"), &lines).unwrap();
    }
    check_content(&path, &lines).await;
}

#[tokio::test]
async fn the_fixture_of_format_1_opens_with_exactly_its_content() {
    let dir = TempDir::in_memory();
    let path = dir.join("events.db");
    fs::copy(fixtures().join("format-1.db"), &path).unwrap();
    let lines = fs::read_to_string(fixtures().join("format-1.ndjson")).unwrap();
    check_content(&path, &lines).await;
}

async fn check_content(path: &Path, lines: &str) {
    let stored = Connection::open(path).unwrap();
    let value = |sql: &str| {
        stored
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!(value("SELECT count(*) FROM keys"), 10);
    assert_eq!(value("SELECT count(*) FROM gone"), 5);
    assert_eq!(value("PRAGMA user_version"), 1);
    let epoch: String = stored
        .query_row("SELECT epoch FROM state", [], |row| row.get(0))
        .unwrap();
    drop(stored);
    let report = tidings_store::check(path).unwrap();
    assert!(report.is_sound(), "{report}");
    assert_eq!(
        (report.floor, report.last, report.entries),
        (FLOOR, LAST, HELD)
    );
    assert_eq!((report.channels, report.ended), (7, 3));

    let log = options().open(path).unwrap();
    let mut exported = Vec::new();
    log.export(&mut exported).unwrap();
    assert_eq!(String::from_utf8(exported).unwrap(), lines);
    check_answers(&log, &epoch).await;
    // It is not only read.
    let appended = log
        .append(Draft::event(name("news"), "data: more\n\n"))
        .await
        .unwrap();
    assert_eq!(appended.seq, LAST + 1);
    log.close().await.unwrap();
    let report = tidings_store::check(path).unwrap();
    assert!(report.is_sound(), "{report}");
}

async fn check_answers(log: &StoreLog, epoch: &str) {
    let bounds = log.bounds().await.unwrap();
    assert_eq!(bounds.epoch.as_str(), epoch);
    assert_eq!(
        (bounds.floor.seq, bounds.last.seq, bounds.ends_since),
        (FLOOR, LAST, 1)
    );
    let newest = bounds.newest();
    let ends = log.ends().await.unwrap();
    let expected = [("old/3", 11), ("old/4", 12), ("answer", 45)];
    assert_eq!(ends, expected.map(|(text, end)| (name(text), end)));
    let channels = log.channels(None, 100).await.unwrap();
    let channels: Vec<_> = channels
        .iter()
        .map(|channel| channel.name.as_str())
        .collect();
    assert_eq!(channels, ["answer", "news", "old/3", "old/4"]);

    let page = log.read(FLOOR, 1_000, Scope::all(&newest)).await.unwrap();
    let drafts = drafts();
    let held = &drafts[usize::try_from(FLOOR).unwrap()..];
    assert_eq!(page.entries.len(), held.len());
    for (entry, draft) in page.entries.iter().zip(held) {
        assert_eq!((&entry.channel, entry.kind), (&draft.channel, draft.kind));
        assert_eq!(entry.body, draft.body);
    }
    assert_eq!(page.entries.last().unwrap().check(), bounds.last.check);
    let tail = log.tail(&bounds.floor.in_epoch(&bounds.epoch));
    let tailed: Vec<_> = tail.take(1).collect().await;
    assert_eq!(tailed[0].as_ref().unwrap()[0], page.entries[0]);

    // What is known of removed events: 22 of the news, none of the answer, and one of each old channel, but
    // the oldest ones were forgotten.
    for (channel, missed) in [
        ("news", 22),
        ("answer", 0),
        ("old/9", 1),
        ("old/0", 7),
        ("new", 7),
    ] {
        let patterns = [Pattern::from(name(channel))];
        let located = log.locate(Start::After(Place::start()), Scope::new(&patterns, &newest));
        let Located::Held { missed: found, .. } = located.await.unwrap() else {
            panic!("the start of the log is unknown")
        };
        assert_eq!(found, missed, "{channel}");
    }
    let is_end = |entry: &&tidings_hub::Entry| entry.kind == EntryKind::End;
    assert_eq!(page.entries.iter().filter(is_end).count(), 1);
}
