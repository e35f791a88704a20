//! Connections while a server runs, and when it is dropped.

use std::time::Duration;

use axum::Router;
use tidings_axum::{Drain, Event, HandlerError, RouterExt, Session, serve};
use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::Instant;

use crate::LEAVES_HYPER;
use crate::app::{Client, Report, SLACK, SOON, Server, expect_refused, on_path};

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_while_the_server_runs() {
    let mut server = Server::start(|serve| serve.write_deadline(Duration::from_millis(500))).await;
    let mut live = server.connect("/quiet").await;
    let stalled = server.connect("/flood").await;
    server.expect_reports(&Report::Dropped, 1).await;
    live.read_until("data: hello").await;
    server
        .connect("/quiet")
        .await
        .read_until("data: hello")
        .await;
    drop(stalled);
}

#[tokio::test]
async fn a_handler_that_panics_ends_only_its_connection() {
    let server = Server::start(|serve| serve).await;
    let mut live = server.connect("/quiet").await;
    assert_eq!(server.connect("/panic").await.read_to_end().await, "");
    live.read_until("data: hello").await;
    server.connect("/slow/0").await.read_until("slow").await;
    assert!(!server.ended.is_finished());
}

#[tokio::test]
async fn a_slow_client_receives_all_that_was_sent_before_a_failure() {
    let (failing, mut fails) = unbounded_channel();
    // Off hyper, they wait in the queue of the session, which holds 64 KiB.
    let events = if LEAVES_HYPER { 60 } else { 300 };
    let app = Router::new().sse("/", async move |session: Session| {
        for _ in 0..events {
            session.send(Event::new("x".repeat(1000))).await?;
        }
        failing.send(()).unwrap();
        Err(HandlerError::new("on purpose"))
    });
    // Small buffers: most of it is still in the server when the handler fails.
    let small = || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(4096).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket
    };
    let socket = small();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, on_path(app)).into_future());
    let mut client = small().connect(address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
    client.write_all(request).await.unwrap();
    timeout(SOON, fails.recv()).await.unwrap().unwrap();
    let mut received = Vec::new();
    let end = timeout(SOON, client.read_to_end(&mut received));
    end.await.unwrap().unwrap();
    let received = String::from_utf8(received).unwrap();
    assert_eq!(received.matches("x\n\n").count(), events);
    assert!(!received.ends_with("\r\n0\r\n\r\n"), "it ended cleanly");
    server.abort();
}

#[tokio::test]
async fn a_dropped_server_cuts_its_connections_and_refuses_new_ones() {
    let mut server = Server::start(|serve| serve).await;
    let mut quiet = server.connect("/quiet").await;
    quiet.read_until("data: hello").await;
    let mut idle = server.connect("/slow/0").await;
    idle.read_until("slow").await;
    let stalled = server.connect("/flood").await;
    server.expect_reports(&Report::Stalled, 1).await;
    server.ended.abort();
    // The handlers of the quiet and the stalled stream; that of `/slow` ended before.
    server.expect_reports(&Report::Dropped, 2).await;
    assert!(
        !quiet.read_to_end().await.contains("\r\n0\r\n\r\n"),
        "it ended cleanly"
    );
    assert_eq!(idle.read_to_end().await, "");
    expect_refused(async || TcpStream::connect(server.address).await).await;
    drop(stalled);
}

#[tokio::test]
async fn an_upgraded_connection_works_under_the_deadlines() {
    let server = Server::start(|serve| serve).await;
    let mut client = server.connect("/echo").await;
    client.read_until("101 Switching Protocols").await;
    for word in ["once", "twice"] {
        client.stream.write_all(word.as_bytes()).await.unwrap();
        client.read_until(word).await;
    }
}

#[tokio::test]
async fn a_thousand_closed_connections_leave_nothing_open() {
    let drain = Drain::new();
    let mut server = Server::start(|serve| serve.drain(&drain)).await;
    for _ in 0..20 {
        let mut clients = Vec::new();
        for _ in 0..50 {
            clients.push(server.connect("/quiet").await);
        }
        for client in &mut clients {
            client.read_until("data: hello").await;
        }
    }
    server.expect_reports(&Report::Dropped, 1000).await;
    // A session is dropped shortly before its connection.
    let start = Instant::now();
    while drain.open_connections() > 0 && start.elapsed() < SLACK {
        tokio::task::yield_now().await;
    }
    assert_eq!((drain.open_sessions(), drain.open_connections()), (0, 0));
    drain.start();
    timeout(SOON, server.end()).await.unwrap();
    expect_refused(async || TcpStream::connect(server.address).await).await;
}

#[tokio::test]
async fn each_setting_keeps_the_others() {
    let drain = Drain::new();
    let server = Server::start(|serve| {
        serve
            .drain(&drain)
            .write_deadline(SOON)
            .drain_on(std::future::pending())
    })
    .await;
    let mut client = Client::connect(server.address, "/quiet").await;
    client.read_until("data: hello").await;
    assert_eq!((drain.open_sessions(), drain.open_connections()), (1, 1));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_kernel_probes_a_quiet_client() {
    let server = Server::start(|serve| serve).await;
    let mut client = server.connect("/quiet").await;
    client.read_until("data: hello").await;
    let peer = client.stream.local_addr().unwrap();
    let [here, there] = [server.address, peer].map(|address| format!(":{:04X}", address.port()));
    // The kernel lists a number, addresses, a state, queues, and a timer: 2 is the timer of keep-alive.
    let is_probed = || {
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let fields = sockets
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut of_client = fields.filter(|f| f[1].ends_with(&here) && f[2].ends_with(&there));
        of_client.next().expect("it is open")[5].starts_with("02")
    };
    let probed = async {
        // Another timer runs until the event is acknowledged.
        while !is_probed() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, probed).await.unwrap();
}
