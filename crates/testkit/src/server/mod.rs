//! Owns `ScriptedServer`: a server that does to each connection exactly what a test says.
#![allow(
    missing_debug_implementations,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    reason = "only tests know these"
)]

mod received;
mod script;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use received::Received;
pub use script::{Answer, Script, Step};
pub use wire::Pipe;

use wire::Wire;

/// Plays one script a connection, over pipes in memory or over sockets, and keeps the requests.
#[derive(Clone)]
pub struct ScriptedServer(Arc<Shared>);

struct Shared {
    director: Mutex<Box<dyn FnMut(usize) -> Script + Send>>,
    connections: AtomicUsize,
    requests: Mutex<Vec<Received>>,
    open: AtomicUsize,
}

/// A server on a port of its own, until it is dropped.
pub struct Listening {
    /// Where it listens.
    pub address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl ScriptedServer {
    /// Plays these, and refuses all further connections.
    pub fn plays(scripts: impl IntoIterator<Item = Script>) -> Self {
        let mut scripts: Vec<Script> = scripts.into_iter().collect();
        scripts.reverse();
        Self::directed(move |_| scripts.pop().unwrap_or(Script::Refuse))
    }

    /// Plays what it is told for each connection, counted from 0.
    pub fn directed(director: impl FnMut(usize) -> Script + Send + 'static) -> Self {
        Self(Arc::new(Shared {
            director: Mutex::new(Box::new(director)),
            connections: AtomicUsize::new(0),
            requests: Mutex::new(Vec::new()),
            open: AtomicUsize::new(0),
        }))
    }

    /// The requests that were read, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        lock(&self.0.requests).clone()
    }

    /// Forgets the requests that were read.
    pub fn clear_requests(&self) {
        *lock(&self.0.requests) = Vec::new();
    }

    /// How many connections were made or refused.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::SeqCst)
    }

    /// How many connections are not closed by the client yet, nor by the script.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.0.open.load(Ordering::SeqCst)
    }

    /// A connection in memory, served by a task.
    ///
    /// # Errors
    /// The script refuses it.
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
    /// There is no port.
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
        server.0.open.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            // A client that goes away in between is what a test may want.
            let _gone = server.play(&mut wire, script).await;
            drop(wire);
            server.0.open.fetch_sub(1, Ordering::SeqCst);
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
        // A socket that is closed before all was read is reset, and what was sent may be lost.
        let mut rest = [0; 1024];
        while wire.read(&mut rest).await? > 0 {}
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
