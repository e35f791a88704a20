//! Tests of the readers: how questions wait, fail and end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tidings_hub::LogErrorKind;
use tidings_testkit::timeout;

use super::{MAX_READERS, ask};
use crate::index_row::IndexRow;
use crate::questions::tests::TestStore;
use crate::recent_index::RecentIndex;
use crate::shared::Shared;
use crate::state_row::StoreState;

const LIMIT: Duration = Duration::from_secs(60);

async fn within<F: Future>(future: F) -> F::Output {
    timeout::timeout(LIMIT, future).await.unwrap()
}

fn empty() -> (TestStore, Arc<Shared>) {
    let store = TestStore::new();
    let shared = store.share_empty();
    (store, shared)
}

/// Occupies all readers until something is sent.
fn occupy(shared: &Arc<Shared>) -> Vec<mpsc::Sender<()>> {
    let occupied = (0..MAX_READERS).map(|_| {
        let (sender, receiver) = mpsc::channel::<()>();
        let (started, is_started) = mpsc::channel();
        let job = move |_: &rusqlite::Connection| {
            started.send(()).unwrap();
            receiver.recv().unwrap_err();
        };
        shared.readers.push(Box::new(job)).unwrap();
        is_started.recv().unwrap();
        sender
    });
    occupied.collect()
}

#[tokio::test]
async fn a_question_whose_future_is_dropped_is_not_asked() {
    let (_store, shared) = empty();
    let occupied = occupy(&shared);
    let asked = Arc::new(AtomicUsize::new(0));
    for _ in 0..100 {
        let asked = Arc::clone(&asked);
        let question = ask(&shared, move |_| {
            asked.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        assert!(question.now_or_never().is_none());
    }
    drop(occupied);
    within(ask(&shared, |_| Ok(()))).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn many_questions_at_once_are_answered() {
    let (_store, shared) = empty();
    let answers = join_all((0..1_000).map(|n| ask(&shared, move |_| Ok(n))));
    for (n, answer) in within(answers).await.into_iter().enumerate() {
        assert_eq!(answer.unwrap(), n);
    }
    assert!(shared.readers.0.lock().readers <= MAX_READERS);
}

#[test]
fn a_question_is_answered_while_the_runtime_is_blocked() {
    let (_store, shared) = empty();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let (unblock, blocked) = mpsc::channel::<()>();
    runtime.spawn_blocking(move || blocked.recv().unwrap_err());
    runtime.block_on(within(ask(&shared, |_| Ok(())))).unwrap();
    drop(unblock);
}

#[tokio::test]
async fn a_question_that_panics_fails_alone() {
    let (_store, shared) = empty();
    for _ in 0..2 * MAX_READERS {
        let question = ask::<()>(&shared, |_| panic!("on purpose"));
        let error = within(question).await.unwrap_err();
        assert_eq!(error.kind(), LogErrorKind::Lost);
    }
    within(ask(&shared, |_| Ok(()))).await.unwrap();
}

#[tokio::test]
async fn no_snapshot_is_left_open() {
    let (store, shared) = empty();
    store
        .connection
        .execute_batch("PRAGMA journal_mode = WAL")
        .unwrap();
    within(ask(&shared, |_| Ok(()))).await.unwrap();
    within(ask::<()>(&shared, |_| panic!("on purpose")))
        .await
        .unwrap_err();
    let mut state = StoreState::read(&store.connection).unwrap();
    state.syncs += 1;
    state.write(&store.connection).unwrap();
    let truncate = "PRAGMA wal_checkpoint(TRUNCATE)";
    let is_busy: bool = store
        .connection
        .query_row(truncate, [], |row| row.get(0))
        .unwrap();
    assert!(!is_busy);
}

#[tokio::test]
async fn closed_readers_finish_what_they_have_begun_and_nothing_else() {
    let (_store, shared) = empty();
    let (go, wait) = mpsc::channel::<()>();
    let (started, is_started) = mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let running = ask(&shared, move |_| {
        started.send(()).unwrap();
        wait.lock().unwrap().recv().unwrap_err();
        Ok(7)
    });
    let mut running = Box::pin(running);
    assert!(running.as_mut().now_or_never().is_none());
    is_started.recv().unwrap();
    let closing = {
        let shared = Arc::clone(&shared);
        tokio::task::spawn_blocking(move || shared.readers.close())
    };
    drop(go);
    within(closing).await.unwrap();
    assert_eq!(running.await.unwrap(), 7);
    let error = ask(&shared, |_| Ok(())).await.unwrap_err();
    assert_eq!(error.kind(), LogErrorKind::Lost);
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.ends_with("was closed"), "{source}");
}

#[tokio::test]
async fn questions_that_wait_fail_when_the_readers_are_closed() {
    let (_store, shared) = empty();
    let occupied = occupy(&shared);
    let mut waiting = Box::pin(ask(&shared, |_| Ok(())));
    assert!(waiting.as_mut().now_or_never().is_none());
    drop(shared.readers.0.close());
    let error = within(waiting).await.unwrap_err();
    assert!(format!("{error:?}").contains("Closed"), "{error:?}");
    drop(occupied);
}

/// The index in memory moves on during the first looks, as by a writer that is faster than the question.
#[tokio::test]
async fn a_question_whose_snapshot_is_too_old_is_asked_again() {
    let (store, shared) = empty();
    // A question must not keep others from writing.
    store
        .connection
        .execute_batch("PRAGMA journal_mode = WAL")
        .unwrap();
    let state = StoreState::read(&store.connection).unwrap();
    let path = store.path.clone();
    let looks = AtomicUsize::new(0);
    let moving = Arc::clone(&shared);
    let question = ask(&shared, move |snapshot| {
        let look = looks.fetch_add(1, Ordering::Relaxed) as u64 + 1;
        if look < 20 && moving.recent_index.try_write().is_ok() {
            let mut state = state.clone();
            state.indexed = look;
            let connection = rusqlite::Connection::open(&path).unwrap();
            state.write(&connection)?;
            *moving.recent_index.write().unwrap() = RecentIndex::new(look);
        }
        let row = snapshot.recent(|index| index.newest_of(1))?;
        let is_free = moving.recent_index.try_write().is_ok();
        Ok((look, row, is_free))
    });
    let (looks, row, is_free): (u64, Option<IndexRow>, bool) = within(question).await.unwrap();
    assert_eq!((looks, row), (super::MAX_STALE as u64 + 1, None));
    assert!(is_free, "the question holds up the writer");
}

#[tokio::test]
async fn readers_that_cannot_open_the_file_leave_no_thread() {
    let (store, shared) = empty();
    let (sender, receiver) = mpsc::channel::<()>();
    let (started, is_started) = mpsc::channel();
    let job = move |_: &rusqlite::Connection| {
        started.send(()).unwrap();
        receiver.recv().unwrap_err();
    };
    let is_idle = async {
        while shared.readers.0.lock().idle.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    within(is_idle).await;
    shared.readers.push(Box::new(job)).unwrap();
    is_started.recv().unwrap();
    let away = store.path.with_extension("away");
    std::fs::rename(&store.path, &away).unwrap();
    let (mut waiting, mut is_left) = (Vec::new(), true);
    for n in 0..20 {
        let mut question = Box::pin(ask(&shared, move |_| Ok(n)));
        assert!(question.as_mut().now_or_never().is_none());
        waiting.push(question);
        let only_first = async {
            while shared.readers.0.lock().readers > 1 {
                tokio::task::yield_now().await;
            }
        };
        is_left &= timeout::timeout(LIMIT, only_first).await.is_ok();
    }
    let threads = shared.readers.0.lock().threads.len();
    std::fs::rename(&away, &store.path).unwrap();
    assert!(is_left, "the readers did not end");
    assert_eq!(threads, 1);
    drop(sender);
    for (n, answer) in within(join_all(waiting)).await.into_iter().enumerate() {
        assert_eq!(answer.unwrap(), n);
    }
}
