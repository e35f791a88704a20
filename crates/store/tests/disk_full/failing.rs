//! Disks that fail in any way, again and again.

use fastrand::Rng;
use tidings_hub::Retention;
use tidings_store::StoreLog;
use tidings_testkit::error_chain::chain;
use tidings_testkit::property::{seed, steps};

use crate::disk::{Disk, Fault};
use crate::user::{Fate, User, is_refused};

async fn failing(disk: Disk, fault: Fault) {
    let options = StoreLog::options();
    let mut user = User::open(options, &disk.path("events.db")).await.unwrap();
    for round in 0..3 {
        for _ in 0..20 {
            user.publish().await.unwrap();
        }
        disk.break_by(fault);
        let error = user.publish_until_it_fails().await;
        assert!(!chain(&error).is_empty());
        user.expect_all().await;
        disk.repair();
        user.publish()
            .await
            .unwrap_or_else(|error| panic!("round {round}: {}", chain(&error)));
        user.resolve().await;
    }
    user.verify().await;
    user.reopen(options).await;
    user.verify().await;
}

#[test]
fn a_store_goes_on_after_failed_writes() {
    let name = "failing::a_store_goes_on_after_failed_writes";
    Disk::run(name, |disk| failing(disk, Fault::Writes));
}

#[test]
fn a_store_goes_on_after_failed_synchronization() {
    let name = "failing::a_store_goes_on_after_failed_synchronization";
    Disk::run(name, |disk| failing(disk, Fault::Syncs));
}

#[test]
fn a_disk_that_fails_now_and_then_loses_nothing() {
    let name = "failing::a_disk_that_fails_now_and_then_loses_nothing";
    Disk::run(name, async |disk: Disk| {
        let mut rng = Rng::with_seed(seed());
        let retention = Retention::durable().max_events(Some(rng.u64(10..100)));
        let options = StoreLog::options()
            .retention(retention)
            .index_batch(rng.usize(1..40));
        let mut user = User::open(options, &disk.path("events.db")).await.unwrap();
        for _ in 0..steps(60) {
            match rng.u8(..8) {
                0..3 => disk.break_by(*rng.choice(&Fault::ALL).unwrap()),
                3..6 => disk.repair(),
                6 => {
                    disk.repair();
                    user.go_on(options).await;
                    user.resolve().await;
                    user.reopen(options).await;
                }
                _ => user.log.trim(rng.u64(..200)).await.unwrap_or_default(),
            }
            for _ in 0..rng.usize(..12) {
                let published = user.publish().await;
                if let Err(error) = published
                    && !is_refused(&error)
                {
                    // It takes seconds until the hub gives up.
                    break;
                }
            }
        }
        disk.repair();
        user.go_on(options).await;
        user.resolve().await;
        user.verify().await;
        let stored = user
            .fates
            .values()
            .filter(|fate| matches!(fate, Fate::Stored(_)));
        let (stored, all) = (stored.count(), user.fates.len());
        eprintln!("{stored} of {all} events were stored");
        assert!(0 < stored && stored < all);
        user.reopen(options).await;
        user.verify().await;
    });
}
