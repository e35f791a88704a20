//! What is served, and how it is asked.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::{Request, Response, StatusCode, header};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use tidings_axum::{RouterExt, Serve, serve};
use tidings_proto::Event;
use tidings_server::{HandlerError, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub(crate) const SOON: Duration = Duration::from_secs(20);
/// What a busy machine may take longer than it should.
pub(crate) const SLACK: Duration = Duration::from_millis(1500);
/// A send that takes longer waits for its client.
const STALL: Duration = Duration::from_millis(300);

/// What the handlers tell of themselves.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A client takes no more of `/flood`.
    Stalled,
    /// A handler of `/slow` began.
    Slow,
    /// A handler was dropped, or returned.
    Gone,
}

/// Tells that it was dropped.
struct Alive(UnboundedSender<Told>);

impl Drop for Alive {
    fn drop(&mut self) {
        // Nobody may listen any more.
        self.0.send(Told::Gone).ok();
    }
}

/// `/quiet` sends one event, `/flood` as much as is read; `/slow/{ms}` takes its time for an
/// ordinary answer; `/panic` panics; `/echo` leaves HTTP and says all again.
pub(crate) fn app() -> (Router, UnboundedReceiver<Told>) {
    let (told, tells) = unbounded_channel();
    let alive = move || Alive(told.clone());
    let app = Router::new()
        .sse("/quiet", {
            let alive = alive.clone();
            move |session: Session| quiet(alive(), session)
        })
        .sse("/flood", {
            let alive = alive.clone();
            move |session: Session| flood(alive(), session)
        })
        .route(
            "/slow/{ms}",
            get(
                async move |axum::extract::Path(ms): axum::extract::Path<u64>| {
                    let alive = alive();
                    alive.0.send(Told::Slow).unwrap();
                    sleep(Duration::from_millis(ms)).await;
                    "slow"
                },
            ),
        )
        .route("/panic", get(async || -> &str { panic!("on purpose") }))
        .route("/echo", get(echo));
    (app, tells)
}

async fn quiet(_alive: Alive, session: Session) -> Result<(), HandlerError> {
    session.send(Event::new("hello")).await?;
    std::future::pending().await
}

async fn flood(alive: Alive, session: Session) -> Result<(), HandlerError> {
    let (beat, beats) = watch::channel(());
    tokio::spawn(tell_a_stall(alive.0.clone(), beats));
    loop {
        session.send(Event::new("x".repeat(16_000))).await?;
        beat.send_replace(());
    }
}

/// The handler cannot see that its client does not read: it is not polled then.
async fn tell_a_stall(told: UnboundedSender<Told>, mut beats: watch::Receiver<()>) {
    while let Ok(beat) = timeout(STALL, beats.changed()).await {
        if beat.is_err() {
            return;
        }
    }
    told.send(Told::Stalled).unwrap();
}

async fn echo(request: Request<axum::body::Body>) -> Response<axum::body::Body> {
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let mut io = TokioIo::new(upgrade.await.unwrap());
        let mut buffer = [0; 100];
        while let Ok(read @ 1..) = io.read(&mut buffer).await {
            io.write_all(&buffer[..read]).await.unwrap();
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "echo")
        .body(axum::body::Body::empty())
        .unwrap()
}

/// The app behind a server, and how it ends.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) tells: UnboundedReceiver<Told>,
    pub(crate) ended: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Serves the app, with these settings.
    pub(crate) async fn start(set: impl FnOnce(Serve) -> Serve) -> Self {
        let (app, tells) = app();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ended = tokio::spawn(set(serve(listener, app)));
        Self {
            address,
            tells,
            ended,
        }
    }

    pub(crate) async fn connect(&self, path: &str) -> Client {
        Client::connect(self.address, path).await
    }

    /// Waits until handlers have told this so often.
    pub(crate) async fn tells(&mut self, expected: &Told, mut times: usize) {
        while times > 0 {
            let told = timeout(SOON, self.tells.recv()).await;
            let told = told.unwrap_or_else(|_| panic!("{expected:?} is missing {times} times"));
            times -= usize::from(told.unwrap() == *expected);
        }
    }

    /// Waits until the server is over.
    pub(crate) async fn end(&mut self) {
        timeout(SOON, &mut self.ended)
            .await
            .expect("the server goes on")
            .unwrap()
            .unwrap();
    }
}

/// One connection, and what came of it.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) read: String,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, path: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut client = Self {
            stream,
            read: String::new(),
        };
        client.ask(path).await;
        client
    }

    /// Sends a request; one for `/echo` asks for it.
    pub(crate) async fn ask(&mut self, path: &str) {
        let upgrade = if path == "/echo" {
            "connection: upgrade\r\nupgrade: echo\r\n"
        } else {
            ""
        };
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n{upgrade}\r\n");
        self.stream.write_all(request.as_bytes()).await.unwrap();
    }

    /// Reads until this text has come, and forgets what was read.
    pub(crate) async fn hear(&mut self, text: &str) {
        while !self.read.contains(text) {
            assert!(
                self.more().await,
                "{text:?} did not come, but {:?}",
                self.read
            );
        }
        self.read.clear();
    }

    /// Reads until the connection is closed.
    pub(crate) async fn hear_out(mut self) -> String {
        while self.more().await {}
        self.read
    }

    /// Whether there was more to read. A reset is an end too.
    async fn more(&mut self) -> bool {
        let mut buffer = [0; 65_536];
        let read = timeout(SOON, self.stream.read(&mut buffer)).await;
        let read = read.expect("nothing comes, and no end").unwrap_or(0);
        self.read
            .push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        read > 0
    }
}

/// The milliseconds that a client was told before its stream ended cleanly.
#[track_caller]
pub(crate) fn told(read: &str) -> u64 {
    let told = read.rsplit_once("retry: ").map(|(_, told)| told);
    let told = told.and_then(|told| told.strip_suffix("\n\n\r\n0\r\n\r\n"));
    told.unwrap_or_else(|| panic!("no retry and clean end: {read:?}"))
        .parse()
        .unwrap()
}
