//! The measurement of whether subscribers that do not read slow a publisher down.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};

use rustix::io::ioctl_fionread;
use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};

use crate::harness::{Request, Result, Sample, another_core, pin_to};
use crate::hub::contenders::SERVE;
use crate::hub::rows::HEARTBEAT;
use crate::hub::serving::COMMAND;
use crate::server::control::{Server, Setting};
use crate::server::limits;
use crate::server::session_reader::REQUEST;

pub const ALONE: &str = "nobody";
pub const STALLED: &str = "1,000 stalled";

pub const CONTENDERS: [&str; 2] = [ALONE, STALLED];

const SESSIONS: usize = 1_000;

/// The kernel's buffer on either side, in bytes: far less than is published.
const HELD_BYTES: usize = 4 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Percentile {
    Median,
    P99,
}

impl Percentile {
    pub const ALL: [Self; 2] = [Self::Median, Self::P99];

    pub fn name(self) -> &'static str {
        match self {
            Self::Median => "publish beside stalled clients: median",
            Self::P99 => "publish beside stalled clients: p99",
        }
    }
}

pub fn sample(request: &Request, percentile: Percentile) -> Result<Sample> {
    limits::raise()?;
    let setting = Setting {
        command: COMMAND,
        contender: SERVE,
        heartbeat: Some(HEARTBEAT),
        has_ids: true,
        held_bytes: Some(HELD_BYTES),
    };
    let mut server = Server::start(request.core, setting)?;
    pin_to(another_core(request.core)?)?;
    let sessions = if request.contender == STALLED {
        SESSIONS
    } else {
        0
    };
    let clients: Vec<_> = (0..sessions)
        .map(|_| open(server.address))
        .collect::<Result<_>>()?;
    fill(&mut server, request.quick)?;
    let (before, published) = (
        unread(&clients)?,
        if request.quick { 5_000 } else { 50_000 },
    );
    let times = server.time(published)?;
    if unread(&clients)? != before {
        return Err("somebody was not stalled yet, or is gone".into());
    }
    Ok(Sample {
        cost: match percentile {
            Percentile::Median => times.median_ns,
            Percentile::P99 => times.p99_ns,
        },
        part: None,
        units: 1,
        tally: None,
    })
}

/// A client that has read the head and then stops reading.
fn open(address: SocketAddr) -> Result<TcpStream> {
    let client = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_recv_buffer_size(&client, HELD_BYTES)?;
    sockopt::set_socket_linger(&client, Some(std::time::Duration::ZERO))?;
    connect(&client, &address)?;
    let mut client = TcpStream::from(client);
    std::io::Write::write_all(&mut client, REQUEST)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if !head.starts_with(b"HTTP/1.1 200 OK\r\n") {
        return Err(format!("refused: {}", String::from_utf8_lossy(&head)).into());
    }
    Ok(client)
}

/// Publishes several times as many bytes as fit between the hub and a client.
fn fill(server: &mut Server, quick: bool) -> Result<()> {
    let thousands = if quick { 30 } else { 300 };
    for _ in 0..thousands {
        server.publish(1_000)?;
        // The answer comes after everything is published.
        server.usage()?;
    }
    Ok(())
}

/// The unread bytes of each client.
fn unread(clients: &[TcpStream]) -> Result<Vec<u64>> {
    let unread = clients.iter().map(ioctl_fionread);
    Ok(unread.collect::<rustix::io::Result<_>>()?)
}
