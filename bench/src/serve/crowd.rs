//! `Crowd`: many subscribers that one thread reads.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::harness::Result;
use crate::serve::event_stream::{EventStream, Received};
use crate::serve::poller::Poller;

/// Streams that open at a time: fewer than a server's backlog holds.
const OPENING: usize = 16;

/// The longest wait for data; the sample fails after it.
pub const TIMEOUT: Duration = Duration::from_secs(30);

const BUFFER_BYTES: usize = 64 * 1024;

pub struct Crowd {
    address: SocketAddr,
    poller: Poller,
    /// `None` for a subscriber that is away.
    streams: Vec<Option<EventStream>>,
    buffer: Vec<u8>,
}

impl Crowd {
    /// Opens a stream for each request. None of them may receive an event yet.
    pub fn open(
        address: SocketAddr,
        poller: Poller,
        requests: impl IntoIterator<Item = String>,
    ) -> Result<Self> {
        let mut crowd = Self {
            address,
            poller,
            streams: Vec::new(),
            buffer: vec![0; BUFFER_BYTES],
        };
        let mut requests = requests.into_iter().peekable();
        while requests.peek().is_some() {
            let begun = crowd.streams.len();
            for request in requests.by_ref().take(OPENING) {
                crowd.streams.push(None);
                crowd.reopen(crowd.streams.len() - 1, &request)?;
            }
            crowd.await_heads(begun)?;
        }
        Ok(crowd)
    }

    fn await_heads(&mut self, begun: usize) -> Result<()> {
        let end = Instant::now() + TIMEOUT;
        let is_open =
            |stream: &Option<EventStream>| stream.as_ref().is_some_and(EventStream::is_open);
        while !self.streams[begun..].iter().all(is_open) {
            if Instant::now() > end {
                return Err("a subscription was not answered in time".into());
            }
            self.poll(|_, _| Err("an event arrived before it was published".into()))?;
        }
        Ok(())
    }

    pub fn close(&mut self, subscriber: usize) {
        self.streams[subscriber] = None;
    }

    pub fn reopen(&mut self, subscriber: usize, request: &str) -> Result<()> {
        let mut stream = EventStream::open(self.address, request)?;
        stream.poll_events()?;
        self.poller.add(&stream, subscriber)?;
        self.streams[subscriber] = Some(stream);
        Ok(())
    }

    /// Reads the data that has arrived, and passes each event on with the number of its subscriber.
    pub fn poll(
        &mut self,
        mut receive: impl FnMut(usize, Received<'_>) -> Result<()>,
    ) -> Result<()> {
        let Self {
            poller,
            streams,
            buffer,
            ..
        } = self;
        poller.poll(|subscriber| match &mut streams[subscriber] {
            Some(stream) => stream.read(buffer, |event| receive(subscriber, event)),
            None => Ok(()),
        })
    }
}
