//! The router under test, the server that runs it, and a client of bare HTTP/1.1.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::{Request, Response, StatusCode, header};
use axum::middleware::map_response;
use axum::routing::get;
use hyper_util::rt::TokioIo;
use tidings_axum::{Event, HandlerError, RouterExt, Serve, Session, serve};
use tidings_server::StreamResponse;
use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::LEAVES_HYPER;

pub(crate) const SOON: Duration = Duration::from_secs(20);
/// Extra time that a busy machine may need.
pub(crate) const SLACK: Duration = Duration::from_millis(1500);
/// A send that takes longer waits for its client.
const STALL: Duration = Duration::from_millis(300);

/// A report from a handler to the test.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// A client of `/flood` stopped reading.
    Stalled,
    /// A handler of `/slow` started.
    Started,
    /// A handler was dropped, or returned.
    Dropped,
}

/// Reports its own drop.
struct ReportDrop(UnboundedSender<Report>);

impl Drop for ReportDrop {
    fn drop(&mut self) {
        // The test may have ended.
        self.0.send(Report::Dropped).ok();
    }
}

/// `/quiet` sends one event, `/flood` as many as the client reads; `/slow/{ms}` waits so long before an
/// ordinary answer; `/panic` panics; `/echo` upgrades the connection and echoes its bytes.
pub(crate) fn app() -> (Router, UnboundedReceiver<Report>) {
    let (sender, reports) = unbounded_channel();
    let report_drop = move || ReportDrop(sender.clone());
    let app = Router::new()
        .sse("/quiet", {
            let report_drop = report_drop.clone();
            move |session: Session| quiet(report_drop(), session)
        })
        .sse("/flood", {
            let report_drop = report_drop.clone();
            move |session: Session| flood(report_drop(), session)
        })
        .route(
            "/slow/{ms}",
            get(
                async move |axum::extract::Path(ms): axum::extract::Path<u64>| {
                    let report_drop = report_drop();
                    report_drop.0.send(Report::Started).unwrap();
                    sleep(Duration::from_millis(ms)).await;
                    "slow"
                },
            ),
        )
        .route("/panic", get(async || -> &str { panic!("on purpose") }))
        .route("/echo", get(echo));
    (app, reports)
}

async fn quiet(_report_drop: ReportDrop, session: Session) -> Result<(), HandlerError> {
    session.send(Event::new("hello")).await?;
    std::future::pending().await
}

async fn flood(report_drop: ReportDrop, session: Session) -> Result<(), HandlerError> {
    let (sent, sends) = watch::channel(());
    tokio::spawn(report_a_stall(report_drop.0.clone(), sends));
    loop {
        session.send(Event::new("x".repeat(16_000))).await?;
        sent.send_replace(());
    }
}

/// A task of its own, as the handler is not polled while its client does not read.
async fn report_a_stall(reports: UnboundedSender<Report>, mut sends: watch::Receiver<()>) {
    while let Ok(sent) = timeout(STALL, sends.changed()).await {
        if sent.is_err() {
            return;
        }
    }
    reports.send(Report::Stalled).unwrap();
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

/// The same app. Its streams stay on hyper if this suite tests that path.
pub(crate) fn on_path(app: Router) -> Router {
    if LEAVES_HYPER {
        return app;
    }
    app.layer(map_response(
        async |mut response: axum::response::Response| {
            response.extensions_mut().remove::<StreamResponse>();
            response
        },
    ))
}

/// The app on a server over TCP.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) reports: UnboundedReceiver<Report>,
    pub(crate) ended: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Serves the app with these settings.
    pub(crate) async fn start(set: impl FnOnce(Serve) -> Serve) -> Self {
        let (app, reports) = app();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ended = tokio::spawn(set(serve(listener, on_path(app))).into_future());
        Self {
            address,
            reports,
            ended,
        }
    }

    pub(crate) async fn connect(&self, path: &str) -> Client {
        Client::connect(self.address, path).await
    }

    pub(crate) async fn expect_reports(&mut self, expected: &Report, times: usize) {
        expect_reports(&mut self.reports, expected, times).await;
    }

    /// Waits until the server has ended.
    pub(crate) async fn end(&mut self) {
        end(&mut self.ended).await;
    }
}

/// Waits until handlers have sent this report `times` times.
pub(crate) async fn expect_reports(
    reports: &mut UnboundedReceiver<Report>,
    expected: &Report,
    mut times: usize,
) {
    while times > 0 {
        let report = timeout(SOON, reports.recv()).await;
        let report = report.unwrap_or_else(|_| panic!("{expected:?} is missing {times} times"));
        times -= usize::from(report.unwrap() == *expected);
    }
}

/// Waits until a server has ended.
pub(crate) async fn end(server: &mut JoinHandle<io::Result<()>>) {
    timeout(SOON, server)
        .await
        .expect("the server still runs")
        .unwrap()
        .unwrap();
}

/// Waits until new clients are refused. A process that another test starts holds a copy of the listening
/// socket for a moment, until it runs its own program.
pub(crate) async fn expect_refused<IO>(mut connect: impl AsyncFnMut() -> io::Result<IO>) {
    let start = Instant::now();
    while connect().await.is_ok() {
        assert!(start.elapsed() < SLACK, "the listener is open");
        tokio::task::yield_now().await;
    }
}

/// A connection, and the text that was read from it.
pub(crate) struct Client<IO = TcpStream> {
    pub(crate) stream: IO,
    pub(crate) read: String,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, path: &str) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), path).await
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Client<IO> {
    /// Sends a request over this connection.
    pub(crate) async fn over(stream: IO, path: &str) -> Self {
        let mut client = Self {
            stream,
            read: String::new(),
        };
        client.request(path).await;
        client
    }

    /// Sends a request. One for `/echo` asks for the upgrade.
    pub(crate) async fn request(&mut self, path: &str) {
        let upgrade = if path == "/echo" {
            "connection: upgrade\r\nupgrade: echo\r\n"
        } else {
            ""
        };
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n{upgrade}\r\n");
        self.stream.write_all(request.as_bytes()).await.unwrap();
    }

    /// Reads until this text has arrived. Returns the text read so far, and forgets it.
    pub(crate) async fn read_until(&mut self, text: &str) -> String {
        while !self.read.contains(text) {
            assert!(
                self.read_more().await,
                "{text:?} did not arrive, but {:?}",
                self.read
            );
        }
        std::mem::take(&mut self.read)
    }

    /// Reads until the connection is closed.
    pub(crate) async fn read_to_end(mut self) -> String {
        while self.read_more().await {}
        self.read
    }

    /// Returns whether there was more to read. A reset is an end too.
    async fn read_more(&mut self) -> bool {
        let mut buffer = [0; 65_536];
        let read = timeout(SOON, self.stream.read(&mut buffer)).await;
        let read = read.expect("neither bytes nor an end arrived").unwrap_or(0);
        self.read
            .push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        read > 0
    }
}

/// The milliseconds of the `retry` field that a client received before its stream ended cleanly.
#[track_caller]
pub(crate) fn retry_time(read: &str) -> u64 {
    let time = read.rsplit_once("retry: ").map(|(_, time)| time);
    let time = time.and_then(|time| time.strip_suffix("\n\n\r\n0\r\n\r\n"));
    time.unwrap_or_else(|| panic!("no retry time and clean end: {read:?}"))
        .parse()
        .unwrap()
}
