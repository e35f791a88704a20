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
use tidings_server::{Error, HandlerError, Session, SessionBody, SseRequest};
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
        let (parts, ()) = Request::new(()).into_parts();
        let body = SseRequest::new(parts).open(handler).into_body();
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
    // Whenever the flush looks, before the connection's turn or after it.
    for looks_before_the_turn in [true, false] {
        let (mut connection, session) = handed_over();
        session.send(Event::new("a")).await.unwrap();
        let mut flush = pin!(session.flush());
        assert!(poll_once(flush.as_mut()).is_pending());
        assert_eq!(connection.poll(), frame("data: a\n\n"));
        // The frame was the answer to all wakes so far.
        connection.answered = connection.wakes();
        if looks_before_the_turn {
            assert!(poll_once(flush.as_mut()).is_pending());
        }
        assert_eq!(connection.run(), []);
        if !looks_before_the_turn {
            assert!(poll_once(flush.as_mut()).is_pending());
            assert_eq!(connection.run(), []);
        }
        assert!(
            poll_once(flush.as_mut()).is_ready(),
            "{looks_before_the_turn}"
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
        session.heartbeat(Heartbeat::every(Duration::from_millis(1)).always());
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
