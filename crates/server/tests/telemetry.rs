//! The metrics and traces of sessions, and the secrets that they leave out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "support/counts.rs"]
mod counts;

use std::future::pending;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use tidings_server::{
    Drain, EncodedEvents, Event, EventId, Feed, FeedError, FeedErrorKind, FeedOpened, HandlerError,
    Heartbeat, Limits, Session, SessionBody, SessionOptions, SseRequest,
};
use tidings_testkit::traces::TraceText;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::counts::Counts;

// One subscriber for all tests, because `tracing` caches interest for the whole process. Each test finds
// its lines by the path.
static LOG: LazyLock<TraceText> = LazyLock::new(|| {
    let log = TraceText::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_span_events(FmtSpan::FULL)
        .with_writer(log.clone())
        .init();
    log
});

/// The traced lines that contain this path.
fn traced(path: &str) -> Vec<String> {
    let log = LOG.text();
    let lines = log.lines().filter(|line| line.contains(path));
    lines.map(str::to_owned).collect()
}

fn request(path: &str) -> SseRequest {
    let request = Request::get(format!("http://test{path}?token=qu3ry"))
        .header("authorization", "Bearer t0ken")
        .header("cookie", "c00kie")
        .header("last-event-id", "1d");
    SseRequest::new(request.body(()).unwrap().into_parts().0)
}

fn open<F>(
    path: &str,
    options: SessionOptions,
    handler: impl FnOnce(Session) -> F,
) -> http::Response<SessionBody>
where
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    LazyLock::force(&LOG);
    request(path).options(options).open(handler)
}

/// The metrics of this future, run on paused time.
fn count(future: impl Future<Output = ()>) -> Counts {
    let counts = Counts::default();
    metrics::with_local_recorder(&counts, || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(future);
    });
    counts
}

/// The metrics of one session that a client reads to its end.
fn count_one<F>(path: &str, options: SessionOptions, handler: impl FnOnce(Session) -> F) -> Counts
where
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    count(async {
        drop(open(path, options, handler).into_body().collect().await);
    })
}

fn check_end(reason: &str, counts: &Counts) {
    let counters = counts.counters();
    let closed: Vec<_> = counters
        .iter()
        .filter(|(name, _)| name.contains("closed"))
        .collect();
    let expected = format!("tidings_server_sessions_closed_total reason={reason}");
    assert_eq!(closed, [(&expected, &1)]);
    assert_eq!(counters["tidings_server_sessions_opened_total"], 1);
    assert!(counts.open_sessions().abs() < f64::EPSILON);
}

#[test]
fn each_end_is_counted_by_its_reason() {
    let options = SessionOptions::new;
    let counts = count_one("/returned", options(), async |_| Ok(()));
    check_end("returned", &counts);
    let counts = count_one("/closed", options(), async |session| {
        session.close();
        pending().await
    });
    check_end("closed", &counts);
    let counts = count_one("/failed", options(), async |_| {
        Err(HandlerError::new("on purpose"))
    });
    check_end("failed", &counts);
    let counts = count_one("/panicked", options(), async |_| panic!("on purpose"));
    check_end("failed", &counts);
    let lifetime = options().max_lifetime(Duration::from_secs(1));
    let counts = count_one("/lifetime", lifetime, async |_| pending().await);
    check_end("lifetime", &counts);
    let drain = Drain::new();
    let drained = options().drain(&drain);
    let counts = count_one("/drained", drained, async move |_| {
        drain.start();
        pending().await
    });
    check_end("drained", &counts);
    let counts = count(async {
        let mut body = open("/gone", options(), async |session| {
            session.send(Event::new("a")).await?;
            pending().await
        })
        .into_body();
        assert!(body.frame().await.unwrap().is_ok());
    });
    check_end("gone", &counts);
    // The first reason counts.
    let counts = count_one("/closed-first", options(), async |session| {
        session.close();
        Err(HandlerError::new("too late"))
    });
    check_end("closed", &counts);
}

#[test]
fn events_bytes_and_frames_are_counted_as_they_leave() {
    let counts = count_one("/sent", SessionOptions::new(), async |session| {
        session.send(Event::new("a")).await?;
        session.comment("no event").await?;
        session.flush().await?;
        session
            .send((0..3).map(|_| Event::new("b")).collect::<EncodedEvents>())
            .await?;
        Ok(())
    });
    let bytes = "data: a\n\n: no event\n\n".len() + 3 * "data: b\n\n".len();
    let expected = [
        ("tidings_server_bytes_total", bytes as u64),
        ("tidings_server_events_total", 4),
        ("tidings_server_frames_total", 2),
        ("tidings_server_sessions_closed_total reason=returned", 1),
        ("tidings_server_sessions_opened_total", 1),
    ];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(counts.counters(), expected.into());
    let most = "data: b\n\n".len() * 3;
    let high_marks = counts.samples("tidings_server_queue_high_mark_bytes");
    assert_eq!(high_marks.len(), 1);
    #[allow(clippy::cast_precision_loss, reason = "small")]
    let expected = most.max("data: a\n\n: no event\n\n".len()) as f64;
    assert!((high_marks[0] - expected).abs() < 0.5, "{high_marks:?}");
}

#[test]
fn a_session_is_open_from_its_head_to_its_end() {
    let counts = Counts::default();
    metrics::with_local_recorder(&counts, || {
        let options = SessionOptions::new;
        let sessions = [0; 3].map(|_| open("/open", options(), async |_| pending().await));
        assert!((counts.open_sessions() - 3.0).abs() < f64::EPSILON);
        drop(sessions);
        assert!(counts.open_sessions().abs() < f64::EPSILON);
    });
}

#[test]
fn a_refusal_is_counted_by_its_reason_and_opens_no_session() {
    let counts = Counts::default();
    metrics::with_local_recorder(&counts, || {
        let limits = Limits::new()
            .max_sessions(2)
            .max_sessions_per_key(1, |request| Some(request.uri.path().to_owned()));
        let drain = Drain::new();
        let limited = || SessionOptions::new().limits(&limits).drain(&drain);
        let open = |path| open(path, limited(), async |_| pending().await);
        let first = open("/refused/a");
        assert_eq!(open("/refused/a").status(), 429);
        let second = open("/refused/b");
        assert_eq!(open("/refused/c").status(), 429);
        assert_eq!(open("/refused/d").status(), 429);
        drop((first, second));
        drain.start();
        assert_eq!(open("/refused/a").status(), 503);
        assert_eq!(limits.sessions(), 0);
    });
    let refused = |reason| format!("tidings_server_sessions_refused_total reason={reason}");
    let counters = counts.counters();
    assert_eq!(counters[&refused("limit_of_key")], 1);
    assert_eq!(counters[&refused("limit")], 2);
    assert_eq!(counters[&refused("drain")], 1);
    assert_eq!(counters["tidings_server_sessions_opened_total"], 2);
}

/// A feed that is unavailable.
struct Unavailable;

impl Feed for Unavailable {
    fn resume(&mut self, _: Option<&str>) {}

    fn poll_open(&mut self, _: &mut Context<'_>) -> Poll<Result<FeedOpened, FeedError>> {
        let source = "the log is unavailable";
        Poll::Ready(Err(FeedError::new(FeedErrorKind::Unavailable, source)))
    }

    fn poll_events(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<EncodedEvents, FeedError>>> {
        Poll::Pending
    }

    fn checkpoint(&mut self) -> Option<EventId> {
        None
    }
}

#[test]
fn a_feed_that_does_not_open_is_counted_and_traced_with_its_cause() {
    LazyLock::force(&LOG);
    let counts = Counts::default();
    metrics::with_local_recorder(&counts, || {
        let response = pin!(request("/unavailable").forward(Unavailable));
        let response = response.poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(response, Poll::Ready(response) if response.status() == 503));
    });
    let expected = (
        "tidings_server_sessions_refused_total reason=feed".to_owned(),
        1,
    );
    assert_eq!(counts.counters(), [expected].into());
    let traced = traced("/unavailable");
    assert!(
        traced
            .iter()
            .any(|line| line.contains("DEBUG") && line.contains("the log is unavailable")),
        "{traced:?}"
    );
}

#[test]
fn a_failure_is_traced_with_its_message_in_the_span_of_its_session() {
    drop(count_one(
        "/traced/fails",
        SessionOptions::new(),
        async |_| Err(HandlerError::new("the database is unavailable")),
    ));
    drop(count_one(
        "/traced/panics",
        SessionOptions::new(),
        async |_| panic!("index {} of nothing", 7),
    ));
    drop(count_one(
        "/traced/spawns",
        SessionOptions::new(),
        async |session| {
            session.spawn(async { Err(HandlerError::new("beside it")) });
            pending().await
        },
    ));
    let heartbeat = Heartbeat::default().with(|| -> Event { panic!("no heartbeat today") });
    let options = SessionOptions::new().heartbeat(heartbeat);
    drop(count_one("/traced/heartbeats", options, async |_| {
        pending().await
    }));
    drop(count_one(
        "/traced/drops",
        SessionOptions::new(),
        async |session| {
            struct Panics;
            impl Drop for Panics {
                fn drop(&mut self) {
                    panic!("dropped badly");
                }
            }
            let _panics = Panics;
            session.close();
            pending().await
        },
    ));
    for (path, message) in [
        ("/traced/fails", "the database is unavailable"),
        ("/traced/panics", "index 7 of nothing"),
        ("/traced/spawns", "beside it"),
        ("/traced/heartbeats", "no heartbeat today"),
        ("/traced/drops", "dropped badly"),
    ] {
        let lines = traced(path);
        let errors: Vec<_> = lines.iter().filter(|line| line.contains("ERROR")).collect();
        assert_eq!(errors.len(), 1, "{lines:#?}");
        assert!(errors[0].contains(message), "{errors:?}");
        assert!(errors[0].contains("session{path="), "{errors:?}");
    }
}

#[test]
fn a_disconnect_and_a_close_are_not_traced_as_errors() {
    drop(count_one(
        "/quiet/closed",
        SessionOptions::new(),
        async |session| {
            session.close();
            session.send(Event::new("too late")).await?;
            Ok(())
        },
    ));
    drop(count(async {
        let response = open("/quiet/gone", SessionOptions::new(), async |_| {
            pending().await
        });
        drop(response);
    }));
    let lines = traced("/quiet/");
    assert!(!lines.is_empty());
    for line in lines {
        assert!(!line.contains("ERROR") && !line.contains("WARN"), "{line}");
    }
}

#[test]
fn the_opening_and_the_end_of_a_session_are_traced_in_its_span() {
    drop(count_one(
        "/lifecycle",
        SessionOptions::new(),
        async |session| {
            tracing::info!("from the handler");
            session.send(Event::new("a")).await?;
            Ok(())
        },
    ));
    let lines = traced("/lifecycle").join("\n");
    for what in [
        "a session opened",
        "from the handler",
        "a session closed reason=\"returned\" events=1 bytes=9",
    ] {
        assert!(lines.contains(what), "{what}: {lines}");
    }
}

#[test]
fn no_secret_is_traced() {
    let limits = Limits::new().max_sessions(0);
    let refused = SessionOptions::new().limits(&limits);
    drop(count_one("/secret", refused, async |_| Ok(())));
    drop(count_one(
        "/secret",
        SessionOptions::new(),
        async |session| {
            session.send(Event::new("d4ta")).await?;
            Err(HandlerError::new("on purpose"))
        },
    ));
    assert!(!traced("/secret").is_empty());
    let log = LOG.text();
    for secret in ["t0ken", "qu3ry", "c00kie", "d4ta", "1d\""] {
        assert!(!log.contains(secret), "{secret} is traced:\n{log}");
    }
}
