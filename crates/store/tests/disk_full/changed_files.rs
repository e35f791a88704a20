//! Files that somebody deletes, moves or overwrites while a store uses them.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tidings_hub::{Hub, Log, Retention};
use tidings_store::{StoreErrorKind, StoreLog, StoreOptions};
use tidings_testkit::error_chain::chain;
use tidings_testkit::temp_dir::TempDir;
use tidings_testkit::timeout::timeout;

use crate::user::{Fate, LIMIT, User};

/// A store with 200 events whose files somebody changes. It has a directory of its own in the other one.
async fn change(options: StoreOptions, change: impl FnOnce(&Path)) -> (TempDir, User) {
    let folder = TempDir::in_memory();
    fs::create_dir(folder.join("store")).unwrap();
    let path = folder.join("store/events.db");
    let mut user = User::open(options, &path).await.unwrap();
    for _ in 0..200 {
        user.publish().await.unwrap();
    }
    change(&path);
    (folder, user)
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Uses the store: each answer is right, or an error that names the file. A hub that cannot read where its
/// log ends asks again until its limit, and then says only that the log does not respond.
async fn use_it(user: &mut User) {
    let before = user.fates.clone();
    for _ in 0..20 {
        if let Err(error) = user.publish().await {
            let text = chain(&error);
            let is_named = text.contains("events.db") || text.contains("does not respond");
            assert!(is_named, "{text}");
            break;
        }
    }
    // A hub of its own has nothing in its memory.
    let hub = Hub::over(user.log.clone());
    let mut events = hub.subscribe_all(["news/*"]).earliest().events_after(None);
    for fate in before.values() {
        let Fate::Stored(position) = fate else {
            continue;
        };
        match timeout(LIMIT, events.next()).await.unwrap() {
            Some(Ok(next)) => assert_eq!(next.event.id, Some(position.into())),
            Some(Err(_)) | None => break,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_file_was_deleted_gives_no_wrong_answer() {
    let options = StoreLog::options();
    let (_folder, mut user) = change(options, |path| fs::remove_file(path).unwrap()).await;
    use_it(&mut user).await;
    let path = user.log.path().to_owned();
    timeout(LIMIT, user.log.close()).await.unwrap().ok();
    // The file is gone. What the name leads to now is no store, or another one.
    if let Ok(log) = StoreLog::open(&path) {
        assert_ne!(log.bounds().await.unwrap().epoch, user.epoch);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_write_ahead_log_was_deleted_gives_no_wrong_answer() {
    let options = StoreLog::options();
    let (_folder, mut user) = change(options, |path| {
        fs::remove_file(beside(path, "-wal")).unwrap()
    })
    .await;
    use_it(&mut user).await;
    let path = user.log.path().to_owned();
    timeout(LIMIT, user.log.close()).await.unwrap().ok();
    match User::open(options, &path).await {
        // Everything was moved into the database, as SQLite had the file open.
        Ok(opened) if opened.epoch == user.epoch => {
            (user.log, user.hub) = (opened.log, opened.hub);
            user.resolve().await;
            user.verify().await;
        }
        Ok(_) => {}
        Err(error) => assert!(!chain(&error).is_empty()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_directory_was_moved_goes_on_or_fails() {
    let options = StoreLog::options();
    let (folder, mut user) = change(options, |path| {
        let folder = path.parent().unwrap();
        fs::rename(folder, folder.with_file_name("moved")).unwrap();
        fs::create_dir(folder).unwrap();
    })
    .await;
    use_it(&mut user).await;
    timeout(LIMIT, user.log.close()).await.unwrap().ok();
    let opened = User::open(options, &folder.join("moved/events.db"))
        .await
        .unwrap();
    (user.log, user.hub) = (opened.log, opened.hub);
    assert_eq!(opened.epoch, user.epoch);
    user.resolve().await;
    user.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_overwritten_in_the_middle_gives_no_wrong_answer() {
    let retention = Retention::durable().max_events(Some(150));
    let options = StoreLog::options().retention(retention).index_batch(32);
    let folder = TempDir::in_memory();
    let path = folder.join("events.db");
    let mut user = User::open(options, &path).await.unwrap();
    for _ in 0..200 {
        user.publish().await.unwrap();
    }
    // All is in the database, and nothing in the memory of a connection.
    user.reopen(options).await;
    let length = fs::metadata(&path).unwrap().len();
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    for page in (2..length / 4096).step_by(3) {
        file.seek(SeekFrom::Start(page * 4096 + 2_000)).unwrap();
        file.write_all(&[0x5A; 64]).unwrap();
    }
    drop(file);
    let checked = user.log.check();
    assert!(checked.is_ok_and(|checked| !checked.is_sound()));
    // It may need a page that cannot be read.
    user.publish().await.ok();
    let hub = Hub::over(user.log.clone());
    let floor = user.log.bounds().await.unwrap().floor.seq;
    let mut events = hub.subscribe_all(["news/*"]).last(1_000).events_after(None);
    let mut received = floor;
    while let Ok(Some(Ok(next))) = timeout(LIMIT / 10, events.next()).await {
        received += 1;
        let position = user.fates.values().find_map(|fate| match fate {
            Fate::Stored(position) if position.seq == received => Some(position),
            _ => None,
        });
        assert_eq!(next.event.id, position.map(Into::into));
    }
    assert!(received < 200, "the damage was not seen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_cut_gives_no_wrong_answer() {
    let folder = TempDir::in_memory();
    let path = folder.join("events.db");
    let mut user = User::open(StoreLog::options(), &path).await.unwrap();
    for _ in 0..200 {
        user.publish().await.unwrap();
    }
    user.reopen(StoreLog::options()).await;
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(3 * 4096)
        .unwrap();
    use_it(&mut user).await;
    timeout(LIMIT, user.log.close()).await.unwrap().ok();
    match StoreLog::open(&path) {
        Ok(log) => assert!(!log.check().unwrap().is_sound()),
        Err(error) => {
            assert!(
                matches!(error.kind(), StoreErrorKind::Damaged { .. }),
                "{}",
                chain(&error)
            );
        }
    }
}
