//! The control connection between the load and the server: a socket as the server's standard input.
//!
//! The load sends one number at a time: the number of events to publish now, one of the other commands,
//! which are larger than any such number, or 0 for the usage so far. When the load is gone, the server
//! ends.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::harness::Result;
use crate::server::usage::Usage;

/// Asks for the usage so far.
pub const REPORT: u32 = 0;
/// Added to a number of events: publishes them one after the other and asks for the time of each.
pub const TIME: u32 = 1 << 31;

/// The settings of a server.
#[derive(Clone, Copy)]
pub struct Setting<'s> {
    /// The hidden command of this program that runs it.
    pub command: &'s str,
    pub contender: &'s str,
    /// The heartbeat's period for a quiet session, in seconds.
    pub heartbeat: Option<u64>,
    /// Whether events have IDs, as a hub's events have.
    pub has_ids: bool,
    /// The kernel's send buffer for a client that does not read, in bytes. `None` leaves it to the
    /// kernel: up to some megabytes.
    pub held_bytes: Option<usize>,
}

/// The times to publish an event, over many events.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct PublishTimes {
    pub median_ns: u64,
    pub p99_ns: u64,
}

/// A running server, which ends when this is dropped or this process ends.
pub struct Server {
    process: Child,
    control: Option<BufReader<UnixStream>>,
    pub address: SocketAddr,
}

impl Server {
    /// Starts it on the measured core.
    pub fn start(core: usize, setting: Setting<'_>) -> Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let process = Command::new(std::env::current_exe()?)
            .args([setting.command, setting.contender, &core.to_string()])
            .args(
                setting
                    .heartbeat
                    .map(|seconds| format!("--heartbeat={seconds}")),
            )
            .args(setting.has_ids.then_some("--ids"))
            .args(
                setting
                    .held_bytes
                    .map(|bytes| format!("--held-bytes={bytes}")),
            )
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()?;
        let mut control = BufReader::new(ours);
        let mut address = String::new();
        control.read_line(&mut address)?;
        Ok(Self {
            process,
            control: Some(control),
            address: address.trim_end().parse()?,
        })
    }

    /// Publishes this many events at once.
    pub fn publish(&mut self, events: u32) -> Result<()> {
        self.command(events)
    }

    /// Publishes one event after the other, and returns the times.
    pub fn time(&mut self, events: u32) -> Result<PublishTimes> {
        self.ask(TIME | events)
    }

    pub fn usage(&mut self) -> Result<Usage> {
        self.ask(REPORT)
    }

    fn ask<T: DeserializeOwned>(&mut self, command: u32) -> Result<T> {
        self.command(command)?;
        let mut line = String::new();
        self.control()?.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    fn command(&mut self, command: u32) -> Result<()> {
        let control = self.control()?.get_mut();
        control.write_all(&command.to_be_bytes())?;
        Ok(())
    }

    fn control(&mut self) -> Result<&mut BufReader<UnixStream>> {
        Ok(self.control.as_mut().ok_or("the server is gone")?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server ends when its input is closed.
        self.control = None;
        self.process.wait().expect("it was started");
    }
}

/// The server's end of the control connection.
pub fn of_stdin() -> Result<UnixStream> {
    Ok(std::io::stdin().as_fd().try_clone_to_owned()?.into())
}

/// The server's first line: the address for the load to connect to.
pub fn hello(address: SocketAddr) -> String {
    format!("{address}\n")
}

/// The answer to [`REPORT`].
pub fn report() -> Result<String> {
    line(&Usage::now()?)
}

/// The answer to [`TIME`].
pub fn times(mut nanos: Vec<u64>) -> Result<String> {
    nanos.sort_unstable();
    let at = |percent: usize| nanos.get(nanos.len() * percent / 100).copied();
    let (median, p99) = at(50).zip(at(99)).ok_or("nothing was to be published")?;
    line(&PublishTimes {
        median_ns: median,
        p99_ns: p99,
    })
}

fn line(answer: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(answer)? + "\n")
}
