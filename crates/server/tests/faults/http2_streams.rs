//! Many streams on one HTTP/2 connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidings_server::{Event, HandlerError, Limits, MAX_QUEUED_BYTES, Session, SessionOptions};
use tidings_testkit::http_server;
use tokio::time::sleep;

use crate::harness::{next, receive, respond, within};

const STREAMS: usize = 20;
/// The bytes that a client accepts of a stream it does not read.
const WINDOW: usize = 65_535;

/// A client of a server with this handler, over a pipe.
async fn connect<H, F>(options: SessionOptions, handler: H) -> SendRequest<Empty<Bytes>>
where
    H: Fn(Session) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let (near, far) = tokio::io::duplex(1 << 16);
    let respond = move |request| respond(request, options.clone(), handler.clone());
    tokio::spawn(http_server::serve_http2(far, respond));
    let client = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(u32::try_from(WINDOW).unwrap())
        .initial_connection_window_size(1 << 24)
        .handshake(TokioIo::new(near));
    let (client, connection) = client.await.unwrap();
    tokio::spawn(connection);
    client
}

async fn get(client: &mut SendRequest<Empty<Bytes>>, path: &str) -> Incoming {
    let request = Request::get(format!("http://test{path}")).body(Empty::new());
    let response = within("the head", client.send_request(request.unwrap())).await;
    response.unwrap().into_body()
}

#[tokio::test(start_paused = true)]
async fn an_unread_stream_stops_only_its_own_handler() {
    let limits = Limits::new();
    let options = SessionOptions::new().limits(&limits);
    let produced = Arc::new([const { AtomicUsize::new(0) }; STREAMS]);
    let counters = Arc::clone(&produced);
    let mut client = connect(options, move |session| {
        let counters = Arc::clone(&counters);
        async move {
            let stream: usize = session.request().uri.path()[1..].parse()?;
            for n in 0.. {
                let event = Event::new("x".repeat(1000)).id(n).encode();
                let bytes = event.len();
                session.send(event).await?;
                counters[stream].fetch_add(bytes, Ordering::SeqCst);
            }
            Ok(())
        }
    })
    .await;
    let mut bodies = Vec::new();
    for stream in 0..STREAMS {
        bodies.push(get(&mut client, &format!("/{stream}")).await);
    }
    let unread = bodies.pop().unwrap();
    sleep(Duration::from_secs(1)).await;
    let stopped_at = produced[STREAMS - 1].load(Ordering::SeqCst);
    // The queue, and one frame that did not fit the window.
    let bound = WINDOW + MAX_QUEUED_BYTES + 2 * 16 * 1024;
    assert!((WINDOW..=bound).contains(&stopped_at), "{stopped_at}");

    let mut tasks = tokio::task::JoinSet::new();
    for mut body in bodies {
        tasks.spawn(async move {
            let mut read = 0;
            while read < 8 * bound {
                read += next(&mut body).await.unwrap().len();
            }
            body
        });
    }
    let bodies = within("the others", tasks.join_all()).await;
    let still = produced[STREAMS - 1].load(Ordering::SeqCst);
    assert_eq!(still, stopped_at, "the handler of the unread stream waits");
    assert_eq!(limits.sessions(), STREAMS);

    drop(unread);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(limits.sessions(), STREAMS - 1, "its handler is dropped");
    drop(bodies);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(limits.sessions(), 0);
}

#[tokio::test]
async fn ten_megabytes_arrive_whole_over_http_2() {
    let text = Arc::new("0123456789\n".repeat(10_000_000 / 11));
    let sent = Arc::clone(&text);
    let mut client = connect(SessionOptions::new(), move |session| {
        let text = Arc::clone(&sent);
        async move {
            session.send(Event::new("before")).await?;
            session.send(Event::new(text.as_str())).await?;
            session.send(Event::new("after")).await?;
            Ok(())
        }
    })
    .await;
    let received = within("10 MB", receive(get(&mut client, "/").await)).await;
    assert!(received.is_whole);
    let texts = received.texts();
    assert!(texts.len() == 3 && texts[1] == *text && texts[2] == "after");
}

#[tokio::test]
async fn a_cut_stream_leaves_the_others_of_its_connection_alone() {
    let mut client = connect(SessionOptions::new(), async |session| {
        session.send(Event::new("hello")).await?;
        match session.request().uri.path() {
            "/panics" => panic!("on purpose"),
            "/fails" => Err(HandlerError::new("on purpose")),
            _ => Ok(()),
        }
    })
    .await;
    for path in ["/panics", "/fails", "/ends", "/panics", "/ends"] {
        let received = receive(get(&mut client, path).await).await;
        assert_eq!(received.texts(), ["hello"], "{path}");
        assert_eq!(received.is_whole, path == "/ends", "{path}");
    }
}
