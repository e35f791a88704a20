//! When a store takes a new epoch.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use tidings_hub::{ChannelName, Draft, Log};
use tidings_proto::Epoch;
use tidings_store::{Durability, StoreLog};
use tidings_testkit::temp_dir::TempDir;

const INTERVAL: Durability = Durability::Interval(Duration::from_secs(3_600));

fn open(path: &Path, durability: Durability) -> StoreLog {
    StoreLog::options()
        .durability(durability)
        .open(path)
        .unwrap()
}

async fn append(log: &StoreLog) -> u64 {
    let draft = Draft::event(ChannelName::from_static("a"), "data: x\n\n");
    log.append(draft).await.unwrap().seq
}

async fn epoch(log: &StoreLog) -> (Epoch, u64) {
    let bounds = log.bounds().await.unwrap();
    (bounds.epoch, bounds.last.seq)
}

/// Copies the files of a store in use as a kill of the process leaves them.
fn kill(dir: &Path, copy: &TempDir) {
    copy.copy_from(dir, &["events.db", "events.db-wal"]);
}

#[tokio::test]
async fn only_an_unclean_stop_without_durability_takes_a_new_epoch() {
    for durability in [Durability::EveryCommit, INTERVAL, Durability::Buffered] {
        let (dir, copy) = (TempDir::in_memory(), TempDir::in_memory());
        let path = dir.join("events.db");
        let log = open(&path, durability);
        assert_eq!(append(&log).await, 1);
        log.close().await.unwrap();
        let (first, _) = epoch(&open(&path, Durability::EveryCommit)).await;

        let log = open(&path, durability);
        assert_eq!(epoch(&log).await, (first.clone(), 1));
        assert_eq!(append(&log).await, 2);
        kill(&dir, &copy);
        drop(log);
        assert_eq!(epoch(&open(&path, durability)).await, (first.clone(), 2));

        // Whatever the durability is now, that of the process that was killed counts.
        for next in [Durability::EveryCommit, Durability::Buffered] {
            let again = TempDir::in_memory();
            kill(&copy, &again);
            let path = again.join("events.db");
            let killed = open(&path, next);
            let (second, last) = epoch(&killed).await;
            assert_eq!(last, 2);
            assert_eq!(second == first, durability == Durability::EveryCommit);
            drop(killed);
            // Only once.
            assert_eq!(epoch(&open(&path, next)).await, (second, 2));
        }
    }
}

#[tokio::test]
async fn a_restored_backup_takes_a_new_epoch_once() {
    let dir = TempDir::in_memory();
    let log = open(&dir.join("events.db"), Durability::EveryCommit);
    append(&log).await;
    let (first, _) = epoch(&log).await;
    let copy = dir.join("copy.db");
    let backup = log.backup(&copy).unwrap();
    assert_eq!((&backup.newest.epoch, backup.newest.seq), (&first, 1));
    // A check and an export do not open it as a log.
    assert!(tidings_store::check(&copy).unwrap().is_sound());
    tidings_store::export(&copy, Vec::new()).unwrap();
    let (second, last) = epoch(&open(&copy, Durability::EveryCommit)).await;
    assert_ne!(second, first);
    assert_eq!(last, 1);
    assert_eq!(
        epoch(&open(&copy, Durability::EveryCommit)).await,
        (second, 1)
    );
    assert_eq!(epoch(&log).await, (first, 1));
}

#[tokio::test]
async fn an_open_that_fails_half_way_takes_no_new_epoch() {
    let dir = TempDir::in_memory();
    let path = dir.join("events.db");
    let log = open(&path, INTERVAL);
    append(&log).await;
    let first = epoch(&log).await;
    log.close().await.unwrap();
    let change = |sql| Connection::open(&path).unwrap().execute(sql, []).unwrap();
    // The keys are read last.
    change("INSERT INTO keys VALUES(1, zeroblob(20), 9223372036854775807)");
    crate::refused(&path);
    let refused = StoreLog::options().durability(INTERVAL).open(&path);
    assert!(refused.is_err());
    change("DELETE FROM keys");
    assert_eq!(epoch(&open(&path, INTERVAL)).await, first);
}

#[tokio::test]
async fn what_a_crash_has_left_is_synchronized_although_another_program_reads() {
    let (dir, copy) = (TempDir::in_memory(), TempDir::in_memory());
    let log = open(&dir.join("events.db"), Durability::EveryCommit);
    append(&log).await;
    kill(&dir, &copy);
    let path = copy.join("events.db");
    let reader = Connection::open(&path).unwrap();
    let syncs = || {
        let select = "SELECT syncs FROM state";
        reader.query_row(select, [], |row| row.get::<_, i64>(0))
    };
    reader.execute_batch("BEGIN").unwrap();
    assert_eq!(syncs().unwrap(), 0);
    let opened = open(&path, Durability::EveryCommit);
    assert_eq!(epoch(&opened).await, epoch(&log).await);
    assert_eq!(append(&opened).await, 2);
    // The end of the transaction shows what the open has written.
    assert_eq!(syncs().unwrap(), 0);
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(syncs().unwrap(), 1);
}

/// Otherwise the next commits would replace only a part of it, and the rest would look like damage.
#[tokio::test]
async fn what_a_crash_has_cut_off_is_removed_although_another_program_reads() {
    let (dir, copy) = (TempDir::in_memory(), TempDir::in_memory());
    let log = open(&dir.join("events.db"), Durability::EveryCommit);
    append(&log).await;
    let wal = copy.join("events.db-wal");
    kill(&dir, &copy);
    let end = fs::metadata(&wal).unwrap().len();
    let large = Draft::event(ChannelName::from_static("a"), vec![b'x'; 100_000]);
    log.append(large).await.unwrap();
    kill(&dir, &copy);
    // The disk had written the end of the last commit before its beginning.
    let mut torn = fs::read(&wal).unwrap();
    torn[usize::try_from(end).unwrap() + 100] ^= 1;
    fs::write(&wal, torn).unwrap();

    let path = copy.join("events.db");
    let reader = Connection::open(&path).unwrap();
    let entries = || {
        let select = "SELECT count(*) FROM entries";
        reader.query_row(select, [], |row| row.get::<_, i64>(0))
    };
    reader.execute_batch("BEGIN").unwrap();
    assert_eq!(entries().unwrap(), 1);
    let opened = open(&path, Durability::EveryCommit);
    assert_eq!(append(&opened).await, 2);
    assert!(fs::metadata(&wal).unwrap().len() < end + 50_000);
    assert_eq!(entries().unwrap(), 1);
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(entries().unwrap(), 2);
}
