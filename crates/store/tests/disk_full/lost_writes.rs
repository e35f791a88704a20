//! A disk that loses what was moved into the database, and reports it once for each file that is open.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use tidings_hub::{Log, LogErrorKind};
use tidings_store::{StoreErrorKind, StoreLog};
use tidings_testkit::error_chain::chain;
use tidings_testkit::timeout::timeout;

use crate::disk::{Disk, Fault};
use crate::user::{LIMIT, User};

/// A writer that waits, and so keeps the snapshot of an export.
struct Slow {
    begun: mpsc::Sender<()>,
    end: mpsc::Receiver<()>,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begun.send(()).ok();
        // It waits until the test has dropped the sender.
        self.end.recv().ok();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes the lost writes back: each has its offset, its length, and what was there before.
fn lose(database: &Path, lost: &Path) {
    let lost = fs::read(lost).unwrap();
    let database = File::options().write(true).open(database).unwrap();
    let mut writes = Vec::new();
    let mut rest = &lost[..];
    while let Some((head, tail)) = rest.split_at_checked(16) {
        let number = |at: usize| u64::from_ne_bytes(head[at..at + 8].try_into().unwrap());
        let (before, tail) = tail.split_at(usize::try_from(number(8)).unwrap());
        writes.push((number(0), before));
        rest = tail;
    }
    assert!(!writes.is_empty());
    for (offset, before) in writes.into_iter().rev() {
        database.write_all_at(before, offset).unwrap();
    }
}

/// A checkpoint while an export holds a snapshot stops short. Then it counts what it has moved, before the
/// disk has stored it.
async fn lost_writes(disk: Disk, has_snapshot: bool) {
    let options = StoreLog::options().checkpoint_pages(300);
    let path = disk.path("events.db");
    let mut user = User::open(options, &path).await.unwrap();
    for _ in 0..15 {
        user.publish().await.unwrap();
    }
    let (begun, has_begun) = mpsc::channel();
    let (release, end) = mpsc::channel();
    let log = user.log.clone();
    let export = thread::spawn(move || has_snapshot.then(|| log.export(Slow { begun, end })));
    if has_snapshot {
        has_begun.recv().unwrap();
    }
    disk.break_by(Fault::Lost);
    user.publish_until_it_fails().await;
    let failure = user.log.bounds().await.unwrap_err();
    assert_eq!(failure.kind(), LogErrorKind::Lost);
    let advice = "close the store and open it again";
    assert!(chain(&failure).contains(advice), "{}", chain(&failure));
    let error = user.publish().await.unwrap_err();
    assert!(chain(&error).contains(advice), "{}", chain(&error));
    drop(release);
    export.join().unwrap();
    let closed = timeout(LIMIT, user.log.close()).await.unwrap();
    assert_eq!(*closed.unwrap_err().kind(), StoreErrorKind::Io);
    disk.repair();
    lose(&path, &disk.lost());
    let opened = User::open(options, &path).await.unwrap();
    assert_eq!(opened.epoch, user.epoch);
    (user.log, user.hub) = (opened.log, opened.hub);
    user.resolve().await;
    user.publish().await.unwrap();
    user.verify().await;
}

#[test]
fn a_checkpoint_that_is_not_stored_stops_the_store_and_the_next_open_repeats_it() {
    let name =
        "lost_writes::a_checkpoint_that_is_not_stored_stops_the_store_and_the_next_open_repeats_it";
    Disk::run(name, |disk| lost_writes(disk, false));
}

#[test]
fn a_part_of_a_checkpoint_that_is_not_stored_stops_the_store_and_the_next_open_repeats_it() {
    let name = "lost_writes::a_part_of_a_checkpoint_that_is_not_stored_stops_the_store_and_the_next_open_repeats_it";
    Disk::run(name, |disk| lost_writes(disk, true));
}
