//! What a session's body answers to the connection that polls it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use http::Request;
use http_body::Body;
use tidings_proto::{Event, Heartbeat, MAX_QUEUED_BYTES};
use tidings_server::{
    Error, HandlerError, Session, SessionBody, SessionOptions, SseRequest, TrySendError,
};
use tokio::time::advance;

/// A connection: polls a body and counts how often it is woken.
struct Connection {
    body: SessionBody,
    wakes: Arc<Wakes>,
    /// How many of them were answered by a poll.
    answered: usize,
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Debug, PartialEq)]
enum Answer {
    Frame(String),
    Pending,
    End,
    Break,
}

fn frame(text: &str) -> Answer {
    Answer::Frame(text.into())
}

impl Connection {
    /// A connection on which the head has been written.
    fn open<F>(handler: impl FnOnce(Session) -> F) -> Self
    where
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        let mut connection = Self::new(handler);
        assert_eq!(connection.poll(), Answer::Pending);
        connection
    }

    fn new<F>(handler: impl FnOnce(Session) -> F) -> Self
    where
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        Self::with(SessionOptions::new(), handler)
    }

    fn with<F>(options: SessionOptions, handler: impl FnOnce(Session) -> F) -> Self
    where
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        let (parts, ()) = Request::new(()).into_parts();
        let request = SseRequest::new(parts).options(options);
        let body = request.open(handler).into_body();
        Self {
            body,
            wakes: Arc::default(),
            answered: 0,
        }
    }

    fn poll(&mut self) -> Answer {
        let waker = Waker::from(Arc::clone(&self.wakes));
        match Pin::new(&mut self.body).poll_frame(&mut Context::from_waker(&waker)) {
            Poll::Pending => Answer::Pending,
            Poll::Ready(None) => Answer::End,
            Poll::Ready(Some(Err(_))) => Answer::Break,
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.into_data().unwrap();
                Answer::Frame(String::from_utf8(bytes.to_vec()).unwrap())
            }
        }
    }

    fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }

    /// Polls until it is pending and was not woken since it was pending before, as an executor
    /// does.
    fn run(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        loop {
            match self.poll() {
                Answer::Pending if self.wakes() == self.answered => return answers,
                Answer::Pending => self.answered = self.wakes(),
                end @ (Answer::End | Answer::Break) => {
                    answers.push(end);
                    return answers;
                }
                frame @ Answer::Frame(_) => answers.push(frame),
            }
        }
    }
}

#[tokio::test]
async fn the_head_leaves_before_the_handler_runs() {
    let has_run = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&has_run);
    let mut connection = Connection::new(async move |_| {
        flag.store(true, Ordering::SeqCst);
        pending().await
    });
    assert_eq!(connection.poll(), Answer::Pending);
    assert!(!has_run.load(Ordering::SeqCst));
    assert_eq!(connection.wakes(), 1, "it comes back by itself");
    assert_eq!(connection.poll(), Answer::Pending);
    assert!(has_run.load(Ordering::SeqCst));
    assert_eq!(connection.wakes(), 1, "an idle session is not polled");
}

#[tokio::test]
async fn after_each_frame_the_connection_may_write() {
    let mut connection = Connection::open(async |session| {
        session.send(Event::new("a")).await?;
        session.send(Event::new("b")).await?;
        session.flush().await?;
        session.send(Event::new("c")).await?;
        Ok(())
    });
    assert_eq!(connection.poll(), frame("data: a\n\ndata: b\n\n"));
    assert_eq!(connection.poll(), Answer::Pending);
    assert_eq!(connection.poll(), frame("data: c\n\n"));
    assert_eq!(connection.poll(), Answer::Pending);
    assert_eq!(connection.poll(), Answer::End);
}

#[tokio::test]
async fn a_body_that_has_ended_stays_ended() {
    let mut connection = Connection::open(async |_| Ok(()));
    assert_eq!(connection.run(), [Answer::End]);
    assert!(connection.body.is_end_stream());
    assert_eq!(connection.poll(), Answer::End);

    let mut connection = Connection::open(async |_| Err(HandlerError::new("no")));
    assert_eq!(connection.run(), [Answer::Break]);
    assert_eq!(connection.poll(), Answer::End);
}

#[tokio::test]
async fn a_handler_that_fails_lets_out_what_it_sent() {
    let mut connection = Connection::open(async |session| {
        session.send(Event::new("a")).await?;
        Err(HandlerError::new("no"))
    });
    assert_eq!(connection.poll(), frame("data: a\n\n"));
    assert_eq!(connection.poll(), Answer::Pending);
    assert_eq!(connection.poll(), Answer::Break);
}

#[tokio::test]
async fn a_handler_that_panics_breaks_its_stream_only() {
    let mut connection = Connection::open(async |session| {
        session.send(Event::new("a")).await?;
        panic!("on purpose");
    });
    assert_eq!(connection.run(), [frame("data: a\n\n"), Answer::Break]);
}

#[tokio::test]
async fn a_client_that_goes_drops_the_handler_where_it_waits() {
    struct Dropped(Arc<AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let was_dropped = Arc::new(AtomicBool::new(false));
    let guard = Dropped(Arc::clone(&was_dropped));
    let mut connection = Connection::open(async move |_| {
        let _guard = guard;
        pending().await
    });
    assert_eq!(connection.run(), []);
    assert!(!was_dropped.load(Ordering::SeqCst));
    drop(connection);
    assert!(was_dropped.load(Ordering::SeqCst));
}

#[tokio::test]
async fn close_ends_the_stream_after_what_was_sent() {
    let mut connection = Connection::open(async |session| {
        session.send(Event::new("a")).await?;
        session.close();
        assert!(matches!(
            session.send(Event::new("b")).await,
            Err(Error::Closed)
        ));
        pending().await
    });
    assert_eq!(connection.run(), [frame("data: a\n\n"), Answer::End]);
}

#[tokio::test]
async fn a_producer_waits_for_a_client_that_does_not_read() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let event = Event::new("x".repeat(1000));
    let wire = event.encode().len();
    let mut connection = Connection::open(async move |session| {
        loop {
            session.send(&event).await?;
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    assert!(matches!(connection.poll(), Answer::Frame(_)));
    // What fits the queue and not one more, however often the connection looks.
    assert_eq!(sent.load(Ordering::SeqCst), MAX_QUEUED_BYTES / wire);
    assert_eq!(connection.poll(), Answer::Pending);
    assert_eq!(sent.load(Ordering::SeqCst), MAX_QUEUED_BYTES / wire);
    let Answer::Frame(second) = connection.poll() else {
        panic!("expected a frame")
    };
    assert!(second.len() <= 16 * 1024, "{}", second.len());
}

#[tokio::test]
async fn one_event_larger_than_the_queue_goes_alone() {
    let large = Event::new("x".repeat(10 * MAX_QUEUED_BYTES));
    let expected = large.to_string();
    let mut connection = Connection::open(async move |session| {
        session.send(Event::new("a")).await?;
        session.send(large).await?;
        session.send(Event::new("b")).await?;
        Ok(())
    });
    let answers = connection.run();
    assert!(
        answers
            == [
                frame("data: a\n\n"),
                Answer::Frame(expected),
                frame("data: b\n\n"),
                Answer::End
            ]
    );
}

#[tokio::test]
async fn a_send_from_another_thread_wakes_the_connection() {
    let (mut connection, session) = handed_over();
    let wakes = connection.wakes();
    session.send(Event::new("a")).await.unwrap();
    assert_eq!(connection.wakes(), wakes + 1);
    assert_eq!(connection.run(), [frame("data: a\n\n")]);
    drop(connection);
    assert!(matches!(
        session.send(Event::new("b")).await,
        Err(Error::Closed)
    ));
}

/// A connection that was handed a frame, and a handler that waits until it is told to go on.
fn after_a_frame() -> (Connection, tokio::sync::oneshot::Sender<()>) {
    let (go, gone) = tokio::sync::oneshot::channel();
    let mut connection = Connection::open(async move |session| {
        session.send(Event::new("a")).await?;
        gone.await?;
        session.send(Event::new("b")).await?;
        Ok(())
    });
    assert_eq!(connection.poll(), frame("data: a\n\n"));
    (connection, go)
}

#[tokio::test]
async fn a_body_that_moves_to_another_task_is_still_woken() {
    let (mut connection, go) = after_a_frame();
    // The handler waits with the waker of a task that no longer polls the body.
    (connection.wakes, connection.answered) = (Arc::default(), 0);
    assert_eq!(connection.poll(), Answer::Pending);
    go.send(()).unwrap();
    assert_eq!(connection.wakes(), 1, "or the handler would never run on");
    assert_eq!(connection.run(), [frame("data: b\n\n"), Answer::End]);
}

#[tokio::test]
async fn a_handler_that_is_woken_while_the_connection_cannot_write_is_not_forgotten() {
    let (mut connection, go) = after_a_frame();
    go.send(()).unwrap();
    // The connection is woken, and leaves the body alone: its peer's window is shut.
    connection.answered = connection.wakes();
    assert_eq!(connection.run(), [frame("data: b\n\n"), Answer::End]);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_is_due_while_the_connection_cannot_write_is_not_forgotten() {
    let mut connection = Connection::open(async |session| {
        session.heartbeat(Heartbeat::every(Duration::from_secs(1)));
        session.send(Event::new("a")).await?;
        pending().await
    });
    assert_eq!(connection.poll(), frame("data: a\n\n"));
    advance(Duration::from_secs(2)).await;
    connection.answered = connection.wakes();
    assert_eq!(connection.run(), [frame(": heartbeat\n\n")]);
}

/// A session whose handler has handed it to the test.
fn handed_over() -> (Connection, Arc<Session>) {
    let (hand_over, session) = std::sync::mpsc::channel();
    let mut connection = Connection::open(async move |session| {
        hand_over.send(Arc::new(session)).unwrap();
        pending().await
    });
    assert_eq!(connection.run(), []);
    (connection, session.recv().unwrap())
}

#[tokio::test]
async fn a_heartbeat_that_comes_too_late_is_dropped() {
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
        "nobody would ever let go of it"
    );
}

#[tokio::test]
async fn a_flush_ends_when_the_client_goes() {
    let (connection, session) = handed_over();
    session.send(Event::new("a")).await.unwrap();
    let mut flush = pin!(session.flush());
    assert!(poll_once(flush.as_mut()).is_pending());
    drop(connection);
    assert!(matches!(flush.await, Err(Error::Closed)));
}

#[tokio::test]
async fn a_flush_waits_for_what_was_sent_before_it_and_for_no_more() {
    let (mut connection, session) = handed_over();
    session.send(Event::new("a")).await.unwrap();
    let mut flush = pin!(session.flush());
    assert!(poll_once(flush.as_mut()).is_pending());
    assert_eq!(connection.poll(), frame("data: a\n\n"));
    assert!(
        poll_once(flush.as_mut()).is_pending(),
        "the connection has not written yet"
    );
    session.send(Event::new("b")).await.unwrap();
    assert_eq!(connection.poll(), Answer::Pending);
    assert_eq!(connection.poll(), frame("data: b\n\n"));
    assert!(poll_once(flush.as_mut()).is_ready());
}

#[tokio::test]
async fn a_flush_from_another_task_asks_for_the_turn_it_waits_for() {
    // Whenever the flush begins, before the connection's turn or after it.
    for begins_after_the_turn in [false, true] {
        let (mut connection, session) = handed_over();
        session.send(Event::new("a")).await.unwrap();
        let mut flush = pin!(session.flush());
        if !begins_after_the_turn {
            assert!(poll_once(flush.as_mut()).is_pending());
        }
        assert_eq!(connection.poll(), frame("data: a\n\n"));
        if begins_after_the_turn {
            assert_eq!(connection.poll(), Answer::Pending);
            assert!(poll_once(flush.as_mut()).is_pending());
        }
        // The frame was the answer to all wakes before.
        connection.answered = connection.wakes() - usize::from(begins_after_the_turn);
        assert_eq!(connection.run(), []);
        assert!(
            poll_once(flush.as_mut()).is_ready(),
            "{begins_after_the_turn}"
        );
    }
}

#[tokio::test]
async fn a_waker_may_come_back_when_it_is_dropped() {
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
    let body = Pin::new(&mut connection.body);
    assert!(
        body.poll_frame(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(waker);
    // The body moves to another task, and lets go of that waker.
    assert_eq!(connection.run(), [Answer::End]);
}

#[tokio::test]
async fn a_close_ends_cleanly_though_the_handler_was_sending() {
    let (hand_over, session) = std::sync::mpsc::channel();
    let mut connection = Connection::open(async move |session| {
        let session = Arc::new(session);
        hand_over.send(Arc::clone(&session)).unwrap();
        loop {
            session.send(Event::new("x".repeat(1000))).await?;
        }
    });
    assert!(matches!(connection.poll(), Answer::Frame(_)));
    session.recv().unwrap().close();
    assert_eq!(connection.run().pop(), Some(Answer::End));
}

#[tokio::test]
async fn a_send_that_is_cancelled_is_not_waited_for() {
    let (_connection, session) = handed_over();
    session
        .send(Event::new("x".repeat(MAX_QUEUED_BYTES)))
        .await
        .unwrap();
    let task = Arc::new(Wakes::default());
    {
        let mut send = pin!(session.send(Event::new("y")));
        let waker = Waker::from(Arc::clone(&task));
        assert!(
            send.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    assert_eq!(
        Arc::strong_count(&task),
        1,
        "or every cancelled send kept its task's memory"
    );
}

#[tokio::test]
async fn those_who_wait_for_room_get_it_in_their_order() {
    let (mut connection, session) = handed_over();
    let large = Event::new("x".repeat(MAX_QUEUED_BYTES));
    session.send(Event::new("first")).await.unwrap();
    let mut large = pin!(session.send(large));
    assert!(poll_once(large.as_mut()).is_pending());
    // There would be room for it, but not before the one that waits.
    let mut small = pin!(session.send(Event::new("last")));
    assert!(poll_once(small.as_mut()).is_pending());
    assert!(matches!(
        session.try_send(Event::new("now or never")),
        Err(TrySendError::Full(events)) if events == Event::new("now or never").into()
    ));
    assert_eq!(connection.poll(), frame("data: first\n\n"));
    assert!(poll_once(small.as_mut()).is_pending());
    assert!(poll_once(large.as_mut()).is_ready());
    assert!(
        matches!(&connection.run()[..], [Answer::Frame(sent)] if sent.len() > MAX_QUEUED_BYTES)
    );
    assert!(poll_once(small.as_mut()).is_ready());
    assert_eq!(connection.run(), [frame("data: last\n\n")]);
}

#[tokio::test]
async fn one_that_gives_up_waiting_lets_the_next_go_on() {
    let (mut connection, session) = handed_over();
    session.send(Event::new("first")).await.unwrap();
    {
        let mut large = pin!(session.send(Event::new("x".repeat(MAX_QUEUED_BYTES))));
        assert!(poll_once(large.as_mut()).is_pending());
    }
    session.try_send(Event::new("last")).unwrap();
    assert_eq!(connection.run(), [frame("data: first\n\ndata: last\n\n")]);
}

#[tokio::test]
async fn after_a_close_nothing_is_sent() {
    let (mut connection, session) = handed_over();
    let sender = session.sender();
    session.send(Event::new("before")).await.unwrap();
    assert!(!sender.is_closed());
    session.close();
    assert!(matches!(
        sender.send(Event::new("a")).await,
        Err(Error::Closed)
    ));
    assert!(matches!(
        sender.try_send(Event::new("a")),
        Err(TrySendError::Closed(events)) if events.len() == "data: a\n\n".len()
    ));
    sender.closed().await;
    assert_eq!(connection.run(), [frame("data: before\n\n"), Answer::End]);
}

#[tokio::test]
async fn it_is_closed_when_the_client_goes() {
    let (connection, session) = handed_over();
    let mut closed = pin!(session.closed());
    assert!(poll_once(closed.as_mut()).is_pending());
    drop(connection);
    assert!(poll_once(closed.as_mut()).is_ready());
    assert!(session.is_closed());
}

#[tokio::test(start_paused = true)]
async fn what_is_spawned_runs_beside_the_handler_and_ends_with_it() {
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    let mut connection = Connection::open(async move |session| {
        let sender = session.sender();
        session.spawn(async move {
            let _gone = gone;
            for n in 0.. {
                sender.send(Event::new(n.to_string())).await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Ok(())
        });
        finished.await.ok();
        session.send(Event::new("end")).await?;
        Ok(())
    });
    assert_eq!(connection.run(), [frame("data: 0\n\n")]);
    advance(Duration::from_millis(1001)).await;
    assert_eq!(connection.run(), [frame("data: 1\n\n")]);
    finish.send(()).unwrap();
    assert_eq!(connection.run(), [frame("data: end\n\n"), Answer::End]);
    assert!(go.is_closed(), "what was spawned is dropped");
}

#[tokio::test]
async fn what_is_spawned_fails_as_the_handler_does() {
    for panics in [false, true] {
        let mut connection = Connection::open(async move |session| {
            session.send(Event::new("before")).await?;
            session.spawn(async move {
                assert!(!panics);
                Err(HandlerError::new("a reason"))
            });
            pending().await
        });
        let heard = connection.run();
        assert_eq!(
            heard,
            [frame("data: before\n\n"), Answer::Break],
            "{panics}"
        );
    }
}

#[tokio::test]
async fn what_is_spawned_after_the_end_never_runs() {
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
async fn a_lifetime_ends_a_session_before_it_is_over() {
    let lifetime = Duration::from_secs(100);
    let mut ends = Vec::new();
    for _ in 0..20 {
        let start = tokio::time::Instant::now();
        let options = SessionOptions::new().max_lifetime(lifetime);
        let mut connection = Connection::with(options, async |session| {
            session.send(Event::new("a")).await?;
            assert!(session.remaining_lifetime() <= Some(Duration::from_secs(100)));
            assert!(session.remaining_lifetime() >= Some(Duration::from_secs(80)));
            pending().await
        });
        assert_eq!(connection.run(), [frame("data: a\n\n")]);
        advance(lifetime * 4 / 5 - Duration::from_millis(2)).await;
        assert_eq!(connection.run(), []);
        let mut heard = Vec::new();
        while heard.is_empty() {
            advance(Duration::from_millis(100)).await;
            heard = connection.run();
        }
        assert_eq!(heard, [Answer::End]);
        ends.push(start.elapsed());
        assert!(start.elapsed() <= lifetime + Duration::from_millis(100));
    }
    ends.sort();
    ends.dedup();
    assert!(ends.len() > 10, "they do not end together: {ends:?}");
}

#[tokio::test]
async fn a_lifetime_that_no_clock_reaches_is_no_end() {
    let options = SessionOptions::new().max_lifetime(Duration::MAX);
    let mut connection = Connection::with(options, async |session| {
        assert_eq!(session.remaining_lifetime(), None);
        Ok(())
    });
    assert_eq!(connection.run(), [Answer::End]);
}

#[tokio::test]
async fn the_reconnection_time_comes_first() {
    let options = SessionOptions::new().retry(Duration::from_millis(1500));
    let mut connection = Connection::with(options, async |session| {
        session.send(Event::new("a")).await?;
        pending().await
    });
    assert_eq!(connection.run(), [frame("retry: 1500\n\ndata: a\n\n")]);
}

#[tokio::test(start_paused = true)]
async fn a_route_may_start_the_heartbeat_and_a_handler_another() {
    let options = SessionOptions::new().heartbeat(Heartbeat::every(Duration::from_secs(1)));
    let mut connection = Connection::with(options, async |session| {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        session.heartbeat(Heartbeat::every(Duration::from_secs(5)).with(|| Event::new("mine")));
        pending().await
    });
    assert_eq!(connection.run(), []);
    advance(Duration::from_millis(1100)).await;
    assert_eq!(connection.run(), [frame(": heartbeat\n\n")]);
    advance(Duration::from_millis(500)).await;
    assert_eq!(connection.run(), []);
    advance(Duration::from_millis(4900)).await;
    assert_eq!(connection.run(), []);
    advance(Duration::from_millis(200)).await;
    assert_eq!(connection.run(), [frame("data: mine\n\n")]);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_whose_event_cannot_be_made_breaks_its_stream_only() {
    let heartbeat = Heartbeat::default().with(|| -> Event { panic!("on purpose") });
    let options = SessionOptions::new().heartbeat(heartbeat);
    let mut connection = Connection::with(options, async |_| pending().await);
    assert_eq!(connection.run(), []);
    advance(Duration::from_secs(16)).await;
    assert_eq!(connection.run(), [Answer::Break]);
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_beats_while_the_handler_waits() {
    let period = Duration::from_secs(15);
    let mut connection = Connection::open(async move |session| {
        session.heartbeat(Heartbeat::every(period));
        pending().await
    });
    assert_eq!(connection.run(), []);
    for _ in 0..3 {
        let wakes = connection.wakes();
        advance(period - Duration::from_millis(1)).await;
        assert_eq!(connection.wakes(), wakes);
        advance(Duration::from_millis(2)).await;
        assert_eq!(connection.run(), [frame(": heartbeat\n\n")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_does_not_pile_up_on_a_client_that_does_not_read() {
    let mut connection = Connection::open(async |session| {
        session.heartbeat(Heartbeat::every(Duration::from_millis(1)).always(true));
        session
            .send(Event::new("x".repeat(MAX_QUEUED_BYTES)))
            .await?;
        pending().await
    });
    assert!(matches!(connection.poll(), Answer::Frame(_)));
    advance(Duration::from_secs(1)).await;
    let beats = connection.run();
    assert_eq!(
        beats,
        [frame(": heartbeat\n\n")],
        "beats that were missed are not made up for"
    );
}
