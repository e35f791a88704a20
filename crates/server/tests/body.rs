//! The body of a session, as a connection polls it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::fmt::Debug;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use http::Request;
use http_body::Body;
use tidings_server::{
    Event, HandlerError, Heartbeat, MAX_QUEUED_BYTES, SendError, SendErrorKind, Session,
    SessionBody, SessionOptions, SseRequest, TrySendErrorKind,
};
use tidings_testkit::connection::{Connection, Polled, poll_once};
use tidings_testkit::wakes::Wakes;
use tokio::time::advance;

/// A session on which the head has been written.
fn open<F>(handler: impl FnOnce(Session) -> F) -> Connection<SessionBody>
where
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    Connection::after_head(body(SessionOptions::new(), handler))
}

/// A session with these options, which was not polled yet.
fn open_with<F>(
    options: SessionOptions,
    handler: impl FnOnce(Session) -> F,
) -> Connection<SessionBody>
where
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    Connection::new(body(options, handler))
}

fn body<F>(options: SessionOptions, handler: impl FnOnce(Session) -> F) -> SessionBody
where
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let (parts, ()) = Request::new(()).into_parts();
    let request = SseRequest::new(parts).options(options);
    request.open(handler).into_body()
}

fn assert_closed<T: Debug>(result: Result<T, SendError>) {
    assert_eq!(result.unwrap_err().kind(), SendErrorKind::Closed);
}

/// Whether this send, which returns at the first poll, panics at the second.
fn panics_when_polled_again<F: Future<Output = Result<(), SendError>>>(send: F) -> bool {
    let mut send = Box::pin(send);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(send.as_mut().poll(&mut cx).is_ready());
    let again = AssertUnwindSafe(|| send.as_mut().poll(&mut cx).is_ready());
    catch_unwind(again).is_err()
}

#[tokio::test]
async fn a_send_that_is_polled_after_it_returned_panics_and_does_not_wait_for_ever() {
    let (hand_over, session) = std::sync::mpsc::channel();
    let mut connection = open(async move |session| {
        hand_over.send(session)?;
        pending().await
    });
    assert_eq!(connection.run(), []);
    let session = session.recv().unwrap();
    assert!(panics_when_polled_again(session.send(Event::new("a"))));
    connection.run();
    let large = Event::new("x".repeat(MAX_QUEUED_BYTES));
    session.try_send(large).unwrap();
    let mut waiting = Box::pin(session.send(Event::new("b")));
    assert!(poll_once(waiting.as_mut()).is_pending());
    connection.run();
    assert!(panics_when_polled_again(waiting));
    session.close();
    assert!(panics_when_polled_again(session.send(Event::new("c"))));
}

#[tokio::test]
async fn the_head_leaves_before_the_handler_runs() {
    let has_run = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&has_run);
    let mut connection = open_with(SessionOptions::new(), async move |_| {
        flag.store(true, Ordering::SeqCst);
        pending().await
    });
    assert_eq!(connection.poll(), Polled::Pending);
    assert!(!has_run.load(Ordering::SeqCst));
    assert_eq!(connection.wakes(), 1, "the body wakes itself");
    assert_eq!(connection.poll(), Polled::Pending);
    assert!(has_run.load(Ordering::SeqCst));
    assert_eq!(connection.wakes(), 1, "an idle session is not polled");
}

#[tokio::test]
async fn after_each_frame_the_connection_has_a_turn_to_write() {
    let mut connection = open(async |session| {
        session.send(Event::new("a")).await?;
        session.send(Event::new("b")).await?;
        session.flush().await?;
        session.send(Event::new("c")).await?;
        Ok(())
    });
    assert_eq!(connection.poll(), Polled::frame("data: a\n\ndata: b\n\n"));
    assert_eq!(connection.poll(), Polled::Pending);
    assert_eq!(connection.poll(), Polled::frame("data: c\n\n"));
    assert_eq!(connection.poll(), Polled::Pending);
    assert_eq!(connection.poll(), Polled::End);
}

#[tokio::test]
async fn a_body_that_has_ended_stays_ended() {
    let mut connection = open(async |_| Ok(()));
    assert_eq!(connection.run(), [Polled::End]);
    assert!(connection.body().is_end_stream());
    assert_eq!(connection.poll(), Polled::End);

    let mut connection = open(async |_| Err(HandlerError::new("no")));
    assert_eq!(connection.run(), [Polled::Cut]);
    assert_eq!(connection.poll(), Polled::End);
}

#[tokio::test]
async fn a_failing_handler_still_sends_its_events() {
    let mut connection = open(async |session| {
        session.send(Event::new("a")).await?;
        Err(HandlerError::new("no"))
    });
    assert_eq!(connection.poll(), Polled::frame("data: a\n\n"));
    assert_eq!(connection.poll(), Polled::Pending);
    assert_eq!(connection.poll(), Polled::Cut);
}

#[tokio::test]
async fn a_panic_cuts_the_stream_after_its_events() {
    let mut connection = open(async |session| {
        session.send(Event::new("a")).await?;
        panic!("on purpose");
    });
    assert_eq!(
        connection.run(),
        [Polled::frame("data: a\n\n"), Polled::Cut]
    );
}

#[tokio::test]
async fn a_client_that_disconnects_drops_the_handler_where_it_waits() {
    struct Dropped(Arc<AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let was_dropped = Arc::new(AtomicBool::new(false));
    let guard = Dropped(Arc::clone(&was_dropped));
    let mut connection = open(async move |_| {
        let _guard = guard;
        pending().await
    });
    assert_eq!(connection.run(), []);
    assert!(!was_dropped.load(Ordering::SeqCst));
    drop(connection);
    assert!(was_dropped.load(Ordering::SeqCst));
}

#[tokio::test]
async fn close_ends_the_stream_after_the_sent_events() {
    let mut connection = open(async |session| {
        session.send(Event::new("a")).await?;
        session.close();
        assert_closed(session.send(Event::new("b")).await);
        pending().await
    });
    assert_eq!(
        connection.run(),
        [Polled::frame("data: a\n\n"), Polled::End]
    );
}

#[tokio::test]
async fn a_producer_waits_for_a_client_that_does_not_read() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let event = Event::new("x".repeat(1000));
    let wire = event.encode().len();
    let mut connection = open(async move |session| {
        loop {
            session.send(&event).await?;
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    assert!(matches!(connection.poll(), Polled::Frame(_)));
    // As many as fit the queue, and not one more, however often the body is polled.
    assert_eq!(sent.load(Ordering::SeqCst), MAX_QUEUED_BYTES / wire);
    assert_eq!(connection.poll(), Polled::Pending);
    assert_eq!(sent.load(Ordering::SeqCst), MAX_QUEUED_BYTES / wire);
    let Polled::Frame(second) = connection.poll() else {
        panic!("expected a frame")
    };
    assert!(second.len() <= 16 * 1024, "{}", second.len());
}

#[tokio::test]
async fn an_event_larger_than_the_queue_leaves_alone() {
    let large = Event::new("x".repeat(10 * MAX_QUEUED_BYTES));
    let expected = large.to_string();
    let mut connection = open(async move |session| {
        session.send(Event::new("a")).await?;
        session.send(large).await?;
        session.send(Event::new("b")).await?;
        Ok(())
    });
    let results = connection.run();
    assert!(
        results
            == [
                Polled::frame("data: a\n\n"),
                Polled::frame(expected),
                Polled::frame("data: b\n\n"),
                Polled::End
            ]
    );
}

#[tokio::test]
async fn a_send_from_another_thread_wakes_the_connection() {
    let (mut connection, session) = handed_over();
    let wakes = connection.wakes();
    session.send(Event::new("a")).await.unwrap();
    assert_eq!(connection.wakes(), wakes + 1);
    assert_eq!(connection.run(), [Polled::frame("data: a\n\n")]);
    drop(connection);
    assert_closed(session.send(Event::new("b")).await);
}

/// A session that has returned a frame, and whose handler waits for the sender.
fn after_a_frame() -> (Connection<SessionBody>, tokio::sync::oneshot::Sender<()>) {
    let (go, gone) = tokio::sync::oneshot::channel();
    let mut connection = open(async move |session| {
        session.send(Event::new("a")).await?;
        gone.await?;
        session.send(Event::new("b")).await?;
        Ok(())
    });
    assert_eq!(connection.poll(), Polled::frame("data: a\n\n"));
    (connection, go)
}

#[tokio::test]
async fn a_body_that_moves_to_another_task_is_still_woken() {
    let (mut connection, go) = after_a_frame();
    // The handler still waits with the waker of the task that polled the body before.
    connection.move_to_another_task();
    assert_eq!(connection.poll(), Polled::Pending);
    go.send(()).unwrap();
    assert_eq!(connection.wakes(), 1, "the new task is woken");
    assert_eq!(
        connection.run(),
        [Polled::frame("data: b\n\n"), Polled::End]
    );
}

#[tokio::test]
async fn a_handler_woken_while_the_connection_cannot_write_runs_later() {
    let (mut connection, go) = after_a_frame();
    go.send(()).unwrap();
    // The next poll is the connection's turn to write: the handler is woken, and not polled yet.
    assert!(connection.is_woken());
    assert_eq!(
        connection.run(),
        [Polled::frame("data: b\n\n"), Polled::End]
    );
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_due_while_the_connection_cannot_write_is_sent_later() {
    let mut connection = open(async |session| {
        session.heartbeat(Heartbeat::every(Duration::from_secs(1)));
        session.send(Event::new("a")).await?;
        pending().await
    });
    assert_eq!(connection.poll(), Polled::frame("data: a\n\n"));
    advance(Duration::from_secs(2)).await;
    assert_eq!(connection.run(), [Polled::frame(": heartbeat\n\n")]);
}

/// A session whose handler has passed it to the test.
fn handed_over() -> (Connection<SessionBody>, Arc<Session>) {
    let (hand_over, session) = std::sync::mpsc::channel();
    let mut connection = open(async move |session| {
        hand_over.send(Arc::new(session)).unwrap();
        pending().await
    });
    assert_eq!(connection.run(), []);
    (connection, session.recv().unwrap())
}

#[tokio::test]
async fn a_heartbeat_set_after_the_end_is_dropped() {
    let (connection, session) = handed_over();
    drop(connection);
    let held = Arc::new(());
    let provider = (session.sender(), Arc::clone(&held));
    session.heartbeat(Heartbeat::default().with(move || {
        let _ = &provider;
        Event::new("beat")
    }));
    assert_eq!(
        Arc::strong_count(&held),
        1,
        "the session does not keep it alive"
    );
}

#[tokio::test]
async fn a_flush_fails_when_the_client_disconnects() {
    let (connection, session) = handed_over();
    session.send(Event::new("a")).await.unwrap();
    let mut flush = pin!(session.flush());
    assert!(poll_once(flush.as_mut()).is_pending());
    drop(connection);
    assert_closed(flush.await);
}

#[tokio::test]
async fn a_flush_waits_only_for_events_sent_before_it() {
    let (mut connection, session) = handed_over();
    session.send(Event::new("a")).await.unwrap();
    let mut flush = pin!(session.flush());
    assert!(poll_once(flush.as_mut()).is_pending());
    assert_eq!(connection.poll(), Polled::frame("data: a\n\n"));
    assert!(
        poll_once(flush.as_mut()).is_pending(),
        "the connection has not written yet"
    );
    session.send(Event::new("b")).await.unwrap();
    assert_eq!(connection.poll(), Polled::Pending);
    assert_eq!(connection.poll(), Polled::frame("data: b\n\n"));
    assert!(poll_once(flush.as_mut()).is_ready());
}

#[tokio::test]
async fn a_flush_from_another_task_wakes_the_body() {
    // The flush begins before the connection's turn, or after it.
    for begins_after_the_turn in [false, true] {
        let (mut connection, session) = handed_over();
        session.send(Event::new("a")).await.unwrap();
        let mut flush = pin!(session.flush());
        if !begins_after_the_turn {
            assert!(poll_once(flush.as_mut()).is_pending());
        }
        assert_eq!(connection.poll(), Polled::frame("data: a\n\n"));
        if begins_after_the_turn {
            assert_eq!(connection.poll(), Polled::Pending);
            assert!(!connection.is_woken());
            assert!(poll_once(flush.as_mut()).is_pending());
            assert!(connection.is_woken());
        }
        assert_eq!(connection.run(), []);
        assert!(
            poll_once(flush.as_mut()).is_ready(),
            "{begins_after_the_turn}"
        );
    }
}

#[tokio::test]
async fn a_waker_may_use_the_session_in_its_drop() {
    struct Closes(Arc<Session>);
    impl Wake for Closes {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Closes {
        fn drop(&mut self) {
            self.0.close();
        }
    }
    let (mut connection, session) = handed_over();
    let waker = Waker::from(Arc::new(Closes(session)));
    assert_eq!(connection.poll_with(&waker), Polled::Pending);
    drop(waker);
    // Another task polls the body, which drops the first waker.
    assert_eq!(connection.run(), [Polled::End]);
}

#[tokio::test]
async fn a_close_while_the_handler_sends_ends_the_stream_cleanly() {
    let (hand_over, session) = std::sync::mpsc::channel();
    let mut connection = open(async move |session| {
        let session = Arc::new(session);
        hand_over.send(Arc::clone(&session)).unwrap();
        loop {
            session.send(Event::new("x".repeat(1000))).await?;
        }
    });
    assert!(matches!(connection.poll(), Polled::Frame(_)));
    session.recv().unwrap().close();
    assert_eq!(connection.run().pop(), Some(Polled::End));
}

#[tokio::test]
async fn a_cancelled_send_releases_its_waker() {
    let (_connection, session) = handed_over();
    session
        .send(Event::new("x".repeat(MAX_QUEUED_BYTES)))
        .await
        .unwrap();
    let wakes = Wakes::default();
    {
        let mut send = pin!(session.send(Event::new("y")));
        let waker = wakes.waker();
        let polled = send.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    assert!(!wakes.has_wakers(), "a cancelled send keeps its task alive");
}

#[tokio::test]
async fn waiting_sends_get_room_in_order() {
    let (mut connection, session) = handed_over();
    let large = Event::new("x".repeat(MAX_QUEUED_BYTES));
    session.send(Event::new("first")).await.unwrap();
    let mut large = pin!(session.send(large));
    assert!(poll_once(large.as_mut()).is_pending());
    // There is room for it, but the large event waits first.
    let mut small = pin!(session.send(Event::new("last")));
    assert!(poll_once(small.as_mut()).is_pending());
    let error = session.try_send(Event::new("now or never")).unwrap_err();
    assert_eq!(error.kind(), TrySendErrorKind::Full);
    assert_eq!(error.into_events(), Event::new("now or never").into());
    assert_eq!(connection.poll(), Polled::frame("data: first\n\n"));
    assert!(poll_once(small.as_mut()).is_pending());
    assert!(poll_once(large.as_mut()).is_ready());
    assert!(
        matches!(&connection.run()[..], [Polled::Frame(sent)] if sent.len() > MAX_QUEUED_BYTES)
    );
    assert!(poll_once(small.as_mut()).is_ready());
    assert_eq!(connection.run(), [Polled::frame("data: last\n\n")]);
}

#[tokio::test]
async fn a_cancelled_send_lets_the_next_one_continue() {
    let (mut connection, session) = handed_over();
    session.send(Event::new("first")).await.unwrap();
    {
        let mut large = pin!(session.send(Event::new("x".repeat(MAX_QUEUED_BYTES))));
        assert!(poll_once(large.as_mut()).is_pending());
    }
    session.try_send(Event::new("last")).unwrap();
    assert_eq!(
        connection.run(),
        [Polled::frame("data: first\n\ndata: last\n\n")]
    );
}

#[tokio::test]
async fn sends_after_a_close_fail() {
    let (mut connection, session) = handed_over();
    let sender = session.sender();
    session.send(Event::new("before")).await.unwrap();
    assert!(!sender.is_closed());
    session.close();
    assert_closed(sender.send(Event::new("a")).await);
    let error = sender.try_send(Event::new("a")).unwrap_err();
    assert_eq!(error.kind(), TrySendErrorKind::Closed);
    assert_eq!(error.into_events(), Event::new("a").into());
    sender.closed().await;
    assert_eq!(
        connection.run(),
        [Polled::frame("data: before\n\n"), Polled::End]
    );
}

#[tokio::test]
async fn a_session_is_closed_when_its_client_disconnects() {
    let (connection, session) = handed_over();
    let mut closed = pin!(session.closed());
    assert!(poll_once(closed.as_mut()).is_pending());
    drop(connection);
    assert!(poll_once(closed.as_mut()).is_ready());
    assert!(session.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_spawned_future_runs_beside_the_handler_and_ends_with_it() {
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    let mut connection = open(async move |session| {
        let sender = session.sender();
        session.spawn(async move {
            let _gone = gone;
            for n in 0.. {
                sender.send(Event::new(n.to_string())).await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Ok(())
        });
        finished.await?;
        session.send(Event::new("end")).await?;
        Ok(())
    });
    assert_eq!(connection.run(), [Polled::frame("data: 0\n\n")]);
    advance(Duration::from_millis(1001)).await;
    assert_eq!(connection.run(), [Polled::frame("data: 1\n\n")]);
    finish.send(()).unwrap();
    assert_eq!(
        connection.run(),
        [Polled::frame("data: end\n\n"), Polled::End]
    );
    assert!(go.is_closed(), "the spawned future is dropped");
}

#[tokio::test]
async fn a_spawned_future_that_fails_or_panics_fails_the_session() {
    for panics in [false, true] {
        let mut connection = open(async move |session| {
            session.send(Event::new("before")).await?;
            session.spawn(async move {
                assert!(!panics);
                Err(HandlerError::new("a reason"))
            });
            pending().await
        });
        assert_eq!(
            connection.run(),
            [Polled::frame("data: before\n\n"), Polled::Cut],
            "{panics}"
        );
    }
}

#[tokio::test]
async fn a_future_spawned_after_the_end_never_runs() {
    let (_connection, session) = handed_over();
    session.close();
    let (held, dropped) = tokio::sync::oneshot::channel::<()>();
    session.spawn(async move {
        drop(dropped.await);
        Ok(())
    });
    assert!(held.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_within_its_max_lifetime() {
    let lifetime = Duration::from_secs(100);
    let mut ends = Vec::new();
    for _ in 0..20 {
        let start = tokio::time::Instant::now();
        let options = SessionOptions::new().max_lifetime(lifetime);
        let mut connection = open_with(options, async |session| {
            session.send(Event::new("a")).await?;
            assert!(session.remaining_lifetime() <= Some(Duration::from_secs(100)));
            assert!(session.remaining_lifetime() >= Some(Duration::from_secs(80)));
            pending().await
        });
        assert_eq!(connection.run(), [Polled::frame("data: a\n\n")]);
        advance(lifetime * 4 / 5 - Duration::from_millis(2)).await;
        assert_eq!(connection.run(), []);
        let mut results = Vec::new();
        while results.is_empty() {
            advance(Duration::from_millis(100)).await;
            results = connection.run();
        }
        assert_eq!(results, [Polled::End]);
        ends.push(start.elapsed());
        assert!(start.elapsed() <= lifetime + Duration::from_millis(100));
    }
    ends.sort();
    ends.dedup();
    assert!(ends.len() > 10, "they end together: {ends:?}");
}

#[tokio::test]
async fn a_lifetime_beyond_the_clock_never_ends() {
    let options = SessionOptions::new().max_lifetime(Duration::MAX);
    let mut connection = open_with(options, async |session| {
        assert_eq!(session.remaining_lifetime(), None);
        Ok(())
    });
    assert_eq!(connection.run(), [Polled::End]);
}

#[tokio::test]
async fn the_retry_field_is_sent_first() {
    let options = SessionOptions::new().retry(Duration::from_millis(1500));
    let mut connection = open_with(options, async |session| {
        session.send(Event::new("a")).await?;
        pending().await
    });
    assert_eq!(
        connection.run(),
        [Polled::frame("retry: 1500\n\ndata: a\n\n")]
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_replace_the_heartbeat_of_its_route() {
    let options = SessionOptions::new().heartbeat(Heartbeat::every(Duration::from_secs(1)));
    let mut connection = open_with(options, async |session| {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        session.heartbeat(Heartbeat::every(Duration::from_secs(5)).with(|| Event::new("mine")));
        pending().await
    });
    assert_eq!(connection.run(), []);
    advance(Duration::from_millis(1100)).await;
    assert_eq!(connection.run(), [Polled::frame(": heartbeat\n\n")]);
    advance(Duration::from_millis(500)).await;
    assert_eq!(connection.run(), []);
    advance(Duration::from_millis(4900)).await;
    assert_eq!(connection.run(), []);
    advance(Duration::from_millis(200)).await;
    assert_eq!(connection.run(), [Polled::frame("data: mine\n\n")]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_heartbeat_cuts_the_stream() {
    let heartbeat = Heartbeat::default().with(|| -> Event { panic!("on purpose") });
    let options = SessionOptions::new().heartbeat(heartbeat);
    let mut connection = open_with(options, async |_| pending().await);
    assert_eq!(connection.run(), []);
    advance(Duration::from_secs(16)).await;
    assert_eq!(connection.run(), [Polled::Cut]);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_are_sent_while_the_handler_waits() {
    let period = Duration::from_secs(15);
    let mut connection = open(async move |session| {
        session.heartbeat(Heartbeat::every(period));
        pending().await
    });
    assert_eq!(connection.run(), []);
    for _ in 0..3 {
        let wakes = connection.wakes();
        advance(period - Duration::from_millis(1)).await;
        assert_eq!(connection.wakes(), wakes);
        advance(Duration::from_millis(2)).await;
        assert_eq!(connection.run(), [Polled::frame(": heartbeat\n\n")]);
    }
}

#[tokio::test(start_paused = true)]
async fn heartbeats_do_not_pile_up_for_a_client_that_does_not_read() {
    let mut connection = open(async |session| {
        session.heartbeat(Heartbeat::every(Duration::from_millis(1)).always(true));
        session
            .send(Event::new("x".repeat(MAX_QUEUED_BYTES)))
            .await?;
        pending().await
    });
    assert!(matches!(connection.poll(), Polled::Frame(_)));
    advance(Duration::from_secs(1)).await;
    let heartbeats = connection.run();
    assert_eq!(
        heartbeats,
        [Polled::frame(": heartbeat\n\n")],
        "missed heartbeats are not sent later"
    );
}
