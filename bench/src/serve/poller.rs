//! `Poller`: which of many sockets have data.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::harness::Result;

/// The sleep while no data arrives.
const SLEEP: Duration = Duration::from_micros(200);

/// Polls without waiting, as the load of the bench of servers does: if it waited for data, each of the
/// server's writes might have to wake it on another core.
pub struct Poller {
    epoll: OwnedFd,
    ready: Vec<epoll::Event>,
    sleeps: bool,
}

impl Poller {
    /// Sleeps a moment while no data arrives.
    pub fn sleeping() -> Result<Self> {
        Self::new(true)
    }

    /// Asks again at once, for measurements of elapsed time.
    pub fn spinning() -> Result<Self> {
        Self::new(false)
    }

    fn new(sleeps: bool) -> Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            ready: Vec::with_capacity(1024),
            sleeps,
        })
    }

    pub fn add(&self, socket: impl AsFd, index: usize) -> Result<()> {
        let data = epoll::EventData::new_u64(index as u64);
        Ok(epoll::add(
            &self.epoll,
            socket,
            data,
            epoll::EventFlags::IN,
        )?)
    }

    /// Passes on the index of each socket that has data.
    pub fn poll(&mut self, mut read: impl FnMut(usize) -> Result<()>) -> Result<()> {
        self.ready.clear();
        let at_once = Timespec::default();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.ready), Some(&at_once)) {
            #[allow(clippy::disallowed_methods, reason = "no clock is paused here")]
            Ok(0) if self.sleeps => std::thread::sleep(SLEEP),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &self.ready {
            read(usize::try_from(event.data.u64())?)?;
        }
        Ok(())
    }
}
