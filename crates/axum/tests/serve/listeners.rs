//! Listeners of every kind: TCP, Unix sockets, and a custom one over pipes.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use axum::serve::{Listener, ListenerExt};
use tidings_axum::{Drain, RouterExt, Session, serve};
use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::app::{
    Client, Report, SLACK, SOON, app, end, expect_refused, expect_reports, on_path, retry_time,
};

const DEADLINE: Duration = Duration::from_secs(2);

/// A listener whose connections the test makes.
struct Pipes(mpsc::Receiver<DuplexStream>);

/// The address of a pipe: a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PipeNumber(u32);

impl Listener for Pipes {
    type Io = DuplexStream;
    type Addr = PipeNumber;

    async fn accept(&mut self) -> (DuplexStream, PipeNumber) {
        match self.0.recv().await {
            Some(pipe) => (pipe, PipeNumber(7)),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<PipeNumber> {
        Ok(PipeNumber(0))
    }
}

/// Connects to the server whose [`Pipes`] these are.
async fn open_pipe(pipes: &mpsc::Sender<DuplexStream>) -> io::Result<DuplexStream> {
    let (near, far) = duplex(65_536);
    let sent = pipes.send(far).await;
    sent.map_err(|_| io::ErrorKind::ConnectionRefused)?;
    Ok(near)
}

/// Serves streams over this listener, and drains: the live client receives its retry time, the stalled one
/// is cut at the deadline, and the listener is closed.
async fn check_drain<L, IO>(listener: L, mut connect: impl AsyncFnMut() -> io::Result<IO>)
where
    L: Listener<Addr: Clone + fmt::Debug + Sync + 'static>,
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let (app, mut reports) = app();
    let drain = Drain::new().deadline(DEADLINE);
    let mut server = tokio::spawn(serve(listener, on_path(app)).drain(&drain).into_future());
    let stalled = Client::over(connect().await.unwrap(), "/flood").await;
    expect_reports(&mut reports, &Report::Stalled, 1).await;
    let mut live = Client::over(connect().await.unwrap(), "/quiet").await;
    live.read_until("data: hello").await;
    assert_eq!((drain.open_sessions(), drain.open_connections()), (2, 2));
    let start = Instant::now();
    drain.start();
    retry_time(&live.read_to_end().await);
    expect_refused(&mut connect).await;
    end(&mut server).await;
    let took = start.elapsed();
    assert!(took >= DEADLINE && took < DEADLINE + SLACK, "{took:?}");
    drop(stalled);
}

/// A client that reads nothing is cut after the write deadline.
async fn check_write_deadline<L, IO>(listener: L, mut connect: impl AsyncFnMut() -> io::Result<IO>)
where
    L: Listener<Addr: Clone + fmt::Debug + Sync + 'static>,
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let (app, mut reports) = app();
    let server = serve(listener, on_path(app)).write_deadline(Duration::from_millis(500));
    let server = tokio::spawn(server.into_future());
    let stalled = Client::over(connect().await.unwrap(), "/flood").await;
    expect_reports(&mut reports, &Report::Dropped, 1).await;
    let mut live = Client::over(connect().await.unwrap(), "/quiet").await;
    live.read_until("data: hello").await;
    server.abort();
    drop(stalled);
}

#[tokio::test]
async fn tcp_is_served_and_drained() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    check_drain(listener, async || TcpStream::connect(address).await).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_served_and_drained() {
    let (_folder, path) = socket_path();
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let connect = async || tokio::net::UnixStream::connect(&path).await;
    check_drain(listener, connect).await;
    std::fs::remove_file(&path).unwrap();
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let connect = async || tokio::net::UnixStream::connect(&path).await;
    check_write_deadline(listener, connect).await;
}

/// Removes a folder when it is dropped.
#[cfg(unix)]
struct Folder(std::path::PathBuf);

#[cfg(unix)]
impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A path below the system's folder of temporary files, as the path of a socket may have about 100 bytes.
#[cfg(unix)]
fn socket_path() -> (Folder, std::path::PathBuf) {
    let folder = format!("tidings-axum-{}", std::process::id());
    let folder = Folder(std::env::temp_dir().join(folder));
    std::fs::create_dir_all(&folder.0).unwrap();
    let path = folder.0.join("socket");
    (folder, path)
}

#[tokio::test]
async fn a_custom_listener_is_served_and_drained() {
    let (pipes, accepted) = mpsc::channel(1);
    check_drain(Pipes(accepted), async || open_pipe(&pipes).await).await;
    let (pipes, accepted) = mpsc::channel(1);
    check_write_deadline(Pipes(accepted), async || open_pipe(&pipes).await).await;
}

#[tokio::test]
async fn a_handler_finds_the_address_of_its_listeners_type() {
    let (pipes, accepted) = mpsc::channel(1);
    let app = Router::new().sse(
        "/",
        async |ConnectInfo(PipeNumber(number)), session: Session| {
            let number = tidings_axum::Event::new(number.to_string());
            Ok(session.send(number).await?)
        },
    );
    let server = tokio::spawn(serve(Pipes(accepted), on_path(app)).into_future());
    let pipe = open_pipe(&pipes).await.unwrap();
    Client::over(pipe, "/").await.read_until("data: 7").await;
    server.abort();
}

#[tokio::test]
async fn a_tapped_tcp_listener_keeps_the_options_of_tcp() {
    let (tapped, mut taps) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Another handle of the same socket, for the test to look at.
    let listener = listener.tap_io(move |tcp: &mut TcpStream| {
        tapped
            .send(socket2::SockRef::from(&*tcp).try_clone().unwrap())
            .unwrap();
    });
    let server = tokio::spawn(serve(listener, on_path(app().0)).into_future());
    let mut client = Client::connect(address, "/quiet").await;
    client.read_until("data: hello").await;
    let socket = taps.recv().await.unwrap();
    assert!(socket.tcp_nodelay().unwrap());
    assert!(socket.keepalive().unwrap());
    #[cfg(target_os = "linux")]
    assert_eq!(
        socket.tcp_user_timeout().unwrap(),
        Some(Duration::from_secs(30))
    );
    #[cfg(target_os = "linux")]
    assert_eq!(socket.tcp_notsent_lowat().unwrap(), 128 * 1024);
    server.abort();
}

/// Accepts a connection, then waits for the test, as for a handshake.
struct SlowAccept {
    tcp: TcpListener,
    handshakes: mpsc::Receiver<()>,
}

impl Listener for SlowAccept {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let accepted = Listener::accept(&mut self.tcp).await;
        self.handshakes.recv().await;
        accepted
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

#[tokio::test]
async fn an_accept_is_not_cancelled_when_a_connection_ends() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let (handshake, handshakes) = mpsc::channel(1);
    let app = Router::new().route("/", get(async || "hello"));
    let server = serve(SlowAccept { tcp, handshakes }, on_path(app));
    let server: JoinHandle<_> = tokio::spawn(server.into_future());
    let mut first = Client::connect(address, "/").await;
    handshake.send(()).await.unwrap();
    first.read_until("hello").await;
    let mut second = Client::connect(address, "/").await;
    // While the second is accepted, the first ends, and its task is joined.
    first.stream.shutdown().await.unwrap();
    assert_eq!(first.read_to_end().await, "");
    tokio::task::yield_now().await;
    handshake.send(()).await.unwrap();
    timeout(SOON, second.read_until("hello")).await.unwrap();
    server.abort();
}
