//! The close of a store while its operator reads it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use futures_util::FutureExt;
use tidings_hub::{ChannelName, Draft, Log};
use tidings_store::{StoreErrorKind, StoreLog, export};
use tidings_testkit::temp_dir::TempDir;
use tokio::sync::oneshot;

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
