//! Ten thousand clients that connect and disconnect.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidings_server::{Event, Heartbeat, Limits, SessionOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::{ALLOCATED, SocketAddr, alone, serve, until};

const WAVES: usize = 100;
const CLIENTS_PER_WAVE: usize = 100;

/// The number of handlers that have begun, and of those that still run.
#[derive(Default)]
struct Handlers {
    begun: AtomicUsize,
    open: AtomicUsize,
}

struct Running(Arc<Handlers>);

impl Running {
    fn new(handlers: &Arc<Handlers>) -> Self {
        handlers.begun.fetch_add(1, Ordering::SeqCst);
        handlers.open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(handlers))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

fn sockets() -> usize {
    // On systems without this folder, sockets are not counted.
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Connects, and disconnects at one of five points: at once, after the request, after the head, after some
/// events, or at the end.
async fn connect_and_disconnect(address: SocketAddr, way: usize) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    if way == 0 {
        return;
    }
    let path = if way == 4 { "/short" } else { "/long" };
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let last: &[u8] = match way {
        1 => return,
        2 => b"\r\n\r\n",
        3 => b"data: 3\n\n",
        _ => b"\r\n0\r\n\r\n",
    };
    let mut read = Vec::new();
    while !read.windows(last.len()).any(|bytes| bytes == last) {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "cut");
    }
}

#[test]
fn ten_thousand_clients_that_connect_and_disconnect_leak_nothing() {
    alone(async {
        let limits = Limits::new();
        let handlers = Arc::new(Handlers::default());
        let options = SessionOptions::new()
            .limits(&limits)
            .heartbeat(Heartbeat::every(Duration::from_millis(50)))
            .max_lifetime(Duration::from_secs(3600));
        let counting = Arc::clone(&handlers);
        let address = serve(options, move |session| {
            let running = Running::new(&counting);
            async move {
                let _running = running;
                let sender = session.sender();
                session.spawn(async move {
                    sender.send(Event::new("beside")).await?;
                    std::future::pending().await
                });
                for n in 0.. {
                    session.send(Event::new(n.to_string())).await?;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    if session.request().uri.path() == "/short" && n == 3 {
                        break;
                    }
                }
                Ok(())
            }
        });
        let address = address.await;
        let alive = || Handle::current().metrics().num_alive_tasks();
        let mut before = None;
        for wave in 0..WAVES {
            let mut clients = JoinSet::new();
            for client in 0..CLIENTS_PER_WAVE {
                clients.spawn(connect_and_disconnect(address, client % 5));
            }
            clients.join_all().await;
            // The first wave allocates memory that stays, such as the tables of the runtime.
            if wave == 0 {
                until("all handlers dropped", || alive() == 1).await;
                before = Some((sockets(), ALLOCATED.allocated()));
            }
        }
        until("all handlers dropped", || alive() == 1).await;
        let (open_before, held_before) = before.unwrap();
        assert_eq!(handlers.open.load(Ordering::SeqCst), 0);
        let begun = handlers.begun.load(Ordering::SeqCst);
        assert!(begun >= WAVES * CLIENTS_PER_WAVE * 3 / 5, "{begun}");
        assert_eq!(limits.sessions(), 0);
        assert_eq!(sockets(), open_before);
        let held = ALLOCATED.allocated().saturating_sub(held_before);
        assert!(held < 64 * 1024, "{held} bytes are still allocated");
    });
}
