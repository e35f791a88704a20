//! The close of a store while its operator reads it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join;
use tidings_hub::{ChannelName, Draft, Log};
use tidings_store::{Exported, StoreError, StoreErrorKind, StoreLog, compact, export};
use tidings_testkit::temp_dir::TempDir;
use tidings_testkit::timeout::timeout;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(30);

/// A target of an export that waits until the store is being closed.
struct Target {
    log: StoreLog,
    path: PathBuf,
    started: Option<oneshot::Sender<()>>,
    is_dropped: Arc<AtomicBool>,
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(started) = self.started.take() {
            started.send(()).unwrap();
            while self.log.bounds().now_or_never().unwrap().is_ok() {
                thread::yield_now();
            }
        }
        let again = self.log.check().unwrap_err();
        assert_eq!(again.kind(), &StoreErrorKind::Closed);
        let error = StoreLog::open(&self.path).unwrap_err();
        let holder = Some(std::process::id());
        assert_eq!(error.kind(), &StoreErrorKind::Locked { holder });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.is_dropped.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_close_waits_for_an_export_in_progress() {
    let dir = TempDir::in_memory();
    let path = dir.join("events.db");
    let log = StoreLog::open(&path).unwrap();
    for _ in 0..200 {
        let name = ChannelName::from_static("a");
        log.append(Draft::event(name, vec![b'x'; 20_000]))
            .await
            .unwrap();
    }
    let (started, is_started) = oneshot::channel();
    let is_dropped = Arc::new(AtomicBool::new(false));
    let target = Target {
        log: log.clone(),
        path: path.clone(),
        started: Some(started),
        is_dropped: Arc::clone(&is_dropped),
    };
    let exporting = {
        let log = log.clone();
        tokio::task::spawn_blocking(move || log.export(target))
    };
    is_started.await.unwrap();
    log.close().await.unwrap();
    assert!(is_dropped.load(Ordering::SeqCst));
    let exported = exporting.await.unwrap().unwrap();
    assert_eq!(exported.entries, 200);
    export(&path, io::sink()).unwrap();
}

/// A target of an export that waits until the test has dropped its sender.
struct Held {
    started: Option<oneshot::Sender<()>>,
    end: mpsc::Receiver<()>,
}

impl Write for Held {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(started) = self.started.take() {
            started.send(()).unwrap();
        }
        self.end.recv().ok();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A store whose close waits for an export, which ends when the sender is dropped.
async fn held(
    dir: &TempDir,
) -> (
    StoreLog,
    mpsc::Sender<()>,
    JoinHandle<Result<Exported, StoreError>>,
) {
    let log = StoreLog::open(dir.join("events.db")).unwrap();
    let draft = Draft::event(ChannelName::from_static("a"), vec![b'x'; 100_000]);
    log.append(draft).await.unwrap();
    let (started, is_started) = oneshot::channel();
    let (release, end) = mpsc::channel();
    let target = Held {
        started: Some(started),
        end,
    };
    let of_export = log.clone();
    let exporting = tokio::task::spawn_blocking(move || of_export.export(target));
    is_started.await.unwrap();
    (log, release, exporting)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_after_one_that_was_dropped_waits_for_the_same_end() {
    let dir = TempDir::in_memory();
    let (log, release, _exporting) = held(&dir).await;
    assert!(log.close().now_or_never().is_none());
    let of_task = log.clone();
    let second = tokio::spawn(async move { of_task.close().await });
    drop(release);
    timeout(LIMIT, second).await.unwrap().unwrap().unwrap();
    // It is reported, and the file is free.
    let closed = timeout(LIMIT, log.close()).await.unwrap().unwrap_err();
    assert_eq!(closed.kind(), &StoreErrorKind::Closed);
    export(log.path(), io::sink()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closes_at_the_same_time_have_one_result() {
    let dir = TempDir::in_memory();
    let (log, release, _exporting) = held(&dir).await;
    let of_task = log.clone();
    let both = tokio::spawn(async move { join(of_task.close(), of_task.close()).await });
    drop(release);
    let (first, second) = timeout(LIMIT, both).await.unwrap().unwrap();
    first.unwrap();
    second.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drop_after_a_close_that_was_dropped_waits_for_the_end() {
    let dir = TempDir::in_memory();
    let (log, release, exporting) = held(&dir).await;
    assert!(log.close().now_or_never().is_none());
    let path = log.path().to_owned();
    drop(release);
    timeout(LIMIT, exporting).await.unwrap().unwrap().unwrap();
    drop(log);
    export(&path, io::sink()).unwrap();
}

#[tokio::test]
async fn a_close_does_not_wait_for_the_reader_of_another_program() {
    let dir = TempDir::in_memory();
    let path = dir.join("events.db");
    let log = StoreLog::open(&path).unwrap();
    let append = |n: u32| {
        let draft = Draft::event(ChannelName::from_static("a"), format!("data: {n}\n\n"));
        let log = log.clone();
        async move { log.append(draft).await.unwrap() }
    };
    append(1).await;
    let reader = rusqlite::Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let count = || {
        reader.query_row("SELECT count(*) FROM entries", [], |row| {
            row.get::<_, u32>(0)
        })
    };
    assert_eq!(count().unwrap(), 1);
    append(2).await;
    // SQLite would wait 5 s for the reader.
    timeout(Duration::from_secs(4), log.close())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(count().unwrap(), 1);
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(count().unwrap(), 2);
    drop(reader);
    let log = StoreLog::open(&path).unwrap();
    assert_eq!(log.bounds().await.unwrap().last.seq, 2);
    assert!(log.check().unwrap().is_sound());
}

#[tokio::test]
async fn a_compaction_beside_the_reader_of_another_program_is_refused() {
    let dir = TempDir::in_memory();
    let path = dir.join("events.db");
    let log = StoreLog::open(&path).unwrap();
    log.append(Draft::event(ChannelName::from_static("a"), "data: 1\n\n"))
        .await
        .unwrap();
    let reader = rusqlite::Connection::open(&path).unwrap();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM entries")
        .unwrap();
    log.close().await.unwrap();
    let error = compact(&path).unwrap_err();
    assert_eq!(error.kind(), &StoreErrorKind::Io);
    reader.execute_batch("COMMIT").unwrap();
    drop(reader);
    compact(&path).unwrap();
    assert!(StoreLog::open(&path).unwrap().check().unwrap().is_sound());
}

#[tokio::test]
async fn a_refused_compaction_writes_nothing() {
    let dir = TempDir::in_memory();
    let path = dir.join("events.db");
    let log = StoreLog::open(&path).unwrap();
    let data = format!("data: {}\n\n", "x".repeat(64 << 10));
    for _ in 0..32 {
        let draft = Draft::event(ChannelName::from_static("a"), data.clone());
        log.append(draft).await.unwrap();
    }
    log.close().await.unwrap();
    // As an export of another process, which began after the close. It reads nothing of the `-wal` file.
    let reader = rusqlite::Connection::open(&path).unwrap();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM entries")
        .unwrap();
    let error = compact(&path).unwrap_err();
    assert_eq!(error.kind(), &StoreErrorKind::Io);
    let wal = dir.join("events.db-wal");
    let written = std::fs::metadata(wal).map_or(0, |metadata| metadata.len());
    assert!(written < 64 << 10, "{written} bytes");
    reader.execute_batch("COMMIT").unwrap();
    drop(reader);
    compact(&path).unwrap();
    assert!(StoreLog::open(&path).unwrap().check().unwrap().is_sound());
}
