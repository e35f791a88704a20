//! The lower bound: a loop over epoll that writes prepared bytes, one write per session.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use tokio::time::Instant;

use crate::harness::Result;
use crate::server::{control, events};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
    cache-control: no-store\r\ntransfer-encoding: chunked\r\n\r\n";

const HEARTBEAT: &[u8] = b"c\r\n:heartbeat\n\n\r\n";

/// The epoll key of the control socket, which belongs to no session.
const CONTROL: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

/// Serves until its standard input is closed.
pub fn run(heartbeat: Option<Duration>, has_ids: bool) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut control = control::of_stdin()?;
    control.write_all(control::hello(listener.local_addr()?).as_bytes())?;
    let mut server = Bare {
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        listener,
        control,
        sessions: Vec::new(),
        published: 0,
        event: if has_ids {
            events::event_with_id
        } else {
            events::event
        },
        beats: heartbeat.map(|period| Beats {
            period,
            due: BinaryHeap::new(),
        }),
    };
    let of = epoll::EventData::new_u64;
    let readable = epoll::EventFlags::IN;
    epoll::add(&server.epoll, &server.listener, of(LISTENER), readable)?;
    epoll::add(&server.epoll, &server.control, of(CONTROL), readable)?;
    server.run()
}

struct Bare {
    epoll: OwnedFd,
    listener: TcpListener,
    control: UnixStream,
    sessions: Vec<TcpStream>,
    published: usize,
    event: fn(usize) -> String,
    beats: Option<Beats>,
}

struct Beats {
    period: Duration,
    /// The time of each session's next heartbeat.
    due: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Bare {
    fn run(&mut self) -> Result<()> {
        let mut ready = Vec::with_capacity(1024);
        loop {
            ready.clear();
            let timeout = self
                .send_heartbeats()?
                .map(Timespec::try_from)
                .transpose()?;
            match epoll::wait(&self.epoll, spare_capacity(&mut ready), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &ready {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    CONTROL => {
                        if !self.run_command()? {
                            return Ok(());
                        }
                    }
                    session => self.answer(usize::try_from(session)?)?,
                }
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        let (session, _) = self.listener.accept()?;
        session.set_nodelay(true)?;
        session.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(self.sessions.len() as u64);
        epoll::add(&self.epoll, &session, data, epoll::EventFlags::IN)?;
        self.sessions.push(session);
        Ok(())
    }

    /// The first read is the client's only request, in one piece. A later one means that it is gone.
    fn answer(&mut self, index: usize) -> Result<()> {
        let mut session = &self.sessions[index];
        match session.read(&mut [0; 4096]) {
            Ok(length) if length > 0 => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Ok(_) | Err(_) => {
                epoll::delete(&self.epoll, session)?;
                return Ok(());
            }
        }
        session.write_all(HEAD)?;
        if let Some(Beats { period, due }) = &mut self.beats {
            due.push(Reverse((Instant::now() + *period, index)));
        }
        Ok(())
    }

    /// Runs the next command; returns `false` once the load is gone.
    fn run_command(&mut self) -> Result<bool> {
        let mut command = [0; 4];
        match self.control.read_exact(&mut command) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        match u32::from_be_bytes(command) {
            control::REPORT => self.control.write_all(control::report()?.as_bytes())?,
            at_once => self.publish(usize::try_from(at_once)?)?,
        }
        Ok(true)
    }

    fn publish(&mut self, at_once: usize) -> Result<()> {
        let numbers = self.published..self.published + at_once;
        let events: String = numbers.map(self.event).collect();
        let chunk = format!("{:x}\r\n{events}\r\n", events.len());
        self.published += at_once;
        for mut session in &self.sessions {
            session.write_all(chunk.as_bytes())?;
        }
        Ok(())
    }

    /// Sends the heartbeats that are due, and returns the time until the next: in whole milliseconds,
    /// as tokio does.
    fn send_heartbeats(&mut self) -> Result<Option<Duration>> {
        let Some(Beats { period, due }) = &mut self.beats else {
            return Ok(None);
        };
        let now = Instant::now();
        while let Some(mut next) = due.peek_mut() {
            let Reverse((at, index)) = *next;
            if at > now {
                let millis = (at - now).as_nanos().div_ceil(1_000_000);
                return Ok(Some(Duration::from_millis(u64::try_from(millis)?)));
            }
            // A write to a client that is gone may fail.
            drop((&self.sessions[index]).write_all(HEARTBEAT));
            *next = Reverse((now + *period, index));
        }
        Ok(None)
    }
}
