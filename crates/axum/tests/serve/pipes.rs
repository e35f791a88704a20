//! A server over pipes, on paused time.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use tidings_axum::{Serve, serve};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::app::on_path;

/// A listener that accepts the far ends of pipes.
pub(crate) struct Pipes(UnboundedReceiver<DuplexStream>);

impl Listener for Pipes {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.recv().await {
            Some(pipe) => (pipe, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) struct PipeServer {
    pipes: UnboundedSender<DuplexStream>,
    pub(crate) ended: JoinHandle<io::Result<()>>,
}

impl PipeServer {
    pub(crate) fn start(router: Router, set: impl FnOnce(Serve<Pipes>) -> Serve<Pipes>) -> Self {
        let (pipes, accepted) = unbounded_channel();
        let ended = tokio::spawn(set(serve(Pipes(accepted), on_path(router))).into_future());
        Self { pipes, ended }
    }

    pub(crate) fn connect(&self) -> DuplexStream {
        let (near, far) = duplex(1 << 16);
        self.pipes.send(far).unwrap();
        near
    }
}

/// The text that arrives until the connection is closed, or until nothing has arrived for so long.
pub(crate) async fn read_for(pipe: &mut DuplexStream, quiet: Duration) -> (String, bool) {
    let mut read = Vec::new();
    loop {
        let mut buffer = [0; 8192];
        match tidings_testkit::timeout::timeout(quiet, pipe.read(&mut buffer)).await {
            Ok(Ok(count @ 1..)) => read.extend_from_slice(&buffer[..count]),
            Ok(_) => return (String::from_utf8(read).unwrap(), true),
            Err(_) => return (String::from_utf8(read).unwrap(), false),
        }
    }
}
