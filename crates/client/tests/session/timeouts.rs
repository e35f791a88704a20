//! Timeouts.

use std::time::Duration;

use tidings_client::{ConnectTimeout, ErrorKind, Reconnect};
use tokio::time::Instant;

use crate::scripted::{Part, Script, Server, parts, read_all, status, stream};

#[tokio::test(start_paused = true)]
async fn silence_interrupts_a_stream_and_a_comment_does_not() {
    let alive: Vec<Part> = b": one byte every 200 ms\ndata: a\n\n"
        .chunks(1)
        .flat_map(|byte| [Part::Wait(200), Part::Bytes(byte)])
        .chain([Part::Wait(10_000)])
        .collect();
    let server = Server::plays([parts(&alive)]);
    let client = server
        .client(Reconnect::off())
        .idle_timeout(Duration::from_millis(500));
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
    let before = Instant::now();
    let error = session.try_next().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Interrupted);
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "the server sent no data within 500ms"
    );
    assert_eq!(before.elapsed(), Duration::from_millis(500));

    let server = Server::plays([
        parts(&[Part::Wait(10_000)]),
        stream("data: b\n\n"),
        status(204),
    ]);
    let client = server
        .client(Reconnect::standard())
        .idle_timeout(Duration::from_millis(500));
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(read_all(&mut session).await, (vec!["b".into()], None));
}

#[tokio::test(start_paused = true)]
async fn a_missing_response_head_is_a_failed_connect() {
    let server = Server::plays([Script::Hang, Script::Hang, stream("data: a\n\n")]);
    let client = server.client(Reconnect::fixed(1, Duration::from_secs(1)));
    let client = client.response_timeout(Duration::from_secs(5));
    let error = client.get("http://test/").open().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Connect);

    let client =
        client.reconnect(Reconnect::fixed(1, Duration::from_secs(1)).retry_first_connection(true));
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
    assert_eq!(server.waits()[1], Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn a_stream_may_last_longer_than_its_head_may() {
    let server = Server::plays([parts(&[
        Part::Wait(60_000),
        Part::Bytes(b"data: a\n\n"),
        Part::Wait(60_000),
        Part::Bytes(b"data: b\n\n"),
    ])]);
    let second = Duration::from_secs(1);
    let client = server.client(Reconnect::off());
    let client = client.response_timeout(second).connect_timeout(second);
    let mut session = client.get("http://test/").open().await.unwrap();
    let read = read_all(&mut session).await;
    assert_eq!(read, (vec!["a".into(), "b".into()], None));
}

#[tokio::test(start_paused = true)]
async fn each_request_carries_the_connect_timeout() {
    let server = Server::plays([stream("data: a\n\n"), status(204)]);
    let second = Duration::from_secs(1);
    let client = server
        .client(Reconnect::standard())
        .connect_timeout(60 * second);
    let request = client.get("http://test/").connect_timeout(second);
    read_all(&mut request.open().await.unwrap()).await;
    let requests = server.requests.lock().unwrap();
    assert_eq!(requests.len(), 2);
    for (request, _) in requests.iter() {
        let carried = request.extensions().get();
        assert_eq!(carried, Some(&ConnectTimeout(second)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_timeout_runs_only_while_the_session_waits() {
    let server = Server::plays([parts(&[
        Part::Bytes(b"data: a\n\n"),
        Part::Bytes(b"data: b\n\n"),
    ])]);
    let client = server
        .client(Reconnect::off())
        .idle_timeout(Duration::from_millis(500));
    let mut session = client.get("http://test/").open().await.unwrap();
    assert_eq!(session.try_next().await.unwrap().unwrap().text(), "a");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(read_all(&mut session).await, (vec!["b".into()], None));
}
