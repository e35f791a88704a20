//! `DirectTransport::over`: pipes in memory on paused time, and a Unix socket.

use std::future::pending;
use std::io;
use std::sync::Mutex;

use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;

use super::*;

/// A transport that makes pipes, and the servers' ends of them.
fn pipes() -> (DirectTransport, mpsc::UnboundedReceiver<DuplexStream>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let transport = DirectTransport::over(move |_| {
        let (client, server) = duplex(1024);
        let sent = sender.send(server);
        async move { sent.map(|()| client).map_err(io::Error::other) }
    });
    (transport, receiver)
}

#[tokio::test(start_paused = true)]
async fn a_pipe_is_reconnected_on_paused_time() {
    let (transport, mut servers) = pipes();
    let hour = Duration::from_secs(3600);
    let client = SseClient::over(transport).reconnect(Reconnect::fixed(1, hour));
    let serve = async {
        let first = answer(servers.recv().await.unwrap()).await;
        let second = answer(servers.recv().await.unwrap()).await;
        (first, second)
    };
    let read = async {
        let mut session = client
            .get("https://user:secret@a.test/b?c")
            .open()
            .await
            .unwrap();
        for _ in 0..2 {
            let event = session.try_next().await.unwrap().unwrap();
            assert_eq!(event.text(), "hello");
        }
    };
    let started = tokio::time::Instant::now();
    let ((first, second), ()) = tokio::join!(serve, read);
    assert_eq!(started.elapsed().as_secs(), 3600);
    assert!(first.starts_with("GET /b?c HTTP/1.1\r\n"), "{first}");
    assert!(second.contains("host: a.test\r\n"), "{second}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_never_opens_times_out() {
    let transport = DirectTransport::over(|_| pending::<io::Result<DuplexStream>>());
    let error = open_within_limit(&transport, "http://a.test/?secret").await;
    check_failed(&error, "no connection to a.test:80 within 200ms");
}

#[tokio::test]
async fn a_stream_that_fails_to_open_is_a_connect_error() {
    let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
    let transport =
        DirectTransport::over(move |_| async move { Err::<DuplexStream, _>(refused()) });
    let error = open(&transport, "http://a.test/?secret").await.unwrap_err();
    check_failed(&error, "the function that connects to a.test:80 failed");
    check_failed(&error, "connection refused");
}

#[tokio::test]
async fn the_connecting_function_receives_the_whole_url() {
    let asked = std::sync::Arc::new(Mutex::new(String::new()));
    let seen = asked.clone();
    let transport = DirectTransport::over(move |url| {
        *seen.lock().unwrap() = url.to_string();
        async { Err::<DuplexStream, _>(io::Error::other("no")) }
    });
    open(&transport, "http://a.test:81/b?c#d")
        .await
        .unwrap_err();
    assert_eq!(*asked.lock().unwrap(), "http://a.test:81/b?c");
}

#[tokio::test]
async fn a_dropped_session_closes_its_pipe() {
    let (transport, mut servers) = pipes();
    let serve = async {
        let mut server = servers.recv().await.unwrap();
        read_head(&mut server).await;
        server.write_all(STREAM.as_bytes()).await.unwrap();
        server
    };
    let (session, mut server) = tokio::join!(open(&transport, "http://a.test/"), serve);
    drop(session.unwrap());
    closed(&mut server).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_reached() {
    use tokio::net::{UnixListener, UnixStream};
    let path = std::env::temp_dir().join(format!("tidings-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let to = path.clone();
    let transport = DirectTransport::over(move |_| UnixStream::connect(to.clone()));
    let serve = async { answer(listener.accept().await.unwrap().0).await };
    tokio::join!(receive(&transport, "http://localhost/"), serve);
    std::fs::remove_file(path).unwrap();
}
