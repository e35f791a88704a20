//! What becomes of connections while a server runs, and when it is dropped.

use std::time::Duration;

use axum::Router;
use tidings_axum::{RouterExt, serve};
use tidings_proto::Event;
use tidings_server::{HandlerError, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, timeout};

use crate::app::{Client, SLACK, SOON, Server, Told};

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_while_the_server_goes_on() {
    let mut server = Server::start(|serve| serve.write_deadline(Duration::from_millis(500))).await;
    let mut live = server.connect("/quiet").await;
    let stalled = server.connect("/flood").await;
    server.tells(&Told::Gone, 1).await;
    live.hear("data: hello").await;
    server.connect("/quiet").await.hear("data: hello").await;
    drop(stalled);
}

#[tokio::test]
async fn a_handler_that_panics_ends_its_connection_alone() {
    let server = Server::start(|serve| serve).await;
    let mut live = server.connect("/quiet").await;
    assert_eq!(server.connect("/panic").await.hear_out().await, "");
    live.hear("data: hello").await;
    server.connect("/slow/0").await.hear("slow").await;
    assert!(!server.ended.is_finished());
}

#[tokio::test]
async fn a_client_that_is_far_behind_hears_all_that_was_sent_before_a_failure() {
    let (failing, mut fails) = unbounded_channel();
    let app = Router::new().sse("/", async move |session: Session| {
        for _ in 0..300 {
            session.send(Event::new("x".repeat(1000))).await?;
        }
        failing.send(()).unwrap();
        Err(HandlerError::new("on purpose"))
    });
    // Buffers that hold but a little of it: the rest is hyper's when the handler fails.
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
    let server = tokio::spawn(serve(listener, app));
    let mut client = small().connect(address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
    client.write_all(request).await.unwrap();
    timeout(SOON, fails.recv()).await.unwrap().unwrap();
    let mut heard = Vec::new();
    let end = timeout(SOON, client.read_to_end(&mut heard));
    end.await.unwrap().unwrap();
    let heard = String::from_utf8(heard).unwrap();
    assert_eq!(heard.matches("x\n\n").count(), 300);
    assert!(!heard.ends_with("\r\n0\r\n\r\n"), "it is cut");
    server.abort();
}

#[tokio::test]
async fn a_server_that_is_dropped_cuts_its_connections_and_refuses_others() {
    let mut server = Server::start(|serve| serve).await;
    let mut quiet = server.connect("/quiet").await;
    quiet.hear("data: hello").await;
    let mut idle = server.connect("/slow/0").await;
    idle.hear("slow").await;
    let stalled = server.connect("/flood").await;
    server.tells(&Told::Stalled, 1).await;
    server.ended.abort();
    // Those of the quiet and the stalled stream; the slow one's was gone before.
    server.tells(&Told::Gone, 2).await;
    assert!(
        !quiet.hear_out().await.contains("\r\n0\r\n\r\n"),
        "it is cut"
    );
    assert_eq!(idle.hear_out().await, "");
    TcpStream::connect(server.address).await.unwrap_err();
    drop(stalled);
}

#[tokio::test]
async fn a_connection_that_left_http_works_under_the_deadlines() {
    let server = Server::start(|serve| serve).await;
    let mut client = server.connect("/echo").await;
    client.hear("101 Switching Protocols").await;
    for word in ["once", "twice"] {
        client.stream.write_all(word.as_bytes()).await.unwrap();
        client.hear(word).await;
    }
}

#[tokio::test]
async fn many_connections_that_come_and_go_leave_nothing() {
    let drain = tidings_server::Drain::new();
    let mut server = Server::start(|serve| serve.drain(drain.clone())).await;
    for _ in 0..20 {
        let mut clients = Vec::new();
        for _ in 0..50 {
            clients.push(server.connect("/quiet").await);
        }
        for client in &mut clients {
            client.hear("data: hello").await;
        }
    }
    server.tells(&Told::Gone, 1000).await;
    // A body is dropped a moment before its connection.
    let start = Instant::now();
    while drain.open_connections() > 0 && start.elapsed() < SLACK {
        tokio::task::yield_now().await;
    }
    assert_eq!((drain.open_sessions(), drain.open_connections()), (0, 0));
    drain.start();
    timeout(SOON, server.end()).await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn settings_do_not_lose_each_other() {
    let drain = tidings_server::Drain::new();
    let server = Server::start(|serve| {
        serve
            .drain(drain.clone())
            .write_deadline(SOON)
            .drain_on(std::future::pending())
    })
    .await;
    let mut client = Client::connect(server.address, "/quiet").await;
    client.hear("data: hello").await;
    assert_eq!((drain.open_sessions(), drain.open_connections()), (1, 1));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_kernel_asks_whether_a_quiet_client_is_still_there() {
    let server = Server::start(|serve| serve).await;
    let mut client = server.connect("/quiet").await;
    client.hear("data: hello").await;
    let peer = client.stream.local_addr().unwrap();
    let [here, there] = [server.address, peer].map(|address| format!(":{:04X}", address.port()));
    // As the kernel lists them: number, addresses, state, queues, and the timer, of which 2 is that
    // of keep-alive.
    let is_asked = || {
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let fields = sockets
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut of_client = fields.filter(|f| f[1].ends_with(&here) && f[2].ends_with(&there));
        of_client.next().expect("it is open")[5].starts_with("02")
    };
    let asked = async {
        // The event's own timer runs until it is acknowledged.
        while !is_asked() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, asked).await.unwrap();
}
