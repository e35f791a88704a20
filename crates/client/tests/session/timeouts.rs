//! What silence is.

use std::time::Duration;

use tidings_client::{ConnectTimeout, ErrorKind, Reconnect};
use tokio::time::Instant;

use crate::scripted::{Part, Script, Server, hear, parts, status, stream};

#[tokio::test(start_paused = true)]
async fn silence_is_a_network_error_and_a_comment_is_none() {
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
    assert_eq!(error.kind(), &ErrorKind::Network);
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "the server was silent for 500ms"
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
    assert_eq!(hear(&mut session).await, (vec!["b".into()], None));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_is_a_network_error() {
    let server = Server::plays([Script::Hang, Script::Hang, stream("data: a\n\n")]);
    let client = server.client(Reconnect::fixed(1, Duration::from_secs(1)));
    let client = client.response_timeout(Duration::from_secs(5));
    let error = client.get("http://test/").open().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Network);

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
    let heard = hear(&mut session).await;
    assert_eq!(heard, (vec!["a".into(), "b".into()], None));
}

#[tokio::test(start_paused = true)]
async fn a_transport_is_told_how_long_it_may_connect() {
    let server = Server::plays([stream("data: a\n\n"), status(204)]);
    let second = Duration::from_secs(1);
    let client = server
        .client(Reconnect::standard())
        .connect_timeout(60 * second);
    let request = client.get("http://test/").connect_timeout(second);
    hear(&mut request.open().await.unwrap()).await;
    let requests = server.requests.lock().unwrap();
    assert_eq!(requests.len(), 2);
    for (request, _) in requests.iter() {
        let told = request.extensions().get();
        assert_eq!(told, Some(&ConnectTimeout(second)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_runs_only_while_the_network_is_waited_for() {
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
    assert_eq!(hear(&mut session).await, (vec!["b".into()], None));
}
