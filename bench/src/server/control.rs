//! Owns the way between the load and the server: a socket that is the server's standard input.
//!
//! The load sends a byte at a time: how many events are to be published now, or 0 for what was used
//! so far. Once the load is gone, the server ends.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use crate::harness::{Request, Result};
use crate::server::usage::Usage;

/// The byte that asks what was used.
pub const REPORT: u8 = 0;

/// A server that runs for as long as this lives, and no longer than this process.
pub struct Server {
    process: Child,
    control: Option<BufReader<UnixStream>>,
    pub address: SocketAddr,
}

impl Server {
    /// Starts it on the core that is measured.
    pub fn start(request: &Request, has_heartbeat: bool) -> Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let process = Command::new(std::env::current_exe()?)
            .args(["broadcast", &request.contender, &request.core.to_string()])
            .args(has_heartbeat.then_some("--heartbeat"))
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

    /// Publishes as many events at once.
    pub fn publish(&mut self, events: u8) -> Result<()> {
        self.control()?.get_mut().write_all(&[events])?;
        Ok(())
    }

    pub fn usage(&mut self) -> Result<Usage> {
        let control = self.control()?;
        control.get_mut().write_all(&[REPORT])?;
        let mut line = String::new();
        control.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    fn control(&mut self) -> Result<&mut BufReader<UnixStream>> {
        Ok(self.control.as_mut().ok_or("the server is gone")?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Closes its input, at which it ends.
        self.control = None;
        self.process.wait().expect("it was started");
    }
}

/// The server's end.
pub fn of_stdin() -> Result<UnixStream> {
    Ok(std::io::stdin().as_fd().try_clone_to_owned()?.into())
}

/// The address that the load is to connect to, as it is told.
pub fn hello(address: SocketAddr) -> String {
    format!("{address}\n")
}

/// The answer to [`REPORT`].
pub fn report() -> Result<String> {
    Ok(serde_json::to_string(&Usage::now()?)? + "\n")
}
