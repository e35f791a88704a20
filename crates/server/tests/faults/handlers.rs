//! Handlers that compute, panic, fail, or continue after the end.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidings_server::{Event, HandlerError, SendErrorKind, SessionOptions};
use tidings_testkit::http_server;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::harness::{get, read_until, receive, receive_all, respond, serve, within};

/// Keeps its thread busy.
fn compute(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_computing_handler_delays_others_by_at_most_its_computation() {
    let is_over = Arc::new(AtomicBool::new(false));
    let rounds = Arc::new(AtomicUsize::new(0));
    let (stop, counter) = (Arc::clone(&is_over), Arc::clone(&rounds));
    let busy = serve(SessionOptions::new(), move |session| {
        let (stop, counter) = (Arc::clone(&stop), Arc::clone(&counter));
        async move {
            session.send(Event::new("busy")).await?;
            while !stop.load(Ordering::SeqCst) {
                compute(Duration::from_millis(50));
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
            Ok(())
        }
    });
    let mut busy = get(TcpStream::connect(busy.await).await.unwrap()).await;
    read_until(&mut busy, "busy").await;

    let (ask, asked) = tokio::sync::mpsc::unbounded_channel::<usize>();
    let asked = Arc::new(tokio::sync::Mutex::new(asked));
    let quick = serve(SessionOptions::new(), move |session| {
        let asked = Arc::clone(&asked);
        async move {
            while let Some(n) = asked.lock().await.recv().await {
                session.send(Event::new(format!("answer {n}."))).await?;
            }
            Ok(())
        }
    });
    let mut quick = get(TcpStream::connect(quick.await).await.unwrap()).await;
    let before = rounds.load(Ordering::SeqCst);
    for n in 0..20 {
        ask.send(n).unwrap();
        read_until(&mut quick, &format!("answer {n}.")).await;
    }
    // Counted in rounds of the computing handler, so that a slow machine does not fail the test.
    let meanwhile = rounds.load(Ordering::SeqCst) - before;
    assert!(
        meanwhile <= 20 * 4,
        "{meanwhile} computations for 20 events"
    );
    is_over.store(true, Ordering::SeqCst);
    assert!(receive(busy).await.is_whole);
}

/// Over HTTP/2 another task writes the frames of a body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_event_is_read_over_http_2_while_the_handler_computes() {
    let (go_on, go) = mpsc::channel::<()>();
    let go = Arc::new(Mutex::new(go));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let respond = |request| {
            let go = Arc::clone(&go);
            respond(request, SessionOptions::new(), async move |session| {
                session.send(Event::new("first")).await?;
                session.flush().await?;
                go.lock().unwrap().recv_timeout(Duration::from_secs(30))?;
                session.send(Event::new("second")).await?;
                Ok(())
            })
        };
        http_server::serve_http2(stream, respond).await;
    });
    // The client has a thread of its own, because the handler blocks a worker of this runtime.
    let client = std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(async move {
            let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
            let client = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
            let (mut client, connection) = client.await.unwrap();
            tokio::spawn(connection);
            let request = Request::get("http://test/").body(Empty::<Bytes>::new());
            let answer = within("the head", client.send_request(request.unwrap())).await;
            let mut body = answer.unwrap().into_body();
            read_until(&mut body, "data: first\n\n").await;
            go_on.send(()).unwrap();
            read_until(&mut body, "data: second\n\n").await;
        });
    });
    let joined = tokio::task::spawn_blocking(move || client.join());
    within("the client", joined).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_cuts_its_own_stream_after_its_events_and_no_other() {
    let (ask, asked) = tokio::sync::mpsc::unbounded_channel::<()>();
    let asked = Arc::new(tokio::sync::Mutex::new(asked));
    let number = Arc::new(AtomicUsize::new(0));
    let address = serve(SessionOptions::new(), move |session| {
        let (asked, number) = (Arc::clone(&asked), Arc::clone(&number));
        async move {
            session.send(Event::new("hello")).await?;
            if number.fetch_add(1, Ordering::SeqCst) == 1 {
                session.send(Event::new("last words")).await?;
                panic!("on purpose");
            }
            asked.lock().await.recv().await;
            session.send(Event::new("still here")).await?;
            Ok(())
        }
    });
    let address = address.await;
    let mut other = get(TcpStream::connect(address).await.unwrap()).await;
    read_until(&mut other, "hello").await;
    let panicked = receive(get(TcpStream::connect(address).await.unwrap()).await).await;
    assert_eq!(panicked.texts(), ["hello", "last words"]);
    assert!(!panicked.is_whole);
    ask.send(()).unwrap();
    let other = receive(other).await;
    assert_eq!(other.texts(), ["still here"]);
    assert!(other.is_whole);
    drop(ask);
    let next = receive(get(TcpStream::connect(address).await.unwrap()).await).await;
    assert!(next.is_whole, "the server continues");
}

#[tokio::test]
async fn an_error_cuts_the_stream_after_all_queued_events() {
    let received = receive_all(SessionOptions::new(), async |session| {
        for n in 0..60 {
            session.send(Event::new("x".repeat(1000)).id(n)).await?;
        }
        Err(HandlerError::new("on purpose"))
    });
    let received = received.await;
    assert_eq!(received.events().len(), 60);
    assert!(!received.is_whole);
}

#[tokio::test]
async fn sends_after_a_close_fail_and_never_leave() {
    let received = receive_all(SessionOptions::new(), async |session| {
        session.send(Event::new("before")).await?;
        session.close();
        for _ in 0..100 {
            let late = session.send(Event::new("after")).await;
            assert_eq!(late.unwrap_err().kind(), SendErrorKind::Closed);
            assert!(session.try_send(Event::new("after")).is_err());
            assert!(session.comment("after").await.is_err());
        }
        session.close();
        session.spawn(async { panic!("too late to run") });
        session.flush().await?;
        panic!("a closed session ends, whatever its handler does then");
    });
    let received = received.await;
    assert_eq!(received.bytes, b"data: before\n\n");
    assert!(received.is_whole);
}
