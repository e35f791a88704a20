//! What an operator does while the store is in use.

use std::fs;
use std::path::Path;
use std::thread;

use fastrand::Rng;
use tidings_hub::{ChannelName, Draft, Log, LogErrorKind, Retention, Scope};
use tidings_store::{Durability, StoreErrorKind, StoreLog, backup, check, compact, export, import};
use tidings_testkit::property;
use tidings_testkit::temp_dir::TempDir;

use crate::names;

fn draft(channel: u32, n: u64) -> Draft {
    let name = ChannelName::new(format!("c/{channel}")).unwrap();
    Draft::event(name, format!("data: {n}\n\n"))
}

fn exported(log: &StoreLog) -> String {
    let mut lines = Vec::new();
    log.export(&mut lines).unwrap();
    String::from_utf8(lines).unwrap()
}

fn exported_from(path: &Path) -> String {
    let mut lines = Vec::new();
    export(path, &mut lines).unwrap();
    String::from_utf8(lines).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_has_everything_that_was_appended_before_it() {
    let dir = TempDir::in_memory();
    let log = StoreLog::open(dir.join("events.db")).unwrap();
    let publisher = {
        let log = log.clone();
        tokio::spawn(async move {
            for n in 0..2_000 {
                log.append(draft(u32::try_from(n % 50).unwrap(), n))
                    .await
                    .unwrap();
            }
        })
    };
    let mut copies = Vec::new();
    while !publisher.is_finished() {
        let to = dir.join(format!("backup-{}.db", copies.len()));
        let before = log.bounds().await.unwrap().newest();
        let (log, path) = (log.clone(), to.clone());
        let backup = tokio::task::spawn_blocking(move || log.backup(path))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(backup.bytes, fs::metadata(&to).unwrap().len());
        assert_eq!(backup.newest.epoch, before.epoch);
        assert!(backup.newest.seq >= before.seq);
        copies.push((to, backup.newest));
    }
    publisher.await.unwrap();
    let all = exported(&log);
    for (path, newest) in &copies {
        let report = check(path).unwrap();
        assert!(report.is_sound(), "{report}");
        let lines = exported_from(path);
        assert!(all.starts_with(&lines));
        assert_eq!(lines.lines().count() as u64, newest.seq);
        let copy = StoreLog::open(path).unwrap();
        let bounds = copy.bounds().await.unwrap();
        assert_eq!(
            (bounds.last.seq, bounds.last.check),
            (newest.seq, newest.check)
        );
        // A client of the store from which the copy was made is told.
        let error = copy.read(0, 1, Scope::all(newest)).await.unwrap_err();
        assert!(
            matches!(error.kind(), LogErrorKind::Rewound { .. }),
            "{error:?}"
        );
    }
    println!("{} backups", copies.len());
}

#[tokio::test]
async fn the_functions_of_a_file_read_a_store_that_is_in_use() {
    let dir = TempDir::in_memory();
    let path = dir.join("events.db");
    let log = StoreLog::open(&path).unwrap();
    for n in 0..300 {
        log.append(draft(n % 7, n.into())).await.unwrap();
    }
    let lines = exported(&log);
    assert_eq!(exported_from(&path), lines);
    let report = check(&path).unwrap();
    assert!(report.is_sound(), "{report}");
    assert_eq!(report.entries, 300);
    let copy = backup(&path, dir.join("copy.db")).unwrap();
    assert_eq!(copy.newest, log.bounds().await.unwrap().newest());
    // The store has kept its locks, and goes on.
    log.append(draft(1, 300)).await.unwrap();
    log.close().await.unwrap();
    assert_eq!(exported_from(&copy.path), lines);
    assert_eq!(exported_from(&path).lines().count(), 301);
    // Nobody uses it now.
    let second = backup(&path, dir.join("second.db")).unwrap();
    assert_eq!(second.newest.seq, 301);
    let error = backup(&path, dir.join("second.db")).unwrap_err();
    assert_eq!(error.kind(), &StoreErrorKind::Exists);
    let error = backup(dir.join("none.db"), dir.join("third.db")).unwrap_err();
    assert_eq!(error.kind(), &StoreErrorKind::Missing);
    assert!(!dir.join("third.db").exists() && !dir.join("none.db").exists());
}

#[tokio::test]
async fn a_backup_of_a_store_that_nobody_has_closed_keeps_its_epoch() {
    let dir = TempDir::in_memory();
    let path = dir.join("events.db");
    let options = || StoreLog::options().durability(Durability::Buffered);
    let log = options().open(&path).unwrap();
    log.append(draft(1, 1)).await.unwrap();
    let epoch = log.bounds().await.unwrap().epoch;
    let crashed = TempDir::in_memory();
    crashed.copy_from(&dir, &["events.db", "events.db-wal"]);
    let copied = backup(crashed.join("events.db"), crashed.join("copy.db")).unwrap();
    assert_eq!((copied.newest.seq, copied.newest.epoch), (1, epoch.clone()));
    // The next open of the store knows that it was not closed, and so does the next open of the copy.
    for name in ["events.db", "copy.db"] {
        let log = options().open(crashed.join(name)).unwrap();
        assert_ne!(log.bounds().await.unwrap().epoch, epoch, "{name}");
    }
}

#[tokio::test]
async fn a_backup_overwrites_nothing_and_leaves_nothing_else() {
    let dir = TempDir::in_memory();
    let log = StoreLog::open(dir.join("events.db")).unwrap();
    log.append(draft(1, 1)).await.unwrap();
    let check = |to: &str, kind: &StoreErrorKind| {
        let error = log.backup(dir.join(to)).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    };
    fs::create_dir(dir.join("directory")).unwrap();
    check("events.db", &StoreErrorKind::Exists);
    check("directory", &StoreErrorKind::Exists);
    check("missing/copy.db", &StoreErrorKind::NoDirectory);
    let before = names(&dir);
    // What an interrupted backup has left.
    fs::write(dir.join("copy.db.unfinished"), vec![1; 100_000]).unwrap();
    fs::write(dir.join("copy.db.unfinished-journal"), "x").unwrap();
    // A store of its own.
    import(
        dir.join("copy.db.new"),
        &b"{\"channel\":\"a\",\"data\":\"x\"}"[..],
    )
    .unwrap();
    log.backup(dir.join("copy.db")).unwrap();
    assert_eq!(exported_from(&dir.join("copy.db.new")).lines().count(), 1);
    let mut after = names(&dir);
    after.retain(|name| !name.starts_with("copy.db.new"));
    let copied = after.extract_if(.., |name| name.starts_with("copy.db"));
    assert!(copied.eq(["copy.db", "copy.db.lock"]));
    assert_eq!(after, before);
    check("copy.db", &StoreErrorKind::Exists);
    // Another backup of the same name is being written.
    let other = fs::File::create(dir.join("other.db.lock")).unwrap();
    other.lock().unwrap();
    check("other.db", &StoreErrorKind::Locked { holder: None });
    drop(other);
    log.backup(dir.join("other.db")).unwrap();
}

#[tokio::test]
async fn of_backups_to_one_path_one_succeeds_and_stays_as_it_is() {
    let dir = TempDir::in_memory();
    let log = StoreLog::open(dir.join("events.db")).unwrap();
    log.append(draft(1, 1)).await.unwrap();
    for round in 0..10 {
        let to = dir.join(format!("copy-{round}.db"));
        let results: Vec<_> = thread::scope(|scope| {
            let backups: Vec<_> = (0..6).map(|_| scope.spawn(|| log.backup(&to))).collect();
            backups.into_iter().map(|b| b.join().unwrap()).collect()
        });
        let (written, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!(written.len(), 1, "{refused:?}");
        for error in refused.into_iter().map(Result::unwrap_err) {
            // The holder of a lock writes its number after it has taken the lock.
            let is_expected = matches!(
                error.kind(),
                StoreErrorKind::Exists | StoreErrorKind::Locked { .. }
            );
            assert!(is_expected, "{error:?}");
        }
        assert!(check(&to).unwrap().is_sound());
        assert_eq!(exported_from(&to), exported(&log));
    }
}

#[tokio::test]
async fn a_backup_in_the_place_of_a_killed_store_is_refused_until_its_wal_is_moved_away() {
    let (dir, copy) = (TempDir::in_memory(), TempDir::in_memory());
    let log = StoreLog::open(dir.join("events.db")).unwrap();
    log.append(draft(1, 1)).await.unwrap();
    log.backup(copy.join("events.db")).unwrap();
    log.append(draft(1, 2)).await.unwrap();
    copy.copy_from(&dir, &["events.db-wal"]);
    let path = copy.join("events.db");
    let error = StoreLog::open(&path).unwrap_err();
    let journal = fs::canonicalize(copy.join("events.db-wal")).unwrap();
    assert_eq!(
        error.kind(),
        &StoreErrorKind::ForeignJournal {
            journal: journal.clone()
        }
    );
    fs::remove_file(journal).unwrap();
    let restored = StoreLog::open(&path).unwrap();
    assert_eq!(restored.bounds().await.unwrap().last.seq, 1);
}

#[tokio::test]
async fn a_closed_store_does_nothing_more() {
    let dir = TempDir::in_memory();
    let log = StoreLog::open(dir.join("events.db")).unwrap();
    log.close().await.unwrap();
    for error in [
        log.check().unwrap_err(),
        log.export(Vec::new()).unwrap_err(),
        log.backup(dir.join("copy.db")).unwrap_err(),
    ] {
        assert_eq!(error.kind(), &StoreErrorKind::Closed);
    }
}

/// The check knows the invariants of the file from its documentation, not from the writer.
#[tokio::test]
async fn a_store_is_sound_at_each_moment() {
    let mut rng = Rng::with_seed(property::seed());
    for _ in 0..property::steps(4_u32) {
        let dir = TempDir::in_memory();
        let path = dir.join("events.db");
        let retention = Retention::durable()
            .max_events(Some(rng.u64(1..300)))
            .remembered_channels(rng.u64(0..20));
        let options = StoreLog::options()
            .retention(retention)
            .index_batch(rng.usize(1..200));
        let mut log = options.open(&path).unwrap();
        let names = rng.u32(1..100);
        for n in 0..1_500 {
            let mut draft = draft(rng.u32(0..names), n);
            match rng.u32(0..20) {
                0 => draft = Draft::end(draft.channel),
                1 => draft = draft.key(format!("{n}")),
                _ => {}
            }
            match log.append(draft).await {
                Err(error) if error.kind() != LogErrorKind::Ended => panic!("{error:?}"),
                _ => {}
            }
            if rng.u32(0..100) == 0 {
                let first = rng.u64(0..n + 1);
                log.trim(first).await.unwrap();
            }
            if rng.u32(0..40) == 0 {
                let report = log.check().unwrap();
                assert!(report.is_sound(), "{report}");
            }
            if rng.u32(0..200) == 0 {
                let lines = exported(&log);
                drop(log);
                let report = check(&path).unwrap();
                assert!(report.is_sound(), "{report}");
                assert_eq!(exported_from(&path), lines);
                log = options.open(&path).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn an_import_of_an_export_keeps_what_is_over_over() {
    let dir = TempDir::in_memory();
    let retention = Retention::durable().max_events(Some(3));
    let log = StoreLog::options()
        .retention(retention)
        .open(dir.join("a.db"))
        .unwrap();
    log.append(draft(1, 1)).await.unwrap();
    log.append(Draft::end(ChannelName::from_static("c/1")))
        .await
        .unwrap();
    for n in 0..5 {
        log.append(draft(2, n)).await.unwrap();
    }
    let mut lines = Vec::new();
    let written = log.export(&mut lines).unwrap();
    assert_eq!((written.entries, written.remembered_ends), (3, 1));
    let imported = import(dir.join("b.db"), &lines[..]).unwrap();
    assert_eq!((imported.entries, imported.channels), (4, 2));
    let copy = StoreLog::open(dir.join("b.db")).unwrap();
    assert_eq!(
        copy.ends().await.unwrap(),
        [(ChannelName::from_static("c/1"), 1)]
    );
    let error = copy.append(draft(1, 9)).await.unwrap_err();
    assert_eq!(error.kind(), LogErrorKind::Ended);
    let bounds = copy.bounds().await.unwrap();
    assert_eq!(bounds.newest(), imported.newest);
    let page = copy
        .read(1, 10, Scope::all(&bounds.newest()))
        .await
        .unwrap();
    let bodies: Vec<_> = page.entries.iter().map(|entry| &entry.body[..]).collect();
    assert_eq!(bodies, [b"data: 2\n\n", b"data: 3\n\n", b"data: 4\n\n"]);
}

#[tokio::test]
async fn a_compacted_store_goes_on() {
    let dir = TempDir::in_memory();
    let path = dir.join("events.db");
    let log = StoreLog::open(&path).unwrap();
    for n in 0..300 {
        let name = ChannelName::from_static("a");
        log.append(Draft::event(name, vec![b'x'; 5_000 + n]))
            .await
            .unwrap();
    }
    log.trim(299).await.unwrap();
    let lines = exported(&log);
    assert_eq!(compact(&path).unwrap_err().kind(), log_is_here());
    drop(log);
    let compacted = compact(&path).unwrap();
    println!("{compacted:?}");
    assert!(compacted.after <= compacted.before);
    assert_eq!(names(&dir), ["events.db", "events.db.lock"]);
    let log = StoreLog::open(&path).unwrap();
    assert_eq!(exported(&log), lines);
    assert_eq!(log.append(draft(1, 1)).await.unwrap().seq, 301);
    assert!(log.check().unwrap().is_sound());
}

fn log_is_here() -> &'static StoreErrorKind {
    static KIND: std::sync::OnceLock<StoreErrorKind> = std::sync::OnceLock::new();
    let holder = Some(std::process::id());
    KIND.get_or_init(|| StoreErrorKind::Locked { holder })
}
