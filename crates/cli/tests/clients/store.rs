//! `tidings store`: each task on a store that the library has written.

use std::fs;
use std::path::Path;

use tidings::Event;
use tidings::hub::{ChannelName, Draft, Hub, Log, Retention};
use tidings::store::StoreLog;
use tidings_testkit::temp_dir::TempDir;

use crate::program::{run, run_unread};

/// A store with three events, of which one is older than any server of today would keep it.
async fn fill(path: &Path) {
    let lines = "{\"time\":\"2020-01-31T12:00:00Z\",\"channel\":\"news\",\"data\":\"old\"}\n\
        {\"channel\":\"news\",\"data\":\"new\"}\n";
    tidings::store::import(path, lines.as_bytes()).unwrap();
    let log = open(path);
    let hub = Hub::over(log.clone());
    hub.publish("weather", Event::new("a\u{9b}b"))
        .await
        .unwrap();
    hub.drain().await;
    log.close().await.unwrap();
}

/// Opens the store as a server that removes nothing for its age.
fn open(path: &Path) -> StoreLog {
    let retention = Retention::durable().max_age(None);
    StoreLog::options().retention(retention).open(path).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn a_sound_store_is_checked_with_0() {
    let dir = TempDir::in_memory();
    let file = dir.join("events.db");
    fill(&file).await;
    let outcome = run(&["store", "check", text(&file)], "").await;
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(
        outcome.stdout.starts_with("3 entries, "),
        "{}",
        outcome.stdout
    );
    assert!(
        outcome.stdout.ends_with("no problem was found\n"),
        "{}",
        outcome.stdout
    );
    assert_eq!(outcome.stderr, "", "progress is for a terminal");
}

#[tokio::test]
async fn a_damaged_store_is_checked_with_1_and_salvaged() {
    let dir = TempDir::in_memory();
    let file = dir.join("events.db");
    fill(&file).await;
    let mut bytes = fs::read(&file).unwrap();
    let text_of_event = b"data: new";
    let at = bytes
        .windows(text_of_event.len())
        .rposition(|window| window == text_of_event)
        .unwrap();
    bytes[at + 6] = b'x';
    fs::write(&file, bytes).unwrap();
    let outcome = run(&["store", "check", text(&file)], "").await;
    assert_eq!(outcome.code, Some(1), "{}", outcome.stdout);
    assert!(
        outcome.stdout.contains("the store is damaged"),
        "{}",
        outcome.stdout
    );
    assert!(
        outcome.stderr.ends_with("is damaged\n"),
        "{}",
        outcome.stderr
    );
    let unread = run_unread(&["store", "check", text(&file)], "").await;
    assert_eq!(unread.code, Some(1), "{}", unread.stderr);
    let salvaged = run(&["store", "salvage", text(&file)], "").await;
    assert_eq!(salvaged.code, Some(0), "{}", salvaged.stderr);
    assert_eq!(salvaged.stdout.lines().count(), 2);
    assert!(
        salvaged
            .stderr
            .contains("2 entries salvaged, at least 1 lost"),
        "{}",
        salvaged.stderr
    );
}

#[tokio::test]
async fn an_export_is_imported_again() {
    let dir = TempDir::in_memory();
    let (file, copy) = (dir.join("events.db"), dir.join("copy.db"));
    fill(&file).await;
    let exported = run(&["store", "export", text(&file)], "").await;
    assert_eq!(exported.code, Some(0), "{}", exported.stderr);
    assert_eq!(exported.stdout.lines().count(), 3);
    let imported = run(&["store", "import", text(&copy)], &exported.stdout).await;
    assert_eq!(imported.code, Some(0), "{}", imported.stderr);
    assert_eq!(imported.stdout, "3 entries of 2 channels imported\n");
    let again = run(&["store", "export", text(&copy)], "").await;
    assert_eq!(again.stdout, exported.stdout);
    let refused = run(&["store", "import", text(&copy)], &exported.stdout).await;
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("exists already"),
        "{}",
        refused.stderr
    );
}

#[tokio::test]
async fn a_wrong_line_of_an_import_is_named_and_leaves_no_store() {
    let dir = TempDir::in_memory();
    let file = dir.join("events.db");
    let lines = "{\"channel\":\"news\",\"data\":\"a\"}\nnonsense\n";
    let outcome = run(&["store", "import", text(&file)], lines).await;
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("line 2 "), "{}", outcome.stderr);
    assert!(!file.exists());
}

#[tokio::test]
async fn a_backup_keeps_everything_and_overwrites_nothing() {
    let dir = TempDir::in_memory();
    let (file, copy) = (dir.join("events.db"), dir.join("backup.db"));
    fill(&file).await;
    let arguments = ["store", "backup", text(&file), text(&copy)];
    let outcome = run(&arguments, "").await;
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let lines = |path| async move { run(&["store", "export", text(path)], "").await.stdout };
    let exported = lines(&copy).await;
    assert_eq!(exported.lines().count(), 3, "{exported}");
    assert_eq!(exported, lines(&file).await);
    let again = run(&arguments, "").await;
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
}

#[tokio::test]
async fn a_compaction_reports_both_sizes() {
    let dir = TempDir::in_memory();
    let file = dir.join("events.db");
    fill(&file).await;
    let outcome = run(&["store", "compact", text(&file)], "").await;
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(
        outcome.stdout.contains(" bytes before, ") && outcome.stdout.ends_with(" bytes after\n"),
        "{}",
        outcome.stdout
    );
}

#[tokio::test]
async fn a_store_in_use_is_checked_exported_and_copied() {
    let dir = TempDir::in_memory();
    let (file, copy) = (dir.join("events.db"), dir.join("backup.db"));
    fill(&file).await;
    let log = open(&file);
    for arguments in [
        &["store", "check", text(&file)][..],
        &["store", "backup", text(&file), text(&copy)],
        &["store", "check", text(&copy)],
    ] {
        let outcome = run(arguments, "").await;
        assert_eq!(outcome.code, Some(0), "{arguments:?}: {}", outcome.stderr);
    }
    let lines = |path| async move { run(&["store", "export", text(path)], "").await.stdout };
    let exported = lines(&file).await;
    assert_eq!(exported.lines().count(), 3, "{exported}");
    assert_eq!(exported, lines(&copy).await);
    let name = ChannelName::from_static("after");
    log.append(Draft::event(name, "data: x\n\n")).await.unwrap();
    log.close().await.unwrap();
    assert_eq!(lines(&file).await.lines().count(), 4);
}

#[tokio::test]
async fn a_store_in_use_is_not_changed_and_its_process_is_named() {
    let dir = TempDir::in_memory();
    let file = dir.join("events.db");
    let log = open(&file);
    for arguments in [
        &["store", "compact", text(&file)],
        &["store", "salvage", text(&file)],
    ] {
        let outcome = run(arguments, "").await;
        assert_eq!(outcome.code, Some(1), "{arguments:?}");
        let holder = format!("is in use by the process {}; stop it", std::process::id());
        assert!(
            outcome.stderr.contains(&holder) && outcome.stderr.contains(text(&file)),
            "{arguments:?}: {}",
            outcome.stderr
        );
    }
    log.close().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_missing_is_not_created() {
    let dir = TempDir::in_memory();
    let (file, copy) = (dir.join("events.db"), dir.join("backup.db"));
    for arguments in [
        &["store", "check", text(&file)][..],
        &["store", "export", text(&file)],
        &["store", "backup", text(&file), text(&copy)],
        &["store", "compact", text(&file)],
        &["store", "salvage", text(&file)],
    ] {
        let outcome = run(arguments, "").await;
        assert_eq!(outcome.code, Some(1), "{arguments:?}");
        assert!(
            outcome.stderr.contains("there is no store"),
            "{}",
            outcome.stderr
        );
        assert!(!file.exists() && !copy.exists(), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_closed_pipe_is_not_a_failure() {
    let dir = TempDir::in_memory();
    let file = dir.join("events.db");
    fill(&file).await;
    let outcome = run_unread(&["store", "export", text(&file)], "").await;
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
}

#[tokio::test]
async fn wrong_usage_exits_with_the_usage_code() {
    for arguments in [
        &["store"][..],
        &["store", "check"],
        &["store", "backup", "events.db"],
        &["store", "repair", "events.db"],
    ] {
        assert_eq!(run(arguments, "").await.code, Some(2), "{arguments:?}");
    }
}
