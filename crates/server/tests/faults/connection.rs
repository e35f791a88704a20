//! A connection that polls a body by hand, as an executor does: when it was woken, and then only.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::Request;
use http_body::Body;
use tidings_server::{HandlerError, Session, SessionBody, SessionOptions, SseRequest};

pub(crate) struct Connection {
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
pub(crate) enum Answer {
    Frame(Bytes),
    Pending,
    End,
    Break,
}

impl Connection {
    pub(crate) fn open<F>(options: SessionOptions, handler: impl FnOnce(Session) -> F) -> Self
    where
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        let (parts, ()) = Request::new(()).into_parts();
        let request = SseRequest::new(parts).options(options);
        Self {
            body: request.open(handler).into_body(),
            wakes: Arc::default(),
            answered: 0,
        }
    }

    /// A session whose handler has handed it to the test, and waits.
    pub(crate) fn handed_over(options: SessionOptions) -> (Self, Arc<Session>) {
        let (hand_over, session) = std::sync::mpsc::channel();
        let mut connection = Self::open(options, async move |session| {
            hand_over.send(Arc::new(session)).unwrap();
            std::future::pending().await
        });
        assert_eq!(connection.run(), (Vec::new(), Answer::Pending));
        (connection, session.recv().unwrap())
    }

    pub(crate) fn poll(&mut self) -> Answer {
        self.answered = self.wakes();
        let waker = Waker::from(Arc::clone(&self.wakes));
        match Pin::new(&mut self.body).poll_frame(&mut Context::from_waker(&waker)) {
            Poll::Pending => Answer::Pending,
            Poll::Ready(None) => Answer::End,
            Poll::Ready(Some(Err(_))) => Answer::Break,
            Poll::Ready(Some(Ok(frame))) => Answer::Frame(frame.into_data().unwrap()),
        }
    }

    pub(crate) fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }

    /// It was woken since it was polled.
    pub(crate) fn is_woken(&self) -> bool {
        self.wakes() != self.answered
    }

    /// Polls until it is pending and was not woken, and gives what left and how it stands then.
    pub(crate) fn run(&mut self) -> (Vec<u8>, Answer) {
        let mut bytes = Vec::new();
        for _ in 0..1_000_000 {
            match self.poll() {
                Answer::Pending if self.is_woken() => {}
                Answer::Frame(frame) => bytes.extend_from_slice(&frame),
                answer => return (bytes, answer),
            }
        }
        panic!("it never rests");
    }
}

pub(crate) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
