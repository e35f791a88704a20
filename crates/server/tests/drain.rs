//! Draining: each session sends a `retry:` field and ends, and none is missed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use http_body::Body;
use http_body_util::BodyExt;
use tidings_server::{
    Drain, Drained, Event, Heartbeat, SendErrorKind, SessionBody, SessionOptions, SseRequest,
};
use tidings_testkit::timeout::timeout;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

/// A request that carries the drain, as a server passes it on.
fn request(drain: &Drain) -> SseRequest {
    let mut request = http::Request::new(());
    request.extensions_mut().insert(drain.clone());
    SseRequest::new(request.into_parts().0)
}

/// A session that sends one event, and then waits for ever.
fn open(drain: &Drain) -> SessionBody {
    let response = request(drain).open(async |session| {
        session.send(Event::new("hello")).await?;
        std::future::pending().await
    });
    response.into_body()
}

async fn read(body: SessionBody) -> String {
    let body = body.collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// The milliseconds of the `retry:` field that follows this text and ends the stream.
fn retry_after(read: &str, before: &str) -> u64 {
    let millis = read.strip_prefix(before);
    let millis = millis.and_then(|text| text.strip_prefix("retry: ")?.strip_suffix("\n\n"));
    millis
        .unwrap_or_else(|| panic!("{read:?}"))
        .parse()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_session_sends_a_retry_of_its_own_and_ends() {
    let drain = Drain::new();
    let mut reading = JoinSet::new();
    for _ in 0..1000 {
        reading.spawn(read(open(&drain)));
    }
    sleep(SECOND).await;
    assert_eq!(drain.open_sessions(), 1000);
    assert!(!drain.is_started() && drain.cut_off().is_none());
    drain.start();
    let cut_off = Instant::now() + 10 * SECOND;
    assert_eq!(drain.cut_off(), Some(cut_off.into_std()));
    assert_eq!(drain.finished().await, Drained::Clean);
    assert_eq!(drain.open_sessions(), 0);
    let times: BTreeSet<u64> = reading
        .join_all()
        .await
        .iter()
        .map(|read| retry_after(read, "data: hello\n\n"))
        .collect();
    assert!(times.iter().all(|time| (1000..=5000).contains(time)));
    assert!(times.len() > 500, "only {} different times", times.len());
}

#[tokio::test]
async fn the_range_of_retries_is_configurable() {
    let millis = Duration::from_millis;
    for (from, to) in [(0, 0), (7, 7), (10, 12), (9, 3), (u64::MAX, u64::MAX)] {
        let drain = Drain::new().retry(millis(from)..=millis(to));
        let open: Vec<_> = (0..10).map(|_| open(&drain)).collect();
        drain.start();
        for body in open {
            let time = retry_after(&read(body).await, "");
            assert!((from..=to.max(from)).contains(&time), "{time}");
        }
    }
    let drain = Drain::new().retry(Duration::MAX..=Duration::MAX);
    let open = open(&drain);
    drain.start();
    assert_eq!(retry_after(&read(open).await, ""), u64::MAX);
}

#[tokio::test]
async fn requests_after_the_start_are_refused_with_retry_after() {
    for (millis, seconds) in [(0, "0"), (1, "1"), (2000, "2"), (2001, "3")] {
        let time = Duration::from_millis(millis);
        let drain = Drain::new().retry(time..=time);
        drain.start();
        let response = request(&drain).open(async |_| panic!("no session may open"));
        assert_eq!(response.status(), http::StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()["retry-after"], seconds);
        assert_eq!(
            read(response.into_body()).await,
            "the server is shutting down"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_a_session_that_may_finish_and_sends_it_no_retry() {
    let drain = Drain::new();
    let options = SessionOptions::new().may_finish(true);
    let response = request(&drain).options(options).open(async |session| {
        sleep(3 * SECOND).await;
        session.send(Event::new("the end")).await?;
        Ok(())
    });
    let reading = tokio::spawn(read(response.into_body()));
    sleep(SECOND).await;
    let start = Instant::now();
    drain.start();
    assert_eq!(drain.finished().await, Drained::Clean);
    assert_eq!(start.elapsed().as_secs(), 2);
    assert_eq!(reading.await.unwrap(), "data: the end\n\n");
}

#[tokio::test(start_paused = true)]
async fn a_drain_starts_once() {
    let drain = Drain::default().deadline(3 * SECOND);
    let body = open(&drain);
    drain.start();
    let cut_off = drain.cut_off();
    sleep(SECOND).await;
    drain.clone().deadline(100 * SECOND).start();
    assert_eq!(drain.cut_off(), cut_off);
    assert_eq!(read(body).await.matches("retry").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_start_also_works_after_it() {
    let drain = Drain::new();
    let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(drain.started())).collect();
    let mut later = Box::pin(drain.started());
    timeout(SECOND, &mut later).await.unwrap_err();
    let finished = tokio::spawn({
        let drain = drain.clone();
        async move { drain.finished().await }
    });
    sleep(SECOND).await;
    assert!(!finished.is_finished() && waiting.iter().all(|waiting| !waiting.is_finished()));
    drain.start();
    for waiting in waiting {
        timeout(SECOND, waiting).await.unwrap().unwrap();
    }
    timeout(SECOND, later).await.unwrap();
    timeout(SECOND, drain.started()).await.unwrap();
    assert_eq!(
        timeout(SECOND, finished).await.unwrap().unwrap(),
        Drained::Clean
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_read_holds_a_drain_until_its_deadline() {
    let drain = Drain::new().deadline(2 * SECOND);
    let unread = open(&drain);
    drain.start();
    let start = Instant::now();
    assert_eq!(drain.finished().await, Drained::Cut);
    assert_eq!(start.elapsed(), 2 * SECOND);
    drop(unread);
    assert_eq!(drain.finished().await, Drained::Clean);
}

#[tokio::test(start_paused = true)]
async fn sent_events_leave_before_the_retry() {
    let drain = Drain::new().retry(SECOND..=SECOND);
    let body = request(&drain).open(async |session| {
        session.heartbeat(Heartbeat::every(SECOND / 100));
        let mut n = 0;
        loop {
            session.send(Event::new(n.to_string())).await?;
            n += 1;
            if n % 10 == 0 {
                sleep(SECOND / 1000).await;
            }
        }
    });
    let reading = tokio::spawn(read(body.into_body()));
    sleep(SECOND).await;
    drain.start();
    let read = reading.await.unwrap();
    let sent = read.strip_suffix("retry: 1000\n\n").unwrap();
    for (n, event) in sent.split_terminator("\n\n").enumerate() {
        assert_eq!(event, format!("data: {n}"));
    }
}

#[tokio::test]
async fn a_send_after_the_start_fails() {
    let drain = Drain::new();
    let (result, outcome) = tokio::sync::oneshot::channel();
    let response = request(&drain).open({
        let drain = drain.clone();
        async move |session| {
            drain.start();
            result.send(session.send(Event::new("late")).await).unwrap();
            Ok(())
        }
    });
    retry_after(&read(response.into_body()).await, "");
    let error = outcome.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::Closed);
}

#[test]
fn no_session_is_missed_between_start_and_open() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    for _ in 0..200 {
        let drain = Drain::new();
        let barrier = Barrier::new(2);
        let responses: Vec<_> = std::thread::scope(|scope| {
            let opening = scope.spawn(|| {
                barrier.wait();
                let open = || request(&drain).open(async |_| std::future::pending().await);
                (0..50).map(|_| open()).collect()
            });
            barrier.wait();
            drain.start();
            opening.join().unwrap()
        });
        runtime.block_on(async {
            for response in responses {
                let is_open = response.status().is_success();
                let read = timeout(SECOND * 10, read(response.into_body()));
                let read = read.await.expect("missed");
                assert_eq!(read.matches("retry: ").count(), usize::from(is_open));
            }
        });
        assert_eq!(drain.open_sessions(), 0);
    }
}

/// Uses the drain when it is woken. If the drain held its lock then, the test would hang.
struct UsesDrain {
    drain: Drain,
    woken: AtomicUsize,
}

impl Wake for UsesDrain {
    fn wake(self: Arc<Self>) {
        drop(open(&self.drain));
        assert_eq!(self.drain.open_sessions(), 1);
        self.woken.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn no_waker_runs_while_the_lock_is_held() {
    let drain = Drain::new();
    let waking = Arc::new(UsesDrain {
        drain: drain.clone(),
        woken: AtomicUsize::new(0),
    });
    let waker = Waker::from(waking.clone());
    let mut cx = Context::from_waker(&waker);
    let mut body = Box::pin(open(&drain));
    // The turn to write the head, then the event, then nothing.
    while !matches!(body.as_mut().poll_frame(&mut cx), Poll::Ready(Some(_))) {}
    assert!(body.as_mut().poll_frame(&mut cx).is_pending());
    let before = waking.woken.load(Ordering::Relaxed);
    drain.start();
    assert!(waking.woken.load(Ordering::Relaxed) > before);
}

#[tokio::test]
async fn ten_thousand_sessions_end_in_linear_time() {
    let time = |sessions: usize| {
        let drain = Drain::new();
        let bodies: Vec<_> = (0..sessions).map(|_| open(&drain)).collect();
        let start = Instant::now();
        drain.start();
        drop(bodies);
        assert_eq!(drain.open_sessions(), 0);
        start.elapsed()
    };
    time(1000);
    // Quadratic time would be a hundred times as long in each try. One fast try is enough, because other
    // load on the machine slows some tries.
    let tries: Vec<_> = (0..10).map(|_| (time(1000), time(10_000))).collect();
    assert!(
        tries.iter().any(|(few, many)| *many < 50 * *few),
        "{tries:?}"
    );
}
