//! A proxy that cuts each connection after some bytes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

pub(crate) struct Cutter {
    address: SocketAddr,
    cuts: Arc<AtomicUsize>,
}

impl Cutter {
    /// Forwards to this server. A connection is cut after at most `limit` bytes from the server, in the head
    /// of the response or in the middle of an event.
    pub(crate) fn start(server: SocketAddr, limit: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("the port's number");
        let cuts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&cuts);
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let counted = Arc::clone(&counted);
                // Numbers unrelated to the length of events, the same in each run.
                let places = [997, 131, 619, 257, 853, 389, 41, 719, 523, 911, 307];
                let cut = places[counted.load(Relaxed) % places.len()] * limit / 1000;
                thread::spawn(move || {
                    if pass_on(&client, server, cut) {
                        counted.fetch_add(1, Relaxed);
                    }
                });
            }
        });
        Self { address, cuts }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of cut connections.
    pub(crate) fn cuts(&self) -> usize {
        self.cuts.load(Relaxed)
    }
}

/// Forwards until this many bytes of the server have passed, or either side has closed. Returns whether it
/// cut the connection.
fn pass_on(client: &TcpStream, server: SocketAddr, bytes: usize) -> bool {
    let server = TcpStream::connect(server).expect("the server accepts");
    thread::scope(|scope| {
        scope.spawn(|| copy(client, &server, usize::MAX));
        let is_cut = copy(&server, client, bytes);
        // Otherwise the other direction still waits for the client.
        for socket in [client, &server] {
            socket.shutdown(Shutdown::Both).ok();
        }
        is_cut
    })
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, mut left: usize) -> bool {
    let mut buffer = [0; 1024];
    while left > 0 {
        let room = left.min(buffer.len());
        let Ok(read @ 1..) = from.read(&mut buffer[..room]) else {
            return false;
        };
        if to.write_all(&buffer[..read]).is_err() {
            return false;
        }
        left -= read;
    }
    true
}
