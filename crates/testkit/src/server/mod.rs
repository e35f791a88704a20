//! `ScriptedServer`: a server that plays the script of a test on each connection.
#![allow(
    missing_debug_implementations,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    reason = "only tests use these types"
)]

mod received;
mod script;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::timeout::timeout;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use received::Received;
pub use script::{Answer, Script, Step};
pub use wire::Pipe;

use wire::Wire;

/// The limit on the wait for the end of all connections.
const PATIENCE: Duration = Duration::from_secs(10);

/// Plays one script per connection, over pipes in memory or over sockets, and keeps the requests.
#[derive(Clone)]
pub struct ScriptedServer(Arc<Shared>);

struct Shared {
    director: Mutex<Box<dyn FnMut(usize) -> Script + Send>>,
    connections: AtomicUsize,
    requests: Mutex<Vec<Received>>,
    /// The number of open connections.
    open: watch::Sender<usize>,
}

/// A server on a free port. It stops accepting connections when this is dropped.
pub struct Listening {
    /// The address that it listens on.
    pub address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl ScriptedServer {
    /// Plays these scripts, one per connection, and refuses all further connections.
    pub fn plays(scripts: impl IntoIterator<Item = Script>) -> Self {
        let mut scripts: Vec<Script> = scripts.into_iter().collect();
        scripts.reverse();
        Self::directed(move |_| scripts.pop().unwrap_or(Script::Refuse))
    }

    /// Plays the script that `director` returns for each connection, counted from 0.
    pub fn directed(director: impl FnMut(usize) -> Script + Send + 'static) -> Self {
        Self(Arc::new(Shared {
            director: Mutex::new(Box::new(director)),
            connections: AtomicUsize::new(0),
            requests: Mutex::new(Vec::new()),
            open: watch::Sender::new(0),
        }))
    }

    /// The requests that were read, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        lock(&self.0.requests).clone()
    }

    /// Forgets the requests read so far.
    pub fn clear_requests(&self) {
        *lock(&self.0.requests) = Vec::new();
    }

    /// The number of connections that were made or refused.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::SeqCst)
    }

    /// Waits until the client or the script has closed each connection.
    ///
    /// # Panics
    /// If a connection stays open for 10 s.
    pub async fn all_closed(&self) {
        let mut open = self.0.open.subscribe();
        let closed = timeout(PATIENCE, open.wait_for(|open| *open == 0)).await;
        assert!(
            closed.is_ok(),
            "{} connections are still open",
            *self.0.open.borrow()
        );
    }

    /// A connection in memory, served by a task.
    ///
    /// # Errors
    /// `ConnectionRefused` if the script refuses the connection.
    pub fn connect(&self) -> io::Result<Pipe> {
        let script = self.next_script();
        if matches!(script, Script::Refuse) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (pipe, server) = wire::pipe();
        self.spawn(server, script);
        Ok(pipe)
    }

    /// Listens on a free port of this machine. A script that refuses resets the connection instead.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn listen(&self) -> io::Result<Listening> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = self.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let script = server.next_script();
                server.spawn(stream, script);
            }
        });
        Ok(Listening { address, accepting })
    }

    fn next_script(&self) -> Script {
        let connection = self.0.connections.fetch_add(1, Ordering::SeqCst);
        lock(&self.0.director)(connection)
    }

    /// Serves a connection in a task of its own.
    fn spawn<W: Wire>(&self, mut wire: W, script: Script) {
        let server = self.clone();
        server.0.open.send_modify(|open| *open += 1);
        tokio::spawn(async move {
            // A test may want a client that disconnects in between.
            let _gone = server.play(&mut wire, script).await;
            drop(wire);
            server.0.open.send_modify(|open| *open -= 1);
        });
    }

    async fn play<W: Wire>(&self, wire: &mut W, script: Script) -> io::Result<()> {
        let steps = match script {
            Script::Refuse => vec![Step::Reset],
            Script::Unread(steps) => steps,
            Script::Answer(answer) => {
                let request = received::read(wire).await?;
                lock(&self.0.requests).push(request.clone());
                answer(&request)
            }
        };
        script::play(wire, steps).await?;
        // Closing a socket with unread bytes resets it, and bytes sent before could be lost.
        let mut rest = [0; 1024];
        while wire.read(&mut rest).await? > 0 {}
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
