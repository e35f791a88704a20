//! The server's process: the contender that serves, and the commands that make it publish.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use axum::response::sse;
use bytes::Bytes;
use clap::Args;
use rustix::net::sockopt;
use tidings_proto::{EncodedEvents, Event};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::harness::{Result, pin_to};
use crate::server::contenders::{
    AXUM_SSE, AXUM_SSE_ON_HYPER, BARE, HAND_WRITTEN, ON_AXUM, ON_HYPER, SERVE,
};
use crate::server::{axum_sse, bare, control, events, hand_written, limits, tidings};

/// The capacity of a server's broadcast channel, in events; the hub's bench publishes more at once.
const CAPACITY: usize = 64;
const LARGE_CAPACITY: usize = 16 * 1024;

/// The order for the process of a server.
#[derive(Args)]
pub struct Serving {
    pub contender: String,
    pub core: usize,
    /// Sends each quiet session a heartbeat after this many seconds
    #[arg(long)]
    heartbeat: Option<u64>,
    /// Sends events with IDs, and has room for many
    #[arg(long)]
    ids: bool,
    /// Limits the kernel's send buffer for each client to this many bytes
    #[arg(long)]
    held_bytes: Option<usize>,
}

impl Serving {
    pub fn heartbeat(&self) -> Option<Duration> {
        self.heartbeat.map(Duration::from_secs)
    }
}

/// The broadcast that a contender serves: each session receives the events published while it is open.
#[derive(Clone)]
pub struct Stage<T> {
    pub events: broadcast::Sender<T>,
    pub heartbeat: Option<Duration>,
}

/// The publisher of the numbered events.
pub trait Publisher {
    /// Publishes them at once, as far as the contender can.
    fn publish(&mut self, numbers: Range<usize>) -> impl Future<Output = Result<()>>;
}

/// The form of an event that is made once and cloned for each session.
pub trait Published: Clone + Send + 'static {
    fn of(number: usize, has_id: bool) -> Self;
}

impl Published for EncodedEvents {
    fn of(number: usize, _: bool) -> Self {
        Event::new(events::data(number)).encode()
    }
}

impl Published for sse::Event {
    fn of(number: usize, has_id: bool) -> Self {
        let event = if has_id {
            Self::default().id(events::id(number))
        } else {
            Self::default()
        };
        event.data(events::data(number))
    }
}

impl Published for Bytes {
    fn of(number: usize, _: bool) -> Self {
        events::event(number).into()
    }
}

struct Broadcast<T> {
    events: broadcast::Sender<T>,
    has_ids: bool,
}

impl<T: Published> Publisher for Broadcast<T> {
    async fn publish(&mut self, numbers: Range<usize>) -> Result<()> {
        for number in numbers {
            let event = T::of(number, self.has_ids);
            let sent = self.events.send(event);
            sent.map_err(|_| "no session is open")?;
        }
        Ok(())
    }
}

/// Serves until its standard input is closed.
pub fn serve(serving: &Serving) -> Result<()> {
    prepare(serving)?;
    match &*serving.contender {
        ON_HYPER => run_broadcast(serving, tidings::on_hyper),
        SERVE => run_broadcast(serving, tidings::serve),
        ON_AXUM => run_broadcast(serving, tidings::on_axum),
        AXUM_SSE => run_broadcast(serving, axum_sse::on_axum),
        AXUM_SSE_ON_HYPER => run_broadcast(serving, axum_sse::on_hyper),
        HAND_WRITTEN => run_broadcast(serving, hand_written::on_hyper),
        BARE => bare::run(serving.heartbeat(), serving.ids),
        other => Err(format!("no contender is named {other}").into()),
    }
}

pub fn prepare(serving: &Serving) -> Result<()> {
    pin_to(serving.core)?;
    limits::raise()
}

fn run_broadcast<T, F>(
    serving: &Serving,
    contender: impl FnOnce(TcpListener, Stage<T>) -> F,
) -> Result<()>
where
    T: Published,
    F: Future<Output = ()> + Send + 'static,
{
    let capacity = if serving.ids {
        LARGE_CAPACITY
    } else {
        CAPACITY
    };
    run(serving, |listener| {
        let events = broadcast::Sender::new(capacity);
        let stage = Stage {
            events: events.clone(),
            heartbeat: serving.heartbeat(),
        };
        let has_ids = serving.ids;
        (contender(listener, stage), Broadcast { events, has_ids })
    })
}

/// Runs a contender on one thread, as it has one core.
pub fn run<F, P>(serving: &Serving, start: impl FnOnce(TcpListener) -> (F, P)) -> Result<()>
where
    F: Future<Output = ()> + Send + 'static,
    P: Publisher,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let control = control::of_stdin()?;
        control.set_nonblocking(true)?;
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        if let Some(bytes) = serving.held_bytes {
            // Connections inherit their listener's buffer size.
            sockopt::set_socket_send_buffer_size(&listener, bytes)?;
        }
        let mut control = UnixStream::from_std(control)?;
        let hello = control::hello(listener.local_addr()?);
        control.write_all(hello.as_bytes()).await?;
        let (contender, publisher) = start(listener);
        tokio::spawn(contender);
        run_command(control, publisher).await
    })
}

async fn run_command(mut control: UnixStream, mut publisher: impl Publisher) -> Result<()> {
    let mut published = 0;
    loop {
        let answer = match control.read_u32().await {
            Ok(control::REPORT) => control::report()?,
            Ok(count) if count & control::TIME == 0 => {
                let end = published + usize::try_from(count)?;
                publisher.publish(published..end).await?;
                published = end;
                continue;
            }
            Ok(count) => {
                let end = published + usize::try_from(count & !control::TIME)?;
                let times = time(&mut publisher, published..end).await?;
                published = end;
                control::times(times)?
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        control.write_all(answer.as_bytes()).await?;
    }
}

/// The time to publish each of these events, in nanoseconds.
async fn time(publisher: &mut impl Publisher, numbers: Range<usize>) -> Result<Vec<u64>> {
    let mut times = Vec::with_capacity(numbers.len());
    for number in numbers {
        let begin = Instant::now();
        publisher.publish(number..number + 1).await?;
        times.push(u64::try_from(begin.elapsed().as_nanos())?);
    }
    Ok(times)
}
