//! A disk that fails a few commits and then works: nothing of that stops the store later.

use std::fs;
use std::time::Duration;

use tidings_hub::{ChannelName, Draft, Log, LogErrorKind, Retention};
use tidings_store::{Durability, StoreErrorKind, StoreLog};
use tidings_testkit::error_chain::chain;
use tidings_testkit::temp_dir::TempDir;
use tidings_testkit::timeout::timeout;

use crate::disk::{Disk, Fault};
use crate::user::{LIMIT, User, is_refused};

#[test]
fn one_failed_synchronization_stops_no_later_checkpoint() {
    let name = "one_failure::one_failed_synchronization_stops_no_later_checkpoint";
    Disk::run(name, async |disk: Disk| {
        let options = StoreLog::options().checkpoint_pages(20);
        let mut user = User::open(options, &disk.path("events.db")).await.unwrap();
        for round in 0..3 {
            // Enough for some checkpoints.
            for _ in 0..60 {
                let published = user.publish().await;
                published.unwrap_or_else(|error| panic!("round {round}: {}", chain(&error)));
            }
            disk.break_by(Fault::WalSync);
            user.publish_until_it_fails().await;
            user.resolve().await;
        }
        for _ in 0..60 {
            user.publish().await.unwrap();
        }
        user.verify().await;
        user.reopen(options).await;
        user.verify().await;
    });
}

#[test]
fn failed_commits_of_shrinking_size_are_no_damage() {
    let name = "one_failure::failed_commits_of_shrinking_size_are_no_damage";
    Disk::run(name, async |disk: Disk| {
        let log = StoreLog::open(disk.path("events.db")).unwrap();
        let append = |body: usize| {
            let name = ChannelName::from_static("a");
            timeout(LIMIT, log.append(Draft::event(name, vec![b'x'; body])))
        };
        let name = ChannelName::from_static("a");
        let first = Draft::event(name, "data: x\n\n").key("k");
        for body in [200_000, 100_000, 50_000, 10_000] {
            // A repeat waits until the store has opened its file again.
            let repeat = timeout(LIMIT, log.append(first.clone())).await;
            assert_eq!(repeat.unwrap().unwrap().seq, 1);
            disk.break_by(Fault::WalSync);
            let error = append(body).await.unwrap().unwrap_err();
            assert_eq!(error.kind(), LogErrorKind::Lost);
            assert_eq!(log.bounds().await.unwrap().last.seq, 1);
        }
        let copy = TempDir::new();
        copy.copy_from(disk.folder(), &["events.db", "events.db-wal"]);
        let opened = StoreLog::open(copy.join("events.db"));
        let opened = opened.unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert!(opened.check().unwrap().is_sound());
        append(100).await.unwrap().unwrap();
        timeout(LIMIT, log.close()).await.unwrap().unwrap();
    });
}

#[test]
fn a_failed_synchronization_at_the_open_leaves_the_write_ahead_log_for_the_next_one() {
    let name = "one_failure::a_failed_synchronization_at_the_open_leaves_the_write_ahead_log_for_the_next_one";
    Disk::run(name, async |disk: Disk| {
        let mut user = User::open(StoreLog::options(), &disk.path("events.db"))
            .await
            .unwrap();
        for _ in 0..20 {
            user.publish().await.unwrap();
        }
        let copy = TempDir::new();
        copy.copy_from(disk.folder(), &["events.db", "events.db-wal"]);
        user.log.close().await.unwrap();
        let (path, wal) = (copy.join("events.db"), copy.join("events.db-wal"));
        for fault in [Fault::Syncs, Fault::WalSync] {
            disk.break_by(fault);
            let before = fs::read(&wal).unwrap();
            let error = StoreLog::open(&path).unwrap_err();
            assert_eq!(*error.kind(), StoreErrorKind::Io, "{}", chain(&error));
            assert!(fs::read(&wal).unwrap() == before, "{fault:?}");
            disk.repair();
        }
        let opened = User::open(StoreLog::options(), &path).await.unwrap();
        (user.log, user.hub) = (opened.log, opened.hub);
        assert_eq!(opened.epoch, user.epoch);
        user.verify().await;
    });
}

#[test]
fn a_close_that_loses_acknowledged_events_leaves_the_write_ahead_log_for_the_next_open() {
    let name = "one_failure::a_close_that_loses_acknowledged_events_leaves_the_write_ahead_log_for_the_next_open";
    Disk::run(name, async |disk: Disk| {
        for durability in [
            Durability::Interval(Duration::from_secs(3_600)),
            Durability::Buffered,
        ] {
            let path = disk.path(&format!("{durability:?}.db"));
            let options = StoreLog::options().durability(durability);
            let mut user = User::open(options, &path).await.unwrap();
            for _ in 0..20 {
                user.publish().await.unwrap();
            }
            disk.break_by(Fault::WalSync);
            let closed = timeout(LIMIT, user.log.close()).await.unwrap();
            assert_eq!(*closed.unwrap_err().kind(), StoreErrorKind::Io);
            let mut wal = path.clone().into_os_string();
            wal.push("-wal");
            assert!(fs::metadata(wal).unwrap().len() > 20 * 4_096);
            // The system still has all of it in its memory, also that the store was closed.
            let opened = User::open(options, &path).await.unwrap();
            (user.log, user.hub) = (opened.log, opened.hub);
            assert_eq!(opened.epoch, user.epoch);
            user.verify().await;
        }
    });
}

#[test]
fn pages_that_cannot_be_read_refuse_few_appends() {
    let name = "one_failure::pages_that_cannot_be_read_refuse_few_appends";
    Disk::run(name, async |disk: Disk| {
        let retention = Retention::durable().max_events(Some(300));
        let options = StoreLog::options().retention(retention);
        let mut user = User::open(options, &disk.path("events.db")).await.unwrap();
        for _ in 0..300 {
            user.publish().await.unwrap();
        }
        user.reopen(options).await;
        // Now the writer has in its memory what appends need, but not the oldest entries.
        for _ in 0..5 {
            user.publish().await.unwrap();
        }
        disk.break_by(Fault::Reads);
        let mut refused = 0;
        for _ in 0..200 {
            if let Err(error) = user.publish().await {
                assert!(is_refused(&error), "{}", chain(&error));
                refused += 1;
            }
        }
        assert!((1..5).contains(&refused), "{refused} of 200");
        disk.repair();
        user.verify().await;
    });
}
