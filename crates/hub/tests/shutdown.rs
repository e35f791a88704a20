//! The drain of a hub, and the last words of producers, whatever publishers, logs and runtimes do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tidings_hub::{
    Appended, Bounds, Draft, EntryKind, Event, Feed, Hub, Log, LogError, LogFuture, MemoryLog,
    PublishErrorKind, SubscriptionStream,
};
use tidings_testkit::interpose::{Interpose, Interposed};
use tidings_testkit::traces::TraceText;
use tokio::time::{Instant, sleep};

/// The answers of the log to appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Appends {
    /// It stores them, and answers when it is polled again after 1 s.
    Slowly,
    /// It does nothing, and never answers.
    Never,
    /// It refuses each draft with a key.
    WithoutKeys,
    /// It fails each event, and stores ends.
    OnlyEnds,
}

#[derive(Clone)]
struct OddLog {
    inner: MemoryLog,
    appends: Appends,
    attempts: Arc<AtomicUsize>,
    /// Whether it leaves questions about its entries unanswered.
    is_silent: Arc<AtomicBool>,
}

impl OddLog {
    fn new(appends: Appends) -> Interposed<Self> {
        Interposed(Self {
            inner: MemoryLog::default(),
            appends,
            attempts: Arc::default(),
            is_silent: Arc::default(),
        })
    }
}

impl Interpose for OddLog {
    fn inner(&self) -> &dyn Log {
        &self.inner
    }

    fn bounds(&self) -> LogFuture<'_, Bounds> {
        if self.is_silent.load(Ordering::SeqCst) {
            return Box::pin(pending());
        }
        self.inner.bounds()
    }

    fn append(&self, draft: Draft) -> LogFuture<'_, Appended> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        match self.appends {
            Appends::Slowly => {
                let appended = self.inner.append(draft);
                Box::pin(async move {
                    sleep(Duration::from_secs(1)).await;
                    appended.await
                })
            }
            Appends::Never => Box::pin(pending()),
            Appends::WithoutKeys if draft.key.is_some() => {
                Box::pin(async { Err(LogError::refused("no keys")) })
            }
            Appends::OnlyEnds if draft.kind == EntryKind::Event => {
                Box::pin(async { Err(LogError::lost("no events")) })
            }
            Appends::WithoutKeys | Appends::OnlyEnds => self.inner.append(draft),
        }
    }
}

fn event(text: &str) -> Event {
    Event::new(text)
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

async fn rest(mut stream: SubscriptionStream) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(events) = stream.next().await {
        let events = events.unwrap().to_events();
        texts.extend(events.iter().map(|event| event.text().to_owned()));
    }
    texts
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_publishers_that_are_kept_and_not_polled() {
    let hub = Hub::in_memory();
    let mut reader = hub.subscribe("a");
    poll_fn(|cx| reader.poll_open(cx)).await.unwrap();
    let reader = reader.resume_after(None);
    let mut published = pin!(hub.publish("a", event("kept")));
    assert!(poll_once(published.as_mut()).is_pending());
    let b = hub.channel("b").unwrap();
    let mut ended = pin!(b.end());
    assert!(poll_once(ended.as_mut()).is_pending());
    let finished = hub.channel("c").unwrap().producer(event("last")).unwrap();
    let mut finished = pin!(finished.finish());
    assert!(poll_once(finished.as_mut()).is_pending());
    let kept = hub.channel("d").unwrap().producer(event("last")).unwrap();
    let start = Instant::now();
    hub.drain().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(rest(reader).await, ["kept"]);
    published.await.unwrap();
    ended.await.unwrap();
    finished.await.unwrap();
    drop(kept);
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_unstored_publications_until_the_limit_of_the_log() {
    let limit = Duration::from_secs(3);
    for (appends, takes) in [
        // The publisher is polled by its task.
        (Appends::Slowly, Duration::from_secs(1)),
        (Appends::Never, limit),
    ] {
        let hub = Hub::builder().log_timeout(limit).over(OddLog::new(appends));
        let publisher = tokio::spawn(hub.publish("a", event("x")));
        tokio::task::yield_now().await;
        let start = Instant::now();
        hub.drain().await;
        assert_eq!(start.elapsed().as_secs(), takes.as_secs(), "{appends:?}");
        let published = publisher.await.unwrap().map_err(|error| error.kind());
        let expected = match appends {
            Appends::Never => Some(PublishErrorKind::Unconfirmed),
            _ => None,
        };
        assert_eq!(published.err(), expected);
    }
    // Nobody polls it again, so it is never stored.
    let hub = Hub::builder()
        .log_timeout(limit)
        .over(OddLog::new(Appends::Slowly));
    let mut published = pin!(hub.publish("a", event("x")));
    assert!(poll_once(published.as_mut()).is_pending());
    let start = Instant::now();
    hub.drain().await;
    assert_eq!(start.elapsed().as_secs(), limit.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_begins_to_append_after_the_drain_is_refused() {
    let log = OddLog::new(Appends::WithoutKeys);
    log.is_silent.store(true, Ordering::SeqCst);
    let hub = Hub::over(log.clone());
    let mut published = pin!(hub.publish("a", event("x")));
    assert!(poll_once(published.as_mut()).is_pending());
    hub.drain().await;
    log.is_silent.store(false, Ordering::SeqCst);
    // The hub reaches its log, while the publisher is not polled.
    sleep(Duration::from_secs(60)).await;
    let error = published.await.unwrap_err();
    assert_eq!(error.kind(), PublishErrorKind::Draining);
    assert_eq!(log.attempts.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn last_words_that_fail_do_not_prevent_the_end() {
    for (appends, expected) in [
        (Appends::OnlyEnds, &[][..]),
        (Appends::WithoutKeys, &["last"]),
    ] {
        let hub = Hub::over(OddLog::new(appends));
        let channel = hub.channel("a").unwrap();
        let reader = channel.subscribe().resume_after(None);
        drop(channel.producer(event("last")).unwrap());
        let start = Instant::now();
        assert_eq!(rest(reader).await, expected, "{appends:?}");
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test(start_paused = true)]
async fn last_words_for_a_silent_log_stop_at_its_limit() {
    let log = OddLog::new(Appends::Never);
    let hub = Hub::over(log.clone());
    let channel = hub.channel("a").unwrap();
    drop(channel.producer(event("last")).unwrap());
    let start = Instant::now();
    hub.drain().await;
    assert_eq!(start.elapsed().as_secs(), 10);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(
        log.attempts.load(Ordering::SeqCst),
        2,
        "the words, and the end"
    );
}

#[test]
fn last_words_that_are_lost_with_their_runtime_are_traced() {
    let traces = TraceText::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(traces.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let hub = Hub::in_memory();
            hub.publish("a", event("x")).await.unwrap();
            drop(
                hub.channel("answers/7")
                    .unwrap()
                    .producer(event("last"))
                    .unwrap(),
            );
        });
        assert_eq!(traces.text(), "");
        // The task of the last words has not run.
        drop(runtime);
    });
    let text = traces.text();
    assert!(
        text.contains("ERROR") && text.contains("answers/7"),
        "{text}"
    );
}

#[tokio::test]
#[should_panic(expected = "a `Publish` is not polled again after its result")]
async fn a_publication_is_not_polled_after_its_result() {
    let hub = Hub::in_memory();
    let mut published = pin!(hub.publish("a", event("x")));
    published.as_mut().await.unwrap();
    poll_once(published).is_ready();
}
