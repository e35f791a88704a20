//! Owns the load: many sessions heard on one thread.
//!
//! It looks and naps in turns. Were it to wait for what comes, each of the server's writes might
//! have to wake it, on another core: a cost that no server has whose clients are elsewhere, and
//! that is the higher the slower the server is.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use tokio::time::Instant;

use crate::harness::Result;
use crate::server::ear::Ear;

/// How many sessions open at a time: fewer than a server's backlog holds.
const OPENING: usize = 16;

/// How long it naps while nothing comes.
const NAP: Duration = Duration::from_millis(1);

/// What takes longer will never come.
const PATIENCE: Duration = Duration::from_secs(30);

const BUFFER_BYTES: usize = 64 * 1024;

pub struct Load {
    epoll: OwnedFd,
    ready: Vec<epoll::Event>,
    buffer: Vec<u8>,
    ears: Vec<Ear>,
    /// The events that are to be heard.
    script: Vec<String>,
    /// Whether it naps while nothing comes.
    naps: bool,
}

impl Load {
    /// Opens sessions, spread evenly over a time, that are to hear these events.
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
            ears: Vec::with_capacity(sessions),
            script,
            naps: true,
        };
        let begin = Instant::now();
        let step = over / u32::try_from(sessions)?;
        while load.ears.len() < sessions {
            let begun = load.ears.len();
            for index in begun..sessions.min(begun + OPENING) {
                let ear = Ear::open(address)?;
                let data = epoll::EventData::new_u64(index as u64);
                epoll::add(&load.epoll, &ear, data, epoll::EventFlags::IN)?;
                load.ears.push(ear);
            }
            load.hear_until_all(begun, |ear| ear.is_open)?;
            load.hear_until(begin + step * u32::try_from(load.ears.len())?)?;
        }
        Ok(load)
    }

    /// Waits until everybody has heard this many events in all, and nobody more.
    pub fn hear_events(&mut self, events: usize) -> Result<()> {
        self.hear_until_all(0, |ear| ear.events >= events)?;
        if self.ears.iter().any(|ear| ear.events > events) {
            return Err("more was heard than was published".into());
        }
        Ok(())
    }

    /// Looks without a nap from now on: for what is measured in the time that passes.
    pub fn stay_awake(&mut self) {
        self.naps = false;
    }

    /// Waits until everybody has heard this many events, and says how long after `begin` each did.
    pub fn time_events(&mut self, events: usize, begin: Instant) -> Result<Vec<Duration>> {
        let mut times = Vec::with_capacity(self.ears.len());
        let patience = begin + PATIENCE;
        while times.len() < self.ears.len() {
            if Instant::now() > patience {
                return Err("not everybody heard what was sent".into());
            }
            let heard = self.hear_what_came(|ear| ear.events >= events)?;
            times.extend(std::iter::repeat_n(begin.elapsed(), heard));
        }
        Ok(times)
    }

    /// How many bytes of events were heard, by all.
    pub fn bytes(&self) -> usize {
        self.ears.iter().map(|ear| ear.bytes).sum()
    }

    /// How many heartbeats each session has heard so far.
    pub fn heartbeats(&self) -> Vec<usize> {
        self.ears.iter().map(|ear| ear.heartbeats).collect()
    }

    pub fn hear_until(&mut self, end: Instant) -> Result<()> {
        while Instant::now() < end {
            self.hear_what_came(|_| false)?;
        }
        Ok(())
    }

    /// Waits until this holds of all sessions from an index on; those before have it behind them.
    fn hear_until_all(&mut self, from: usize, is_done: impl Fn(&Ear) -> bool) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let mut missing = self.ears[from..].iter().filter(|ear| !is_done(ear)).count();
        while missing > 0 {
            if Instant::now() > end {
                return Err(format!("{missing} sessions did not hear what was sent").into());
            }
            missing -= self.hear_what_came(&is_done)?;
        }
        Ok(())
    }

    /// Hears what has come, or naps if nothing has. Says of how many sessions this now holds.
    fn hear_what_came(&mut self, is_done: impl Fn(&Ear) -> bool) -> Result<usize> {
        self.ready.clear();
        let at_once = Timespec::default();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.ready), Some(&at_once)) {
            #[allow(clippy::disallowed_methods, reason = "see the first lines")]
            Ok(0) if self.naps => std::thread::sleep(NAP),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut done = 0;
        for event in &self.ready {
            let ear = &mut self.ears[usize::try_from(event.data.u64())?];
            let was_done = is_done(ear);
            ear.hear(&mut self.buffer, &self.script)?;
            done += usize::from(!was_done && is_done(ear));
        }
        Ok(done)
    }
}
