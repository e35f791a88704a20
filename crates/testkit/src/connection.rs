//! `Connection`: polls a response body by hand, as an executor does: after it was woken.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::Body;

use crate::wakes::Wakes;

/// A connection that polls a response body by hand.
#[derive(Debug)]
pub struct Connection<B> {
    body: Pin<Box<B>>,
    wakes: Wakes,
    /// How many of the wakes were followed by a poll.
    answered: usize,
}

/// The result of one poll of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "tests match each")]
pub enum Polled {
    /// A frame of data.
    Frame(Bytes),
    /// Nothing yet.
    Pending,
    /// The clean end.
    End,
    /// An error, which cuts the response.
    Cut,
}

impl Polled {
    /// A frame with this text.
    #[must_use]
    pub fn frame(text: impl Into<Bytes>) -> Self {
        Self::Frame(text.into())
    }
}

impl<B: Body<Data = Bytes>> Connection<B> {
    /// A connection that has not polled the body yet.
    #[must_use]
    pub fn new(body: B) -> Self {
        Self {
            body: Box::pin(body),
            wakes: Wakes::default(),
            answered: 0,
        }
    }

    /// A connection that has written the head of the response.
    ///
    /// # Panics
    /// If the first poll of the body is not pending, so that the head could not leave first.
    #[must_use]
    pub fn after_head(body: B) -> Self {
        let mut connection = Self::new(body);
        assert_eq!(connection.poll(), Polled::Pending, "the head leaves first");
        connection
    }

    /// Polls the body once, woken or not.
    pub fn poll(&mut self) -> Polled {
        self.answered = self.wakes.count();
        self.poll_with(&self.wakes.waker())
    }

    /// Polls the body once with another waker, as another task does.
    ///
    /// # Panics
    /// If a frame has no data.
    pub fn poll_with(&mut self, waker: &Waker) -> Polled {
        match self
            .body
            .as_mut()
            .poll_frame(&mut Context::from_waker(waker))
        {
            Poll::Pending => Polled::Pending,
            Poll::Ready(None) => Polled::End,
            Poll::Ready(Some(Err(_))) => Polled::Cut,
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => Polled::Frame(data),
                Err(_) => unreachable!("an event stream has no trailers"),
            },
        }
    }

    /// Polls until the body is pending and was not woken. Returns every other result on the way; the
    /// last is the end, if there is one.
    ///
    /// # Panics
    /// If the body wakes itself without end.
    pub fn run(&mut self) -> Vec<Polled> {
        let mut results = Vec::new();
        for _ in 0..1_000_000 {
            match self.poll() {
                Polled::Pending if self.is_woken() => {}
                Polled::Pending => return results,
                frame @ Polled::Frame(_) => results.push(frame),
                end @ (Polled::End | Polled::Cut) => {
                    results.push(end);
                    return results;
                }
            }
        }
        unreachable!("the body is woken without end");
    }

    /// Polls as [`run`](Self::run) does. Returns the bytes of all frames, and the last result.
    ///
    /// # Panics
    /// If the body wakes itself without end.
    pub fn read(&mut self) -> (Vec<u8>, Polled) {
        let mut bytes = Vec::new();
        let mut last = Polled::Pending;
        for result in self.run() {
            match result {
                Polled::Frame(frame) => bytes.extend_from_slice(&frame),
                end => last = end,
            }
        }
        (bytes, last)
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &B {
        &self.body
    }

    /// How often the body has woken this connection.
    #[must_use]
    pub fn wakes(&self) -> usize {
        self.wakes.count()
    }

    /// Whether the body has woken this connection since the last poll.
    #[must_use]
    pub fn is_woken(&self) -> bool {
        self.wakes() != self.answered
    }

    /// From now on another task polls the body, with another waker and no wakes yet.
    pub fn move_to_another_task(&mut self) {
        self.wakes = Wakes::default();
        self.answered = 0;
    }
}

/// Polls a future once, with a waker that does nothing.
pub fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
