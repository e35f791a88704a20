//! Owns the server's process: who serves, and how it is told what to publish.

use std::io::ErrorKind;
use std::net::SocketAddr;

use axum::response::sse;
use bytes::Bytes;
use clap::Args;
use tidings_proto::{EncodedEvents, Event};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::broadcast;

use crate::harness::{Result, pin_to};
use crate::server::contenders::{
    AXUM_SSE, AXUM_SSE_ON_HYPER, BARE, HAND_WRITTEN, ON_AXUM, ON_HYPER, SERVE,
};
use crate::server::{axum_sse, bare, control, events, hand_written, limits, tidings};

/// More than are ever published at once.
const CAPACITY: usize = 64;

/// What the process of a server is to do.
#[derive(Args)]
pub struct Serving {
    contender: String,
    core: usize,
    /// Sends each session a heartbeat a second
    #[arg(long)]
    heartbeat: bool,
}

/// What a contender serves: every session hears all that is published while it is open.
#[derive(Clone)]
pub struct Stage<T> {
    pub events: broadcast::Sender<T>,
    pub heartbeat: bool,
}

/// What is made once of an event, and cloned for each session.
pub trait Published: Clone + Send + 'static {
    fn of(number: usize) -> Self;
}

impl Published for EncodedEvents {
    fn of(number: usize) -> Self {
        Event::new(events::data(number)).encode()
    }
}

impl Published for sse::Event {
    fn of(number: usize) -> Self {
        Self::default().data(events::data(number))
    }
}

impl Published for Bytes {
    fn of(number: usize) -> Self {
        events::event(number).into()
    }
}

/// Serves until nobody holds the other end of its input.
pub fn serve(serving: &Serving) -> Result<()> {
    pin_to(serving.core)?;
    limits::raise()?;
    match &*serving.contender {
        ON_HYPER => run(serving, tidings::on_hyper),
        SERVE => run(serving, tidings::serve),
        ON_AXUM => run(serving, tidings::on_axum),
        AXUM_SSE => run(serving, axum_sse::on_axum),
        AXUM_SSE_ON_HYPER => run(serving, axum_sse::on_hyper),
        HAND_WRITTEN => run(serving, hand_written::on_hyper),
        BARE => bare::run(serving.heartbeat),
        other => Err(format!("no contender is named {other}").into()),
    }
}

fn run<T, F>(serving: &Serving, contender: impl FnOnce(TcpListener, Stage<T>) -> F) -> Result<()>
where
    T: Published,
    F: Future<Output = ()> + Send + 'static,
{
    // One thread, as there is one core.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let control = control::of_stdin()?;
        control.set_nonblocking(true)?;
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let mut control = UnixStream::from_std(control)?;
        let hello = control::hello(listener.local_addr()?);
        control.write_all(hello.as_bytes()).await?;
        let stage = Stage {
            events: broadcast::Sender::new(CAPACITY),
            heartbeat: serving.heartbeat,
        };
        tokio::spawn(contender(listener, stage.clone()));
        obey(control, &stage.events).await
    })
}

async fn obey<T: Published>(mut control: UnixStream, events: &broadcast::Sender<T>) -> Result<()> {
    let mut published = 0;
    loop {
        match control.read_u8().await {
            Ok(control::REPORT) => control.write_all(control::report()?.as_bytes()).await?,
            Ok(at_once) => {
                for _ in 0..at_once {
                    events
                        .send(T::of(published))
                        .map_err(|_| "nobody is there to hear")?;
                    published += 1;
                }
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
