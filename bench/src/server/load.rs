//! The load: one thread reads many sessions.
//!
//! The thread polls and sleeps in turns. If it waited for data, each of the server's writes might have to
//! wake it on another core: a cost that a server with remote clients does not have, and that grows the
//! slower the server is.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use tokio::time::Instant;

use crate::harness::Result;
use crate::server::session_reader::SessionReader;

/// Sessions that open at a time: fewer than a server's backlog holds.
const OPENING: usize = 16;

/// The sleep while no data arrives.
const SLEEP: Duration = Duration::from_millis(1);

/// The longest wait for data; the load fails after it.
const TIMEOUT: Duration = Duration::from_secs(30);

const BUFFER_BYTES: usize = 64 * 1024;

pub struct Load {
    epoll: OwnedFd,
    ready: Vec<epoll::Event>,
    buffer: Vec<u8>,
    readers: Vec<SessionReader>,
    /// The expected events.
    script: Vec<String>,
    /// Whether it sleeps while no data arrives.
    sleeps: bool,
}

impl Load {
    /// Opens sessions, spread evenly over a time, that expect these events.
    pub fn open(
        address: SocketAddr,
        sessions: usize,
        over: Duration,
        script: Vec<String>,
    ) -> Result<Self> {
        let mut load = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            ready: Vec::with_capacity(1024),
            buffer: vec![0; BUFFER_BYTES],
            readers: Vec::with_capacity(sessions),
            script,
            sleeps: true,
        };
        let begin = Instant::now();
        let step = over / u32::try_from(sessions)?;
        while load.readers.len() < sessions {
            let begun = load.readers.len();
            for index in begun..sessions.min(begun + OPENING) {
                let reader = SessionReader::open(address)?;
                let data = epoll::EventData::new_u64(index as u64);
                epoll::add(&load.epoll, &reader, data, epoll::EventFlags::IN)?;
                load.readers.push(reader);
            }
            load.read_until_all(begun, |reader| reader.is_open)?;
            load.hear_until(begin + step * u32::try_from(load.readers.len())?)?;
        }
        Ok(load)
    }

    /// Waits until each session has received this many events in total, and none has received more.
    pub fn await_events(&mut self, events: usize) -> Result<()> {
        self.read_until_all(0, |reader| reader.events >= events)?;
        if self.readers.iter().any(|reader| reader.events > events) {
            return Err("more was received than was published".into());
        }
        Ok(())
    }

    /// Polls without sleeping from now on, for measurements of elapsed time.
    pub fn stay_awake(&mut self) {
        self.sleeps = false;
    }

    /// Waits until each session has received this many events, and returns the times since `begin`.
    pub fn time_events(&mut self, events: usize, begin: Instant) -> Result<Vec<Duration>> {
        let mut times = Vec::with_capacity(self.readers.len());
        let deadline = begin + TIMEOUT;
        while times.len() < self.readers.len() {
            if Instant::now() > deadline {
                return Err("not everybody received what was sent".into());
            }
            let received = self.read_available(|reader| reader.events >= events)?;
            times.extend(std::iter::repeat_n(begin.elapsed(), received));
        }
        Ok(times)
    }

    /// The bytes of events that all sessions received.
    pub fn bytes(&self) -> usize {
        self.readers.iter().map(|reader| reader.bytes).sum()
    }

    /// The heartbeats that each session received so far.
    pub fn heartbeats(&self) -> Vec<usize> {
        self.readers
            .iter()
            .map(|reader| reader.heartbeats)
            .collect()
    }

    pub fn hear_until(&mut self, end: Instant) -> Result<()> {
        while Instant::now() < end {
            self.read_available(|_| false)?;
        }
        Ok(())
    }

    /// Waits until all sessions from an index on are done; those before are done already.
    fn read_until_all(
        &mut self,
        from: usize,
        is_done: impl Fn(&SessionReader) -> bool,
    ) -> Result<()> {
        let end = Instant::now() + TIMEOUT;
        let mut missing = self.readers[from..]
            .iter()
            .filter(|reader| !is_done(reader))
            .count();
        while missing > 0 {
            if Instant::now() > end {
                return Err(format!("{missing} sessions did not receive all events").into());
            }
            missing -= self.read_available(&is_done)?;
        }
        Ok(())
    }

    /// Reads the data that has arrived, or sleeps if there is none. Returns the number of sessions that
    /// are done.
    fn read_available(&mut self, is_done: impl Fn(&SessionReader) -> bool) -> Result<usize> {
        self.ready.clear();
        let at_once = Timespec::default();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.ready), Some(&at_once)) {
            #[allow(clippy::disallowed_methods, reason = "see the first lines")]
            Ok(0) if self.sleeps => std::thread::sleep(SLEEP),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut done = 0;
        for event in &self.ready {
            let reader = &mut self.readers[usize::try_from(event.data.u64())?];
            let was_done = is_done(reader);
            reader.read(&mut self.buffer, &self.script)?;
            done += usize::from(!was_done && is_done(reader));
        }
        Ok(done)
    }
}
