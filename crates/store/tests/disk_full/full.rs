//! A disk without room: at the creation of a store, while it is opened, used and copied.

use std::fs;

use tidings_hub::Retention;
use tidings_store::{StoreErrorKind, StoreLog};
use tidings_testkit::error_chain::chain;
use tidings_testkit::temp_dir::TempDir;
use tidings_testkit::timeout::timeout;

use crate::disk::{Disk, Fault};
use crate::user::{Fate, LIMIT, User, is_refused};

async fn a_full_disk(disk: Disk, fault: Fault) {
    let options = StoreLog::options();
    let mut user = User::open(options, &disk.path("events.db")).await.unwrap();
    let mut live = user.hub.subscribe_all(["news/*"]).resume_after(None);
    for _ in 0..50 {
        user.publish().await.unwrap();
    }
    for _ in 0..3 {
        disk.break_by(fault);
        for _ in 0..10 {
            let error = user.publish_until_it_fails().await;
            assert!(is_refused(&error), "{}", chain(&error));
            assert!(
                chain(&error).contains("no room left on the disk"),
                "{}",
                chain(&error)
            );
        }
        user.expect_all().await;
        assert_eq!(user.hub.channels(None, 10).await.unwrap().len(), 5);
        disk.repair();
        for _ in 0..20 {
            user.publish().await.unwrap();
        }
    }
    let stored = user
        .fates
        .values()
        .filter(|fate| matches!(fate, Fate::Stored(_)));
    let mut delivered = 0;
    for _ in 0..stored.count() {
        if delivered == 0 {
            delivered = timeout(LIMIT, live.next())
                .await
                .unwrap()
                .unwrap()
                .unwrap()
                .to_events()
                .len();
        }
        delivered -= 1;
    }
    user.expect_all().await;
    user.verify().await;
    user.reopen(options).await;
    user.verify().await;
}

#[test]
fn a_full_disk_refuses_publishers_and_serves_readers() {
    let name = "full::a_full_disk_refuses_publishers_and_serves_readers";
    Disk::run(name, |disk| a_full_disk(disk, Fault::Full));
}

#[test]
fn a_disk_without_any_room_refuses_publishers_and_serves_readers() {
    let name = "full::a_disk_without_any_room_refuses_publishers_and_serves_readers";
    Disk::run(name, |disk| a_full_disk(disk, Fault::FullForAll));
}

#[test]
fn a_store_is_created_only_where_there_is_room() {
    let name = "full::a_store_is_created_only_where_there_is_room";
    Disk::run(name, async |disk: Disk| {
        let path = disk.path("events.db");
        for fault in [Fault::Full, Fault::FullForAll] {
            disk.break_by(fault);
            let error = StoreLog::open(&path).unwrap_err();
            assert_eq!(*error.kind(), StoreErrorKind::Full, "{}", chain(&error));
            assert!(!path.exists());
        }
        disk.repair();
        let mut user = User::open(StoreLog::options(), &path).await.unwrap();
        user.publish().await.unwrap();
        user.verify().await;
    });
}

#[test]
fn a_store_on_a_full_disk_opens_or_fails_clearly_and_loses_nothing() {
    let name = "full::a_store_on_a_full_disk_opens_or_fails_clearly_and_loses_nothing";
    Disk::run(name, async |disk: Disk| {
        let retention = Retention::durable().max_events(Some(60));
        let options = StoreLog::options().index_batch(16).retention(retention);
        let path = disk.path("events.db");
        let mut user = User::open(options, &path).await.unwrap();
        for _ in 0..100 {
            user.publish().await.unwrap();
        }
        let copy = TempDir::new();
        copy.copy_from(disk.folder(), &["events.db", "events.db-wal"]);
        let crashed = copy.join("events.db");
        user.log.close().await.unwrap();
        for path in [path, crashed] {
            for fault in [Fault::Full, Fault::FullForAll] {
                disk.break_by(fault);
                match User::open(options, &path).await {
                    Ok(opened) => {
                        assert_eq!(opened.epoch, user.epoch);
                        (user.log, user.hub) = (opened.log, opened.hub);
                        let error = user.publish_until_it_fails().await;
                        assert!(is_refused(&error), "{}", chain(&error));
                    }
                    Err(error) => {
                        assert_eq!(*error.kind(), StoreErrorKind::Full, "{}", chain(&error));
                        disk.repair();
                        let opened = User::open(options, &path).await.unwrap();
                        (user.log, user.hub) = (opened.log, opened.hub);
                    }
                }
                disk.repair();
                user.verify().await;
                user.log.close().await.unwrap();
                user.fates.retain(|_, fate| *fate != Fate::Refused);
            }
        }
    });
}

#[test]
fn a_store_on_a_full_disk_can_be_closed_or_dropped() {
    let name = "full::a_store_on_a_full_disk_can_be_closed_or_dropped";
    Disk::run(name, async |disk: Disk| {
        for fault in [Fault::Full, Fault::FullForAll] {
            let path = disk.path(&format!("{fault:?}.db"));
            let options = StoreLog::options();
            let mut user = User::open(options, &path).await.unwrap();
            for _ in 0..50 {
                user.publish().await.unwrap();
            }
            disk.break_by(fault);
            let closed = timeout(LIMIT, user.log.close()).await.unwrap();
            if let Err(error) = closed {
                assert_eq!(*error.kind(), StoreErrorKind::Full, "{}", chain(&error));
            }
            disk.repair();
            let opened = User::open(options, &path).await.unwrap();
            assert_eq!(opened.epoch, user.epoch);
            (user.log, user.hub) = (opened.log, opened.hub);
            user.verify().await;
        }
    });
}

#[test]
fn a_backup_on_a_full_disk_fails_and_leaves_nothing() {
    let name = "full::a_backup_on_a_full_disk_fails_and_leaves_nothing";
    Disk::run(name, async |disk: Disk| {
        let options = StoreLog::options();
        let mut user = User::open(options, &disk.path("events.db")).await.unwrap();
        for _ in 0..50 {
            user.publish().await.unwrap();
        }
        let to = disk.path("backup.db");
        for fault in [Fault::Full, Fault::FullForAll] {
            disk.break_by(fault);
            let error = user.log.backup(&to).unwrap_err();
            assert_eq!(*error.kind(), StoreErrorKind::Full, "{}", chain(&error));
            let names = fs::read_dir(to.parent().unwrap()).unwrap();
            let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let is_left = |name: &String| name.starts_with("backup") && !name.ends_with(".lock");
            assert_eq!(names.filter(is_left).count(), 0);
            disk.repair();
            user.publish().await.unwrap();
        }
        user.log.backup(&to).unwrap();
        user.verify().await;
        let copy = StoreLog::open(&to).unwrap();
        assert!(copy.check().unwrap().is_sound());
    });
}
